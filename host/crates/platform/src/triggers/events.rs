//! Fires what waits for events of the platform: follows the journal, and knows by its numbers what it has seen.
//!
//! A trigger's newest event stands in the journal with its run, so a start goes on behind it: an event whose run was not
//! recorded when the node was killed is found again, and gives the same run.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use aimass_core::cloud_event::CloudEvent;
use aimass_core::event::{Actor, Event, RunCause, TriggerRun, TriggerSource};
use aimass_core::{Code, Fault, Name, Result};
use aimass_store::Record;
use tokio::sync::broadcast::error::RecvError;

use super::journal_events;
use super::request::Brought;
use crate::Platform;
use crate::rule::{Rule, Values};

/// Records that are read from the journal at once, where it has to be read.
const CHUNK: u64 = 10_000;

/// How long to wait with an event that cannot be recorded now: the disk is full.
const AGAIN: Duration = Duration::from_secs(1);

/// The triggers that wait for events, by tenant.
type Waiting = HashMap<Name, Vec<Entry>>;

struct Entry {
    name: Name,
    generation: u64,
    kinds: Vec<String>,
    condition: Option<Rule>,
    /// The newest event that it has seen, or when it began to look.
    after: u64,
}

impl Entry {
    fn wants(&self, seq: u64, event: &CloudEvent) -> bool {
        let kind = journal_events::short(&event.kind);
        if seq <= self.after || !self.kinds.iter().any(|wanted| wanted == kind) {
            return false;
        }
        // A field that this event does not have: it is not meant.
        self.condition.as_ref().is_none_or(|rule| {
            rule.holds(&Values::default().document("event", &event.document())).unwrap_or_else(|fault| {
                tracing::debug!(trigger = %self.name, seq, %fault, "a condition comes to nothing");
                false
            })
        })
    }
}

impl Platform {
    /// Fires triggers when what they wait for has happened, for as long as it is polled. One node does.
    pub async fn follow_events(self: &Arc<Self>) {
        loop {
            if let Err(fault) = self.follow_journal().await {
                tracing::error!(%fault, cause = fault.cause(), "the journal cannot be followed");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn follow_journal(self: &Arc<Self>) -> Result<()> {
        // Before anything is read: what comes meanwhile waits here.
        let mut records = self.store.subscribe();
        let mut waiting = self.waiting()?;
        let begin = waiting.values().flatten().map(|entry| entry.after).min();
        let mut seen = begin.unwrap_or_else(|| self.store.sequence());
        loop {
            while seen < self.store.sequence() {
                let (found, to) = self.read_events(seen).await?;
                for record in found {
                    self.happened(&mut waiting, &record).await?;
                }
                seen = to;
            }
            match records.recv().await {
                Ok(record) if record.seq == seen + 1 => {
                    self.happened(&mut waiting, &record).await?;
                    seen = record.seq;
                }
                // It was read from the journal already; or some are missing, and are read from there.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err(Fault::new(Code::Unavailable, "the store was closed")),
            }
        }
    }

    /// The records behind `after` that matter here, and up to which one that is so.
    async fn read_events(&self, after: u64) -> Result<(Vec<Record>, u64)> {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || {
            let (last, mut found, mut to) = (store.sequence(), vec![], after);
            aimass_store::read_journal(store.folder(), after, &mut |record| {
                // What is not acknowledged has not happened.
                if record.seq > last || record.seq > after + CHUNK {
                    return ControlFlow::Break(());
                }
                to = record.seq;
                if changes_triggers(&record) || journal_events::of_record(&record).is_some() {
                    found.push(record);
                }
                ControlFlow::Continue(())
            })?;
            Ok((found, to))
        });
        read.await.map_err(Fault::internal)?
    }

    async fn happened(self: &Arc<Self>, waiting: &mut Waiting, record: &Record) -> Result<()> {
        if changes_triggers(record) {
            *waiting = self.waiting()?;
        }
        let Some((tenant, event)) = journal_events::of_record(record) else { return Ok(()) };
        for entry in waiting.get_mut(&tenant).into_iter().flatten() {
            if !entry.wants(record.seq, &event) {
                continue;
            }
            let kind = journal_events::short(&event.kind).to_owned();
            let cause = RunCause::Event { seq: record.seq, kind };
            let key = format!("event {}", record.seq);
            let run = TriggerRun::new((&tenant, &entry.name), entry.generation, record.time_ms, &key, cause);
            let owner = aimass_auth::resumed(tenant.clone());
            loop {
                let brought = Brought::Event(event.clone());
                let fired = self.fire(Actor::system(), &owner, &entry.name, entry.generation, run.clone(), brought);
                match fired.await {
                    Err(fault) if fault.code() != Code::NotFound => {
                        tracing::warn!(%tenant, trigger = %entry.name, %fault, "a trigger could not be fired");
                        tokio::time::sleep(AGAIN).await;
                    }
                    _ => break,
                }
            }
            entry.after = record.seq;
        }
        Ok(())
    }

    fn waiting(&self) -> Result<Waiting> {
        let mut waiting = Waiting::default();
        for row in self.store.state().all_triggers()?.into_iter().filter(|row| !row.paused) {
            let TriggerSource::Event(source) = &row.trigger.on else { continue };
            let condition = match source.condition.as_deref().map(condition).transpose() {
                Ok(condition) => condition,
                // It was compiled when it was made.
                Err(fault) => {
                    tracing::error!(tenant = %row.tenant, trigger = %row.name, %fault, "a condition is none any more");
                    continue;
                }
            };
            let kinds = source.kinds.iter().map(|kind| journal_events::short(kind).to_owned()).collect();
            let after = row.last_event.unwrap_or(0).max(row.since_seq);
            let entry = Entry { name: row.name, generation: row.generation, kinds, condition, after };
            waiting.entry(row.tenant).or_default().push(entry);
        }
        Ok(waiting)
    }

    /// The event that a run was fired by, once more.
    pub(super) async fn event_again(&self, seq: u64) -> Result<CloudEvent> {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut event = None;
            aimass_store::read_journal(store.folder(), seq - 1, &mut |record| {
                event = journal_events::of_record(&record);
                ControlFlow::Break(())
            })?;
            event.map(|(_, event)| event).ok_or_else(Fault::not_found)
        });
        read.await.map_err(Fault::internal)?
    }
}

/// A condition over an event.
pub(super) fn condition(source: &str) -> Result<Rule> {
    Rule::over_documents(source, &["event"])
}

fn changes_triggers(record: &Record) -> bool {
    matches!(record.event, Event::TriggerSet(_) | Event::TriggerDeleted(_) | Event::TriggerPaused(_))
}
