//! One engine as the parent knows it: whichever process is it just now, and when the next one may start.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use aimass_core::{Code, Fault, Result};
use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;

use super::blame::{Blame, ModelKey};
use super::dispatch::Dispatcher;
use super::link::{Link, died};
use super::processes::EngineCommand;
use super::watch::watch;
use super::wire::RequestBody;
use crate::engines::EngineConfig;

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
    /// The most memory that the process may hold, bytes: it is replaced when it holds more.
    pub(super) memory: u64,
    /// Whether the kernel refuses it more than that as well. Drivers of GPUs reserve memory that they never touch.
    pub(super) bounded: bool,
    /// The longest that a model may run.
    pub(super) run_limit: Duration,
}

/// A device's engine.
pub(super) struct Engine {
    pub(super) spec: Spec,
    current: ArcSwapOption<Link>,
    starting: Mutex<Starting>,
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) blame: Arc<Blame>,
}

#[derive(Default)]
struct Starting {
    deaths_in_a_row: u32,
    not_before: Option<Instant>,
}

impl Engine {
    pub(super) fn new(spec: Spec, blame: Arc<Blame>) -> Arc<Self> {
        Arc::new(Self {
            dispatcher: Dispatcher::new(&spec.config, blame.clone(), spec.run_limit),
            spec,
            current: ArcSwapOption::empty(),
            starting: Mutex::default(),
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
            let engine = Weak::upgrade(&engine);
            // Who is told that its call is lost may try again at once, and must find the blame laid.
            theirs.abandon(|models| engine.iter().for_each(|engine| engine.lost(&theirs, models)));
            if let Some(engine) = engine {
                engine.ended(born).await;
            }
        });
        let body = RequestBody::Start {
            config: self.spec.config.clone(),
            memory: self.spec.bounded.then_some(self.spec.memory),
        };
        let started = tokio::time::timeout(START_LIMIT, link.ask(body, None, None, START_LIMIT)).await;
        if let Err(fault) = started.unwrap_or_else(|_| Err(died())) {
            link.kill();
            return Err(fault);
        }
        tracing::info!(device = self.spec.device, pid = link.pid, "an engine process runs");
        tokio::spawn(watch(link.clone(), Arc::downgrade(self)));
        Ok(link)
    }

    /// A process ended while it had requests about these models.
    fn lost(&self, link: &Link, models: &[ModelKey]) {
        if !models.is_empty() {
            let (device, pid, calls) = (self.spec.device, link.pid, models.len());
            tracing::error!(device, pid, calls, "an engine process ended while it had requests");
            self.blame.died_of(models);
        }
    }

    /// A process is gone: because it was replaced, or by its own fault.
    async fn ended(&self, born: Instant) {
        let mut starting = self.starting.lock().await;
        if born.elapsed() < YOUNG {
            starting.died_young();
        } else {
            *starting = Starting::default();
        }
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
