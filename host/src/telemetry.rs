//! Traces over OTLP: spans that the platform hands over are batched by OpenTelemetry's SDK and sent as protobuf over
//! HTTP. The flags and the standard `OTEL_*` variables say where to; without either nothing is traced.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aimass_core::trace::{Ended, SpanKind, Spans, TraceContext, Value};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind as Kind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, IdGenerator as _, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample as _, SpanData,
    SpanProcessor as _,
};
use tokio::runtime::Handle;

use crate::cli::{Failure, Outcome, trust};

/// Of the requests that come without a trace, this part is recorded.
const SAMPLING: f64 = 0.01;

/// The longest that a batch's way takes; what does not arrive is given up.
const SENDING: Duration = Duration::from_secs(10);

/// A collector says little.
const MAX_ANSWER: usize = 1 << 20;

/// Where spans go, as the flags say.
#[derive(Clone, Debug, Default)]
pub(crate) struct TraceConfig {
    /// The collector's URL, to which `/v1/traces` is added.
    pub(crate) endpoint: Option<String>,
    /// The part of the requests without a trace that is recorded, 0 to 1.
    pub(crate) sampling: Option<f64>,
}

/// What takes spans and sends them.
#[derive(Debug)]
pub(crate) struct Telemetry {
    processor: BatchSpanProcessor,
    sampler: Sampler,
    ids: RandomIdGenerator,
    scope: InstrumentationScope,
}

impl Telemetry {
    /// None if nothing says where to. Call it inside of the runtime that is to send.
    ///
    /// # Errors
    /// For a URL that is none, or a variable that cannot be followed.
    pub(crate) fn start(config: &TraceConfig) -> Outcome<Option<Arc<Self>>> {
        let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        let named = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"));
        if config.endpoint.is_none() && (disabled || named.is_none()) {
            return Ok(None);
        }
        let sampler = sampler(config.sampling)?;
        let tls = trust::with(None)?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let sender =
            Sender { pool: Client::builder(TokioExecutor::new()).build(connector), runtime: Handle::current() };
        let mut builder = SpanExporter::builder().with_http().with_http_client(sender);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')));
        }
        let exporter = builder.build().map_err(|e| Failure::new(format!("traces cannot be sent: {e}")))?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(&resource());
        let scope = InstrumentationScope::builder("aimass").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Some(Arc::new(Self { processor, sampler, ids: RandomIdGenerator::default(), scope })))
    }

    /// Sends what is there. Blocks for some seconds at most.
    pub(crate) fn close(&self) {
        if let Err(error) = self.processor.shutdown() {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// A standard variable that says something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What is recorded: by the flag, else by the standard variables, else one in a hundred. What a caller records is
/// recorded here, unless a variable says that callers are not to be asked.
fn sampler(flag: Option<f64>) -> Outcome<Sampler> {
    let argument = variable("OTEL_TRACES_SAMPLER_ARG").map(|text| match text.parse::<f64>() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => Err(Failure::new("`OTEL_TRACES_SAMPLER_ARG` is 0 to 1")),
    });
    let part = flag.map_or_else(|| argument.unwrap_or(Ok(SAMPLING)), Ok)?;
    let below = |root: Sampler| Sampler::ParentBased(Box::new(root));
    let named = variable("OTEL_TRACES_SAMPLER").filter(|_| flag.is_none());
    Ok(match named.as_deref() {
        None | Some("parentbased_traceidratio") => below(Sampler::TraceIdRatioBased(part)),
        Some("traceidratio") => Sampler::TraceIdRatioBased(part),
        Some("always_on") => Sampler::AlwaysOn,
        Some("always_off") => Sampler::AlwaysOff,
        Some("parentbased_always_on") => below(Sampler::AlwaysOn),
        Some("parentbased_always_off") => below(Sampler::AlwaysOff),
        Some(other) => return Err(Failure::new(format!("`OTEL_TRACES_SAMPLER` has no meaning here: {other}"))),
    })
}

/// What this process is, with what `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` add.
fn resource() -> Resource {
    let named = variable("OTEL_SERVICE_NAME").is_some()
        || variable("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|all| all.contains("service.name="));
    let builder = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if named { builder.build() } else { builder.with_service_name("aimass").build() }
}

fn context(of: &TraceContext, remote: bool) -> SpanContext {
    let state: Option<TraceState> = of.state.as_deref().and_then(|state| state.parse().ok());
    SpanContext::new(
        TraceId::from_bytes(of.trace_id),
        SpanId::from_bytes(of.span_id),
        TraceFlags::new(of.flags),
        remote,
        state.unwrap_or_default(),
    )
}

impl Spans for Telemetry {
    fn trace_id(&self) -> [u8; 16] {
        self.ids.new_trace_id().to_bytes()
    }

    fn span_id(&self) -> [u8; 8] {
        self.ids.new_span_id().to_bytes()
    }

    fn samples(&self, trace_id: &[u8; 16], parent: Option<&TraceContext>) -> bool {
        let parent = parent.map(|parent| Context::new().with_remote_span_context(context(parent, true)));
        let trace_id = TraceId::from_bytes(*trace_id);
        let result = self.sampler.should_sample(parent.as_ref(), trace_id, "HTTP", &Kind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    fn ended(&self, span: Ended) {
        let value = |value| match value {
            Value::Text(Cow::Borrowed(text)) => opentelemetry::Value::from(text),
            Value::Text(Cow::Owned(text)) => text.into(),
            Value::Number(number) => number.into(),
            Value::Float(number) => number.into(),
        };
        self.processor.on_end(SpanData {
            span_context: context(&span.context, false),
            parent_span_id: SpanId::from_bytes(span.parent),
            parent_span_is_remote: span.remote,
            span_kind: match span.kind {
                SpanKind::Server => Kind::Server,
                SpanKind::Client => Kind::Client,
                SpanKind::Internal => Kind::Internal,
            },
            name: span.name,
            start_time: span.from,
            end_time: span.until,
            attributes: span.notes.into_iter().map(|(name, noted)| KeyValue::new(name, value(noted))).collect(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: span.failed.map_or(Status::Unset, |code| Status::Error { description: code }),
            instrumentation_scope: self.scope.clone(),
        });
    }
}

/// Sends for the SDK's thread, which is no part of a runtime.
struct Sender {
    pool: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let pool = self.pool.clone();
        let sending = async move {
            let (parts, body) = pool.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok(Response::from_parts(parts, body))
        };
        self.runtime.spawn(async move { tokio::time::timeout(SENDING, sending).await? }).await?
    }
}
