//! `/api/v1/triggers`.

use std::sync::Arc;

use aimass_core::{Fault, Name, Result};
use aimass_platform::{NewTrigger, Page, RunDocument, TriggerDocument, TriggerWish};
use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::app::App;
use crate::extract::{Ask, Json, Paging, Params, Query};
use crate::problem::Rejection;

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<TriggerDocument>>, Rejection> {
    let after = paging.after::<Name>()?;
    Ok(Answer(app.platform().triggers(ask.asked(), after.as_ref(), paging.limit)?))
}

/// What else a new trigger may be told.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SetWish {
    /// Make a new secret for the webhooks.
    #[serde(default)]
    rotate_secret: bool,
}

pub(crate) async fn set(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(wish): Query<SetWish>,
    Json(trigger): Json<TriggerWish>,
) -> Result<(StatusCode, Answer<NewTrigger>), Rejection> {
    let name = params.get("name")?;
    let (trigger, new) = app.platform().set_trigger(ask.asked(), &name, trigger, wish.rotate_secret).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Answer(trigger)))
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<TriggerDocument>, Rejection> {
    Ok(Answer(app.platform().trigger(ask.asked(), &params.get("name")?)?))
}

pub(crate) async fn delete(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<StatusCode, Rejection> {
    app.platform().delete_trigger(ask.asked(), params.get("name")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn pause(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<TriggerDocument>, Rejection> {
    Ok(Answer(app.platform().pause_trigger(ask.asked(), &params.get("name")?, true).await?))
}

pub(crate) async fn resume(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<TriggerDocument>, Rejection> {
    Ok(Answer(app.platform().pause_trigger(ask.asked(), &params.get("name")?, false).await?))
}

pub(crate) async fn fire(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<(StatusCode, Answer<RunDocument>), Rejection> {
    Ok((StatusCode::ACCEPTED, Answer(app.platform().fire_trigger(ask.asked(), &params.get("name")?).await?)))
}

/// Newest first: the cursor is the number of the last one that was shown.
pub(crate) async fn runs(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<RunDocument>>, Rejection> {
    let (name, before) = (params.get("name")?, paging.after_version()?);
    Ok(Answer(app.platform().trigger_runs(ask.asked(), &name, before, paging.limit)?))
}

pub(crate) async fn run(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<RunDocument>, Rejection> {
    Ok(Answer(app.platform().trigger_run(ask.asked(), &params.get("name")?, run_id(&params)?)?))
}

pub(crate) async fn replay(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<(StatusCode, Answer<RunDocument>), Rejection> {
    let run = app.platform().replay_run(ask.asked(), &params.get("name")?, run_id(&params)?).await?;
    Ok((StatusCode::ACCEPTED, Answer(run)))
}

/// Nothing else is the key of a row.
pub(crate) fn run_id(params: &Params) -> Result<&str> {
    let id = params.text("run")?;
    let is_one = id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if is_one { Ok(id) } else { Err(Fault::not_found()) }
}
