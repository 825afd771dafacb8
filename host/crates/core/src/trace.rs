//! Where a request stands in a trace (W3C Trace Context), and the spans that are recorded of it.
//!
//! Most requests are not recorded: then nothing is built, a [`Trace`] is empty or passes its caller's context on, and
//! every [`Span`] of it is nothing.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The header that names a trace and its caller's span.
pub const TRACEPARENT: &str = "traceparent";

/// The header that carries what systems on the way add to it.
pub const TRACESTATE: &str = "tracestate";

/// Bytes of a `tracestate` that are passed on: as many as the specification asks for.
const MAX_STATE: usize = 512;

/// Members of a `tracestate`, likewise.
const MAX_MEMBERS: usize = 32;

/// The flag that says that the caller records.
const SAMPLED: u8 = 1;

/// A place in a trace.
///
/// ```
/// use aimass_core::trace::TraceContext;
/// let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context = TraceContext::parse(parent, Some("vendor=a1")).unwrap();
/// assert!(context.sampled());
/// assert_eq!(context.traceparent(), parent);
/// assert!(TraceContext::parse("00-0-0-01", None).is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span that the next one stands below; zeros where a trace begins.
    pub span_id: [u8; 8],
    /// The lowest bit: whether it is recorded.
    pub flags: u8,
    /// What systems on the way added.
    pub state: Option<Arc<str>>,
}

impl TraceContext {
    /// Reads the headers. What is wrong is as if it were not there; a wrong `tracestate` goes alone.
    pub fn parse(parent: &str, state: Option<&str>) -> Option<Self> {
        let bytes = parent.trim().as_bytes();
        let lower = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b) || *b == b'-';
        let version = bytes.get(..2)?;
        // A later version may say more behind; this one may not.
        let length =
            if version == b"00" { bytes.len() == 55 } else { bytes.len() == 55 || bytes.get(55) == Some(&b'-') };
        let dashes = [2, 35, 52].iter().all(|&at| bytes.get(at) == Some(&b'-'));
        if version == b"ff" || !length || !dashes || !bytes[..55].iter().all(lower) {
            return None;
        }
        let (mut trace_id, mut span_id, mut flags, mut first) = ([0; 16], [0; 8], [0; 1], [0; 1]);
        hex::decode_to_slice(version, &mut first).ok()?;
        hex::decode_to_slice(&bytes[3..35], &mut trace_id).ok()?;
        hex::decode_to_slice(&bytes[36..52], &mut span_id).ok()?;
        hex::decode_to_slice(&bytes[53..55], &mut flags).ok()?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return None;
        }
        let state = state.filter(|state| is_state(state)).map(Into::into);
        Some(Self { trace_id, span_id, flags: flags[0] & SAMPLED, state })
    }

    /// Whether it is recorded.
    pub fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The header that hands it on.
    pub fn traceparent(&self) -> String {
        let mut text = String::with_capacity(55);
        // Writing to a String cannot fail.
        let _ = write!(text, "00-{}-{}-{:02x}", hex::encode(self.trace_id), hex::encode(self.span_id), self.flags);
        text
    }
}

/// Whether a `tracestate` may be passed on: members of `key=value`, in the characters that the specification allows.
fn is_state(state: &str) -> bool {
    let member = |member: &str| {
        let member = member.trim();
        let key = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/@".contains(&b);
        let value = |b: u8| (0x20..=0x7e).contains(&b) && b != b',' && b != b'=';
        member.is_empty()
            || member.split_once('=').is_some_and(|(name, text)| {
                !name.is_empty() && name.bytes().all(key) && !text.is_empty() && text.bytes().all(value)
            })
    };
    state.bytes().all(|b| (0x20..=0x7e).contains(&b))
        && !state.trim().is_empty()
        && state.len() <= MAX_STATE
        && state.split(',').count() <= MAX_MEMBERS
        && state.split(',').all(member)
}

/// Takes spans that have ended, gives ids to new ones, and decides what is recorded. Whoever calls it never waits.
pub trait Spans: Send + Sync {
    /// An id for a new trace.
    fn trace_id(&self) -> [u8; 16];

    /// An id for a new span.
    fn span_id(&self) -> [u8; 8];

    /// Whether a request is recorded.
    fn samples(&self, trace_id: &[u8; 16], parent: Option<&TraceContext>) -> bool;

    /// A span has ended.
    fn ended(&self, span: Ended);
}

/// Which side of an exchange a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// It answers a request.
    Server,
    /// It waits for another one's answer.
    Client,
    /// It stays inside.
    Internal,
}

/// A value that a span notes.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
    /// A number of seconds, or another one with a fraction.
    Float(f64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

/// A span that has ended. It holds no payloads: no bodies, no headers, no query.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What was done, in few distinct words.
    pub name: Cow<'static, str>,
    /// Which side it is.
    pub kind: SpanKind,
    /// Its own place.
    pub context: TraceContext,
    /// The span that it stands below; zeros for none.
    pub parent: [u8; 8],
    /// Whether that is another system's.
    pub remote: bool,
    /// From when.
    pub from: SystemTime,
    /// Until when.
    pub until: SystemTime,
    /// What it notes, by the names of OpenTelemetry's semantic conventions where they have one.
    pub notes: Vec<(&'static str, Value)>,
    /// The code that it failed with.
    pub failed: Option<Cow<'static, str>>,
}

/// Where a request stands. The default stands nowhere.
#[derive(Clone, Default)]
pub struct Trace(Option<Arc<Here>>);

struct Here {
    context: TraceContext,
    /// None: it is passed on and not recorded.
    spans: Option<Arc<dyn Spans>>,
    remote: bool,
}

impl Trace {
    /// Begins with a request that came from `parent`.
    pub fn begin(spans: Option<&Arc<dyn Spans>>, parent: Option<TraceContext>) -> Self {
        let Some(spans) = spans else { return Self::passing(parent) };
        let trace_id = parent.as_ref().map_or_else(|| spans.trace_id(), |parent| parent.trace_id);
        if !spans.samples(&trace_id, parent.as_ref()) {
            return Self::passing(parent);
        }
        let remote = parent.is_some();
        let context = parent.unwrap_or(TraceContext { trace_id, span_id: [0; 8], flags: SAMPLED, state: None });
        let context = TraceContext { flags: SAMPLED, ..context };
        Self(Some(Arc::new(Here { context, spans: Some(spans.clone()), remote })))
    }

    fn passing(parent: Option<TraceContext>) -> Self {
        Self(parent.map(|context| Arc::new(Here { context, spans: None, remote: true })))
    }

    /// Whether spans are recorded: what costs anything to note is worth it.
    pub fn recorded(&self) -> bool {
        self.recorder().is_some()
    }

    /// What is handed on to whoever is called.
    pub fn context(&self) -> Option<&TraceContext> {
        self.0.as_ref().map(|here| &here.context).filter(|context| context.span_id != [0; 8])
    }

    /// A span that begins now.
    pub fn span(&self, name: &'static str, kind: SpanKind) -> Span {
        Span(self.recorder().map(|(here, spans)| {
            let now = Instant::now();
            Box::new(Open {
                spans: spans.clone(),
                since: now,
                ended: ended(here, spans, name, kind, SystemTime::now()),
            })
        }))
    }

    /// A span that is over already: it ended `ago`, and took `took`.
    pub fn past(&self, name: &'static str, ago: Duration, took: Duration, notes: Vec<(&'static str, Value)>) {
        let Some((here, spans)) = self.recorder() else { return };
        let now = SystemTime::now();
        let until = now.checked_sub(ago).unwrap_or(now);
        let from = until.checked_sub(took).unwrap_or(until);
        spans.ended(Ended { until, notes, ..ended(here, spans, name, SpanKind::Internal, from) });
    }

    fn recorder(&self) -> Option<(&Here, &Arc<dyn Spans>)> {
        let here = self.0.as_deref()?;
        Some((here, here.spans.as_ref()?))
    }
}

fn ended(here: &Here, spans: &Arc<dyn Spans>, name: &'static str, kind: SpanKind, from: SystemTime) -> Ended {
    Ended {
        name: name.into(),
        kind,
        context: TraceContext { span_id: spans.span_id(), ..here.context.clone() },
        parent: here.context.span_id,
        remote: here.remote,
        from,
        until: from,
        notes: vec![],
        failed: None,
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.context().map(TraceContext::traceparent)).finish()
    }
}

/// Something that is being done. It ends when it is dropped.
#[derive(Default)]
pub struct Span(Option<Box<Open>>);

struct Open {
    spans: Arc<dyn Spans>,
    since: Instant,
    ended: Ended,
}

impl Span {
    /// The place below this span, or where `outer` stands if this one is not recorded.
    pub fn below(&self, outer: &Trace) -> Trace {
        match &self.0 {
            Some(open) => {
                let (context, spans) = (open.ended.context.clone(), Some(open.spans.clone()));
                Trace(Some(Arc::new(Here { context, spans, remote: false })))
            }
            None => outer.clone(),
        }
    }

    /// Whether it is recorded.
    pub fn recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Notes something.
    pub fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(open) = &mut self.0 {
            open.ended.notes.push((name, value.into()));
        }
    }

    /// Notes what costs something to say.
    pub fn note_with<V: Into<Value>>(&mut self, name: &'static str, value: impl FnOnce() -> V) {
        if self.0.is_some() {
            self.note(name, value());
        }
    }

    /// Calls it something more exact.
    pub fn rename(&mut self, name: impl FnOnce() -> String) {
        if let Some(open) = &mut self.0 {
            open.ended.name = name().into();
        }
    }

    /// Calls it something that holds its name of now.
    pub fn rename_by(&mut self, name: impl FnOnce(&str) -> String) {
        if let Some(open) = &mut self.0 {
            open.ended.name = name(&open.ended.name).into();
        }
    }

    /// It failed, with this code.
    pub fn fail(&mut self, code: impl FnOnce() -> Cow<'static, str>) {
        if let Some(open) = &mut self.0 {
            let code = code();
            open.ended.notes.push(("error.type", Value::Text(code.clone())));
            open.ended.failed = Some(code);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            let Open { spans, since, mut ended } = *open;
            // By the clock that does not jump.
            ended.until = ended.from.checked_add(since.elapsed()).unwrap_or(ended.from);
            spans.ended(ended);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[derive(Default)]
    struct Kept(Mutex<Vec<Ended>>);

    impl Spans for Kept {
        fn trace_id(&self) -> [u8; 16] {
            [7; 16]
        }

        fn span_id(&self) -> [u8; 8] {
            [self.0.lock().unwrap().len() as u8 + 1; 8]
        }

        fn samples(&self, _: &[u8; 16], parent: Option<&TraceContext>) -> bool {
            parent.is_none_or(TraceContext::sampled)
        }

        fn ended(&self, span: Ended) {
            self.0.lock().unwrap().push(span);
        }
    }

    #[test]
    fn wrong_contexts_are_none() {
        assert!(TraceContext::parse(PARENT, None).is_some());
        assert!(TraceContext::parse(&format!("01{}-more", &PARENT[2..]), None).is_some(), "a later version says more");
        let upper = PARENT.to_uppercase();
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let short = &PARENT[..54];
        let long = format!("{PARENT}-x");
        let version = format!("ff{}", &PARENT[2..]);
        for wrong in ["", "00", "é", &upper, zeros, short, &long, &version, &PARENT.replace('-', "0")] {
            assert!(TraceContext::parse(wrong, None).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_state_goes_alone() {
        let state = |text: &str| TraceContext::parse(PARENT, Some(text)).unwrap().state;
        assert_eq!(state("a=1,b@c=2 3").as_deref(), Some("a=1,b@c=2 3"));
        for wrong in ["", "a", "A=1", "a=1\n", "a=é", "=1", "a=", &"a=1,".repeat(200), &"a=1,".repeat(40)] {
            assert_eq!(state(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn spans_stand_below_one_another_and_their_caller() {
        let kept = Arc::new(Kept::default());
        let spans: Arc<dyn Spans> = kept.clone();
        let trace = Trace::begin(Some(&spans), TraceContext::parse(PARENT, Some("v=1")));
        let mut outer = trace.span("outer", SpanKind::Server);
        let below = outer.below(&trace);
        below.past("inner", Duration::from_millis(1), Duration::from_millis(2), vec![("n", 3_u64.into())]);
        outer.fail(|| "plugin_trap".into());
        drop(outer);
        let ended = kept.0.lock().unwrap();
        let (inner, outer) = (&ended[0], &ended[1]);
        assert_eq!((outer.parent, outer.remote), ([0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7], true));
        assert_eq!((inner.parent, inner.remote), (outer.context.span_id, false));
        assert_eq!(inner.context.trace_id, outer.context.trace_id);
        assert_eq!(inner.until.duration_since(inner.from).unwrap(), Duration::from_millis(2));
        assert_eq!(outer.failed.as_deref(), Some("plugin_trap"));
        assert_eq!(below.context().unwrap().state.as_deref(), Some("v=1"));
    }

    #[test]
    fn what_is_not_recorded_passes_its_callers_context_on() {
        let spans: Arc<dyn Spans> = Arc::new(Kept::default());
        let unsampled = PARENT.replace("-01", "-00");
        for spans in [None, Some(&spans)] {
            let trace = Trace::begin(spans, TraceContext::parse(&unsampled, None));
            assert!(!trace.recorded());
            let below = trace.span("x", SpanKind::Internal).below(&trace);
            assert_eq!(below.context().unwrap().traceparent(), unsampled);
        }
        assert!(Trace::begin(None, None).context().is_none());
        let root = Trace::begin(Some(&spans), None);
        assert!(root.recorded() && root.context().is_none(), "there is no span to hand on yet");
    }
}
