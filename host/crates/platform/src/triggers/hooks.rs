//! Webhooks that come in: signed as Standard Webhooks has it, each run once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aimass_auth::WebhookSecret;
use aimass_core::event::{Actor, RunCause, TriggerRun, TriggerSource};
use aimass_core::{Code, Digest, Fault, Name, Result, Tenant};
use aimass_store::TriggerRow;
use bytes::Bytes;

use super::request::Brought;
use super::timetable::now_ms;
use crate::Platform;

/// Secrets that are kept open in memory; beyond that all are opened anew.
const MAX_OPEN: usize = 10_000;

/// A webhook as it came.
#[derive(Clone, Debug, Default)]
pub struct Webhook {
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: String,
    /// `webhook-signature`.
    pub signature: String,
    /// `content-type`.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// Secrets that were read before: a webhook that is not signed shall not cost a read of the disk.
#[derive(Default)]
pub(crate) struct Hooks(Mutex<HashMap<(Name, Name, Digest), Arc<WebhookSecret>>>);

impl Platform {
    /// Takes a webhook in, and fires the trigger that it is for. The same webhook again does nothing. Returns the run's
    /// id.
    ///
    /// # Errors
    /// `unauthenticated` for one that is not signed, and for a trigger that is not there: they look alike. `conflict`
    /// while the trigger rests; `rate_limited`; `storage_full`.
    pub async fn receive_webhook(self: &Arc<Self>, tenant: &Name, name: &Name, webhook: Webhook) -> Result<String> {
        // Its owner made the trigger, and the signature says who may fire it.
        let owner = self.auth.public(tenant);
        let row = self.store.state().trigger(&owner, name)?;
        let row = row.filter(|row| matches!(row.trigger.on, TriggerSource::Webhook(_)));
        let secret = match &row {
            Some(row) => self.hook_secret(&owner, row).await?,
            // The same work, so that the time tells nothing.
            None => Arc::new(WebhookSecret::random()?),
        };
        let Webhook { id, timestamp, signature, content_type, body } = webhook;
        let valid = secret.verify(&id, &timestamp, &signature, &body, now_ms() / 1_000);
        let (Some(row), Ok(())) = (row, valid) else {
            return Err(Fault::new(Code::Unauthenticated, "a webhook with a valid signature is required"));
        };
        if row.paused {
            return Err(Fault::new(Code::Conflict, "the trigger rests"));
        }
        let _entered = self.gate.enter(&owner, &self.limits_of(&owner))?;
        let mut writer = self.store.blobs().writer(&owner).await?;
        writer.write(&body).await?;
        let (digest, size) = writer.finish().await?;
        // Senders keep a webhook's id when they send it again, and give it another time.
        let key = format!("webhook {id}");
        let cause = RunCause::Webhook { webhook: id, body: digest, size, content_type: content_type.clone() };
        let run = TriggerRun::new((tenant, name), row.generation, row.created_ms, &key, cause);
        let id = run.id.clone();
        let brought = Brought::Body { content_type, body };
        self.fire(Actor::system(), &owner, name, row.generation, run, brought).await?;
        Ok(id)
    }

    async fn hook_secret(&self, owner: &Tenant, row: &TriggerRow) -> Result<Arc<WebhookSecret>> {
        let digest = row.secret.ok_or_else(|| Fault::internal("a trigger for webhooks has no secret"))?;
        let key = (owner.name().clone(), row.name.clone(), digest);
        if let Some(secret) = self.hooks.open().get(&key) {
            return Ok(secret.clone());
        }
        let text = self.store.blobs().read(owner, &digest).await?;
        let text = std::str::from_utf8(&text).map_err(Fault::internal)?;
        let secret = Arc::new(WebhookSecret::parse(text).map_err(Fault::internal)?);
        let mut open = self.hooks.open();
        if open.len() >= MAX_OPEN {
            open.clear();
        }
        open.insert(key, secret.clone());
        Ok(secret)
    }

    /// A new secret, kept among the tenant's sealed bytes, and what it is kept by.
    pub(super) async fn new_secret(&self, owner: &Tenant) -> Result<(WebhookSecret, Digest)> {
        let secret = WebhookSecret::random()?;
        let mut writer = self.store.blobs().writer(owner).await?;
        writer.write(secret.text().as_bytes()).await?;
        let (digest, _) = writer.finish().await?;
        Ok((secret, digest))
    }
}

impl Hooks {
    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<(Name, Name, Digest), Arc<WebhookSecret>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
