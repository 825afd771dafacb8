//! What leaves the platform: requests that guests (and the platform itself) send to other machines.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

use crate::{Name, Tenant};

/// The body of an outgoing request, or of its answer.
pub type OutgoingBody = UnsyncBoxBody<Bytes, OutgoingError>;

/// Which wait was too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The name's addresses, the connection, the TLS handshake.
    Connect,
    /// The answer's head.
    FirstByte,
    /// The next bytes of the answer, or its end.
    Body,
}

/// Why an outgoing request was refused or failed. Of what is refused no packet has left, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutgoingError {
    /// Not a destination that can be checked.
    #[error("this is no destination: {0}")]
    InvalidDestination(&'static str),
    /// No rule of the tenant allows it.
    #[error("no egress rule allows {method} to {host}:{port}")]
    NotAllowed {
        /// The request's method.
        method: String,
        /// The host, normalised.
        host: String,
        /// The port.
        port: u16,
    },
    /// The tenant's data may not leave its region for that of the destination.
    #[error("data of the region `{from}` may not be sent to the region `{to}`: no transfer rule permits it")]
    TransferNotPermitted {
        /// The region that the tenant's data is labelled with.
        from: Name,
        /// The region that the destination is labelled with.
        to: Name,
    },
    /// The name stands for an address that nobody may reach through here.
    #[error("{host} is at {address}, {why}: nothing is sent there")]
    ForbiddenAddress {
        /// The host, normalised.
        host: String,
        /// The first of its addresses that is forbidden.
        address: IpAddr,
        /// What kind of address it is.
        why: &'static str,
    },
    /// The name has no address.
    #[error("{0} has no address")]
    NameNotFound(String),
    /// Nobody listens there.
    #[error("{0} refuses connections")]
    ConnectionRefused(String),
    /// There is no way there.
    #[error("{0} cannot be reached")]
    Unreachable(String),
    /// TLS failed: nothing of the request was sent.
    #[error("no TLS with {host}: {reason}")]
    Tls {
        /// The host, normalised.
        host: String,
        /// What rustls says.
        reason: String,
        /// Whether it was the certificate.
        certificate: bool,
    },
    /// It took too long.
    #[error("the destination took too long ({0:?})")]
    Timeout(Phase),
    /// The request's body is larger than what the call may still send; a part of it may have left.
    #[error("the request is larger than the call may send: {0} bytes")]
    RequestTooLarge(u64),
    /// The answer is larger than what the call may still receive.
    #[error("the answer is larger than the call may receive: {0} bytes")]
    ResponseTooLarge(u64),
    /// The tenant's guests have sent as much today as they may.
    #[error("the tenant's guests have sent {used} bytes of the {limit} that they may send in a day")]
    QuotaExceeded {
        /// Bytes that they have sent since midnight UTC.
        used: u64,
        /// Bytes that they may.
        limit: u64,
    },
    /// The call has sent as many requests as it may.
    #[error("a call sends at most {0} requests")]
    TooManyRequests(u32),
    /// The connection broke, or what came is no HTTP.
    #[error("the connection broke off: {0}")]
    Broken(String),
    /// The platform could not do its part.
    #[error("the platform could not send the request")]
    Internal,
}

impl OutgoingError {
    /// The reason as a stable word, for counters and records.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidDestination(_) => "invalid_destination",
            Self::NotAllowed { .. } => "not_allowed",
            Self::TransferNotPermitted { .. } => "transfer_not_permitted",
            Self::ForbiddenAddress { .. } => "forbidden_address",
            Self::NameNotFound(_) => "name_not_found",
            Self::ConnectionRefused(_) => "connection_refused",
            Self::Unreachable(_) => "unreachable",
            Self::Tls { .. } => "tls",
            Self::Timeout(_) => "timeout",
            Self::RequestTooLarge(_) => "request_too_large",
            Self::ResponseTooLarge(_) => "response_too_large",
            Self::QuotaExceeded { .. } => "quota_exceeded",
            Self::TooManyRequests(_) => "too_many_requests",
            Self::Broken(_) => "broken",
            Self::Internal => "internal",
        }
    }

    /// Whether it was refused by a rule, and not merely failed.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::InvalidDestination(_)
                | Self::NotAllowed { .. }
                | Self::TransferNotPermitted { .. }
                | Self::ForbiddenAddress { .. }
                | Self::QuotaExceeded { .. }
        )
    }
}

/// How long a request may wait, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For addresses, connection and TLS together.
    pub connect: Duration,
    /// For the answer's head, from when the connection stands.
    pub first_byte: Duration,
    /// For the next bytes of the answer.
    pub between_bytes: Duration,
    /// When all of it must be over.
    pub deadline: Instant,
}

/// On whose behalf a request is sent.
#[derive(Clone, Debug)]
pub struct OutgoingCall {
    /// The guest's tenant, whose policy decides.
    pub tenant: Tenant,
    /// The plugin that asks.
    pub plugin: Name,
    /// The request that the guest answers.
    pub request_id: Arc<str>,
    /// How long it may take.
    pub patience: Patience,
}

/// Sends what guests want to send, if their tenant's policy lets them.
#[async_trait]
pub trait Outgoing: Send + Sync {
    /// Sends `request`, whose URI is absolute, and returns the answer's head; the body follows. A redirect is an
    /// answer like every other one.
    ///
    /// # Errors
    /// Why it was not sent, or not answered.
    async fn send(
        &self,
        call: OutgoingCall,
        request: http::Request<OutgoingBody>,
    ) -> Result<http::Response<OutgoingBody>, OutgoingError>;
}
