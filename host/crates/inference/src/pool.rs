//! Threads that run models, behind a bounded queue: full means an answer at once, not a longer wait.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use aimass_core::{Code, Fault, Result, Tensor};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use crate::backend::{Loaded, RunError};
use crate::isolated;

/// A fixed number of threads and their queue. The threads end when the pool and its lanes are gone.
#[derive(Clone)]
pub(crate) struct Pool(Sender<Job>);

struct Job {
    sessions: Arc<Sessions>,
    inputs: Vec<Tensor>,
    deadline: Instant,
    answer: oneshot::Sender<Result<Vec<Tensor>, RunError>>,
}

impl Pool {
    /// # Errors
    /// `internal` if the system gives no thread.
    pub(crate) fn start(name: &str, threads: usize, queue: usize) -> Result<Self> {
        let (sender, receiver) = bounded::<Job>(queue.max(1));
        for number in 0..threads.max(1) {
            let receiver = receiver.clone();
            isolated::spawn(&format!("{name}-{number}"), move || serve(&receiver)).map_err(Fault::internal)?;
        }
        Ok(Self(sender))
    }
}

/// One model's way to a pool.
pub(crate) struct Lane {
    pool: Pool,
    sessions: Arc<Sessions>,
}

/// Instances that are not in use. No more are made than runs were ever under way at once, so at most one a thread.
pub(crate) struct Sessions {
    idle: Mutex<Vec<Box<dyn Loaded>>>,
    /// Kept for forking: never runs.
    origin: Option<Mutex<Box<dyn Loaded>>>,
}

impl Lane {
    pub(crate) fn new(pool: Pool, model: Box<dyn Loaded>) -> Self {
        let (origin, idle) = match model.fork() {
            Some(fork) => (Some(Mutex::new(model)), vec![fork]),
            None => (None, vec![model]),
        };
        Self { pool, sessions: Arc::new(Sessions { idle: Mutex::new(idle), origin }) }
    }

    /// The same, blocking this thread. A run that hangs ends by the engine's own limit, as it does there.
    pub(crate) fn run_blocking(&self, inputs: Vec<Tensor>, deadline: Instant) -> Result<Result<Vec<Tensor>, RunError>> {
        self.queue(inputs, deadline)?.blocking_recv().map_err(|_| past_deadline())
    }

    /// A run on this thread, past the pool: for a thread that is there to run models.
    pub(crate) fn run_here(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        self.sessions.run(inputs)
    }

    fn queue(
        &self,
        inputs: Vec<Tensor>,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Result<Vec<Tensor>, RunError>>> {
        let (answer, answered) = oneshot::channel();
        let job = Job { sessions: Arc::clone(&self.sessions), inputs, deadline, answer };
        match self.pool.0.try_send(job) {
            Ok(()) => Ok(answered),
            Err(TrySendError::Full(_)) => Err(Fault::new(Code::Overloaded, "the inference queue is full; try again")),
            Err(TrySendError::Disconnected(_)) => Err(Fault::internal("the inference threads are gone")),
        }
    }

    /// As if every instance had been lost in a run.
    #[cfg(test)]
    pub(crate) fn break_sessions(&self) {
        lock(&self.sessions.idle).clear();
    }

    /// Queues a run and waits for it, until the deadline.
    ///
    /// # Errors
    /// The outer one: `overloaded` when the queue is full, `unavailable` when the deadline passed. The inner one is
    /// the engine's.
    pub(crate) async fn run(&self, inputs: Vec<Tensor>, deadline: Instant) -> Result<Result<Vec<Tensor>, RunError>> {
        let answered = self.queue(inputs, deadline)?;
        match tokio::time::timeout_at(deadline.into(), answered).await {
            Ok(Ok(result)) => Ok(result),
            // The thread dropped the job unrun, or the time is up while it runs: the same to the caller.
            Ok(Err(_)) | Err(_) => Err(past_deadline()),
        }
    }
}

/// What a caller is told whose time is up.
pub(crate) fn past_deadline() -> Fault {
    Fault::new(Code::Unavailable, "the deadline passed before the model answered")
}

fn serve(jobs: &Receiver<Job>) {
    for Job { sessions, inputs, deadline, answer } in jobs {
        // Nobody waits any more: the work would be for nothing, and hold up those behind it.
        if answer.is_closed() || Instant::now() >= deadline {
            continue;
        }
        let result = sessions.run(inputs);
        let _ = answer.send(result);
    }
}

impl Sessions {
    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        let Some(mut session) = self.take() else {
            return Err(RunError::Lost("the instance failed earlier".into()));
        };
        // A session that panicked or was lost is dropped here, not put back.
        let result = isolated::catch(|| {
            let result = session.run(inputs);
            if !matches!(result, Err(RunError::Lost(_))) {
                lock(&self.idle).push(session);
            }
            result
        });
        result.unwrap_or_else(|panic| Err(RunError::Failed(panic)))
    }

    fn take(&self) -> Option<Box<dyn Loaded>> {
        let idle = lock(&self.idle).pop();
        idle.or_else(|| lock(self.origin.as_ref()?).fork())
    }
}

/// The list is consistent after every statement, so a poisoned lock means nothing here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
