//! `/api/v1/models`.

use std::sync::Arc;

use aimass_core::Name;
use aimass_core::event::{Device, Kind};
use aimass_platform::{ModelDocument, ObjectSummary, Page, VersionDocument};
use axum::Json as Answer;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use crate::api::upload;
use crate::app::App;
use crate::extract::{Ask, Paging, Params, Query};
use crate::problem::Rejection;

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<ObjectSummary>>, Rejection> {
    let after = paging.after::<Name>()?;
    Ok(Answer(app.platform().models(ask.asked(), after.as_ref(), paging.limit)?))
}

/// `?device=cpu`: where the model must run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Placing {
    #[serde(default)]
    pub(crate) device: Device,
}

pub(crate) async fn upload(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(placing): Query<Placing>,
    request: Request,
) -> Result<Response, Rejection> {
    Ok(upload::receive(&app, &ask, &params, (Kind::Model, placing.device, Default::default()), request).await?)
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<ModelDocument>, Rejection> {
    Ok(Answer(app.platform().model(ask.asked(), &params.get("name")?).await?))
}

pub(crate) async fn delete(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<StatusCode, Rejection> {
    app.platform().delete_model(ask.asked(), &params.get("name")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn versions(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<VersionDocument>>, Rejection> {
    let (name, after) = (params.get("name")?, paging.after_version()?);
    Ok(Answer(app.platform().model_versions(ask.asked(), &name, after, paging.limit)?))
}

pub(crate) async fn version(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<VersionDocument>, Rejection> {
    let version = params.version()?.unwrap_or_default();
    Ok(Answer(app.platform().model_version(ask.asked(), &params.get("name")?, version)?))
}
