//! Documents of the repository and statistics extensions.

use aimass_platform::{Counts, IndexEntry, Sum, VersionStatistics};
use serde_json::{Value, json};

/// The state of an entry of the index, in Triton's words.
pub(crate) fn state(entry: &IndexEntry) -> &'static str {
    if entry.ready { "READY" } else { "UNAVAILABLE" }
}

/// `POST /v2/repository/index`.
pub fn repository_index(entries: &[IndexEntry]) -> Value {
    let entry = |entry: &IndexEntry| {
        let (version, state) = (entry.version.to_string(), state(entry));
        json!({ "name": entry.name, "version": version, "state": state, "reason": entry.reason })
    };
    entries.iter().map(entry).collect()
}

/// `GET /v2/models/stats`, `/v2/models/{name}[/versions/{v}]/stats`.
pub fn statistics(all: &[VersionStatistics]) -> Value {
    json!({ "model_stats": all.iter().map(version).collect::<Vec<_>>() })
}

fn version(of: &VersionStatistics) -> Value {
    let Counts { success, fail, queue, compute_input, compute_infer, compute_output, executions, last_ms, batches } =
        &of.counts;
    let sum = |sum: &Sum| json!({ "count": sum.count, "ns": sum.ns });
    let nothing = Sum::default();
    let batches: Vec<_> = batches
        .iter()
        .map(|(size, batch)| {
            let part = |ns| json!({ "count": batch.executions, "ns": ns });
            json!({
                "batch_size": size,
                "compute_input": part(batch.input_ns),
                "compute_infer": part(batch.infer_ns),
                "compute_output": part(batch.output_ns),
            })
        })
        .collect();
    let memory: Vec<_> = of.memory.iter().map(|bytes| json!({ "type": "CPU", "id": 0, "byte_size": bytes })).collect();
    json!({
        "name": of.name,
        "version": of.version.to_string(),
        "last_inference": last_ms,
        "inference_count": success.count,
        "execution_count": executions,
        "inference_stats": {
            "success": sum(success),
            "fail": sum(fail),
            "queue": sum(queue),
            "compute_input": sum(compute_input),
            "compute_infer": sum(compute_infer),
            "compute_output": sum(compute_output),
            // There is no cache of answers.
            "cache_hit": sum(&nothing),
            "cache_miss": sum(&nothing),
        },
        "batch_stats": batches,
        "memory_usage": memory,
    })
}
