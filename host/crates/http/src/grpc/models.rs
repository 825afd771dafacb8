//! A model's readiness, metadata and configuration.

use std::sync::Arc;

use aimass_core::{Code, Port, Result};
use aimass_platform::Routing;
use axum::extract::State;

use super::frame::{Incoming, Reply, Unary};
use super::messages::{
    ModelConfig, ModelConfigRequest, ModelConfigResponse, ModelInput, ModelMetadataRequest, ModelMetadataResponse,
    ModelOutput, ModelReadyRequest, ModelReadyResponse, TensorMetadata,
};
use crate::app::App;
use crate::extract::Ask;
use crate::problem::Rejection;
use crate::{oip, v2};

impl Incoming for ModelReadyRequest {}
impl Incoming for ModelMetadataRequest {}
impl Incoming for ModelConfigRequest {}

/// What is not there, was unloaded or is no model is not ready; that is an answer, as in Triton.
pub(crate) async fn ready(
    State(app): State<Arc<App>>,
    ask: Ask,
    Unary(request): Unary<ModelReadyRequest>,
) -> Result<Reply<ModelReadyResponse>, Rejection> {
    let ready = async {
        let servable = v2::named(&app, &ask.caller, (&request.name, &request.version), &Routing::main())?;
        v2::check_model_ready(&app, &ask.caller, &servable).await
    };
    match ready.await {
        Ok(()) => Ok(Reply(ModelReadyResponse { ready: true })),
        Err(fault) if matches!(fault.code(), Code::NotFound | Code::Conflict | Code::UnsupportedOperation) => {
            Ok(Reply(ModelReadyResponse { ready: false }))
        }
        Err(fault) => Err(fault.into()),
    }
}

pub(crate) async fn metadata(
    State(app): State<Arc<App>>,
    ask: Ask,
    Unary(request): Unary<ModelMetadataRequest>,
) -> Result<Reply<ModelMetadataResponse>, Rejection> {
    let servable = v2::named(&app, &ask.caller, (&request.name, &request.version), &Routing::main())?;
    let versions = app.platform().served_versions(&ask.caller, &servable)?;
    let signature = servable.signature()?;
    let tensor = |port: &Port| TensorMetadata {
        name: port.name.clone(),
        datatype: port.element_type.as_str().to_owned(),
        shape: port.shape.clone(),
    };
    Ok(Reply(ModelMetadataResponse {
        name: servable.name().to_owned(),
        versions: versions.iter().map(u64::to_string).collect(),
        platform: v2::platform(servable.kind()).to_owned(),
        inputs: signature.inputs.iter().map(tensor).collect(),
        outputs: signature.outputs.iter().map(tensor).collect(),
    }))
}

pub(crate) async fn config(
    State(app): State<Arc<App>>,
    ask: Ask,
    Unary(request): Unary<ModelConfigRequest>,
) -> Result<Reply<ModelConfigResponse>, Rejection> {
    let servable = v2::named(&app, &ask.caller, (&request.name, &request.version), &Routing::main())?;
    let signature = servable.signature()?;
    let data_type = |port: &Port| oip::triton_type(port.element_type).0;
    let input =
        |port: &Port| ModelInput { name: port.name.clone(), data_type: data_type(port), dims: port.shape.clone() };
    let output =
        |port: &Port| ModelOutput { name: port.name.clone(), data_type: data_type(port), dims: port.shape.clone() };
    let platform = v2::platform(servable.kind()).to_owned();
    let config = ModelConfig {
        name: servable.name().to_owned(),
        max_batch_size: 0,
        input: signature.inputs.iter().map(input).collect(),
        output: signature.outputs.iter().map(output).collect(),
        backend: platform.clone(),
        platform,
    };
    Ok(Reply(ModelConfigResponse { config: Some(config) }))
}
