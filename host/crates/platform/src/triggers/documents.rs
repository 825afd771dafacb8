//! Triggers and runs as the API shows them.

use aimass_core::event::{BucketCredentials, RunCause, Trigger, TriggerSource, TriggerTarget};
use aimass_core::{Name, Result, Tenant};
use aimass_store::{Failure, ItemState, RunRow, State, TriggerRow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LastError;
use super::schedule::Schedule;
use super::timetable::now_ms;
use crate::Platform;

/// What a trigger should be.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerWish {
    /// When it fires.
    pub on: TriggerSource,
    /// What it runs.
    pub run: TriggerTarget,
    /// What requests to its bucket are signed with. Left out, those that were given for the same bucket before; if there
    /// are none, requests are not signed.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub credentials: Option<BucketCredentials>,
}

impl From<Trigger> for TriggerWish {
    fn from(Trigger { on, run }: Trigger) -> Self {
        Self { on, run, credentials: None }
    }
}

/// A trigger as the API shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
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
    /// Whether requests to its bucket are signed with credentials, which are never shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<bool>,
    /// Why the last look for objects failed, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
}

/// A trigger that was made or replaced.
#[derive(Clone, Serialize, JsonSchema)]
pub struct NewTrigger {
    /// The trigger.
    #[serde(flatten)]
    pub trigger: TriggerDocument,
    /// The secret that its webhooks are signed with, where a new one was made. It is shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It waits for its turn, or for another attempt.
    Queued,
    /// It is under way.
    Running,
    /// What it called has answered.
    Done,
    /// It was given up.
    Dead,
    /// Somebody called it off.
    Cancelled,
    /// It ended, so long ago that how is no longer kept.
    Forgotten,
}

/// A run as the API shows it. It is an asynchronous call with the same id, whose answer is kept there.
#[derive(Clone, Debug, Serialize, JsonSchema)]
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
    /// Attempts that were begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// When it ended, milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl Platform {
    pub(super) fn run_document(&self, tenant: &Tenant, row: RunRow) -> RunDocument {
        let call = self.store.queue().row(tenant, &row.run.id);
        let state = call.as_ref().map_or(RunState::Forgotten, |call| match call.state {
            ItemState::Queued => RunState::Queued,
            ItemState::Running => RunState::Running,
            ItemState::Done => RunState::Done,
            ItemState::Dead => RunState::Dead,
            ItemState::Cancelled => RunState::Cancelled,
        });
        RunDocument {
            number: row.number,
            id: row.run.id,
            cause: row.run.cause,
            fired_ms: row.fired_ms,
            asked_by: row.asked_by,
            state,
            attempts: call.as_ref().map(|call| call.attempts),
            ended_ms: call.as_ref().and_then(|call| call.ended_ms),
            failure: call.and_then(|call| call.failure),
        }
    }

    pub(super) fn trigger_document(
        &self,
        state: &State<'_>,
        tenant: &Tenant,
        row: TriggerRow,
    ) -> Result<TriggerDocument> {
        let next_ms = match &row.trigger.on {
            TriggerSource::Cron(cron) if !row.paused => {
                Schedule::read(cron)?.next_after(now_ms().max(row.last_slot_ms.unwrap_or(0)))
            }
            _ => None,
        };
        let last_run = state.trigger_runs(tenant, &row.name, None, 1)?.pop().map(|run| self.run_document(tenant, run));
        let signed = matches!(row.trigger.on, TriggerSource::Bucket(_)).then_some(row.credentials.is_some());
        let last_error = self.troubles.of(&row);
        let TriggerRow { name, trigger, paused, created_ms, changed_by, runs, .. } = row;
        Ok(TriggerDocument {
            name,
            trigger,
            paused,
            created_ms,
            changed_by,
            next_ms,
            runs,
            last_run,
            signed,
            last_error,
        })
    }
}
