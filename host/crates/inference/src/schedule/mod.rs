//! Which requests an engine runs next: fair between tenants, joined into batches where that pays, never late.
//!
//! [`Scheduler`] is a data structure: no threads, no clock, no I/O. The engine keeps it behind a lock; callers push
//! requests into it and workers take batches out.

mod batches;
mod estimate;
mod fair;
mod lanes;
mod models;
mod request;
mod slab;
mod tenants;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

pub(crate) use request::{
    Batch, BatchId, BatchKey, Bound, Config, Dropped, GroupId, ModelId, ModelPolicy, Next, Rejected, Rejection,
    Request, RequestId,
};

use batches::Flight;
use estimate::Average;
use fair::Rounds;
use lanes::{Flow, FlowKey, Lane, OfFlow, OfLane, Queued, TenantKey};
use models::{Gate, Model, ModelKey};
use request::{OfBatch, OfModel, OfRequest};
use slab::Slab;
use tenants::{TENANTS, Tenant};
use timers::Timers;

/// The requests that wait for one engine, and the batches that are under way. `T` names tenants, `J` is what the
/// caller runs.
///
/// # Whose turn
/// Deficit round robin across tenants by weight, in compute time (see [`fair`], which also states the bound). Within
/// a tenant its models take turns, and within a model its batch keys; requests with one batch key run in order.
///
/// # Batches
/// What waits together runs together: a worker that comes free takes all that fits into one batch, so under load
/// batches form by themselves while the workers are busy. That is Triton's dynamic batcher with its default delay of
/// zero, and loses no time.
///
/// `max_delay` is for what that misses, a worker that is free a moment too early. Triton and TensorFlow Serving then
/// wait whenever a batch is not full, which costs a lone caller the delay on every call. Here the rule is Nagle's
/// (RFC 896): a batch that is not full is held back, at most `max_delay` since its first request came, only while
/// there is a sign of others to come:
/// - another batch of the model is under way (Nagle's unacknowledged data), or
/// - the last one that ended had joined several requests, less than `max_delay` ago: their callers, just answered,
///   are expected back.
///
/// A wait that gained nothing is therefore the last one until callers come together again. A batch runs at once when
/// it is full, when the signs end, or when holding it would cost a request in it its deadline.
///
/// Only requests of one model and with equal batch keys are joined, and up to `max_batch` rows. Several tenants'
/// requests may share a batch if they share the model; each pays for its rows.
///
/// # What always holds
/// - Batches under way: no more than workers, than the model's `max_concurrency`, than one in an exclusive group (a
///   policy that changes applies to what starts after it). Every batch given out returns its permits exactly once, by
///   [`done`](Self::done) or [`lost`](Self::lost), whatever was removed meanwhile.
/// - A request that was taken comes out exactly once: in a batch, as [`Dropped`], from [`cancel`](Self::cancel) or
///   from [`remove_model`](Self::remove_model).
/// - None comes out in a batch at or after its deadline.
/// - A worker is idle only while nothing is ready: all that waits is held back, or stands at a gate.
///
/// # Cost
/// Every operation takes constant time, amortised, in the number of tenants and requests. Exceptions: whoever waits
/// at a gate is looked at again when it opens; an expired request costs a logarithm. Weights count between tenants
/// that compete for workers; those that compete for one model's or group's gate take turns.
pub(crate) struct Scheduler<T, J> {
    config: Config,
    /// Tenants, and whose turn it is.
    rounds: Rounds<Tenant<T>>,
    tenants: HashMap<T, TenantKey>,
    /// So many tenants and the idle ones are forgotten.
    sweep_at: usize,
    models: Slab<OfModel, Model>,
    groups: HashMap<GroupId, Gate>,
    flows: Slab<OfFlow, Flow>,
    flow_of: HashMap<(TenantKey, ModelKey), FlowKey>,
    lanes: Slab<OfLane, Lane>,
    requests: Slab<OfRequest, Queued<J>>,
    flights: Slab<OfBatch, Flight>,
    /// When lanes are no longer held back.
    holds: Timers<OfLane>,
    deadlines: Timers<OfRequest>,
    dropped: Vec<Dropped<J>>,
    /// Compute time of a request, its share of a batch.
    per_request: Average,
}

impl<T: Clone + Eq + Hash, J> Scheduler<T, J> {
    /// An empty one.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            rounds: Rounds::new(),
            tenants: HashMap::new(),
            sweep_at: TENANTS,
            models: Slab::new(),
            groups: HashMap::new(),
            flows: Slab::new(),
            flow_of: HashMap::new(),
            lanes: Slab::new(),
            requests: Slab::new(),
            flights: Slab::new(),
            holds: Timers::new(),
            deadlines: Timers::new(),
            dropped: Vec::new(),
            per_request: Average::default(),
        }
    }

    /// Queues a request. A worker should then ask for the [`next`](Self::next) batch.
    ///
    /// # Errors
    /// [`Rejected`], with the job, when a bound of the queue is reached or the model is gone.
    pub(crate) fn push(&mut self, now: Instant, request: Request<T, J>) -> Result<RequestId, Rejected<J>> {
        let Request { tenant, weight, model: ModelId(model), rows, batch_key, deadline, cost_hint, job } = request;
        if !self.models.contains(model) {
            return Err(Rejected { job, why: Rejection::NoModel });
        }
        let known = self.tenants.get(&tenant).copied();
        if self.full(known, model).is_some() {
            // Those that will never run leave their places to those that can.
            self.expire(now);
        }
        if let Some(bound) = self.full(known, model) {
            let retry_after = self.retry_after(bound, known, model);
            return Err(Rejected { job, why: Rejection::Full { bound, retry_after } });
        }
        let tenant = known.unwrap_or_else(|| self.tenant(&tenant));
        self.rounds.set_weight(tenant, weight);
        let flow = self.flow(tenant, model);
        match self.lane(flow, batch_key) {
            Some(lane) => {
                let key = self.link(now, lane, (rows.max(1), deadline, cost_hint), job);
                Ok(RequestId(key))
            }
            // The flow was made just now.
            None => Err(Rejected { job, why: Rejection::NoModel }),
        }
    }

    /// What a worker that is free does now. `is_gone` says of a job that nobody waits for it any more: it is dropped
    /// instead of run.
    ///
    /// `turn` says how many rows a batch is to have that begins with this job, of so many that wait with its batch key:
    /// no more than the model's `max_batch`, which is asked for nothing else.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        mut is_gone: impl FnMut(&J) -> bool,
        mut turn: impl FnMut(&J, u64) -> u64,
    ) -> Next<J> {
        self.expire(now);
        self.end_holds(now);
        let free = self.flights.len() < self.config.workers;
        if free {
            while let Some(tenant) = self.rounds.pick() {
                let Some(flow) = self.open_flow(tenant) else {
                    self.rounds.set_ready(tenant, false);
                    continue;
                };
                if let Some(batch) = self.form(now, flow, &mut is_gone, &mut turn) {
                    return Next::Run(batch);
                }
            }
        }
        let (requests, lanes) = (&self.requests, &self.lanes);
        let expires = self.deadlines.first(|_, key| requests.contains(key));
        // The end of a hold changes nothing while every worker is busy.
        let held = |at, key| lanes.get(key).is_some_and(|lane| lane.state == lanes::LaneState::Held(at));
        let ends = if free { self.holds.first(held) } else { None };
        expires.into_iter().chain(ends).min().map_or(Next::Idle, Next::WaitUntil)
    }

    /// Takes a request back. Nothing if it has come out already.
    #[cfg(test)]
    pub(crate) fn cancel(&mut self, RequestId(key): RequestId) -> Option<J> {
        self.unlink(key).map(|queued| queued.job)
    }

    /// The requests that will never run, since this was last asked: those past their deadline now, and those that
    /// were found gone.
    pub(crate) fn take_dropped(&mut self, now: Instant) -> Vec<Dropped<J>> {
        self.expire(now);
        std::mem::take(&mut self.dropped)
    }

    /// Changes how many batches may be under way at once. Those that are go on.
    #[cfg(test)]
    pub(crate) fn set_workers(&mut self, workers: usize) {
        self.config.workers = workers;
    }

    /// How many requests wait.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> usize {
        self.requests.len()
    }

    /// How many requests for a model wait.
    #[cfg(test)]
    pub(crate) fn queued_for(&self, ModelId(model): ModelId) -> usize {
        self.models.get(model).map_or(0, |m| m.queued)
    }

    /// How many batches are under way.
    #[cfg(test)]
    pub(crate) fn running(&self) -> usize {
        self.flights.len()
    }

    fn expire(&mut self, now: Instant) {
        while let Some((_, key)) = self.deadlines.pop_due(now) {
            if let Some(queued) = self.unlink(key) {
                self.dropped.push(Dropped::Expired(queued.job));
            }
        }
    }
}
