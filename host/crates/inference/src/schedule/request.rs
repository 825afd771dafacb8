//! What goes into the scheduler and what comes out of it.

use std::time::{Duration, Instant};

use super::slab::Key;

/// How many batches may be under way at once, and how many requests may wait.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Permits: batches under way at once. As many as the engine has workers.
    pub(crate) workers: usize,
    /// Requests that may wait, together.
    pub(crate) queue: usize,
    /// Requests of one tenant that may wait.
    pub(crate) queue_per_tenant: usize,
    /// Requests for one model that may wait.
    pub(crate) queue_per_model: usize,
}

/// How one model is served. It may change while requests wait and batches are under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelPolicy {
    /// Rows that requests may be joined up to; 1 turns batching off. A single request may have more: it runs alone.
    pub(crate) max_batch: u32,
    /// The longest that a request that could run is held back for others to join it. See [`Scheduler`] for when
    /// it is held back at all.
    ///
    /// [`Scheduler`]: super::Scheduler
    pub(crate) max_delay: Duration,
    /// Batches of the model under way at once: the number of its instances (1 for a GPU session).
    pub(crate) max_concurrency: usize,
    /// Of all models of a group, one batch is under way at a time: when the engine dies, the group names the culprit.
    pub(crate) exclusive_group: Option<GroupId>,
}

impl Default for ModelPolicy {
    /// No batching, any number at once.
    fn default() -> Self {
        Self { max_batch: 1, max_delay: Duration::ZERO, max_concurrency: usize::MAX, exclusive_group: None }
    }
}

/// A group of models that exclude one another. The caller chooses the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupId(pub(crate) u32);

/// What requests must have in common to share a batch: a hash of element types and trailing shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BatchKey(pub(crate) u64);

/// The kinds of keys, here because three of them leave the scheduler.
pub(super) struct OfModel;
pub(super) struct OfRequest;
pub(super) struct OfBatch;

/// A model that was registered. Never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ModelId(pub(super) Key<OfModel>);

/// A request that waits. Never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestId(pub(super) Key<OfRequest>);

/// A batch under way. Never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BatchId(pub(super) Key<OfBatch>);

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request<T, J> {
    /// Whose it is.
    pub(crate) tenant: T,
    /// The tenant's weight from now on; 0 counts as 1.
    pub(crate) weight: u32,
    /// For which model.
    pub(crate) model: ModelId,
    /// Its size in the dimension that batches grow in; 0 counts as 1.
    pub(crate) rows: u32,
    /// With which others it may be joined; none: with none.
    pub(crate) batch_key: Option<BatchKey>,
    /// It is not run at or after this moment.
    pub(crate) deadline: Instant,
    /// What it is thought to cost, until the model's own batches say better.
    pub(crate) cost_hint: Option<Duration>,
    /// What the caller runs.
    pub(crate) job: J,
}

/// Requests to run together: of one model, with one batch key, the oldest of each tenant first.
#[derive(Debug)]
pub(crate) struct Batch<J> {
    /// For [`done`](super::Scheduler::done) or [`lost`](super::Scheduler::lost).
    pub(crate) id: BatchId,
    /// The model.
    #[cfg(test)]
    pub(crate) model: ModelId,
    /// The rows of all requests, together.
    #[cfg(test)]
    pub(crate) rows: u64,
    /// One at least.
    pub(crate) jobs: Vec<J>,
}

/// What a worker does now.
#[derive(Debug)]
pub(crate) enum Next<J> {
    /// Run this, and say when it is done.
    Run(Batch<J>),
    /// Ask again at this moment, or after a push or the end of a batch if that is sooner. Then a batch has been held
    /// back for long enough, or a request expires.
    WaitUntil(Instant),
    /// Ask again after a push or the end of a batch.
    Idle,
}

/// A request that will never run, for the caller to answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Dropped<J> {
    /// Its deadline passed.
    Expired(J),
    /// Whoever asked has left.
    Gone(J),
}

/// A request that was not taken, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejected<J> {
    /// The request's own.
    pub(crate) job: J,
    /// Why.
    pub(crate) why: Rejection,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The queue is full.
    Full {
        /// Which bound was reached.
        bound: Bound,
        /// How long it takes to serve all that waits under that bound, at the rate measured: when to try again.
        retry_after: Duration,
    },
    /// The model has been removed.
    NoModel,
}

/// A bound of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// [`Config::queue`]: the platform's fault (503).
    Whole,
    /// [`Config::queue_per_tenant`]: the tenant's own doing (429).
    Tenant,
    /// [`Config::queue_per_model`].
    Model,
}
