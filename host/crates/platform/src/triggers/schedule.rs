//! When a cron schedule is due. Pure: the time is passed in, never read.
//!
//! A time of a schedule is a *slot*, an instant. When the clocks change, what is written with a fixed hour and minute
//! fires once: at the jump if its time does not exist, at the first of the two if it exists twice. What repeats within
//! the hour (`*/15`) goes by the clock on the wall as it is (the rules of Vixie cron, which `croner` keeps).

use std::time::Duration;

use aimass_core::event::CronSource;
use aimass_core::{Fault, Result};
use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What is fired so soon after its time is on time: the clock is looked at each second, and a busy machine is late.
const PUNCTUAL: Duration = Duration::from_secs(10);

/// The longest time that a missed slot may be caught up with.
pub(crate) const MAX_CATCH_UP: Duration = Duration::from_secs(24 * 3600);

/// A schedule, read and checked.
#[derive(Debug)]
pub(crate) struct Schedule {
    cron: Cron,
    zone: TimeZone,
    catch_up: Duration,
}

/// A slot whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Which, milliseconds since the epoch.
    pub(crate) slot_ms: u64,
    /// It was missed, and is caught up with.
    pub(crate) caught_up: bool,
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// `invalid_request` that says what is wrong with it.
    pub(crate) fn read(source: &CronSource) -> Result<Self> {
        // Fields are short; this keeps a parser from long ones.
        if source.schedule.len() > 256 || source.time_zone.len() > 64 {
            return Err(Fault::invalid("a schedule has 256 characters at most, a time zone 64"));
        }
        let cron: Cron =
            source.schedule.parse().map_err(|e| Fault::invalid(format!("the schedule is not valid: {e}")))?;
        let zone = TimeZone::get(&source.time_zone).map_err(|_| {
            Fault::invalid("the time zone is not known: it is a name like `Europe/Berlin`, `America/New_York` or `UTC`")
        })?;
        let catch_up = Duration::from_secs(source.catch_up_seconds);
        if catch_up > MAX_CATCH_UP {
            return Err(Fault::invalid(format!("`catch_up_seconds` is {} at most", MAX_CATCH_UP.as_secs())));
        }
        Ok(Self { cron, zone, catch_up })
    }

    /// The first slot after `at_ms`; none if the schedule has no more.
    pub(crate) fn next_after(&self, at_ms: u64) -> Option<u64> {
        // Whole seconds: a slot is one, and this one is not after itself.
        let at = Timestamp::from_second(i64::try_from(at_ms / 1000).ok()?).ok()?;
        let next = self.cron.find_next_occurrence(&at.to_zoned(self.zone.clone()), false).ok()?;
        u64::try_from(next.timestamp().as_millisecond()).ok()
    }

    /// What is due at `now_ms`, where all slots up to `last_ms` were fired or passed over: the newest one since, unless
    /// it is so old that it is not even to be caught up with. Older ones are passed over.
    pub(crate) fn due(&self, last_ms: u64, now_ms: u64) -> Option<Due> {
        let window = millis(self.catch_up.max(PUNCTUAL));
        // Only forward searches: what is found is a slot that a node which was there would have fired, too.
        let mut at = last_ms.max(now_ms.saturating_sub(window));
        let mut newest = None;
        while let Some(slot) = self.next_after(at).filter(|slot| *slot <= now_ms) {
            newest = Some(slot);
            at = slot;
        }
        newest.map(|slot_ms| Due { slot_ms, caught_up: now_ms - slot_ms > millis(PUNCTUAL) })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "tests/schedule.rs"]
mod tests;
