//! HTTP functions in the playground: method, path, body; and the answer as it came.

use std::sync::Arc;
use std::time::Instant;

use aimass_core::limits::MAX_FUNCTION_BODY;
use aimass_core::{Fault, Result};
use aimass_platform::{CallOptions, VersionDocument};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use maud::{Markup, html};
use serde::Deserialize;

use super::super::visit::Visit;
use super::super::{parts, shell};
use super::{Version, answer};
use crate::app::App;
use crate::extract::{Params, Query, whole_body};
use crate::problem::Rejection;

/// Bytes of an answer that are read to be shown.
const SHOWN: usize = 2 << 20;

/// The methods that the form offers.
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

pub(super) fn form(visit: &Visit, version: &VersionDocument) -> Markup {
    let path = parts::path(version.kind, version.name.as_str());
    let tenant = visit.caller.tenant.as_ref().map_or("", |tenant| tenant.name().as_str());
    html! {
        section {
            h2 { "HTTP function" }
            p.hint { "The function is served at " code { "/fn/" (tenant) "/" (version.name) "/" } }
            form data-function={ (path) "/function?version=" (version.version) } {
                div.row {
                    div.field {
                        label for="method" { "Method" }
                        select #method name="method" { @for method in METHODS { option { (method) } } }
                    }
                    div.field.grow {
                        label for="path" { "Path" }
                        input #path name="path" value="/" required pattern="/.*" spellcheck="false" autocomplete="off";
                    }
                    div.field {
                        label for="kind" { "Content type" }
                        input #kind name="kind" list="kinds" placeholder="none" autocomplete="off";
                        datalist #kinds { option value="application/json" {} option value="text/plain" {} }
                    }
                }
                div.field { label for="body" { "Body" } textarea #body name="body" rows="4" spellcheck="false" {} }
                div.actions { button.primary type="submit" { "Send" } span.hint role="status" data-status {} }
            }
            div data-result aria-live="polite" {}
        }
    }
}

/// `?version=…&method=…&path=…&kind=…` of a call; the body is the function's.
#[derive(Deserialize)]
pub(crate) struct Wish {
    version: Option<String>,
    method: String,
    path: String,
    #[serde(default)]
    kind: String,
}

/// Calls the function, as it would be called under `/fn`.
pub(crate) async fn call(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    Query(wish): Query<Wish>,
    request: Request,
) -> Result<Response, Rejection> {
    let Wish { version, method, path, kind } = wish;
    let reference = Version { version }.reference(params.get("name")?)?;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Fault::invalid("this is no method"))?;
    let body = whole_body(request, MAX_FUNCTION_BODY).await?;
    let mut inner = http::Request::builder().method(method).uri(&path);
    if !kind.is_empty() {
        inner = inner.header(CONTENT_TYPE, kind.as_str());
    }
    let tenant = visit.caller.tenant()?.name().clone();
    let prefix = HeaderValue::from_str(&format!("/fn/{tenant}/{}", reference.name)).map_err(Fault::internal)?;
    let inner = inner.header(HeaderName::from_static("x-forwarded-prefix"), prefix).body(Full::new(body));
    let inner = inner.map_err(|_| Fault::invalid("the path or the content type is not valid"))?;
    if !inner.uri().path().starts_with('/') || inner.uri().authority().is_some() {
        return Err(Fault::invalid("a path begins with `/`").into());
    }
    let started = Instant::now();
    let (platform, options) = (app.platform(), CallOptions::default());
    let id = visit.request.as_str();
    let called = platform.function(Some(&visit.caller), &tenant, &reference, inner, options, id).await?;
    let (parts, body) = called.into_parts();
    let (bytes, cut) = first(body).await?;
    let ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Ok(shell::fragment(&shown(parts.status, &parts.headers, (&bytes, cut), (ns, id))))
}

/// The beginning of a body, and whether there was more. The rest is not read.
async fn first<B: http_body::Body<Data = Bytes> + Unpin>(mut body: B) -> Result<(Bytes, bool)>
where
    B::Error: std::fmt::Display,
{
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|e| Fault::new(aimass_core::Code::PluginFault, "the answer broke off").caused_by(e))?;
        if let Ok(data) = frame.into_data() {
            let room = SHOWN - all.len();
            all.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return Ok((all.freeze(), true));
            }
        }
    }
    Ok((all.freeze(), false))
}

fn shown(
    status: StatusCode,
    headers: &http::HeaderMap,
    (body, cut): (&Bytes, bool),
    (ns, request): (u64, &str),
) -> Markup {
    let tone = if status.is_client_error() || status.is_server_error() { "notice warn" } else { "notice good" };
    html! {
        p class=(tone) {
            strong { (status.as_str()) " " (status.canonical_reason().unwrap_or_default()) }
            " in " strong { (parts::millis(ns)) } ", request " code { (request) }
        }
        article.output {
            @if body.is_empty() { p.hint { "The body is empty." } } @else { (answer::element_view(body)) }
            @if cut { p.hint { "The first " (parts::bytes(SHOWN as u64)) " of the body" } }
            details {
                summary { (headers.len()) " headers" }
                dl.facts { @for (name, value) in headers { dt { (name.as_str()) } dd { (String::from_utf8_lossy(value.as_bytes())) } } }
            }
        }
    }
}
