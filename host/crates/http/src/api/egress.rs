//! `/api/v1/egress`: where guests may send to, and across which regions.

use std::sync::Arc;

use aimass_core::Name;
use aimass_core::policy::{EgressRule, TransferRule};
use aimass_platform::{EgressWish, Page, RegionDocument, TransferWish};
use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::app::App;
use crate::extract::{Ask, Json, Paging, Params, Query};
use crate::problem::Rejection;

pub(crate) async fn rules(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<EgressRule>>, Rejection> {
    Ok(Answer(app.platform().egress_rules(ask.asked(), paging.after.as_deref(), paging.limit)?))
}

pub(crate) async fn allow(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Json(wish): Json<EgressWish>,
) -> Result<Answer<EgressRule>, Rejection> {
    Ok(Answer(app.platform().allow_egress(ask.asked(), params.text("host")?, wish).await?))
}

pub(crate) async fn remove(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<StatusCode, Rejection> {
    app.platform().remove_egress(ask.asked(), params.text("host")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn transfers(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<TransferRule>>, Rejection> {
    Ok(Answer(app.platform().transfers(ask.asked(), paging.after.as_deref(), paging.limit)?))
}

pub(crate) async fn allow_transfer(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Json(wish): Json<TransferWish>,
) -> Result<Answer<TransferRule>, Rejection> {
    let (from, to) = (params.get("from")?, params.get("to")?);
    Ok(Answer(app.platform().allow_transfer(ask.asked(), from, to, wish).await?))
}

pub(crate) async fn remove_transfer(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<StatusCode, Rejection> {
    app.platform().remove_transfer(ask.asked(), params.get("from")?, params.get("to")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn region(State(app): State<Arc<App>>, ask: Ask) -> Result<Answer<RegionDocument>, Rejection> {
    Ok(Answer(app.platform().data_region(ask.asked())?))
}

/// A region, or null for the node's.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Label {
    #[serde(deserialize_with = "Option::deserialize")]
    /// The region; null for the node's.
    region: Option<Name>,
}

pub(crate) async fn set_region(
    State(app): State<Arc<App>>,
    ask: Ask,
    Json(label): Json<Label>,
) -> Result<Answer<RegionDocument>, Rejection> {
    Ok(Answer(app.platform().set_data_region(ask.asked(), label.region).await?))
}
