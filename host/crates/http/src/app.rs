//! One request, from hyper's hands and back into them.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use aimass_platform::Platform;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::Request;
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::guard::Answered;
use crate::metrics::Metrics;
use crate::problem::{Rejection, finish};
use crate::{functions, routes};

/// What every request shares.
pub struct App {
    platform: Arc<Platform>,
    metrics: Metrics,
    /// Set when the process is about to stop: not ready any more, but still serving.
    draining: AtomicBool,
}

/// A request's id: time-ordered, so that logs sort; in the answer as `x-request-id`.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    fn new() -> Self {
        let mut buffer = uuid::Uuid::encode_buffer();
        let text: &str = uuid::Uuid::now_v7().as_simple().encode_lower(&mut buffer);
        Self(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl App {
    /// The application over a platform.
    pub fn new(platform: Arc<Platform>) -> Arc<Self> {
        Arc::new(Self { platform, metrics: Metrics::new(), draining: AtomicBool::new(false) })
    }

    pub(crate) fn platform(&self) -> &Platform {
        &self.platform
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether this node wants new work.
    pub(crate) fn ready(&self) -> aimass_core::Result<()> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(aimass_core::Fault::new(aimass_core::Code::Unavailable, "this node is stopping"));
        }
        self.platform.ready()
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn router(self: &Arc<Self>) -> Router {
        routes::router(self.clone())
    }
}

/// Serves one request. `/fn` goes past the router: it is the hot path, and its access rule is the plugin's own.
pub(crate) async fn handle(app: Arc<App>, router: Router, request: Request<Incoming>) -> Result<Response, Infallible> {
    let started = Instant::now();
    let id = RequestId::new();
    let (path, response);
    if request.uri().path().starts_with(functions::PREFIX) {
        path = functions::PREFIX.to_owned();
        response = functions::call(&app, request, &id).await.unwrap_or_else(|fault| Rejection(fault).into_response());
    } else {
        path = request.uri().path().to_owned();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(app.clone());
        request.extensions_mut().insert(id.clone());
        let Ok(answer) = router.oneshot(request).await;
        response = answer;
    }
    let route = response.extensions().get::<Answered>().map_or("unknown", |answered| answered.0);
    app.metrics.answered(route, response.status().as_u16(), started.elapsed());
    Ok(finish(&path, id.as_str(), response))
}
