//! The lists of plugins and models, and the search in both.

use std::collections::HashMap;
use std::sync::Arc;

use aimass_core::event::Kind;
use aimass_core::{Name, Result};
use aimass_platform::{ObjectSummary, Page, Platform, Scope};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::visit::Visit;
use super::{parts, shell};
use crate::app::App;
use crate::extract::{Paging, Query};
use crate::problem::Rejection;

/// The kinds of what can be called.
pub(super) const KINDS: [Kind; 2] = [Kind::Plugin, Kind::Model];

/// Pages of a list that one search looks through, of a hundred rows each.
const SEARCHED: usize = 20;

/// Rows that a search shows.
const SHOWN: usize = 50;

pub(crate) async fn plugins(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(paging): Query<Paging>,
) -> Result<Response, Rejection> {
    Ok(list(&app, &visit, Kind::Plugin, &paging)?)
}

pub(crate) async fn models(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(paging): Query<Paging>,
) -> Result<Response, Rejection> {
    Ok(list(&app, &visit, Kind::Model, &paging)?)
}

fn list(app: &App, visit: &Visit, kind: Kind, paging: &Paging) -> Result<Response> {
    let after = paging.after::<Name>()?;
    let page = objects(app.platform(), visit, kind, after.as_ref(), paging.limit)?;
    let (title, path) = titled(kind);
    let may_write = visit.may(write_scope(kind));
    let actions = html! {
        @if may_write { a.button.primary href={ (path) "/upload" } { "Upload a " (kind.as_str()) } }
    };
    let body = html! {
        (parts::heading(&html! { (title) }, &actions))
        @if page.items.is_empty() && after.is_none() {
            (none_yet(kind, may_write))
        } @else {
            (rows(title, &page.items, &calls(app.platform(), visit)))
            (parts::pager(path, page.next.as_deref()))
        }
    };
    Ok(shell::page(visit, title, &body))
}

/// What stands where there is no plugin, or no model.
pub(super) fn none_yet(kind: Kind, may_write: bool) -> Markup {
    let body = match kind {
        Kind::Plugin => html! {
            p { "A plugin is a WebAssembly component that runs in a sandbox, for each call anew. Make one from a template and push it:" }
            (parts::command("aimass new my-plugin && aimass push my-plugin"))
        },
        Kind::Model => html! {
            p { "A model is an ONNX file; it is served under the Open Inference Protocol, and to the plugins of this tenant." }
            (parts::command("aimass models push my-model ./model.onnx"))
        },
    };
    parts::empty(
        match kind {
            Kind::Plugin => "No plugin yet",
            Kind::Model => "No model yet",
        },
        &html! {
            (body)
            @if may_write { p { "Or " a href={ (titled(kind).1) "/upload" } { "upload one here" } "." } }
        },
    )
}

/// `?q=…`
#[derive(Deserialize)]
pub(crate) struct Search {
    #[serde(default)]
    q: String,
}

/// Plugins and models whose name holds the words.
pub(crate) async fn search(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(Search { q }): Query<Search>,
) -> Result<Response, Rejection> {
    let wanted = q.trim().to_ascii_lowercase();
    let mut found = vec![];
    for kind in KINDS {
        if !visit.may(read_scope(kind)) {
            continue;
        }
        let mut after: Option<Name> = None;
        for _ in 0..SEARCHED {
            let page = objects(app.platform(), &visit, kind, after.as_ref(), None)?;
            found.extend(page.items.into_iter().filter(|object| object.name.as_str().contains(&wanted)));
            match page.next {
                Some(next) => after = Some(next.parse()?),
                None => break,
            }
        }
    }
    // A name that begins so comes first.
    found.sort_by_key(|object| (!object.name.as_str().starts_with(&wanted), object.name.clone()));
    let more = found.len().saturating_sub(SHOWN);
    found.truncate(SHOWN);
    let body = html! {
        (parts::heading(&html! { "Search" }, &html! {}))
        @if found.is_empty() {
            (parts::empty("Nothing found", &html! { p { "No plugin and no model has “" (q.trim()) "” in its name." } }))
        } @else {
            (rows("Found", &found, &calls(app.platform(), &visit)))
            @if more > 0 { p.hint { "… and " (more) " more. Say more of the name." } }
        }
    };
    Ok(shell::page(&visit, "Search", &body))
}

/// What the token may call: the first names of each kind.
pub(super) fn callable(platform: &Platform, visit: &Visit) -> Vec<Name> {
    let kinds = KINDS.into_iter().filter(|kind| visit.may(invoke_scope(*kind)));
    let pages = kinds.filter_map(|kind| objects(platform, visit, kind, None, None).ok());
    pages.flat_map(|page| page.items).map(|object| object.name).collect()
}

/// Calls that each name had since this node began.
pub(super) fn calls(platform: &Platform, visit: &Visit) -> HashMap<Name, (u64, u64)> {
    let mut calls = HashMap::new();
    // Who may see none sees none.
    for row in platform.observed(&visit.caller).map(|seen| seen.versions).unwrap_or_default() {
        let of: &mut (u64, u64) = calls.entry(row.name).or_default();
        of.0 += row.counts.success.count + row.counts.fail.count;
        of.1 += row.counts.fail.count;
    }
    calls
}

/// A table of plugins or models.
pub(super) fn rows(label: &str, objects: &[ObjectSummary], calls: &HashMap<Name, (u64, u64)>) -> Markup {
    let rows = html! {
        @for object in objects {
            @let (all, failed) = calls.get(&object.name).copied().unwrap_or_default();
            tr {
                th scope="row" { a href=(parts::path(object.kind, object.name.as_str())) { (object.name) } }
                td { (object.kind.as_str()) @if object.public { " " span.badge { "public" } } }
                td.number { "v" (object.latest_version) }
                td.number { (parts::count(all)) }
                td.number { @if failed > 0 { span.failed { (parts::count(failed)) } } @else { "0" } }
                td { (parts::ago(object.created_ms)) }
            }
        }
    };
    parts::table(label, &["Name", "Kind", "Newest#", "Inferences#", "Failed#", "Created"], &rows)
}

/// One page of a list.
pub(super) fn objects(
    platform: &Platform,
    visit: &Visit,
    kind: Kind,
    after: Option<&Name>,
    limit: Option<usize>,
) -> Result<Page<ObjectSummary>> {
    match kind {
        Kind::Plugin => platform.plugins(visit.asked(), after, limit),
        Kind::Model => platform.models(visit.asked(), after, limit),
    }
}

/// A kind's heading and path.
pub(super) fn titled(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Plugin => ("Plugins", "/console/plugins"),
        Kind::Model => ("Models", "/console/models"),
    }
}

pub(super) fn read_scope(kind: Kind) -> Scope {
    match kind {
        Kind::Plugin => Scope::PluginsRead,
        Kind::Model => Scope::ModelsRead,
    }
}

pub(super) fn write_scope(kind: Kind) -> Scope {
    match kind {
        Kind::Plugin => Scope::PluginsWrite,
        Kind::Model => Scope::ModelsWrite,
    }
}

pub(super) fn invoke_scope(kind: Kind) -> Scope {
    match kind {
        Kind::Plugin => Scope::PluginsInvoke,
        Kind::Model => Scope::ModelsInvoke,
    }
}
