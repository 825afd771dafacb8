//! Reads on after an answer that did not wait for its request's body.
//!
//! A refusal (no permission, wrong `If-Match`, too large) is answered at once, while the client is still sending.
//! Closing then would make the kernel reset the connection, and the client could lose the answer before it read it
//! (RFC 9112, section 9.6). So what is left of the body is read and thrown away, for a while.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};

use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

/// How long, and how much, is still read. A client that goes on is cut off: it is refused something large, and should
/// not have to send all of it before it can know.
const LINGER: Duration = Duration::from_secs(10);
/// As much as the largest body that any route takes, and what frames it.
const LINGER_BYTES: usize = 65 << 20;

/// A request's body that is read to its end even when nobody asks for it.
pub(crate) struct Lingering(Option<Incoming>, Version);

impl Lingering {
    pub(crate) fn over(request: Request<Incoming>) -> Request<Self> {
        let version = request.version();
        request.map(|body| Self(Some(body), version))
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        // A stream of HTTP/2 can be ended alone, and hyper does.
        let unread = |body: &Incoming| self.1 < Version::HTTP_2 && !body.is_end_stream();
        let Some(mut body) = self.0.take().filter(unread) else { return };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(LINGER, async move {
                let mut left = LINGER_BYTES;
                while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
                    && let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len))
                {
                    left = rest;
                }
            }));
        }
    }
}
