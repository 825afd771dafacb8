//! Whose turn it is: deficit round robin (Shreedhar & Varghese, SIGCOMM 1995) over members with weights.
//!
//! Every member has an account of compute time, the *deficit*. A round gives each one a quantum times its weight; a
//! member has its turn while its account is above zero; what it runs is charged to it. Three things differ from the
//! paper, where costs are known before (a packet has a length) and are never more than a quantum:
//!
//! - **The account may go below zero.** A batch is charged what it is expected to cost, and corrected when it is done.
//!   Who owes waits until rounds have paid for it (*surplus* round robin: Adiseshu, Parulkar & Varghese, SIGCOMM 1996).
//!   A member that owes stays in the rounds when it has nothing to run, so that one request at a time is no way to
//!   leave debts behind.
//! - **Newcomers go first**, for one quantum, as in FQ-CoDel (RFC 8290, section 4.2): a tenant that asks seldom does
//!   not wait for a round of those that flood. A member leaves only in its turn and without debts, so nobody is new
//!   twice in a round.
//! - **The quantum follows the mean cost of a batch**, fixed for a round: so small that a turn is about one batch, and
//!   yet so large that a round of visits pays for about as many batches, which makes a pick constant time, amortised.
//!
//! # Fairness
//! For two members *i* and *j* that have something ready at every moment of an interval, with batches that cost at
//! most *L* (expected or real), *m* of them under way at once and quanta of at most *Q*:
//!
//! |Sᵢ/wᵢ − Sⱼ/wⱼ| ≤ 3·Q + (2·m + 1)·L·(1/wᵢ + 1/wⱼ)
//!
//! where *S* is what each was charged in the interval. It is the paper's argument: the round robin visits both
//! equally often, but for one visit (*Q*), and what a member was charged differs from what it was given by how far its
//! account moved, which is at most *Q·w* (a grant, given at zero or below) *+ m·L* (all that is under way turns out
//! free) upwards and *(m + 1)·L* downwards (one batch started on the last of the credit, and all that is under way
//! turns out to cost *L* more).

use std::collections::VecDeque;

use super::slab::{Key, Slab};

/// The members and their order.
pub(super) struct Rounds<X> {
    members: Slab<OfMember, Member<X>>,
    /// Members in their first turn since they came.
    new: VecDeque<Key<OfMember>>,
    /// The round robin.
    old: VecDeque<Key<OfMember>>,
    /// How many of `old` this round has not come to.
    left: usize,
    /// What a round gives for a unit of weight, in nanoseconds.
    quantum: i64,
    /// The mean cost of a batch, in nanoseconds; nothing before the first.
    mean: Option<f64>,
    /// The weights of those in the rounds, together.
    weights: i64,
    /// How many have something ready.
    ready: usize,
}

/// The kind of a member's key.
pub(super) struct OfMember;

/// An account, and what the owner of the rounds keeps with it.
struct Member<X> {
    weight: i64,
    deficit: i64,
    place: Place,
    ready: bool,
    data: X,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    New,
    Old,
}

/// The least quantum, and the mean cost of a batch before one was measured: below a microsecond the visits cost more than
/// what they give out.
const LEAST: i64 = 1_000;
/// Visits to members with nothing to run that a pick makes on the side: enough for those that come and go once.
const PASSES: usize = 4;
/// Larger weights would only cost precision.
const MAX_WEIGHT: u32 = 16_000_000;

impl<X> Rounds<X> {
    pub(super) fn new() -> Self {
        Self {
            members: Slab::new(),
            new: VecDeque::new(),
            old: VecDeque::new(),
            left: 0,
            quantum: LEAST,
            mean: None,
            weights: 0,
            ready: 0,
        }
    }

    pub(super) fn insert(&mut self, data: X) -> Key<OfMember> {
        self.members.insert(Member { weight: 1, deficit: 0, place: Place::Outside, ready: false, data })
    }

    /// Removes a member that [is nowhere](Self::is_outside).
    pub(super) fn remove(&mut self, key: Key<OfMember>) -> Option<X> {
        if self.is_outside(key) { self.members.remove(key).map(|m| m.data) } else { None }
    }

    pub(super) fn get(&self, key: Key<OfMember>) -> Option<&X> {
        self.members.get(key).map(|m| &m.data)
    }

    pub(super) fn get_mut(&mut self, key: Key<OfMember>) -> Option<&mut X> {
        self.members.get_mut(key).map(|m| &mut m.data)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key<OfMember>, &X)> {
        self.members.iter().map(|(key, m)| (key, &m.data))
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has nothing ready, owes nothing and stands in no list.
    pub(super) fn is_outside(&self, key: Key<OfMember>) -> bool {
        self.members.get(key).is_some_and(|m| m.place == Place::Outside && !m.ready)
    }

    pub(super) fn set_weight(&mut self, key: Key<OfMember>, weight: u32) {
        let weight = i64::from(weight.clamp(1, MAX_WEIGHT));
        if let Some(m) = self.members.get_mut(key) {
            if m.place != Place::Outside {
                self.weights += weight - m.weight;
            }
            m.weight = weight;
        }
    }

    /// The share of a member among those in the rounds, it included: from above 0 to 1.
    pub(super) fn share(&self, key: Key<OfMember>) -> f64 {
        self.members.get(key).map_or(1.0, |m| {
            let others = if m.place == Place::Outside { self.weights } else { self.weights - m.weight };
            m.weight as f64 / (others + m.weight) as f64
        })
    }

    /// Says whether a member has something that could run. Who has takes part from now on.
    pub(super) fn set_ready(&mut self, key: Key<OfMember>, ready: bool) {
        let Some(m) = self.members.get_mut(key) else { return };
        if m.ready != ready {
            m.ready = ready;
            self.ready = if ready { self.ready + 1 } else { self.ready - 1 };
        }
        if ready {
            self.join(key);
        }
    }

    /// Takes a member in, as a newcomer, if it is outside.
    pub(super) fn join(&mut self, key: Key<OfMember>) {
        let Some(m) = self.members.get_mut(key) else { return };
        if m.place == Place::Outside {
            m.place = Place::New;
            m.deficit = m.deficit.saturating_add(self.quantum.saturating_mul(m.weight));
            self.weights += m.weight;
            self.new.push_back(key);
        }
    }

    /// Whether it may run something now although it is not its turn: it has credit.
    pub(super) fn has_credit(&self, key: Key<OfMember>) -> bool {
        self.members.get(key).is_some_and(|m| m.place == Place::Outside || m.deficit > 0)
    }

    /// Charges a member; a negative amount gives back.
    pub(super) fn charge(&mut self, key: Key<OfMember>, nanos: i64) {
        let Some(m) = self.members.get_mut(key) else { return };
        m.deficit = m.deficit.saturating_sub(nanos);
        if m.place != Place::Outside {
            return;
        }
        // Outside nobody saves up, and a debt is paid off in the rounds.
        if m.deficit < 0 {
            m.place = Place::Old;
            self.weights += m.weight;
            self.old.push_back(key);
        } else {
            m.deficit = 0;
        }
    }

    /// Takes note of what a batch cost.
    pub(super) fn observe(&mut self, nanos: f64) {
        const ALPHA: f64 = 1.0 / 16.0;
        // One giant must not make everybody's turn long.
        self.mean = Some(self.mean.map_or(nanos, |mean| mean + (nanos.min(4.0 * mean) - mean) * ALPHA));
    }

    /// The mean cost of a batch, in nanoseconds.
    pub(super) fn mean(&self) -> i64 {
        self.mean.map_or(LEAST, |mean| (mean as i64).max(LEAST))
    }

    /// Whose turn it is, among those with something ready.
    pub(super) fn pick(&mut self) -> Option<Key<OfMember>> {
        if self.ready == 0 {
            return None;
        }
        self.pass_idle();
        let mut visits = 0;
        loop {
            let (key, place) = match (self.new.front(), self.old.front()) {
                (Some(key), _) => (*key, Place::New),
                (None, Some(key)) => (*key, Place::Old),
                // Who has something ready is in a list.
                (None, None) => return None,
            };
            if self.members.get(key).is_some_and(|m| m.ready && m.deficit > 0) {
                return Some(key);
            }
            if place == Place::New {
                self.grow_old(key);
                continue;
            }
            self.visit();
            visits += 1;
            if visits > self.old.len() {
                self.skip_rounds();
                visits = 0;
            }
        }
    }

    /// A newcomer's first turn is over: it joins the round robin.
    fn grow_old(&mut self, key: Key<OfMember>) {
        self.new.pop_front();
        if let Some(m) = self.members.get_mut(key) {
            m.place = Place::Old;
            if m.deficit <= 0 {
                m.deficit += self.quantum.saturating_mul(m.weight);
            }
            self.old.push_back(key);
        }
    }

    /// Ends the turn of the first one in the round robin.
    fn visit(&mut self) {
        if self.left == 0 {
            let members = (self.new.len() + self.old.len()) as f64;
            self.quantum = ((self.mean() as f64 * members / self.weights.max(1) as f64) as i64).max(LEAST);
            self.left = self.old.len();
        }
        self.left = self.left.saturating_sub(1);
        let Some(key) = self.old.pop_front() else { return };
        let Some(m) = self.members.get_mut(key) else { return };
        if m.deficit <= 0 {
            m.deficit += self.quantum.saturating_mul(m.weight);
            self.old.push_back(key);
        } else {
            // Nothing to run, nothing owed. Unused credit is lost, as in the paper.
            m.deficit = 0;
            m.place = Place::Outside;
            self.weights -= m.weight;
        }
    }

    /// The turns of members with nothing to run pass at once, also while newcomers are served; otherwise a stream of
    /// newcomers would leave an ever longer tail behind.
    fn pass_idle(&mut self) {
        for _ in 0..PASSES {
            let Some(key) = self.old.front() else { return };
            if self.members.get(*key).is_some_and(|m| m.ready) {
                return;
            }
            self.visit();
        }
    }

    /// A whole round found nobody with credit: as many rounds as it takes at once, for every one the same.
    fn skip_rounds(&mut self) {
        let quantum = self.quantum;
        let wait = |m: &Member<X>| if m.deficit > 0 { 0 } else { -m.deficit / (quantum * m.weight) + 1 };
        let due = self.old.iter().filter_map(|key| self.members.get(*key)).filter(|m| m.ready).map(wait);
        let rounds = due.min().unwrap_or(0);
        for key in &self.old {
            if let Some(m) = self.members.get_mut(*key) {
                // Who has nothing to run would have left as soon as its debts were paid.
                let enough = if m.ready { rounds } else { rounds.min(wait(m)) };
                m.deficit = m.deficit.saturating_add((quantum * m.weight).saturating_mul(enough));
            }
        }
    }

    /// The quantum of this round, in nanoseconds for a unit of weight.
    #[cfg(test)]
    pub(super) fn quantum(&self) -> i64 {
        self.quantum
    }
}
