//! Where a guest's log lines and its standard streams go: `tracing`, escaped, with a limit.

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::config::Call;

/// The longest line, in bytes after escaping.
const MAX_LINE: usize = 8 << 10;

/// How serious the guest says it is.
#[derive(Clone, Copy)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// The log of one call. Lines beyond the call's limit are counted, and the count is told at the end.
pub(crate) struct Log {
    pub(crate) call: Call,
    left: AtomicUsize,
    dropped: AtomicUsize,
    // One half-written line per standard stream, however many handles to it the guest takes.
    partial: [Mutex<Vec<u8>>; 2],
}

impl Log {
    pub(crate) fn new(call: Call) -> Self {
        Self {
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
        macro_rules! emit {
            ($level:ident) => {
                tracing::event!(
                    target: "aimass::guest",
                    tracing::Level::$level,
                    tenant = %self.call.tenant,
                    plugin = %self.call.plugin,
                    version = self.call.version,
                    request_id = &*self.call.request_id,
                    context = escaped(context, 256).as_str(),
                    text = escaped(text, MAX_LINE).as_str(),
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
        }
    }
}

/// `text` on one line: whatever could move a terminal's cursor, break the line or hide text is written as an
/// escape. At most `limit` bytes; what was cut off is counted.
pub(crate) fn escaped(text: &str, limit: usize) -> String {
    // Room for the note on what was cut.
    let room = limit.saturating_sub(32);
    let mut out = String::with_capacity(text.len().min(limit));
    for (at, c) in text.char_indices() {
        let before = out.len();
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if hidden(c) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
        if out.len() > room {
            out.truncate(before);
            let _ = write!(out, "… ({} bytes more)", text.len() - at);
            break;
        }
    }
    out
}

/// Control characters, line separators, and what reorders or hides text (Unicode's Bidi_Control and zero-width).
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{061c}')
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f23_lines_are_escaped_and_bounded() {
        let hostile = "a\u{1b}[2Jb\nlevel=ERROR\r\u{202e}c\0";
        let line = escaped(hostile, MAX_LINE);
        assert_eq!(line, "a\\u{1b}[2Jb\\nlevel=ERROR\\r\\u{202e}c\\u{0}");
        assert!(line.chars().all(|c| !hidden(c)));
        for text in ["é".repeat(20_000), "\u{1b}".repeat(20_000)] {
            let line = escaped(&text, MAX_LINE);
            assert!(line.len() <= MAX_LINE);
            assert!(line.ends_with("bytes more)"), "the cut is told");
        }
        assert_eq!(
            escaped("{\"level\":\"ERROR\"}", MAX_LINE),
            "{\"level\":\"ERROR\"}",
            "a field, quoted by the writer"
        );
    }
}
