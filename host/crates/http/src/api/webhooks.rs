//! `/api/v1/webhooks`: where a tenant wants to be told that something has ended.

use std::sync::Arc;

use aimass_core::Name;
use aimass_platform::{DeliveryDocument, Page, WebhookChange, WebhookDocument, WebhookRequest, WebhookSecretDocument};
use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;

use crate::app::App;
use crate::extract::{Ask, Json, Paging, Params, Query};
use crate::problem::Rejection;

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<WebhookDocument>>, Rejection> {
    let after = paging.after::<Name>()?;
    Ok(Answer(app.platform().webhooks(ask.asked(), after.as_ref(), paging.limit)?))
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ask: Ask,
    Json(request): Json<WebhookRequest>,
) -> Result<(StatusCode, Answer<WebhookSecretDocument>), Rejection> {
    Ok((StatusCode::CREATED, Answer(app.platform().create_webhook(ask.asked(), request).await?)))
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<WebhookDocument>, Rejection> {
    Ok(Answer(app.platform().webhook(ask.asked(), &params.get("webhook")?)?))
}

pub(crate) async fn change(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Json(change): Json<WebhookChange>,
) -> Result<Answer<WebhookDocument>, Rejection> {
    Ok(Answer(app.platform().change_webhook(ask.asked(), &params.get("webhook")?, change).await?))
}

pub(crate) async fn remove(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<StatusCode, Rejection> {
    app.platform().remove_webhook(ask.asked(), &params.get("webhook")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn renew_secret(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<WebhookSecretDocument>, Rejection> {
    Ok(Answer(app.platform().renew_webhook_secret(ask.asked(), &params.get("webhook")?).await?))
}

pub(crate) async fn test(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<(StatusCode, Answer<DeliveryDocument>), Rejection> {
    Ok((StatusCode::ACCEPTED, Answer(app.platform().test_webhook(ask.asked(), &params.get("webhook")?).await?)))
}

pub(crate) async fn deliveries(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<DeliveryDocument>>, Rejection> {
    let (name, after) = (params.get("webhook")?, paging.after.as_deref());
    Ok(Answer(app.platform().deliveries(ask.asked(), &name, after, paging.limit)?))
}

pub(crate) async fn retry(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<(StatusCode, Answer<DeliveryDocument>), Rejection> {
    let (name, delivery) = (params.get("webhook")?, params.text("delivery")?);
    Ok((StatusCode::ACCEPTED, Answer(app.platform().retry_delivery(ask.asked(), &name, delivery).await?)))
}
