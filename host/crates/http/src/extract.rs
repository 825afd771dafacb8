//! Extractors whose refusals are faults.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aimass_core::limits::MAX_JSON;
use aimass_core::{Code, Fault, Result};
use aimass_platform::{Asked, Caller};
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body_util::BodyExt;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::later::Vouched;
use crate::linger::Broken;
use crate::problem::Rejection;
use crate::request::RequestId;

/// A body whose next bytes do not come within this time is given up.
pub(crate) const BODY_IDLE: Duration = Duration::from_secs(30);

/// Who asks: put into the request by the guard.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) caller: Arc<Caller>,
    pub(crate) request: RequestId,
    /// The asynchronous call that the request is an attempt of.
    call: Option<Arc<str>>,
}

impl Ask {
    /// Somebody who asks now.
    pub(crate) fn new(caller: Arc<Caller>, request: RequestId) -> Self {
        Self { caller, request, call: None }
    }

    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked { by: &self.caller, request: self.request.as_str() }
    }

    /// The id of what the request makes: every attempt of a call makes the same.
    pub(crate) fn id(&self) -> &str {
        self.call.as_deref().unwrap_or(self.request.as_str())
    }
}

impl<S: Sync> FromRequestParts<S> for Ask {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let caller = parts.extensions.get::<Arc<Caller>>().cloned();
        let request = parts.extensions.get::<RequestId>().cloned();
        let (caller, request) = caller
            .zip(request)
            .ok_or_else(|| Fault::internal("a handler that needs a caller stands on a public route"))?;
        let call = parts.extensions.get::<Vouched>().map(|vouched| vouched.call.clone());
        Ok(Self { caller, request, call })
    }
}

/// The path's parameters by name.
pub(crate) struct Params(HashMap<String, String>);

impl Params {
    /// A parameter in its type.
    pub(crate) fn get<T: std::str::FromStr<Err = Fault>>(&self, name: &str) -> Result<T> {
        self.text(name)?.parse()
    }

    /// A parameter as text.
    pub(crate) fn text(&self, name: &str) -> Result<&str> {
        self.0.get(name).map(String::as_str).ok_or_else(|| Fault::internal(format!("no parameter {name}")))
    }

    /// A version number.
    pub(crate) fn version(&self) -> Result<Option<u64>> {
        self.0.get("version").map(|text| aimass_core::name::version_number(text)).transpose()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        match axum::extract::Path::<HashMap<String, String>>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(map)) => Ok(Self(map)),
            // Only bytes that are no UTF-8 end here.
            Err(_) => Err(Fault::new(Code::InvalidName, "the path is not valid UTF-8").into()),
        }
    }
}

/// `?after=…&limit=…` of a list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Paging {
    /// Where the page begins: `next` of the page before.
    pub(crate) after: Option<String>,
    /// At most so many rows; 100 at most.
    pub(crate) limit: Option<usize>,
}

impl Paging {
    /// The cursor in its type.
    pub(crate) fn after<T: std::str::FromStr<Err = Fault>>(&self) -> Result<Option<T>> {
        self.after.as_deref().map(str::parse).transpose()
    }

    /// The cursor of a list of versions.
    pub(crate) fn after_version(&self) -> Result<Option<u64>> {
        self.after.as_deref().map(aimass_core::name::version_number).transpose()
    }
}

/// The query in its type; unknown parameters are refused by the type.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(refused) => Err(Fault::invalid(format!("the query is not valid: {}", refused.body_text())).into()),
        }
    }
}

/// A JSON body in its type; unknown fields are refused by the type.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Rejection;

    async fn from_request(request: Request, _: &S) -> Result<Self, Rejection> {
        let bytes = whole_body(request, MAX_JSON).await?;
        let value =
            serde_json::from_slice(&bytes).map_err(|e| Fault::invalid(format!("the body is not valid: {e}")))?;
        Ok(Self(value))
    }
}

/// The whole body, up to `limit` bytes.
pub(crate) async fn whole_body(request: Request, limit: usize) -> Result<Bytes> {
    let too_large = || Fault::new(Code::PayloadTooLarge, format!("the body is at most {limit} bytes"));
    if announced_length(request.headers()).is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let expected = announced_length(request.headers()).unwrap_or_default();
    let mut body = request.into_body();
    let Some(first) = next_chunk(&mut body).await? else { return Ok(Bytes::new()) };
    let Some(second) = next_chunk(&mut body).await? else {
        return if first.len() > limit { Err(too_large()) } else { Ok(first) };
    };
    // What is announced is not there yet, so only so much is believed in advance.
    let mut all = BytesMut::with_capacity(
        usize::try_from(expected).unwrap_or(limit).clamp(first.len(), (1 << 20).max(first.len())),
    );
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    while let Some(chunk) = next_chunk(&mut body).await? {
        if all.len() + chunk.len() > limit {
            return Err(too_large());
        }
        all.extend_from_slice(&chunk);
    }
    if all.len() > limit { Err(too_large()) } else { Ok(all.freeze()) }
}

/// The next bytes of a body, or none at its end.
pub(crate) async fn next_chunk(body: &mut Body) -> Result<Option<Bytes>> {
    loop {
        let frame = tokio::time::timeout(BODY_IDLE, body.frame())
            .await
            .map_err(|_| Fault::invalid(format!("no bytes of the body came for {} s", BODY_IDLE.as_secs())))?;
        match frame {
            None => return Ok(None),
            Some(Err(e)) if is_slow(&e) => return Err(Fault::invalid("the body comes too slowly")),
            Some(Err(e)) => return Err(Fault::invalid("the body ended early").caused_by(e)),
            // Trailers mean nothing here.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

fn is_slow(error: &axum::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|e| e.downcast_ref());
    matches!(source, Some(Broken::Slow))
}

/// The length that the headers announce.
pub(crate) fn announced_length(headers: &http::HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
