//! `/api/v1/{plugins,models}/{name}/aliases`, `…/deployments` and `…/diff`.

use std::sync::Arc;

use aimass_core::event::Kind;
use aimass_core::{Fault, Name, Result};
use aimass_platform::{AliasDocument, AliasWish, DeployWish, DeploymentDocument, DiffDocument, Page, PromoteWish};
use axum::Json as Answer;
use axum::extract::{FromRequestParts, State};
use http::header::{ETAG, IF_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::app::App;
use crate::extract::{Ask, Json, Paging, Params, Query};
use crate::openapi::{Input, Operation, Schemas};
use crate::problem::Rejection;

/// Which of the two the path is about.
pub(crate) struct Of(Kind);

impl<S: Sync> FromRequestParts<S> for Of {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let plugins = parts.uri.path().starts_with("/api/v1/plugins/");
        Ok(Self(if plugins { Kind::Plugin } else { Kind::Model }))
    }
}

/// `If-Match: "7"`: the number of the deployment that an alias was made by.
pub(crate) struct Expected(Option<u64>);

impl<S: Sync> FromRequestParts<S> for Expected {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Ok(Self(expected(&parts.headers)?))
    }
}

impl Input for Of {
    fn describe(_: &mut Operation, _: &mut Schemas) {}
}

impl Input for Expected {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        let says = "Only if the alias was made by this deployment, else 412.";
        operation.parameter("header", "If-Match", false, says, json!({ "type": "string", "pattern": "^\"[0-9]+\"$" }));
        operation.may_fail(&[412]);
    }
}

fn expected(headers: &HeaderMap) -> Result<Option<u64>> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let tag = value.to_str().ok().and_then(|text| text.strip_prefix('"')?.strip_suffix('"')?.parse().ok());
    tag.map(Some).ok_or_else(|| Fault::invalid("`If-Match` is the number of an alias's deployment in double quotes"))
}

/// An alias with its entity tag.
type Tagged = ([(HeaderName, String); 1], Answer<AliasDocument>);

fn tagged(document: AliasDocument) -> Tagged {
    ([(ETAG, format!("\"{}\"", document.deployment))], Answer(document))
}

pub(crate) async fn aliases(
    State(app): State<Arc<App>>,
    ask: Ask,
    Of(kind): Of,
    params: Params,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<AliasDocument>>, Rejection> {
    let (name, after) = (params.get("name")?, paging.after::<Name>()?);
    Ok(Answer(app.platform().aliases(ask.asked(), (kind, &name), after.as_ref(), paging.limit)?))
}

pub(crate) async fn alias(
    State(app): State<Arc<App>>,
    ask: Ask,
    Of(kind): Of,
    params: Params,
) -> Result<Tagged, Rejection> {
    Ok(tagged(app.platform().alias(ask.asked(), (kind, &params.get("name")?), &params.get("alias")?)?))
}

pub(crate) async fn set_alias(
    State(app): State<Arc<App>>,
    ask: Ask,
    Of(kind): Of,
    Expected(expected): Expected,
    params: Params,
    Json(wish): Json<AliasWish>,
) -> Result<Tagged, Rejection> {
    let (name, alias) = (params.get("name")?, params.get("alias")?);
    Ok(tagged(app.platform().set_alias(ask.asked(), (kind, &name), alias, wish, expected).await?))
}

pub(crate) async fn delete_alias(
    State(app): State<Arc<App>>,
    ask: Ask,
    Of(kind): Of,
    Expected(expected): Expected,
    params: Params,
) -> Result<StatusCode, Rejection> {
    let (name, alias) = (params.get("name")?, params.get("alias")?);
    app.platform().delete_alias(ask.asked(), (kind, &name), alias, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn promote(
    State(app): State<Arc<App>>,
    ask: Ask,
    Of(kind): Of,
    Expected(expected): Expected,
    params: Params,
    Json(wish): Json<PromoteWish>,
) -> Result<Tagged, Rejection> {
    let (name, alias) = (params.get("name")?, params.get("alias")?);
    Ok(tagged(app.platform().promote(ask.asked(), (kind, &name), &alias, wish, expected).await?))
}

pub(crate) async fn roll_back(
    State(app): State<Arc<App>>,
    ask: Ask,
    Of(kind): Of,
    Expected(expected): Expected,
    params: Params,
) -> Result<Tagged, Rejection> {
    let (name, alias) = (params.get("name")?, params.get("alias")?);
    Ok(tagged(app.platform().roll_back(ask.asked(), (kind, &name), &alias, expected).await?))
}

pub(crate) async fn deploy(
    State(app): State<Arc<App>>,
    ask: Ask,
    Of(kind): Of,
    Expected(expected): Expected,
    params: Params,
    Json(wish): Json<DeployWish>,
) -> Result<Tagged, Rejection> {
    let name = params.get("name")?;
    Ok(tagged(app.platform().deploy(ask.asked(), (kind, &name), wish, expected).await?))
}

pub(crate) async fn deployments(
    State(app): State<Arc<App>>,
    ask: Ask,
    Of(kind): Of,
    params: Params,
    Query(paging): Query<Paging>,
) -> Result<Answer<Page<DeploymentDocument>>, Rejection> {
    let (name, after) = (params.get("name")?, paging.after_version()?);
    Ok(Answer(app.platform().deployments(ask.asked(), (kind, &name), after, paging.limit)?))
}

pub(crate) async fn delete_version(
    State(app): State<Arc<App>>,
    ask: Ask,
    Of(kind): Of,
    params: Params,
) -> Result<StatusCode, Rejection> {
    let (name, version) = (params.get("name")?, params.version()?.unwrap_or_default());
    app.platform().delete_version(ask.asked(), (kind, &name), version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `?from=2&to=3`, or `?from=prod&to=3`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sides {
    /// A version, which is compared with the newest settings, or an alias, with those that it serves with.
    #[schemars(with = "Side")]
    from: Option<String>,
    /// Another one.
    #[schemars(with = "Side")]
    to: Option<String>,
}

/// How one side of a comparison is written.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes a parameter")]
enum Side {
    /// A version's number.
    Version(std::num::NonZeroU64),
    /// An alias.
    Alias(Name),
}

pub(crate) async fn diff(
    State(app): State<Arc<App>>,
    ask: Ask,
    Of(kind): Of,
    params: Params,
    Query(sides): Query<Sides>,
) -> Result<Answer<DiffDocument>, Rejection> {
    let side = |text: Option<String>| -> Result<aimass_platform::Side> {
        text.ok_or_else(|| Fault::invalid("name two versions: `?from=2&to=3`"))?.parse()
    };
    let (from, to) = (side(sides.from)?, side(sides.to)?);
    Ok(Answer(app.platform().diff(ask.asked(), (kind, &params.get("name")?), &from, &to)?))
}
