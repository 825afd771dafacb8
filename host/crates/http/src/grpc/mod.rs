//! Open Inference Protocol v2 over gRPC, with Triton's extensions: the service `inference.GRPCInferenceService`.
//!
//! Each method is a route of the one table ([`crate::routes`]), so the same guard checks the same tokens as over REST;
//! tonic does the framing, and [`fault`] turns faults into gRPC's statuses. HTTP/2 comes by prior knowledge on the
//! listener that serves everything else.
//!
//! Field numbers and names are those of the published protocol (`grpc_service.proto`, `model_config.proto`).

mod contents;
pub(crate) mod fault;
mod frame;
mod health;
mod infer;
mod messages;
mod models;
mod repository;
mod stream;
mod tensors;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use health::{live, ready, server};
pub(crate) use infer::infer;
pub(crate) use models::{config, metadata, ready as model_ready};
pub(crate) use repository::{index, load, statistics, unload};
pub(crate) use stream::infer as stream_infer;

/// Where the service's methods live.
pub(crate) const PREFIX: &str = "/inference.GRPCInferenceService/";

/// The method whose requests come one after another.
pub(crate) const STREAM_INFER: &str = "/inference.GRPCInferenceService/ModelStreamInfer";
