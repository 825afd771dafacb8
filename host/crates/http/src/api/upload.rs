//! The body of an upload, streamed to the store, and uploads that are compiled in the background.

use std::sync::Arc;
use std::time::Duration;

use aimass_core::event::{Device, Kind};
use aimass_core::limits::{MAX_COMPONENT, MAX_MODEL};
use aimass_core::{Code, Digest, Fault, Result};
use aimass_platform::{Page, UploadDocument, UploadEnd, UploadRequest, Uploaded, VersionDocument};
use axum::Json as Answer;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LOCATION, ETAG, IF_MATCH, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::extract::{Ask, Paging, Params, Query, announced_length, next_chunk};
use crate::openapi::Problem;
use crate::prefer::preferences;
use crate::problem::{Rejection, document};

/// A plugin's signature: `ed25519`, the public key and the signature, both base64.
pub(crate) const SIGNATURE: &str = "aimass-signature";

/// The longest that a request may wait for its component to be compiled.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// `?allow-new-imports=true` of a plugin's upload.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct PluginWish {
    /// Whether the version may import what the one before does not.
    allow_new_imports: bool,
}

/// 201 for a new version, 200 for one that stood already, 202 for one that is compiled in the background.
pub(crate) async fn receive(
    app: &App,
    ask: &Ask,
    params: &Params,
    (kind, device, wish): (Kind, Device, PluginWish),
    request: Request,
) -> Result<Response> {
    let idempotency_key = visible(request.headers(), "idempotency-key")?;
    let limit = if kind == Kind::Plugin { MAX_COMPONENT } else { MAX_MODEL };
    if announced_length(request.headers()).is_some_and(|length| length > limit) {
        return Err(Fault::new(Code::PayloadTooLarge, format!("a {} is at most {limit} bytes", kind.as_str())));
    }
    let wait = preferred_wait(request.headers());
    let wanted = UploadRequest {
        kind,
        name: params.get("name")?,
        idempotency_key,
        device,
        expected: expected(request.headers())?,
        signature: visible(request.headers(), SIGNATURE)?,
        allow_new_imports: wish.allow_new_imports,
        wait,
    };
    let platform = app.platform();
    let end = match platform.begin_upload(ask.asked(), wanted).await? {
        Err(repeated) => UploadEnd::Done(repeated),
        Ok(mut upload) => {
            let mut body = request.into_body();
            while let Some(chunk) = next_chunk(&mut body).await? {
                upload.write(&chunk).await?;
            }
            platform.finish_upload(ask.asked(), upload).await?
        }
    };
    let mut response = match end {
        UploadEnd::Done(Uploaded { version, created }) => {
            let status = if created { StatusCode::CREATED } else { StatusCode::OK };
            (status, headers(&version), Answer(version)).into_response()
        }
        UploadEnd::Accepted(upload) => {
            let headers = [(LOCATION, format!("/api/v1/uploads/{}", upload.id)), (RETRY_AFTER, "1".to_owned())];
            (StatusCode::ACCEPTED, headers, Answer(Status::of(upload, ask))).into_response()
        }
    };
    if let Some(applied) = wait.and_then(|wait| HeaderValue::from_str(&format!("wait={}", wait.as_secs())).ok()) {
        response.headers_mut().insert(HeaderName::from_static("preference-applied"), applied);
    }
    Ok(response)
}

/// How far an upload is; with the problem that it failed of, as if the upload itself had been answered with it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UploadStatus")]
pub(crate) struct Status {
    #[serde(flatten)]
    upload: UploadDocument,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// Why it failed.
    #[schemars(with = "Option<Problem>")]
    problem: Option<Value>,
}

impl Status {
    fn of(upload: UploadDocument, ask: &Ask) -> Self {
        let problem = upload.failure.as_ref().map(|fault| document(fault, ask.request.as_str()));
        Self { upload, problem }
    }
}

pub(crate) async fn show(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<Answer<Status>, Rejection> {
    let upload = app.platform().upload(ask.asked(), params.text("upload")?)?;
    Ok(Answer(Status::of(upload, &ask)))
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<Status>>, Rejection> {
    let page = app.platform().uploads(ask.asked(), paging.after.as_deref(), paging.limit)?;
    let items = page.items.into_iter().map(|upload| Status::of(upload, &ask)).collect();
    Ok(Answer(Page { items, next: page.next }))
}

fn headers(version: &VersionDocument) -> [(HeaderName, String); 2] {
    let location = format!("/api/v1/{}s/{}/versions/{}", version.kind.as_str(), version.name, version.version);
    [(CONTENT_LOCATION, location), (ETAG, format!("\"{}\"", version.digest))]
}

/// A header's text.
fn visible(headers: &HeaderMap, name: &str) -> Result<Option<String>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Fault::invalid(format!("the header `{name}` is visible ASCII")))?;
    Ok(Some(text.to_owned()))
}

/// `If-Match: "sha256:…"`: the tag that an upload or a look at a version answered with.
pub(super) fn expected(headers: &HeaderMap) -> Result<Option<Digest>> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let tag = value.to_str().ok().and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
    let tag = tag.ok_or_else(|| Fault::invalid("`If-Match` is a version's digest in double quotes"))?;
    tag.parse().map(Some)
}

/// `Prefer: wait=N` and `Prefer: respond-async` (RFC 7240), which does not wait.
fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    preferences(headers).find_map(|(name, value)| match name.as_str() {
        "wait" => value.parse().ok().map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT)),
        "respond-async" => Some(Duration::ZERO),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_as_rfc_7240_writes_them() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("prefer", HeaderValue::from_static(value));
            }
            preferred_wait(&headers)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["wait=10"]), Some(Duration::from_secs(10)));
        assert_eq!(of(&["return=minimal, Wait = \"7\""]), Some(Duration::from_secs(7)));
        assert_eq!(of(&["handling=lenient", "wait=100000"]), Some(LONGEST_WAIT));
        assert_eq!(of(&["respond-async, wait=5"]), Some(Duration::ZERO));
        assert_eq!(of(&["wait=soon", "wait=-1"]), None);
    }
}
