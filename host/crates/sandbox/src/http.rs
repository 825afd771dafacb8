//! Calling an HTTP function.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use aimass_core::{Code, Fault, Result};
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError};
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{Error as HttpError, WasiHttpView as _};

use crate::body::{Body, End};
use crate::demotion::{Demotable, LongCalls};
use crate::fault;
use crate::log::escaped;
use crate::plugin::Plugin;
use crate::run::Deadline;
use crate::state::Guest;

type Head = Result<Response<HyperOutgoingBody>, ErrorCode>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Runs the guest in the caller's own task until it has ended or has set a head. Most guests end in the same
/// breath: then the whole answer is here, nothing is spawned, and a failure behind the head is still a clean fault.
/// Otherwise the guest goes on in a task of its own while its body is read.
pub(crate) async fn handle<B>(
    plugin: &Plugin,
    mut store: Store<Guest>,
    mut deadline: Deadline,
    long: &LongCalls,
    output: usize,
    request: Request<B>,
) -> Result<Response<Body>>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let pre = plugin.http.as_ref().ok_or_else(|| Plugin::unsupported("wasi:http/incoming-handler"))?.clone();
    let to_head = request.method() == Method::HEAD;
    let (scheme, request) = incoming(request)?;
    let (sender, mut head) = oneshot::channel();
    let mut view = store.data_mut().http();
    let request = view
        .new_incoming_request(scheme, request)
        .map_err(|error| Fault::invalid("the request has no usable host").caused_by(format_args!("{error:#}")))?;
    let out = view.new_response_outparam(sender).map_err(Fault::internal)?;

    let end = End::default();
    let told = end.clone();
    let meter = store.data().call().meter.clone();
    let run = Box::pin(async move {
        let call = async {
            let proxy = pre.instantiate_async(&mut store).await?;
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
        };
        let outcome = call.await.map_err(fault::of);
        // Before the store is dropped, and with it the guest's end of the body.
        let _ = told.set(outcome.clone());
        outcome
    });
    let mut run = long.demote(run, meter);

    let first = poll_fn(|cx| {
        if let Poll::Ready(outcome) = Pin::new(&mut run).poll(cx) {
            return Poll::Ready(First::Ended(outcome));
        }
        if !head.is_terminated()
            && let Poll::Ready(Ok(head)) = Pin::new(&mut head).poll(cx)
        {
            return Poll::Ready(First::Head(head));
        }
        deadline.poll(cx).map(|()| First::Ended(Err(fault::deadline())))
    })
    .await;

    match first {
        First::Ended(outcome) => {
            outcome?;
            let silent = || Fault::new(Code::PluginFault, "the plugin ended without an answer");
            let (parts, body) = answered(head.try_recv().map_err(|_| silent())?)?.into_parts();
            let declared = declared(&parts).filter(|_| !to_head && parts.status != StatusCode::NOT_MODIFIED);
            Ok(Response::from_parts(parts, Body::whole(body, output, declared)?))
        }
        First::Head(head) => {
            let (parts, body) = answered(head)?.into_parts();
            let declared = declared(&parts);
            let task = tokio::spawn(finish(run, deadline, end.clone())).abort_handle();
            Ok(Response::from_parts(parts, Body::streamed(body, end, task, output, declared)))
        }
    }
}

/// The length that the guest promised; wasmtime lets only digits through.
fn declared(parts: &Parts) -> Option<u64> {
    parts.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

enum First {
    Ended(Result<()>),
    Head(Head),
}

async fn finish(mut run: Demotable<()>, mut deadline: Deadline, end: End) {
    let outcome = poll_fn(|cx| match Pin::new(&mut run).poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(outcome),
        Poll::Pending => deadline.poll(cx).map(|()| Err(fault::deadline())),
    })
    .await;
    if let Err(fault) = &outcome {
        tracing::debug!(%fault, cause = fault.cause(), "an HTTP function failed behind its head");
    }
    // Set already unless the deadline passed; and then before `run` is dropped.
    let _ = end.set(outcome);
}

fn answered(head: Head) -> Result<Response<HyperOutgoingBody>> {
    head.map_err(|code| {
        let text = escaped(&code.to_string(), 512);
        Fault::new(Code::PluginFault, format!("the plugin answered with an error: {text}"))
    })
}

/// The request as wasmtime takes it: with an authority, and errors of its body in WASI's words.
fn incoming<B>(
    mut request: Request<B>,
) -> Result<(Scheme, Request<impl http_body::Body<Data = Bytes, Error = HttpError> + Send + 'static>)>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let scheme = match request.uri().scheme_str() {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    if request.uri().authority().is_none() && !request.headers().contains_key(header::HOST) {
        // HTTP/1.0 may do without; the guest's interface may not.
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
    }
    Ok((scheme, request.map(|body| body.map_err(|error| body_error(error.into())))))
}

fn body_error(error: BoxError) -> HttpError {
    if error.is::<LengthLimitError>() { HttpError::HttpRequestBodySize(None) } else { HttpError::ConnectionTerminated }
}
