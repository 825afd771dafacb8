//! `/api/v1/plugins/{name}/secrets`: set and deleted, and never shown.

use std::sync::Arc;

use aimass_platform::{MAX_SECRET, Page, SecretDocument};
use axum::Json as Answer;
use axum::extract::{Request, State};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

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

/// `?everywhere=true`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Reach {
    /// Also for aliases that serve with the settings of before, and for what a rollback brings back.
    everywhere: bool,
}

/// The body is the value, as it is.
pub(crate) async fn set(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(reach): Query<Reach>,
    request: Request,
) -> Result<(StatusCode, Answer<SecretDocument>), Rejection> {
    let value = whole_body(request, MAX_SECRET).await?;
    let plugin = params.get("name")?;
    let key = params.text("key")?;
    let (secret, new) = app.platform().set_secret(ask.asked(), &plugin, key, &value, reach.everywhere).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Answer(secret)))
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(reach): Query<Reach>,
) -> Result<StatusCode, Rejection> {
    let (plugin, key) = (params.get("name")?, params.text("key")?);
    app.platform().delete_secret(ask.asked(), &plugin, key, reach.everywhere).await?;
    Ok(StatusCode::NO_CONTENT)
}
