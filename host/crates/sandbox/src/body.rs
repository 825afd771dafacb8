//! The body of a guest's answer.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker, ready};

use aimass_core::{Code, Fault};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::task::AbortHandle;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::limits::Exceeded;

/// What an HTTP function answers with. Either all of it is there, or the guest is still writing it; then dropping
/// the body drops the guest.
///
/// It ends with an error, never quietly, when the guest fails or goes over its limit before the end.
pub struct Body(Inner);

enum Inner {
    Whole { frames: VecDeque<Frame<Bytes>>, length: u64 },
    Streamed(Stream),
}

/// How the guest ended, told by the task that runs it before it drops the guest.
pub(crate) type End = Arc<OnceLock<Result<(), Fault>>>;

struct Stream {
    inner: HyperOutgoingBody,
    end: End,
    task: AbortHandle,
    /// Bytes that may still come.
    room: u64,
    limit: usize,
    /// Bytes until the answer is complete, if the guest declared a length.
    declared: Option<u64>,
    over: bool,
    /// Told when it ends with an error.
    failed: Option<OnFailure>,
}

/// What is called when an answer fails behind its head.
type OnFailure = Box<dyn FnOnce(&Fault) + Send>;

impl Body {
    /// What a guest that has ended left in its stream. `declared` is the length that it promised, unless the answer
    /// is one without a body (to HEAD, or 304).
    ///
    /// # Errors
    /// `plugin_resource_limit` if that is more than `limit`; `plugin_fault` if the guest did not finish it.
    pub(crate) fn whole(mut inner: HyperOutgoingBody, limit: usize, declared: Option<u64>) -> Result<Self, Fault> {
        let mut frames = VecDeque::new();
        let mut length = 0;
        // Outside of the task's budget: a channel that is only pretending to be empty would cut the answer short.
        let mut drain = tokio::task::unconstrained(poll_fn(|cx| {
            loop {
                let Some(frame) = ready!(Pin::new(&mut inner).poll_frame(cx)) else { return Poll::Ready(Ok(())) };
                let frame = match frame {
                    Ok(frame) => frame,
                    Err(error) => return Poll::Ready(Err(unfinished(error))),
                };
                length += frame.data_ref().map_or(0, Bytes::len) as u64;
                if length > limit as u64 {
                    return Poll::Ready(Err(over_limit(limit)));
                }
                frames.push_back(frame);
            }
        }));
        match Pin::new(&mut drain).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome?,
            // The guest is gone and its end of the stream with it, so there is nothing to wait for.
            Poll::Pending => return Err(unfinished("its stream is still open")),
        }
        match declared {
            Some(declared) if declared != length => {
                Err(unfinished(format_args!("{length} bytes of {declared} that it declared")))
            }
            _ => Ok(Self(Inner::Whole { frames, length })),
        }
    }

    /// What a guest that still runs, in `task`, writes.
    pub(crate) fn streamed(
        inner: HyperOutgoingBody,
        end: End,
        task: AbortHandle,
        limit: usize,
        declared: Option<u64>,
    ) -> Self {
        let over = inner.is_end_stream();
        Self(Inner::Streamed(Stream { inner, end, task, room: limit as u64, limit, declared, over, failed: None }))
    }

    /// The same, with somebody to tell if the guest fails before it has written all of it.
    #[must_use]
    pub fn on_failure(mut self, told: impl FnOnce(&Fault) + Send + 'static) -> Self {
        if let Inner::Streamed(stream) = &mut self.0 {
            stream.failed = Some(Box::new(told));
        }
        self
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match &mut self.0 {
            Inner::Whole { frames, length } => {
                let frame = frames.pop_front();
                *length -= frame.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
                Poll::Ready(frame.map(Ok))
            }
            Inner::Streamed(stream) => stream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Whole { frames, .. } => frames.is_empty(),
            Inner::Streamed(stream) => stream.over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole { length, .. } => SizeHint::with_exact(*length),
            Inner::Streamed(_) => SizeHint::new(),
        }
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else { return Poll::Pending };
        let outcome = match frame {
            Some(Ok(frame)) => match self.count(&frame) {
                Ok(()) => return Poll::Ready(Some(Ok(frame))),
                Err(fault) => Some(Err(fault)),
            },
            Some(Err(error)) => Some(Err(self.failure().unwrap_or_else(|| unfinished(error)))),
            // The stream of a guest that failed ends like that of one that is done. The task tells which before it
            // drops the guest, and only that ends the stream of one that failed.
            None => match self.declared {
                Some(missing) if missing > 0 && self.failure().is_none() => {
                    Some(Err(unfinished(format_args!("{missing} bytes that it declared are missing"))))
                }
                _ => self.failure().map(Err),
            },
        };
        if let Some(outcome) = &outcome {
            self.task.abort();
            if let (Err(fault), Some(told)) = (outcome, self.failed.take()) {
                told(fault);
            }
        }
        self.over = true;
        Poll::Ready(outcome)
    }

    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), Fault> {
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        self.room = self.room.checked_sub(bytes).ok_or_else(|| over_limit(self.limit))?;
        self.declared = self.declared.map(|left| left.saturating_sub(bytes));
        Ok(())
    }

    fn failure(&self) -> Option<Fault> {
        self.end.get().and_then(|end| end.as_ref().err().cloned())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The caller left in the middle: so does the guest. If it has written all of its answer, it may go on with
        // what it does afterwards, until its deadline.
        if !self.over && self.declared != Some(0) {
            self.task.abort();
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Whole { length, .. } => f.debug_struct("Body").field("length", length).finish(),
            Inner::Streamed(_) => f.debug_struct("Body").finish_non_exhaustive(),
        }
    }
}

fn over_limit(limit: usize) -> Fault {
    Fault::new(Code::PluginResourceLimit, Exceeded::Output(limit).to_string())
}

fn unfinished(error: impl fmt::Display) -> Fault {
    Fault::new(Code::PluginFault, "the plugin did not finish its answer").caused_by(error)
}
