//! `/v2/repository` and `/v2/models/…/stats`: the protocol's extensions for model repositories and statistics.

use std::sync::Arc;

use aimass_core::limits::MAX_JSON;
use aimass_core::{Fault, Name, ObjectRef, Result, Selector};
use aimass_platform::Caller;
use axum::Json as Answer;
use axum::extract::{Request, State};
use http::StatusCode;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use crate::app::App;
use crate::extract::{Ask, Params, whole_body};
use crate::oip;
use crate::problem::Rejection;

/// Fields that are not known are ignored, as in every document of this protocol.
#[derive(Default, Deserialize)]
struct IndexRequest {
    #[serde(default)]
    ready: bool,
}

#[derive(Default, Deserialize)]
struct LoadRequest {
    #[serde(default)]
    parameters: std::collections::BTreeMap<String, IgnoredAny>,
}

pub(crate) async fn index(State(app): State<Arc<App>>, ask: Ask, request: Request) -> Result<Answer<Value>, Rejection> {
    let IndexRequest { ready } = document(request).await?;
    let mut entries = app.platform().index(&ask.caller)?;
    entries.retain(|entry| entry.ready || !ready);
    Ok(Answer(oip::repository_index(&entries)))
}

pub(crate) async fn load(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    request: Request,
) -> Result<StatusCode, Rejection> {
    let LoadRequest { parameters } = document(request).await?;
    load_model(&app, &ask.caller, params.get("model")?, parameters.keys()).await?;
    Ok(StatusCode::OK)
}

/// What the body may say (`unload_dependents`) has no meaning here: no model depends on another one.
pub(crate) async fn unload(State(app): State<Arc<App>>, ask: Ask, params: Params) -> Result<StatusCode, Rejection> {
    app.platform().unload(&ask.caller, &params.get("model")?)?;
    Ok(StatusCode::OK)
}

pub(crate) async fn all_statistics(State(app): State<Arc<App>>, ask: Ask) -> Result<Answer<Value>, Rejection> {
    Ok(Answer(oip::statistics(&app.platform().statistics(&ask.caller, None)?)))
}

pub(crate) async fn statistics(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
) -> Result<Answer<Value>, Rejection> {
    let name = params.get::<Name>("model")?;
    let of = Some((&name, params.version()?));
    Ok(Answer(oip::statistics(&app.platform().statistics(&ask.caller, of)?)))
}

/// Makes what the name means resident. `parameters` are those of the request, whose configuration and files Triton
/// would take instead of the repository's.
pub(crate) async fn load_model(
    app: &App,
    caller: &Caller,
    name: Name,
    mut parameters: impl Iterator<Item = &String>,
) -> Result<()> {
    let servable = app.platform().servable(caller, &ObjectRef { name, selector: Selector::Latest })?;
    servable.signature()?;
    if parameters.any(|name| name == "config" || name.starts_with("file:")) {
        return Err(oip::unsupported("a model that comes with the request to load it is"));
    }
    app.platform().load(caller, &servable).await
}

/// A body that may be left out.
async fn document<T: DeserializeOwned + Default>(request: Request) -> Result<T> {
    let bytes = whole_body(request, MAX_JSON).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|e| Fault::invalid(format!("the body is not valid: {e:.200}")))
}
