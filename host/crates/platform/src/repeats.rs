//! Writes that are sent again: what an `Idempotency-Key` was answered with is kept, and given again
//! (draft-ietf-httpapi-idempotency-key-header).
//!
//! What a tenant's writes were answered with is in its queue: durable, sealed, bounded like all of that, forgotten in
//! time. Of the operator's, who has no data key to seal with, it is in memory until the node stops. Only what took place
//! is kept: what was refused changed nothing, and is tried again.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aimass_core::{Code, Fault, Result};
use aimass_store::{NewItem, Once, Parts, Topic};

use crate::invocations::{fingerprint, millis};
use crate::{Caller, Platform, StoredAnswer};

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Answers to the operator that are kept; the oldest go first.
const OPERATORS: usize = 1_000;

/// The longest key.
const MAX_KEY: usize = 255;

/// What the keys of this process stand for.
#[derive(Default)]
pub(crate) struct Repeats {
    under_way: Mutex<HashSet<Slot>>,
    operators: Mutex<HashMap<Slot, Kept>>,
}

/// Whose key: the tenant (none for the operator), and the hash of subject and key.
type Slot = (Option<aimass_core::Name>, String);

struct Kept {
    fingerprint: String,
    answer: StoredAnswer,
    at_ms: u64,
}

/// A write that bears a key, and is done for the first time. The key is free again when this is dropped unanswered.
pub struct FirstWrite<'a> {
    repeats: &'a Repeats,
    slot: Slot,
    fingerprint: String,
}

impl Drop for FirstWrite<'_> {
    fn drop(&mut self) {
        lock(&self.repeats.under_way).remove(&self.slot);
    }
}

/// A write with a key.
pub enum Write<'a> {
    /// It was not done yet.
    First(FirstWrite<'a>),
    /// It was done, and this was the answer.
    Again(StoredAnswer),
}

impl Platform {
    /// Looks whether a write was done under this key before. `request` is all that makes it this request.
    ///
    /// # Errors
    /// `idempotency_key_reused` if it was another request; `conflict` while the first one is under way.
    pub async fn begin_write(&self, by: &Caller, key: &str, request: &[&[u8]]) -> Result<Write<'_>> {
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(Fault::invalid(format!("an `Idempotency-Key` is 1 to {MAX_KEY} characters")));
        }
        let tenant = by.tenant.as_ref();
        let slot: Slot =
            (tenant.map(|tenant| tenant.name().clone()), fingerprint(&[by.subject.as_bytes(), key.as_bytes()]));
        // Who holds other rights is not given what they would not have been answered.
        let scopes = by.scopes.to_string();
        let mut request = request.to_vec();
        request.push(scopes.as_bytes());
        let fingerprint = fingerprint(&request);
        if !lock(&self.repeats.under_way).insert(slot.clone()) {
            let fault = Fault::new(Code::Conflict, "a request with this `Idempotency-Key` is under way");
            return Err(fault.retry_after(Duration::from_secs(1)));
        }
        let first = FirstWrite { repeats: &self.repeats, slot, fingerprint };
        match self.answered_before(by, &first).await? {
            Some(answer) => Ok(Write::Again(answer)),
            None => Ok(Write::First(first)),
        }
    }

    async fn answered_before(&self, by: &Caller, first: &FirstWrite<'_>) -> Result<Option<StoredAnswer>> {
        let reused =
            || Fault::new(Code::IdempotencyKeyReused, "this `Idempotency-Key` came with another request before");
        let now = self.invocations.now();
        let Some(tenant) = &by.tenant else {
            let kept = lock(&self.repeats.operators);
            let kept = kept.get(&first.slot).filter(|kept| now < kept.at_ms.saturating_add(millis(KEPT)));
            return match kept {
                Some(kept) if kept.fingerprint == first.fingerprint => Ok(Some(kept.answer.clone())),
                Some(_) => Err(reused()),
                None => Ok(None),
            };
        };
        let row = self.store.queue().row(tenant, &id(&first.slot.1));
        let Some(row) = row.filter(|row| row.expires_ms.is_some_and(|at| now < at)) else { return Ok(None) };
        if !row.once.as_ref().is_some_and(|once| once.fingerprint == first.fingerprint) {
            return Err(reused());
        }
        self.store.queue().result(&row).await?.map(StoredAnswer::read).transpose()
    }

    /// Keeps what a write was answered with.
    ///
    /// # Errors
    /// `storage_full`, `unavailable`: then the same write would be done again.
    pub async fn end_write(&self, by: &Caller, first: FirstWrite<'_>, answer: StoredAnswer) -> Result<()> {
        let now = self.invocations.now();
        let (slot, fingerprint) = (first.slot.clone(), first.fingerprint.clone());
        let Some(tenant) = &by.tenant else {
            let mut kept = lock(&self.repeats.operators);
            if kept.len() >= OPERATORS {
                let oldest = kept.iter().min_by_key(|(_, kept)| kept.at_ms).map(|(slot, _)| slot.clone());
                oldest.map(|slot| kept.remove(&slot));
            }
            kept.insert(slot, Kept { fingerprint, answer, at_ms: now });
            return Ok(());
        };
        let once = Once { key: id(&slot.1), fingerprint };
        let new = NewItem {
            id: id(&slot.1),
            topic: Topic::Answer,
            subject: String::new(),
            tag: None,
            once: Some(once),
            due_ms: now,
            max_attempts: 0,
            request: Parts::default(),
        };
        // One that has expired and is still there stands in the way.
        while self.store.queue().sweep(now).await? > 0 {}
        self.store.queue().keep(tenant, new, answer.parts()?, millis(KEPT), now).await.map(drop)
    }
}

/// The id of an answer in the queue: no call has one like it.
fn id(key: &str) -> String {
    format!("answer-{key}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
