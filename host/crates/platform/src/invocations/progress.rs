//! How far work in the queue is: an asynchronous call, or a message to a webhook.

use aimass_store::{Failure, ItemRow, ItemState};
use schemars::JsonSchema;
use serde::Serialize;

/// How far something in the queue is.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ProgressDocument {
    /// Its state.
    pub state: ItemState,
    /// Attempts that were begun.
    pub attempts: u32,
    /// Attempts until it is given up.
    pub max_attempts: u32,
    /// When it was put there, milliseconds since the epoch.
    pub created_ms: u64,
    /// When it is tried, while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<u64>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl ProgressDocument {
    pub(crate) fn of(row: &ItemRow) -> Self {
        Self {
            state: row.state,
            attempts: row.attempts,
            max_attempts: row.max_attempts,
            created_ms: row.created_ms,
            due_ms: (row.state == ItemState::Queued).then_some(row.due_ms),
            ended_ms: row.ended_ms,
            failure: row.failure.clone(),
        }
    }
}
