//! From a fault to a response. The prefix of the path decides the form; the code decides the status, here and, for
//! gRPC, in [`crate::grpc::fault`].

use std::time::Duration;

use aimass_core::{Code, Fault, Source};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::json;

use crate::request::REQUEST_ID;
use crate::{console, grpc, routing};

/// A fault on its way out. Its body is written by [`finish`], which knows the path.
pub(crate) struct Rejection(pub(crate) Fault);

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status(self.0.code());
        response.extensions_mut().insert(self.0);
        response
    }
}

/// The HTTP status of a code.
pub(crate) fn status(code: Code) -> StatusCode {
    match code {
        Code::InvalidRequest | Code::InvalidName | Code::InvalidTensor => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::InsufficientScope | Code::CrossSite | Code::SignatureRequired | Code::UnknownSigner => {
            StatusCode::FORBIDDEN
        }
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::Conflict | Code::UploadInProgress | Code::NewImports => StatusCode::CONFLICT,
        Code::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::IdempotencyKeyReused
        | Code::InvalidComponent
        | Code::UnsupportedImport
        | Code::CompileBudget
        | Code::InvalidSignature
        | Code::InvalidModel
        | Code::InvalidData
        | Code::UnsupportedDevice
        | Code::UnsupportedOperation => StatusCode::UNPROCESSABLE_ENTITY,
        Code::RateLimited | Code::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
        Code::PluginTrap | Code::PluginResourceLimit | Code::PluginFault => StatusCode::BAD_GATEWAY,
        Code::PluginDeadline => StatusCode::GATEWAY_TIMEOUT,
        Code::CallDepth => StatusCode::LOOP_DETECTED,
        Code::Internal | Code::Integrity => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unavailable | Code::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        Code::StorageFull | Code::StorageQuota => StatusCode::INSUFFICIENT_STORAGE,
    }
}

/// Writes the body of a rejected request, logs what the caller must not see, and names the request.
pub(crate) fn finish(path: &str, request: &str, mut response: Response) -> Response {
    if let Some(fault) = response.extensions_mut().remove::<Fault>() {
        log(&fault, request);
        if path.starts_with(grpc::PREFIX) {
            response = grpc::fault::response(&fault);
            fault.version().into_iter().for_each(|version| routing::served(&mut response, version));
            return named(request, response);
        }
        if console::owns(path) {
            let mut page = console::refusal(&fault, response.status());
            console::protect(page.headers_mut());
            return named(request, page);
        }
        fault.version().into_iter().for_each(|version| routing::served(&mut response, version));
        let (kind, body) = body(path, request, &fault, response.status());
        let headers = response.headers_mut();
        // The router has counted the body that was empty until now.
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if fault.code() == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = retry_after(&fault) {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        *response.body_mut() = Body::from(body.to_string());
    } else if console::owns(path) {
        console::protect(response.headers_mut());
    }
    named(request, response)
}

fn named(request: &str, mut response: Response) -> Response {
    if let Ok(id) = HeaderValue::from_str(request) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// When to come back. What is temporary says so even where nobody knows better.
pub(crate) fn retry_after(fault: &Fault) -> Option<Duration> {
    let temporary = matches!(fault.code(), Code::RateLimited | Code::Unavailable | Code::Overloaded);
    fault.retry().or(temporary.then_some(Duration::from_secs(1)))
}

fn body(path: &str, request: &str, fault: &Fault, status: StatusCode) -> (&'static str, serde_json::Value) {
    if path.starts_with("/v2/") || path == "/v2" {
        return ("application/json", crate::oip::error(fault));
    }
    let mut problem = document(fault, request);
    problem["status"] = status.as_u16().into();
    ("application/problem+json", problem)
}

/// A fault as problem details (RFC 9457).
pub(crate) fn document(fault: &Fault, request: &str) -> serde_json::Value {
    let code = fault.code();
    json!({
        "type": format!("urn:aimass:problem:{code}"),
        "title": code.title(),
        "status": status(code).as_u16(),
        "detail": fault.detail(),
        "code": code.as_str(),
        "request_id": request,
    })
}

/// Logs what went wrong, at the level of whose fault it is.
pub(crate) fn log(fault: &Fault, request: &str) {
    let cause = fault.cause().unwrap_or_default();
    match fault.code().source() {
        Source::Platform => {
            tracing::error!(code = %fault.code(), detail = fault.detail(), cause, request, "request failed")
        }
        Source::Plugin => {
            tracing::info!(code = %fault.code(), detail = fault.detail(), cause, request, "plugin failed")
        }
        Source::Caller => {
            tracing::debug!(code = %fault.code(), detail = fault.detail(), cause, request, "request refused")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_class_fits_whose_fault_it_is() {
        for &code in Code::ALL {
            let status = status(code).as_u16();
            match code.source() {
                // WebDAV's status for a quota (RFC 4331): whose it is, the caller knows.
                Source::Caller => assert!((400..500).contains(&status) || code == Code::StorageQuota, "{code}"),
                Source::Plugin => assert!([502, 504, 508].contains(&status), "{code}"),
                Source::Platform => assert!([500, 503, 507].contains(&status), "{code}"),
            }
        }
    }

    #[test]
    fn the_cause_stays_inside() {
        let rejection = Rejection(Fault::internal("secret path")).into_response();
        let response = finish("/api/v1/plugins", "r1", rejection);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert!(!format!("{:?}", response.headers()).contains("secret"));
    }
}
