//! Routes for those who run the node: health, metrics, public keys.

use std::sync::Arc;

use aimass_core::{Code, Fault};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, Uri};
use prometheus_client::encoding::text::encode_eof;
use serde_json::{Value, json};

use crate::app::App;
use crate::guard::caller;
use crate::metrics::models;
use crate::problem::Rejection;

/// The process lives.
pub(crate) async fn health() -> axum::Json<Value> {
    axum::Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// The process can serve and wants to.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<axum::Json<Value>, Rejection> {
    check_ready(&app)?;
    Ok(axum::Json(json!({ "status": "ready" })))
}

/// Whatever keeps the node from serving, a load balancer hears 503.
pub(crate) fn check_ready(app: &App) -> Result<(), Fault> {
    app.ready().map_err(|fault| {
        let cause = fault.cause().unwrap_or_default().to_owned();
        Fault::new(Code::Unavailable, fault.detail()).caused_by(cause)
    })
}

/// The node's metrics; with a tenant's token that tenant's models as well, with the operator's everybody's.
pub(crate) async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Rejection> {
    let mut text = String::new();
    app.metrics().write(app.platform().residency(), &mut text).map_err(Fault::internal)?;
    if headers.contains_key(AUTHORIZATION) {
        let caller = caller(&app, &headers).await?;
        models::write(&app.platform().observed(&caller)?, &mut text).map_err(Fault::internal)?;
    }
    encode_eof(&mut text).map_err(Fault::internal)?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

pub(crate) async fn jwks(State(app): State<Arc<App>>) -> axum::Json<Value> {
    axum::Json(app.platform().auth().jwks())
}

/// What this API is, for programs.
pub(crate) async fn openapi() -> ([(HeaderName, &'static str); 1], Bytes) {
    ([(CONTENT_TYPE, "application/json")], crate::openapi::bytes())
}

pub(crate) async fn unknown(uri: Uri) -> Rejection {
    if uri.path().starts_with(crate::grpc::PREFIX) {
        return Rejection(Fault::new(Code::UnsupportedOperation, "this method is not offered"));
    }
    Rejection(Fault::new(Code::NotFound, "there is no such route"))
}

pub(crate) async fn wrong_method() -> Rejection {
    Rejection(Fault::new(Code::MethodNotAllowed, "the route exists, but not with this method"))
}
