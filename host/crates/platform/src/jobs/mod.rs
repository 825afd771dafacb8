//! Jobs: work over data files that takes longer than a request. It goes on when the request has ended, and when the
//! node is started again.

mod batch;
mod calls;
mod document;
mod result;
mod running;

use std::sync::Arc;

use aimass_core::data::{FileName, Format};
use aimass_core::event::{BatchWork, Event, JobCreated, JobWork, Kind, OnError};
use aimass_core::{Code, Fault, ObjectRef, Result, Selector, Tenant};
use aimass_store::JobRow;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::watch;

use crate::deployments::Routing;
use crate::objects::{PAGE, Page};
use crate::{Asked, Platform, Scope};
pub use document::{JobDocument, JobState};
pub(crate) use running::Jobs;
pub use running::Progress;

/// Jobs of a tenant that may be under way or wait at once: who wants more has a queue of its own.
const WAITING: usize = 100;
/// Rows of a call, unless fewer or more are asked for: a small model takes longer for one call than for its rows below
/// that, and a large one is given up after the deadline above it.
const BATCH_ROWS: u32 = 256;
/// The most rows of a call.
const MAX_BATCH_ROWS: u32 = 65_536;
/// Rows of a piece of the result, unless fewer or more are asked for. Of Parquet it is a row group, too.
const PART_ROWS: u32 = 65_536;
/// Each piece is a record in the journal.
const LEAST_PART_ROWS: u32 = 1_000;
const MAX_PART_ROWS: u32 = 1_048_576;

/// What is wanted of a job.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum JobRequest {
    /// Inference over every row of a file.
    Batch(BatchRequest),
}

/// Inference over every row of a file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// A model or a plugin: `name`, `name@3`, `name:prod`. It is the version of now that runs, with its settings.
    pub target: String,
    /// The data file with the rows.
    pub input: FileName,
    /// The data file that the result becomes.
    pub output: FileName,
    /// What the input is; without it, what its name says.
    #[serde(default)]
    pub input_format: Option<Format>,
    /// What the output is; without it, what its name says.
    #[serde(default)]
    pub format: Option<Format>,
    /// Which columns make up an input, by its name; without it, the column of that name.
    #[serde(default)]
    pub columns: aimass_data::Mapping,
    /// The columns that stand in the result beside the outputs; all if nothing is said.
    #[serde(default)]
    pub keep: Option<Vec<String>>,
    /// Rows of one call.
    #[serde(default)]
    pub batch_size: Option<u32>,
    /// Rows after which what is done is made durable.
    #[serde(default)]
    pub checkpoint_rows: Option<u32>,
    /// What to do about a row that cannot be computed.
    #[serde(default)]
    pub on_error: OnError,
}

impl Platform {
    /// Accepts a job under this id. It is durable when this returns, and begins when it is its turn. One that was
    /// accepted before for the same work is shown: an attempt of a call may come twice.
    ///
    /// # Errors
    /// `not_found` for what it refers to; `insufficient_scope` if the token may not call the target; `invalid_request`;
    /// `rate_limited` if the tenant has too many jobs already.
    pub async fn create_job(self: &Arc<Self>, asked: Asked<'_>, id: &str, request: JobRequest) -> Result<JobDocument> {
        let tenant = asked.tenant(Scope::JobsWrite)?.clone();
        let JobRequest::Batch(request) = request;
        let work = JobWork::Batch(self.batch_work(asked, &tenant, request)?);
        let owner = tenant.clone();
        let row = self
            .store
            .write(asked.actor(), {
                let (id, actor, tenant) = (id.to_owned(), asked.actor(), tenant.name().clone());
                move |state| {
                    if let Some(row) = state.job(&owner, &id)? {
                        return match row.work == work {
                            true => Ok((None, None)),
                            false => Err(Fault::new(Code::Conflict, "another job has this id")),
                        };
                    }
                    let waiting = state.jobs(&owner, None, usize::MAX)?;
                    if waiting.iter().filter(|row| row.outcome.is_none()).count() >= WAITING {
                        let detail = format!("{WAITING} of the tenant's jobs wait or run already");
                        return Err(Fault::new(Code::RateLimited, detail));
                    }
                    let created = JobCreated { tenant: tenant.clone(), id: id.clone(), work: work.clone() };
                    let row = JobRow::new(tenant, id, work, actor);
                    Ok((Some(Event::JobCreated(created)), Some(row)))
                }
            })
            .await?;
        if let Some(row) = row {
            self.start_job(tenant.clone(), row);
        }
        self.show_job(&tenant, id)
    }

    /// Checks what can be checked before the file is read, and fixes version, settings and bytes.
    fn batch_work(&self, asked: Asked<'_>, tenant: &Tenant, request: BatchRequest) -> Result<BatchWork> {
        let BatchRequest { target, input, output, input_format, format, columns, keep, on_error, .. } = request;
        asked.by.require(Scope::DataRead)?;
        asked.by.require(Scope::DataWrite)?;
        let servable = self.servable(asked.by, &target.parse::<ObjectRef>()?)?;
        let signature = servable.signature()?;
        if let Some(unknown) = columns.keys().find(|name| signature.inputs.iter().all(|port| port.name != **name)) {
            let inputs: Vec<_> = signature.inputs.iter().map(|port| port.name.as_str()).collect();
            let shown: String = unknown.chars().filter(|c| !c.is_control()).take(100).collect();
            return Err(Fault::invalid(format!("there is no input `{shown}`; the inputs are {inputs:?}")));
        }
        if let Some((input, _)) = columns.iter().find(|(_, columns)| columns.is_empty()) {
            return Err(Fault::invalid(format!("the input `{input}` needs a column")));
        }
        if input == output {
            return Err(Fault::invalid("the result needs another name than the input"));
        }
        let told = |said: Option<Format>, name: &FileName, field: &str| {
            said.or_else(|| Format::of(name.as_str())).ok_or_else(|| {
                let names = "`.parquet`, `.csv`, `.ndjson` or `.jsonl`";
                Fault::invalid(format!("the name `{name}` ends in none of {names}: say `{field}`"))
            })
        };
        let within = |what: &str, said: Option<u32>, default: u32, range: std::ops::RangeInclusive<u32>| {
            let number = said.unwrap_or(default);
            match range.contains(&number) {
                true => Ok(number),
                false => Err(Fault::invalid(format!("`{what}` is {} to {}", range.start(), range.end()))),
            }
        };
        let file = self.store.state().file(tenant, &input)?;
        let file = file.ok_or_else(|| Fault::new(Code::NotFound, "there is no data file of the input's name"))?;
        Ok(BatchWork {
            target: servable.name().parse()?,
            version: servable.version(),
            configuration: (servable.kind() == Kind::Plugin).then_some(servable.0.configuration),
            input_format: told(input_format, &input, "input_format")?,
            output_format: told(format, &output, "format")?,
            input,
            input_digest: file.digest,
            input_size: file.size,
            output,
            columns,
            keep,
            batch_size: within("batch_size", request.batch_size, BATCH_ROWS, 1..=MAX_BATCH_ROWS)?,
            checkpoint_rows: within(
                "checkpoint_rows",
                request.checkpoint_rows,
                PART_ROWS,
                LEAST_PART_ROWS..=MAX_PART_ROWS,
            )?,
            on_error,
        })
    }

    /// Lists the tenant's jobs, oldest first: those under way, and the last hundred that ended.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn jobs(&self, asked: Asked<'_>, after: Option<&str>, limit: Option<usize>) -> Result<Page<JobDocument>> {
        let tenant = asked.tenant(Scope::JobsRead)?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let rows = self.store.state().jobs(tenant, after, limit + 1)?;
        let documents = rows.into_iter().map(|row| {
            let progress = self.jobs.progress(tenant, &row.id);
            JobDocument::new(row, progress.as_ref())
        });
        Ok(Page::cut(documents, limit, |job| job.id.clone()))
    }

    /// Shows how far a job is.
    ///
    /// # Errors
    /// `not_found`: also of one that ended so long ago that it is no longer kept.
    pub fn job(&self, asked: Asked<'_>, id: &str) -> Result<JobDocument> {
        self.show_job(asked.tenant(Scope::JobsRead)?, id)
    }

    /// A job, and news of how far it is; none of one that has ended.
    ///
    /// # Errors
    /// `not_found`.
    pub fn follow_job(&self, asked: Asked<'_>, id: &str) -> Result<(JobDocument, Option<watch::Receiver<Progress>>)> {
        let tenant = asked.tenant(Scope::JobsRead)?;
        // In this order: a job that ends in between is shown as ended.
        let news = self.jobs.follow(tenant, id);
        Ok((self.show_job(tenant, id)?, news))
    }

    /// Ends a job. Nothing of its result is kept.
    ///
    /// # Errors
    /// `not_found`; `conflict` if it has ended already, in another way.
    pub async fn cancel_job(&self, asked: Asked<'_>, id: &str) -> Result<JobDocument> {
        let tenant = asked.tenant(Scope::JobsWrite)?.clone();
        self.show_job(&tenant, id)?;
        self.jobs.cancel(&tenant, id, asked.actor()).await;
        let shown = self.show_job(&tenant, id)?;
        match shown.state {
            JobState::Cancelled => Ok(shown),
            JobState::Queued | JobState::Running => Err(Fault::new(Code::Unavailable, "it could not be ended")),
            JobState::Done | JobState::Failed => Err(Fault::new(Code::Conflict, "the job has ended already")),
        }
    }

    fn show_job(&self, tenant: &Tenant, id: &str) -> Result<JobDocument> {
        let progress = self.jobs.progress(tenant, id);
        let row = self.store.state().job(tenant, id)?.ok_or_else(Fault::not_found)?;
        Ok(JobDocument::new(row, progress.as_ref()))
    }

    /// Goes on with jobs that were under way before this start. Call it once.
    ///
    /// # Errors
    /// What reading the store says.
    pub fn resume_jobs(self: &Arc<Self>) -> Result<()> {
        for row in self.store.state().jobs_under_way()? {
            tracing::info!(tenant = %row.tenant, job = %row.id, rows = row.rows, "a job goes on");
            self.start_job(aimass_auth::resumed(row.tenant.clone()), row);
        }
        Ok(())
    }

    /// The version that a job runs, with the settings that it was accepted with.
    fn job_target(&self, tenant: &Tenant, work: &BatchWork) -> Result<Arc<crate::directory::Resolved>> {
        let reference = ObjectRef { name: work.target.clone(), selector: Selector::Version(work.version) };
        let found = self.directory.resolve(tenant, &reference, &Routing::main());
        let (resolved, _) = found.map_err(|fault| match fault.code() {
            Code::NotFound => Fault::new(Code::NotFound, format!("`{reference}` is not there any more")),
            _ => fault,
        })?;
        self.directory.with_configuration(tenant, resolved, work.configuration)
    }
}
