//! One request, from hyper's hands and back into them.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aimass_platform::Platform;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::Request;
use hyper::body::Incoming;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::console::Sessions;
use crate::depth::Depth;
use crate::guard::Answered;
use crate::linger::Lingering;
use crate::metrics::Metrics;
use crate::problem::{Rejection, finish};
use crate::{functions, routes};

/// What every request shares.
pub struct App {
    platform: Arc<Platform>,
    metrics: Metrics,
    /// Set when the process is about to stop: not ready any more, but still serving.
    draining: watch::Sender<bool>,
    /// Who is signed in to the console.
    sessions: Sessions,
    /// Set where this listener speaks TLS itself.
    over_tls: AtomicBool,
}

/// A request's id: time-ordered, so that logs sort; in the answer as `x-request-id`.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    fn new() -> Self {
        let mut buffer = uuid::Uuid::encode_buffer();
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let id = uuid::Builder::from_unix_timestamp_millis(u64::try_from(millis).unwrap_or_default(), &distinct());
        let text: &str = id.into_uuid().as_simple().encode_lower(&mut buffer);
        Self(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Bytes that differ from call to call and from process to process. An id is no secret, so no system call is spent on
/// it: a counter a thread, from a random start, mixed by splitmix64 (Steele, Lea, Flood 2014).
fn distinct() -> [u8; 10] {
    thread_local!(static COUNTER: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish()));
    let mix = |step: u64| {
        let mut z = step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    };
    let at = COUNTER.get();
    COUNTER.set(at.wrapping_add(2));
    let (mut bytes, more) = ([0; 10], mix(at.wrapping_add(1)));
    bytes[..8].copy_from_slice(&mix(at));
    bytes[8..].copy_from_slice(&more[..2]);
    bytes
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl App {
    /// The application over a platform.
    pub fn new(platform: Arc<Platform>) -> Arc<Self> {
        let (draining, sessions) = (watch::Sender::new(false), Sessions::default());
        Arc::new(Self { platform, metrics: Metrics::new(), draining, sessions, over_tls: AtomicBool::new(false) })
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
    let id = RequestId::new();
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
            response = called.unwrap_or_else(|fault| Rejection(fault).into_response());
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
    Ok(finish(&path, id.as_str(), response))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_differ_on_one_thread_and_between_threads() {
        let ids = || (0..10_000).map(|_| RequestId::new().to_string()).collect::<Vec<_>>();
        let other = std::thread::spawn(ids);
        let all: std::collections::HashSet<_> = ids().into_iter().chain(other.join().unwrap()).collect();
        assert_eq!(all.len(), 20_000);
    }
}
