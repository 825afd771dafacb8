//! The page of a plugin or model: its newest version, the last hour, every version.

use std::sync::Arc;

use aimass_core::event::{Device, Kind};
use aimass_core::name::version_number;
use aimass_core::{Name, Port, Result, Signature};
use aimass_platform::{ObjectDocument, Platform, VersionDocument};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::visit::{Of, Visit};
use super::{lists, overview, parts, shell};
use crate::app::App;
use crate::extract::{Params, Query};
use crate::problem::Rejection;

/// Versions on one page, newest first.
const PAGE: u64 = 20;

/// `?before=7`: the versions below that number.
#[derive(Deserialize)]
pub(crate) struct Before {
    before: Option<u64>,
}

pub(crate) async fn plugin(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    Query(before): Query<Before>,
) -> Result<Response, Rejection> {
    Ok(show(&app, &visit, Kind::Plugin, &params.get("name")?, &before)?)
}

pub(crate) async fn model(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    Query(before): Query<Before>,
) -> Result<Response, Rejection> {
    Ok(show(&app, &visit, Kind::Model, &params.get("name")?, &before)?)
}

pub(crate) async fn plugin_version(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
) -> Result<Response, Rejection> {
    Ok(show_version(&app, &visit, Kind::Plugin, &params)?)
}

pub(crate) async fn model_version(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
) -> Result<Response, Rejection> {
    Ok(show_version(&app, &visit, Kind::Model, &params)?)
}

/// An object as it is recorded.
pub(super) fn record(platform: &Platform, visit: &Visit, kind: Kind, name: &Name) -> Result<ObjectDocument> {
    match kind {
        Kind::Plugin => platform.plugin(visit.asked(), name),
        Kind::Model => platform.model_record(visit.asked(), name),
    }
}

/// One version of it.
pub(super) fn version(
    platform: &Platform,
    visit: &Visit,
    kind: Kind,
    name: &Name,
    number: u64,
) -> Result<VersionDocument> {
    match kind {
        Kind::Plugin => platform.plugin_version(visit.asked(), name, number),
        Kind::Model => platform.model_version(visit.asked(), name, number),
    }
}

fn show(app: &App, visit: &Visit, kind: Kind, name: &Name, Before { before }: &Before) -> Result<Response> {
    let platform = app.platform();
    let object = record(platform, visit, kind, name)?;
    let hour = platform.recent_calls(visit.asked(), Some(name))?;
    let newest = object.summary.latest_version;
    let end = before.unwrap_or(u64::MAX).min(newest.saturating_add(1));
    let after = end.saturating_sub(PAGE + 1);
    let limit = usize::try_from(end.saturating_sub(after + 1)).ok();
    let mut versions = match kind {
        Kind::Plugin => platform.plugin_versions(visit.asked(), name, Some(after), limit)?,
        Kind::Model => platform.model_versions(visit.asked(), name, Some(after), limit)?,
    }
    .items;
    versions.retain(|version| version.version < end);
    versions.reverse();
    let body = html! {
        (top(visit, &object, Tab::Overview))
        @if before.is_none() { (overview::last_hour(&hour)) (details(&object.latest)) }
        section {
            h2 { "Versions" }
            (version_rows(kind, &versions))
            @if after > 0 {
                nav.pager aria-label="Pages" {
                    a.button href={ (parts::path(kind, name.as_str())) "?before=" (after + 1) } { "Older versions" }
                }
            }
        }
    };
    Ok(shell::page(visit, name.as_str(), &body))
}

fn show_version(app: &App, visit: &Visit, kind: Kind, params: &Params) -> Result<Response> {
    let name: Name = params.get("name")?;
    let number = version_number(params.text("version")?)?;
    let platform = app.platform();
    let object = record(platform, visit, kind, &name)?;
    let version = version(platform, visit, kind, &name, number)?;
    let path = format!("{}/versions/{number}/delete", parts::path(kind, name.as_str()));
    let body = html! {
        (top(visit, &object, Tab::Version))
        (details(&version))
        @if visit.may(lists::write_scope(kind)) && number != object.summary.latest_version {
            form method="post" action=(path) data-confirm={ "Delete version " (number) " of " (name) "?" } {
                (shell::form_key(visit))
                button.danger type="submit" { "Delete this version" }
            }
        }
    };
    Ok(shell::page(visit, &format!("{name} v{number}"), &body))
}

pub(crate) async fn delete_version(
    State(app): State<Arc<App>>,
    visit: Visit,
    Of(kind): Of,
    params: Params,
) -> Result<Response, Rejection> {
    let name: Name = params.get("name")?;
    let number = version_number(params.text("version")?)?;
    app.platform().delete_version(visit.asked(), (kind, &name), number).await?;
    Ok(visit.done(&parts::path(kind, name.as_str()), format!("Version {number} is deleted.")))
}

/// What of an object is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Version,
    Playground,
    Traffic,
    Compare,
    Logs,
    Settings,
}

/// The heading of an object's pages, and the way between them.
pub(super) fn top(visit: &Visit, object: &ObjectDocument, tab: Tab) -> Markup {
    let (kind, name) = (object.summary.kind, object.summary.name.as_str());
    let base = parts::path(kind, name);
    let (title, list) = lists::titled(kind);
    let link = |to: Tab, path: &str, text: &str| {
        html! { a href={ (base) (path) } aria-current=[(tab == to).then_some("page")] { (text) } }
    };
    let actions = html! {
        @if visit.may(lists::write_scope(kind)) {
            a.button href={ "/console/upload-" (kind.as_str()) "?name=" (name) } { "Upload a new version" }
        }
    };
    html! {
        p.crumbs { a href=(list) { (title) } " / " }
        (parts::heading(&html! { (name) @if object.summary.public { " " span.badge { "public" } } }, &actions))
        nav.tabs aria-label={ "Pages of " (name) } {
            (link(Tab::Overview, "", "Overview"))
            @if visit.may(lists::invoke_scope(kind)) { (link(Tab::Playground, "/playground", "Playground")) }
            (link(Tab::Traffic, "/traffic", "Traffic"))
            @if object.summary.latest_version > 1 { (link(Tab::Compare, "/compare", "Compare")) }
            @if kind == Kind::Plugin { (link(Tab::Logs, "/logs", "Logs")) }
            @if visit.may(lists::write_scope(kind)) { (link(Tab::Settings, "/settings", "Settings")) }
        }
    }
}

/// All that is known of a version.
fn details(version: &VersionDocument) -> Markup {
    let inspection = &version.inspection;
    html! {
        section {
            h2 { "Version " (version.version) }
            dl.facts {
                dt { "Uploaded" } dd { (parts::ago(version.created_ms)) " by " (version.created_by) }
                dt { "Size" } dd { (parts::bytes(version.size)) }
                dt { "Digest" } dd { (parts::digest(&version.digest)) }
                @if version.kind == Kind::Model { dt { "Device" } dd { (device(inspection.device)) } }
                @if version.kind == Kind::Plugin {
                    dt { "Signed by" } dd { (signed_by(version)) }
                    dt { "Worlds" } dd { (words(&inspection.worlds)) }
                    dt { "Exports" } dd { (words(&inspection.exports)) }
                    dt { "Imports" } dd { (words(&inspection.imports)) }
                    @if !version.provenance.new_imports.is_empty() {
                        dt { "New imports" } dd { span.warned { (words(&version.provenance.new_imports)) } }
                    }
                }
            }
            @if let Some(signature) = &inspection.signature { (signature_tables(signature)) }
            @else if version.kind == Kind::Plugin { p.hint { "An HTTP function: it takes requests, not tensors." } }
        }
    }
}

fn device(device: Device) -> &'static str {
    match device {
        Device::Auto => "a GPU if one serves it right and faster, else the CPU",
        Device::Cpu => "the CPU",
        Device::Gpu => "a GPU, or not at all",
    }
}

fn signed_by(version: &VersionDocument) -> Markup {
    match &version.provenance.signed_by {
        Some(by) => html! {
            @match &by.signer { Some(signer) => { (signer) }, None => { "nobody whom this tenant trusts" } }
            " " code title=(by.key) { (by.key.chars().take(12).collect::<String>()) "…" }
        },
        None => html! { "nobody" },
    }
}

fn words(words: &[String]) -> Markup {
    html! {
        @if words.is_empty() { "none" } @else { ul.words { @for word in words { li { code { (word) } } } } }
    }
}

/// What a version takes and gives.
fn signature_tables(signature: &Signature) -> Markup {
    html! {
        @if !signature.description.is_empty() { p { (signature.description) } }
        div.pair { (ports("Inputs", &signature.inputs)) (ports("Outputs", &signature.outputs)) }
    }
}

fn ports(title: &str, ports: &[Port]) -> Markup {
    let rows = html! {
        @for port in ports {
            tr {
                th scope="row" { code { (port.name) } @if !port.description.is_empty() { p.hint { (port.description) } } }
                td { (port.element_type.to_string()) }
                td { code { (shape(&port.shape)) } }
            }
        }
    };
    html! { div { h3 { (title) } (parts::table(title, &["Name", "Type", "Shape"], &rows)) } }
}

/// A port's shape: `[?, 3, 224, 224]`.
pub(super) fn shape(shape: &[i64]) -> String {
    if shape.is_empty() {
        return "scalar".to_owned();
    }
    let size = |size: &i64| if *size < 0 { "?".to_owned() } else { size.to_string() };
    format!("[{}]", shape.iter().map(size).collect::<Vec<_>>().join(", "))
}

fn version_rows(kind: Kind, versions: &[VersionDocument]) -> Markup {
    let rows = html! {
        @for version in versions {
            tr {
                th scope="row" {
                    a href={ (parts::path(kind, version.name.as_str())) "/versions/" (version.version) } { "v" (version.version) }
                }
                td { (parts::ago(version.created_ms)) }
                td { (version.created_by) }
                td.number { (parts::bytes(version.size)) }
                td { (parts::digest(&version.digest)) }
                td { @if let Some(by) = &version.provenance.signed_by { (by.signer.as_ref().map_or("unknown", Name::as_str)) } @else { "–" } }
            }
        }
    };
    parts::table("Versions", &["Version", "Uploaded", "By", "Size#", "Digest", "Signed by"], &rows)
}
