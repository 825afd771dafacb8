//! Calls that are answered later (`Prefer: respond-async`, RFC 7240 section 4.1): taken in here, and run here again.

use std::error::Error as _;
use std::sync::Arc;

use aimass_core::limits::CALL_DEPTH;
use aimass_core::{Code, Fault, Name, Result};
use aimass_platform::{Asked, Attempt, CallWish, Caller, InvocationDocument, Ran, Runner, StoredAnswer, StoredRequest};
use async_trait::async_trait;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, DATE, EXPECT, HOST, LOCATION, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::BodyExt as _;

use crate::app::{App, answer};
use crate::depth::Depth;
use crate::problem::{Rejection, finish};
use crate::request::RequestId;

/// Says to a guest which asynchronous call it serves; the same for every attempt.
pub(crate) const INVOCATION: HeaderName = HeaderName::from_static("aimass-invocation-id");
/// Says to a guest which attempt of the call it is, from 1.
pub(crate) const ATTEMPT: HeaderName = HeaderName::from_static("aimass-attempt");
/// The webhook endpoint that is told of the call's end.
const CALLBACK: HeaderName = HeaderName::from_static("aimass-callback");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Header fields of the connection alone (RFC 9110, section 7.6.1), which mean nothing later.
const CONNECTION: [&str; 6] = ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

/// On whose behalf a request is answered that did not come over the network.
#[derive(Clone)]
pub(crate) struct Vouched {
    pub(crate) caller: Arc<Caller>,
    /// The asynchronous call that it is an attempt of.
    pub(crate) call: Arc<str>,
}

/// The head of a request that is answered later.
pub(crate) struct Head {
    request: StoredRequest,
    idempotency_key: Option<String>,
    callback: Option<Name>,
}

impl Head {
    /// The head of a request, as it came.
    ///
    /// # Errors
    /// `invalid_request` for header fields that are no text.
    pub(crate) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Self> {
        let one = |name: &HeaderName| -> Result<Option<String>> {
            let mut values = headers.get_all(name).iter();
            let Some(value) = values.next() else { return Ok(None) };
            let text = value.to_str().ok().filter(|_| values.next().is_none()).map(str::to_owned);
            text.map(Some).ok_or_else(|| Fault::invalid(format!("the header `{name}` is one line of visible ASCII")))
        };
        let mut kept = vec![];
        for (name, value) in headers {
            if !is_left_out(name) {
                let text = std::str::from_utf8(value.as_bytes());
                let text = text.map_err(|_| Fault::invalid(format!("the header `{name}` is not valid UTF-8")))?;
                kept.push((name.as_str().to_owned(), text.to_owned()));
            }
        }
        // HTTP/2 says it elsewhere.
        if let (None, Some(authority)) = (headers.get(HOST), uri.authority()) {
            kept.push((HOST.as_str().to_owned(), authority.as_str().to_owned()));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let request = StoredRequest { method: method.to_string(), path, headers: kept, body: Bytes::new() };
        let callback = one(&CALLBACK)?.map(|name| name.parse()).transpose()?;
        Ok(Self { request, idempotency_key: one(&IDEMPOTENCY_KEY)?, callback })
    }
}

fn is_left_out(name: &HeaderName) -> bool {
    let ours = [&AUTHORIZATION, &PREFER, &IDEMPOTENCY_KEY, &CALLBACK, &CONTENT_LENGTH, &EXPECT, &TRAILER];
    ours.contains(&name)
        || [&INVOCATION, &ATTEMPT].contains(&name)
        || name == CALL_DEPTH
        || CONNECTION.contains(&name.as_str())
}

/// Takes a call in that was checked. It is durable when this answers.
pub(crate) async fn accept(
    app: &App,
    asked: Asked<'_>,
    head: Head,
    subject: Name,
    depth: u32,
    body: Bytes,
) -> Result<Response> {
    let Head { request, idempotency_key, callback } = head;
    let request = StoredRequest { body, ..request };
    let wish = CallWish { subject, request, depth, idempotency_key, callback };
    Ok(accepted(app.platform().accept_call(asked, wish).await?))
}

fn accepted(call: InvocationDocument) -> Response {
    let location = format!("/api/v1/invocations/{}", call.id);
    let applied = HeaderName::from_static("preference-applied");
    let headers = [(LOCATION, location), (applied, "respond-async".to_owned())];
    (StatusCode::ACCEPTED, headers, Json(call)).into_response()
}

/// What an asynchronous call was answered with, as an answer of its own.
pub(crate) fn result(call: &InvocationDocument, answer: StoredAnswer) -> Result<Response> {
    let mut response = response(answer)?;
    // So that nobody takes the call's own 404 for this API's.
    response.headers_mut().insert(INVOCATION, HeaderValue::from_str(&call.id).map_err(Fault::internal)?);
    response.headers_mut().insert(ATTEMPT, HeaderValue::from(call.progress.attempts));
    Ok(response)
}

/// An answer that was kept.
pub(crate) fn response(answer: StoredAnswer) -> Result<Response> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(Fault::internal)?;
    *response.headers_mut() = headers(&answer.headers)?;
    Ok(response)
}

fn headers(stored: &[(String, String)]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(stored.len());
    for (name, value) in stored {
        let name = HeaderName::try_from(name).map_err(Fault::internal)?;
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).map_err(Fault::internal)?);
    }
    Ok(headers)
}

/// Runs accepted calls through the routes that they came by.
pub(crate) struct Replay {
    app: Arc<App>,
    router: Router,
}

impl Replay {
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self { router: app.router(), app }
    }

    async fn attempt(&self, attempt: Attempt, id: &RequestId) -> Result<(String, Response)> {
        let Attempt { id: call, number, caller, depth, request } = attempt;
        let mut again = Request::new(Body::from(request.body));
        *again.method_mut() = request.method.parse().map_err(Fault::internal)?;
        *again.uri_mut() = request.path.parse().map_err(Fault::internal)?;
        *again.headers_mut() = headers(&request.headers)?;
        again.headers_mut().insert(INVOCATION, HeaderValue::from_str(&call).map_err(Fault::internal)?);
        again.headers_mut().insert(ATTEMPT, HeaderValue::from(number));
        let path = again.uri().path().to_owned();
        let vouched = Vouched { caller, call: call.into() };
        let response = answer(&self.app, self.router.clone(), again, Depth(depth), id, Some(vouched)).await;
        Ok((path, whole(response).await))
    }
}

#[async_trait]
impl Runner for Replay {
    async fn run(&self, attempt: Attempt) -> Ran {
        let id = RequestId::named(&format!("{}.{}", attempt.id, attempt.number));
        let (path, response) = self
            .attempt(attempt, &id)
            .await
            .unwrap_or_else(|fault| ("/api/".to_owned(), Rejection(fault).into_response()));
        let fault = response.extensions().get::<Fault>().cloned();
        let (parts, body) = finish(&path, id.as_str(), response).into_parts();
        // It is whole already.
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let left_out =
            |name: &HeaderName| [&CONTENT_LENGTH, &DATE].contains(&name) || CONNECTION.contains(&name.as_str());
        let kept = parts.headers.iter().filter(|(name, _)| !left_out(name));
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = kept.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        Ran { answer: StoredAnswer { status: parts.status.as_u16(), headers, body }, fault }
    }
}

/// The answer with all of its body; one that breaks off is the fault that it broke off with.
async fn whole(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => Response::from_parts(parts, Body::from(body.to_bytes())),
        Err(error) => {
            let fault = error.source().and_then(|source| source.downcast_ref::<Fault>()).cloned();
            let broken = || Fault::new(Code::PluginFault, "the answer broke off").caused_by(&error);
            Rejection(fault.unwrap_or_else(broken)).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_request_is_neither_the_connections_nor_a_secret() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("connection", "keep-alive"),
            ("content-length", "3"),
            ("content-type", "text/plain"),
            ("prefer", "respond-async"),
            ("idempotency-key", "k"),
            ("aimass-callback", "done"),
            ("aimass-invocation-id", "forged"),
            ("aimass-attempt", "9"),
            ("x-mine", "1"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let uri = "https://node.example/fn/acme/hello?x=1".parse().unwrap();
        let head = Head::of(&Method::POST, &uri, &headers).unwrap();
        let kept: Vec<_> = head.request.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(kept, ["content-type", "x-mine", "host"]);
        assert_eq!(head.request.path, "/fn/acme/hello?x=1");
        assert_eq!((head.idempotency_key.as_deref(), head.callback.unwrap().as_str()), (Some("k"), "done"));
        headers.append("idempotency-key", HeaderValue::from_static("another"));
        assert!(Head::of(&Method::POST, &uri, &headers).is_err());
    }
}
