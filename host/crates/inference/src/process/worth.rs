//! Whether joining pays, for inputs of one shape: measured in pairs, while requests wait.
//!
//! A run alone on an idle machine and a joined one on a busy machine cannot be compared, nor the other way round. So an
//! *examination* runs one request alone and then several joined, one right after the other in the same turn of the same
//! worker, when enough of them wait anyhow: each pair is taken under one load, and the median of a few decides. It is
//! repeated now and then, ever more seldom while its verdict stays.
//!
//! What pays is still not always right: a batch holds its worker for as long as it runs, and nobody else has a turn
//! there. So a batch also has to fit into the time that a turn may take, which is short while other tenants ask.

use std::time::{Duration, Instant};

/// How many requests run together: an engine plans every batch size anew, so there are few.
const SIZES: [usize; 2] = [4, 8];

/// Joined requests take at most this part of the time that they take one after another. Less gain is noise, and others
/// wait longer for a turn behind a batch.
const GAIN: f64 = 0.85;

/// Eight are examined only if four gain as much as this at least: what four lose, eight do not win.
const PROMISING: f64 = 0.97;

/// Pairs that count; the first one of an examination plans, and is slow.
const PAIRS: usize = 5;

/// After so many pairs an examination ends if none of them showed a gain.
const HOPELESS: usize = 3;

/// The time until the next examination, the first time and at most.
const REST: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(32 * 60));

/// An examination's turn that has not ended by then was lost: its requests left, or the engine.
const LOST: Duration = Duration::from_secs(10);

/// How many times longer than a batch an examination's turn may be. It is rare.
const EXAMINATION: f64 = 2.5;

/// A batch may take as long as so many single runs, however long they are: a worker is held no shorter without it.
const SINGLE_RUNS: f64 = 2.0;

/// What is known of one shape.
#[derive(Default)]
pub(super) struct Worth {
    /// Seconds of a run alone.
    alone: Recent,
    sizes: [Size; SIZES.len()],
}

/// What is known of a number of requests that run together.
#[derive(Default)]
struct Size {
    /// Seconds of a run.
    joined: Recent,
    /// Ratios of the examination that goes on.
    pairs: Vec<f64>,
    /// Whether its first pair is done.
    planned: bool,
    /// The last verdict: the time of a joined request over that of one alone.
    gain: Option<f64>,
    /// The next examination; at once, if there was none.
    due: Option<Instant>,
    rest: Duration,
    /// Since when a pair has been under way.
    under_way: Option<Instant>,
}

/// The last few durations, seconds.
#[derive(Default)]
struct Recent {
    last: [f64; 9],
    count: usize,
}

/// What to do with requests that wait together: `alone` of them one by one, then `joined` in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) alone: usize,
    pub(super) joined: usize,
}

/// The most requests in one turn: the largest batch, and the single run that it is compared with.
pub(super) const MOST: u32 = SIZES[SIZES.len() - 1] as u32 + 1;

/// How a turn of `count` requests runs: what [`Worth::turn`] asked for, unless some of them have left since.
pub(super) fn parts(count: usize) -> Parts {
    match SIZES.iter().find(|size| (**size..=**size + 1).contains(&count)) {
        Some(&joined) => Parts { alone: count - joined, joined },
        None => Parts { alone: count, joined: 0 },
    }
}

impl Worth {
    /// How many of `waiting` requests the next turn takes, if it may hold its worker for `hold`.
    pub(super) fn turn(&mut self, waiting: usize, now: Instant, hold: Duration) -> usize {
        let (Some(alone), hold) = (self.alone.median(), hold.as_secs_f64()) else { return 1 };
        if waiting < SIZES[0] {
            return 1;
        }
        if let Some(size) = self.to_examine(waiting, now, EXAMINATION * hold / alone) {
            self.sizes[size].under_way = Some(now);
            return SIZES[size] + 1;
        }
        let pays = |index: usize| {
            let (count, size) = (SIZES[index], &self.sizes[index]);
            let gain = size.gain.filter(|gain| *gain < GAIN && count <= waiting && self.promising(index))?;
            let fits = gain * count as f64 <= SINGLE_RUNS || size.joined.median()? <= hold;
            fits.then_some((gain, count))
        };
        let best = (0..SIZES.len()).filter_map(pays).min_by(|a, b| a.0.total_cmp(&b.0));
        best.map_or(1, |(_, count)| count)
    }

    /// The size whose examination is due, if a turn may take `runs` single runs. One pair at a time, so that an
    /// examination holds one worker at most.
    fn to_examine(&self, waiting: usize, now: Instant, runs: f64) -> Option<usize> {
        let lasts = |since: Instant| now.saturating_duration_since(since) < LOST;
        if self.sizes.iter().any(|size| size.under_way.is_some_and(lasts)) {
            return None;
        }
        (0..SIZES.len()).find(|&index| {
            let enough = SIZES[index] < waiting && (SIZES[index] + 1) as f64 <= runs;
            enough && self.promising(index) && self.sizes[index].due.is_none_or(|due| due <= now)
        })
    }

    /// Whether the next smaller size gains something.
    fn promising(&self, index: usize) -> bool {
        index.checked_sub(1).is_none_or(|smaller| self.sizes[smaller].gain.is_some_and(|gain| gain < PROMISING))
    }

    /// Learns from a run of `count` requests together, or of one.
    pub(super) fn ran(&mut self, count: usize, compute: Duration) {
        match SIZES.iter().position(|size| *size == count) {
            Some(size) => self.sizes[size].joined.add(compute.as_secs_f64()),
            None => self.alone.add(compute.as_secs_f64()),
        }
    }

    /// Learns from a pair: what one request took alone, and then `count` of them joined.
    pub(super) fn examined(&mut self, count: usize, (alone, joined): (Duration, Duration), now: Instant) {
        let Some(index) = SIZES.iter().position(|size| *size == count) else { return };
        let size = &mut self.sizes[index];
        size.under_way = None;
        if !std::mem::replace(&mut size.planned, true) {
            // What came before was measured with the plan that has just been made.
            size.joined = Recent::default();
            return;
        }
        size.pairs.push(joined.as_secs_f64() / (alone.as_secs_f64() * count as f64).max(f64::MIN_POSITIVE));
        let hopeless = size.pairs.len() >= HOPELESS && size.pairs.iter().all(|ratio| *ratio > PROMISING);
        if size.pairs.len() < PAIRS && !hopeless {
            return;
        }
        size.pairs.sort_by(f64::total_cmp);
        let gain = size.pairs[size.pairs.len() / 2];
        let as_before = size.gain.is_some_and(|before| (before < GAIN) == (gain < GAIN));
        size.rest = if as_before { (size.rest * 2).min(REST.1) } else { REST.0 };
        size.due = now.checked_add(size.rest);
        size.gain = Some(gain);
        (size.pairs, size.planned) = (Vec::new(), false);
    }
}

impl Recent {
    fn add(&mut self, seconds: f64) {
        self.last[self.count % self.last.len()] = seconds;
        self.count = self.count.wrapping_add(1);
    }

    /// Nothing before the first one.
    fn median(&self) -> Option<f64> {
        let mut last = self.last;
        let known = &mut last[..self.count.min(self.last.len())];
        known.sort_by(f64::total_cmp);
        known.get(known.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(3600);

    /// A machine that takes `alone` for a run, `joined` for so many together, under a load that changes.
    struct Machine {
        worth: Worth,
        now: Instant,
        alone: Duration,
        joined: fn(u32, Duration) -> Duration,
        turns: Vec<usize>,
        step: u32,
    }

    impl Machine {
        fn new(alone: Duration, joined: fn(u32, Duration) -> Duration) -> Self {
            Self { worth: Worth::default(), now: Instant::now(), alone, joined, turns: vec![], step: 0 }
        }

        /// One turn while so many wait. The load makes everything up to three times slower, changing slowly.
        fn turn(&mut self, waiting: usize, hold: Duration) -> usize {
            let count = self.worth.turn(waiting, self.now, hold);
            let load = 1.0 + f64::from(self.step / 7 % 5) / 2.0;
            self.step += 1;
            let Parts { alone, joined } = parts(count);
            let (one, many) = (self.alone.mul_f64(load), (self.joined)(joined as u32, self.alone).mul_f64(load));
            (0..alone).for_each(|_| self.worth.ran(1, one));
            if joined > 0 {
                self.worth.ran(joined, many);
                self.now += many;
                if alone == 1 {
                    self.worth.examined(joined, (one, many), self.now);
                }
            }
            self.now += one;
            self.turns.push(count);
            count
        }

        fn joined_of(&mut self, turns: usize, waiting: usize, hold: Duration) -> usize {
            (0..turns).filter(|_| parts(self.turn(waiting, hold)).joined > 0).count()
        }
    }

    fn flat(count: u32, alone: Duration) -> Duration {
        alone.mul_f64(f64::from(count) * 1.02)
    }

    fn saving(count: u32, alone: Duration) -> Duration {
        alone.mul_f64(f64::from(count) * if count == 8 { 0.72 } else { 0.78 })
    }

    #[test]
    fn what_gains_nothing_is_hardly_tried_and_never_joined_under_any_load() {
        let mut machine = Machine::new(10 * MS, flat);
        let tried = machine.joined_of(2_000, 20, LONG);
        // Forty seconds: one examination of one size, which ends early.
        assert!(tried <= 1 + PAIRS, "{tried}");
        assert!(machine.turns[100..].iter().all(|count| *count == 1));
    }

    #[test]
    fn what_gains_is_joined_as_far_as_it_fits_into_a_turn() {
        let mut machine = Machine::new(10 * MS, saving);
        machine.joined_of(100, 32, LONG);
        assert_eq!(machine.turn(32, LONG), 8);
        assert_eq!(machine.turn(8, LONG), 8);
        assert_eq!(machine.turn(7, LONG), 4);
        assert_eq!(machine.turn(3, LONG), 1);
        // 31 to 94 ms for four, and twice that for eight.
        machine.joined_of(20, 32, LONG);
        assert_eq!(machine.turn(32, 20 * MS), 1, "others wait");
    }

    #[test]
    fn a_verdict_is_examined_again_and_may_change() {
        let mut machine = Machine::new(MS, saving);
        machine.joined_of(100, 32, LONG);
        assert_eq!(machine.turn(32, LONG), 8);
        machine.joined = flat;
        for _ in 0..12 {
            machine.now += REST.0;
            machine.joined_of(40, 32, LONG);
        }
        assert_eq!(machine.turn(32, LONG), 1);
        // The longer it stays so, the more seldom.
        machine.now += REST.1;
        machine.turns.clear();
        machine.joined_of(2_000, 32, LONG);
        let tried = machine.turns.iter().filter(|count| **count > 1).count();
        assert!((1..=2 * (1 + PAIRS)).contains(&tried), "{tried}");
    }

    #[test]
    fn one_pair_is_under_way_at_a_time_and_one_that_is_lost_blocks_nothing() {
        let mut worth = Worth::default();
        (0..9).for_each(|_| worth.ran(1, MS));
        let now = Instant::now();
        assert_eq!(worth.turn(32, now, LONG), 5);
        assert_eq!(worth.turn(32, now, LONG), 1);
        assert_eq!(worth.turn(32, now + LOST, LONG), 5);
        assert_eq!(worth.turn(4, now + 2 * LOST, LONG), 1, "too few for a pair");
    }

    #[test]
    fn a_long_run_is_not_examined_while_others_ask() {
        let mut worth = Worth::default();
        (0..9).for_each(|_| worth.ran(1, 80 * MS));
        assert_eq!(worth.turn(32, Instant::now(), 25 * MS), 1);
    }
}
