//! `Idempotency-Key` on the writes of `/api/v1`, in one place: the same key and the same request get the same answer
//! (draft-ietf-httpapi-idempotency-key-header).

use std::sync::Arc;

use aimass_core::limits::MAX_JSON;
use aimass_core::{Fault, Result};
use aimass_platform::{Caller, StoredAnswer, Write};
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use http_body_util::BodyExt as _;

use crate::app::App;
use crate::extract::whole_body;
use crate::later;
use crate::problem::Rejection;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Uploads, whose bodies are not read into memory: there a key stands for a version (see `platform::uploads`).
const OWN_FORM: [&str; 3] = ["/api/v1/plugins/{name}", "/api/v1/models/{name}", "/api/v1/files/{file}"];

/// Whether the route at `path` is a write whose key is looked after here.
fn is_ours(method: &Method, path: &str) -> bool {
    let writes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method);
    let own_form = *method == Method::PUT && OWN_FORM.contains(&path);
    writes && path.starts_with("/api/v1/") && !own_form
}

/// Runs a request that was let in, unless the same one was answered before. `path` is its route's.
pub(crate) async fn once(path: &str, request: Request, next: Next) -> Response {
    if !request.headers().contains_key(KEY) || !is_ours(request.method(), path) {
        return next.run(request).await;
    }
    keyed(request, next).await.unwrap_or_else(|fault| Rejection(fault).into_response())
}

async fn keyed(request: Request, next: Next) -> Result<Response> {
    let missing = || Fault::internal("a write stands on a public route");
    let app = request.extensions().get::<Arc<App>>().cloned().ok_or_else(missing)?;
    let caller = request.extensions().get::<Arc<Caller>>().cloned().ok_or_else(missing)?;
    let key = key(&request)?;
    let (parts, body) = request.into_parts();
    let length = parts.headers.get(CONTENT_LENGTH).cloned();
    let mut whole = Request::new(body);
    length.map(|length| whole.headers_mut().insert(CONTENT_LENGTH, length));
    let body = whole_body(whole, MAX_JSON).await?;
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let kind = parts.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let meaning = [parts.method.as_str().as_bytes(), path.as_bytes(), kind, &body];
    match app.platform().begin_write(&caller, &key, &meaning).await? {
        Write::Again(answer) => {
            let mut response = later::response(answer)?;
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            Ok(response)
        }
        Write::First(first) => {
            let response = next.run(Request::from_parts(parts, Body::from(body))).await;
            if !response.status().is_success() {
                return Ok(response);
            }
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(Fault::internal)?.to_bytes();
            let answer = answer(&parts, body.clone());
            if let Err(fault) = app.platform().end_write(&caller, first, answer).await {
                // It is done, and the caller is to know.
                tracing::warn!(%fault, cause = fault.cause(), "the answer to a write was not kept");
            }
            Ok(Response::from_parts(parts, Body::from(body)))
        }
    }
}

/// The key: a string of structured fields in double quotes, or as it is.
fn key(request: &Request) -> Result<String> {
    let mut values = request.headers().get_all(KEY).iter();
    let text = values.next().and_then(|value| value.to_str().ok()).filter(|_| values.next().is_none());
    let text = text.ok_or_else(|| Fault::invalid("`Idempotency-Key` is one line of visible ASCII"))?;
    Ok(text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).to_owned())
}

fn answer(parts: &http::response::Parts, body: Bytes) -> StoredAnswer {
    let kept = parts.headers.iter().filter(|(name, _)| *name != CONTENT_LENGTH);
    let headers = kept.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    StoredAnswer { status: parts.status.as_u16(), headers: headers.collect(), body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_write_but_an_upload_is_looked_after() {
        assert!(is_ours(&Method::POST, "/api/v1/tokens"));
        assert!(is_ours(&Method::PUT, "/api/v1/plugins/{name}/config"));
        assert!(is_ours(&Method::DELETE, "/api/v1/plugins/{name}"));
        assert!(!is_ours(&Method::PUT, "/api/v1/plugins/{name}"));
        assert!(!is_ours(&Method::GET, "/api/v1/tokens"));
        assert!(!is_ours(&Method::POST, "/v2/models/{model}/infer"));
    }
}
