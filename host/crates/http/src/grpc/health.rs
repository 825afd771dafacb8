//! The server's own health and metadata.

use std::sync::Arc;

use axum::extract::State;

use super::frame::{Incoming, Reply, Unary};
use super::messages::{
    ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest,
    ServerReadyResponse,
};
use crate::app::App;
use crate::{oip, operations};

impl Incoming for ServerLiveRequest {}
impl Incoming for ServerReadyRequest {}
impl Incoming for ServerMetadataRequest {}

pub(crate) async fn live(_: Unary<ServerLiveRequest>) -> Reply<ServerLiveResponse> {
    Reply(ServerLiveResponse { live: true })
}

/// A server that is not ready says so; that is no failure of the call.
pub(crate) async fn ready(State(app): State<Arc<App>>, _: Unary<ServerReadyRequest>) -> Reply<ServerReadyResponse> {
    Reply(ServerReadyResponse { ready: operations::check_ready(&app).is_ok() })
}

pub(crate) async fn server(_: Unary<ServerMetadataRequest>) -> Reply<ServerMetadataResponse> {
    Reply(ServerMetadataResponse {
        name: oip::SERVER_NAME.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: oip::EXTENSIONS.iter().map(|&name| name.to_owned()).collect(),
    })
}
