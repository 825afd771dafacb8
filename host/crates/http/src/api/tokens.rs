//! `/api/v1/tokens`, and `/api/v1/tenants/{tenant}/tokens` for the operator.

use std::sync::Arc;

use aimass_core::Name;
use aimass_platform::{Page, TokenDocument, TokenRequest, TokenSecret};
use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;

use crate::app::App;
use crate::extract::{Ask, Json, Paging, Params, Query};
use crate::problem::Rejection;

type Minted = (StatusCode, Answer<TokenSecret>);

pub(crate) async fn mint(
    State(app): State<Arc<App>>,
    ask: Ask,
    Json(request): Json<TokenRequest>,
) -> Result<Minted, Rejection> {
    Ok((StatusCode::CREATED, Answer(app.platform().mint_token(ask.asked(), None, request).await?)))
}

pub(crate) async fn mint_for(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Json(request): Json<TokenRequest>,
) -> Result<Minted, Rejection> {
    let tenant: Name = params.get("tenant")?;
    Ok((StatusCode::CREATED, Answer(app.platform().mint_token(ask.asked(), Some(&tenant), request).await?)))
}

pub(crate) async fn revoke(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<StatusCode, Rejection> {
    app.platform().revoke_token(ask.asked(), None, params.text("jti")?.to_owned()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn revoke_for(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<StatusCode, Rejection> {
    let tenant: Name = params.get("tenant")?;
    app.platform().revoke_token(ask.asked(), Some(&tenant), params.text("jti")?.to_owned()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<TokenDocument>>, Rejection> {
    Ok(Answer(app.platform().tokens(ask.asked(), None, paging.after.as_deref(), paging.limit).await?))
}

pub(crate) async fn list_for(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<TokenDocument>>, Rejection> {
    let tenant: Name = params.get("tenant")?;
    Ok(Answer(app.platform().tokens(ask.asked(), Some(&tenant), paging.after.as_deref(), paging.limit).await?))
}
