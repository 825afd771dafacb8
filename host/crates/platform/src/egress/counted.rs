//! A body whose bytes are counted for its tenant, whether or not it comes to its end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use aimass_core::outgoing::{OutgoingBody, OutgoingError};
use aimass_core::{Name, Tenant};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::meter::Meter;

pub(super) struct Counted {
    inner: OutgoingBody,
    meter: Arc<Meter>,
    /// Whose, from which region, to which.
    flow: (Tenant, Name, Name),
    /// Of a request, or of an answer.
    sent: bool,
    bytes: u64,
}

impl Counted {
    pub(super) fn new(inner: OutgoingBody, meter: Arc<Meter>, flow: (Tenant, Name, Name), sent: bool) -> Self {
        Self { inner, meter, flow, sent, bytes: 0 }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = OutgoingError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutgoingError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let (sent, received) = if self.sent { (self.bytes, 0) } else { (0, self.bytes) };
            let (tenant, from, to) = &self.flow;
            self.meter.with(tenant, |usage| usage.bytes(from, to, sent, received));
        }
    }
}
