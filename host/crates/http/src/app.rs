//! One request, from hyper's hands and back into them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aimass_core::trace::{SpanKind, Spans, Trace};
use aimass_platform::Platform;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::Request;
use hyper::body::Incoming;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::depth::Depth;
use crate::guard::Answered;
use crate::linger::Lingering;
use crate::metrics::Metrics;
use crate::problem::{Rejection, finish};
use crate::request::{RequestId, context};
use crate::{functions, routes, traced};

/// What every request shares.
pub struct App {
    platform: Arc<Platform>,
    metrics: Metrics,
    /// Set when the process is about to stop: not ready any more, but still serving.
    draining: watch::Sender<bool>,
    /// None where nothing is traced.
    spans: Option<Arc<dyn Spans>>,
}

impl App {
    /// The application over a platform, whose requests are traced to `spans`.
    pub fn new(platform: Arc<Platform>, spans: Option<Arc<dyn Spans>>) -> Arc<Self> {
        Arc::new(Self { platform, metrics: Metrics::new(), draining: watch::Sender::new(false), spans })
    }

    pub(crate) fn platform(&self) -> &Arc<Platform> {
        &self.platform
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether this node wants new work.
    pub(crate) fn ready(&self) -> aimass_core::Result<()> {
        if *self.draining.borrow() {
            return Err(aimass_core::Fault::new(aimass_core::Code::Unavailable, "this node is stopping"));
        }
        self.platform.ready()
    }

    pub(crate) fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Resolves when the node is about to stop.
    pub(crate) async fn drained(&self) {
        // An error says that the sender is gone, which this holds.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    pub(crate) fn router(self: &Arc<Self>) -> Router {
        routes::router(self.clone())
    }
}

/// Serves one request. `/fn` goes past the router: it is the hot path, and its access rule is the plugin's own.
pub(crate) async fn handle(
    app: Arc<App>,
    router: Router,
    wait: Duration,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let started = Instant::now();
    let trace = Trace::begin(app.spans.as_ref(), context(request.headers()));
    let mut span = trace.span("HTTP", SpanKind::Server);
    traced::request(&mut span, &request);
    let id = RequestId::of(request.headers()).below(&span, &trace);
    let request = Lingering::over(request, wait);
    let (path, response);
    match Depth::of(request.headers()) {
        Err(fault) => {
            path = request.uri().path().to_owned();
            response = Rejection(fault).into_response();
        }
        Ok(depth) if request.uri().path().starts_with(functions::PREFIX) => {
            path = functions::PREFIX.to_owned();
            let called = functions::call(&app, request, depth, &id).await;
            response = called.unwrap_or_else(|fault| {
                let mut response = Rejection(fault).into_response();
                response.extensions_mut().insert(Answered(functions::PREFIX));
                response
            });
        }
        Ok(depth) => {
            path = request.uri().path().to_owned();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(app.clone());
            request.extensions_mut().insert(id.clone());
            request.extensions_mut().insert(depth);
            let Ok(answer) = router.oneshot(request).await;
            response = answer;
        }
    }
    let route = response.extensions().get::<Answered>().map_or("unknown", |answered| answered.0);
    app.metrics.answered(route, response.status().as_u16(), started.elapsed());
    Ok(traced::answer(span, route, &id, finish(&path, id.as_str(), response)))
}
