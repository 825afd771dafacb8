//! Tokens that were taken back before they expired.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// The ids of revoked tokens, and a count of changes.
///
/// A cached token remembers the count at which it was last looked up here. As long as the count stands, a hit costs
/// one atomic load; the lock is taken only by a token's first use after a revocation.
#[derive(Default)]
pub(crate) struct Revoked {
    changes: AtomicU64,
    /// Id → when the token expires: afterwards the entry is of no use.
    ids: RwLock<HashMap<Box<str>, u64>>,
}

impl Revoked {
    /// The count of changes. Read it *before* [`Self::contains`]: a revocation in between then shows as a change.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether the token is revoked.
    pub(crate) fn contains(&self, jti: &str) -> bool {
        // A panic while the lock is held cannot leave the map half changed in a way that matters here.
        self.ids.read().unwrap_or_else(PoisonError::into_inner).contains_key(jti)
    }

    /// Adds ids with their tokens' expiry, and drops those that expired before `now`.
    pub(crate) fn add(&self, ids: impl Iterator<Item = (String, u64)>, now: u64) {
        let mut known = self.ids.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(ids.map(|(jti, expires)| (jti.into_boxed_str(), expires)));
        // Sweeping is worth its time only when the map would have to grow.
        if known.len() == known.capacity() {
            known.retain(|_, &mut expires| expires >= now);
        }
        // Behind the change, so that whoever sees the count sees the ids.
        self.changes.fetch_add(1, Ordering::Release);
    }
}
