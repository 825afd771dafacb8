//! The body of an answer: counted, and watched by a clock.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use aimass_core::outgoing::{OutgoingError, Phase};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};

use crate::connector::broken;

/// Ends the task that drives a connection when nobody wants what comes any more.
pub(crate) struct Driven(pub(crate) AbortHandle);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the destination answers. It owns the connection.
pub(crate) struct Answer {
    inner: Incoming,
    clock: Pin<Box<Sleep>>,
    between_bytes: Duration,
    deadline: Instant,
    _connection: Driven,
}

impl Answer {
    pub(crate) fn new(inner: Incoming, between_bytes: Duration, deadline: Instant, connection: Driven) -> Self {
        let clock = Box::pin(tokio::time::sleep_until(next(between_bytes, deadline)));
        Self { inner, clock, between_bytes, deadline, _connection: connection }
    }
}

fn next(wait: Duration, deadline: Instant) -> Instant {
    Instant::now().checked_add(wait).map_or(deadline, |at| at.min(deadline))
}

impl Body for Answer {
    type Data = Bytes;
    type Error = OutgoingError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutgoingError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let at = next(self.between_bytes, self.deadline);
                self.clock.as_mut().reset(at);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(broken(&error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.clock.as_mut().poll(cx).map(|()| Some(Err(OutgoingError::Timeout(Phase::Body)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
