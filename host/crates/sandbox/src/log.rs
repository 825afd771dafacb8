//! Where a guest's log lines and its standard streams go: to `tracing` and to whoever keeps them for the plugin's
//! owner, escaped, with a limit.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use aimass_core::logs::{Level, MAX_LINE, escaped};
use aimass_core::logs::{Line, LogKeeper, Said};
use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::config::Call;

/// The log of one call. Lines beyond the call's limit are counted, and the count is told at the end.
pub(crate) struct Log {
    pub(crate) call: Call,
    keeper: Option<Arc<dyn LogKeeper>>,
    left: AtomicUsize,
    dropped: AtomicUsize,
    // One half-written line per standard stream, however many handles to it the guest takes.
    partial: [Mutex<Vec<u8>>; 2],
}

impl Log {
    pub(crate) fn new(call: Call, keeper: Option<Arc<dyn LogKeeper>>) -> Self {
        Self {
            keeper,
            left: AtomicUsize::new(call.limits.log_lines),
            dropped: AtomicUsize::new(0),
            partial: [Mutex::default(), Mutex::default()],
            call,
        }
    }

    /// One line. `context` is whatever the guest calls its part.
    pub(crate) fn line(&self, level: Level, context: &str, text: &str) {
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if taken.is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (context, text) = (escaped(context, 256), escaped(text, MAX_LINE));
        macro_rules! emit {
            ($level:ident) => {
                tracing::event!(
                    target: "aimass::guest",
                    tracing::Level::$level,
                    tenant = %self.call.tenant,
                    plugin = %self.call.plugin,
                    version = self.call.version,
                    request_id = &*self.call.request_id,
                    context = context.as_str(),
                    text = text.as_str(),
                    "guest"
                )
            };
        }
        match level {
            Level::Trace => emit!(TRACE),
            Level::Debug => emit!(DEBUG),
            Level::Info => emit!(INFO),
            Level::Warn => emit!(WARN),
            Level::Error => emit!(ERROR),
        }
        self.keep(level, Said::Guest { context: context.into(), text: text.into() });
    }

    fn keep(&self, level: Level, said: Said) {
        let Some(keeper) = &self.keeper else { return };
        let Call { tenant, plugin, version, request_id, .. } = &self.call;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        keeper.keep(tenant, plugin, Line { time_ms, level, request_id: request_id.clone(), version: *version, said });
    }

    fn write(&self, stream: Stream, bytes: &[u8]) {
        let mut partial = self.partial[stream as usize].lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            // One byte more than fits is kept, so that the cut is seen.
            let room = (MAX_LINE + 1).saturating_sub(partial.len());
            partial.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.line(stream.level(), stream.name(), &String::from_utf8_lossy(&partial));
                partial.clear();
            }
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        for stream in [Stream::Out, Stream::Err] {
            let rest = std::mem::take(self.partial[stream as usize].get_mut().unwrap_or_else(PoisonError::into_inner));
            if !rest.is_empty() {
                self.line(stream.level(), stream.name(), &String::from_utf8_lossy(&rest));
            }
        }
        let dropped = *self.dropped.get_mut();
        if dropped > 0 {
            tracing::warn!(
                target: "aimass::guest",
                tenant = %self.call.tenant,
                plugin = %self.call.plugin,
                version = self.call.version,
                request_id = &*self.call.request_id,
                dropped,
                "log lines were dropped: the limit of a call is reached"
            );
            self.keep(Level::Warn, Said::Dropped(dropped as u64));
        }
    }
}

/// Which of the guest's standard streams.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Out = 0,
    Err = 1,
}

impl Stream {
    fn level(self) -> Level {
        match self {
            Self::Out => Level::Info,
            Self::Err => Level::Warn,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Out => "stdout",
            Self::Err => "stderr",
        }
    }
}

/// A standard stream as WASI wants it.
#[derive(Clone)]
pub(crate) struct Stdio(pub(crate) Arc<Log>, pub(crate) Stream);

impl IsTerminal for Stdio {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stdio {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Stdio {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write(self.1, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[async_trait::async_trait]
impl Pollable for Stdio {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Stdio {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.0.write(self.1, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
