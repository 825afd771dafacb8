//! Looks at the clock each second, and fires what is due.
//!
//! How long to sleep is told by the monotonic clock, what is due by the one on the wall: it may jump. A jump forward is a
//! gap of missed slots, of which the newest is caught up with; after a jump back nothing fires until the clock has come
//! to where it was, since the newest slot that was fired stands in the journal.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aimass_core::event::{Actor, RunCause, TriggerRun, TriggerSource};
use aimass_core::{Code, Name, Result};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::request::Brought;
use super::schedule::{Due, Schedule};
use crate::Platform;

/// What this node watches the clock for.
#[derive(Default)]
pub(crate) struct Timetable {
    /// Counts changes of triggers.
    changes: AtomicU64,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    /// The change up to which these are so; none before they were read.
    read_at: Option<u64>,
    due: HashMap<(Name, Name), Entry>,
}

struct Entry {
    schedule: Schedule,
    generation: u64,
    /// The newest slot that was fired or passed over.
    last_ms: u64,
    /// The one after it; none if there are no more.
    next_ms: Option<u64>,
}

impl Timetable {
    /// A trigger was changed: read them again.
    pub(crate) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}

impl Platform {
    /// Fires triggers when they are due, for as long as it is polled. One node does.
    pub async fn follow_triggers(self: &Arc<Self>) {
        loop {
            if let Err(fault) = self.fire_due(now_ms()).await {
                tracing::error!(%fault, cause = fault.cause(), "the triggers cannot be read");
            }
            // To the next second of the clock on the wall: a slot is one.
            tokio::time::sleep(Duration::from_millis(1_000 - now_ms() % 1_000)).await;
        }
    }

    /// Fires what is due at `now_ms`.
    ///
    /// # Errors
    /// What reading the store says. What cannot be fired now is tried again with the next look.
    pub(crate) async fn fire_due(self: &Arc<Self>, now_ms: u64) -> Result<()> {
        let mut entries = self.timetable.entries.lock().await;
        let changes = self.timetable.changes.load(Ordering::SeqCst);
        if entries.read_at != Some(changes) {
            entries.due = self.read_timetable()?;
            entries.read_at = Some(changes);
        }
        let mut firing = JoinSet::new();
        for ((tenant, name), entry) in &mut entries.due {
            if entry.next_ms.is_none_or(|next| next > now_ms) {
                continue;
            }
            let Some(due) = entry.schedule.due(entry.last_ms, now_ms) else {
                // Too old to be caught up with.
                entry.passed(now_ms);
                continue;
            };
            let (platform, tenant, name, generation) = (self.clone(), tenant.clone(), name.clone(), entry.generation);
            firing.spawn(async move {
                let fired = platform.fire_slot(&tenant, &name, generation, due).await;
                (tenant, name, due.slot_ms, fired)
            });
        }
        while let Some(joined) = firing.join_next().await {
            let Ok((tenant, name, slot_ms, fired)) = joined else { continue };
            if let Err(fault) = &fired {
                tracing::warn!(%tenant, trigger = %name, %fault, cause = fault.cause(), "a trigger could not be fired");
            }
            // A trigger that is gone needs no second try.
            let again = fired.is_err_and(|fault| fault.code() != Code::NotFound);
            if let Some(entry) = entries.due.get_mut(&(tenant, name)).filter(|_| !again) {
                entry.passed(slot_ms);
            }
        }
        Ok(())
    }

    async fn fire_slot(self: &Arc<Self>, tenant: &Name, name: &Name, generation: u64, due: Due) -> Result<()> {
        let Due { slot_ms, caught_up } = due;
        let cause = RunCause::Cron { slot_ms, caught_up };
        let run = TriggerRun::new((tenant, name), generation, slot_ms, "cron", cause);
        let tenant = aimass_auth::resumed(tenant.clone());
        self.fire(Actor::system(), &tenant, name, generation, run, Brought::Nothing).await
    }

    fn read_timetable(&self) -> Result<HashMap<(Name, Name), Entry>> {
        let mut due = HashMap::new();
        for row in self.store.state().all_triggers()?.into_iter().filter(|row| !row.paused) {
            let TriggerSource::Cron(cron) = &row.trigger.on else { continue };
            match Schedule::read(cron) {
                Ok(schedule) => {
                    let last_ms = row.last_slot_ms.unwrap_or(0).max(row.since_ms);
                    let next_ms = schedule.next_after(last_ms);
                    let entry = Entry { schedule, generation: row.generation, last_ms, next_ms };
                    due.insert((row.tenant, row.name), entry);
                }
                // It was checked when it was made: the list of time zones has changed since.
                Err(fault) => tracing::error!(tenant = %row.tenant, trigger = %row.name, %fault, "cannot be scheduled"),
            }
        }
        Ok(due)
    }
}

impl Entry {
    fn passed(&mut self, up_to_ms: u64) {
        self.last_ms = up_to_ms;
        self.next_ms = self.schedule.next_after(up_to_ms);
    }
}

/// Milliseconds since the epoch by the clock on the wall.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}
