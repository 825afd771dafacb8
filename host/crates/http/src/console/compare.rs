//! Two versions beside one another.

use std::sync::Arc;

use aimass_core::{Fault, Name, Port, Result};
use aimass_platform::{DiffDocument, PortChange, Side};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::objects::{self, Tab};
use super::visit::{Of, Visit};
use super::{parts, shell};
use crate::app::App;
use crate::extract::{Params, Query};
use crate::problem::Rejection;

/// `?from=1&to=2`; the newest two if they are left out.
#[derive(Deserialize)]
pub(crate) struct Pair {
    from: Option<u64>,
    to: Option<u64>,
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    Of(kind): Of,
    params: Params,
    Query(pair): Query<Pair>,
) -> Result<Response, Rejection> {
    let name: Name = params.get("name")?;
    let object = objects::record(app.platform(), &visit, kind, &name)?;
    let newest = object.summary.latest_version;
    let to = pair.to.unwrap_or(newest);
    let from = pair.from.unwrap_or(to.saturating_sub(1).max(1));
    let diff = match (from, to) {
        (1.., 1..) => {
            let (from, to) = (Side::Version(from), Side::Version(to));
            app.platform().diff(visit.asked(), (kind, &name), &from, &to)?
        }
        _ => return Err(Fault::invalid("a version is a number from 1").into()),
    };
    let field = |id: &str, title: &str, value: u64| {
        html! { div.field { label for=(id) { (title) } input #(id) type="number" name=(id) min="1" max=(newest) value=(value) required; } }
    };
    let body = html! {
        (objects::top(&visit, &object, Tab::Compare))
        form.row method="get" { (field("from", "From version", from)) (field("to", "To version", to)) button type="submit" { "Compare" } }
        (differences(&diff))
    };
    Ok(shell::page(&visit, &format!("{name}: versions {from} and {to}"), &body))
}

fn differences(diff: &DiffDocument) -> Markup {
    if diff.same_bytes && diff.device.is_none() && diff.signed_by.is_none() {
        return html! { p.notice.good { "The two versions are the same bytes." } };
    }
    let names = |title: &str, names: &[String], tone: &str, sign: &str| {
        html! {
            @if !names.is_empty() {
                tr { th scope="row" { (title) } td { ul.words { @for name in names { li { span class=(tone) { (sign) " " } code { (name) } } } } } }
            }
        }
    };
    let rows = html! {
        @if let Some(size) = &diff.size { tr { th scope="row" { "Size" } td { (parts::bytes(size.from)) " → " (parts::bytes(size.to)) } } }
        @if let Some(digest) = &diff.digest { tr { th scope="row" { "Digest" } td { (parts::digest(&digest.from)) " → " (parts::digest(&digest.to)) } } }
        @if let Some(text) = &diff.description { tr { th scope="row" { "Description" } td { (text.from) " → " (text.to) } } }
        (names("Worlds", &diff.worlds.added, "added", "+")) (names("Worlds", &diff.worlds.removed, "failed", "−"))
        (names("Imports", &diff.imports.added, "warned", "+")) (names("Imports", &diff.imports.removed, "failed", "−"))
        (names("Exports", &diff.exports.added, "added", "+")) (names("Exports", &diff.exports.removed, "failed", "−"))
        @for PortChange { direction, name, from, to } in &diff.ports {
            tr { th scope="row" { (direction) " " code { (name) } } td { (port(from.as_ref())) " → " (port(to.as_ref())) } }
        }
    };
    html! {
        @if diff.compatible { p.notice.good { "Compatible: what calls version " (diff.from) " can call version " (diff.to) "." } }
        @else { p.notice.warn { "Not compatible: what calls version " (diff.from) " may fail with version " (diff.to) "." } }
        (parts::table("Differences", &["What", "Change"], &rows))
    }
}

fn port(port: Option<&Port>) -> Markup {
    html! { @if let Some(port) = port { code { (port.element_type) " " (objects::shape(&port.shape)) } } @else { "none" } }
}
