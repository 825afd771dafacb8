//! What a function answers with, watched to its last byte.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aimass_core::Fault;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::deployments::AnswerCopy;
use crate::watch::Watch;

/// The body of a function's answer. Its call is over when it ends; or it is dropped, and its caller has left.
pub struct Body {
    inner: aimass_sandbox::Body,
    watch: Option<Watch>,
    /// Bytes that are still to come, if that is known. A listener that has them does not wait for the end.
    left: Option<u64>,
    /// Looks on, where the call is copied to a shadow.
    copied: Option<Box<AnswerCopy>>,
}

impl Body {
    /// `empty`: nothing of the body is asked for, as of an answer to HEAD.
    pub(crate) fn new(
        inner: aimass_sandbox::Body,
        watch: Watch,
        declared: Option<u64>,
        empty: bool,
        copied: Option<Box<AnswerCopy>>,
    ) -> Self {
        let left = if empty { Some(0) } else { inner.size_hint().exact().or(declared) };
        let mut body = Self { inner, watch: Some(watch), left, copied };
        if body.left == Some(0) || body.inner.is_end_stream() {
            body.end(None);
        }
        body
    }

    fn end(&mut self, failed: Option<&Fault>) {
        if let Some(watch) = self.watch.take() {
            watch.ended(failed);
        }
        if let Some(copied) = self.copied.take().filter(|_| failed.is_none()) {
            copied.ended();
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.left = self.left.map(|left| left.saturating_sub(bytes));
                if let Some(watch) = &self.watch {
                    watch.went(bytes);
                }
                if let (Some(copied), Some(data)) = (&mut self.copied, frame.data_ref()) {
                    copied.went(data);
                }
                if self.left == Some(0) || self.inner.is_end_stream() {
                    self.end(None);
                }
            }
            Some(Err(fault)) => self.end(Some(fault)),
            None => self.end(None),
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
