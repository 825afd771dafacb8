//! The span of a request, by OpenTelemetry's semantic conventions for HTTP servers. Never a header, a query or a body.

use std::pin::Pin;
use std::task::{Context, Poll};

use aimass_core::trace::Span;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{Request, Version};
use http_body::{Frame, SizeHint};

use crate::request::RequestId;

/// What is known when a request comes.
pub(crate) fn request<B>(span: &mut Span, request: &Request<B>) {
    if !span.recorded() {
        return;
    }
    let (method, version) = (request.method().to_string(), request.version());
    span.rename(|| method.clone());
    span.note("http.request.method", method);
    span.note("url.path", request.uri().path().to_owned());
    span.note("network.protocol.version", if version == Version::HTTP_2 { "2" } else { "1.1" });
}

/// What is known when it is answered. The span ends with the answer's body.
pub(crate) fn answer(mut span: Span, route: &'static str, id: &RequestId, response: Response) -> Response {
    if !span.recorded() {
        return response;
    }
    let status = response.status();
    span.rename_by(|method| format!("{method} {route}"));
    span.note("http.route", route);
    span.note("http.response.status_code", u64::from(status.as_u16()));
    span.note("aimass.request_id", id.to_string());
    if status.is_server_error() {
        span.fail(|| status.as_u16().to_string().into());
    }
    response.map(|body| Body::new(Traced { body, _span: span }))
}

struct Traced {
    body: Body,
    _span: Span,
}

impl http_body::Body for Traced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
