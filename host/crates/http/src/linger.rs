//! Reads on after an answer that did not wait for its request's body.
//!
//! A refusal (no permission, wrong `If-Match`, too large) is answered at once, while the client is still sending.
//! Closing then would make the kernel reset the connection, and the client could lose the answer before it read it
//! (RFC 9112, section 9.6). So what is left of the body is read and thrown away, for a while.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};

use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

use crate::grpc;
use crate::pace::Pace;

/// How long, and how much, is still read. A client that goes on is cut off: it is refused something large, and should
/// not have to send all of it before it can know.
const LINGER: Duration = Duration::from_secs(10);
/// As much as the largest body that any route takes, and what frames it.
const LINGER_BYTES: usize = 65 << 20;

/// A request's body that must come at a pace, and is read to its end even when nobody asks for it.
pub(crate) struct Lingering {
    body: Option<Incoming>,
    version: Version,
    /// None where a client may be silent as long as it likes.
    pace: Option<Pace>,
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The client sent too little for too long.
    #[error("the body comes too slowly")]
    Slow,
    /// The connection failed, or what came is no body.
    #[error(transparent)]
    Connection(#[from] hyper::Error),
}

impl Lingering {
    /// `wait` is how long the client may keep the node waiting.
    pub(crate) fn over(request: Request<Incoming>, wait: Duration) -> Request<Self> {
        let version = request.version();
        // The requests of a stream come when the client has some; keep-alive finds out whether it is still there.
        let pace = (request.uri().path() != grpc::STREAM_INFER).then(|| Pace::new(wait));
        request.map(|body| Self { body: Some(body), version, pace })
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Self { body: part, pace, .. } = &mut *self;
        let Some(body) = part else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
            let Some(pace) = pace else { return Poll::Pending };
            ready!(pace.poll_over(cx));
            // Not read any further: the connection cannot be used again, and is closed behind the answer.
            *part = None;
            return Poll::Ready(Some(Err(Broken::Slow)));
        };
        match &frame {
            Some(Ok(frame)) => {
                if let Some(pace) = pace {
                    pace.moved(frame.data_ref().map_or(0, Bytes::len));
                }
            }
            _ => *part = None,
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Broken::Connection)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        // A stream of HTTP/2 can be ended alone, and hyper does.
        let unread = |body: &Incoming| self.version < Version::HTTP_2 && !body.is_end_stream();
        let Some(mut body) = self.body.take().filter(unread) else { return };
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
