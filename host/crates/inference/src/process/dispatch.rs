//! From callers to an engine's workers, by way of the scheduler: whose turn it is, and what runs together.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use aimass_core::{Code, Fault, Result, Tensor};
use tokio::sync::oneshot;

use super::blame::{Blame, ModelKey};
use super::company::Company;
use super::join::{self, Joins};
use super::link::{Link, Outputs};
use super::weights::Weight;
use super::worth;
use crate::engines::EngineConfig;
use crate::pool::{lock, past_deadline};
use crate::schedule::{
    Batch, BatchId, BatchKey, Bound, Config, GroupId, ModelId, ModelPolicy, Next, Rejection, Request, Scheduler,
};

/// The group of models that engines died of: one of them runs at a time.
const SUSPECTS: GroupId = GroupId(0);

/// Tenants whose queues may be full at once before others are turned away as well.
const TENANTS_QUEUED: usize = 8;

/// How many times more of the engine's time a tenant's calls get than what it runs behind them.
const AHEAD: u32 = 16;

/// One engine's queue.
pub(super) struct Dispatcher {
    scheduler: Mutex<Scheduler<Arc<str>, Job>>,
    /// When somebody will look again, if anybody must.
    alarm: Mutex<Option<Instant>>,
    company: Mutex<Company>,
    blame: Arc<Blame>,
    run_limit: Duration,
}

/// Whose a model is, and what it is known by.
#[derive(Clone)]
pub(super) struct Owner {
    pub(super) tenant: Arc<str>,
    pub(super) weight: Weight,
    pub(super) key: ModelKey,
}

/// A model as the queue knows it.
pub(super) struct Queued {
    pub(super) tenant: Arc<str>,
    pub(super) key: ModelKey,
    pub(super) link: Arc<Link>,
    /// Its number in the process.
    pub(super) number: u64,
    id: ModelId,
    weight: Weight,
    joins: Joins,
}

struct Job {
    model: Arc<Queued>,
    inputs: Vec<Tensor>,
    /// With which others it could be joined.
    key: Option<u64>,
    deadline: Instant,
    queued: Instant,
    given: oneshot::Sender<Given>,
}

/// What a caller that waited gets.
enum Given {
    /// Its turn: it runs the model itself.
    Turn(Permit, Vec<Tensor>),
    /// The answer, for it ran together with others.
    Answer(Result<Outputs>),
}

/// The right to one run. Dropping it tells the scheduler how long it took, and gives the next ones their turns.
pub(super) struct Permit {
    dispatcher: Arc<Dispatcher>,
    batch: BatchId,
    since: Instant,
    ran: bool,
}

impl Dispatcher {
    pub(super) fn new(config: &EngineConfig, blame: Arc<Blame>, run_limit: Duration) -> Arc<Self> {
        let queue = config.queue;
        let config = Config {
            workers: config.threads.max(1),
            queue: queue.saturating_mul(TENANTS_QUEUED),
            queue_per_tenant: queue,
            queue_per_model: queue,
        };
        let scheduler = Mutex::new(Scheduler::new(config));
        Arc::new(Self { scheduler, alarm: Mutex::default(), company: Mutex::default(), blame, run_limit })
    }

    /// Registers a model that `link` holds. `alone`: it has one instance, as on a GPU.
    pub(super) fn add(
        &self,
        Owner { tenant, weight, key }: Owner,
        (link, number): (Arc<Link>, u64),
        joins: Joins,
        alone: bool,
    ) -> Arc<Queued> {
        let max_concurrency = if alone { 1 } else { usize::MAX };
        let max_batch = if joins.possible() { worth::MOST } else { 1 };
        let policy = ModelPolicy { max_batch, max_concurrency, ..ModelPolicy::default() };
        let id = self.lock().add_model(policy);
        Arc::new(Queued { tenant, key, link, number, id, weight, joins })
    }

    /// Forgets a model. Who still waits for it is told that its engine is gone.
    pub(super) fn remove(&self, model: &Queued) {
        let waiting = self.lock().remove_model(model.id);
        drop(waiting);
    }

    /// Waits for a turn, and runs the model.
    ///
    /// # Errors
    /// `rate_limited` or `overloaded` at once when too many requests of the tenant, or of all, wait; `unavailable`
    /// when the deadline passes, the process dies, or the model is quarantined; what the backend says.
    ///
    /// `behind`: while others ask, it gets little of the engine's time.
    pub(super) async fn run(
        self: &Arc<Self>,
        model: &Arc<Queued>,
        inputs: Vec<Tensor>,
        deadline: Instant,
        behind: bool,
    ) -> Result<Outputs> {
        self.blame.check(&model.key)?;
        if self.blame.suspects(&model.key) {
            let policy = ModelPolicy { exclusive_group: Some(SUSPECTS), ..ModelPolicy::default() };
            self.lock().set_policy(model.id, policy);
        }
        let (given, turn) = oneshot::channel();
        let now = Instant::now();
        // What came out would depend on whom it was joined with, if only in the last digit: a job that is done again must
        // end with the same bytes.
        let key = if behind { None } else { model.joins.key(&inputs) };
        // What nobody waits for takes its turns apart, as somebody of little weight.
        let (tenant, weight) = match behind {
            false => (model.tenant.clone(), model.weight.get().max(1).saturating_mul(AHEAD)),
            true => (format!("{}\0behind", model.tenant).into(), model.weight.get()),
        };
        lock(&self.company).asks(&tenant, now);
        let request = Request {
            tenant,
            weight,
            model: model.id,
            rows: 1,
            batch_key: key.map(BatchKey),
            deadline,
            cost_hint: None,
            job: Job { model: model.clone(), inputs, key, deadline, queued: now, given },
        };
        self.lock().push(now, request).map(drop).map_err(|rejected| refusal(rejected.why))?;
        self.hand_out();
        match tokio::time::timeout_at(deadline.into(), turn).await {
            Ok(Ok(Given::Turn(permit, inputs))) => {
                let waited = now.elapsed();
                let mut outputs = self.infer(model, inputs, deadline, Some(permit)).await?;
                model.joins.ran(key, 1, outputs.compute);
                outputs.queue = waited;
                Ok(outputs)
            }
            Ok(Ok(Given::Answer(answer))) => answer,
            Ok(Err(_)) | Err(_) => Err(past_deadline()),
        }
    }

    /// Gives every worker that is free its next batch.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let now = Instant::now();
            let hold = lock(&self.company).hold(now);
            let turn = |job: &Job, waiting| job.key.map_or(1, |key| job.model.joins.turn(key, waiting, now, hold));
            let (next, dropped) = {
                let mut scheduler = self.lock();
                let next = scheduler.next(now, |job| job.given.is_closed(), turn);
                (next, scheduler.take_dropped(now))
            };
            // Their callers are told by their own clocks.
            drop(dropped);
            match next {
                Next::Run(batch) => self.start(batch, now),
                Next::WaitUntil(at) => return self.look_again(at),
                Next::Idle => return,
            }
        }
    }

    fn start(self: &Arc<Self>, Batch { id, mut jobs, .. }: Batch<Job>, now: Instant) {
        let permit = Permit { dispatcher: self.clone(), batch: id, since: now, ran: false };
        if jobs.len() > 1 {
            // Apart from its callers: one that leaves takes nobody's answer along.
            tokio::spawn(self.clone().run_together(permit, jobs));
        } else if let Some(job) = jobs.pop() {
            // A caller that has left drops the permit, and with it its turn.
            let _ = job.given.send(Given::Turn(permit, job.inputs));
        }
    }

    /// Runs what waited together: as one, or one by one if that fails.
    async fn run_together(self: Arc<Self>, permit: Permit, mut jobs: Vec<Job>) {
        let started = Instant::now();
        if worth::joins(jobs.len()) {
            self.run_joined(&mut jobs, started).await;
        }
        // Some have left since, so that there is no plan for so many; or together they failed, and each gets its own
        // answer.
        for Job { model, inputs, deadline, queued, given, .. } in jobs {
            let queue = started.saturating_duration_since(queued);
            let answer = self.infer(&model, inputs, deadline, None).await;
            let _ = given.send(Given::Answer(answer.map(|outputs| Outputs { queue, ..outputs })));
        }
        permit.ran();
    }

    /// Runs requests as one, and takes those out that were answered: all or none.
    async fn run_joined(&self, jobs: &mut Vec<Job>, started: Instant) {
        let Some(first) = jobs.first() else { return };
        let (model, key, deadline, size) = (first.model.clone(), first.key, first.deadline, jobs.len());
        let inputs: Vec<&[Tensor]> = jobs.iter().map(|job| job.inputs.as_slice()).collect();
        let outcome = match join::joined(&inputs) {
            Ok(inputs) => self.infer(&model, inputs, deadline, None).await,
            Err(fault) => Err(fault),
        };
        match outcome.map(|outputs| (join::parted(&outputs.tensors, size), outputs)) {
            Ok((Some(parts), outputs)) => {
                model.joins.ran(key, size, outputs.compute);
                for (job, tensors) in jobs.drain(..).zip(parts) {
                    let queue = started.saturating_duration_since(job.queued);
                    let own = Outputs { tensors, queue, batch: size as u32, ..outputs };
                    let _ = job.given.send(Given::Answer(Ok(own)));
                }
            }
            // The engine or the time was lost, which says nothing about joining.
            Err(fault) if fault.code() == Code::Unavailable => {}
            Ok((None, _)) | Err(_) => model.joins.never(&first.inputs),
        }
    }

    async fn infer(
        &self,
        model: &Queued,
        inputs: Vec<Tensor>,
        deadline: Instant,
        permit: Option<Permit>,
    ) -> Result<Outputs> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(past_deadline());
        }
        let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
        let run = model.link.infer((model.number, &model.key), inputs, millis, permit, self.run_limit);
        tokio::time::timeout_at(deadline.into(), run).await.unwrap_or_else(|_| Err(past_deadline()))
    }

    /// Sees to it that somebody looks at `at`.
    fn look_again(self: &Arc<Self>, at: Instant) {
        let mut alarm = lock(&self.alarm);
        if alarm.is_some_and(|set| set <= at) {
            return;
        }
        *alarm = Some(at);
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep_until(at.into()).await;
            let Some(dispatcher) = weak.upgrade() else { return };
            let ours = {
                let mut alarm = lock(&dispatcher.alarm);
                alarm.take_if(|set| *set == at).is_some()
            };
            if ours {
                dispatcher.hand_out();
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Scheduler<Arc<str>, Job>> {
        lock(&self.scheduler)
    }
}

impl Permit {
    /// The engine has answered: what it took counts. Otherwise it died, or the caller left before it asked.
    pub(super) fn ran(mut self) {
        self.ran = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = Instant::now();
        match self.ran {
            true => self.dispatcher.lock().done(now, self.batch, now - self.since),
            false => self.dispatcher.lock().lost(self.batch),
        };
        // The runtime is gone when the process ends, and then nobody waits.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.dispatcher.hand_out();
        }
    }
}

fn refusal(why: Rejection) -> Fault {
    match why {
        Rejection::Full { bound: Bound::Whole, retry_after } => {
            Fault::new(Code::Overloaded, "the inference queue is full; try again").retry_after(retry_after)
        }
        Rejection::Full { bound: Bound::Tenant | Bound::Model, retry_after } => {
            let detail = "too many of the tenant's inference requests wait already; send fewer at once";
            Fault::new(Code::RateLimited, detail).retry_after(retry_after)
        }
        Rejection::NoModel => super::link::died(),
    }
}
