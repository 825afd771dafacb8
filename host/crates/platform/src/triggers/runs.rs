//! Firing, and what came of it. A run is an asynchronous call: the queue has it run, tries again, and keeps the answer.

use std::sync::Arc;

use aimass_core::event::{Actor, Event, RunCause, Trigger, TriggerFired, TriggerRun};
use aimass_core::{Code, Fault, Name, Result, Tenant};

use aimass_store::TriggerRow;

use super::RunDocument;
use super::metrics;
use super::request::{self, Brought};
use super::timetable::now_ms;
use crate::invocations::Holder;
use crate::objects::{PAGE, Page};
use crate::{Asked, CallWish, Platform, Scope};

impl Platform {
    /// Fires a trigger now, also one that rests.
    ///
    /// # Errors
    /// `not_found`; `conflict` for a trigger that cannot run without what its source brings.
    pub async fn fire_trigger(&self, asked: Asked<'_>, name: &Name) -> Result<RunDocument> {
        let tenant = asked.tenant(Scope::TriggersWrite)?;
        let row = self.store.state().trigger(tenant, name)?.ok_or_else(Fault::not_found)?;
        if row.trigger.needs_input() {
            let detail = "this trigger runs with what fires it, which is not there now: replay one of its runs instead";
            return Err(Fault::new(Code::Conflict, detail));
        }
        let key = format!("manual {}", asked.request);
        let run = TriggerRun::new((tenant.name(), name), row.generation, now_ms(), &key, RunCause::Manual);
        let id = run.id.clone();
        self.fire(asked.actor(), tenant, name, row.generation, run, Brought::Nothing).await?;
        self.show_run(tenant, name, &id)
    }

    /// Runs once more what an earlier run ran, with what it ran with, as the trigger is now.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn replay_run(self: &Arc<Self>, asked: Asked<'_>, name: &Name, of: &str) -> Result<RunDocument> {
        let tenant = asked.tenant(Scope::TriggersWrite)?;
        let state = self.store.state();
        let row = state.trigger(tenant, name)?.ok_or_else(Fault::not_found)?;
        let mut first = state.trigger_run(tenant, name, of)?.ok_or_else(Fault::not_found)?;
        // What a replay replays is what was replayed.
        while let RunCause::Replay { of } = &first.run.cause {
            first = state.trigger_run(tenant, name, of)?.ok_or_else(Fault::not_found)?;
        }
        let brought = self.brought_again(tenant, &row, &first.run.cause).await?;
        let key = format!("replay {}", asked.request);
        let cause = RunCause::Replay { of: first.run.id };
        let run = TriggerRun::new((tenant.name(), name), row.generation, now_ms(), &key, cause);
        let id = run.id.clone();
        self.fire(asked.actor(), tenant, name, row.generation, run, brought).await?;
        self.show_run(tenant, name, &id)
    }

    /// Lists a trigger's runs, newest first; `before` is the number of the last one of the page before.
    ///
    /// # Errors
    /// `not_found`.
    pub fn trigger_runs(
        &self,
        asked: Asked<'_>,
        name: &Name,
        before: Option<u64>,
        limit: Option<usize>,
    ) -> Result<Page<RunDocument>> {
        let tenant = asked.tenant(Scope::TriggersRead)?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let state = self.store.state();
        state.trigger(tenant, name)?.ok_or_else(Fault::not_found)?;
        let rows = state.trigger_runs(tenant, name, before, limit + 1)?.into_iter();
        Ok(Page::cut(rows.map(|row| self.run_document(tenant, row)), limit, |run: &RunDocument| run.number.to_string()))
    }

    /// Shows a run.
    ///
    /// # Errors
    /// `not_found`.
    pub fn trigger_run(&self, asked: Asked<'_>, name: &Name, id: &str) -> Result<RunDocument> {
        self.show_run(asked.tenant(Scope::TriggersRead)?, name, id)
    }

    /// Has a run run, and records that its trigger fired. A run that is recorded already is not run again.
    ///
    /// The queue has it first: if the node is killed before the record, the same cause comes again, gives the same id,
    /// and the queue knows that.
    ///
    /// # Errors
    /// `not_found` if there is no such trigger any more; `rate_limited` and `storage_full` where the tenant's queue is
    /// full; what the store says.
    pub(super) async fn fire(
        &self,
        actor: Actor,
        tenant: &Tenant,
        name: &Name,
        generation: u64,
        run: TriggerRun,
        brought: Brought,
    ) -> Result<()> {
        let row = self.store.state().trigger(tenant, name)?.filter(|row| row.generation == generation);
        let row = row.ok_or_else(Fault::not_found)?;
        let rests = row.paused && !matches!(run.cause, RunCause::Manual | RunCause::Replay { .. });
        if rests || self.store.state().trigger_run(tenant, name, &run.id)?.is_some() {
            return Ok(());
        }
        self.put_run((tenant, name), &row.trigger, &run, brought).await?;
        let (owner, wanted) = (tenant.clone(), name.clone());
        self.store
            .write(actor, move |state| {
                let row = state.trigger(&owner, &wanted)?.filter(|row| row.generation == generation);
                row.ok_or_else(Fault::not_found)?;
                let known = state.trigger_run(&owner, &wanted, &run.id)?.is_some();
                let event = Event::TriggerFired(TriggerFired { tenant: owner.name().clone(), name: wanted, run });
                Ok(((!known).then_some(event), ()))
            })
            .await
    }

    async fn put_run(
        &self,
        (tenant, name): (&Tenant, &Name),
        trigger: &Trigger,
        run: &TriggerRun,
        brought: Brought,
    ) -> Result<()> {
        let (subject, request) = request::request((tenant, name), run, &trigger.run, brought, now_ms())?;
        let by = Holder::of(&request::caller(tenant, name, &trigger.run));
        let wish = CallWish { subject, request, depth: 0, idempotency_key: None, callback: None };
        self.accept_for(tenant, by, &run.id, Some(name), wish).await.map(drop)
    }

    /// What a cause brought, once more.
    async fn brought_again(self: &Arc<Self>, tenant: &Tenant, row: &TriggerRow, cause: &RunCause) -> Result<Brought> {
        Ok(match cause {
            RunCause::Event { seq, .. } => Brought::Event(self.event_again(*seq).await?),
            RunCause::Webhook { body, content_type, .. } => {
                let body = self.store.blobs().read(tenant, body).await?;
                Brought::Body { content_type: content_type.clone(), body }
            }
            RunCause::Object { path, version, .. } => self.object_again(tenant, row, (path, version)).await?,
            RunCause::Metric { .. } => metrics::reached(tenant, row, cause),
            RunCause::Cron { .. } | RunCause::Manual | RunCause::Replay { .. } => Brought::Nothing,
        })
    }

    fn show_run(&self, tenant: &Tenant, name: &Name, id: &str) -> Result<RunDocument> {
        let row = self.store.state().trigger_run(tenant, name, id)?.ok_or_else(Fault::not_found)?;
        Ok(self.run_document(tenant, row))
    }
}
