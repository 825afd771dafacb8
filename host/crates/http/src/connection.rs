//! One connection: its handshake, its first byte, its protocol, and what bounds each.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::addresses::Over;
use crate::app::{App, handle};
use crate::listener::ListenerConfig;
use crate::owed::Owed;
use crate::pace::Paced;

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How often a connection that has sent a part of that is looked at again.
const PREFACE_POLL: Duration = Duration::from_millis(20);

/// Serves connections.
pub(crate) struct Connections {
    app: Arc<App>,
    router: Router,
    http1: Builder<TokioExecutor>,
    http2: Builder<TokioExecutor>,
    config: ListenerConfig,
    /// Set when connections that have not begun to speak are not waited for any more.
    closing: watch::Sender<bool>,
}

/// Which protocol a client speaks. hyper-util would find out by itself, but waits for that without a limit.
#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

impl Connections {
    pub(crate) fn new(app: Arc<App>, config: ListenerConfig) -> Arc<Self> {
        let builder = builder(&config);
        let (http1, http2) = (builder.clone().http1_only(), builder.http2_only());
        Arc::new(Self { router: app.router(), app, http1, http2, config, closing: watch::Sender::new(false) })
    }

    /// From now on, connections that have not begun to speak are closed. Those that have are ended by their watcher.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// A connection was closed because its address is over a limit.
    pub(crate) fn refused(&self, over: Over) {
        self.app.metrics().refused(match over {
            Over::Open => "address_connections",
            Over::Rate => "address_rate",
        });
    }

    /// Serves a connection to its end.
    pub(crate) async fn serve(&self, stream: TcpStream, watcher: Watcher) {
        // Answers are written whole; waiting for more bytes (Nagle) only delays them.
        let _ = stream.set_nodelay(true);
        let metrics = self.app.metrics();
        metrics.connections.inc();
        match self.config.tls.as_ref().map(|tls| TlsAcceptor::from(tls.current())) {
            Some(acceptor) => {
                let handshake = acceptor.accept(Paced::new(stream, self.config.client_wait));
                if let Some(Ok(stream)) = self.beginning(handshake).await {
                    let protocol = match stream.get_ref().1.alpn_protocol() {
                        Some(b"h2") => Protocol::Http2,
                        _ => Protocol::Http1,
                    };
                    self.http(stream, protocol, watcher).await;
                } else {
                    metrics.refused("handshake");
                }
            }
            None => match self.beginning(first_bytes(&stream)).await {
                Some(Ok(protocol)) => {
                    self.http(Paced::new(stream, self.config.client_wait), protocol, watcher).await;
                }
                _ => metrics.refused("silent"),
            },
        }
        metrics.connections.dec();
    }

    /// What comes before a request, unless it takes too long or the node stops.
    async fn beginning<T>(&self, until: impl Future<Output = T>) -> Option<T> {
        let mut closing = self.closing.subscribe();
        tokio::select! {
            outcome = tokio::time::timeout(self.config.head_timeout, until) => outcome.ok(),
            _ = closing.wait_for(|closing| *closing) => None,
        }
    }

    async fn http<S>(&self, stream: S, protocol: Protocol, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let wait = self.config.client_wait;
        let owed = match protocol {
            // What is written and not taken is all that there can be.
            Protocol::Http1 => None,
            Protocol::Http2 => Some(Owed::new(wait)),
        };
        let service = service_fn(|request| {
            let answer = handle(self.app.clone(), self.router.clone(), wait, request);
            let owed = owed.clone();
            async move {
                let answer = answer.await?;
                Ok::<_, Infallible>(match owed {
                    Some(owed) => owed.watch(answer),
                    None => answer,
                })
            }
        });
        let builder = match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
        };
        let overdue = async {
            match &owed {
                Some(owed) => owed.overdue().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = watcher.watch(builder.serve_connection(TokioIo::new(stream), service)) => {
                if let Err(e) = ended {
                    tracing::debug!(error = %e, "a connection ended with an error");
                }
            }
            () = overdue => tracing::debug!("a connection was closed: its client does not take its answers"),
        }
    }
}

/// Which protocol a plain connection begins with. Nothing is taken from it.
async fn first_bytes(stream: &TcpStream) -> std::io::Result<Protocol> {
    let mut bytes = [0; PREFACE.len()];
    loop {
        let there = stream.peek(&mut bytes).await?;
        let begins = PREFACE.starts_with(&bytes[..there]);
        match there {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ if !begins => return Ok(Protocol::Http1),
            n if n == PREFACE.len() => return Ok(Protocol::Http2),
            // The bytes that are there already are told again at once.
            _ => tokio::time::sleep(PREFACE_POLL).await,
        }
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
        // Bounds CONTINUATION frames as well (CVE-2024-27316): h2 counts them against the list that they could hold.
        .max_header_list_size(u32::try_from(config.head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        // Rapid reset (CVE-2023-44487): streams that were reset before they were accepted.
        .max_pending_accept_reset_streams(20)
        // MadeYouReset (CVE-2025-8671): streams that the client made this end reset.
        .max_local_error_reset_streams(100);
    builder
}
