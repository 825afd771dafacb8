//! What is logged of a plugin's calls, on its way from where it happens to where it is kept.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Code, Fault, Name, Tenant};

/// The longest line, in bytes after escaping.
pub const MAX_LINE: usize = 8 << 10;

/// How serious a line is. The order is that of seriousness.
///
/// ```
/// use aimass_core::logs::Level;
/// assert!(Level::Error > Level::Warn);
/// assert_eq!("warn".parse::<Level>().unwrap(), Level::Warn);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Every step.
    Trace,
    /// What helps to find a mistake.
    Debug,
    /// What happens.
    Info,
    /// What may be wrong.
    Warn,
    /// What went wrong.
    Error,
}

impl Level {
    /// The level as a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let all = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];
        let found = all.into_iter().find(|level| level.as_str() == text);
        found.ok_or_else(|| Fault::invalid("a level is `trace`, `debug`, `info`, `warn` or `error`"))
    }
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// When, milliseconds since the epoch.
    pub time_ms: u64,
    /// How serious.
    pub level: Level,
    /// The request that the call answers.
    pub request_id: Arc<str>,
    /// The plugin's version; 0 while it is being uploaded.
    pub version: u64,
    /// What it says.
    pub said: Said,
}

/// What a line says.
#[derive(Clone, Debug)]
pub enum Said {
    /// The guest said it. Both are escaped and bounded by whoever took them.
    Guest {
        /// What the guest calls its part; `stdout` and `stderr` are its standard streams.
        context: Box<str>,
        /// Its words.
        text: Box<str>,
    },
    /// So many lines of the call are missing: it said more than a call may.
    Dropped(u64),
    /// The call is over.
    Ended(Ended),
}

/// How a call ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// From when it was let in to the last byte of its answer.
    pub took: Duration,
    /// The status that a function answered with.
    pub status: Option<u16>,
    /// Why it failed: what the caller is told, and behind it what only the plugin's owner may see.
    pub failed: Option<(Code, Box<str>)>,
    /// Its caller left before the answer was whole.
    pub left: bool,
}

impl Said {
    /// Bytes that it holds beside its own size.
    pub fn heap(&self) -> usize {
        match self {
            Self::Guest { context, text } => context.len() + text.len(),
            Self::Dropped(_) => 0,
            Self::Ended(ended) => ended.failed.as_ref().map_or(0, |(_, why)| why.len()),
        }
    }
}

/// Keeps lines. Whoever logs never waits.
pub trait LogKeeper: Send + Sync {
    /// One line of a tenant's plugin.
    fn keep(&self, tenant: &Tenant, plugin: &Name, line: Line);
}

/// `text` on one line: whatever could move a terminal's cursor, break the line or hide text is written as an
/// escape. At most `limit` bytes; what was cut off is counted.
pub fn escaped(text: &str, limit: usize) -> String {
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
