//! The body of an upload, streamed to the store.

use aimass_core::event::{Device, Kind};
use aimass_core::limits::{MAX_COMPONENT, MAX_MODEL};
use aimass_core::{Code, Digest, Fault, Result};
use aimass_platform::{UploadRequest, VersionDocument};
use axum::Json as Answer;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LOCATION, ETAG, IF_MATCH};
use http::{HeaderMap, StatusCode};

use crate::app::App;
use crate::extract::{Ask, Params, announced_length, next_chunk};

/// 201 for a new version, 200 for one that stood already.
pub(super) async fn receive(
    app: &App,
    ask: &Ask,
    params: &Params,
    kind: Kind,
    device: Device,
    request: Request,
) -> Result<Response> {
    let idempotency_key = idempotency_key(request.headers())?;
    let limit = if kind == Kind::Plugin { MAX_COMPONENT } else { MAX_MODEL };
    if announced_length(request.headers()).is_some_and(|length| length > limit) {
        return Err(Fault::new(Code::PayloadTooLarge, format!("a {} is at most {limit} bytes", kind.as_str())));
    }
    let expected = expected(request.headers())?;
    let wanted = UploadRequest { kind, name: params.get("name")?, idempotency_key, device, expected };
    let platform = app.platform();
    let uploaded = match platform.begin_upload(ask.asked(), wanted).await? {
        Err(repeated) => repeated,
        Ok(mut upload) => {
            let mut body = request.into_body();
            while let Some(chunk) = next_chunk(&mut body).await? {
                upload.write(&chunk).await?;
            }
            platform.finish_upload(ask.asked(), upload).await?
        }
    };
    let status = if uploaded.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, headers(&uploaded.version), Answer(uploaded.version)).into_response())
}

fn headers(version: &VersionDocument) -> [(http::HeaderName, String); 2] {
    let location = format!("/api/v1/{}s/{}/versions/{}", version.kind.as_str(), version.name, version.version);
    [(CONTENT_LOCATION, location), (ETAG, format!("\"{}\"", version.digest))]
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().map_err(|_| Fault::invalid("an `Idempotency-Key` is visible ASCII"))?;
    Ok(Some(text.to_owned()))
}

/// `If-Match: "sha256:…"`: the tag that an upload or a look at a version answered with.
fn expected(headers: &HeaderMap) -> Result<Option<Digest>> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let tag = value.to_str().ok().and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
    let tag = tag.ok_or_else(|| Fault::invalid("`If-Match` is a version's digest in double quotes"))?;
    tag.parse().map(Some)
}
