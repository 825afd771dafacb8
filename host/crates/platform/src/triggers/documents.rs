//! Triggers and runs as the API shows them.

use aimass_core::event::{RunCause, Trigger, TriggerSource};
use aimass_core::{Name, Result, Tenant};
use aimass_store::{RunRow, State, TriggerRow};
use serde::Serialize;

use super::schedule::Schedule;
use super::timetable::now_ms;
use crate::Platform;

/// A trigger as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct TriggerDocument {
    /// Its name.
    pub name: Name,
    /// When it fires, and what it runs.
    #[serde(flatten)]
    pub trigger: Trigger,
    /// Whether it rests.
    pub paused: bool,
    /// When it was made, milliseconds since the epoch.
    pub created_ms: u64,
    /// Who made or replaced it.
    pub changed_by: String,
    /// When it fires next, milliseconds since the epoch, where a clock decides that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<u64>,
    /// How often it fired.
    pub runs: u64,
    /// The newest run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<RunDocument>,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It was fired and has not ended.
    Running,
    /// What it called answered that all is well.
    Succeeded,
    /// It did not.
    Failed,
}

/// A run as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct RunDocument {
    /// Its number among the trigger's, from 1.
    pub number: u64,
    /// Its id.
    pub id: String,
    /// Why it was fired.
    pub cause: RunCause,
    /// When, milliseconds since the epoch.
    pub fired_ms: u64,
    /// Who asked for it; none where nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
    /// How it stands.
    pub state: RunState,
    /// When it ended, milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// The status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl From<RunRow> for RunDocument {
    fn from(row: RunRow) -> Self {
        let state = match &row.ended {
            None => RunState::Running,
            Some((_, outcome)) if outcome.succeeded => RunState::Succeeded,
            Some(_) => RunState::Failed,
        };
        let (ended_ms, outcome) = row.ended.unzip();
        Self {
            number: row.number,
            id: row.run.id,
            cause: row.run.cause,
            fired_ms: row.fired_ms,
            asked_by: row.asked_by,
            state,
            ended_ms,
            status: outcome.as_ref().map(|outcome| outcome.status),
            detail: outcome.and_then(|outcome| outcome.detail),
        }
    }
}

impl Platform {
    pub(super) fn trigger_document(
        &self,
        state: &State<'_>,
        tenant: &Tenant,
        row: TriggerRow,
    ) -> Result<TriggerDocument> {
        let next_ms = match &row.trigger.on {
            TriggerSource::Cron(_) if row.paused => None,
            TriggerSource::Cron(cron) => Schedule::read(cron)?.next_after(now_ms().max(row.last_slot_ms.unwrap_or(0))),
        };
        let last_run = state.trigger_runs(tenant, &row.name, None, 1)?.pop().map(Into::into);
        let TriggerRow { name, trigger, paused, created_ms, changed_by, runs, .. } = row;
        Ok(TriggerDocument { name, trigger, paused, created_ms, changed_by, next_ms, runs, last_run })
    }
}
