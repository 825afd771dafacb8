//! `wasi:http/outgoing-handler`: what a guest sends goes through its tenant's policy, or nowhere.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use aimass_core::limits::CALL_DEPTH;
use aimass_core::outgoing::{Outgoing, OutgoingBody, OutgoingCall, OutgoingError, Patience, Phase};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, Result as HttpResult, WasiBody, WasiHttpHooks,
};

use crate::log::{Level, Log};
use crate::state::Services;

/// Time for addresses, connection and TLS, unless the guest gives less.
const CONNECT: Duration = Duration::from_secs(10);

/// One call's way out.
pub(crate) struct Egress {
    services: Arc<Services>,
    log: Arc<Log>,
    deadline: Instant,
    requests: u32,
    /// Made with the first request: most calls send none.
    budget: Option<Arc<Budget>>,
}

/// Bytes of bodies that the call's requests and their answers may still hold together.
struct Budget {
    left: AtomicU64,
    limit: u64,
}

impl Budget {
    fn take(&self, bytes: usize) -> bool {
        let take = |left: u64| left.checked_sub(bytes as u64);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

type Sent = HttpResult<(Response<WasiBody>, Box<dyn Future<Output = HttpResult<()>> + Send>)>;

impl Egress {
    pub(crate) fn new(services: Arc<Services>, log: Arc<Log>, deadline: Instant) -> Self {
        Self { services, log, deadline, requests: 0, budget: None }
    }

    /// Who sends, how long it may take, and what it may still weigh.
    fn admit(&mut self, options: Option<RequestOptions>) -> Result<Admitted, OutgoingError> {
        let call = &self.log.call;
        let Some(outgoing) = &self.services.outgoing else { return Err(OutgoingError::Internal) };
        if self.requests == call.limits.outgoing_requests {
            return Err(OutgoingError::TooManyRequests(self.requests));
        }
        self.requests += 1;
        let limit = call.limits.outgoing_bytes;
        let budget = self.budget.get_or_insert_with(|| Arc::new(Budget { left: AtomicU64::new(limit), limit }));
        let options = options.unwrap_or_default();
        let left = self.deadline.saturating_duration_since(Instant::now());
        let patience = Patience {
            connect: options.connect_timeout.unwrap_or(CONNECT).min(CONNECT),
            first_byte: options.first_byte_timeout.unwrap_or(left).min(left),
            between_bytes: options.between_bytes_timeout.unwrap_or(left).min(left),
            deadline: self.deadline,
        };
        let (tenant, plugin, request_id) = (call.tenant.clone(), call.plugin.clone(), call.request_id.clone());
        let call = OutgoingCall { tenant, plugin, request_id, patience };
        Ok(Admitted { outgoing: outgoing.clone(), call, budget: budget.clone() })
    }
}

struct Admitted {
    outgoing: Arc<dyn Outgoing>,
    call: OutgoingCall,
    budget: Arc<Budget>,
}

impl Admitted {
    async fn send(self, request: Request<WasiBody>) -> Result<Response<WasiBody>, OutgoingError> {
        let Self { outgoing, call, budget } = self;
        let own = budget.clone();
        let request = request.map(|body| {
            let body = body.map_err(|error| OutgoingError::Broken(error.to_string()));
            Counted { inner: body.boxed_unsync(), budget: own, over: OutgoingError::RequestTooLarge }.boxed_unsync()
        });
        // Whatever sends, the call's deadline holds.
        let deadline = call.patience.deadline;
        let response = tokio::time::timeout_at(deadline.into(), outgoing.send(call, request))
            .await
            .map_err(|_| OutgoingError::Timeout(Phase::FirstByte))??;
        Ok(response.map(|inner| {
            let counted = Counted { inner, budget, over: OutgoingError::ResponseTooLarge };
            counted.map_err(|error| told(&error)).boxed_unsync()
        }))
    }
}

impl WasiHttpHooks for Egress {
    // The default of this one allocates a closure for every header that is looked at.
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = HttpResult<()>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        if self.services.outgoing.is_none() {
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        }
        // Over whatever the guest wrote there: so a loop of guests that call one another ends.
        request.headers_mut().insert(CALL_DEPTH, HeaderValue::from(self.log.call.depth.saturating_add(1)));
        let (admitted, log) = (self.admit(options), self.log.clone());
        let mut span = crate::host::carry::on(&log.call, &mut request);
        Box::new(async move {
            let outcome = match admitted {
                Ok(admitted) => admitted.send(request).await,
                Err(error) => Err(error),
            };
            match &outcome {
                Ok(response) => span.note("http.response.status_code", u64::from(response.status().as_u16())),
                Err(error) => span.fail(|| error.reason().into()),
            }
            drop(span);
            match outcome {
                Ok(response) => {
                    let done: Box<dyn Future<Output = HttpResult<()>> + Send> = Box::new(std::future::ready(Ok(())));
                    Ok((response, done))
                }
                Err(error) => {
                    // The guest learns the kind of it; whoever reads its log, all.
                    log.line(Level::Warn, "outgoing", &error.to_string());
                    Err(told(&error))
                }
            }
        })
    }

    // Sixteen pieces of 64 KiB: most answers are whole before the guest has to wait for the caller to take them,
    // and a caller that takes nothing costs 1 MiB at most.
    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        16
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        64 << 10
    }
}

/// A body that ends with an error when the call's budget is used up.
struct Counted {
    inner: OutgoingBody,
    budget: Arc<Budget>,
    over: fn(u64) -> OutgoingError,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = OutgoingError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutgoingError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        Poll::Ready(if self.budget.take(bytes) { frame } else { Some(Err((self.over)(self.budget.limit))) })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The error in the words of `wasi:http`.
fn told(error: &OutgoingError) -> Error {
    match error {
        OutgoingError::InvalidDestination(_) => Error::HttpRequestUriInvalid,
        OutgoingError::NotAllowed { .. } => Error::HttpRequestDenied,
        // The one case that has room for words, and these name both regions.
        OutgoingError::TransferNotPermitted { .. } => {
            Error::InternalError(Some(format!("{}: {error}", error.reason())))
        }
        OutgoingError::ForbiddenAddress { .. } => Error::DestinationIpProhibited,
        OutgoingError::NameNotFound(_) => Error::DnsError { rcode: None, info_code: None },
        OutgoingError::ConnectionRefused(_) => Error::ConnectionRefused,
        OutgoingError::Unreachable(_) => Error::DestinationUnavailable,
        OutgoingError::Tls { certificate: true, .. } => Error::TlsCertificateError,
        OutgoingError::Tls { .. } => Error::TlsProtocolError,
        OutgoingError::Timeout(Phase::Connect) => Error::ConnectionTimeout,
        OutgoingError::Timeout(Phase::FirstByte) => Error::HttpResponseTimeout,
        OutgoingError::Timeout(Phase::Body) => Error::ConnectionReadTimeout,
        OutgoingError::RequestTooLarge(limit) => Error::HttpRequestBodySize(Some(*limit)),
        OutgoingError::ResponseTooLarge(limit) => Error::HttpResponseBodySize(Some(*limit)),
        OutgoingError::QuotaExceeded { .. } => Error::InternalError(Some(format!("{}: {error}", error.reason()))),
        OutgoingError::TooManyRequests(_) => Error::ConnectionLimitReached,
        OutgoingError::Broken(_) => Error::ConnectionTerminated,
        OutgoingError::Internal => Error::InternalError(None),
    }
}
