//! Delivering messages.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aimass_core::outgoing::{OutgoingBody, OutgoingCall, OutgoingError, Patience};
use aimass_core::{Fault, Name, Result};
use aimass_store::{Ending, Failure, ItemRow, LeaseWish, Parts, Topic};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::sync::watch;

use crate::Platform;
use crate::invocations::{Work, failure, millis, random};

/// Messages that are sent at once, and of those one tenant's: an endpoint that hangs holds up its own tenant's alone.
const AT_ONCE: usize = 16;
const AT_ONCE_PER_TENANT: usize = 4;

/// How long an endpoint may take: it should take the message in, and work later.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of an endpoint's answer that are read, so that it is not cut off; they mean nothing.
const ANSWER: usize = 64 << 10;

/// The pauses behind the attempts: what Standard Webhooks suggests, up to about a day in all.
const PAUSES: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(8 * 3600),
    Duration::from_secs(8 * 3600),
];

/// A paused endpoint is looked at again after this time, if nothing is heard of it before.
const PAUSED: Duration = Duration::from_secs(60);

/// So old a message to a paused endpoint is given up.
const OLD: Duration = Duration::from_secs(3 * 24 * 3600);

/// How an attempt went.
enum Sent {
    Taken,
    /// Not sent: the endpoint is paused.
    Held,
    /// Never to be sent again.
    Refused(Failure),
    Failed(Failure),
}

impl Platform {
    /// Sends what is due until `stop` is true; then it waits for what is under way.
    pub async fn run_webhooks(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let lease_ms = millis(PATIENCE * 3);
        let wish = LeaseWish { topic: Topic::Webhook, most: AT_ONCE, per_tenant: AT_ONCE_PER_TENANT, lease_ms };
        let work = Work { wish, places: |_: &Self| AT_ONCE };
        self.work(work, stop, |platform, attempts, row| {
            attempts.spawn(async move { platform.deliver(&row).await });
        })
        .await;
    }

    async fn deliver(&self, row: &ItemRow) {
        let sent = self.send_message(row).await.unwrap_or_else(|fault| Sent::Failed(failure(&fault)));
        let now = self.invocations.now();
        let config = self.invocations.config;
        let again = |failure, pause: Duration, counted| {
            // Spread over a tenth, so that what failed together does not come back together.
            let spread = millis(pause) / 10 * (random() % 100) / 100;
            (Ending::Again { failure, due_ms: now + millis(pause) + spread, counted }, 0)
        };
        let (ending, keep) = match sent {
            Sent::Taken => (Ending::Done(Parts::default()), millis(config.result_ttl)),
            Sent::Held if now.saturating_sub(row.created_ms) < millis(OLD) => {
                again(Failure { code: "paused".to_owned(), detail: "the endpoint is paused".to_owned() }, PAUSED, false)
            }
            Sent::Held => (
                Ending::Dead(Failure { code: "paused".to_owned(), detail: "the endpoint was paused".to_owned() }, None),
                millis(config.dead_ttl),
            ),
            Sent::Failed(failure) if row.attempts < row.max_attempts => {
                let pause = PAUSES.get(row.attempts.saturating_sub(1) as usize).or(PAUSES.last());
                again(failure, pause.copied().unwrap_or(PAUSED), true)
            }
            Sent::Refused(failure) | Sent::Failed(failure) => {
                tracing::info!(tenant = %row.tenant, message = %row.id, code = failure.code, "a message was given up");
                (Ending::Dead(failure, None), millis(config.dead_ttl))
            }
        };
        if let Err(fault) = self.store.queue().end(row, ending, keep, None, now).await {
            // It is sent again when its lease ends; whoever takes it knows it by its id.
            tracing::info!(message = %row.id, %fault, "how a message went was not recorded");
        }
    }

    async fn send_message(&self, row: &ItemRow) -> Result<Sent> {
        let tenant = aimass_auth::resumed(row.tenant.clone());
        let name: Name = row.subject.parse()?;
        let Some(webhook) = self.store.state().webhook(&tenant, &name)? else {
            let detail = "the endpoint was removed".to_owned();
            return Ok(Sent::Refused(Failure { code: "not_found".to_owned(), detail }));
        };
        if webhook.endpoint.paused {
            return Ok(Sent::Held);
        }
        let body = self.store.queue().request(row).await?.body;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let secret = self.webhook_secret(&tenant, &name, &webhook.endpoint.nonce).await?;
        let mut signatures = secret.sign(&row.id, now.as_secs(), &body);
        if let Some(previous) = webhook.endpoint.previous.filter(|previous| millis(now) < previous.until_ms) {
            let secret = self.webhook_secret(&tenant, &name, &previous.nonce).await?;
            signatures = format!("{signatures} {}", secret.sign(&row.id, now.as_secs(), &body));
        }
        let request = request(&webhook.endpoint.url, &row.id, now.as_secs(), &signatures, body)?;
        let began = Instant::now();
        let deadline = began.checked_add(PATIENCE).unwrap_or(began);
        let patience = Patience { connect: PATIENCE, first_byte: PATIENCE, between_bytes: PATIENCE, deadline };
        let call = OutgoingCall { tenant, plugin: name, request_id: row.id.as_str().into(), patience };
        Ok(match self.egress.send(&call, request).await {
            Ok(response) => {
                let status = response.status().as_u16();
                // Read to its end, so that the endpoint does not find its connection broken.
                let _ = Limited::new(response.into_body(), ANSWER).collect().await;
                answered(status)
            }
            Err(error) => Sent::Failed(Failure { code: error.reason().to_owned(), detail: error.to_string() }),
        })
    }
}

/// Any 2xx takes a message; 410 says that the endpoint wants no more of them.
fn answered(status: u16) -> Sent {
    let failure =
        || Failure { code: "status".to_owned(), detail: format!("the endpoint answered with status {status}") };
    match status {
        200..=299 => Sent::Taken,
        410 => Sent::Refused(failure()),
        _ => Sent::Failed(failure()),
    }
}

fn request(url: &str, id: &str, timestamp: u64, signatures: &str, body: Bytes) -> Result<Request<OutgoingBody>> {
    let text = |value: &str| HeaderValue::from_str(value).map_err(Fault::internal);
    let body = Full::new(body).map_err(|never| -> OutgoingError { match never {} }).boxed_unsync();
    let mut request = Request::new(body);
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = url.parse().map_err(Fault::internal)?;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("aimass/", env!("CARGO_PKG_VERSION"))));
    headers.insert("webhook-id", text(id)?);
    headers.insert("webhook-timestamp", HeaderValue::from(timestamp));
    headers.insert("webhook-signature", text(signatures)?);
    Ok(request)
}
