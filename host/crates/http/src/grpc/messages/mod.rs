//! The protocol's messages, as `prost` reads and writes them.
//!
//! Written by hand: a `.proto` would take a compiler at build time, and two things are better kept otherwise than
//! generated code keeps them. Tensor data are [`Bytes`](bytes::Bytes), slices of the message that came; and typed
//! contents stay undecoded until type and shape are known (see [`super::contents`]).

mod config;
mod infer;
mod repository;
mod server;

pub(super) use config::{ModelConfig, ModelConfigRequest, ModelConfigResponse, ModelInput, ModelOutput};
pub(super) use infer::{
    Choice, InferInputTensor, InferOutputTensor, InferParameter, InferRequestedOutputTensor, ModelInferRequest,
    ModelInferResponse, ModelStreamInferResponse,
};
pub(super) use repository::{
    InferBatchStatistics, InferStatistics, MemoryUsage, ModelIndex, ModelStatistics, ModelStatisticsRequest,
    ModelStatisticsResponse, RepositoryIndexRequest, RepositoryIndexResponse, RepositoryModelLoadRequest,
    RepositoryModelLoadResponse, RepositoryModelUnloadRequest, RepositoryModelUnloadResponse, StatisticDuration,
};
pub(super) use server::{
    ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ServerLiveRequest,
    ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
    TensorMetadata,
};
