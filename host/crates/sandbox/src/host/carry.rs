//! What a guest's own requests carry on of the request that it answers: its id, and its place in a trace.

use aimass_core::trace::{Span, SpanKind, TRACEPARENT, TRACESTATE};
use http::{HeaderName, HeaderValue, Request};

use crate::config::Call;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Adds to the request what it carries on. What the guest has set itself stays: it may keep a trace of its own.
pub(crate) fn on<B>(call: &Call, request: &mut Request<B>) -> Span {
    let mut span = call.trace.span("HTTP", SpanKind::Client);
    if span.recorded() {
        let (method, uri) = (request.method().clone(), request.uri());
        span.rename(|| method.to_string());
        span.note("http.request.method", method.to_string());
        span.note("url.scheme", uri.scheme_str().unwrap_or_default().to_owned());
        span.note("server.address", uri.host().unwrap_or_default().to_owned());
        if let Some(port) = uri.port_u16() {
            span.note("server.port", u64::from(port));
        }
    }
    let headers = request.headers_mut();
    if !headers.contains_key(REQUEST_ID)
        && let Ok(id) = HeaderValue::from_str(&call.request_id)
    {
        headers.insert(REQUEST_ID, id);
    }
    let below = span.below(&call.trace);
    if let Some(context) = below.context().filter(|_| !headers.contains_key(TRACEPARENT))
        && let Ok(parent) = HeaderValue::from_str(&context.traceparent())
    {
        headers.insert(TRACEPARENT, parent);
        headers.remove(TRACESTATE);
        if let Some(state) = context.state.as_deref().and_then(|state| HeaderValue::from_str(state).ok()) {
            headers.insert(TRACESTATE, state);
        }
    }
    span
}
