//! Accepts connections, as many as there may be, and ends them in order when the process stops. What bounds a single
//! one stands in [`crate::connection`].

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::addresses::Addresses;
use crate::app::App;
use crate::connection::Connections;
use crate::tls::Tls;

/// Limits of the listener. Every number says why.
#[derive(Clone)]
pub struct ListenerConfig {
    /// With which certificate; without one the listener speaks plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// Connections at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Connections at once of one address.
    pub connections_per_address: Option<NonZeroU32>,
    /// New connections a second of one address; a second's worth may come at once.
    pub new_connections_per_address: Option<NonZeroU32>,
    /// How long a client may keep the node waiting for the rest of a request, or with the answer, beyond what it
    /// earns by its bytes (1 KiB a second).
    pub client_wait: Duration,
    /// Time for the TLS handshake, for the first byte, and then for a whole request head.
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
            tls: None,
            // Half of a common descriptor limit (4,096 and up), so that files and engines have the other half.
            connections: 2_048,
            // A reverse proxy is one address, and opens a connection for each request that is under way at the worst:
            // half of a thousand calls. Nobody alone takes all connections.
            connections_per_address: NonZeroU32::new(512),
            // A proxy without keep-alive opens one for each request. A handshake costs about half a millisecond of a
            // core, so one address can take half of one.
            new_connections_per_address: NonZeroU32::new(1_000),
            // nginx waits 60 s for the next byte, whatever came before; a mobile client's worst gap is below 20 s.
            client_wait: Duration::from_secs(20),
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
    let slots = Arc::new(Semaphore::new(config.connections));
    let addresses = Addresses::new(config.connections_per_address, config.new_connections_per_address);
    app.set_over_tls(config.tls.is_some());
    let (notice, grace) = (config.drain_notice, config.grace);
    let accepting = Accepting {
        connections: Connections::new(app.clone(), config),
        listener,
        slots,
        addresses,
        graceful: GracefulShutdown::new(),
    };
    accepting.until(stop).await;
    app.drain();
    accepting.until(tokio::time::sleep(notice)).await;
    let Accepting { connections, graceful, .. } = accepting;
    connections.close();
    Ok(tokio::time::timeout(grace, graceful.shutdown()).await.is_ok())
}

struct Accepting {
    connections: Arc<Connections>,
    listener: TcpListener,
    slots: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    graceful: GracefulShutdown,
}

impl Accepting {
    async fn until(&self, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                (stream, address, slot) = self.next() => {
                    let counted = match self.addresses.enter(address.ip(), Instant::now()) {
                        Ok(counted) => counted,
                        Err(over) => {
                            // Closed without a word: whoever floods reads none.
                            self.connections.refused(over);
                            continue;
                        }
                    };
                    let (connections, watcher) = (self.connections.clone(), self.graceful.watcher());
                    tokio::spawn(async move {
                        connections.serve(stream, watcher).await;
                        drop((counted, slot));
                    });
                }
            }
        }
    }

    /// The next connection, once there is room for it. Errors of accepting (out of descriptors, say) are waited out.
    async fn next(&self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        let mut failed = 0_u32;
        loop {
            let Ok(slot) = self.slots.clone().acquire_owned().await else {
                // The semaphore is never closed.
                std::future::pending().await
            };
            match self.listener.accept().await {
                Ok((stream, address)) => return (stream, address, slot),
                Err(e) => {
                    // One line a second says it as well as twenty.
                    if failed.is_multiple_of(20) {
                        tracing::warn!(error = %e, "accepting a connection failed");
                    }
                    failed = failed.wrapping_add(1);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}
