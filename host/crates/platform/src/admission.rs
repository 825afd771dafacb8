//! What a tenant may ask for at all: requests a second, and calls at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aimass_core::event::QuotaLimits;
use aimass_core::{Code, Fault, Result, Tenant};

/// A tenant's limits. Nothing means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// Its part of the engines' time, beside the weights of the others that ask; 0 counts as 1.
    pub weight: u32,
    /// Requests a second, on average.
    pub per_second: Option<NonZeroU32>,
    /// Requests that may come at once after a rest: the size of the token bucket; 0 counts as 1.
    pub burst: u32,
    /// Calls under way at once.
    pub concurrency: Option<NonZeroU32>,
    /// Bytes that its loaded models take together.
    pub engine_memory: Option<u64>,
    /// What it may keep, and use in a day.
    pub quotas: QuotaLimits,
}

impl TenantLimits {
    /// The bucket for a rate: after a rest, a tenth of a second's requests may come at once.
    pub fn burst_of(per_second: NonZeroU32) -> u32 {
        per_second.get().div_ceil(10)
    }
}

/// Why a call was not let in, and when to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The bucket is empty; it has a token again after this time.
    Rate(Duration),
    /// Too many calls are under way; one of them ends after about this time.
    Concurrency(Duration),
}

/// The way in for every call.
#[derive(Default)]
pub(crate) struct Gate {
    admission: Mutex<Admission<Tenant>>,
}

/// A call that was let in.
pub(crate) struct Entered<'a> {
    gate: &'a Gate,
    tenant: Tenant,
    since: Instant,
}

impl Gate {
    /// Lets a call in. Without limits that costs nothing.
    ///
    /// # Errors
    /// `rate_limited`, with the time after which it would be let in.
    pub(crate) fn enter(&self, tenant: &Tenant, limits: &TenantLimits) -> Result<Option<Entered<'_>>> {
        if limits.per_second.is_none() && limits.concurrency.is_none() {
            return Ok(None);
        }
        let since = Instant::now();
        self.lock().enter(since, tenant, limits).map_err(|denied| match denied {
            Denied::Rate(after) => {
                Fault::new(Code::RateLimited, "the tenant sends more requests a second than it may").retry_after(after)
            }
            Denied::Concurrency(after) => {
                Fault::new(Code::RateLimited, "the tenant has more calls at once than it may").retry_after(after)
            }
        })?;
        Ok(Some(Entered { gate: self, tenant: tenant.clone(), since }))
    }

    fn lock(&self) -> MutexGuard<'_, Admission<Tenant>> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.gate.lock().leave(&self.tenant, self.since.elapsed());
    }
}

/// A token bucket and a counter of calls for every tenant.
///
/// The bucket is kept as the moment when it will be full, which is the same thing as a number of tokens and a time,
/// without a rounding error (the generic cell rate algorithm, ITU-T I.371, in its virtual scheduling form).
pub(crate) struct Admission<T> {
    tenants: HashMap<T, State>,
    /// So many tenants and those at rest are forgotten.
    sweep_at: usize,
}

struct State {
    /// When the bucket is full again.
    full_at: Instant,
    running: u32,
    /// How long a call takes, seconds: a moving average, once there was one.
    call: Option<f64>,
}

/// Tenants at rest that are remembered without a second thought.
const TENANTS: usize = 64;

impl<T: Clone + Eq + Hash> Default for Admission<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone + Eq + Hash> Admission<T> {
    /// Knows nobody yet.
    pub(crate) fn new() -> Self {
        Self { tenants: HashMap::new(), sweep_at: TENANTS }
    }

    /// Lets a call in: takes a token, and counts it until it [leaves](Self::leave). The limits may be others at
    /// every call.
    ///
    /// # Errors
    /// [`Denied`]; then nothing was taken.
    pub(crate) fn enter(&mut self, now: Instant, tenant: &T, limits: &TenantLimits) -> std::result::Result<(), Denied> {
        if !self.tenants.contains_key(tenant) {
            self.sweep(now);
            self.tenants.insert(tenant.clone(), State { full_at: now, running: 0, call: None });
        }
        let Some(state) = self.tenants.get_mut(tenant) else { return Ok(()) };
        if let Some(most) = limits.concurrency
            && state.running >= most.get()
        {
            return Err(Denied::Concurrency(state.until_one_ends()));
        }
        if let Some(rate) = limits.per_second {
            let token = Duration::from_secs(1) / rate.get();
            let bucket = token * limits.burst.max(1);
            // Limits that were narrower a moment ago leave an empty bucket at most.
            state.full_at = state.full_at.clamp(now, now + bucket);
            let full_at = state.full_at + token;
            let full_in = full_at - now;
            if full_in > bucket {
                return Err(Denied::Rate(full_in - bucket));
            }
            state.full_at = full_at;
        }
        state.running += 1;
        Ok(())
    }

    /// A call that was let in has ended, after so long.
    pub(crate) fn leave(&mut self, tenant: &T, took: Duration) {
        if let Some(state) = self.tenants.get_mut(tenant) {
            state.running = state.running.saturating_sub(1);
            let took = took.as_secs_f64();
            state.call = Some(state.call.map_or(took, |before| before + (took - before) / 8.0));
        }
    }

    /// Calls of a tenant under way.
    #[cfg(test)]
    pub(crate) fn running(&self, tenant: &T) -> u32 {
        self.tenants.get(tenant).map_or(0, |state| state.running)
    }

    /// A tenant with a full bucket and no calls is like a new one. Done when their number has doubled, so that it
    /// costs each newcomer a constant time.
    fn sweep(&mut self, now: Instant) {
        if self.tenants.len() >= self.sweep_at {
            self.tenants.retain(|_, state| state.running > 0 || state.full_at > now);
            self.sweep_at = TENANTS.max(2 * self.tenants.len());
        }
    }
}

impl State {
    /// With several calls under way, the next end is that much nearer.
    fn until_one_ends(&self) -> Duration {
        // Nothing has been measured yet: as good as any.
        const UNKNOWN: Duration = Duration::from_secs(1);
        // Sooner is a busy loop.
        const LEAST: Duration = Duration::from_millis(10);
        self.call.map_or(UNKNOWN, |seconds| {
            LEAST.max(Duration::try_from_secs_f64(seconds / f64::from(self.running.max(1))).unwrap_or(UNKNOWN))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn limits(per_second: u32, burst: u32, concurrency: u32) -> TenantLimits {
        let (per_second, concurrency) = (NonZeroU32::new(per_second), NonZeroU32::new(concurrency));
        TenantLimits { per_second, burst, concurrency, ..TenantLimits::default() }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (mut admission, start) = (Admission::new(), Instant::now());
        let limits = limits(10, 3, 0);
        for _ in 0..3 {
            assert_eq!(admission.enter(start, &'a', &limits), Ok(()));
        }
        assert_eq!(admission.enter(start, &'a', &limits), Err(Denied::Rate(100 * MS)));
        assert_eq!(admission.enter(start + 40 * MS, &'a', &limits), Err(Denied::Rate(60 * MS)));
        // Come back when told, and be let in; a refusal took nothing.
        assert_eq!(admission.enter(start + 100 * MS, &'a', &limits), Ok(()));
        assert_eq!(admission.enter(start + 100 * MS, &'a', &limits), Err(Denied::Rate(100 * MS)));
        // A long rest fills the bucket and no more.
        let later = start + 3_600_000 * MS;
        let passed = (0..10).filter(|_| admission.enter(later, &'a', &limits).is_ok()).count();
        assert_eq!(passed, 3);
    }

    #[test]
    fn other_limits_hold_at_once() {
        let (mut admission, start) = (Admission::new(), Instant::now());
        assert_eq!(admission.enter(start, &'a', &limits(1, 1, 0)), Ok(()));
        assert_eq!(admission.enter(start, &'a', &limits(1, 1, 0)), Err(Denied::Rate(1_000 * MS)));
        assert_eq!(admission.enter(start, &'a', &limits(100, 2, 0)), Err(Denied::Rate(10 * MS)));
        assert_eq!(admission.enter(start + 10 * MS, &'a', &limits(100, 2, 0)), Ok(()));
    }

    #[test]
    fn the_rate_holds_over_a_long_time() {
        let (mut admission, start) = (Admission::new(), Instant::now());
        let limits = limits(7, 5, 0);
        let passed = (0..100_000).filter(|i| admission.enter(start + MS * *i, &'a', &limits).is_ok()).count();
        // 100 seconds at 7 a second, and the burst.
        assert!((704..=705).contains(&passed), "{passed}");
    }

    #[test]
    fn calls_at_once_are_counted_until_they_leave() {
        let (mut admission, now) = (Admission::new(), Instant::now());
        let limits = limits(0, 0, 2);
        assert_eq!(admission.enter(now, &'a', &limits), Ok(()));
        assert_eq!(admission.enter(now, &'a', &limits), Ok(()));
        assert_eq!(admission.enter(now, &'a', &limits), Err(Denied::Concurrency(Duration::from_secs(1))));
        admission.leave(&'a', 100 * MS);
        assert_eq!(admission.enter(now, &'a', &limits), Ok(()));
        assert_eq!(admission.enter(now, &'a', &limits), Err(Denied::Concurrency(50 * MS)));
        assert_eq!(admission.running(&'a'), 2);
    }

    #[test]
    fn one_tenants_limits_are_not_anothers() {
        let (mut admission, now) = (Admission::new(), Instant::now());
        let limits = limits(1, 1, 1);
        assert_eq!(admission.enter(now, &'a', &limits), Ok(()));
        assert!(admission.enter(now, &'a', &limits).is_err());
        assert_eq!(admission.enter(now, &'b', &limits), Ok(()));
    }

    #[test]
    fn tenants_at_rest_are_forgotten_and_busy_ones_are_not() {
        let (mut admission, now) = (Admission::new(), Instant::now());
        let limits = limits(1000, 1, 1);
        assert_eq!(admission.enter(now, &u32::MAX, &limits), Ok(()));
        for i in 0..10_000 {
            let now = now + MS * i;
            assert_eq!(admission.enter(now, &i, &limits), Ok(()));
            admission.leave(&i, MS);
        }
        assert!(admission.tenants.len() <= 2 * TENANTS, "{}", admission.tenants.len());
        assert_eq!(admission.running(&u32::MAX), 1);
    }
}
