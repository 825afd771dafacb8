//! What the checks know of a history, kept apart from the scheduler: every request, every batch, every account.

use std::collections::{HashMap, HashSet, VecDeque};

use super::super::*;

/// A request, as the one who pushed it sees it.
pub(super) struct Asked {
    pub(super) tenant: usize,
    pub(super) model: ModelId,
    pub(super) key: Option<BatchKey>,
    pub(super) rows: u32,
    pub(super) arrived: Instant,
    pub(super) deadline: Instant,
    pub(super) id: RequestId,
}

/// A batch under way.
pub(super) struct Running {
    pub(super) id: BatchId,
    pub(super) model: ModelId,
    pub(super) group: Option<GroupId>,
    pub(super) ends: Instant,
    pub(super) cost: Duration,
    /// What each tenant was charged at the start, and its part of the real cost.
    pub(super) shares: Vec<(usize, i64, i64)>,
}

/// A tenant whose queue never runs empty: fairness is measured between these.
pub(super) struct Hog {
    pub(super) tenant: usize,
    pub(super) weight: u32,
    /// Nanoseconds that it was charged.
    pub(super) charged: i64,
}

/// The requests that wait, by job.
#[derive(Default)]
pub(super) struct Waiting {
    jobs: Vec<Option<Asked>>,
    /// Nobody waits below.
    from: usize,
    len: usize,
    by_tenant: Vec<usize>,
    /// The jobs of each lane in the order in which they came, and some that have left.
    lanes: HashMap<(usize, ModelId, Option<BatchKey>), VecDeque<u32>>,
}

impl Waiting {
    pub(super) fn insert(&mut self, job: u32, asked: Asked) {
        self.lanes.entry((asked.tenant, asked.model, asked.key)).or_default().push_back(job);
        self.jobs.resize_with(job as usize + 1, || None);
        self.by_tenant.resize(self.by_tenant.len().max(asked.tenant + 1), 0);
        self.by_tenant[asked.tenant] += 1;
        self.len += 1;
        self.jobs[job as usize] = Some(asked);
    }

    pub(super) fn remove(&mut self, job: u32) -> Option<Asked> {
        let asked = self.jobs.get_mut(job as usize)?.take()?;
        self.by_tenant[asked.tenant] -= 1;
        self.len -= 1;
        while self.jobs.get(self.from).is_some_and(Option::is_none) {
            self.from += 1;
        }
        Some(asked)
    }

    pub(super) fn get(&self, job: u32) -> Option<&Asked> {
        self.jobs.get(job as usize)?.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Asked)> {
        let jobs = self.jobs.iter().enumerate().skip(self.from);
        jobs.filter_map(|(job, asked)| Some((job as u32, asked.as_ref()?)))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn of(&self, tenant: usize) -> usize {
        self.by_tenant.get(tenant).copied().unwrap_or(0)
    }

    /// The first one of a lane.
    fn first(&mut self, of: &Asked) -> Option<u32> {
        let lane = self.lanes.get_mut(&(of.tenant, of.model, of.key))?;
        while lane.front().is_some_and(|job| self.jobs[*job as usize].is_none()) {
            lane.pop_front();
        }
        lane.front().copied()
    }
}

#[derive(Default)]
pub(super) struct World {
    /// Taken, and not out again. A request leaves it exactly once.
    pub(super) waiting: Waiting,
    pub(super) running: Vec<Running>,
    pub(super) policies: HashMap<ModelId, ModelPolicy>,
    pub(super) gone: HashSet<u32>,
    pub(super) hogs: Vec<Hog>,
    /// Of each pair of hogs: the least and the most by which the first one was ahead.
    ahead: Vec<(f64, f64)>,
    /// The dearest batch, expected or real, and the largest quantum.
    pub(super) dearest: i64,
    pub(super) quantum: i64,
    pub(super) batches: u64,
}

impl World {
    /// A batch came out: all that must hold of it.
    pub(super) fn check_batch(&mut self, now: Instant, batch: &Batch<u32>, workers: usize) {
        assert!(!batch.jobs.is_empty());
        let mut asked = Vec::new();
        for job in &batch.jobs {
            let Some(a) = self.waiting.get(*job) else { panic!("{job} ran twice, or never came") };
            let lane = Asked { id: a.id, ..*a };
            // In order: who came first in a lane runs first.
            assert_eq!(self.waiting.first(&lane), Some(*job), "{job} overtook another");
            asked.extend(self.waiting.remove(*job).map(|a| (*job, a)));
        }
        let key = asked[0].1.key;
        let policy = &self.policies[&batch.model];
        for (job, a) in &asked {
            assert!(now < a.deadline, "{job} ran past its deadline");
            assert!(!self.gone.contains(job), "{job} ran for nobody");
            assert_eq!((a.model, a.key), (batch.model, key), "{job} was mixed in");
        }
        let rows: u64 = asked.iter().map(|(_, a)| u64::from(a.rows)).sum();
        assert_eq!(rows, batch.rows);
        assert!(asked.len() == 1 || (key.is_some() && rows <= u64::from(policy.max_batch)), "{rows} rows");
        assert!(self.running.len() < workers, "more batches than workers");
        let of_model = self.running.iter().filter(|r| r.model == batch.model).count();
        assert!(of_model < policy.max_concurrency, "more batches than instances");
        if let Some(group) = policy.exclusive_group {
            assert!(self.running.iter().all(|r| r.group != Some(group)), "two batches of a group");
        }
        self.batches += 1;
    }

    /// A worker is free and was given nothing: nothing that waits could run.
    pub(super) fn check_idle(&self, now: Instant) {
        for (job, a) in self.waiting.iter() {
            let policy = &self.policies[&a.model];
            let instances = self.running.iter().filter(|r| r.model == a.model).count() >= policy.max_concurrency;
            let group = policy.exclusive_group.is_some_and(|g| self.running.iter().any(|r| r.group == Some(g)));
            let held = policy.max_batch > 1 && a.key.is_some() && now < a.arrived + policy.max_delay;
            // The delay counts from the first of a lane: whoever came later runs with it, or is held for itself.
            assert!(instances || group || held || self.gone.contains(&job), "{job} waits for nothing");
        }
    }

    /// The accounts of those that always have something to run stay as close as `fair` states. Over every interval:
    /// so it is the spread over the whole history that counts.
    pub(super) fn check_fairness(&mut self, workers: usize) {
        for i in 0..self.hogs.len() {
            for j in 0..i {
                let (a, b) = (&self.hogs[i], &self.hogs[j]);
                let (wa, wb) = (f64::from(a.weight), f64::from(b.weight));
                let ahead = a.charged as f64 / wa - b.charged as f64 / wb;
                let pair = i * (i - 1) / 2 + j;
                if pair == self.ahead.len() {
                    self.ahead.push((ahead, ahead));
                }
                let (low, high) = &mut self.ahead[pair];
                *low = low.min(ahead);
                *high = high.max(ahead);
                let batches = (2 * workers + 1) as f64 * self.dearest as f64;
                let bound = 3.0 * self.quantum as f64 + batches * (1.0 / wa + 1.0 / wb);
                assert!(*high - *low <= bound, "{i} and {j} are {} apart, and may be {bound}", *high - *low);
            }
        }
    }

    pub(super) fn charge(&mut self, tenant: usize, nanos: i64) {
        if let Some(hog) = self.hogs.iter_mut().find(|hog| hog.tenant == tenant) {
            hog.charged += nanos;
        }
    }
}
