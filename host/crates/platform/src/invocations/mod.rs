//! Asynchronous calls: accepted at once and durable, run by workers of the node, kept with their answer for a time.
//!
//! A call is accepted as the HTTP request that it came as, and run as if it came again, by whoever serves HTTP
//! ([`Runner`]). So a result is what the call itself would have been answered with. Each ends once: as done, as given
//! up (a *dead letter*, which can be tried again), or cancelled. An attempt that was under way when the process died
//! counts, and another one follows; a guest can tell by `aimass-invocation-id` and `aimass-attempt`.

mod call;
mod policy;
mod progress;
mod work;
mod worker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aimass_core::{Code, Fault, Name, ObjectRef, Result, Tenant};
use aimass_store::{Failure, ItemFilter, ItemRow, ItemState, NewItem, Once, QueueLimits, Topic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;

use crate::objects::{PAGE, Page};
use crate::{Asked, Caller, Platform, Routing};
use call::Accepted;
pub(crate) use call::Holder;
pub use call::{StoredAnswer, StoredRequest};
pub use progress::ProgressDocument;
pub(crate) use work::{Work, failure, random};
pub use worker::{Attempt, Ran, Runner};

/// An `Idempotency-Key` stands for its request for so long.
const ONCE: Duration = Duration::from_secs(24 * 3600);

/// How asynchronous calls are run.
#[derive(Clone, Copy, Debug)]
pub struct InvocationsConfig {
    /// Calls that are run at once, of all tenants.
    pub workers: usize,
    /// Attempts until a call is given up.
    pub attempts: u32,
    /// How long a result is kept.
    pub result_ttl: Duration,
    /// How long a dead letter is kept.
    pub dead_ttl: Duration,
    /// What one tenant may have in the queue.
    pub limits: QueueLimits,
}

impl Default for InvocationsConfig {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(2, Into::into),
            // With the pauses between them about half a minute: a restart is over by then.
            attempts: 5,
            result_ttl: Duration::from_secs(24 * 3600),
            // As long as a long weekend and the week behind it.
            dead_ttl: Duration::from_secs(14 * 24 * 3600),
            limits: QueueLimits { entries: 100_000, bytes: 1 << 30 },
        }
    }
}

/// The running side of asynchronous calls.
pub(crate) struct Invocations {
    pub(crate) config: InvocationsConfig,
    clock: Clock,
    /// Attempts under way.
    running: Mutex<HashMap<(Name, String), AbortHandle>>,
    /// Calls under way that somebody waits for.
    live: AtomicUsize,
}

/// The time of day when the process began, and a clock that never jumps since.
struct Clock {
    began_ms: u64,
    began: Instant,
}

impl Clock {
    fn start() -> Self {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began_ms: u64::try_from(began.as_millis()).unwrap_or_default(), began: Instant::now() }
    }

    fn now(&self) -> u64 {
        self.began_ms.saturating_add(millis(self.began.elapsed()))
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Invocations {
    pub(crate) fn new(config: InvocationsConfig) -> Self {
        Self { config, clock: Clock::start(), running: Mutex::default(), live: AtomicUsize::new(0) }
    }

    /// Milliseconds since the epoch, as far as the queue is concerned.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Counts a call that somebody waits for, until what is returned is dropped.
    pub(crate) fn live(&self) -> Live<'_> {
        self.live.fetch_add(1, Ordering::Relaxed);
        Live(&self.live)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<(Name, String), AbortHandle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Invocations::live`].
pub(crate) struct Live<'a>(&'a AtomicUsize);

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is to be called later.
#[derive(Clone, Debug)]
pub struct CallWish {
    /// The plugin or model.
    pub subject: Name,
    /// The request.
    pub request: StoredRequest,
    /// How many guests' calls stand above it.
    pub depth: u32,
    /// The request's `Idempotency-Key`: the same key is the same call.
    pub idempotency_key: Option<String>,
    /// The webhook endpoint that is told of its end.
    pub callback: Option<Name>,
}

/// An asynchronous call.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct InvocationDocument {
    /// Its id.
    pub id: String,
    /// The plugin or model that is called.
    pub name: String,
    /// The trigger that it is a run of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// How far it is.
    #[serde(flatten)]
    pub progress: ProgressDocument,
    /// Until when it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

impl From<ItemRow> for InvocationDocument {
    fn from(row: ItemRow) -> Self {
        Self {
            progress: ProgressDocument::of(&row),
            id: row.id,
            name: row.subject,
            trigger: row.tag,
            expires_ms: row.expires_ms,
        }
    }
}

/// An asynchronous call, with what it asks for.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct InvocationDetail {
    /// The call.
    #[serde(flatten)]
    pub summary: InvocationDocument,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Who asked.
    pub subject: String,
    /// The webhook endpoint that is told of its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback: Option<Name>,
}

/// Which calls are listed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InvocationQuery {
    /// Those behind this id; with `newest_first` those before it.
    pub after: Option<String>,
    /// At most so many; 100 at most.
    pub limit: Option<usize>,
    /// Only in this state.
    pub state: Option<ItemState>,
    /// Only of this plugin or model.
    pub name: Option<String>,
    /// Only runs of this trigger.
    pub trigger: Option<String>,
    /// The newest first.
    pub newest_first: bool,
}

impl Platform {
    /// Checks that the caller may call an HTTP function, and that it is one; of its own tenant, since that owns the
    /// queue.
    ///
    /// # Errors
    /// As for [`Platform::function`]; `not_found` for another tenant's.
    pub fn may_call_function(
        &self,
        by: &Caller,
        tenant: &Name,
        reference: &ObjectRef,
        routing: &Routing,
    ) -> Result<()> {
        if by.tenant()?.name() != tenant {
            return Err(Fault::not_found());
        }
        let (_, resolved, _) = self.function_access(Some(by), tenant, reference, routing)?;
        resolved.is_function()
    }

    /// Accepts a call: it is durable when this returns, and will be run. Whoever accepts has checked it. Returns its
    /// id, which is that of the request that brought it, also if that was an earlier one with the same key.
    ///
    /// # Errors
    /// `rate_limited` and `storage_full` where the tenant's queue is full; `idempotency_key_reused`;
    /// `not_found` for a callback that there is not.
    pub async fn accept_call(&self, asked: Asked<'_>, wish: CallWish) -> Result<InvocationDocument> {
        let tenant = self.calls_of(asked)?;
        self.accept_for(tenant, Holder::of(asked.by), asked.request, None, wish).await
    }

    /// Accepts a call of a tenant's under this id, as the run of a trigger if it is one; putting an id again changes
    /// nothing.
    pub(crate) async fn accept_for(
        &self,
        tenant: &Tenant,
        by: Holder,
        id: &str,
        trigger: Option<&Name>,
        wish: CallWish,
    ) -> Result<InvocationDocument> {
        let CallWish { subject, request, depth, idempotency_key, callback } = wish;
        if let Some(name) = &callback
            && self.store.state().webhook(tenant, name)?.is_none()
        {
            return Err(Fault::new(Code::NotFound, format!("there is no webhook endpoint `{name}`")));
        }
        let once = idempotency_key.map(|key| once(&by.subject, &key, &request)).transpose()?;
        let accepted = Accepted { request, by, depth, callback };
        let now = self.invocations.now();
        let new = NewItem {
            id: id.to_owned(),
            topic: Topic::Call,
            subject: subject.to_string(),
            tag: trigger.map(Name::to_string),
            once,
            due_ms: now,
            max_attempts: self.invocations.config.attempts,
            request: accepted.parts()?,
        };
        let put = self.store.queue().put(tenant, new, Some(self.invocations.config.limits), now).await?;
        Ok(put.row.into())
    }

    /// The tenant's asynchronous calls, by id, which is the order in which they came.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn invocations(&self, asked: Asked<'_>, query: InvocationQuery) -> Result<Page<InvocationDocument>> {
        let tenant = self.calls_of(asked)?;
        let InvocationQuery { after, limit, state, name, trigger, newest_first } = query;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let filter = ItemFilter { state, subject: name, tag: trigger };
        let (queue, topic, after) = (self.store.queue(), Topic::Call, after.as_deref());
        let rows = match newest_first {
            true => queue.newest(tenant, topic, &filter, after, limit + 1),
            false => queue.list(tenant, topic, &filter, after, limit + 1),
        };
        Ok(Page::cut(rows.into_iter().map(Into::into), limit, |call: &InvocationDocument| call.id.clone()))
    }

    /// Shows an asynchronous call.
    ///
    /// # Errors
    /// `not_found`: also of one that ended so long ago that it is no longer kept.
    pub async fn invocation(&self, asked: Asked<'_>, id: &str) -> Result<InvocationDetail> {
        let row = self.call_row(self.calls_of(asked)?, id)?;
        let Accepted { request, by, callback, .. } = Accepted::read(self.store.queue().request(&row).await?)?;
        let StoredRequest { method, path, .. } = request;
        Ok(InvocationDetail { summary: row.into(), method, path, subject: by.subject, callback })
    }

    /// What an asynchronous call was answered with.
    ///
    /// # Errors
    /// `not_found`; `conflict` while it has not ended, and if it was cancelled; what it was given up for, if no
    /// attempt was answered.
    pub async fn invocation_result(&self, asked: Asked<'_>, id: &str) -> Result<(InvocationDocument, StoredAnswer)> {
        let row = self.call_row(self.calls_of(asked)?, id)?;
        if let Some(result) = self.store.queue().result(&row).await? {
            return Ok((row.into(), StoredAnswer::read(result)?));
        }
        let conflict = |what: &str| Fault::new(Code::Conflict, what);
        Err(match (row.state, row.failure) {
            (ItemState::Cancelled, _) => conflict("the call was cancelled"),
            (ItemState::Dead, Some(Failure { code, detail })) => {
                Fault::new(Code::named(&code).unwrap_or(Code::Internal), detail)
            }
            _ => conflict("the call has not ended yet").retry_after(Duration::from_secs(1)),
        })
    }

    /// Calls an asynchronous call off, also in the middle of an attempt.
    ///
    /// # Errors
    /// `not_found`; `conflict` if it has ended.
    pub async fn cancel_invocation(&self, asked: Asked<'_>, id: &str) -> Result<InvocationDocument> {
        let tenant = self.calls_of(asked)?;
        self.call_row(tenant, id)?;
        let keep = millis(self.invocations.config.result_ttl);
        let row = self.store.queue().cancel(tenant, id, keep, self.invocations.now()).await?;
        if let Some(attempt) = self.invocations.running().remove(&(tenant.name().clone(), id.to_owned())) {
            attempt.abort();
        }
        Ok(row.into())
    }

    /// Tries a call again that was given up.
    ///
    /// # Errors
    /// `not_found`; `conflict` if it was not given up; `rate_limited` where the tenant's queue is full.
    pub async fn retry_invocation(&self, asked: Asked<'_>, id: &str) -> Result<InvocationDocument> {
        let tenant = self.calls_of(asked)?;
        self.call_row(tenant, id)?;
        let InvocationsConfig { attempts, limits, .. } = self.invocations.config;
        Ok(self.store.queue().retry(tenant, id, attempts, limits, self.invocations.now()).await?.into())
    }

    fn calls_of<'a>(&self, asked: Asked<'a>) -> Result<&'a Tenant> {
        self.may_call(asked.by)?;
        asked.by.tenant()
    }

    fn call_row(&self, tenant: &Tenant, id: &str) -> Result<ItemRow> {
        self.store.queue().row(tenant, id).filter(|row| row.topic == Topic::Call).ok_or_else(Fault::not_found)
    }
}

/// A hash of a list.
pub(crate) fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        // With its length, so that no two lists come out the same.
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    hasher.finalize().to_hex().to_string()
}

/// A key of a token's subject, and what it was used for.
fn once(subject: &str, key: &str, request: &StoredRequest) -> Result<Once> {
    if key.is_empty() || key.len() > 255 {
        return Err(Fault::invalid("an `Idempotency-Key` is 1 to 255 characters"));
    }
    // What says how the body is to be read; other fields differ from one try of a client to the next.
    let meaning = request.headers.iter().filter(|(name, _)| {
        matches!(name.as_str(), "content-type" | "inference-header-content-length" | "content-encoding")
    });
    let mut parts = vec![request.method.as_bytes(), request.path.as_bytes(), &request.body];
    parts.extend(meaning.flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]));
    Ok(Once { key: fingerprint(&[subject.as_bytes(), key.as_bytes()]), fingerprint: fingerprint(&parts) })
}
