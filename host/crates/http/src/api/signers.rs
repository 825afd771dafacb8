//! `/api/v1/signers` and `/api/v1/signing`: whose signatures on plugins a tenant trusts, and whether it insists.

use std::sync::Arc;

use aimass_core::Name;
use aimass_platform::{Page, SignerDocument};
use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::extract::{Ask, Json, Paging, Params, Query};
use crate::problem::Rejection;

/// A signer's key: PEM, or base64 of its 32 bytes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignerWish {
    /// Ed25519: PEM, or base64 of its 32 bytes.
    public_key: String,
}

/// Whether plugins must be signed.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signing {
    /// Whether only what a trusted signer has signed may be uploaded.
    required: bool,
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<SignerDocument>>, Rejection> {
    let after = paging.after::<Name>()?;
    Ok(Answer(app.platform().signers(ask.asked(), after.as_ref(), paging.limit)?))
}

pub(crate) async fn add(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Json(wish): Json<SignerWish>,
) -> Result<(StatusCode, Answer<SignerDocument>), Rejection> {
    let added = app.platform().add_signer(ask.asked(), params.get("signer")?, wish.public_key.parse()?).await?;
    Ok((StatusCode::CREATED, Answer(added)))
}

pub(crate) async fn remove(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<StatusCode, Rejection> {
    app.platform().remove_signer(ask.asked(), params.get("signer")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn required(State(app): State<Arc<App>>, ask: Ask) -> Result<Answer<Signing>, Rejection> {
    Ok(Answer(Signing { required: app.platform().signatures_required(ask.asked())? }))
}

pub(crate) async fn require(
    State(app): State<Arc<App>>,
    ask: Ask,
    Json(signing): Json<Signing>,
) -> Result<Answer<Signing>, Rejection> {
    app.platform().require_signatures(ask.asked(), signing.required).await?;
    Ok(Answer(signing))
}
