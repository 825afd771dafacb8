//! The repository: index, load, unload, statistics.

use std::sync::Arc;

use aimass_core::name::version_number;
use aimass_core::{Name, Result};
use aimass_platform::{IndexEntry, Sum, VersionStatistics};
use axum::extract::State;

use super::frame::{Incoming, Reply, Unary};
use super::messages::{
    InferBatchStatistics, InferStatistics, MemoryUsage, ModelIndex, ModelStatistics, ModelStatisticsRequest,
    ModelStatisticsResponse, RepositoryIndexRequest, RepositoryIndexResponse, RepositoryModelLoadRequest,
    RepositoryModelLoadResponse, RepositoryModelUnloadRequest, RepositoryModelUnloadResponse, StatisticDuration,
};
use crate::app::App;
use crate::extract::Ask;
use crate::problem::Rejection;
use crate::{oip, repository};

impl Incoming for RepositoryIndexRequest {}
impl Incoming for RepositoryModelLoadRequest {}
impl Incoming for RepositoryModelUnloadRequest {}
impl Incoming for ModelStatisticsRequest {}

pub(crate) async fn index(
    State(app): State<Arc<App>>,
    ask: Ask,
    Unary(request): Unary<RepositoryIndexRequest>,
) -> Result<Reply<RepositoryIndexResponse>, Rejection> {
    let entries = app.platform().index(&ask.caller)?;
    let shown = entries.iter().filter(|entry| entry.ready || !request.ready);
    let entry = |entry: &IndexEntry| ModelIndex {
        name: entry.name.to_string(),
        version: entry.version.to_string(),
        state: oip::index_state(entry).to_owned(),
        reason: entry.reason.to_owned(),
    };
    Ok(Reply(RepositoryIndexResponse { models: shown.map(entry).collect() }))
}

pub(crate) async fn load(
    State(app): State<Arc<App>>,
    ask: Ask,
    Unary(request): Unary<RepositoryModelLoadRequest>,
) -> Result<Reply<RepositoryModelLoadResponse>, Rejection> {
    repository::load_model(&app, &ask.caller, request.model_name.parse()?, request.parameters.keys()).await?;
    Ok(Reply(RepositoryModelLoadResponse {}))
}

pub(crate) async fn unload(
    State(app): State<Arc<App>>,
    ask: Ask,
    Unary(request): Unary<RepositoryModelUnloadRequest>,
) -> Result<Reply<RepositoryModelUnloadResponse>, Rejection> {
    app.platform().unload(&ask.caller, &request.model_name.parse()?)?;
    Ok(Reply(RepositoryModelUnloadResponse {}))
}

pub(crate) async fn statistics(
    State(app): State<Arc<App>>,
    ask: Ask,
    Unary(request): Unary<ModelStatisticsRequest>,
) -> Result<Reply<ModelStatisticsResponse>, Rejection> {
    let ModelStatisticsRequest { name, version } = request;
    let version = (!version.is_empty()).then(|| version_number(&version)).transpose()?;
    let name = (!name.is_empty()).then(|| name.parse::<Name>()).transpose()?;
    let all = app.platform().statistics(&ask.caller, name.as_ref().map(|name| (name, version)))?;
    Ok(Reply(ModelStatisticsResponse { model_stats: all.iter().map(of_version).collect() }))
}

fn of_version(of: &VersionStatistics) -> ModelStatistics {
    let counts = &of.counts;
    let part = |count, ns| Some(StatisticDuration { count, ns });
    let sum = |sum: Sum| part(sum.count, sum.ns);
    let batch_stats = counts.batches.iter().map(|(&batch_size, batch)| InferBatchStatistics {
        batch_size,
        compute_input: part(batch.executions, batch.input_ns),
        compute_infer: part(batch.executions, batch.infer_ns),
        compute_output: part(batch.executions, batch.output_ns),
    });
    let memory = |byte_size| MemoryUsage { r#type: "CPU".to_owned(), id: 0, byte_size };
    ModelStatistics {
        name: of.name.to_string(),
        version: of.version.to_string(),
        last_inference: counts.last_ms,
        inference_count: counts.success.count,
        execution_count: counts.executions,
        inference_stats: Some(InferStatistics {
            success: sum(counts.success),
            fail: sum(counts.fail),
            queue: sum(counts.queue),
            compute_input: sum(counts.compute_input),
            compute_infer: sum(counts.compute_infer),
            compute_output: sum(counts.compute_output),
        }),
        batch_stats: batch_stats.collect(),
        memory_usage: of.memory.into_iter().map(memory).collect(),
    }
}
