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

const REQUESTS: u32 = 300;
const FLOOD: u32 = 1_000_000;

impl Scene {
    /// The quiet tenant asks for `percent` of what the machine could do.
    fn new(seed: u64, percent: std::ops::Range<u64>) -> Self {
        let mut random = Random(seed);
        let cost = Duration::from_micros(random.between(500, 5_000));
        let workers = random.between(1, 4) as usize;
        let gap = cost.mul_f64(100.0 / random.between(percent.start, percent.end) as f64) / workers as u32;
        let flood = cost.mul_f64(random.between(20, 200) as f64 / 100.0);
        Self { seed, workers, quiet: (cost, gap), flood, max_batch: random.between(1, 9) as u32 }
    }

    /// When the quiet tenant asks.
    fn arrivals(&self, start: Instant) -> Vec<Instant> {
        let mut random = Random(self.seed);
        let mut at = start;
        let arrival = |_| {
            at += random.gap(self.quiet.1);
            at
        };
        (0..REQUESTS).map(arrival).collect()
    }

    /// The latency of each of the quiet tenant's requests.
    fn latencies(&self, flooded: bool) -> Vec<Duration> {
        let start = Instant::now();
        let mut s = Subject::new(Config { queue_per_tenant: 64, ..config(self.workers) });
        let quiet = s.add_model(ModelPolicy::default());
        let flood = s.add_model(batching(self.max_batch, Duration::ZERO));
        let arrivals = self.arrivals(start);
        let mut now = start;
        let (mut arrived, mut busy, mut latencies) = (0, Vec::<Busy>::new(), vec![None; arrivals.len()]);
        while latencies.contains(&None) {
            while arrived < REQUESTS && arrivals[arrived as usize] <= now {
                push(&mut s, now, 'q', quiet, [arrived]);
                arrived += 1;
            }
            if flooded {
                let mut refused = None;
                while refused.is_none() {
                    let cost_hint = Some(self.flood / self.max_batch);
                    refused = s.push(now, Request { cost_hint, ..request(now, 'f', flood, FLOOD) }).err();
                }
                // Row 57: told when to come back.
                let Some(Rejected { why: Rejection::Full { bound: Bound::Tenant, retry_after }, .. }) = refused else {
                    panic!("{refused:?}");
                };
                assert!(retry_after > Duration::ZERO);
            }
            while let Next::Run(batch) = next(&mut s, now) {
                assert!(s.running() <= self.workers);
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
                for job in &b.quiet {
                    latencies[*job as usize] = Some(now - arrivals[*job as usize]);
                }
                false
            });
        }
        latencies.into_iter().flatten().collect()
    }
}

/// Asking for no more than a fifth of its share, as an interactive tenant does.
#[test]
fn f57_a_flood_at_most_doubles_the_others_p99() {
    for seed in 0..25 {
        let scene = Scene::new(seed, 5..11);
        let (mut alone, mut flooded) = (scene.latencies(false), scene.latencies(true));
        alone.sort();
        flooded.sort();
        for percent in [50, 90, 99] {
            let at = REQUESTS as usize * percent / 100 - 1;
            // A batch that is under way is not interrupted.
            let most = 2 * alone[at] + scene.flood;
            assert!(flooded[at] <= most, "seed {seed}: p{percent} {:?} became {:?}", alone[at], flooded[at]);
        }
    }
}

/// Nearer to its share, a queue that was short becomes long on half of the machine, whoever divides it: what a fair
/// share can promise then is the latency of such a machine, and a batch more (as Parekh and Gallager showed of packets
/// and fluids, IEEE/ACM Transactions on Networking 1993).
#[test]
fn f57_a_flood_leaves_the_others_their_share_of_the_machine() {
    for seed in 0..25 {
        let scene = Scene::new(seed, 5..48);
        let (start, cost) = (Instant::now(), scene.quiet.0);
        let batch = cost.max(scene.flood);
        // One server of half the speed of all workers together; a request itself can use one worker only.
        let shared = 2 * cost / scene.workers as u32;
        let alone = cost.saturating_sub(shared);
        let mut free = start;
        for (arrived, latency) in scene.arrivals(start).into_iter().zip(scene.latencies(true)) {
            free = free.max(arrived) + shared;
            let most = free - arrived + alone + batch;
            assert!(latency <= most, "seed {seed}: {latency:?} and not {most:?}");
        }
    }
}
