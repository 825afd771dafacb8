//! `/api/v1/plugins/{name}/events`: events for a plugin, as the HTTP binding of CloudEvents has them.

use std::sync::Arc;

use aimass_core::cloud_event::{CloudEvent, DOCUMENT_CONTENT_TYPE};
use aimass_core::limits::MAX_JSON;
use aimass_core::{Code, Fault, Name, ObjectRef, Result, Selector};
use aimass_platform::CallOptions;
use axum::extract::{Request, State};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::app::App;
use crate::depth::Depth;
use crate::extract::{Ask, Params, Query, whole_body};
use crate::later::Vouched;
use crate::problem::Rejection;

/// Which version is told.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Its number.
    version: Option<u64>,
    /// Or an alias that means it.
    alias: Option<Name>,
}

impl Which {
    /// That of the plugin with this name.
    ///
    /// # Errors
    /// `invalid_request` if both are said.
    pub(crate) fn of(self, name: Name) -> Result<ObjectRef> {
        let selector = match self {
            Self { version: None, alias: None } => Selector::Latest,
            Self { version: Some(number), alias: None } => Selector::Version(number),
            Self { version: None, alias: Some(alias) } => Selector::Alias(alias),
            _ => return Err(Fault::invalid("`version` and `alias` are not said together")),
        };
        Ok(ObjectRef { name, selector })
    }
}

pub(crate) async fn tell(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(which): Query<Which>,
    request: Request,
) -> Result<StatusCode, Rejection> {
    let reference = which.of(params.get("name")?)?;
    // Before the body, as for inference.
    app.platform().may_tell(&ask.caller, &reference)?;
    let depth = request.extensions().get().copied().unwrap_or(Depth(0)).0;
    let background = request.extensions().get::<Vouched>().is_some();
    let trace = ask.request.trace().clone();
    let options = CallOptions { depth, background, trace, ..CallOptions::default() };
    let headers = request.headers().clone();
    let event = read(&headers, &whole_body(request, MAX_JSON).await?)?;
    app.platform().tell(&ask.caller, &reference, event, options, ask.request.as_str()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An event in structured or binary mode.
///
/// # Errors
/// `invalid_request`; `unsupported_media_type` for another format, or a batch.
fn read(headers: &HeaderMap, body: &Bytes) -> Result<CloudEvent> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == DOCUMENT_CONTENT_TYPE {
        let document =
            serde_json::from_slice(body).map_err(|e| Fault::invalid(format!("the body is not valid: {e}")))?;
        return CloudEvent::from_document(&document);
    }
    if kind.starts_with("application/cloudevents") {
        return Err(Fault::new(Code::UnsupportedMediaType, format!("an event comes as {DOCUMENT_CONTENT_TYPE}")));
    }
    let headers =
        headers.iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    CloudEvent::from_headers(headers, body.to_vec())
}
