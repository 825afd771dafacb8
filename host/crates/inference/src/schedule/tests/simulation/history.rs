//! One history: an engine with random tenants, models, arrivals, costs, deaths and changes.

use super::super::*;
use super::world::{Asked, Hog, Running, World};

#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(pub(super) u64);

struct History {
    random: Random,
    now: Instant,
    workers: usize,
    s: Scheduler<usize, u32>,
    world: World,
    /// Each tenant's weight and models.
    tenants: Vec<(u32, Vec<ModelId>)>,
    /// The hogs' tenants come first.
    hogs: usize,
    jobs: u32,
}

/// Says which seed it was when a check fails.
struct Named(Seed);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the history of {:?}", self.0);
        }
    }
}

/// Plays a history to its end. Returns how many batches ran.
pub(super) fn simulate(seed: Seed) -> u64 {
    let _named = Named(seed);
    // A few are long, so that what is unfair adds up: unfairness grows with time, and its bound does not.
    let long = seed.0 % 256 < 2;
    let mut history = History::new(seed, long);
    let steps = if long { 800 } else { history.random.between(8, 45) };
    for _ in 0..steps {
        history.step();
    }
    history.end()
}

/// What a hog keeps waiting: more than all workers take at once, at four rows a batch.
const BACKLOG: usize = 20;
const KEYS: [Option<BatchKey>; 4] = [None, Some(BatchKey(1)), Some(BatchKey(2)), Some(BatchKey(3))];

impl History {
    fn new(seed: Seed, long: bool) -> Self {
        let mut random = Random(seed.0);
        let workers = random.between(1, 5) as usize;
        // Half of the histories measure fairness; there the bounds of the queue must not keep the hogs from asking.
        let hogs = if long || random.one_in(2) { random.between(2, 5) as usize } else { 0 };
        let tight = hogs == 0 && random.one_in(2);
        let queue = if tight { random.between(1, 60) as usize } else { 10_000 };
        let config = Config {
            workers,
            queue,
            queue_per_tenant: if tight { queue.div_ceil(2) } else { 60 },
            queue_per_model: if tight { queue.div_ceil(3) } else { queue },
        };
        let mut history = Self {
            random,
            now: Instant::now(),
            workers,
            s: Scheduler::new(config),
            world: World::default(),
            tenants: Vec::new(),
            hogs,
            jobs: 0,
        };
        let shared = history.add_model();
        for tenant in 0..hogs + history.random.between(1, 5) as usize {
            let weight = history.random.between(1, 9) as u32;
            let models = if tenant < hogs {
                history.world.hogs.push(Hog { tenant, weight, charged: 0 });
                // Nothing but the turns decides when a hog runs. Two hogs may share a model.
                let max_batch = history.random.between(1, 5) as u32;
                match tenant > 0 && history.random.one_in(3) {
                    true => history.tenants[tenant - 1].1.clone(),
                    false => vec![history.register(batching(max_batch, Duration::ZERO))],
                }
            } else {
                vec![history.add_model(), history.add_model(), shared]
            };
            history.tenants.push((weight, models));
        }
        history
    }

    fn policy(&mut self) -> ModelPolicy {
        let random = &mut self.random;
        ModelPolicy {
            max_batch: random.between(1, 9) as u32,
            max_delay: MS * random.between(0, 6) as u32,
            max_concurrency: *random.of(&[1, 2, usize::MAX]),
            exclusive_group: if random.one_in(4) { Some(GroupId(random.between(0, 2) as u32)) } else { None },
        }
    }

    fn add_model(&mut self) -> ModelId {
        let policy = self.policy();
        self.register(policy)
    }

    fn register(&mut self, policy: ModelPolicy) -> ModelId {
        let model = self.s.add_model(policy.clone());
        self.world.policies.insert(model, policy);
        model
    }

    fn step(&mut self) {
        self.now += Duration::from_micros(self.random.between(0, 2_000));
        self.finish();
        match self.random.between(0, 40) {
            0 => self.die(),
            1 => self.change_policy(),
            2 => self.replace_model(),
            3..6 => self.cancel(),
            6..9 => self.leave(),
            _ => {}
        }
        for tenant in 0..self.hogs {
            while self.world.waiting.of(tenant) < BACKLOG {
                self.ask(tenant, HOUR);
            }
        }
        for tenant in self.hogs..self.tenants.len() {
            if self.random.one_in(3) {
                for _ in 0..self.random.between(1, 8) {
                    let patience = Duration::from_micros(*self.random.of(&[0, 900, 7_000, 3_600_000_000]));
                    self.ask(tenant, patience);
                }
            }
        }
        self.work();
    }

    /// One request of a tenant.
    fn ask(&mut self, tenant: usize, patience: Duration) {
        let (weight, models) = &self.tenants[tenant];
        let (weight, model) = (*weight, *self.random.of(models));
        let (rows, key, hint) = match tenant < self.hogs {
            true => (1, KEYS[1], MS),
            false => (self.random.between(0, 11) as u32, *self.random.of(&KEYS), MS * self.random.between(0, 9) as u32),
        };
        let (arrived, deadline, job) = (self.now, self.now + patience, self.jobs);
        self.jobs += 1;
        let cost_hint = if self.random.one_in(2) { Some(hint) } else { None };
        let request = Request { tenant, weight, model, rows, batch_key: key, deadline, cost_hint, job };
        match self.s.push(self.now, request) {
            Ok(id) => {
                let asked = Asked { tenant, model, key, rows: rows.max(1), arrived, deadline, id };
                self.world.waiting.insert(job, asked);
            }
            Err(rejected) => {
                assert_eq!(rejected.job, job);
                let Rejection::Full { retry_after, .. } = rejected.why else { panic!("{:?}", rejected.why) };
                assert!(retry_after > Duration::ZERO && tenant >= self.hogs);
                self.drain();
            }
        }
    }

    /// Every free worker asks for work, until there is none.
    fn work(&mut self) {
        loop {
            let gone = &self.world.gone;
            // Some turns are cut short, as where joining does not pay.
            let turn = |job: &u32, rows: u64| if job % 7 == 0 { 1 + u64::from(*job) % rows } else { rows };
            let batch = match self.s.next(self.now, |job| gone.contains(job), turn) {
                Next::Run(batch) => batch,
                Next::WaitUntil(at) => {
                    assert!(at > self.now, "a wait for what is past");
                    break;
                }
                Next::Idle => break,
            };
            self.drain();
            self.start(batch);
        }
        self.drain();
        if self.random.one_in(8) {
            let late = self.world.waiting.iter().find(|(_, a)| a.deadline <= self.now);
            assert!(late.is_none(), "an expired request was kept");
        }
        if self.world.running.len() < self.workers {
            self.world.check_idle(self.now);
        }
        assert_eq!((self.s.queued(), self.s.running()), (self.world.waiting.len(), self.world.running.len()));
        self.world.quantum = self.world.quantum.max(self.s.rounds.quantum());
        self.world.check_fairness(self.workers);
    }

    fn start(&mut self, batch: Batch<u32>) {
        let waiting = &self.world.waiting;
        let rows_of = |job: &u32| waiting.get(*job).map(|a| (a.tenant, i64::from(a.rows)));
        let rows: Vec<(usize, i64)> = batch.jobs.iter().filter_map(rows_of).collect();
        self.world.check_batch(self.now, &batch, self.workers);
        // A model's requests may cost one tenant more than another, so that no estimate is right for both.
        let dearer = 1 + 2 * (rows[0].0 as u64 % 3);
        let micros = dearer * self.random.between(50, 2_000) + 100 * batch.rows;
        let cost = Duration::from_micros(micros);
        let mut shares: Vec<(usize, i64, i64)> = Vec::new();
        let mut expected = 0;
        for share in &self.s.flights.get(batch.id.0).unwrap().shares {
            let tenant = *self.s.tenants.iter().find(|(_, key)| **key == share.tenant).unwrap().0;
            let own: i64 = rows.iter().filter(|(t, _)| *t == tenant).map(|(_, rows)| rows).sum();
            shares.push((tenant, share.charged, cost.as_nanos() as i64 * own / batch.rows as i64));
            expected += share.charged;
        }
        for (tenant, charged, _) in &shares {
            self.world.charge(*tenant, *charged);
        }
        self.world.dearest = self.world.dearest.max(expected).max(cost.as_nanos() as i64);
        let group = self.world.policies[&batch.model].exclusive_group;
        let ends = self.now + cost;
        self.world.running.push(Running { id: batch.id, model: batch.model, group, ends, cost, shares });
    }

    /// Batches whose time has come end.
    fn finish(&mut self) {
        let (done, running) = std::mem::take(&mut self.world.running).into_iter().partition(|r| r.ends <= self.now);
        self.world.running = running;
        for r in done {
            assert!(self.s.done(self.now, r.id, r.cost));
            assert!(!self.s.done(self.now, r.id, r.cost) && !self.s.lost(r.id));
            for (tenant, charged, real) in r.shares {
                self.world.charge(tenant, real - charged);
            }
        }
    }

    /// The engine dies, and every batch with it; what they were charged stays.
    fn die(&mut self) {
        for r in std::mem::take(&mut self.world.running) {
            assert!(self.s.lost(r.id));
            assert!(!self.s.lost(r.id) && !self.s.done(self.now, r.id, r.cost));
        }
    }

    /// One of the models that are not the hogs'.
    fn model(&mut self) -> (usize, usize) {
        let tenant = self.random.between(self.hogs as u64, self.tenants.len() as u64) as usize;
        (tenant, self.random.between(0, self.tenants[tenant].1.len() as u64) as usize)
    }

    fn change_policy(&mut self) {
        let (tenant, index) = self.model();
        let (model, policy) = (self.tenants[tenant].1[index], self.policy());
        self.s.set_policy(model, policy.clone());
        self.world.policies.insert(model, policy);
    }

    fn replace_model(&mut self) {
        let (tenant, index) = self.model();
        let (old, new) = (self.tenants[tenant].1[index], self.add_model());
        for job in self.s.remove_model(old) {
            assert_eq!(self.world.waiting.remove(job).unwrap().model, old);
        }
        assert!(self.world.waiting.iter().all(|(_, a)| a.model != old));
        for model in self.tenants.iter_mut().flat_map(|(_, models)| models) {
            if *model == old {
                *model = new;
            }
        }
    }

    /// The jobs that wait, but for the hogs'.
    fn others(&self) -> Vec<u32> {
        let theirs = self.world.waiting.iter().filter(|(_, a)| a.tenant >= self.hogs);
        theirs.map(|(job, _)| job).collect()
    }

    fn cancel(&mut self) {
        let jobs = self.others();
        if !jobs.is_empty() {
            let job = *self.random.of(&jobs);
            let asked = self.world.waiting.remove(job).unwrap();
            assert_eq!(self.s.cancel(asked.id), Some(job));
            assert_eq!(self.s.cancel(asked.id), None);
        }
    }

    fn leave(&mut self) {
        let jobs = self.others();
        if !jobs.is_empty() {
            self.world.gone.insert(*self.random.of(&jobs));
        }
    }

    fn drain(&mut self) {
        for dropped in self.s.take_dropped(self.now) {
            let (job, right) = match dropped {
                Dropped::Expired(job) => (job, self.world.waiting.get(job).is_some_and(|a| a.deadline <= self.now)),
                Dropped::Gone(job) => (job, self.world.gone.contains(&job)),
            };
            assert!(right && self.world.waiting.remove(job).is_some(), "{job} was dropped for no reason");
        }
    }

    /// Nobody asks any more: all that waits comes out, everything is at rest.
    fn end(mut self) -> u64 {
        let mut steps = 0;
        while !(self.world.waiting.len() == 0 && self.world.running.is_empty()) {
            self.now += 3 * MS;
            self.finish();
            self.world.hogs.clear();
            self.work();
            steps += 1;
            assert!(steps < 5_000, "{} requests starve", self.world.waiting.len());
        }
        assert_eq!((self.s.queued(), self.s.running(), self.s.groups.len()), (0, 0, 0));
        for model in self.world.policies.keys().filter_map(|model| self.s.models.get(model.0)) {
            assert_eq!((model.gate.running, model.queued, model.holding), (0, 0, 0));
        }
        self.world.batches
    }
}
