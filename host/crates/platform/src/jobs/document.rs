//! Jobs as the API shows them.

use aimass_core::event::{JobOutcome, JobWork, RowErrors};
use aimass_core::{Code, Fault};
use aimass_store::JobRow;
use schemars::JsonSchema;
use serde::Serialize;

use super::running::Progress;

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits for its turn.
    Queued,
    /// It is being done.
    Running,
    /// Its result is there.
    Done,
    /// It could not go on.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

/// A job as the API shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct JobDocument {
    /// Its id.
    pub id: String,
    /// How far it is.
    pub state: JobState,
    /// What it does.
    #[serde(flatten)]
    pub work: JobWork,
    /// Who wanted it.
    pub created_by: String,
    /// When it was accepted, milliseconds since the epoch.
    pub created_ms: u64,
    /// When it ended, milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Rows that are done.
    pub rows: u64,
    /// All rows, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_rows: Option<u64>,
    /// The part of the input that is done, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<f64>,
    /// Rows that are durable: where it goes on after a crash.
    pub durable_rows: u64,
    /// Rows a second, since it began or went on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<f64>,
    /// How long it will still take, at this rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
    /// Rows that could not be computed: how many, and the first ones.
    pub row_errors: RowErrors,
    /// Bytes of the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_size: Option<u64>,
    /// The result's digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_digest: Option<aimass_core::Digest>,
    /// Why it failed.
    #[serde(skip)]
    pub failure: Option<Fault>,
}

impl JobDocument {
    pub(super) fn new(row: JobRow, progress: Option<&Progress>) -> Self {
        let JobRow { id, work, actor, created_ms, rows, errors, outcome, .. } = row;
        let mut document = Self {
            id,
            state: JobState::Queued,
            work,
            created_by: actor.subject,
            created_ms,
            ended_ms: outcome.as_ref().map(|(_, at)| *at),
            rows,
            total_rows: None,
            done: None,
            durable_rows: rows,
            rows_per_second: None,
            seconds_left: None,
            row_errors: errors,
            output_size: None,
            output_digest: None,
            failure: None,
        };
        match outcome.map(|(outcome, _)| outcome) {
            None => document.under_way(progress),
            Some(JobOutcome::Done { rows, digest, size }) => {
                document.state = JobState::Done;
                (document.total_rows, document.done) = (Some(rows), Some(1.0));
                (document.output_size, document.output_digest) = (Some(size), Some(digest));
            }
            Some(JobOutcome::Failed { code, detail }) => {
                document.state = JobState::Failed;
                document.failure = Some(Fault::new(Code::named(&code).unwrap_or(Code::Internal), detail));
            }
            Some(JobOutcome::Cancelled) => document.state = JobState::Cancelled,
        }
        document
    }

    fn under_way(&mut self, progress: Option<&Progress>) {
        let Some(Progress { since: Some((began, from)), rows, durable, total, done, errors }) = progress else {
            return;
        };
        self.state = JobState::Running;
        (self.rows, self.durable_rows, self.total_rows) = (*rows, *durable, *total);
        self.row_errors = errors.clone();
        self.done = total.filter(|total| *total > 0).map(|total| *rows as f64 / total as f64).or(*done);
        let seconds = began.elapsed().as_secs_f64();
        let rate = rows.saturating_sub(*from) as f64 / seconds.max(1e-3);
        if rate > 0.0 {
            self.rows_per_second = Some(rate);
            // Of a file that does not say how many rows it has, as far as its bytes say.
            let all =
                total.map(|total| total as f64).or(done.filter(|done| *done > 0.0).map(|done| *rows as f64 / done));
            self.seconds_left = all.map(|all| (all - *rows as f64).max(0.0) / rate);
        }
    }
}
