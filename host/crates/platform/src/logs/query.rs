//! Reading a plugin's lines: filters, pages, and how a line is shown.

use std::fmt::Write as _;

use aimass_core::event::Kind;
use aimass_core::logs::{Ended, Level, Said};
use aimass_core::{Fault, Name, Result, Tenant};
use serde::Serialize;

use super::book::Kept;
use super::{Logs, lock};
use crate::objects::{PAGE, Page};
use crate::{Asked, Platform, Scope};

/// Lines that are copied under the lock at once.
const PIECE: usize = 512;

/// The longest text to look for.
const MAX_TEXT: usize = 256;

/// Lines of one page, unless fewer are asked for, at most.
pub(super) const MOST: usize = 1_000;

/// Which lines.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// A line's id: those that are older; of a follower, those that are newer.
    pub after: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
    /// Of this request.
    pub request_id: Option<String>,
    /// At least so serious.
    pub level: Option<Level>,
    /// Not before, milliseconds since the epoch.
    pub since_ms: Option<u64>,
    /// Not after, milliseconds since the epoch.
    pub until_ms: Option<u64>,
    /// That hold this text, in letters of either case.
    pub text: Option<String>,
}

/// A line as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct LogDocument {
    /// Its id, for `after` and `Last-Event-ID`.
    pub id: String,
    /// When, milliseconds since the epoch.
    pub time_ms: u64,
    /// How serious.
    pub level: Level,
    /// Who says it: `guest`, or the platform: `call` at a call's end, `dropped` for lines that are missing.
    pub kind: &'static str,
    /// The plugin's version; 0 while it is being uploaded.
    pub version: u64,
    /// The request that the call answers.
    pub request_id: String,
    /// What the guest calls its part; `stdout` and `stderr` are its standard streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Its words.
    pub text: String,
    /// How the call ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<CallEnd>,
}

/// How a call ended.
#[derive(Clone, Debug, Serialize)]
pub struct CallEnd {
    /// From when it was let in to the last byte of its answer, milliseconds.
    pub duration_ms: f64,
    /// The status that a function answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The code of the fault that it failed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
}

impl LogDocument {
    pub(super) fn of(kept: &Kept, boot: u32) -> Self {
        let Kept { number, line } = kept;
        let (kind, context, text, call) = match &line.said {
            Said::Guest { context, text } => ("guest", Some(context.to_string()), text.to_string(), None),
            Said::Dropped(lines) => ("dropped", None, format!("{lines} more lines: a call says no more"), None),
            Said::Ended(ended) => ("call", None, told(ended), Some(CallEnd::of(ended))),
        };
        Self {
            id: format!("{boot:x}-{number}"),
            time_ms: line.time_ms,
            level: line.level,
            kind,
            version: line.version,
            request_id: line.request_id.to_string(),
            context,
            text,
            call,
        }
    }
}

impl CallEnd {
    fn of(ended: &Ended) -> Self {
        let code = ended.failed.as_ref().map(|(code, _)| code.as_str());
        Self { duration_ms: (ended.took.as_secs_f64() * 1e6).round() / 1e3, status: ended.status, code }
    }
}

/// The end of a call in words.
fn told(ended: &Ended) -> String {
    let mut text = match (&ended.failed, ended.status) {
        (Some((code, _)), _) => format!("failed with {code}"),
        (None, _) if ended.left => "its caller left".to_owned(),
        (None, Some(status)) => format!("answered {status}"),
        (None, None) => "answered".to_owned(),
    };
    // Writing to a String cannot fail.
    let _ = write!(text, " after {:.1} ms", ended.took.as_secs_f64() * 1e3);
    if let Some((_, why)) = &ended.failed {
        let _ = write!(text, ": {why}");
    }
    text
}

/// A line's id: the process that wrote it, and its number there.
pub(super) fn number(id: &str) -> Result<(u32, u64)> {
    let parsed =
        id.split_once('-').and_then(|(boot, number)| Some((u32::from_str_radix(boot, 16).ok()?, number.parse().ok()?)));
    parsed.ok_or_else(|| Fault::invalid("this is no line's id"))
}

/// What a line must be.
pub(super) struct Filter {
    request_id: Option<String>,
    level: Option<Level>,
    since_ms: u64,
    until_ms: u64,
    text: Option<String>,
}

impl Filter {
    pub(super) fn new(query: &LogQuery) -> Self {
        Self {
            request_id: query.request_id.clone(),
            level: query.level,
            since_ms: query.since_ms.unwrap_or(0),
            until_ms: query.until_ms.unwrap_or(u64::MAX),
            text: query.text.as_ref().map(|text| text.chars().take(MAX_TEXT).collect::<String>().to_lowercase()),
        }
    }

    pub(super) fn passes(&self, line: &LogDocument) -> bool {
        self.level.is_none_or(|least| line.level >= least)
            && (self.since_ms..=self.until_ms).contains(&line.time_ms)
            && self.request_id.as_ref().is_none_or(|id| *id == line.request_id)
            && self.text.as_ref().is_none_or(|text| {
                let holds = |words: &str| words.to_lowercase().contains(text);
                holds(&line.text) || line.context.as_deref().is_some_and(holds)
            })
    }
}

impl Logs {
    /// Shows lines before `number` that pass, the newest first, until `visit` has enough.
    pub(super) fn newest(
        &self,
        (tenant, plugin): (&Tenant, &Name),
        filter: &Filter,
        mut number: u64,
        mut visit: impl FnMut(u64, LogDocument) -> bool,
    ) {
        let Some(book) = self.known(tenant) else { return };
        loop {
            let piece = lock(&book).before(plugin, number, PIECE);
            if piece.is_empty() {
                return;
            }
            for kept in piece {
                number = kept.number;
                let line = LogDocument::of(&kept, self.boot);
                if filter.passes(&line) && !visit(number, line) {
                    return;
                }
            }
        }
    }
}

impl Platform {
    /// A plugin's lines that are still there, the newest first.
    ///
    /// # Errors
    /// `not_found`; `invalid_request` for a cursor that is none.
    pub fn logs(&self, asked: Asked<'_>, plugin: &Name, query: &LogQuery) -> Result<Page<LogDocument>> {
        let tenant = asked.tenant(Scope::PluginsRead)?;
        self.object_row(tenant, Kind::Plugin, plugin)?;
        let limit = query.limit.unwrap_or(PAGE).clamp(1, MOST);
        let before = match query.after.as_deref().map(number).transpose()? {
            None => u64::MAX,
            Some((boot, number)) if boot == self.logs.boot => number,
            // Older than all that a process before this one has left: nothing.
            Some(_) => 0,
        };
        let mut lines = vec![];
        self.logs.newest((tenant, plugin), &Filter::new(query), before, |_, line| {
            lines.push(line);
            lines.len() <= limit
        });
        Ok(Page::cut(lines.into_iter(), limit, |line: &LogDocument| line.id.clone()))
    }
}
