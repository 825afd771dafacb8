//! What a version's calls of the last minute, and of the last hour, came to: how many, how many failed, how long they
//! took.
//!
//! A call adds to a few relaxed atomics of the current second, and of the current five minutes. A slot is cleared by the
//! first call of the time that takes it over; calls that come in that very moment may be lost from the
//! figures, none is counted twice.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Seconds that the short window reaches back.
const SECONDS: u64 = 60;

/// Seconds of a slot of the long window: coarse, for a slot takes as much memory as one of a second.
const COARSE: u64 = 300;

/// Slots of the long window: an hour.
const COARSE_SLOTS: u64 = 12;

/// Durations are told apart by octaves of microseconds, each in so many parts: within an eighth of what they were.
const PARTS: usize = 8;

/// Below 16 µs everything is the same, and above 67 s as well.
const FIRST_OCTAVE: u32 = 4;
const LAST_OCTAVE: u32 = 26;
const BUCKETS: usize = (LAST_OCTAVE - FIRST_OCTAVE) as usize * PARTS + 2;

/// The figures of a version over some time. Calls that failed by their caller's fault are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Calls that ended.
    pub requests: u64,
    /// How many of them failed, by the plugin's or the platform's fault.
    pub errors: u64,
    /// Their part of all, 0 to 1.
    pub error_rate: f64,
    /// Half of the calls took at most so long, milliseconds.
    pub p50_ms: f64,
    /// 99 % of the calls took at most so long, milliseconds.
    pub p99_ms: f64,
}

/// Counts one version's calls. It takes 52 KiB.
pub(crate) struct Windows {
    minute: Window,
    hour: Window,
}

impl Default for Windows {
    fn default() -> Self {
        Self { minute: Window::of(SECONDS), hour: Window::of(COARSE_SLOTS) }
    }
}

impl Windows {
    /// A call ended after `took`.
    pub(crate) fn add(&self, took: Duration, failed: bool) {
        let now = now();
        self.minute.add(now, took, failed);
        self.hour.add(coarse(now), took, failed);
    }

    /// A call that was added has failed after all.
    pub(crate) fn fail(&self) {
        let now = now();
        self.minute.fail(now);
        self.hour.fail(coarse(now));
    }

    /// What the calls of the last minute came to; only those since the second `since`.
    pub(crate) fn last_minute(&self, since: u64) -> Figures {
        self.minute.read(now(), since)
    }

    /// What the calls of the last hour came to; only those of whole slots since the second `since`.
    pub(crate) fn last_hour(&self, since: u64) -> Figures {
        self.hour.read(coarse(now()), since.checked_sub(1).map_or(0, |before| coarse(before) + 1))
    }
}

/// The long window's time of a second, from 1.
fn coarse(second: u64) -> u64 {
    second / COARSE + 1
}

/// Slots that times take one after another, again and again.
struct Window(Box<[Slot]>);

struct Slot {
    /// Which time it is about, from 1; 0 for none.
    time: AtomicU64,
    errors: AtomicU32,
    /// Calls by how long they took.
    took: [AtomicU32; BUCKETS],
}

/// Seconds of this process's monotonic clock, from 1.
pub(crate) fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs() + 1
}

impl Window {
    fn of(slots: u64) -> Self {
        let slot = |_| Slot {
            time: AtomicU64::new(0),
            errors: AtomicU32::new(0),
            took: [const { AtomicU32::new(0) }; BUCKETS],
        };
        Self((0..slots).map(slot).collect())
    }

    /// A call ended at `now`.
    fn add(&self, now: u64, took: Duration, failed: bool) {
        let slot = self.slot(now);
        slot.took[bucket(took)].fetch_add(1, Relaxed);
        if failed {
            slot.errors.fetch_add(1, Relaxed);
        }
    }

    /// A call that was added has failed after all, at `now`.
    fn fail(&self, now: u64) {
        self.slot(now).errors.fetch_add(1, Relaxed);
    }

    /// The slot of `now`.
    fn slot(&self, now: u64) -> &Slot {
        let slot = &self.0[(now % self.0.len() as u64) as usize];
        let before = slot.time.load(Relaxed);
        if before != now && slot.time.compare_exchange(before, now, Relaxed, Relaxed).is_ok() {
            slot.errors.store(0, Relaxed);
            slot.took.iter().for_each(|count| count.store(0, Relaxed));
        }
        slot
    }

    /// What the calls of as many times as there are slots came to, at `now`; only those since `since`.
    fn read(&self, now: u64, since: u64) -> Figures {
        let from = since.max((now + 1).saturating_sub(self.0.len() as u64)).max(1);
        let (mut errors, mut took) = (0, [0u64; BUCKETS]);
        for slot in &self.0 {
            if (from..=now).contains(&slot.time.load(Relaxed)) {
                errors += u64::from(slot.errors.load(Relaxed));
                for (sum, count) in took.iter_mut().zip(&slot.took) {
                    *sum += u64::from(count.load(Relaxed));
                }
            }
        }
        let requests: u64 = took.iter().sum();
        // Both are counted one after the other, so a call may be half there.
        let errors = errors.min(requests);
        let error_rate = if requests == 0 { 0.0 } else { errors as f64 / requests as f64 };
        Figures { requests, errors, error_rate, p50_ms: quantile(&took, 0.5), p99_ms: quantile(&took, 0.99) }
    }
}

/// Which bucket a duration belongs to.
fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let octave = micros.checked_ilog2().unwrap_or(0);
    if octave < FIRST_OCTAVE {
        return 0;
    }
    if octave >= LAST_OCTAVE {
        return BUCKETS - 1;
    }
    let part = ((micros >> (octave - 3)) & 7) as usize;
    1 + (octave - FIRST_OCTAVE) as usize * PARTS + part
}

/// The longest duration that belongs to a bucket, milliseconds.
fn upper_ms(bucket: usize) -> f64 {
    let (octave, part) = match bucket.checked_sub(1) {
        None => return f64::from(1u32 << FIRST_OCTAVE) / 1e3,
        Some(index) => (index / PARTS, index % PARTS),
    };
    let width = f64::from(1u32 << (octave as u32 + FIRST_OCTAVE)) / PARTS as f64;
    width * (PARTS + part + 1) as f64 / 1e3
}

/// So many of all durations are at most this long, milliseconds: a bucket's upper end, so never too good.
fn quantile(took: &[u64; BUCKETS], part: f64) -> f64 {
    let all: u64 = took.iter().sum();
    let rank = (all as f64 * part).ceil() as u64;
    let mut below = 0;
    for (bucket, count) in took.iter().enumerate() {
        below += count;
        if below >= rank && below > 0 {
            return upper_ms(bucket);
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_duration_is_told_within_an_eighth_and_never_too_short() {
        for micros in (16..70_000u64).chain((70_000..60_000_000).step_by(9_973)) {
            let told = upper_ms(bucket(Duration::from_micros(micros))) * 1e3;
            assert!(told >= micros as f64 && told <= micros as f64 * 1.13, "{micros} µs is told as {told}");
        }
        assert_eq!((bucket(Duration::ZERO), bucket(Duration::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn figures_are_those_of_the_last_minute() {
        let window = Window::of(SECONDS);
        for n in 0..100 {
            window.add(10, if n < 98 { MS } else { 100 * MS }, n % 10 == 0);
        }
        let figures = window.read(10, 0);
        assert_eq!((figures.requests, figures.errors, figures.error_rate), (100, 10, 0.1));
        assert!((1.0..1.13).contains(&figures.p50_ms), "{figures:?}");
        assert!((100.0..113.0).contains(&figures.p99_ms), "{figures:?}");
        window.add(69, MS, true);
        assert_eq!((window.read(69, 0).requests, window.read(70, 0).requests), (101, 1), "ten is a minute ago");
        assert_eq!((window.read(69, 11).requests, window.read(69, 70)), (1, Figures::default()));
        // The same slot a minute later starts anew.
        window.add(70, MS, false);
        assert_eq!(window.read(70, 70).requests, 1);
        window.fail(71);
        let figures = window.read(71, 70);
        assert_eq!((figures.requests, figures.errors), (1, 1), "it had been added before");
    }

    #[test]
    fn the_last_hour_leaves_out_the_slot_that_something_began_in() {
        let windows = Windows::default();
        windows.add(MS, true);
        let now = now();
        assert_eq!((windows.last_minute(now).requests, windows.last_hour(0).errors), (1, 1));
        assert_eq!(windows.last_hour(now).requests, 0, "it may have been for something else");
        // Five minutes from now, and an hour from then.
        windows.hour.add(coarse(now) + 1, MS, false);
        let later = windows.hour.read(coarse(now) + 1, coarse(now - 1) + 1);
        assert_eq!((later.requests, later.errors), (1, 0));
        assert_eq!(windows.hour.read(coarse(now) + COARSE_SLOTS, 0).requests, 1);
        assert_eq!(windows.hour.read(coarse(now) + COARSE_SLOTS + 1, 0).requests, 0);
    }

    #[test]
    fn many_threads_lose_nothing_within_a_second() {
        let window = Window::of(SECONDS);
        window.add(5, MS, false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|n| window.add(5, MS, n % 2 == 0)));
            }
        });
        let figures = window.read(5, 5);
        assert_eq!((figures.requests, figures.errors), (40_001, 20_000));
    }
}
