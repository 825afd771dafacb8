//! A client that keeps the node waiting: how long it may, and what it earns by what it sends or takes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Bytes that earn a second of waiting: slower than any line that carries a web page, faster than who only holds a
/// connection open.
const BYTES_A_SECOND: usize = 1_024;

/// The waiting that so many bytes earn.
pub(crate) fn earned(bytes: usize) -> Duration {
    Duration::from_secs_f64(bytes as f64 / BYTES_A_SECOND as f64)
}

/// Time that a client may still keep the node waiting. Waiting takes from it, every byte adds to it, and it never
/// holds more than it began with: so a client is cut off when it falls below the rate for that long.
pub(crate) struct Pace {
    left: Duration,
    most: Duration,
    /// Since when the node waits now, and what wakes it at the end.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Pace {
    pub(crate) fn new(most: Duration) -> Self {
        Self { left: most, most, waiting: None }
    }

    /// The client moved so many bytes.
    pub(crate) fn moved(&mut self, bytes: usize) {
        if let Some((since, _)) = self.waiting.take() {
            // Longer than that nobody waits who asks: then it was the node that did not look (a guest that computes
            // between two reads). Half is taken all the same, so that nobody gains by coming at the last instant.
            self.left = self.left.checked_sub(since.elapsed()).unwrap_or(self.left / 2);
        }
        self.left = self.left.saturating_add(earned(bytes)).min(self.most);
    }

    /// The node waits for the client. Ready when it has waited long enough.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.left;
        let (_, sleep) = self.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(tokio::time::sleep_until(now + left)))
        });
        sleep.as_mut().poll(cx)
    }
}

/// A stream whose client must take what is written to it.
pub(crate) struct Paced<S> {
    inner: S,
    pace: Pace,
}

impl<S> Paced<S> {
    pub(crate) fn new(inner: S, most: Duration) -> Self {
        Self { inner, pace: Pace::new(most) }
    }

    fn written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(outcome) = written {
            self.pace.moved(*outcome.as_ref().unwrap_or(&0));
            return Poll::Ready(outcome);
        }
        ready!(self.pace.poll_over(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take the answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_cut_off() {
        let (near, _far) = tokio::io::duplex(1_000);
        let mut paced = Paced::new(near, Duration::from_millis(200));
        let error = paced.write_all(&[0; 2_000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_reader_above_the_rate_gets_everything() {
        let (near, mut far) = tokio::io::duplex(1_000);
        let mut paced = Paced::new(near, Duration::from_millis(500));
        let reader = tokio::spawn(async move {
            let mut taken = vec![0; 1_000];
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                far.read_exact(&mut taken).await.unwrap();
            }
        });
        paced.write_all(&[0; 10_000]).await.unwrap();
        reader.await.unwrap();
    }

    #[tokio::test]
    async fn time_in_which_the_node_does_not_look_is_not_the_clients() {
        let mut pace = Pace::new(Duration::from_secs(10));
        assert!(poll_fn(|cx| Poll::Ready(pace.poll_over(cx))).await.is_pending());
        pace.left = Duration::from_millis(100);
        tokio::time::sleep(Duration::from_millis(300)).await;
        pace.moved(1);
        assert!(pace.left >= Duration::from_millis(50), "{:?}", pace.left);
        assert!(poll_fn(|cx| Poll::Ready(pace.poll_over(cx))).await.is_pending());
    }

    #[tokio::test]
    async fn waiting_adds_up_over_bytes_that_come_too_slowly() {
        let mut pace = Pace::new(Duration::from_millis(100));
        let mut steps = 0;
        while tokio::time::timeout(Duration::from_millis(10), poll_fn(|cx| pace.poll_over(cx))).await.is_err() {
            pace.moved(1);
            steps += 1;
        }
        assert!((3..=11).contains(&steps), "{steps}");
    }
}
