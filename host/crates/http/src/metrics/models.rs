//! What tenants' models and plugins did, for whoever shows a token: written from the counts when somebody asks.
//!
//! Beside the names of our own stand Triton's (`nv_inference_…`), so that its dashboards and autoscalers work. Those
//! are counters without the ending `_total`, which OpenMetrics wants of a counter; so their type is said to be gauge,
//! which no query looks at.

use std::fmt;
use std::sync::atomic::AtomicU64;

use aimass_platform::{Counts, Observed, VersionStatistics};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    tenant: String,
    model: String,
    version: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Batch {
    tenant: String,
    model: String,
    version: u64,
    batch_size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Owner {
    tenant: String,
}

/// A figure of each version.
type Figure = fn(&Counts) -> u64;

const COUNTS: &[(&str, &str, Figure)] = &[
    ("model_requests", "Calls of a version that ended", |c| c.success.count + c.fail.count),
    ("model_failures", "Calls of a version that failed", |c| c.fail.count),
    ("model_executions", "Runs of the engine: fewer than calls where calls are batched", |c| c.executions),
];

/// Nanoseconds, told in seconds.
const TIMES: &[(&str, &str, Figure)] = &[
    ("model_request_duration", "Time of successful calls", |c| c.success.ns),
    ("model_queue_duration", "Time that successful calls waited to run", |c| c.queue.ns),
    ("model_compute_duration", "Time that the runs of successful calls took, with their transfers", |c| {
        c.compute_input.ns + c.compute_infer.ns + c.compute_output.ns
    }),
];

/// Triton's names; times are in microseconds.
const TRITON: &[(&str, &str, Figure)] = &[
    ("nv_inference_request_success", "Successful requests", |c| c.success.count),
    ("nv_inference_request_failure", "Failed requests", |c| c.fail.count),
    ("nv_inference_count", "Inferences performed", |c| c.success.count),
    ("nv_inference_exec_count", "Model executions performed", |c| c.executions),
    ("nv_inference_request_duration_us", "Request time", |c| c.success.ns / 1000),
    ("nv_inference_queue_duration_us", "Time in the queue", |c| c.queue.ns / 1000),
    ("nv_inference_compute_input_duration_us", "Time of bringing inputs", |c| c.compute_input.ns / 1000),
    ("nv_inference_compute_infer_duration_us", "Time of inference", |c| c.compute_infer.ns / 1000),
    ("nv_inference_compute_output_duration_us", "Time of bringing outputs", |c| c.compute_output.ns / 1000),
];

/// Appends the text form, without its end.
pub(crate) fn write(observed: &Observed, out: &mut String) -> fmt::Result {
    let mut ours = Registry::with_prefix("aimass");
    for &(name, help, figure) in COUNTS {
        let family = Family::<Version, Counter>::default();
        for of in &observed.versions {
            family.get_or_create(&labels(of)).inc_by(figure(&of.counts));
        }
        ours.register(name, help, family);
    }
    for &(name, help, figure) in TIMES {
        let family = Family::<Version, Counter<f64, AtomicU64>>::default();
        for of in &observed.versions {
            family.get_or_create(&labels(of)).inc_by(figure(&of.counts) as f64 / 1e9);
        }
        ours.register_with_unit(name, help, Unit::Seconds, family);
    }
    ours.register("model_batches", "Runs of the engine by batch size", batches(observed));
    let help = "Memory of a version that is in memory";
    ours.register_with_unit("model_memory", help, Unit::Bytes, memory(observed));
    let evictions = Family::<Owner, Counter>::default();
    for (tenant, count) in &observed.evictions {
        evictions.get_or_create(&Owner { tenant: tenant.to_string() }).inc_by(*count);
    }
    ours.register("model_evictions", "Models that left memory because others needed the room", evictions);
    text::encode_registry(out, &ours)?;

    let mut triton = Registry::default();
    for &(name, help, figure) in TRITON {
        let family = Family::<Version, Gauge<u64, AtomicU64>>::default();
        for of in &observed.versions {
            family.get_or_create(&labels(of)).set(figure(&of.counts));
        }
        triton.register(name, help, family);
    }
    text::encode_registry(out, &triton)
}

fn labels(of: &VersionStatistics) -> Version {
    Version { tenant: of.tenant.to_string(), model: of.name.to_string(), version: of.version }
}

fn batches(observed: &Observed) -> Family<Batch, Counter> {
    let family = Family::<Batch, Counter>::default();
    for of in &observed.versions {
        let Version { tenant, model, version } = labels(of);
        for (&batch_size, batch) in &of.counts.batches {
            let labels = Batch { tenant: tenant.clone(), model: model.clone(), version, batch_size };
            family.get_or_create(&labels).inc_by(batch.executions);
        }
    }
    family
}

fn memory(observed: &Observed) -> Family<Version, Gauge<u64, AtomicU64>> {
    let family = Family::<Version, Gauge<u64, AtomicU64>>::default();
    for of in &observed.versions {
        if let Some(bytes) = of.memory {
            family.get_or_create(&labels(of)).set(bytes);
        }
    }
    family
}
