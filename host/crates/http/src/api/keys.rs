//! `/api/v1/keys`: the keys that tenants' data keys are wrapped with; and the erasure of a tenant. The operator's.

use std::sync::Arc;

use aimass_core::{Fault, Name};
use aimass_platform::{KeyGenerationDocument, Page};
use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use crate::app::App;
use crate::extract::{Ask, Paging, Params, Query};
use crate::problem::Rejection;

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<KeyGenerationDocument>>, Rejection> {
    Ok(Answer(app.platform().key_generations(ask.asked(), paging.after_version()?, paging.limit)?))
}

/// A new key wraps from now on.
pub(crate) async fn rotate(
    State(app): State<Arc<App>>,
    ask: Ask,
) -> Result<(StatusCode, Answer<KeyGenerationDocument>), Rejection> {
    Ok((StatusCode::CREATED, Answer(app.platform().rotate_keys(ask.asked()).await?)))
}

/// `?confirm=NAME`: nobody erases a tenant by a slip.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Confirmation {
    confirm: Option<String>,
}

pub(crate) async fn erase(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(Confirmation { confirm }): Query<Confirmation>,
) -> Result<StatusCode, Rejection> {
    let tenant: Name = params.get("tenant")?;
    if confirm.as_deref() != Some(tenant.as_str()) {
        let detail = "erasing a tenant cannot be undone: say its name again as `?confirm=NAME`";
        return Err(Fault::invalid(detail).into());
    }
    app.platform().erase_tenant(ask.asked(), &tenant).await?;
    Ok(StatusCode::NO_CONTENT)
}
