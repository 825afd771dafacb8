//! `/api/v1/plugins/{name}/secrets`: set and deleted, and never shown.

use std::sync::Arc;

use aimass_platform::{MAX_SECRET, Page, SecretDocument};
use axum::Json as Answer;
use axum::extract::{Request, State};
use http::StatusCode;

use crate::app::App;
use crate::extract::{Ask, Paging, Params, Query, whole_body};
use crate::problem::Rejection;

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<SecretDocument>>, Rejection> {
    let plugin = params.get("name")?;
    Ok(Answer(app.platform().secrets(ask.asked(), &plugin, paging.after.as_deref(), paging.limit).await?))
}

/// The body is the value, as it is.
pub(crate) async fn set(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    request: Request,
) -> Result<(StatusCode, Answer<SecretDocument>), Rejection> {
    let value = whole_body(request, MAX_SECRET).await?;
    let plugin = params.get("name")?;
    let (secret, new) = app.platform().set_secret(ask.asked(), &plugin, params.text("key")?, &value).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Answer(secret)))
}

pub(crate) async fn delete(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<StatusCode, Rejection> {
    app.platform().delete_secret(ask.asked(), &params.get("name")?, params.text("key")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
