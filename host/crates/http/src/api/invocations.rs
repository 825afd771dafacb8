//! `/api/v1/invocations`: asynchronous calls.

use std::sync::Arc;

use aimass_platform::{InvocationDetail, InvocationDocument, InvocationQuery, Page};
use axum::Json as Answer;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::app::App;
use crate::extract::{Ask, Params, Query};
use crate::later;
use crate::problem::Rejection;

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(query): Query<InvocationQuery>,
) -> Result<Answer<Page<InvocationDocument>>, Rejection> {
    Ok(Answer(app.platform().invocations(ask.asked(), query)?))
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<InvocationDetail>, Rejection> {
    Ok(Answer(app.platform().invocation(ask.asked(), params.text("invocation")?).await?))
}

/// Status, header and body as the call gave them.
pub(crate) async fn result(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<Response, Rejection> {
    let (call, answer) = app.platform().invocation_result(ask.asked(), params.text("invocation")?).await?;
    Ok(later::result(&call, answer)?)
}

pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<InvocationDocument>, Rejection> {
    Ok(Answer(app.platform().cancel_invocation(ask.asked(), params.text("invocation")?).await?))
}

pub(crate) async fn retry(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<(StatusCode, Answer<InvocationDocument>), Rejection> {
    let call = app.platform().retry_invocation(ask.asked(), params.text("invocation")?).await?;
    Ok((StatusCode::ACCEPTED, Answer(call)))
}
