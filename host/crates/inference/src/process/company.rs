//! Whether one tenant has an engine to itself, and what follows for how long a turn may hold a worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Who asked last, and when it was last somebody else.
#[derive(Default)]
pub(super) struct Company {
    last: Option<Arc<str>>,
    changed: Option<Instant>,
}

/// A tenant that has asked may ask again: it counts as there for so long.
const STAYS: Duration = Duration::from_secs(10);

/// How long a batch may hold a worker while others ask. They wait for it, so it should be no longer than their own runs,
/// and those of the smaller models take about 10 ms.
const SHARED: Duration = Duration::from_millis(25);

/// And while nobody else is there: of those that come, one request waits so long.
const ALONE: Duration = Duration::from_millis(250);

impl Company {
    /// A tenant asks.
    pub(super) fn asks(&mut self, tenant: &Arc<str>, now: Instant) {
        match &self.last {
            Some(last) if last == tenant => {}
            None => self.last = Some(tenant.clone()),
            Some(_) => {
                self.last = Some(tenant.clone());
                self.changed = Some(now);
            }
        }
    }

    /// The longest that a batch may take.
    pub(super) fn hold(&self, now: Instant) -> Duration {
        let shared = self.changed.is_some_and(|changed| now.saturating_duration_since(changed) < STAYS);
        if shared { SHARED } else { ALONE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_short_while_a_second_tenant_asks_and_for_a_while_after() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let (mut company, start) = (Company::default(), Instant::now());
        for tenth in 0..100 {
            let now = start + Duration::from_millis(100) * tenth;
            company.asks(&a, now);
            assert_eq!(company.hold(now), ALONE);
        }
        let came = start + STAYS;
        company.asks(&b, came);
        assert_eq!(company.hold(came), SHARED);
        company.asks(&a, came);
        assert_eq!(company.hold(came + STAYS / 2), SHARED);
        assert_eq!(company.hold(came + STAYS), ALONE);
    }
}
