//! `/hooks/{tenant}/{name}`: webhooks that fire triggers. A signature stands for the token.

use std::sync::Arc;

use aimass_core::limits::MAX_JSON;
use aimass_core::{Code, Fault, Result};
use aimass_platform::Webhook;
use axum::Json as Answer;
use axum::extract::{Request, State};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::app::App;
use crate::extract::{Params, whole_body};
use crate::problem::Rejection;

pub(crate) async fn receive(
    State(app): State<Arc<App>>,
    params: Params,
    request: Request,
) -> Result<(StatusCode, Answer<Value>), Rejection> {
    // A name that is none says no more than one that nobody has.
    let unsigned = |_| Fault::new(Code::Unauthenticated, "a webhook with a valid signature is required");
    let (tenant, name) = (params.get("tenant").map_err(unsigned)?, params.get("name").map_err(unsigned)?);
    let headers = request.headers();
    let webhook = Webhook {
        id: text(headers, "webhook-id"),
        timestamp: text(headers, "webhook-timestamp"),
        signature: text(headers, "webhook-signature"),
        content_type: Some(text(headers, CONTENT_TYPE.as_str())).filter(|kind| !kind.is_empty() && kind.len() <= 256),
        body: Default::default(),
    };
    if webhook.signature.is_empty() {
        // Before the body is read.
        return Err(unsigned(Fault::not_found()).into());
    }
    let body = whole_body(request, MAX_JSON).await?;
    let run = app.platform().receive_webhook(&tenant, &name, Webhook { body, ..webhook }).await?;
    Ok((StatusCode::ACCEPTED, Answer(json!({ "run": run }))))
}

/// A header that stands there once, as text; empty if not.
fn text(headers: &HeaderMap, name: &str) -> String {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none());
    value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
