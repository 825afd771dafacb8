//! `/api/v1/quotas`, and `/api/v1/tenants/{tenant}/quotas` for the operator: what is used of what may be.

use std::sync::Arc;

use aimass_platform::{Page, QuotaDocument};
use axum::Json as Answer;
use axum::extract::State;

use crate::app::App;
use crate::extract::{Ask, Params};
use crate::problem::Rejection;

pub(crate) async fn own(State(app): State<Arc<App>>, ask: Ask) -> Result<Answer<Page<QuotaDocument>>, Rejection> {
    Ok(Answer(Page { items: app.platform().quotas(ask.asked())?, next: None }))
}

pub(crate) async fn of_tenant(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<Page<QuotaDocument>>, Rejection> {
    let items = app.platform().quotas_of(ask.asked(), &params.get("tenant")?)?;
    Ok(Answer(Page { items, next: None }))
}
