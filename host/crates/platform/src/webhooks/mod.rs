//! Webhook endpoints: where a tenant wants to be told that something has ended.
//!
//! Messages are signed as Standard Webhooks has it, wait in the tenant's queue, go out by the tenant's egress rules, and
//! are sent again until the endpoint takes them or they are given up. An endpoint's secret is derived from the tenant's
//! data key whenever it is needed, and shown when it is made.

mod deliver;
mod message;

use aimass_auth::WebhookSecret;
use aimass_core::event::{Event, PreviousSecret, WebhookEndpoint};
use aimass_core::{Code, Fault, Name, Result, Tenant};
use aimass_egress::Destination;
use aimass_store::{Failure, ItemFilter, ItemRow, ItemState, QueueLimits, Topic, WebhookRow};
use serde::{Deserialize, Serialize};

use crate::objects::{PAGE, Page};
use crate::{Asked, Platform, Scope};
pub(crate) use message::Message;

/// Endpoints of one tenant.
const MAX_ENDPOINTS: usize = 50;

/// The longest address.
const MAX_URL: usize = 2_048;

/// For so long messages are signed under the secret before as well.
const BOTH_SECRETS_MS: u64 = 24 * 3_600_000;

/// Attempts that a message that was given up gets when it is sent again by hand.
const ATTEMPTS: u32 = 3;

/// What an endpoint should be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookRequest {
    /// What the tenant calls it.
    pub name: String,
    /// Where messages are sent to.
    pub url: String,
}

/// What is to change about an endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookChange {
    /// Where messages are sent to.
    pub url: Option<String>,
    /// Whether messages wait.
    pub paused: Option<bool>,
}

/// An endpoint as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct WebhookDocument {
    /// What the tenant calls it.
    pub name: Name,
    /// Where messages are sent to.
    pub url: String,
    /// Whether messages wait.
    pub paused: bool,
    /// When it was made, milliseconds since the epoch.
    pub created_ms: u64,
}

impl From<WebhookRow> for WebhookDocument {
    fn from(row: WebhookRow) -> Self {
        let WebhookRow { name, endpoint, created_ms } = row;
        Self { name, url: endpoint.url, paused: endpoint.paused, created_ms }
    }
}

/// An endpoint with its secret, which is shown this once.
#[derive(Clone, Serialize)]
pub struct WebhookSecretDocument {
    /// The endpoint.
    #[serde(flatten)]
    pub webhook: WebhookDocument,
    /// The secret: `whsec_…`.
    pub secret: String,
}

/// A message on its way, or delivered.
#[derive(Clone, Debug, Serialize)]
pub struct DeliveryDocument {
    /// The message's id: what the endpoint sees as `webhook-id`.
    pub id: String,
    /// The endpoint.
    pub webhook: String,
    /// The asynchronous call that it tells of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocation: Option<String>,
    /// How far it is.
    pub state: ItemState,
    /// Attempts that were begun.
    pub attempts: u32,
    /// Attempts until it is given up.
    pub max_attempts: u32,
    /// When it was put, milliseconds since the epoch.
    pub created_ms: u64,
    /// When it is sent, while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<u64>,
    /// When it was taken, or given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl From<ItemRow> for DeliveryDocument {
    fn from(row: ItemRow) -> Self {
        Self {
            due_ms: (row.state == ItemState::Queued).then_some(row.due_ms),
            id: row.id,
            webhook: row.subject,
            invocation: row.tag,
            state: row.state,
            attempts: row.attempts,
            max_attempts: row.max_attempts,
            created_ms: row.created_ms,
            ended_ms: row.ended_ms,
            failure: row.failure,
        }
    }
}

impl Platform {
    /// Makes an endpoint. Its secret is shown this once.
    ///
    /// # Errors
    /// `invalid_request` for an address that is none; `conflict` if the name is taken, or for one endpoint too many.
    pub async fn create_webhook(&self, asked: Asked<'_>, request: WebhookRequest) -> Result<WebhookSecretDocument> {
        let tenant = asked.tenant(Scope::WebhooksWrite)?.clone();
        let name: Name = request.name.parse()?;
        let endpoint = WebhookEndpoint { url: checked(&request.url)?, paused: false, nonce: nonce()?, previous: None };
        let (owner, wanted, made) = (tenant.clone(), name.clone(), endpoint.clone());
        self.store
            .write(asked.actor(), move |state| {
                if state.webhook(&owner, &wanted)?.is_some() {
                    return Err(Fault::new(Code::Conflict, format!("there is a webhook endpoint `{wanted}`")));
                }
                if state.webhooks(&owner, None, MAX_ENDPOINTS)?.len() == MAX_ENDPOINTS {
                    let detail = format!("a tenant has {MAX_ENDPOINTS} webhook endpoints at most");
                    return Err(Fault::new(Code::Conflict, detail));
                }
                Ok((Some(Event::WebhookSet { tenant: owner.name().clone(), name: wanted, endpoint: made }), ()))
            })
            .await?;
        self.with_secret(&tenant, &name).await
    }

    /// The tenant's endpoints, by name.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn webhooks(
        &self,
        asked: Asked<'_>,
        after: Option<&Name>,
        limit: Option<usize>,
    ) -> Result<Page<WebhookDocument>> {
        let tenant = asked.tenant(Scope::WebhooksRead)?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let rows = self.store.state().webhooks(tenant, after, limit + 1)?;
        Ok(Page::cut(rows.into_iter().map(Into::into), limit, |webhook: &WebhookDocument| webhook.name.to_string()))
    }

    /// Shows an endpoint.
    ///
    /// # Errors
    /// `not_found`.
    pub fn webhook(&self, asked: Asked<'_>, name: &Name) -> Result<WebhookDocument> {
        self.webhook_row(asked.tenant(Scope::WebhooksRead)?, name).map(Into::into)
    }

    /// Changes an endpoint's address, pauses it or lets it go on.
    ///
    /// # Errors
    /// `not_found`; `invalid_request` for an address that is none.
    pub async fn change_webhook(
        &self,
        asked: Asked<'_>,
        name: &Name,
        change: WebhookChange,
    ) -> Result<WebhookDocument> {
        let tenant = asked.tenant(Scope::WebhooksWrite)?.clone();
        let url = change.url.as_deref().map(checked).transpose()?;
        self.replace_webhook(asked, name, move |endpoint| WebhookEndpoint {
            url: url.unwrap_or(endpoint.url),
            paused: change.paused.unwrap_or(endpoint.paused),
            ..endpoint
        })
        .await?;
        // What waits for it need wait no longer.
        self.store.queue().hasten(&tenant, Topic::Webhook, name.as_str(), self.invocations.now()).await?;
        self.webhook_row(&tenant, name).map(Into::into)
    }

    /// Gives an endpoint a new secret, shown this once. For a day messages are signed under the one before as well.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn renew_webhook_secret(&self, asked: Asked<'_>, name: &Name) -> Result<WebhookSecretDocument> {
        let tenant = asked.tenant(Scope::WebhooksWrite)?.clone();
        let (nonce, until_ms) = (nonce()?, self.invocations.now().saturating_add(BOTH_SECRETS_MS));
        self.replace_webhook(asked, name, move |endpoint| WebhookEndpoint {
            previous: Some(PreviousSecret { nonce: endpoint.nonce, until_ms }),
            nonce,
            ..endpoint
        })
        .await?;
        self.with_secret(&tenant, name).await
    }

    async fn replace_webhook(
        &self,
        asked: Asked<'_>,
        name: &Name,
        change: impl FnOnce(WebhookEndpoint) -> WebhookEndpoint + Send + 'static,
    ) -> Result<()> {
        let (tenant, name) = (asked.tenant(Scope::WebhooksWrite)?.clone(), name.clone());
        self.store
            .write(asked.actor(), move |state| {
                let row = state.webhook(&tenant, &name)?.ok_or_else(Fault::not_found)?;
                let endpoint = change(row.endpoint.clone());
                let changed = endpoint != row.endpoint;
                let event = Event::WebhookSet { tenant: tenant.name().clone(), name, endpoint };
                Ok((changed.then_some(event), ()))
            })
            .await
    }

    /// Removes an endpoint. What waits for it is given up.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn remove_webhook(&self, asked: Asked<'_>, name: &Name) -> Result<()> {
        let (tenant, name) = (asked.tenant(Scope::WebhooksWrite)?.clone(), name.clone());
        self.store
            .write(asked.actor(), move |state| {
                state.webhook(&tenant, &name)?.ok_or_else(Fault::not_found)?;
                Ok((Some(Event::WebhookRemoved { tenant: tenant.name().clone(), name }), ()))
            })
            .await
    }

    /// Sends a message to an endpoint that says nothing, to see whether it arrives.
    ///
    /// # Errors
    /// `not_found`; `rate_limited` and `storage_full` where the tenant's queue is full.
    pub async fn test_webhook(&self, asked: Asked<'_>, name: &Name) -> Result<DeliveryDocument> {
        let tenant = asked.tenant(Scope::WebhooksWrite)?;
        self.webhook_row(tenant, name)?;
        let now = self.invocations.now();
        let message = Message::test(asked.request).item(name, now)?;
        let put = self.store.queue().put(tenant, message, Some(self.invocations.config.limits), now).await?;
        Ok(put.row.into())
    }

    /// Messages to an endpoint: those that wait, and those that were taken or given up of late.
    ///
    /// # Errors
    /// `not_found` if there is no such endpoint.
    pub fn deliveries(
        &self,
        asked: Asked<'_>,
        name: &Name,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page<DeliveryDocument>> {
        let tenant = asked.tenant(Scope::WebhooksRead)?;
        self.webhook_row(tenant, name)?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let filter = ItemFilter { subject: Some(name.to_string()), ..ItemFilter::default() };
        let rows = self.store.queue().list(tenant, Topic::Webhook, &filter, after, limit + 1);
        Ok(Page::cut(rows.into_iter().map(Into::into), limit, |delivery: &DeliveryDocument| delivery.id.clone()))
    }

    /// Sends a message again that was given up.
    ///
    /// # Errors
    /// `not_found`; `conflict` if it was not given up.
    pub async fn retry_delivery(&self, asked: Asked<'_>, name: &Name, id: &str) -> Result<DeliveryDocument> {
        let tenant = asked.tenant(Scope::WebhooksWrite)?;
        let row = self.store.queue().row(tenant, id);
        let is_its = |row: &ItemRow| row.topic == Topic::Webhook && row.subject == name.as_str();
        row.filter(is_its).ok_or_else(Fault::not_found)?;
        let limits: QueueLimits = self.invocations.config.limits;
        Ok(self.store.queue().retry(tenant, id, ATTEMPTS, limits, self.invocations.now()).await?.into())
    }

    /// Checks that there is an endpoint, for a call that wants it to be told.
    pub(crate) fn webhook_row(&self, tenant: &Tenant, name: &Name) -> Result<WebhookRow> {
        self.store.state().webhook(tenant, name)?.ok_or_else(Fault::not_found)
    }

    async fn with_secret(&self, tenant: &Tenant, name: &Name) -> Result<WebhookSecretDocument> {
        let row = self.webhook_row(tenant, name)?;
        let secret = self.webhook_secret(tenant, name, &row.endpoint.nonce).await?;
        Ok(WebhookSecretDocument { webhook: row.into(), secret: secret.text().to_string() })
    }

    async fn webhook_secret(&self, tenant: &Tenant, name: &Name, nonce: &str) -> Result<WebhookSecret> {
        let context: [&[u8]; 3] = [b"webhook secret", name.as_str().as_bytes(), nonce.as_bytes()];
        let key = self.store.derived_key(tenant, &context).await?;
        Ok(WebhookSecret::of(&key))
    }
}

/// An address that messages can be sent to. Whether they may be is the egress rules' matter, at each sending.
fn checked(url: &str) -> Result<String> {
    let invalid = |why: &str| Fault::invalid(format!("`url` is where messages are sent to: {why}"));
    if url.len() > MAX_URL {
        return Err(invalid("it is too long"));
    }
    let uri: http::Uri = url.parse().map_err(|_| invalid("it is no URL"))?;
    Destination::of(&uri).map_err(|error| invalid(&error.to_string()))?;
    Ok(url.to_owned())
}

fn nonce() -> Result<String> {
    Ok(hex::encode(&aimass_auth::random_key()?[..16]))
}
