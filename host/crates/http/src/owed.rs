//! Answers that an HTTP/2 client is owed and does not take.
//!
//! With HTTP/2 a client says for each answer how much of it it takes (RFC 9113, section 5.2). One that says nothing
//! leaves the answer in memory while its connection looks alive, so the answers themselves are watched: they are
//! offered in pieces, and hyper asks for the next one when the client has taken those before.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::pace::earned;

/// The size of a piece. What is smaller than one is not watched: all streams of a connection together hold 8 MiB then.
const PIECE: usize = 64 << 10;

/// How often answers are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The answers of one connection.
pub(crate) struct Owed {
    wait: Duration,
    answers: Mutex<Vec<Weak<Mutex<Debt>>>>,
}

/// One answer: since when a piece of it waits, and for how long it still may.
struct Debt {
    offered: Option<Instant>,
    left: Duration,
}

impl Owed {
    /// `wait` is how long a client may leave an answer, beyond what it earns by what it takes.
    pub(crate) fn new(wait: Duration) -> Arc<Self> {
        Arc::new(Self { wait, answers: Mutex::default() })
    }

    /// Watches an answer, if it is large or has no known end.
    pub(crate) fn watch(&self, response: Response) -> Response {
        if response.body().size_hint().upper().is_some_and(|length| length <= PIECE as u64) {
            return response;
        }
        let debt = Arc::new(Mutex::new(Debt { offered: None, left: self.wait }));
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&debt));
        let most = self.wait;
        response.map(|inner| Body::new(Watched { inner, rest: Bytes::new(), debt, most }))
    }

    /// Resolves when an answer has not been taken for too long.
    pub(crate) async fn overdue(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            let mut overdue = false;
            answers.retain(|answer| {
                let Some(debt) = answer.upgrade() else { return false };
                let debt = debt.lock().unwrap_or_else(PoisonError::into_inner);
                overdue |= debt.offered.is_some_and(|since| since.elapsed() > debt.left);
                true
            });
            if overdue {
                return;
            }
        }
    }
}

struct Watched {
    inner: Body,
    /// Of a frame that is larger than a piece.
    rest: Bytes,
    debt: Arc<Mutex<Debt>>,
    most: Duration,
}

impl Watched {
    /// What was offered is taken.
    fn taken(&self) {
        let mut debt = self.debt.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = debt.offered.take() {
            debt.left = debt.left.saturating_sub(since.elapsed());
        }
    }

    fn offer(&mut self) -> Frame<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        let mut debt = self.debt.lock().unwrap_or_else(PoisonError::into_inner);
        // The client took as much as this before it comes to be offered, but for the first.
        debt.left = debt.left.saturating_add(earned(piece.len())).min(self.most);
        debt.offered = Some(Instant::now());
        Frame::data(piece)
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.taken();
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        Poll::Ready(Some(Ok(self.offer())))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn a_large_answer_comes_whole_and_in_pieces() {
        let owed = Owed::new(Duration::from_secs(1));
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let mut body = owed.watch(Response::new(Body::from(bytes.clone()))).into_body();
        assert_eq!(body.size_hint().exact(), Some(200_000));
        let mut all = vec![];
        while let Some(frame) = body.frame().await {
            assert_eq!(body.is_end_stream(), all.len() + 3_392 == 200_000);
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE);
            all.extend(piece);
        }
        assert_eq!(all, bytes);
        assert_eq!(owed.watch(Response::new(Body::from("small"))).body().size_hint().exact(), Some(5));
        assert_eq!(owed.answers.lock().unwrap().len(), 1, "a small answer is watched");
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_is_overdue_and_one_that_is_gone_is_not() {
        let owed = Owed::new(Duration::from_millis(100));
        let gone = owed.watch(Response::new(Body::from(vec![0; 100_000])));
        let mut body = owed.watch(Response::new(Body::from(vec![0; 100_000]))).into_body();
        drop(gone);
        let overdue = || tokio::time::timeout(Duration::from_millis(1_500), owed.overdue());
        assert!(overdue().await.is_err(), "nothing was offered yet");
        body.frame().await.unwrap().unwrap();
        assert!(overdue().await.is_ok());
        drop(body);
        assert!(overdue().await.is_err());
        assert!(owed.answers.lock().unwrap().is_empty());
    }
}
