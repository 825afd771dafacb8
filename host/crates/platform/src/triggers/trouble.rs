//! Why a trigger could not look for objects: what its owner is shown until a look succeeds.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aimass_core::{Name, Result};
use aimass_store::TriggerRow;
use schemars::JsonSchema;
use serde::Serialize;

use super::timetable::now_ms;

/// Why the last look failed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LastError {
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
    /// The reason as a stable word.
    pub code: String,
    /// The reason in words.
    pub detail: String,
    /// How many looks have failed one after the other.
    pub failures: u64,
}

/// A trigger as it is now: what is replaced begins anew.
pub(super) type Key = (Name, Name, u64);

pub(super) fn key(row: &TriggerRow) -> Key {
    (row.tenant.clone(), row.name.clone(), row.since_seq)
}

/// What this node knows of it. Not recorded: the next look, seconds after a start, finds it out again.
#[derive(Default)]
pub(crate) struct Troubles(Mutex<HashMap<Key, LastError>>);

impl Troubles {
    /// Notes how a look ended.
    pub(super) fn note(&self, row: &TriggerRow, outcome: Result<()>) {
        let key = key(row);
        let Err(fault) = outcome else { return drop(self.open().remove(&key)) };
        let (tenant, trigger) = (&row.tenant, &row.name);
        tracing::info!(%tenant, %trigger, %fault, cause = fault.cause(), "objects could not be looked for");
        let mut open = self.open();
        let failures = open.get(&key).map_or(0, |last| last.failures) + 1;
        let (code, detail) = (fault.code().as_str().to_owned(), fault.detail().to_owned());
        open.insert(key, LastError { at_ms: now_ms(), code, detail, failures });
    }

    /// Why the last look of this trigger failed; none if it did not.
    pub(super) fn of(&self, row: &TriggerRow) -> Option<LastError> {
        self.open().get(&key(row)).cloned()
    }

    /// Forgets triggers that are none of these.
    pub(super) fn keep(&self, rows: &[TriggerRow]) {
        let mut open = self.open();
        if !open.is_empty() {
            let known: HashSet<Key> = rows.iter().filter(|row| !row.paused).map(key).collect();
            open.retain(|key, _| known.contains(key));
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Key, LastError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
