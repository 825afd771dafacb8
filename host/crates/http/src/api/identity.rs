//! `/api/v1/issuers` and `/api/v1/roles`: whom a tenant lets in, and what they may do.

use std::sync::Arc;

use aimass_core::Name;
use aimass_platform::{IssuerDocument, IssuerRequest, Page, RevocationWish, RoleDocument, RoleRequest};
use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;

use crate::app::App;
use crate::extract::{Ask, Json, Paging, Params, Query};
use crate::problem::Rejection;

pub(crate) async fn add_issuer(
    State(app): State<Arc<App>>,
    ask: Ask,
    Json(request): Json<IssuerRequest>,
) -> Result<(StatusCode, Answer<IssuerDocument>), Rejection> {
    Ok((StatusCode::CREATED, Answer(app.platform().add_issuer(ask.asked(), request).await?)))
}

pub(crate) async fn issuers(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<IssuerDocument>>, Rejection> {
    let after = paging.after::<Name>()?;
    Ok(Answer(app.platform().issuers(ask.asked(), after.as_ref(), paging.limit)?))
}

pub(crate) async fn issuer(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<IssuerDocument>, Rejection> {
    Ok(Answer(app.platform().issuer(ask.asked(), &params.get("name")?)?))
}

pub(crate) async fn remove_issuer(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<StatusCode, Rejection> {
    app.platform().remove_issuer(ask.asked(), params.get("name")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Json(wish): Json<RevocationWish>,
) -> Result<Answer<IssuerDocument>, Rejection> {
    Ok(Answer(app.platform().revoke_of_issuer(ask.asked(), params.get("name")?, wish, true).await?))
}

/// What is accepted again stands in the query: a body has no meaning here.
pub(crate) async fn restore(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(wish): Query<RevocationWish>,
) -> Result<Answer<IssuerDocument>, Rejection> {
    Ok(Answer(app.platform().revoke_of_issuer(ask.asked(), params.get("name")?, wish, false).await?))
}

pub(crate) async fn set_role(
    State(app): State<Arc<App>>,
    ask: Ask,
    Json(request): Json<RoleRequest>,
) -> Result<(StatusCode, Answer<RoleDocument>), Rejection> {
    let (role, new) = app.platform().set_role(ask.asked(), request).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Answer(role)))
}

pub(crate) async fn roles(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<RoleDocument>>, Rejection> {
    let after = paging.after::<Name>()?;
    Ok(Answer(app.platform().roles(ask.asked(), after.as_ref(), paging.limit)?))
}

pub(crate) async fn role(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<RoleDocument>, Rejection> {
    Ok(Answer(app.platform().role(ask.asked(), &params.get("name")?)?))
}

pub(crate) async fn delete_role(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<StatusCode, Rejection> {
    app.platform().delete_role(ask.asked(), params.get("name")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
