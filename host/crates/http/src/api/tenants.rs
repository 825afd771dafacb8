//! `/api/v1/tenants`: the operator's.

use std::sync::Arc;

use aimass_core::Name;
use aimass_platform::{LimitsChange, Page, TenantDocument};
use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::app::App;
use crate::extract::{Ask, Json, Paging, Params, Query};
use crate::problem::Rejection;

/// A tenant that is to be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    /// Its name.
    #[schemars(with = "Name")]
    name: String,
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ask: Ask,
    Json(new): Json<NewTenant>,
) -> Result<(StatusCode, Answer<TenantDocument>), Rejection> {
    let tenant = app.platform().create_tenant(ask.asked(), new.name.parse()?).await?;
    Ok((StatusCode::CREATED, Answer(tenant)))
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<TenantDocument>>, Rejection> {
    let after = paging.after::<Name>()?;
    Ok(Answer(app.platform().tenants(ask.asked(), after.as_ref(), paging.limit)?))
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<TenantDocument>, Rejection> {
    Ok(Answer(app.platform().tenant(ask.asked(), &params.get("tenant")?)?))
}

/// A merge patch (RFC 7396) of the limits: what is null is the node's again.
pub(crate) async fn limit(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Json(change): Json<LimitsChange>,
) -> Result<Answer<TenantDocument>, Rejection> {
    Ok(Answer(app.platform().limit_tenant(ask.asked(), &params.get("tenant")?, change).await?))
}
