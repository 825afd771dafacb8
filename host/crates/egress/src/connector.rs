//! Connecting, and sending one request over one connection.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aimass_core::Result;
use aimass_core::outgoing::{OutgoingBody, OutgoingError, Patience, Phase};
use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::address::forbidden;
use crate::body::{Answer, Driven};
use crate::destination::{Destination, Host, PrivateDestination};
use crate::resolve::{Resolve, System};
use crate::tls;

/// Addresses of one name that are tried, each with its part of the time.
const TRIED: usize = 4;

/// Bytes of an answer's head; browsers and proxies end between 8 and 256 KiB.
const MAX_HEAD: usize = 64 << 10;

/// Fields of an answer's head.
const MAX_FIELDS: usize = 128;

/// How a connector is built.
#[derive(Clone, Debug, Default)]
pub struct EgressConfig {
    /// Internal destinations that may be connected to, though their addresses are not public.
    pub private: Vec<PrivateDestination>,
    /// A PEM file of certificates that are trusted beside the system's: a company's own authority.
    pub extra_roots: Option<PathBuf>,
}

/// Connects to what may be connected to. Cheap to share behind an `Arc`.
pub struct Connector {
    private: Vec<PrivateDestination>,
    tls: Arc<ClientConfig>,
    resolver: Arc<dyn Resolve>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connector {
    /// A connector that asks the system's resolver.
    ///
    /// # Errors
    /// `invalid_request` if the extra roots cannot be read.
    pub fn new(config: EgressConfig) -> Result<Self> {
        Self::with_resolver(config, Arc::new(System))
    }

    /// The same with a resolver of one's own.
    ///
    /// # Errors
    /// As for [`Connector::new`].
    pub fn with_resolver(config: EgressConfig, resolver: Arc<dyn Resolve>) -> Result<Self> {
        let tls = tls::config(config.extra_roots.as_deref())?;
        Ok(Self { private: config.private, tls, resolver })
    }

    /// Sends a request, whose URI is absolute, over a connection of its own, and returns the answer's head. Dropping
    /// the body closes the connection.
    ///
    /// # Errors
    /// What is refused was refused before any packet to the destination; of what fails a part may have been sent.
    pub async fn send(
        &self,
        mut request: Request<OutgoingBody>,
        patience: &Patience,
    ) -> Result<Response<OutgoingBody>, OutgoingError> {
        let to = Destination::of(request.uri())?;
        if request.method() == Method::CONNECT {
            return Err(OutgoingError::InvalidDestination("nothing is tunnelled"));
        }
        address_to(&mut request)?;
        let deadline = Instant::from_std(patience.deadline);
        let until = |wait: Duration| Instant::now().checked_add(wait).map_or(deadline, |at| at.min(deadline));

        let by = until(patience.connect);
        let stream = match timeout_at(by, self.connect(&to, by)).await {
            Ok(connected) => connected?,
            Err(_) => return Err(OutgoingError::Timeout(Phase::Connect)),
        };
        let mut http = http1::Builder::new();
        http.max_headers(MAX_FIELDS).max_buf_size(MAX_HEAD);
        let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
        // Its failure is told by what is sent over it.
        let driven = Driven(tokio::spawn(async move { drop(connection.await) }).abort_handle());
        match timeout_at(until(patience.first_byte), sender.send_request(request)).await {
            Ok(Ok(response)) => {
                Ok(response
                    .map(|incoming| Answer::new(incoming, patience.between_bytes, deadline, driven).boxed_unsync()))
            }
            Ok(Err(error)) => Err(broken(&error)),
            Err(_) => Err(OutgoingError::Timeout(Phase::FirstByte)),
        }
    }

    /// Gets a document of at most `limit` bytes within `whole`. Whatever the status is: a redirect is not followed.
    ///
    /// # Errors
    /// As for [`Connector::send`]; `ResponseTooLarge`.
    pub async fn get(&self, url: &str, limit: usize, whole: Duration) -> Result<Response<Bytes>, OutgoingError> {
        let uri: Uri = url.parse().map_err(|_| OutgoingError::InvalidDestination("it is no URL"))?;
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let mut request = Request::new(body);
        *request.uri_mut() = uri;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json, */*;q=0.5"));
        let now = std::time::Instant::now();
        let deadline = now.checked_add(whole).unwrap_or(now);
        let patience = Patience { connect: whole, first_byte: whole, between_bytes: whole, deadline };
        let (parts, body) = self.send(request, &patience).await?.into_parts();
        let bytes =
            Limited::new(body, limit).collect().await.map_err(|error| match error.downcast::<OutgoingError>() {
                Ok(error) => *error,
                Err(error) if error.is::<LengthLimitError>() => OutgoingError::ResponseTooLarge(limit as u64),
                Err(_) => OutgoingError::Internal,
            })?;
        Ok(Response::from_parts(parts, bytes.to_bytes()))
    }

    /// A stream to the destination, with TLS on it if it wants that.
    async fn connect(&self, to: &Destination, by: Instant) -> Result<Box<dyn Stream>, OutgoingError> {
        let addresses = self.addresses(to).await?;
        let stream = reach(to, &addresses, by).await?;
        if !to.tls {
            return Ok(Box::new(stream));
        }
        let name = match &to.host {
            Host::Address(address) => ServerName::IpAddress((*address).into()),
            Host::Name(name) => ServerName::try_from(name.clone())
                .map_err(|_| OutgoingError::InvalidDestination("no certificate can bear this name"))?,
        };
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await.map_err(|e| tls_error(to, &e))?;
        Ok(Box::new(stream))
    }

    /// The destination's addresses, looked up once, if all of them may be connected to. One that may not spoils the
    /// others: who mixes them is trying.
    async fn addresses(&self, to: &Destination) -> Result<Vec<SocketAddr>, OutgoingError> {
        let found = match &to.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => match self.resolver.addresses(name).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::debug!(name, %error, "a name was not resolved");
                    vec![]
                }
            },
        };
        if found.is_empty() {
            return Err(OutgoingError::NameNotFound(to.host.to_string()));
        }
        for &address in &found {
            if let Some(why) = forbidden(address)
                && !self.lets_in(to, why.internal)
            {
                return Err(OutgoingError::ForbiddenAddress { host: to.host.to_string(), address, why: why.why });
            }
        }
        Ok(found.into_iter().map(|address: IpAddr| SocketAddr::new(address, to.port)).collect())
    }

    /// Whether the operator lets this destination in: an internal one by name or address, others by address alone.
    fn lets_in(&self, to: &Destination, internal: bool) -> bool {
        (internal || matches!(to.host, Host::Address(_)))
            && self.private.iter().any(|private| private.host == to.host && private.port == to.port)
    }
}

/// Turns the absolute URI into what a server is sent: the path alone, and the authority in `Host`.
fn address_to(request: &mut Request<OutgoingBody>) -> Result<(), OutgoingError> {
    let invalid = |_| OutgoingError::InvalidDestination("the host cannot be sent");
    let authority = request.uri().authority().map(|a| a.as_str()).unwrap_or_default();
    let host = HeaderValue::from_str(authority).map_err(invalid)?;
    request.headers_mut().insert(HOST, host);
    let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    Ok(())
}

/// Tries one address after the other.
async fn reach(to: &Destination, addresses: &[SocketAddr], by: Instant) -> Result<TcpStream, OutgoingError> {
    let mut failure = OutgoingError::Unreachable(to.to_string());
    let tried = &addresses[..addresses.len().min(TRIED)];
    for (i, address) in tried.iter().enumerate() {
        let left = by.saturating_duration_since(Instant::now());
        let part = left / u32::try_from(tried.len() - i).unwrap_or(1);
        match timeout_at(Instant::now() + part, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small writes are whole messages here. A socket that refuses the option works as well.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                failure = OutgoingError::ConnectionRefused(to.to_string());
            }
            Ok(Err(error)) => tracing::debug!(%to, %error, "no connection"),
            Err(_) => failure = OutgoingError::Timeout(Phase::Connect),
        }
    }
    Err(failure)
}

fn tls_error(to: &Destination, error: &io::Error) -> OutgoingError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    OutgoingError::Tls {
        host: to.host.to_string(),
        reason: inner.map_or_else(|| error.to_string(), ToString::to_string),
        certificate: matches!(inner, Some(rustls::Error::InvalidCertificate(_))),
    }
}

/// What hyper says; an error that the request's own body ended with is that error.
pub(crate) fn broken(error: &hyper::Error) -> OutgoingError {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(ours) = inner.downcast_ref::<OutgoingError>() {
            return ours.clone();
        }
        source = inner.source();
    }
    OutgoingError::Broken(error.to_string())
}
