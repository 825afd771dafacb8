//! Firing, and what came of it.

use std::sync::Arc;

use aimass_core::event::{Actor, Event, RunCause, RunOutcome, TriggerRun, TriggerTarget};
use aimass_core::{Fault, Name, Result, Tenant};

use super::RunDocument;
use super::perform::{self, Performed};
use super::timetable::now_ms;
use crate::objects::{PAGE, Page};
use crate::{Asked, Platform, Scope};

impl Platform {
    /// Fires a trigger now, also one that rests.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn fire_trigger(self: &Arc<Self>, asked: Asked<'_>, name: &Name) -> Result<RunDocument> {
        let tenant = asked.tenant(Scope::TriggersWrite)?;
        let generation = self.trigger_generation(tenant, name)?;
        let key = format!("manual {}", asked.request);
        let run = TriggerRun::new((tenant.name(), name), generation, now_ms(), &key, RunCause::Manual);
        let id = run.id.clone();
        self.fire(asked.actor(), tenant, name, generation, run).await?;
        self.show_run(tenant, name, &id)
    }

    /// Runs once more what an earlier run ran, as the trigger is now.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn replay_run(self: &Arc<Self>, asked: Asked<'_>, name: &Name, of: &str) -> Result<RunDocument> {
        let tenant = asked.tenant(Scope::TriggersWrite)?;
        let generation = self.trigger_generation(tenant, name)?;
        let of = self.show_run(tenant, name, of)?.id;
        let key = format!("replay {}", asked.request);
        let run = TriggerRun::new((tenant.name(), name), generation, now_ms(), &key, RunCause::Replay { of });
        let id = run.id.clone();
        self.fire(asked.actor(), tenant, name, generation, run).await?;
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
        let rows = state.trigger_runs(tenant, name, before, limit + 1)?;
        Ok(Page::cut(rows.into_iter().map(Into::into), limit, |run: &RunDocument| run.number.to_string()))
    }

    /// Shows a run.
    ///
    /// # Errors
    /// `not_found`.
    pub fn trigger_run(&self, asked: Asked<'_>, name: &Name, id: &str) -> Result<RunDocument> {
        self.show_run(asked.tenant(Scope::TriggersRead)?, name, id)
    }

    /// Goes on with runs that were under way when the process before this one ended. Call it once.
    ///
    /// # Errors
    /// What reading the store says.
    pub fn resume_runs(self: &Arc<Self>) -> Result<()> {
        for (tenant, name, id) in self.store.state().runs_under_way()? {
            let tenant = aimass_auth::resumed(tenant);
            let row = self.store.state().trigger(&tenant, &name)?.ok_or_else(Fault::not_found)?;
            tracing::info!(tenant = %tenant.name(), trigger = %name, run = id, "a run goes on");
            self.start(&tenant, &name, id, row.trigger.run);
        }
        Ok(())
    }

    /// Records that a trigger fired, and starts the run. A run that is recorded already is not started again.
    ///
    /// # Errors
    /// `not_found` if there is no such trigger any more; what the store says.
    pub(super) async fn fire(
        self: &Arc<Self>,
        actor: Actor,
        tenant: &Tenant,
        name: &Name,
        generation: u64,
        run: TriggerRun,
    ) -> Result<()> {
        let (owner, wanted, id) = (tenant.clone(), name.clone(), run.id.clone());
        let target = self
            .store
            .write(actor, move |state| {
                let row = state.trigger(&owner, &wanted)?.filter(|row| row.generation == generation);
                let row = row.ok_or_else(Fault::not_found)?;
                let rests = row.paused && matches!(run.cause, RunCause::Cron { .. });
                if rests || state.trigger_run(&owner, &wanted, &run.id)?.is_some() {
                    return Ok((None, None));
                }
                let event = Event::TriggerFired { tenant: owner.name().clone(), name: wanted, run };
                Ok((Some(event), Some(row.trigger.run)))
            })
            .await?;
        if let Some(target) = target {
            self.start(tenant, name, id, target);
        }
        Ok(())
    }

    fn start(self: &Arc<Self>, tenant: &Tenant, name: &Name, id: String, target: TriggerTarget) {
        let (platform, tenant, name) = (self.clone(), tenant.clone(), name.clone());
        tokio::spawn(async move {
            let outcome = platform.perform(&tenant, &name, &id, &target).await;
            let (run, owner) = (id.clone(), tenant.name().clone());
            let event = Event::TriggerRunEnded { tenant: owner, name: name.clone(), run, outcome };
            if let Err(fault) = platform.store.write(Actor::system(), move |_| Ok((Some(event), ()))).await {
                // The trigger may be gone; else the next start runs it again.
                tracing::warn!(tenant = %tenant, trigger = %name, run = id, %fault, "how a run ended is not recorded");
            }
        });
    }

    async fn perform(&self, tenant: &Tenant, name: &Name, id: &str, target: &TriggerTarget) -> RunOutcome {
        let performed = match perform::request(tenant, name, id, target).and_then(|r| Ok((self.performer.get()?, r))) {
            Ok((performs, request)) => performs.perform(request).await,
            Err(fault) => {
                tracing::error!(run = id, %fault, cause = fault.cause(), "a run cannot be started");
                Performed { status: 500, detail: Some(fault.detail().to_owned()) }
            }
        };
        RunOutcome { succeeded: performed.status < 400, status: performed.status, detail: performed.detail }
    }

    fn trigger_generation(&self, tenant: &Tenant, name: &Name) -> Result<u64> {
        self.store.state().trigger(tenant, name)?.map(|row| row.generation).ok_or_else(Fault::not_found)
    }

    fn show_run(&self, tenant: &Tenant, name: &Name, id: &str) -> Result<RunDocument> {
        self.store.state().trigger_run(tenant, name, id)?.map(Into::into).ok_or_else(Fault::not_found)
    }
}
