//! When something is due: a heap that forgets lazily.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::slab::Key;

/// Instants and what is due then, the earliest first. What left before it was due stays until it is met, or until
/// such entries are the greater part: a push and its removal together take constant time, amortised, when deadlines
/// come in about the order of their requests.
pub(super) struct Timers<K>(BinaryHeap<Reverse<Entry<K>>>);

struct Entry<K>(Instant, Key<K>);

impl<K> Timers<K> {
    pub(super) const fn new() -> Self {
        Self(BinaryHeap::new())
    }

    /// Adds one. `live` says how many entries are still wanted, `wanted` which.
    pub(super) fn push(&mut self, at: Instant, key: Key<K>, live: usize, wanted: impl Fn(Instant, Key<K>) -> bool) {
        // A few are not worth the trouble.
        const SLACK: usize = 64;
        if self.0.len() > 2 * live + SLACK {
            self.0.retain(|Reverse(Entry(at, key))| wanted(*at, *key));
        }
        self.0.push(Reverse(Entry(at, key)));
    }

    /// Takes one that is due, wanted or not.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, Key<K>)> {
        let Reverse(Entry(at, _)) = self.0.peek()?;
        if *at > now {
            return None;
        }
        self.0.pop().map(|Reverse(Entry(at, key))| (at, key))
    }

    /// When the first one that is still wanted is due.
    pub(super) fn first(&mut self, wanted: impl Fn(Instant, Key<K>) -> bool) -> Option<Instant> {
        while let Some(Reverse(Entry(at, key))) = self.0.peek() {
            if wanted(*at, *key) {
                return Some(*at);
            }
            self.0.pop();
        }
        None
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<K> PartialEq for Entry<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Entry<K> {}
impl<K> PartialOrd for Entry<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Entry<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
