//! Many requests on one call (`ModelStreamInfer`): each gets one answer, in their order, and an error that is its own.

use std::sync::Arc;
use std::time::Instant;

use aimass_core::{Code, Fault, Result};
use aimass_platform::Routing;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::{Stream, StreamExt, stream};

use super::frame::{Messages, Patience, ending, replies};
use super::infer::call;
use super::messages::{Choice, InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use crate::app::App;
use crate::extract::Ask;
use crate::guard::bearer;
use crate::problem::{Rejection, log};
use crate::request::RequestId;
use crate::routing::Routed;

/// Requests of one stream that run at once: while one is read and another one's answer is written, the engine has
/// work. A client that wants more opens more streams; each request may hold as much memory as a REST body.
const AT_ONCE: usize = 4;

pub(crate) async fn infer(
    State(app): State<Arc<App>>,
    ask: Ask,
    patience: Patience,
    Routed(routing): Routed,
    request: Request,
) -> Result<Response, Rejection> {
    app.platform().may_call(&ask.caller)?;
    let token = bearer(request.headers())?.to_owned();
    let session = Arc::new(Session { app, token, patience, routing, request: ask.request.clone() });
    let requests = requests(session.clone(), Messages::of(request)?);
    let answers = requests.map(move |request| {
        let session = session.clone();
        async move {
            let answered = match request {
                Ok(request) => session.answer(request).await,
                Err(end) => Err(end),
            };
            answered.map_err(|fault| ending(&fault, session.request.as_str()))
        }
    });
    Ok(replies(answers.buffered(AT_ONCE)))
}

/// What the requests of one stream share.
struct Session {
    app: Arc<App>,
    token: String,
    patience: Patience,
    /// The same for all of them.
    routing: Routing,
    request: RequestId,
}

impl Session {
    /// # Errors
    /// What ends the whole stream. A token may end, or be revoked, while the stream goes on.
    async fn answer(&self, request: Result<ModelInferRequest>) -> Result<ModelStreamInferResponse> {
        let caller = self.app.platform().authenticate(&self.token).await?;
        let id = request.as_ref().map(|request| request.id.clone()).unwrap_or_default();
        let outcome = match request {
            Ok(request) => call(&self.app, &caller, self.patience, &self.routing, request, &self.request).await,
            Err(fault) => Err(fault),
        };
        let (error_message, mut response) = match outcome {
            Ok(response) => (String::new(), response),
            Err(fault) => {
                log(&fault, self.request.as_str());
                // The id says which request failed.
                (fault.to_string(), ModelInferResponse { id, ..ModelInferResponse::default() })
            }
        };
        // One answer a request, so each is its request's last. A client that asks for a message of its own that says
        // so (`triton_enable_empty_final_response`) asks for it where the last one does not say it.
        let last = InferParameter { choice: Some(Choice::Bool(true)) };
        response.parameters.insert("triton_final_response".to_owned(), last);
        Ok(ModelStreamInferResponse { error_message, infer_response: Some(response) })
    }

    /// Resolves when the stream must end although its client goes on.
    async fn ended(&self) -> Fault {
        let deadline = async {
            match self.patience.until() {
                Some(end) => tokio::time::sleep(end.saturating_duration_since(Instant::now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = deadline => Fault::new(Code::PluginDeadline, "the stream's deadline has passed"),
            () = self.app.drained() => Fault::new(Code::Unavailable, "this node is stopping; open a new stream"),
        }
    }
}

/// The requests as they come. Waiting for one may take as long as the client likes: the connection's keep-alive finds
/// out whether it is still there.
fn requests(
    session: Arc<Session>,
    messages: Messages<ModelInferRequest>,
) -> impl Stream<Item = Result<Result<ModelInferRequest>>> {
    stream::unfold(Some(messages), move |messages| {
        let session = session.clone();
        async move {
            let mut messages = messages?;
            let next = tokio::select! {
                next = messages.next() => next,
                fault = session.ended() => Err(fault),
            };
            match next {
                Ok(Some(request)) => Some((Ok(request), Some(messages))),
                Ok(None) => None,
                Err(fault) => Some((Err(fault), None)),
            }
        }
    })
}
