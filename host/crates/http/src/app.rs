//! One request, from hyper's hands and back into them.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aimass_core::trace::{SpanKind, Spans, Trace};
use aimass_platform::{Platform, Runner};
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::console::Sessions;
use crate::depth::Depth;
use crate::guard::Answered;
use crate::later::{Replay, Vouched};
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
    /// Who is signed in to the console.
    sessions: Sessions,
    /// Set where this listener speaks TLS itself.
    over_tls: AtomicBool,
}

impl App {
    /// The application over a platform, whose requests are traced to `spans`.
    pub fn new(platform: Arc<Platform>, spans: Option<Arc<dyn Spans>>) -> Arc<Self> {
        let (draining, sessions) = (watch::Sender::new(false), Sessions::default());
        Arc::new(Self {
            platform,
            metrics: Metrics::new(),
            draining,
            spans,
            sessions,
            over_tls: AtomicBool::new(false),
        })
    }

    pub(crate) fn platform(&self) -> &Arc<Platform> {
        &self.platform
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(crate) fn over_tls(&self) -> bool {
        self.over_tls.load(Ordering::Relaxed)
    }

    /// Says whether the listener speaks TLS itself.
    pub(crate) fn set_over_tls(&self, over_tls: bool) {
        self.over_tls.store(over_tls, Ordering::Relaxed);
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

    /// What runs asynchronous calls: it answers them as if they came again.
    pub fn runner(self: &Arc<Self>) -> Arc<dyn Runner> {
        Arc::new(Replay::new(self.clone()))
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
    let path = request.uri().path();
    // All that is needed of the hot path's is known.
    let path = if path.starts_with(functions::PREFIX) { functions::PREFIX.to_owned() } else { path.to_owned() };
    let response = match Depth::of(request.headers()) {
        Err(fault) => Rejection(fault).into_response(),
        Ok(depth) => answer(&app, router, request, depth, &id, None).await,
    };
    let route = response.extensions().get::<Answered>().map_or("unknown", |answered| answered.0);
    app.metrics.answered(route, response.status().as_u16(), started.elapsed());
    Ok(traced::answer(span, route, &id, finish(&path, id.as_str(), response)))
}

/// Answers a request: one from the network, or one that was accepted before, on behalf of who is vouched for.
pub(crate) async fn answer<B>(
    app: &Arc<App>,
    router: Router,
    request: Request<B>,
    depth: Depth,
    id: &RequestId,
    vouched: Option<Vouched>,
) -> Response
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    if request.uri().path().starts_with(functions::PREFIX) {
        let called = functions::call(app, request, depth, id, vouched).await;
        return called.unwrap_or_else(|fault| {
            let mut response = Rejection(fault).into_response();
            response.extensions_mut().insert(Answered(functions::PREFIX));
            response
        });
    }
    let mut request = request.map(Body::new);
    let extensions = request.extensions_mut();
    extensions.insert(app.clone());
    extensions.insert(id.clone());
    extensions.insert(depth);
    if let Some(vouched) = vouched {
        extensions.insert(vouched);
    }
    let Ok(response) = router.oneshot(request).await;
    response
}
