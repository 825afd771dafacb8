//! Work on tenants' models that may panic, overflow a stack or never end: on a thread of its own, with an end.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The engines recurse over the graph: a chain of ten thousand nodes needs more than a thread's usual 2 MiB. Only
/// touched pages cost memory.
pub(crate) const STACK: usize = 256 << 20;

/// What became of the work instead of a result.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("it panicked: {0}")]
    Panicked(String),
    #[error("it did not end within {0:?}")]
    TimedOut(Duration),
    #[error("no thread could be started: {0}")]
    NoThread(String),
}

/// Runs `work` on a new thread and waits for it, at most `limit`. A thread that is late is left behind.
pub(crate) fn run<T: Send + 'static>(
    name: &str,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Lost> {
    let (sender, receiver) = mpsc::sync_channel(1);
    spawn(name, move || {
        // The receiver is gone only when the caller no longer waits.
        let _ = sender.send(catch(work));
    })?;
    match receiver.recv_timeout(limit) {
        Ok(result) => result.map_err(Lost::Panicked),
        Err(_) => Err(Lost::TimedOut(limit)),
    }
}

/// The same without blocking the caller's thread.
pub(crate) async fn run_async<T: Send + 'static>(
    name: &str,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Lost> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    spawn(name, move || {
        let _ = sender.send(catch(work));
    })?;
    match tokio::time::timeout(limit, receiver).await {
        Ok(Ok(result)) => result.map_err(Lost::Panicked),
        Ok(Err(_)) | Err(_) => Err(Lost::TimedOut(limit)),
    }
}

/// A thread for engines: named, with a large stack.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, Lost> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(work)
        .map_err(|e| Lost::NoThread(e.to_string()))
}

/// The result, or the message of the panic.
///
/// Unwind safety is asserted because what the work had in its hands is thrown away when it panicked.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| message(&*payload))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    crate::backend::one_line(text.unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[test]
    fn a_panic_and_a_hang_are_answers() {
        let limit = Duration::from_secs(5);
        assert_eq!(run("t", limit, || 1).ok(), Some(1));
        let panicked = run("t", limit, || panic!("of {}", 2));
        assert!(matches!(panicked, Err(Lost::Panicked(m)) if m == "of 2"));
        let late = run("t", Duration::from_millis(20), || thread::sleep(Duration::from_millis(500)));
        assert!(matches!(late, Err(Lost::TimedOut(_))));
    }
}
