//! Accepts connections, bounds each of them, and ends them in order when the process stops.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::app::{App, handle};

/// Limits of the listener. Every number says why.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// Connections at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Time for the first byte, and then for a whole request head.
    pub head_timeout: Duration,
    /// Bytes of a request head.
    pub head_bytes: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// HTTP/2 streams at once on one connection.
    pub streams: u32,
    /// How long a stopping node says "not ready" before it stops accepting, so that load balancers see it.
    pub drain_notice: Duration,
    /// How long requests under way may take to end when the node stops.
    pub grace: Duration,
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self {
            // Half of a common descriptor limit (4,096 and up), so that files and engines have the other half.
            connections: 2_048,
            // A mobile client's worst round trips, and no more.
            head_timeout: Duration::from_secs(10),
            // nginx allows 32 KiB, and a token is at most 8 KiB.
            head_bytes: 64 << 10,
            // hyper's own default.
            headers: 100,
            streams: 128,
            drain_notice: Duration::from_millis(500),
            grace: Duration::from_secs(30),
        }
    }
}

/// Serves until `stop` resolves, then drains: not ready first, then no new connections, then the end of those under
/// way or of the grace period. Returns whether everything ended in time.
///
/// # Errors
/// Only what makes serving impossible; errors of single connections are theirs.
pub async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    config: ListenerConfig,
    stop: impl Future<Output = ()>,
) -> io::Result<bool> {
    let server = Arc::new(Server { router: app.router(), builder: builder(&config), app, config });
    let slots = Arc::new(Semaphore::new(server.config.connections));
    let graceful = GracefulShutdown::new();
    accept_until(stop, &server, &listener, &slots, &graceful).await;
    server.app.drain();
    accept_until(tokio::time::sleep(server.config.drain_notice), &server, &listener, &slots, &graceful).await;
    drop(listener);
    Ok(tokio::time::timeout(server.config.grace, graceful.shutdown()).await.is_ok())
}

async fn accept_until(
    end: impl Future<Output = ()>,
    server: &Arc<Server>,
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    graceful: &GracefulShutdown,
) {
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return,
            (stream, slot) = accept(listener, slots) => {
                let (server, watcher) = (server.clone(), graceful.watcher());
                tokio::spawn(async move {
                    server.connection(stream, watcher).await;
                    drop(slot);
                });
            }
        }
    }
}

/// The next connection, once there is room for it. Errors of accepting (out of descriptors, say) are waited out.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, tokio::sync::OwnedSemaphorePermit) {
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            // The semaphore is never closed.
            std::future::pending().await
        };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
            Err(e) => {
                tracing::warn!(error = %e, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

struct Server {
    app: Arc<App>,
    router: Router,
    builder: Builder<TokioExecutor>,
    config: ListenerConfig,
}

impl Server {
    async fn connection(&self, stream: TcpStream, watcher: hyper_util::server::graceful::Watcher) {
        // Answers are written whole; waiting for more bytes (Nagle) only delays them.
        let _ = stream.set_nodelay(true);
        // hyper-util reads the first bytes, to tell HTTP/2 from HTTP/1, without a limit of its own.
        let first = tokio::time::timeout(self.config.head_timeout, stream.peek(&mut [0; 1])).await;
        if !matches!(first, Ok(Ok(1))) {
            return;
        }
        let metrics = self.app.metrics();
        metrics.connections.inc();
        let service = service_fn(|request| handle(self.app.clone(), self.router.clone(), request));
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        if let Err(e) = watcher.watch(connection).await {
            tracing::debug!(error = %e, "a connection ended with an error");
        }
        metrics.connections.dec();
    }
}

fn builder(config: &ListenerConfig) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        // Without a timer hyper ignores the time limit.
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_headers(config.headers)
        .max_buf_size(config.head_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.streams)
        .max_header_list_size(u32::try_from(config.head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        // Rapid reset (CVE-2023-44487): streams that were reset before they were accepted.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100);
    builder
}
