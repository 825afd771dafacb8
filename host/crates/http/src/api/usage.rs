//! `/api/v1/usage`, and `/api/v1/tenants/{tenant}/usage` for the operator.

use std::sync::Arc;

use aimass_core::{Fault, Result as Checked};
use aimass_platform::{Page, UsageDocument};
use axum::Json as Answer;
use axum::extract::State;

use crate::app::App;
use crate::extract::{Ask, Paging, Params, Query};
use crate::problem::Rejection;

/// The cursor: when the last hour that was seen began.
fn after(paging: &Paging) -> Checked<Option<u64>> {
    let number = |text: &str| text.parse().map_err(|_| Fault::invalid("`after` is seconds since the epoch"));
    paging.after.as_deref().map(number).transpose()
}

pub(crate) async fn own(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<UsageDocument>>, Rejection> {
    Ok(Answer(app.platform().usage(ask.asked(), after(&paging)?, paging.limit)?))
}

pub(crate) async fn of_tenant(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<UsageDocument>>, Rejection> {
    let tenant = params.get("tenant")?;
    Ok(Answer(app.platform().usage_of(ask.asked(), &tenant, after(&paging)?, paging.limit)?))
}
