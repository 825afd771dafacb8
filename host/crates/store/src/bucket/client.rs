//! How requests to buckets are sent: by the platform's own sender, which asks the tenant's egress rules, checks every
//! address, and counts. `object_store` is built without a client of its own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aimass_core::outgoing::{Outgoing, OutgoingCall, OutgoingError};
use aimass_core::{Code, Fault};
use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderValue;
use http::header::USER_AGENT;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};

/// Bytes of an answer: what the largest object that is read has, and more than a page of names can be.
pub(super) const MAX_ANSWER: usize = 17 << 20;

/// Characters of what a storage says of an error, as they are shown.
const MAX_SAID: usize = 200;

/// What went wrong last, in words: the library knows it as one of many errors within errors.
#[derive(Debug, Default)]
pub(super) struct Failure(Mutex<Option<String>>);

impl Failure {
    fn set(&self, failure: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// The library's error as a fault that says what the request came to.
    pub(super) fn fault(&self, error: &object_store::Error) -> Fault {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let code = match error {
            object_store::Error::PermissionDenied { .. } => Code::Conflict,
            _ => Code::Unavailable,
        };
        // What the library says of it quotes the answer.
        said.map_or_else(|| super::odd(error), |said| Fault::new(code, said))
    }
}

/// Sends for one bucket.
#[derive(Clone)]
pub(super) struct Client {
    sender: Arc<dyn Outgoing>,
    call: OutgoingCall,
    failure: Arc<Failure>,
}

impl Client {
    pub(super) fn new(sender: Arc<dyn Outgoing>, call: OutgoingCall, failure: Arc<Failure>) -> Self {
        Self { sender, call, failure }
    }

    async fn send(&self, request: HttpRequest) -> Result<http::Response<Bytes>, OutgoingError> {
        let mut request = request.map(|body| body.map_err(|_| OutgoingError::Internal).boxed_unsync());
        let agent = HeaderValue::from_static(concat!("aimass/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        let (parts, body) = self.sender.send(self.call.clone(), request).await?.into_parts();
        let bytes = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| {
            match error.downcast::<OutgoingError>() {
                Ok(error) => *error,
                Err(error) if error.is::<LengthLimitError>() => OutgoingError::ResponseTooLarge(MAX_ANSWER as u64),
                Err(_) => OutgoingError::Internal,
            }
        })?;
        Ok(http::Response::from_parts(parts, bytes.to_bytes()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("tenant", &self.call.tenant).finish_non_exhaustive()
    }
}

impl HttpConnector for Client {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        match self.send(request).await {
            Ok(answer) => {
                self.failure.set(said(&answer));
                Ok(answer.map(Into::into))
            }
            Err(error) => {
                self.failure.set(Some(error.to_string()));
                Err(HttpError::new(kind(&error), error))
            }
        }
    }
}

/// Which errors are worth another attempt: not those that are the rules'.
fn kind(error: &OutgoingError) -> HttpErrorKind {
    match error {
        OutgoingError::ConnectionRefused(_) | OutgoingError::Unreachable(_) => HttpErrorKind::Connect,
        OutgoingError::Broken(_) => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    }
}

/// What an answer says went wrong: `SignatureDoesNotMatch`, for example. The rest of it may hold whatever was sent.
fn said(answer: &http::Response<Bytes>) -> Option<String> {
    let status = answer.status();
    if status.is_success() {
        return None;
    }
    let text = String::from_utf8_lossy(answer.body());
    let between = |tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        let (inner, _) = rest.split_once('<')?;
        let plain: String = inner.chars().filter(|c| !c.is_control()).take(MAX_SAID).collect();
        (!plain.is_empty()).then_some(plain)
    };
    let words = [between("Code"), between("Message")].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let behind = if words.is_empty() { String::new() } else { format!(": {words}") };
    Some(format!("the storage answered with status {}{behind}", status.as_u16()))
}
