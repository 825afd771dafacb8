//! One engine as the parent knows it: whichever process is it just now, and when the next one may start.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use aimass_core::{Code, Fault, Result, Tensor};
use arc_swap::ArcSwapOption;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use super::blame::{Blame, ModelKey};
use super::link::{Link, Outputs, died};
use super::processes::EngineCommand;
use super::watch::watch;
use super::wire::RequestBody;
use crate::engines::EngineConfig;
use crate::pool::past_deadline;

/// A child has this long to say that it runs: it opens no models and looks for no devices before.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A child that dies before it is so old died of its start, or of what it is made to run again and again.
const YOUNG: Duration = Duration::from_secs(10);

/// The first death costs no waiting; from the second in a row on, this, doubled each time.
const BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// What every process of an engine is given.
pub(super) struct Spec {
    /// Its argument: `cpu` or `gpu:0`.
    pub(super) device: &'static str,
    pub(super) command: EngineCommand,
    pub(super) config: EngineConfig,
    /// The most memory that the process may take.
    pub(super) memory: Option<u64>,
    /// The longest that a model may run.
    pub(super) run_limit: Duration,
}

/// A device's engine.
pub(super) struct Engine {
    pub(super) spec: Spec,
    current: ArcSwapOption<Link>,
    starting: Mutex<Starting>,
    permits: Arc<Semaphore>,
    queued: AtomicUsize,
    /// Held while a suspect runs.
    suspect: Arc<Mutex<()>>,
    pub(super) blame: Arc<Blame>,
}

#[derive(Default)]
struct Starting {
    deaths_in_a_row: u32,
    not_before: Option<Instant>,
}

/// The right to one run.
pub(super) struct Permit {
    _run: OwnedSemaphorePermit,
    _suspect: Option<OwnedMutexGuard<()>>,
}

impl Engine {
    pub(super) fn new(spec: Spec, blame: Arc<Blame>) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(spec.config.threads.max(1))),
            spec,
            current: ArcSwapOption::empty(),
            starting: Mutex::default(),
            queued: AtomicUsize::new(0),
            suspect: Arc::default(),
            blame,
        })
    }

    /// The process that runs, or a new one.
    ///
    /// # Errors
    /// `unavailable` while it may not be started again yet, or cannot be.
    pub(super) async fn link(self: &Arc<Self>) -> Result<Arc<Link>> {
        if let Some(link) = self.running() {
            return Ok(link);
        }
        let mut starting = self.starting.lock().await;
        if let Some(link) = self.running() {
            return Ok(link);
        }
        let wait = starting.not_before.map(|at| at.saturating_duration_since(Instant::now())).unwrap_or_default();
        if !wait.is_zero() {
            let detail = "the inference engine has died several times in a row and is being restarted";
            return Err(Fault::new(Code::Unavailable, detail).retry_after(wait));
        }
        match self.start().await {
            Ok(link) => {
                self.current.store(Some(link.clone()));
                Ok(link)
            }
            Err(fault) => {
                tracing::error!(device = self.spec.device, %fault, cause = fault.cause(), "an engine does not start");
                starting.died_young();
                Err(fault)
            }
        }
    }

    fn running(&self) -> Option<Arc<Link>> {
        self.current.load_full().filter(|link| !link.closed())
    }

    async fn start(self: &Arc<Self>) -> Result<Arc<Link>> {
        let command = self.spec.command.build(self.spec.device);
        let spawned = tokio::task::spawn_blocking(move || Link::spawn(command)).await.map_err(Fault::internal)?;
        let (link, reading) = spawned
            .map_err(|e| Fault::new(Code::Unavailable, "the inference engine cannot be started").caused_by(e))?;
        let born = Instant::now();
        let (engine, theirs) = (Arc::downgrade(self), link.clone());
        tokio::spawn(async move {
            reading.await;
            let victims = theirs.abandon();
            if let Some(engine) = Weak::upgrade(&engine) {
                engine.ended(&theirs, born, &victims).await;
            }
        });
        let body = RequestBody::Start { config: self.spec.config.clone(), memory: self.spec.memory };
        let started = tokio::time::timeout(START_LIMIT, link.ask(body, None, None, START_LIMIT)).await;
        if let Err(fault) = started.unwrap_or_else(|_| Err(died())) {
            link.kill();
            return Err(fault);
        }
        tracing::info!(device = self.spec.device, pid = link.pid, "an engine process runs");
        tokio::spawn(watch(link.clone(), Arc::downgrade(self)));
        Ok(link)
    }

    /// A process is gone: because it was replaced, or by its own fault.
    async fn ended(&self, link: &Arc<Link>, born: Instant, victims: &[ModelKey]) {
        if !victims.is_empty() {
            let (device, pid, calls) = (self.spec.device, link.pid, victims.len());
            tracing::error!(device, pid, calls, "an engine process ended while it had requests");
            self.blame.died_of(victims);
        }
        let mut starting = self.starting.lock().await;
        if born.elapsed() < YOUNG {
            starting.died_young();
        } else {
            *starting = Starting::default();
        }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// `overloaded` at once if too many wait; `unavailable` if the deadline passes.
    async fn permit(&self, model: &ModelKey, deadline: Instant) -> Result<Permit> {
        let permit = async {
            // In this order: a suspect that waits for another one holds up nobody else.
            let suspect = match self.blame.suspects(model) {
                true => Some(self.suspect.clone().lock_owned().await),
                false => None,
            };
            let run = self.permits.clone().acquire_owned().await.map_err(Fault::internal)?;
            Ok(Permit { _run: run, _suspect: suspect })
        };
        if self.queued.fetch_add(1, Ordering::Relaxed) >= self.spec.config.queue + self.spec.config.threads {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            return Err(Fault::new(Code::Overloaded, "the inference queue is full; try again"));
        }
        let outcome = tokio::time::timeout_at(deadline.into(), permit).await;
        self.queued.fetch_sub(1, Ordering::Relaxed);
        outcome.unwrap_or_else(|_| Err(past_deadline()))
    }

    /// Runs a model that `link` holds.
    ///
    /// # Errors
    /// `overloaded`; `unavailable` when the deadline passes, the process dies, or the model is quarantined; what the
    /// backend says.
    pub(super) async fn run(
        &self,
        link: &Link,
        (model, key): (u64, &ModelKey),
        inputs: Vec<Tensor>,
        deadline: Instant,
    ) -> Result<Outputs> {
        self.blame.check(key)?;
        let permit = self.permit(key, deadline).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(past_deadline());
        }
        let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
        let run = link.infer((model, key), inputs, millis, permit, self.spec.run_limit);
        tokio::time::timeout_at(deadline.into(), run).await.unwrap_or_else(|_| Err(past_deadline()))
    }
}

impl Starting {
    fn died_young(&mut self) {
        let delay = match self.deaths_in_a_row {
            0 => Duration::ZERO,
            before => (BACKOFF * 2u32.saturating_pow(before - 1).min(1 << 10)).min(LONGEST_BACKOFF),
        };
        self.deaths_in_a_row += 1;
        self.not_before = Some(Instant::now() + delay);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(link) = self.current.load_full() {
            link.kill();
        }
    }
}
