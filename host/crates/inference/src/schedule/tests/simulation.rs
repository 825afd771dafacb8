//! Row 62: thousands of seeded histories of an engine, in which everything that may happen does, and after every step
//! of which everything that must hold is checked from outside.

mod history;
mod world;

use history::{Seed, simulate};

/// How many histories, in two parts so that they run at once.
const SEEDS: u64 = 10_000;

fn part(number: u64) {
    let mut ran = 0;
    for seed in (number..SEEDS).step_by(2) {
        ran += simulate(Seed(seed));
    }
    // The histories are not empty: each runs some twenty batches and more.
    assert!(ran > 20 * SEEDS / 2, "{ran} batches");
}

#[test]
fn f62_simulations_keep_every_promise_even_seeds() {
    part(0);
}

#[test]
fn f62_simulations_keep_every_promise_odd_seeds() {
    part(1);
}
