//! Tests of the scheduler as a whole: behaviour by behaviour, and in simulations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod batching;
mod bounds;
mod flood;
mod simulation;
mod turns;

use std::time::{Duration, Instant};

use super::*;

type Subject = Scheduler<char, u32>;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

fn config(workers: usize) -> Config {
    Config { workers, queue: 100_000, queue_per_tenant: 100_000, queue_per_model: 100_000 }
}

fn subject(workers: usize) -> (Subject, Instant) {
    (Scheduler::new(config(workers)), Instant::now())
}

/// A model with batches of up to `max_batch` rows.
fn batching(max_batch: u32, max_delay: Duration) -> ModelPolicy {
    ModelPolicy { max_batch, max_delay, ..ModelPolicy::default() }
}

/// One row, weight 1, time enough.
fn request(now: Instant, tenant: char, model: ModelId, job: u32) -> Request<char, u32> {
    let batch_key = Some(BatchKey(1));
    Request { tenant, weight: 1, model, rows: 1, batch_key, deadline: now + HOUR, cost_hint: Some(MS), job }
}

fn push(s: &mut Subject, now: Instant, tenant: char, model: ModelId, jobs: impl IntoIterator<Item = u32>) {
    for job in jobs {
        s.push(now, request(now, tenant, model, job)).unwrap();
    }
}

fn next(s: &mut Subject, now: Instant) -> Next<u32> {
    s.next(now, |_| false, |_, _| u64::MAX)
}

#[track_caller]
fn run(s: &mut Subject, now: Instant) -> Batch<u32> {
    match next(s, now) {
        Next::Run(batch) => batch,
        other => panic!("nothing to run: {other:?}"),
    }
}

#[track_caller]
fn assert_idle(s: &mut Subject, now: Instant) {
    match next(s, now) {
        Next::Run(batch) => panic!("ran {batch:?}"),
        Next::WaitUntil(_) | Next::Idle => {}
    }
}

#[track_caller]
fn assert_waits(s: &mut Subject, now: Instant, until: Instant) {
    match next(s, now) {
        Next::WaitUntil(at) => assert_eq!(at - now, until - now),
        other => panic!("{other:?}"),
    }
}

/// Seeded random numbers (SplitMix64: Steele, Lea & Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to below `high`.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.bits() % (high - low)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.bits() % n == 0
    }

    fn of<'a, X>(&mut self, from: &'a [X]) -> &'a X {
        &from[self.between(0, from.len() as u64) as usize]
    }

    /// The gap to the next arrival of a Poisson process with this mean gap.
    fn gap(&mut self, mean: Duration) -> Duration {
        let uniform = (self.bits() >> 11) as f64 / (1u64 << 53) as f64;
        mean.mul_f64(-(1.0 - uniform).ln())
    }
}
