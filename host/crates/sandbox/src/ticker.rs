//! The thread that moves the engine's epoch, so that a guest that never calls the host is still interrupted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use aimass_core::{Code, Fault, Result};
use wasmtime::Engine;

/// Time between two ticks, and so the longest that a guest holds a thread before others get their turn. A thousand
/// wake-ups a second cost well under a thousandth of a core.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// A ticker that has not moved for so long is as good as dead.
const STALE: Duration = Duration::from_secs(2);

/// An OS thread, not a task: a runtime whose workers are all busy with guests would not run it.
pub(crate) struct Ticker {
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    started: Instant,
}

struct Shared {
    stop: AtomicBool,
    /// Milliseconds from the start to the last tick.
    last: AtomicU64,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> Result<Self> {
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), last: AtomicU64::new(0) });
        let started = Instant::now();
        // Weak, so that the thread does not keep the engine's memory alive.
        let (engine, theirs) = (engine.weak(), shared.clone());
        let run = move || {
            while !theirs.stop.load(Ordering::Relaxed) {
                thread::sleep(TICK);
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
                theirs.last.store(millis(started), Ordering::Relaxed);
            }
        };
        let thread = thread::Builder::new().name("epoch-ticker".into()).spawn(run).map_err(Fault::internal)?;
        Ok(Self { thread: Some(thread), shared, started })
    }

    /// # Errors
    /// `unavailable` if the thread ended or hangs. Nothing interrupts guests then: the process has to go.
    pub(crate) fn healthy(&self) -> Result<()> {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        let age = millis(self.started).saturating_sub(self.shared.last.load(Ordering::Relaxed));
        if ended || age > STALE.as_millis() as u64 {
            return Err(Fault::new(Code::Unavailable, "the sandbox's clock has stopped")
                .caused_by(format!("epoch ticker: ended {ended}, last tick {age} ms ago")));
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to report, and sees the flag within a tick.
            let _ = thread.join();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn f29_a_dead_ticker_is_reported() {
        let engine = Engine::default();
        let mut ticker = Ticker::start(&engine).unwrap();
        thread::sleep(TICK * 20);
        assert!(ticker.healthy().is_ok());
        ticker.stop();
        assert_eq!(ticker.healthy().unwrap_err().code(), Code::Unavailable);
    }

    #[test]
    fn f29_a_ticker_whose_thread_ends_by_itself_is_reported() {
        let engine = Engine::default();
        let ticker = Ticker::start(&engine).unwrap();
        drop(engine);
        thread::sleep(TICK * 50);
        assert!(ticker.healthy().is_err());
    }
}
