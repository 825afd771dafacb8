//! Triggers: what runs by itself, when, and what came of it.

mod form;
mod runs;
mod words;

use std::sync::Arc;

use aimass_core::event::TriggerSource;
use aimass_core::{Name, Result};
use aimass_platform::{Page, RunDocument, Scope, TriggerDocument};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

pub(crate) use form::{create, renew_secret};
pub(crate) use runs::replay;

use super::visit::Visit;
use super::{parts, shell};
use crate::app::App;
use crate::extract::{Paging, Params, Query};
use crate::problem::Rejection;

const PATH: &str = "/console/triggers";

/// Runs on one page, newest first.
const RUNS: usize = 20;

/// Where a trigger is.
pub(super) fn path(name: &str) -> String {
    format!("{PATH}/{name}")
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(paging): Query<Paging>,
) -> Result<Response, Rejection> {
    let after = paging.after::<Name>()?;
    let page = app.platform().triggers(visit.asked(), after.as_ref(), paging.limit)?;
    let may_write = visit.may(Scope::TriggersWrite);
    let body = html! {
        (parts::heading(&html! { "Triggers" }, &html! {}))
        @if page.items.is_empty() && after.is_none() {
            (parts::empty("No trigger yet", &html! {
                p { "A trigger calls a plugin or a model by itself: at the times of a calendar, when a signed webhook comes in, when something happens on the platform, when a file arrives, when figures change. Each run is recorded and can be run again." }
                (parts::command("aimass triggers create nightly --cron '30 2 * * *' --function my-plugin"))
            }))
        } @else {
            (rows(&page.items))
            (parts::pager(PATH, page.next.as_deref()))
        }
        @if may_write { (form::section(app.platform(), &visit)) }
    };
    Ok(shell::page(&visit, "Triggers", &body))
}

fn rows(triggers: &[TriggerDocument]) -> Markup {
    let rows = html! {
        @for trigger in triggers {
            tr {
                th scope="row" { a href=(path(trigger.name.as_str())) { (trigger.name) } }
                td { (words::when(&trigger.trigger.on)) }
                td { (words::what(&trigger.trigger.run)) }
                td { (next(trigger)) }
                td {
                    @match &trigger.last_run {
                        Some(run) => { (words::state(run.state)) " " (parts::ago(run.fired_ms)) },
                        None => { "–" },
                    }
                }
                td.number { (parts::count(trigger.runs)) }
                td { (rests(trigger.paused)) }
            }
        }
    };
    parts::table("Triggers", &["Name", "When", "Calls", "Next (UTC)", "Last run", "Runs#", "State"], &rows)
}

fn next(trigger: &TriggerDocument) -> Markup {
    html! { @match trigger.next_ms { Some(ms) => { (parts::when(ms)) }, None => { "–" } } }
}

fn rests(paused: bool) -> Markup {
    html! { @if paused { span.badge.plain { "paused" } } @else { span.badge.good { "active" } } }
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    Query(paging): Query<Paging>,
) -> Result<Response, Rejection> {
    let (platform, name) = (app.platform(), params.get::<Name>("name")?);
    let before = paging.after_version()?;
    let runs = platform.trigger_runs(visit.asked(), &name, before, Some(RUNS))?;
    if visit.fragment {
        return Ok(shell::fragment(&runs::table(&visit, &name, &runs.items)));
    }
    let trigger = platform.trigger(visit.asked(), &name)?;
    Ok(shell::page(&visit, name.as_str(), &page(&visit, &trigger, &runs, before.is_none())))
}

fn page(visit: &Visit, trigger: &TriggerDocument, runs: &Page<RunDocument>, first: bool) -> Markup {
    let (name, path) = (&trigger.name, path(trigger.name.as_str()));
    html! {
        p.crumbs { a href=(PATH) { "Triggers" } " / " }
        (parts::heading(&html! { (name) " " (rests(trigger.paused)) }, &actions(visit, trigger, &path)))
        dl.facts {
            dt { "Fires" } dd { (words::when(&trigger.trigger.on)) }
            dt { "Calls" } dd { (words::what(&trigger.trigger.run)) }
            @if trigger.next_ms.is_some() { dt { "Next" } dd { (next(trigger)) " UTC" } }
            @if let TriggerSource::Webhook(_) = trigger.trigger.on {
                dt { "Webhooks come to" } dd { code { (hook(visit, name)) } }
            }
            @if let Some(error) = &trigger.last_error {
                dt { "Last error" } dd { (error.detail) ", " (parts::ago(error.at_ms)) }
            }
            dt { "Fired" } dd { (parts::count(trigger.runs)) " times" }
            dt { "Made" } dd { (parts::ago(trigger.created_ms)) "; changed by " (trigger.changed_by) }
        }
        section {
            h2 { "Runs" }
            @if runs.items.is_empty() && first {
                (parts::empty("No run yet", &html! {
                    p { "What it runs stands here, with why, and what came of it. To see one now:" }
                    (parts::command(&format!("aimass triggers fire {name}")))
                }))
            } @else if first {
                div data-refresh=(path) { (runs::table(visit, name, &runs.items)) }
            } @else {
                (runs::table(visit, name, &runs.items))
            }
            (parts::pager(&path, runs.next.as_deref()))
        }
    }
}

/// The path at which a trigger's webhooks come in.
fn hook(visit: &Visit, name: &Name) -> String {
    let tenant = visit.caller.tenant.as_ref().map_or("", |tenant| tenant.name().as_str());
    format!("/hooks/{tenant}/{name}")
}

fn actions(visit: &Visit, trigger: &TriggerDocument, path: &str) -> Markup {
    let name = &trigger.name;
    let button = |act: &str, text: &str, class: &str, confirm: Option<String>| {
        shell::act(visit, &format!("{path}/{act}"), text, class, confirm.as_deref())
    };
    html! {
        @if visit.may(Scope::TriggersWrite) {
            @if !trigger.trigger.needs_input() { (button("fire", "Fire now", "primary", None)) }
            @if trigger.paused { (button("resume", "Resume", "", None)) } @else { (button("pause", "Pause", "", None)) }
            @if let TriggerSource::Webhook(_) = trigger.trigger.on {
                (button("secret", "New secret", "", Some(format!("Make a new secret for {name}? The one before is void at once."))))
            }
            (button("delete", "Delete", "danger", Some(format!("Delete {name} with what is recorded of its runs?"))))
        }
    }
}

pub(crate) async fn fire(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    let name: Name = params.get("name")?;
    let run = app.platform().fire_trigger(visit.asked(), &name).await?;
    Ok(visit.done(&path(name.as_str()), format!("Fired: run {}.", run.number)))
}

pub(crate) async fn pause(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    let name: Name = params.get("name")?;
    app.platform().pause_trigger(visit.asked(), &name, true).await?;
    Ok(visit.done(&path(name.as_str()), "The trigger rests. What comes due meanwhile is not caught up with."))
}

pub(crate) async fn resume(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    let name: Name = params.get("name")?;
    app.platform().pause_trigger(visit.asked(), &name, false).await?;
    Ok(visit.done(&path(name.as_str()), "The trigger fires again."))
}

pub(crate) async fn delete(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    let name: Name = params.get("name")?;
    app.platform().delete_trigger(visit.asked(), name.clone()).await?;
    Ok(visit.done(PATH, format!("The trigger {name} is deleted.")))
}
