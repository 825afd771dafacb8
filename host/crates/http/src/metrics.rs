//! Counters of this listener, in the text form of OpenMetrics.
//!
//! No label of these holds a tenant's name: `/metrics` needs no token. With one it tells more, see [`models`].

pub(crate) mod models;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use aimass_platform::Residents;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteOnly {
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Seconds, from a cached answer to the deadline of a call.
const BUCKETS: [f64; 12] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answer, Counter>,
    seconds: Family<RouteOnly, Histogram, fn() -> Histogram>,
    refused: Family<Reason, Counter>,
    /// Connections that are open now.
    pub(crate) connections: Gauge<i64, std::sync::atomic::AtomicI64>,
    /// Read when somebody asks.
    models: Gauge<u64, AtomicU64>,
    model_bytes: Gauge<u64, AtomicU64>,
    evictions: Gauge<u64, AtomicU64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let metrics = Self {
            registry: Registry::with_prefix("aimass"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            refused: Family::default(),
            connections: Gauge::default(),
            models: Gauge::default(),
            model_bytes: Gauge::default(),
            evictions: Gauge::default(),
        };
        let Self { mut registry, requests, seconds, refused, connections, models, model_bytes, evictions } = metrics;
        registry.register("http_requests", "Requests answered, by route and status", requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time from the request's head to the answer's head",
            Unit::Seconds,
            seconds.clone(),
        );
        registry.register("http_connections", "Connections that are open", connections.clone());
        let without = "Connections that were closed before a request, by what they did";
        registry.register("http_connections_refused", without, refused.clone());
        registry.register("node_models", "Models in memory", models.clone());
        let bytes = "Memory of the models in memory";
        registry.register_with_unit("node_model_memory", bytes, Unit::Bytes, model_bytes.clone());
        let left = "Models that left memory because others needed the room, since the start";
        registry.register("node_model_evictions", left, evictions.clone());
        Self { registry, requests, seconds, refused, connections, models, model_bytes, evictions }
    }

    pub(crate) fn answered(&self, route: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&Answer { route, status }).inc();
        self.seconds.get_or_create(&RouteOnly { route }).observe(took.as_secs_f64());
    }

    /// A connection was closed before a request came.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// The text form, without its end.
    pub(crate) fn write(&self, models: Residents, out: &mut String) -> fmt::Result {
        self.models.set(models.models as u64);
        self.model_bytes.set(models.bytes);
        self.evictions.set(models.evictions);
        text::encode_registry(out, &self.registry)
    }
}
