//! Messages in and out of a call's body. tonic frames them; limits and time are ours.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use aimass_core::limits::MAX_JSON;
use aimass_core::{Code, Fault, Result};
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use bytes::{Buf, Bytes};
use futures_util::stream::{self, Stream};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::request::Parts;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBody, SingleMessageCompressionOverride, Streaming};
use tonic_prost::ProstCodec;

use super::fault::{framing, status};
use crate::extract::next_chunk;
use crate::problem::Rejection;

/// A message that callers send.
pub(crate) trait Incoming: Message + Default + 'static {
    /// Its largest encoded size. All but tensors are small.
    const LIMIT: usize = MAX_JSON;

    /// Looks at the encoded message before it is decoded.
    ///
    /// # Errors
    /// For what would take much more memory decoded than it takes now.
    fn check(_encoded: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// The one message of a unary call.
pub(crate) struct Unary<T>(pub(crate) T);

impl<T: Incoming, S: Sync> FromRequest<S> for Unary<T> {
    type Rejection = Rejection;

    async fn from_request(request: Request, _: &S) -> Result<Self, Rejection> {
        let request = request.map(impatient);
        let mut messages = Messages::<T>::of(request)?;
        let message = messages.next().await?.ok_or_else(|| Fault::invalid("the call carries no message"))??;
        // To the body's end, so that the stream is closed in order.
        match messages.next().await? {
            None => Ok(Self(message)),
            Some(_) => Err(Fault::invalid("the call carries more than one message").into()),
        }
    }
}

/// The messages of a call, one after another.
pub(crate) struct Messages<T> {
    frames: Streaming<Bytes>,
    of: PhantomData<fn() -> T>,
}

impl<T: Incoming> Messages<T> {
    /// # Errors
    /// [`Code::UnsupportedMediaType`] for what is no gRPC, or is compressed.
    pub(super) fn of(request: Request) -> Result<Self> {
        let headers = request.headers();
        let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !matches!(media, "application/grpc" | "application/grpc+proto") {
            return Err(Fault::new(Code::UnsupportedMediaType, "the content type of a call is `application/grpc`"));
        }
        if headers.get("grpc-encoding").is_some_and(|encoding| encoding != "identity") {
            return Err(Fault::new(Code::UnsupportedMediaType, "compressed messages are not supported"));
        }
        let frames = Streaming::new_request(Whole, request.into_body(), None, Some(T::LIMIT));
        Ok(Self { frames, of: PhantomData })
    }

    /// The next message; none at the end.
    ///
    /// # Errors
    /// The outer one ends the call: the frames are broken, too large or cut off. The inner one is this message's own.
    pub(super) async fn next(&mut self) -> Result<Option<Result<T>>> {
        let Some(encoded) = self.frames.message().await.map_err(|status| framing(&status))? else { return Ok(None) };
        Ok(Some(decode(encoded)))
    }
}

fn decode<T: Incoming>(encoded: Bytes) -> Result<T> {
    T::check(&encoded)?;
    T::decode(encoded).map_err(|e| Fault::invalid(format!("the message is not valid protobuf: {e:.200}")))
}

/// Takes a message as it is: a slice of what came, decoded elsewhere.
struct Whole;

impl Decoder for Whole {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// The same body, given up when nothing comes for a while, as REST's bodies are.
fn impatient(body: Body) -> Body {
    Body::from_stream(stream::try_unfold(body, |mut body| async move {
        match next_chunk(&mut body).await {
            Ok(chunk) => Ok(chunk.map(|chunk| (chunk, body))),
            Err(fault) => Err(Status::invalid_argument(fault.detail())),
        }
    }))
}

/// The one message of an answer, and the status OK behind it.
pub(crate) struct Reply<T>(pub(crate) T);

impl<T: Message + Default + 'static> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        replies(stream::iter([Ok(self.0)]))
    }
}

/// An answer of many messages, and the status behind them.
pub(super) fn replies<T, S>(messages: S) -> Response
where
    T: Message + Default + 'static,
    S: Stream<Item = Result<T, Status>> + Send + 'static,
{
    let encoder = ProstCodec::<T, T>::default().encoder();
    let plain = SingleMessageCompressionOverride::default();
    // What a plugin or a model may give is bounded where it is made.
    let body = EncodeBody::new_server(encoder, messages, None, plain, Some(usize::MAX));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// When the caller stops waiting, by its `grpc-timeout`; counted from the request's head.
#[derive(Clone, Copy)]
pub(crate) struct Patience(Option<Instant>);

impl Patience {
    /// Until when, if the caller says.
    pub(super) fn until(self) -> Option<Instant> {
        self.0
    }

    /// The deadline of a call that wants `asked`, from now on.
    pub(super) fn within(self, asked: Option<Duration>) -> Option<Duration> {
        let left = self.0.map(|end| end.saturating_duration_since(Instant::now()));
        left.into_iter().chain(asked).min()
    }
}

impl<S: Sync> FromRequestParts<S> for Patience {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(timeout(&parts.headers).and_then(|left| Instant::now().checked_add(left))))
    }
}

/// `grpc-timeout`: at most eight digits and a unit. What is malformed is none, as in tonic's own server.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// The status that ends a call of many messages.
pub(super) fn ending(fault: &Fault, request: &str) -> Status {
    crate::problem::log(fault, request);
    status(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_str(text).unwrap());
            timeout(&headers)
        };
        assert_eq!(read("200m"), Some(Duration::from_millis(200)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(read("1n"), Some(Duration::from_nanos(1)));
        for bad in ["", "m", "1", "+1m", "-1m", "123456789m", "1 m", "1x", "1.5S"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
