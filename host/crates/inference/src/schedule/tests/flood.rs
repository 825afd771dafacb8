//! One tenant floods: what the others notice of it.

use super::*;

/// One tenant that asks now and then, with or without another that keeps its queue full.
struct Scene {
    seed: u64,
    workers: usize,
    /// What the quiet tenant's requests cost, and how far apart they come on average.
    quiet: (Duration, Duration),
    /// What a batch of the flood costs.
    flood: Duration,
    max_batch: u32,
}

/// A batch under way in a scene.
struct Busy {
    until: Instant,
    batch: BatchId,
    took: Duration,
    quiet: Vec<u32>,
}

const REQUESTS: u32 = 400;
const FLOOD: u32 = 1_000_000;

impl Scene {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let cost = Duration::from_micros(random.between(500, 5_000));
        let workers = random.between(1, 4) as usize;
        // A tenth to a quarter of what the machine could do, so at most half of its share.
        let gap = cost.mul_f64(100.0 / random.between(10, 26) as f64) / workers as u32;
        let flood = cost.mul_f64(random.between(20, 200) as f64 / 100.0);
        Self { seed, workers, quiet: (cost, gap), flood, max_batch: random.between(1, 9) as u32 }
    }

    /// The latency of every request of the quiet tenant, sorted.
    fn latencies(&self, flooded: bool) -> Vec<Duration> {
        let mut random = Random(self.seed);
        let start = Instant::now();
        let mut s = Subject::new(Config { queue_per_tenant: 64, ..config(self.workers) });
        let quiet = s.add_model(ModelPolicy::default());
        let flood = s.add_model(batching(self.max_batch, Duration::ZERO));
        let mut arrivals = Vec::new();
        let mut at = start;
        for _ in 0..REQUESTS {
            at += random.gap(self.quiet.1);
            arrivals.push(at);
        }
        let mut now = start;
        let (mut arrived, mut busy, mut latencies) = (0, Vec::<Busy>::new(), Vec::new());
        while latencies.len() < REQUESTS as usize {
            while arrived < REQUESTS && arrivals[arrived as usize] <= now {
                push(&mut s, now, 'q', quiet, [arrived]);
                arrived += 1;
            }
            if flooded {
                let mut refused = None;
                while refused.is_none() {
                    refused = s.push(now, request(now, 'f', flood, FLOOD)).err();
                }
                // Row 57: told when to come back.
                let Some(Rejected { why: Rejection::Full { bound: Bound::Tenant, retry_after }, .. }) = refused else {
                    panic!("{refused:?}");
                };
                assert!(retry_after > Duration::ZERO);
            }
            while let Next::Run(batch) = next(&mut s, now) {
                let took = if batch.model == quiet { self.quiet.0 } else { self.flood };
                let quiet = batch.jobs.iter().copied().filter(|job| *job < FLOOD).collect();
                busy.push(Busy { until: now + took, batch: batch.id, took, quiet });
            }
            let ends = busy.iter().map(|b| b.until).min();
            let comes = arrivals.get(arrived as usize).copied();
            now = ends.into_iter().chain(comes).min().unwrap();
            busy.retain(|b| {
                if b.until > now {
                    return true;
                }
                assert!(s.done(now, b.batch, b.took));
                latencies.extend(b.quiet.iter().map(|job| now - arrivals[*job as usize]));
                false
            });
        }
        latencies.sort();
        latencies
    }
}

#[test]
fn f57_a_flood_at_most_doubles_the_others_p99() {
    for seed in 0..200 {
        let scene = Scene::new(seed);
        let (alone, flooded) = (scene.latencies(false), scene.latencies(true));
        for percent in [50, 90, 99] {
            let at = REQUESTS as usize * percent / 100 - 1;
            // A batch that is under way is not interrupted.
            let most = 2 * alone[at] + scene.flood;
            assert!(flooded[at] <= most, "seed {seed}: p{percent} {:?} became {:?}", alone[at], flooded[at]);
        }
    }
}
