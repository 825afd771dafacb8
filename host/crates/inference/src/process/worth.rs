//! Whether joining pays, for inputs of one shape: measured while requests wait, single and joined runs in turn.
//!
//! A run alone on an idle machine and a joined one on a busy machine cannot be compared, nor the other way round. So in
//! an *examination*, which needs that enough requests wait anyhow, every few single runs are followed by a joined one:
//! both kinds see the same load, and the means of several of each decide. It is repeated now and then, ever more seldom
//! while its verdict stays.
//!
//! What pays is still not always right: a batch holds its worker for as long as it runs, and nobody else has a turn
//! there. So a batch also has to fit into the time that a turn may take, which is short while other tenants ask.

use std::time::{Duration, Instant};

/// How many requests run together: an engine plans every batch size anew, so there are few.
const SIZES: [usize; 2] = [4, 8];

/// The most.
pub(super) const MOST: u32 = SIZES[SIZES.len() - 1] as u32;

/// Joined requests take at most this part of the time that they take one after another. Less gain is noise, and others
/// wait longer for a turn behind a batch.
const GAIN: f64 = 0.85;

/// Eight are examined only if four gain as much as this at least: what four lose, eight do not win.
const PROMISING: f64 = 0.97;

/// Joined runs that an examination takes, behind the first one, which plans and is slow.
const RUNS: usize = 8;

/// So many are enough if each of them lost.
const HOPELESS: usize = 3;

/// Single runs before each joined one: enough to compare, and others get turns meanwhile.
const BETWEEN: usize = 2;

/// Single runs that are kept of an examination.
const SINGLES: usize = 64;

/// The load may have changed so much after this time that an examination begins anew.
const PAUSE: Duration = Duration::from_secs(2);

/// The time until the next examination, the first time and at most.
const REST: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(32 * 60));

/// A joined run that has not ended by then was lost: its requests left, or the engine.
const LOST: Duration = Duration::from_secs(10);

/// How many times longer than a turn may take an examination's may be. It is rare.
const EXAMINATION: f64 = 2.0;

/// A batch may take as long as so many single runs, however long they are: a worker is held no shorter without it.
const SINGLE_RUNS: f64 = 2.0;

/// What is known of one shape.
#[derive(Default)]
pub(super) struct Worth {
    /// Seconds of a run alone.
    alone: Recent,
    sizes: [Size; SIZES.len()],
    examination: Option<Examination>,
}

/// What is known of a number of requests that run together.
#[derive(Default)]
struct Size {
    /// Seconds of a run.
    joined: Recent,
    /// The last verdict: the time of a joined request over that of one alone.
    gain: Option<f64>,
    /// The next examination; at once, if there was none.
    due: Option<Instant>,
    rest: Duration,
}

struct Examination {
    size: usize,
    /// Seconds of the runs, of either kind.
    single: Vec<f64>,
    joined: Vec<f64>,
    planned: bool,
    /// Single runs since the last joined one.
    since: usize,
    /// When the last run ended.
    last: Instant,
    /// Since when a joined run has been under way: one at a time, so that it holds one worker at most.
    under_way: Option<Instant>,
}

/// The last few durations, seconds.
#[derive(Default)]
struct Recent {
    last: [f64; 9],
    count: usize,
}

/// Whether there are plans for so many requests together.
pub(super) fn joins(count: usize) -> bool {
    SIZES.contains(&count)
}

impl Worth {
    /// How many of `waiting` requests the next turn takes, if it may hold its worker for `hold`.
    pub(super) fn turn(&mut self, waiting: usize, now: Instant, hold: Duration) -> usize {
        let (Some(alone), hold) = (self.alone.median(), hold.as_secs_f64()) else { return 1 };
        if waiting < SIZES[0] {
            return 1;
        }
        if self.examination.is_none() {
            let size = self.to_examine(waiting, now, EXAMINATION * hold / alone);
            self.examination = size.map(|size| Examination::new(size, now));
        }
        if let Some(examination) = &mut self.examination
            && waiting >= SIZES[examination.size]
        {
            return examination.turn(now);
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

    /// The size whose examination is due, if a turn may take `runs` single runs.
    fn to_examine(&self, waiting: usize, now: Instant, runs: f64) -> Option<usize> {
        (0..SIZES.len()).find(|&index| {
            let fits = SIZES[index] <= waiting && SIZES[index] as f64 <= runs;
            fits && self.promising(index) && self.sizes[index].due.is_none_or(|due| due <= now)
        })
    }

    /// Whether the next smaller size gains something.
    fn promising(&self, index: usize) -> bool {
        index.checked_sub(1).is_none_or(|smaller| self.sizes[smaller].gain.is_some_and(|gain| gain < PROMISING))
    }

    /// Learns from a run of `count` requests together, or of one, that has just ended.
    pub(super) fn ran(&mut self, count: usize, compute: Duration, now: Instant) {
        let (size, seconds) = (SIZES.iter().position(|size| *size == count), compute.as_secs_f64());
        match size {
            Some(size) => self.sizes[size].joined.add(seconds),
            None => self.alone.add(seconds),
        }
        let Some(examination) = &mut self.examination else { return };
        if let Some(size) = size
            && size == examination.size
            && !examination.planned
        {
            // What came before was measured with the plan that has just been made.
            self.sizes[size].joined = Recent::default();
        }
        examination.ran(size, seconds, now);
        if let Some(gain) = examination.verdict() {
            let size = &mut self.sizes[examination.size];
            tracing::debug!(requests = SIZES[examination.size], gain, "joining requests of a model was examined");
            let as_before = size.gain.is_some_and(|before| (before < GAIN) == (gain < GAIN));
            size.rest = if as_before { (size.rest * 2).min(REST.1) } else { REST.0 };
            size.due = now.checked_add(size.rest);
            size.gain = Some(gain);
            self.examination = None;
        }
    }
}

impl Examination {
    fn new(size: usize, now: Instant) -> Self {
        let (single, joined) = (Vec::new(), Vec::new());
        Self { size, single, joined, planned: false, since: 0, last: now, under_way: None }
    }

    /// How many requests its next turn takes.
    fn turn(&mut self, now: Instant) -> usize {
        if self.under_way.is_some_and(|since| now.saturating_duration_since(since) < LOST) {
            return 1;
        }
        if now.saturating_duration_since(self.last) > PAUSE {
            let planned = self.planned;
            *self = Self { planned, ..Self::new(self.size, now) };
        }
        if self.since < BETWEEN {
            return 1;
        }
        self.under_way = Some(now);
        SIZES[self.size]
    }

    fn ran(&mut self, size: Option<usize>, seconds: f64, now: Instant) {
        if size == Some(self.size) {
            (self.under_way, self.since, self.last) = (None, 0, now);
            if std::mem::replace(&mut self.planned, true) {
                self.joined.push(seconds);
            }
        } else if size.is_none() {
            (self.since, self.last) = (self.since.saturating_add(1), now);
            if self.planned && self.single.len() < SINGLES {
                self.single.push(seconds);
            }
        }
    }

    /// The time of a joined request over that of one alone, once that is known.
    fn verdict(&self) -> Option<f64> {
        let alone = mean(&self.single)? * SIZES[self.size] as f64;
        let hopeless = self.joined.len() >= HOPELESS && self.joined.iter().all(|joined| *joined > PROMISING * alone);
        if self.joined.len() < RUNS && !hopeless {
            None
        } else {
            Some(mean(&self.joined)? / alone.max(f64::MIN_POSITIVE))
        }
    }
}

/// The mean of all but the least and the greatest eighth.
fn mean(seconds: &[f64]) -> Option<f64> {
    let mut seconds = seconds.to_vec();
    seconds.sort_by(f64::total_cmp);
    let kept = &seconds[seconds.len() / 8..seconds.len() - seconds.len() / 8];
    if kept.is_empty() { None } else { Some(kept.iter().sum::<f64>() / kept.len() as f64) }
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

    /// A machine with one worker that takes `alone` for a run, and `joined` for so many together, under a load that
    /// changes.
    struct Machine {
        worth: Worth,
        now: Instant,
        alone: Duration,
        joined: fn(u32, Duration) -> Duration,
        turns: Vec<usize>,
        load: Box<dyn Fn(usize) -> f64>,
    }

    impl Machine {
        fn new(alone: Duration, joined: fn(u32, Duration) -> Duration) -> Self {
            // Everything is up to three times slower, and that changes slowly.
            let load = Box::new(|step| 1.0 + (step / 7 % 5) as f64 / 2.0);
            Self { worth: Worth::default(), now: Instant::now(), alone, joined, turns: vec![], load }
        }

        /// One turn while so many wait.
        fn turn(&mut self, waiting: usize, hold: Duration) -> usize {
            let count = self.worth.turn(waiting, self.now, hold);
            let took = if count == 1 { self.alone } else { (self.joined)(count as u32, self.alone) };
            let took = took.mul_f64((self.load)(self.turns.len()));
            self.now += took;
            self.worth.ran(count, took, self.now);
            self.turns.push(count);
            count
        }

        /// How many of so many turns were joined ones.
        fn joined_of(&mut self, turns: usize, waiting: usize, hold: Duration) -> usize {
            (0..turns).filter(|_| self.turn(waiting, hold) > 1).count()
        }
    }

    fn flat(count: u32, alone: Duration) -> Duration {
        alone.mul_f64(f64::from(count) * 1.02)
    }

    fn saving(count: u32, alone: Duration) -> Duration {
        alone.mul_f64(f64::from(count) * if count == 8 { 0.68 } else { 0.75 })
    }

    #[test]
    fn what_gains_nothing_is_hardly_tried_and_never_joined_under_any_load() {
        let mut machine = Machine::new(10 * MS, flat);
        let tried = machine.joined_of(2_000, 20, LONG);
        // Forty seconds: one examination of one size.
        assert!((1..=1 + RUNS).contains(&tried), "{tried}");
        assert!(machine.turns[100..].iter().all(|count| *count == 1));
    }

    #[test]
    fn runs_on_an_idle_machine_are_not_compared_with_those_on_a_busy_one() {
        // Alone they are quick, as long as hardly anybody asks; with twenty waiting everything takes thrice as long.
        let mut machine = Machine::new(10 * MS, saving);
        machine.load = Box::new(|_| 1.0);
        assert_eq!(machine.joined_of(50, 1, LONG), 0);
        machine.load = Box::new(|_| 3.0);
        machine.joined_of(100, 20, LONG);
        assert_eq!(machine.turn(20, LONG), 8);
        // And the other way round.
        let mut machine = Machine::new(10 * MS, flat);
        machine.load = Box::new(|_| 3.0);
        machine.joined_of(50, 1, LONG);
        machine.load = Box::new(|_| 1.0);
        machine.joined_of(100, 20, LONG);
        assert_eq!(machine.turn(20, LONG), 1);
    }

    #[test]
    fn what_gains_is_joined_as_far_as_it_fits_into_a_turn() {
        let mut machine = Machine::new(10 * MS, saving);
        machine.joined_of(150, 32, LONG);
        assert_eq!(machine.turn(32, LONG), 8);
        assert_eq!(machine.turn(8, LONG), 8);
        assert_eq!(machine.turn(7, LONG), 4);
        assert_eq!(machine.turn(3, LONG), 1);
        // 30 to 90 ms for four, and nearly twice that for eight.
        assert_eq!(machine.turn(32, 20 * MS), 1, "others wait");
    }

    #[test]
    fn a_verdict_is_examined_again_and_may_change() {
        let mut machine = Machine::new(MS, saving);
        machine.joined_of(150, 32, LONG);
        assert_eq!(machine.turn(32, LONG), 8);
        machine.joined = flat;
        for _ in 0..12 {
            machine.now += REST.0;
            machine.joined_of(60, 32, LONG);
        }
        assert_eq!(machine.turn(32, LONG), 1);
        // The longer it stays so, the more seldom.
        machine.now += REST.1;
        machine.turns.clear();
        let tried = machine.joined_of(2_000, 32, LONG);
        assert!((1..=1 + RUNS).contains(&tried), "{tried}");
    }

    #[test]
    fn one_joined_run_is_under_way_at_a_time_and_one_that_is_lost_blocks_nothing() {
        let mut worth = Worth::default();
        let now = Instant::now();
        worth.ran(1, MS, now);
        assert_eq!(worth.turn(32, now, LONG), 1, "single runs come first");
        (0..BETWEEN).for_each(|_| worth.ran(1, MS, now));
        assert_eq!(worth.turn(32, now, LONG), 4);
        (0..BETWEEN).for_each(|_| worth.ran(1, MS, now));
        assert_eq!(worth.turn(32, now, LONG), 1, "one is under way");
        let later = now + LOST;
        (0..BETWEEN).for_each(|_| worth.ran(1, MS, later));
        assert_eq!(worth.turn(32, later, LONG), 4, "it was lost");
    }

    #[test]
    fn a_long_run_is_not_examined_while_others_ask() {
        let mut machine = Machine::new(80 * MS, saving);
        assert_eq!(machine.joined_of(100, 32, 25 * MS), 0);
    }
}
