//! One call, watched from when it is let in to its end, however that comes.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use aimass_core::event::Kind;
use aimass_core::logs::{Ended, Level, Line, LogKeeper, Said, escaped};
use aimass_core::trace::{Span, SpanKind, Trace};
use aimass_core::{Fault, Source, Tenant};

use crate::directory::Resolved;
use crate::logs::Logs;

/// What a failure's line holds of the reason: a backtrace of a guest has some hundred bytes a frame.
const MAX_REASON: usize = 2 << 10;

/// A call under way. Dropped, its caller has left.
pub(crate) struct Watch {
    logs: Arc<Logs>,
    tenant: Tenant,
    of: Arc<Resolved>,
    request: Arc<str>,
    started: Instant,
    pub(crate) span: Span,
    /// What a function has answered with.
    pub(crate) status: Option<u16>,
    function: bool,
    over: bool,
}

impl Watch {
    pub(crate) fn new(logs: Arc<Logs>, tenant: Tenant, of: Arc<Resolved>, request: Arc<str>, span: Span) -> Self {
        let started = Instant::now();
        Self { logs, tenant, of, request, started, span, status: None, function: false, over: false }
    }

    /// The call's span: a guest's by the semantic conventions of functions, a model's by what is nearest to them.
    pub(crate) fn span(tenant: &Tenant, of: &Resolved, request: &str, trace: &Trace) -> Span {
        let (name, label, number) = match of.kind {
            Kind::Plugin => ("guest", "faas.name", "faas.version"),
            Kind::Model => ("inference", "aimass.model.name", "aimass.model.version"),
        };
        let mut span = trace.span(name, SpanKind::Internal);
        if span.recorded() {
            span.note("aimass.tenant", tenant.to_string());
            span.note(label, of.name.to_string());
            span.note(number, of.version.to_string());
            span.note("faas.invocation_id", request.to_owned());
        }
        span
    }

    /// It is a function's call, not an inference.
    pub(crate) fn function(&mut self) {
        self.function = true;
        self.span.note("faas.trigger", "http");
    }

    /// Bytes of the answer.
    pub(crate) fn went(&self, bytes: u64) {
        self.of.record.used.went(bytes);
    }

    /// The call was answered, or failed.
    pub(crate) fn ended(mut self, failed: Option<&Fault>) {
        self.over = true;
        self.end(failed, false);
    }

    fn end(&mut self, failed: Option<&Fault>, left: bool) {
        match failed {
            Some(fault) => self.span.fail(|| fault.code().as_str().into()),
            None if left => self.span.fail(|| "caller_left".into()),
            None => {}
        }
        let (took, server_error) = (self.started.elapsed(), self.status.is_some_and(|status| status >= 500));
        let used = &self.of.record.used;
        match self.function {
            true => used.function(failed.is_some() || server_error),
            false => used.inference(took, failed.is_some()),
        }
        // A model says nothing itself, and what its calls come to stands in the statistics.
        if self.of.kind != Kind::Plugin {
            return;
        }
        let level = match failed.map(|fault| fault.code().source()) {
            None if server_error => Level::Error,
            None => Level::Info,
            Some(Source::Caller) => Level::Warn,
            Some(Source::Plugin | Source::Platform) => Level::Error,
        };
        let failed = failed.map(|fault| (fault.code(), reason(fault)));
        let ended = Ended { took, status: self.status, failed, left };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let (request_id, version) = (self.request.clone(), self.of.version);
        let line = Line { time_ms, level, request_id, version, said: Said::Ended(ended) };
        self.logs.keep(&self.tenant, &self.of.name, line);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.over {
            self.end(None, true);
        }
    }
}

/// Why it failed. What stands behind a fault of the plugin's (its trap, its own frames) is its owner's; what stands
/// behind one of the platform's is not.
fn reason(fault: &Fault) -> Box<str> {
    let cause = fault.cause().filter(|_| fault.code().source() == Source::Plugin);
    let whole = match cause {
        Some(cause) => format!("{}: {cause}", fault.detail()),
        None => fault.detail().to_owned(),
    };
    escaped(&whole, MAX_REASON).into()
}
