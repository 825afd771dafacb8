//! One request, one answer.

use std::sync::Arc;

use aimass_core::limits::MAX_INFER_BODY;
use aimass_core::{Result, Tensor};
use aimass_platform::{CallOptions, Caller, Routing, Servable};
use axum::extract::State;

use super::frame::{Incoming, Patience, Reply, Unary};
use super::messages::{ModelInferRequest, ModelInferResponse};
use super::tensors;
use crate::app::App;
use crate::extract::Ask;
use crate::problem::Rejection;
use crate::request::RequestId;
use crate::routing::Routed;
use crate::{oip, v2};

impl Incoming for ModelInferRequest {
    const LIMIT: usize = MAX_INFER_BODY;

    fn check(encoded: &[u8]) -> Result<()> {
        tensors::check_head(encoded)
    }
}

pub(crate) async fn infer(
    State(app): State<Arc<App>>,
    ask: Ask,
    patience: Patience,
    Routed(routing): Routed,
    Unary(request): Unary<ModelInferRequest>,
) -> Result<Reply<ModelInferResponse>, Rejection> {
    Ok(Reply(call(&app, &ask.caller, patience, &routing, request, &ask.request).await?))
}

/// Runs one request.
pub(super) async fn call(
    app: &App,
    caller: &Caller,
    patience: Patience,
    routing: &Routing,
    request: ModelInferRequest,
    id: &RequestId,
) -> Result<ModelInferResponse> {
    // Before its tensors are read, so that nobody's model costs nothing.
    let servable = v2::named(app, caller, (&request.model_name, &request.model_version), routing)?;
    servable.signature()?;
    let mut wanted = tensors::read(request)?;
    let inputs = std::mem::take(&mut wanted.inputs);
    // Guests send HTTP/1 only, so nothing stands above a call over gRPC.
    let (deadline, trace) = (patience.within(wanted.timeout), id.trace().clone());
    let options = CallOptions { deadline, trace, ..CallOptions::default() };
    let outputs = app.platform().infer(caller, &servable, inputs, options, id.as_str()).await?;
    answer(&wanted, &servable, &outputs)
}

fn answer(wanted: &oip::InferRequest, servable: &Servable, outputs: &[Tensor]) -> Result<ModelInferResponse> {
    let chosen = oip::chosen(wanted, outputs)?;
    let (outputs, raw_output_contents) = chosen.into_iter().map(|(tensor, _)| tensors::write(tensor)).unzip();
    Ok(ModelInferResponse {
        model_name: servable.name().to_owned(),
        model_version: servable.version().to_string(),
        id: wanted.id.clone().unwrap_or_default(),
        outputs,
        raw_output_contents,
        ..ModelInferResponse::default()
    })
}
