//! Data files, and jobs over them: what events change, and how it is read.

use std::collections::BTreeMap;

use aimass_core::data::FileName;
use aimass_core::event::{
    Actor, Event, FileDeleted, FileStored, JobAdvanced, JobCreated, JobEnded, JobOutcome, JobPart, JobRestarted,
    JobWork, RowErrors,
};
use aimass_core::{Digest, Fault, Name, Result, Tenant};
use serde::{Deserialize, Serialize};

use super::apply::{Changes, conflict, must_exist, put};
use super::state::State;
use super::{configuration, keys};
use crate::journal::Record;

/// Jobs of a tenant that have ended and are still shown; the oldest go when another one comes.
const KEPT: usize = 100;

/// A data file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRow {
    /// Whose.
    pub tenant: Name,
    /// Its name.
    pub name: FileName,
    /// Its bytes, in [`crate::Blobs`].
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
    /// When they came, milliseconds since the epoch.
    pub stored_ms: u64,
    /// The subject of the token that brought them.
    pub stored_by: String,
    /// The job that they are the result of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    /// Whose.
    pub tenant: Name,
    /// Its id.
    pub id: String,
    /// What it does.
    pub work: JobWork,
    /// Who wanted it.
    pub actor: Actor,
    /// When it was accepted, milliseconds since the epoch.
    pub created_ms: u64,
    /// The rows of the input whose results are durable.
    pub rows: u64,
    /// How many pieces they are.
    pub parts: u64,
    /// Rows that could not be computed.
    pub errors: RowErrors,
    /// How it ended, and when; none while it is under way.
    pub outcome: Option<(JobOutcome, u64)>,
}

impl JobRow {
    /// One that is about to be accepted.
    pub fn new(tenant: Name, id: String, work: JobWork, actor: Actor) -> Self {
        Self { tenant, id, work, actor, created_ms: 0, rows: 0, parts: 0, errors: RowErrors::default(), outcome: None }
    }
}

pub(super) fn changes(state: &State<'_>, record: &Record, out: &mut Changes) -> Result<()> {
    match &record.event {
        Event::FileStored(FileStored { tenant, name, digest, size }) => {
            must_exist(state, tenant)?;
            store_file(record, out, (tenant, name), (digest, *size), None)
        }
        Event::FileDeleted(FileDeleted { tenant, name }) => {
            let key = keys::file(tenant, name);
            state.row::<FileRow>(&key)?.ok_or_else(Fault::not_found)?;
            out.push((key, None));
            Ok(())
        }
        Event::JobCreated(JobCreated { tenant, id, work }) => {
            must_exist(state, tenant)?;
            let key = keys::job(tenant, id);
            if state.row::<JobRow>(&key)?.is_some() {
                return Err(conflict("a job with this id exists already"));
            }
            let JobWork::Batch(batch) = work;
            if let Some(number) = batch.configuration
                && !configuration::exists(state, tenant, &batch.target, number)?
            {
                return Err(conflict(format!("the settings of `{}` were changed just now; try again", batch.target)));
            }
            // Ids begin with the time, so these are the oldest.
            let ended = state.rows(&keys::jobs(tenant), None, usize::MAX, |row: &JobRow| row.outcome.is_some())?;
            for old in &ended[..ended.len().saturating_sub(KEPT)] {
                out.push((keys::job(tenant, &old.id), None));
            }
            let row = JobRow::new(tenant.clone(), id.clone(), work.clone(), record.actor.clone());
            put(out, key, &JobRow { created_ms: record.time_ms, ..row })
        }
        Event::JobAdvanced(JobAdvanced { tenant, id, part, errors }) => {
            let row = under_way(state, tenant, id)?;
            put(out, keys::job_part(tenant, id, row.parts), part)?;
            let row = JobRow { rows: part.rows, parts: row.parts + 1, errors: errors.clone(), ..row };
            put(out, keys::job(tenant, id), &row)
        }
        Event::JobRestarted(JobRestarted { tenant, id }) => {
            let row = under_way(state, tenant, id)?;
            forget_parts(&row, out);
            let row = JobRow { rows: 0, parts: 0, errors: RowErrors::default(), ..row };
            put(out, keys::job(tenant, id), &row)
        }
        Event::JobEnded(JobEnded { tenant, id, outcome, errors }) => {
            let mut row = under_way(state, tenant, id)?;
            forget_parts(&row, out);
            if let JobOutcome::Done { rows, digest, size } = outcome {
                let JobWork::Batch(batch) = &row.work;
                store_file(record, out, (tenant, &batch.output), (digest, *size), Some(id))?;
                row.rows = *rows;
            }
            let outcome = Some((outcome.clone(), record.time_ms));
            put(out, keys::job(tenant, id), &JobRow { parts: 0, errors: errors.clone(), outcome, ..row })
        }
        _ => Err(Fault::internal("an event of another kind")),
    }
}

fn store_file(
    record: &Record,
    out: &mut Changes,
    (tenant, name): (&Name, &FileName),
    (digest, size): (&Digest, u64),
    job: Option<&String>,
) -> Result<()> {
    let row = FileRow {
        tenant: tenant.clone(),
        name: name.clone(),
        digest: *digest,
        size,
        stored_ms: record.time_ms,
        stored_by: record.actor.subject.clone(),
        job: job.cloned(),
    };
    put(out, keys::file(tenant, name), &row)
}

fn under_way(state: &State<'_>, tenant: &Name, id: &str) -> Result<JobRow> {
    state.row::<JobRow>(&keys::job(tenant, id))?.filter(|row| row.outcome.is_none()).ok_or_else(Fault::not_found)
}

fn forget_parts(row: &JobRow, out: &mut Changes) {
    out.extend((0..row.parts).map(|number| (keys::job_part(&row.tenant, &row.id, number), None)));
}

impl State<'_> {
    /// A data file.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn file(&self, tenant: &Tenant, name: &FileName) -> Result<Option<FileRow>> {
        self.row(&keys::file(tenant.name(), name))
    }

    /// At most `limit` data files of a tenant behind `after`, by name.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn files(&self, tenant: &Tenant, after: Option<&FileName>, limit: usize) -> Result<Vec<FileRow>> {
        let after = after.map(|name| keys::file(tenant.name(), name));
        self.rows(&keys::files(tenant.name()), after, limit, |_| true)
    }

    /// A job, by its id.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn job(&self, tenant: &Tenant, id: &str) -> Result<Option<JobRow>> {
        self.row(&keys::job(tenant.name(), id))
    }

    /// At most `limit` jobs of a tenant behind `after`, by id, which is the order in which they came.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn jobs(&self, tenant: &Tenant, after: Option<&str>, limit: usize) -> Result<Vec<JobRow>> {
        let after = after.map(|id| keys::job(tenant.name(), id));
        self.rows(&keys::jobs(tenant.name()), after, limit, |_| true)
    }

    /// The pieces of a job's result, in order.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn job_parts(&self, tenant: &Tenant, id: &str) -> Result<Vec<JobPart>> {
        self.rows(&keys::job_parts(tenant.name(), id), None, usize::MAX, |_| true)
    }

    /// The jobs of all tenants that are under way.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn jobs_under_way(&self) -> Result<Vec<JobRow>> {
        self.rows(&keys::all_jobs(), None, usize::MAX, |row: &JobRow| row.outcome.is_none())
    }

    /// Adds the blobs of data files, and of what jobs under way read.
    pub(super) fn data_blobs(&self, live: &mut BTreeMap<(String, Digest), u64>) -> Result<()> {
        for row in self.rows(&keys::all_files(), None, usize::MAX, |_: &FileRow| true)? {
            live.insert((row.tenant.to_string(), row.digest), row.size);
        }
        for row in self.jobs_under_way()? {
            let JobWork::Batch(batch) = &row.work;
            live.insert((row.tenant.to_string(), batch.input_digest), batch.input_size);
        }
        Ok(())
    }
}
