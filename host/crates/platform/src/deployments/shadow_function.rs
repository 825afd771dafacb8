//! Shadow traffic of HTTP functions. What is sent to the serving version and what it answers are looked at as they go
//! by, and wait for nothing; when the answer has ended, the shadow gets the same request.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use aimass_core::{Result, Tenant};
use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use tokio::sync::OwnedSemaphorePermit;

use super::live::Live;
use super::shadow::Shadows;
use crate::directory::Resolved;
use crate::{CallOptions, Platform};

/// Bytes of a request's body that are kept for its copy.
const MAX_BODY: usize = 64 << 10;

/// A call that is copied, before it has answered.
pub(crate) struct CopiedCall {
    platform: Arc<Platform>,
    version: Arc<Resolved>,
    head: Parts,
    body: Arc<Mutex<Seen>>,
    room: OwnedSemaphorePermit,
}

/// What has come of a request's body.
#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    /// It ended, and all of it is in `bytes`.
    whole: bool,
    /// There was more of it than is kept.
    too_large: bool,
}

/// A request's body on its way to the serving version, kept for the copy.
pub(crate) struct Kept<B> {
    inner: Pin<Box<B>>,
    seen: Arc<Mutex<Seen>>,
}

/// An answer on its way to the caller, to be compared with the shadow's. Dropped before its end, there is nothing to
/// compare with.
pub(crate) struct AnswerCopy {
    /// None once it has ended.
    call: Option<CopiedCall>,
    recorder: Arc<crate::statistics::Recorder>,
    tenant: Tenant,
    options: CallOptions,
    request: Arc<str>,
    status: u16,
    /// The caller gets the head alone.
    empty: bool,
    read: Read,
}

/// What was read of an answer's body.
#[derive(Default)]
struct Read {
    hash: blake3::Hasher,
    length: u64,
}

impl Read {
    fn add(&mut self, data: &[u8]) {
        self.hash.update(data);
        self.length += data.len() as u64;
    }
}

impl Shadows {
    /// Copies a function's call, if its alias has a shadow and there is room.
    pub(crate) fn copy_call<B: Body>(&self, live: Option<&Live>, request: &Request<B>) -> Option<Box<CopiedCall>> {
        let version = live?.shadow.as_ref()?;
        let platform = self.platform.get()?.upgrade()?;
        if request.body().size_hint().lower() > MAX_BODY as u64 {
            version.recorder.shadowed.not_compared();
            return None;
        }
        let Ok(room) = self.keeping.clone().try_acquire_owned() else {
            version.recorder.shadowed.dropped();
            return None;
        };
        let (mut head, ()) = Request::new(()).into_parts();
        (head.method, head.uri, head.version) = (request.method().clone(), request.uri().clone(), request.version());
        head.headers = request.headers().clone();
        Some(Box::new(CopiedCall { platform, version: version.clone(), head, body: Arc::default(), room }))
    }
}

impl CopiedCall {
    /// Keeps the request's body as it goes by.
    pub(crate) fn keep<B: Body>(&self, body: B) -> Kept<B> {
        locked(&self.body).whole = body.is_end_stream();
        Kept { inner: Box::pin(body), seen: self.body.clone() }
    }

    /// The serving version has answered with this status; `empty`: and with nothing else that the caller gets.
    pub(crate) fn answered(
        self,
        tenant: &Tenant,
        options: &CallOptions,
        request: &Arc<str>,
        status: u16,
        empty: bool,
    ) -> AnswerCopy {
        let recorder = self.version.recorder.clone();
        let options = CallOptions { shadow: true, ..options.clone() };
        let (call, tenant, request) = (Some(self), tenant.clone(), request.clone());
        AnswerCopy { call, recorder, tenant, options, request, status, empty, read: Read::default() }
    }
}

impl AnswerCopy {
    /// A piece of the answer goes out.
    pub(crate) fn went(&mut self, data: &[u8]) {
        self.read.add(data);
    }

    /// All of the answer went out. Runs the copy beside what the caller does next, if there is room, and compares.
    pub(crate) fn ended(mut self) {
        let Some(CopiedCall { platform, version, head, body, room }) = self.call.take() else { return };
        let Some(body) = whole(&body) else { return version.recorder.shadowed.not_compared() };
        drop(room);
        let Ok(permit) = platform.shadows.permits.clone().try_acquire_owned() else {
            return version.recorder.shadowed.dropped();
        };
        let request = Request::from_parts(head, Full::new(body));
        tokio::spawn(async move {
            // The answer goes out first.
            tokio::task::yield_now().await;
            let run = self.same(&platform, &version, request);
            match platform.unless_erased(&self.tenant, run).await {
                Err(_) => version.recorder.shadowed.failed(),
                Ok(true) => version.recorder.shadowed.compared(None),
                // There are no numbers to say how far.
                Ok(false) => version.recorder.shadowed.compared(Some(0.0)),
            }
            drop(permit);
        });
    }

    /// Whether the shadow answers the same.
    async fn same(&self, platform: &Platform, version: &Resolved, request: Request<Full<Bytes>>) -> Result<bool> {
        version.is_function()?;
        let plugin = platform.loaded_plugin(&self.tenant, version).await?;
        let call = platform.call(&self.tenant, version, &self.options, &self.request);
        let response = platform.sandbox.http(&plugin, call, request).await?;
        let status = response.status().as_u16();
        if status != self.status || self.empty {
            return Ok(status == self.status);
        }
        let (mut body, mut read) = (response.into_body(), Read::default());
        while let Some(frame) = body.frame().await {
            read.add(frame?.data_ref().map_or(&[][..], |data| &data[..]));
            // No more than there is to compare with.
            if read.length > self.read.length {
                return Ok(false);
            }
        }
        Ok(read.hash.finalize() == self.read.hash.finalize())
    }
}

impl Drop for AnswerCopy {
    fn drop(&mut self) {
        if self.call.is_some() {
            self.recorder.shadowed.not_compared();
        }
    }
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The body, if all of it came and was kept.
fn whole(seen: &Mutex<Seen>) -> Option<Bytes> {
    let mut seen = locked(seen);
    (seen.whole && !seen.too_large).then(|| std::mem::take(&mut seen.bytes).into())
}

impl Seen {
    fn came(&mut self, data: &[u8]) {
        self.too_large |= self.bytes.len() + data.len() > MAX_BODY;
        match self.too_large {
            true => self.bytes = vec![],
            false => self.bytes.extend_from_slice(data),
        }
    }
}

impl<B: Body<Data = Bytes>> Body for Kept<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(self.inner.as_mut().poll_frame(cx));
        let mut seen = locked(&self.seen);
        match &frame {
            Some(Ok(frame)) => seen.came(frame.data_ref().map_or(&[][..], |data| &data[..])),
            Some(Err(_)) => {}
            None => seen.whole = true,
        }
        seen.whole |= self.inner.is_end_stream();
        drop(seen);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::convert::Infallible;

    use http_body_util::StreamBody;

    use super::*;

    /// What is kept of a body in these pieces, of which so many are read.
    async fn kept(pieces: &[usize], read: usize) -> Option<usize> {
        let frames = pieces.iter().map(|&size| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![7; size]))));
        let body = StreamBody::new(futures_util::stream::iter(frames.collect::<Vec<_>>()));
        let seen = Arc::<Mutex<Seen>>::default();
        let mut body = Kept { inner: Box::pin(body), seen: seen.clone() };
        for _ in 0..read {
            let _ = body.frame().await;
        }
        whole(&seen).map(|bytes| bytes.len())
    }

    #[tokio::test]
    async fn a_body_is_kept_if_it_is_small_and_was_read_to_its_end() {
        assert_eq!(kept(&[10, 20], 3).await, Some(30));
        assert_eq!(kept(&[10, 20], 2).await, None, "its end was not seen");
        assert_eq!(kept(&[MAX_BODY - 1, 1], 3).await, Some(MAX_BODY));
        assert_eq!(kept(&[MAX_BODY, 1], 3).await, None);
        assert_eq!(kept(&[MAX_BODY + 1, 1, 1], 4).await, None, "nor is its rest taken for all of it");
    }
}
