//! `/v2`: the Open Inference Protocol, for models and for plugins that are called like one.

use std::convert::Infallible;
use std::sync::Arc;

use aimass_core::event::Kind;
use aimass_core::limits::MAX_INFER_BODY;
use aimass_core::name::version_number;
use aimass_core::{Code, Fault, ObjectRef, Result};
use aimass_platform::{CallOptions, Caller, Routing, Servable};
use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::HeaderName;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use serde_json::Value;

use crate::app::App;
use crate::depth::Depth;
use crate::extract::{Ask, Params, whole_body};
use crate::later::{self, Head, Vouched};
use crate::problem::Rejection;
use crate::routing::{self, Routed};
use crate::{oip, prefer};

pub(crate) async fn server() -> Answer<Value> {
    Answer(oip::server_metadata(env!("CARGO_PKG_VERSION")))
}

pub(crate) async fn live() -> Answer<Value> {
    Answer(oip::live())
}

pub(crate) async fn server_ready(State(app): State<Arc<App>>) -> Result<Answer<Value>, Rejection> {
    crate::operations::check_ready(&app)?;
    Ok(Answer(oip::ready(true)))
}

pub(crate) async fn metadata(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<Value>, Rejection> {
    let servable = servable(&app, &ask, &params)?;
    let versions = app.platform().served_versions(&ask.caller, &servable)?;
    let platform = platform(servable.kind());
    Ok(Answer(oip::model_metadata(servable.name(), &versions, platform, servable.signature()?)))
}

pub(crate) async fn config(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<Answer<Value>, Rejection> {
    let servable = servable(&app, &ask, &params)?;
    Ok(Answer(oip::model_config(servable.name(), platform(servable.kind()), servable.signature()?)))
}

pub(crate) async fn ready(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<Answer<Value>, Rejection> {
    let servable = servable(&app, &ask, &params)?;
    check_model_ready(&app, &ask.caller, &servable).await?;
    Ok(Answer(oip::model_ready(servable.name(), true)))
}

pub(crate) async fn infer(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Routed(routing): Routed,
    request: Request,
) -> Result<Response, Rejection> {
    // Before the body, so that nobody uploads tensors for a model that is not there.
    let servable = app.platform().servable_by(&ask.caller, &reference(&params)?, &routing)?;
    servable.signature()?;
    if request.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Fault::new(Code::UnsupportedMediaType, "compressed requests are not supported").into());
    }
    let header_length = request.headers().get(oip::HEADER_LENGTH).map(text).transpose()?;
    let depth = request.extensions().get().copied().unwrap_or(Depth(0)).0;
    let background = request.extensions().get::<Vouched>().is_some();
    let later = prefer::respond_async(request.headers());
    let later = later.then(|| Head::of(request.method(), request.uri(), request.headers())).transpose()?;
    let body = whole_body(request, MAX_INFER_BODY).await?;
    let later = later.map(|head| (head, body.clone()));
    let mut wanted = oip::decode_request(body, header_length.as_deref())?;
    let inputs = std::mem::take(&mut wanted.inputs);
    if let Some((head, body)) = later {
        // What cannot be right is refused while the caller is there.
        servable.signature()?.check_inputs(&inputs)?;
        return Ok(later::accept(&app, ask.asked(), head, servable.name().parse()?, depth, body).await?);
    }
    let (deadline, trace) = (wanted.timeout, ask.request.trace().clone());
    let options = CallOptions { deadline, depth, background, trace, ..CallOptions::default() };
    let outputs = app.platform().infer(&ask.caller, &servable, inputs, options, ask.request.as_str()).await?;
    let encoded = oip::encode_response(&wanted, servable.name(), &servable.version().to_string(), &outputs)?;
    let mut response = respond(encoded);
    routing::served(&mut response, servable.version());
    Ok(response)
}

/// Whether it can serve; loads what is not in memory.
///
/// # Errors
/// `unsupported_operation` for a plugin that is only an HTTP function; `conflict` for what was unloaded; what loading
/// says.
pub(crate) async fn check_model_ready(app: &App, caller: &Caller, servable: &Servable) -> Result<()> {
    servable.signature()?;
    app.platform().check_ready(caller, servable).await
}

/// What runs it, in the word of the protocol's `platform`.
pub(crate) fn platform(kind: Kind) -> &'static str {
    match kind {
        Kind::Model => "onnx",
        Kind::Plugin => "wasm",
    }
}

/// Finds what a message names, to ask about it or, by `routing`, to call it. Without a version it is what the name
/// means.
///
/// # Errors
/// As [`Platform::servable_by`](aimass_platform::Platform::servable_by); `invalid_name`.
pub(crate) fn named(app: &App, caller: &Caller, (name, version): (&str, &str), routing: &Routing) -> Result<Servable> {
    let version = if version.is_empty() { None } else { Some(version_number(version)?) };
    app.platform().servable_by(caller, &routing::reference(name, version)?, routing)
}

/// Finds what the path names, to ask about it.
fn servable(app: &App, ask: &Ask, params: &Params) -> Result<Servable> {
    app.platform().servable(&ask.caller, &reference(params)?)
}

/// What the path names: a name, `name:alias`, or a name and a version.
fn reference(params: &Params) -> Result<ObjectRef> {
    routing::reference(params.text("model")?, params.version()?)
}

fn respond(encoded: oip::Encoded) -> Response {
    let length = encoded.len();
    let header_length = encoded.header_length;
    let body = match encoded.chunks.len() {
        1 => Body::from(encoded.into_body()),
        // JSON and tensors go out as they are, without being joined first.
        _ => Body::from_stream(futures_util::stream::iter(encoded.chunks.into_iter().map(Ok::<_, Infallible>))),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    let kind = if header_length.is_some() { "application/octet-stream" } else { "application/json" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(json) = header_length {
        headers.insert(HeaderName::from_static(oip::HEADER_LENGTH), HeaderValue::from(json));
    }
    response
}

fn text(value: &HeaderValue) -> Result<String> {
    let text = value.to_str().map_err(|_| Fault::invalid(format!("`{}` is not a number", oip::HEADER_LENGTH)))?;
    Ok(text.to_owned())
}
