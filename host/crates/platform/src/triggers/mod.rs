//! Triggers: what runs by itself, when, and what came of it.
//!
//! A trigger is recorded in the journal, and so is each time that it fires, under an id that its cause decides: the slot
//! of a schedule, for example. So whatever happens in between, one cause is one run.

mod buckets;
mod documents;
mod events;
mod hooks;
mod journal_events;
mod look;
mod metrics;
mod objects;
mod request;
mod runs;
mod schedule;
mod tell;
mod timetable;
mod trouble;
mod wish;

use std::sync::Arc;

use aimass_core::event::{Event, Trigger, TriggerDeleted, TriggerPaused, TriggerSet, TriggerSource};
use aimass_core::{Code, Fault, Name, Result};
use aimass_store::State;

pub use documents::{NewTrigger, RunDocument, RunState, TriggerDocument, TriggerWish};
pub use hooks::Webhook;
pub use trouble::LastError;

pub(crate) use hooks::Hooks;
pub(crate) use timetable::Timetable;
pub(crate) use trouble::Troubles;

use crate::objects::{PAGE, Page};
use crate::{Asked, Platform, Scope};

/// Triggers of one tenant: each is looked at every second.
const MAX_TRIGGERS: usize = 100;

impl Platform {
    /// Makes or replaces a trigger. Returns it, and whether it is new. A trigger for webhooks gets a secret with that,
    /// or anew if `renew` asks for it; it is shown this once. Credentials of a bucket are kept until others are given.
    ///
    /// What runs is what the caller may call itself; it goes on when the caller's token has ended.
    ///
    /// # Errors
    /// `invalid_request` for what is no trigger, or calls what is not there; `insufficient_scope` for what the caller
    /// may not call; `conflict` for one too many.
    pub async fn set_trigger(
        self: &Arc<Self>,
        asked: Asked<'_>,
        name: &Name,
        wish: TriggerWish,
        renew: bool,
    ) -> Result<(NewTrigger, bool)> {
        let tenant = asked.tenant(Scope::TriggersWrite)?.clone();
        let TriggerWish { on, run, credentials: given } = wish;
        let trigger = Trigger { on, run };
        wish::check(&trigger)?;
        self.may_run(&asked, &trigger)?;
        if let TriggerSource::Object(source) = &trigger.on {
            self.watched_folder(&tenant, source)?;
        }
        let credentials = match &trigger.on {
            TriggerSource::Bucket(source) => self.new_bucket(&tenant, name, source, given).await?,
            _ if given.is_some() => return Err(Fault::invalid("`credentials` are for a bucket")),
            _ => None,
        };
        let kept = self.store.state().trigger(&tenant, name)?.and_then(|row| row.secret).filter(|_| !renew);
        let (mut shown, mut secret) = (None, None);
        if matches!(trigger.on, TriggerSource::Webhook(_)) {
            secret = kept;
            if secret.is_none() {
                let (new, digest) = self.new_secret(&tenant).await?;
                (shown, secret) = (Some(new.text().to_string()), Some(digest));
            }
        }
        let (owner, wanted) = (tenant.clone(), name.clone());
        let new = self
            .store
            .write(asked.actor(), move |state| {
                let before = state.trigger(&owner, &wanted)?;
                if before.is_none() && state.triggers(&owner, None, MAX_TRIGGERS)?.len() == MAX_TRIGGERS {
                    let detail = format!("a tenant has {MAX_TRIGGERS} triggers at most");
                    return Err(Fault::new(Code::Conflict, detail));
                }
                let same = before.as_ref().is_some_and(|row| {
                    row.trigger == trigger && row.secret == secret && row.credentials == credentials
                });
                let set = TriggerSet { tenant: owner.name().clone(), name: wanted, trigger, secret, credentials };
                let event = Event::TriggerSet(set);
                Ok(((!same).then_some(event), before.is_none()))
            })
            .await?;
        self.timetable.changed();
        let trigger = self.show_trigger(&self.store.state(), &tenant, name)?;
        Ok((NewTrigger { trigger, secret: shown }, new))
    }

    /// Shows a trigger.
    ///
    /// # Errors
    /// `not_found`.
    pub fn trigger(&self, asked: Asked<'_>, name: &Name) -> Result<TriggerDocument> {
        self.show_trigger(&self.store.state(), asked.tenant(Scope::TriggersRead)?, name)
    }

    /// Lists the tenant's triggers by name.
    ///
    /// # Errors
    /// What reading the store says.
    pub fn triggers(
        &self,
        asked: Asked<'_>,
        after: Option<&Name>,
        limit: Option<usize>,
    ) -> Result<Page<TriggerDocument>> {
        let tenant = asked.tenant(Scope::TriggersRead)?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let state = self.store.state();
        let rows = state.triggers(tenant, after, limit + 1)?.into_iter();
        let documents = rows.map(|row| self.trigger_document(&state, tenant, row)).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(documents.into_iter(), limit, |t: &TriggerDocument| t.name.to_string()))
    }

    /// Deletes a trigger with what is recorded of its runs. Runs under way end.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn delete_trigger(&self, asked: Asked<'_>, name: Name) -> Result<()> {
        let tenant = asked.tenant(Scope::TriggersWrite)?.name().clone();
        let event = Event::TriggerDeleted(TriggerDeleted { tenant, name });
        self.store.write(asked.actor(), move |_| Ok((Some(event), ()))).await?;
        self.timetable.changed();
        Ok(())
    }

    /// Lets a trigger rest, or fire again: then what came due while it rested is not caught up with.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn pause_trigger(&self, asked: Asked<'_>, name: &Name, paused: bool) -> Result<TriggerDocument> {
        let tenant = asked.tenant(Scope::TriggersWrite)?.clone();
        let (owner, wanted) = (tenant.clone(), name.clone());
        self.store
            .write(asked.actor(), move |state| {
                let row = state.trigger(&owner, &wanted)?.ok_or_else(Fault::not_found)?;
                let event = Event::TriggerPaused(TriggerPaused { tenant: owner.name().clone(), name: wanted, paused });
                Ok(((row.paused != paused).then_some(event), ()))
            })
            .await?;
        self.timetable.changed();
        self.show_trigger(&self.store.state(), &tenant, name)
    }

    fn show_trigger(&self, state: &State<'_>, tenant: &aimass_core::Tenant, name: &Name) -> Result<TriggerDocument> {
        let row = state.trigger(tenant, name)?.ok_or_else(Fault::not_found)?;
        self.trigger_document(state, tenant, row)
    }

    /// Whether the caller may call what the trigger calls, and it is there.
    fn may_run(&self, asked: &Asked<'_>, trigger: &Trigger) -> Result<()> {
        use aimass_core::event::{Kind, TriggerTarget};
        if let TriggerSource::Metric(source) = &trigger.on {
            let of: aimass_core::ObjectRef = source.of.parse()?;
            let known = self.store.state().object(asked.by.tenant()?, &of.name)?.is_some_and(|row| !row.deleted);
            known.then_some(()).ok_or_else(|| Fault::invalid(format!("there is no plugin or model `{}`", of.name)))?;
        }
        let reference: aimass_core::ObjectRef = trigger.calls().parse()?;
        let row = self.store.state().object(asked.by.tenant()?, &reference.name)?.filter(|row| !row.deleted);
        let row = row.ok_or_else(|| Fault::invalid(format!("there is no plugin or model `{}`", reference.name)))?;
        let as_a_model = matches!(trigger.run, TriggerTarget::Infer(_) | TriggerTarget::Batch(_));
        if !as_a_model && row.kind != Kind::Plugin {
            return Err(Fault::invalid(format!("`{}` is a model, not a plugin", reference.name)));
        }
        if matches!(trigger.run, TriggerTarget::Batch(_)) {
            request::BATCH_SCOPES.into_iter().try_for_each(|scope| asked.by.require(scope))?;
        }
        asked.by.require(match row.kind {
            Kind::Plugin => Scope::PluginsInvoke,
            Kind::Model => Scope::ModelsInvoke,
        })
    }
}
