//! `/api/v1/plugins`.

use std::sync::Arc;

use aimass_core::Name;
use aimass_core::event::{Device, Kind, Settings};
use aimass_platform::{ObjectDocument, ObjectSummary, Page, VersionDocument};
use axum::Json as Answer;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::upload;
use crate::app::App;
use crate::extract::{Ask, Json, Paging, Params, Query};
use crate::problem::Rejection;

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<ObjectSummary>>, Rejection> {
    let after = paging.after::<Name>()?;
    Ok(Answer(app.platform().plugins(ask.asked(), after.as_ref(), paging.limit)?))
}

pub(crate) async fn upload(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(wish): Query<upload::PluginWish>,
    request: Request,
) -> Result<Response, Rejection> {
    Ok(upload::receive(&app, &ask, &params, (Kind::Plugin, Device::Auto, wish), request).await?)
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<ObjectDocument>, Rejection> {
    Ok(Answer(app.platform().plugin(ask.asked(), &params.get("name")?)?))
}

pub(crate) async fn delete(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<StatusCode, Rejection> {
    app.platform().delete_plugin(ask.asked(), &params.get("name")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn versions(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<VersionDocument>>, Rejection> {
    let (name, after) = (params.get("name")?, paging.after_version()?);
    Ok(Answer(app.platform().plugin_versions(ask.asked(), &name, after, paging.limit)?))
}

pub(crate) async fn version(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<VersionDocument>, Rejection> {
    let version = params.version()?.unwrap_or_default();
    Ok(Answer(app.platform().plugin_version(ask.asked(), &params.get("name")?, version)?))
}

pub(crate) async fn settings(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<Settings>, Rejection> {
    Ok(Answer(app.platform().settings(ask.asked(), &params.get("name")?).await?))
}

pub(crate) async fn replace_settings(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Json(settings): Json<Settings>,
) -> Result<Answer<Settings>, Rejection> {
    let name = params.get("name")?;
    app.platform().replace_settings(ask.asked(), &name, settings.clone()).await?;
    Ok(Answer(settings))
}

/// Who may call a plugin under `/fn`.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunctionAccess {
    /// Whether anybody may, without a token.
    public: bool,
}

pub(crate) async fn set_access(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Json(access): Json<FunctionAccess>,
) -> Result<Answer<FunctionAccess>, Rejection> {
    app.platform().set_public(ask.asked(), &params.get("name")?, access.public).await?;
    Ok(Answer(access))
}
