//! `/api/v1/signing-keys`: the operator's.

use std::sync::Arc;

use aimass_platform::{NodeKey, Page};
use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;

use crate::app::App;
use crate::extract::{Ask, Paging, Params, Query};
use crate::problem::Rejection;

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<NodeKey>>, Rejection> {
    Ok(Answer(app.platform().signing_keys(ask.asked(), paging.after.as_deref(), paging.limit)?))
}

/// A new key signs from now on.
pub(crate) async fn rotate(State(app): State<Arc<App>>, ask: Ask) -> Result<(StatusCode, Answer<NodeKey>), Rejection> {
    Ok((StatusCode::CREATED, Answer(app.platform().rotate_signing_key(ask.asked()).await?)))
}

pub(crate) async fn revoke(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<StatusCode, Rejection> {
    app.platform().revoke_signing_key(ask.asked(), params.text("kid")?.to_owned()).await?;
    Ok(StatusCode::NO_CONTENT)
}
