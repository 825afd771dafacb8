//! What a request is known by: an id of its own, and its place in a trace.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aimass_core::trace::{Span, TRACEPARENT, TRACESTATE, Trace, TraceContext};
use http::{HeaderMap, HeaderName};

/// The header of a request's id, of requests and of answers.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over.
const MAX_ID: usize = 128;

/// A request's id, in the answer as `x-request-id`: what its sender calls it, or a new one that is ordered by time, so
/// that logs sort; with the place in a trace at which the request stands.
#[derive(Clone, Debug)]
pub(crate) struct RequestId {
    id: Arc<str>,
    trace: Trace,
}

impl RequestId {
    /// What the head says, if that can be an id; else a new one. An id proves nothing: it need not be unique.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(REQUEST_ID).iter();
        let id = match (given.next(), given.next()) {
            (Some(id), None) => id.to_str().ok().filter(|id| is_id(id)).map(Into::into),
            _ => None,
        };
        Self { id: id.unwrap_or_else(new), trace: Trace::default() }
    }

    /// The id of a request that did not come over the network.
    pub(crate) fn named(text: &str) -> Self {
        Self { id: text.into(), trace: Trace::default() }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.id
    }

    /// Where the request stands.
    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The same, standing below `span` where that is recorded, else where `trace` stands.
    pub(crate) fn below(self, span: &Span, trace: &Trace) -> Self {
        Self { trace: span.below(trace), ..self }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// Nothing that a log, a header or a shell takes for something else.
fn is_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/+=~@".contains(&b);
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(plain)
}

/// Where the caller stands in a trace. Two `traceparent`s are none; several `tracestate`s are one.
pub(crate) fn context(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (parents.next(), parents.next()) else { return None };
    let states: Vec<_> = headers.get_all(TRACESTATE).iter().filter_map(|state| state.to_str().ok()).collect();
    TraceContext::parse(parent.to_str().ok()?, Some(&states.join(",")))
}

fn new() -> Arc<str> {
    let mut buffer = uuid::Uuid::encode_buffer();
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let id = uuid::Builder::from_unix_timestamp_millis(u64::try_from(millis).unwrap_or_default(), &distinct());
    let text: &str = id.into_uuid().as_simple().encode_lower(&mut buffer);
    text.into()
}

/// Bytes that differ from call to call and from process to process. An id is no secret, so no system call is spent on
/// it: a counter a thread, from a random start, mixed by splitmix64 (Steele, Lea, Flood 2014).
fn distinct() -> [u8; 10] {
    thread_local!(static COUNTER: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish()));
    let mix = |step: u64| {
        let mut z = step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    };
    let at = COUNTER.get();
    COUNTER.set(at.wrapping_add(2));
    let (mut bytes, more) = ([0; 10], mix(at.wrapping_add(1)));
    bytes[..8].copy_from_slice(&mix(at));
    bytes[8..].copy_from_slice(&more[..2]);
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn request_ids_differ_on_one_thread_and_between_threads() {
        let ids = || (0..10_000).map(|_| RequestId::of(&HeaderMap::new()).to_string()).collect::<Vec<_>>();
        let other = std::thread::spawn(ids);
        let all: std::collections::HashSet<_> = ids().into_iter().chain(other.join().unwrap()).collect();
        assert_eq!(all.len(), 20_000);
    }

    #[test]
    fn an_id_that_could_be_taken_for_something_else_is_replaced() {
        let of = |ids: &[&str]| {
            let pairs = ids.iter().map(|id| (REQUEST_ID, http::HeaderValue::from_bytes(id.as_bytes()).unwrap()));
            RequestId::of(&pairs.collect()).to_string()
        };
        for good in ["a", "0198c0de-0000", "svc:42/1", &"x".repeat(128)] {
            assert_eq!(of(&[good]), good);
        }
        for bad in ["", "a b", "a\tb", "é", "a\"b", "<a>", &"x".repeat(129)] {
            let new = of(&[bad]);
            assert!(new != bad && new.len() == 32, "{bad}: {new}");
        }
        assert_eq!(of(&["a", "b"]).len(), 32);
    }
}
