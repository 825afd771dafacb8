//! Uploads: the page with the file picker, the upload itself, and how far one in the background is.

use std::sync::Arc;

use aimass_core::Result;
use aimass_core::event::{Device, Kind};
use aimass_platform::{UploadDocument, UploadState};
use axum::extract::{Request, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::visit::Visit;
use super::{lists, parts, shell};
use crate::api::models::Placing;
use crate::api::upload::{PluginWish, receive};
use crate::app::App;
use crate::extract::{Ask, Params, Query};
use crate::problem::Rejection;

/// `?name=…`: what the page begins with.
#[derive(Deserialize)]
pub(crate) struct Named {
    #[serde(default)]
    name: String,
}

pub(crate) async fn plugin_form(visit: Visit, Query(Named { name }): Query<Named>) -> Result<Response, Rejection> {
    Ok(form(&visit, Kind::Plugin, &name)?)
}

pub(crate) async fn model_form(visit: Visit, Query(Named { name }): Query<Named>) -> Result<Response, Rejection> {
    Ok(form(&visit, Kind::Model, &name)?)
}

fn form(visit: &Visit, kind: Kind, name: &str) -> Result<Response> {
    visit.caller.require(lists::write_scope(kind))?;
    let (title, path) = lists::titled(kind);
    let (what, accepts, command) = match kind {
        Kind::Plugin => ("a WebAssembly component (.wasm)", ".wasm", "aimass push ./plugin.wasm --name my-plugin"),
        Kind::Model => ("an ONNX file", ".onnx", "aimass models push my-model ./model.onnx"),
    };
    let heading = format!("Upload a {}", kind.as_str());
    let body = html! {
        p.crumbs { a href=(path) { (title) } " / " }
        (parts::heading(&html! { (heading) }, &html! {}))
        noscript { p.notice.warn { "This page needs its script. From a terminal: " code { (command) } } }
        form data-upload=(path) {
            div.field {
                label for="name" { "Name" }
                input #name name="name" value=(name) required maxlength="63" pattern="[a-z]([a-z0-9\\-]*[a-z0-9])?"
                    autocomplete="off" spellcheck="false" aria-describedby="name-help";
                p.hint #name-help { "Letters a–z, digits and “-”. A name that is there gets a new version." }
            }
            div.field {
                label for="file" { "File: " (what) }
                div.drop data-drop="file" {
                    input #file type="file" name="file" accept=(accepts) required;
                    p.hint { "or drop it here" }
                }
            }
            @match kind {
                Kind::Plugin => label.check {
                    input type="checkbox" name="allow-new-imports" value="true";
                    span { "It may import more than the version before" }
                },
                Kind::Model => div.field {
                    label for="device" { "Device" }
                    select #device name="device" {
                        option value="auto" { "A GPU if one serves it right and faster" }
                        option value="cpu" { "The CPU" }
                        option value="gpu" { "A GPU, or not at all" }
                    }
                },
            }
            div.actions { button.primary type="submit" { "Upload" } }
            div.progress hidden {
                progress max="1" value="0" aria-label="Uploaded" {}
                span role="status" data-status {}
            }
            div data-result aria-live="polite" {}
        }
    };
    Ok(shell::page(visit, &heading, &body))
}

pub(crate) async fn plugin(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    Query(wish): Query<PluginWish>,
    request: Request,
) -> Result<Response, Rejection> {
    Ok(receive(&app, &ask(&visit), &params, (Kind::Plugin, Device::Auto, wish), request).await?)
}

pub(crate) async fn model(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    Query(placing): Query<Placing>,
    request: Request,
) -> Result<Response, Rejection> {
    Ok(receive(&app, &ask(&visit), &params, (Kind::Model, placing.device, PluginWish::default()), request).await?)
}

/// The same visit, as the API's handlers know it.
pub(super) fn ask(visit: &Visit) -> Ask {
    Ask::new(visit.caller.clone(), visit.request.clone())
}

/// How far an upload is that is compiled in the background.
pub(crate) async fn show(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    let upload = app.platform().upload(visit.asked(), params.text("upload")?)?;
    let state = state(&upload);
    if visit.fragment {
        return Ok(shell::fragment(&state));
    }
    let body = html! {
        p.crumbs { a href="/console/plugins" { "Plugins" } " / " }
        (parts::heading(&html! { "Upload of " (upload.name) }, &html! {}))
        div data-poll=(visit.path) aria-live="polite" { (state) }
    };
    Ok(shell::page(&visit, "Upload", &body))
}

fn state(upload: &UploadDocument) -> Markup {
    let name = upload.name.as_str();
    let (badge, word) = match upload.state {
        UploadState::Queued => ("badge plain", "waits for its turn"),
        UploadState::Compiling => ("badge", "is being compiled"),
        UploadState::Ready => ("badge good", "is a version"),
        UploadState::Failed => ("badge bad", "failed"),
    };
    let ready = upload.version.as_ref().map(|_| parts::path(Kind::Plugin, name));
    let ended = matches!(upload.state, UploadState::Ready | UploadState::Failed);
    html! {
        div data-ended[ended] data-go=[ready.as_deref()] {
            dl.facts {
                dt { "State" } dd {
                    span class=(badge) { (word) }
                    @if let Some(seconds) = upload.seconds { " for " (format!("{seconds:.0} s")) }
                }
                dt { "Accepted" } dd { (parts::ago(upload.accepted_ms)) }
                dt { "Size" } dd { (parts::bytes(upload.size)) }
                dt { "Digest" } dd { (parts::digest(&upload.digest)) }
            }
            @if let Some(fault) = &upload.failure {
                p.notice.bad role="alert" { strong { (fault.code().title()) } ": " (fault.detail()) }
                p { a href={ "/console/upload-plugin?name=" (name) } { "Upload another file" } }
            }
            @if let Some(path) = &ready { p { a href=(path) { "To the plugin" } } }
        }
    }
}
