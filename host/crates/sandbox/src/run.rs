//! The deadline around whatever a guest does.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use aimass_core::Result;
use tokio::time::Sleep;

use crate::fault;

/// When a call must be over. Epochs stop a guest that computes; they do not stop one that waits in a host call, so
/// a timer stands beside them.
pub(crate) struct Deadline {
    at: Instant,
    /// Made when the guest waits for the first time: most calls end before.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    pub(crate) fn after(duration: Duration) -> Self {
        let now = Instant::now();
        // A duration that no clock can hold is a day.
        let at = now.checked_add(duration).unwrap_or(now + Duration::from_secs(86_400));
        Self { at, timer: None }
    }

    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    /// Whether the time is up; if not, the task is woken when it is.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at.into()))).as_mut().poll(cx)
    }

    /// The outcome of `run`, or `plugin_deadline`; then `run` is dropped where it stands.
    pub(crate) async fn bound<T>(mut self, run: impl Future<Output = Result<T>>) -> Result<T> {
        let mut run = pin!(run);
        std::future::poll_fn(move |cx| match run.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => self.poll(cx).map(|()| Err(fault::deadline())),
        })
        .await
    }
}
