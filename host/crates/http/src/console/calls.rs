//! Asynchronous calls: how far each is, what it was answered with, and another try for what was given up.

use std::sync::Arc;

use aimass_core::event::Kind;
use aimass_core::{Name, Result};
use aimass_platform::{
    InvocationDetail, InvocationDocument, InvocationQuery, ItemState, Platform, Scope, StoredAnswer,
};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::playground::element_view;
use super::visit::Visit;
use super::{jobs, lists, logs, objects, parts, shell, triggers};
use crate::app::App;
use crate::extract::{Params, Query};
use crate::problem::Rejection;

const PATH: &str = "/console/calls";

/// Calls on one page, newest first.
const CALLS: usize = 50;

/// Where a run begins a job, which has the run's id.
const JOBS: &str = "/api/v1/jobs";

/// Bytes of an answer's body that are shown.
const SHOWN: usize = 2 << 20;

/// The states that can be looked at by themselves.
const STATES: [ItemState; 5] =
    [ItemState::Queued, ItemState::Running, ItemState::Done, ItemState::Dead, ItemState::Cancelled];

/// Where a call is. Its id is one of plain characters.
pub(super) fn path(id: &str) -> String {
    format!("{PATH}/{id}")
}

/// Whether the token may see calls.
pub(super) fn may_see(visit: &Visit) -> bool {
    lists::KINDS.into_iter().any(|kind| visit.may(lists::invoke_scope(kind)))
}

/// `?state=…&name=…&after=…`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wish {
    state: Option<ItemState>,
    name: Option<String>,
    after: Option<String>,
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(wish): Query<Wish>,
) -> Result<Response, Rejection> {
    let name = wish.name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    let (first, limit) = (wish.after.is_none(), Some(CALLS));
    let query = InvocationQuery {
        after: wish.after,
        limit,
        state: wish.state,
        name: name.clone(),
        newest_first: true,
        ..InvocationQuery::default()
    };
    let page = app.platform().invocations(visit.asked(), query)?;
    if visit.fragment {
        return Ok(shell::fragment(&rows(&visit, &page.items)));
    }
    let here = address(wish.state, name.as_deref());
    let body = html! {
        (parts::heading(&html! { "Calls" }, &html! {}))
        p { "Calls that nobody waits for. Each runs until it is answered or given up; its answer is kept for a time." }
        (filters(wish.state, name.as_deref()))
        @if page.items.is_empty() && first {
            (none_yet(wish.state.is_some() || name.is_some()))
        } @else if first {
            div data-refresh=(here) { (rows(&visit, &page.items)) }
        } @else {
            (rows(&visit, &page.items))
        }
        (parts::pager(&here, page.next.as_deref()))
    };
    Ok(shell::page(&visit, "Calls", &body))
}

/// The list of calls in a state, of a plugin or model.
fn address(state: Option<ItemState>, name: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (field, value) in [("state", state.map(|state| word(state).0)), ("name", name)] {
        if let Some(value) = value {
            query.append_pair(field, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { PATH.to_owned() } else { format!("{PATH}?{query}") }
}

fn filters(state: Option<ItemState>, name: Option<&str>) -> Markup {
    let link = |to: Option<ItemState>, text: &str| {
        html! { a href=(address(to, name)) aria-current=[(state == to).then_some("page")] { (text) } }
    };
    html! {
        nav.tabs aria-label="Calls by state" {
            (link(None, "All"))
            @for state in STATES { (link(Some(state), word(state).1)) }
        }
        @if let Some(name) = name { p { "Only those of " strong { (name) } ". " a href=(address(state, None)) { "Of all" } } }
    }
}

fn none_yet(filtered: bool) -> Markup {
    if filtered {
        return parts::empty("No such call", &html! { p { "Nothing that is kept is like this." } });
    }
    parts::empty(
        "No call yet",
        &html! {
            p { "With the header " code { "Prefer: respond-async" } " a call is taken in at once and answered later; runs of triggers are such calls, too:" }
            (parts::command("aimass invoke my-plugin x=[1,2,3] --async"))
        },
    )
}

fn rows(visit: &Visit, calls: &[InvocationDocument]) -> Markup {
    let rows = html! {
        @for call in calls {
            @let progress = &call.progress;
            tr {
                th scope="row" { a href=(path(&call.id)) title=(call.id) { (short(&call.id)) } }
                td { (call.name) }
                td { @match &call.trigger { Some(trigger) => { (of_trigger(visit, trigger)) }, None => { "–" } } }
                td { (badge(progress.state)) }
                td.number { (progress.attempts) " of " (progress.max_attempts) }
                td { (parts::ago(progress.created_ms)) }
                td { @if let Some(failure) = &progress.failure { code { (failure.code) } } }
            }
        }
    };
    parts::table("Calls", &["Call", "Of", "Trigger", "State", "Attempts#", "Accepted", "Failure"], &rows)
}

fn of_trigger(visit: &Visit, trigger: &str) -> Markup {
    html! { @if visit.may(Scope::TriggersRead) { a href=(triggers::path(trigger)) { (trigger) } } @else { (trigger) } }
}

/// The end of an id, which is what differs.
pub(super) fn short(id: &str) -> String {
    let skipped = id.chars().count().saturating_sub(12);
    let end: String = id.chars().skip(skipped).collect();
    if skipped == 0 { end } else { format!("…{end}") }
}

/// A state's word in addresses, and as it is said.
fn word(state: ItemState) -> (&'static str, &'static str) {
    match state {
        ItemState::Queued => ("queued", "Waiting"),
        ItemState::Running => ("running", "Running"),
        ItemState::Done => ("done", "Done"),
        ItemState::Dead => ("dead", "Given up"),
        ItemState::Cancelled => ("cancelled", "Cancelled"),
    }
}

/// A state, in its colour.
pub(super) fn badge(state: ItemState) -> Markup {
    let class = match state {
        ItemState::Queued | ItemState::Cancelled => "badge plain",
        ItemState::Running => "badge",
        ItemState::Done => "badge good",
        ItemState::Dead => "badge bad",
    };
    html! { span class=(class) { (word(state).1.to_lowercase()) } }
}

pub(crate) async fn show(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    let (platform, id) = (app.platform(), params.text("invocation")?);
    let call = platform.invocation(visit.asked(), id).await?;
    let state = state(platform, &visit, &call).await;
    if visit.fragment {
        return Ok(shell::fragment(&state));
    }
    let path = path(id);
    let actions = html! {
        @if !call.summary.progress.state.is_end() {
            form.until-end method="post" action={ (path) "/cancel" } data-confirm="Call this call off?" {
                (shell::form_key(&visit))
                button.danger type="submit" { "Cancel" }
            }
        }
    };
    let body = html! {
        p.crumbs { a href=(PATH) { "Calls" } " / " }
        (parts::heading(&html! { "Call " (short(id)) }, &actions))
        div data-poll=(path) { (state) }
    };
    Ok(shell::page(&visit, &format!("Call {}", short(id)), &body))
}

/// All that changes while a call is under way, and its end.
async fn state(platform: &Platform, visit: &Visit, call: &InvocationDetail) -> Markup {
    let InvocationDetail { summary, method, path: called, subject, callback } = call;
    let progress = &summary.progress;
    let answer = match progress.state {
        ItemState::Done | ItemState::Dead => platform.invocation_result(visit.asked(), &summary.id).await.ok(),
        _ => None,
    };
    let seen =
        |name: &Name| lists::KINDS.into_iter().find(|kind| objects::record(platform, visit, *kind, name).is_ok());
    let kind = summary.name.parse::<Name>().ok().and_then(|name| seen(&name));
    html! {
        div data-ended[progress.state.is_end()] {
            dl.facts {
                dt { "State" } dd { (badge(progress.state)) }
                dt { "Request" } dd { code { (method) " " (called) } }
                dt { "Of" } dd {
                    @match kind { Some(kind) => { a href=(parts::path(kind, &summary.name)) { (summary.name) } }, None => { (summary.name) } }
                }
                dt { "By" } dd { (subject) }
                @if let Some(trigger) = &summary.trigger { dt { "Run of" } dd { (of_trigger(visit, trigger)) } }
                dt { "Accepted" } dd { (parts::ago(progress.created_ms)) }
                @if let Some(due) = progress.due_ms { dt { "Tried at" } dd { (parts::when(due)) " UTC" } }
                @if let Some(ended) = progress.ended_ms { dt { "Ended" } dd { (parts::ago(ended)) } }
                @if let Some(until) = summary.expires_ms { dt { "Kept until" } dd { (parts::when(until)) " UTC" } }
                @if called == JOBS && visit.may(Scope::JobsRead) { dt { "Begins" } dd { a href=(jobs::path(&summary.id)) { "a job" } } }
                @if let Some(callback) = callback { dt { "Tells" } dd { "the webhook endpoint " (callback) } }
                dt { "Id" } dd { code { (summary.id) } }
            }
            @if let Some(failure) = &progress.failure {
                div.notice.bad { strong { (failure.code) } ": " (failure.detail) }
            }
            @if progress.state == ItemState::Dead {
                form.again method="post" action={ (path(&summary.id)) "/retry" } {
                    (shell::form_key(visit))
                    button.primary type="submit" { "Try it again" }
                }
            }
            // Only plugins' calls leave lines.
            (attempts(summary, kind == Some(Kind::Plugin)))
            @if let Some((_, answer)) = &answer { (answered(answer)) }
        }
    }
}

/// What was tried. Each attempt is a request of its own in the log.
fn attempts(call: &InvocationDocument, has_logs: bool) -> Markup {
    let InvocationDocument { progress, name, id, .. } = call;
    let last = progress.attempts;
    let outcome = |attempt: u32| match (attempt == last, progress.state) {
        (false, _) => "failed, and was tried again",
        (true, ItemState::Running) => "is under way",
        (true, ItemState::Done) => "was answered",
        (true, ItemState::Cancelled) => "was called off",
        (true, ItemState::Queued | ItemState::Dead) => "failed",
    };
    let rows = html! {
        @for attempt in 1..=last {
            tr {
                th scope="row" { (attempt) }
                td { (outcome(attempt)) }
                @if has_logs { td { a href=(logs::of_request(name, &format!("{id}.{attempt}"))) { "Log of attempt " (attempt) } } }
            }
        }
    };
    let heads: &[&str] = if has_logs { &["Attempt", "Outcome", "Log"] } else { &["Attempt", "Outcome"] };
    html! {
        section {
            h2 { "Attempts" }
            p.hint { (last) " of " (progress.max_attempts) " until it is given up" }
            @if last > 0 { (parts::table("Attempts", heads, &rows)) }
        }
    }
}

fn answered(answer: &StoredAnswer) -> Markup {
    let shown = &answer.body[..answer.body.len().min(SHOWN)];
    let tone = if answer.status >= 400 { "notice warn" } else { "notice good" };
    html! {
        section {
            h2 { "Answer" }
            p class=(tone) { "Status " strong { (answer.status) } ", " (parts::bytes(answer.body.len() as u64)) }
            article.output {
                @if shown.is_empty() { p.hint { "The body is empty." } } @else { (element_view(shown)) }
                @if shown.len() < answer.body.len() { p.hint { "The first " (parts::bytes(SHOWN as u64)) " of the body" } }
                details {
                    summary { (answer.headers.len()) " headers" }
                    dl.facts { @for (name, value) in &answer.headers { dt { (name) } dd { (value) } } }
                }
            }
        }
    }
}

pub(crate) async fn cancel(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    let id = params.text("invocation")?;
    app.platform().cancel_invocation(visit.asked(), id).await?;
    Ok(visit.done(&path(id), "The call is called off."))
}

pub(crate) async fn retry(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    let id = params.text("invocation")?;
    app.platform().retry_invocation(visit.asked(), id).await?;
    Ok(visit.done(&path(id), "It is tried again."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_shortened_and_filters_stay_in_the_address() {
        assert_eq!((short("0198c0de00007000800000000000000a"), short("a")), ("…00000000000a".into(), "a".into()));
        assert_eq!(address(Some(ItemState::Dead), Some("a&b")), "/console/calls?state=dead&name=a%26b");
    }

    #[test]
    fn each_state_has_the_word_that_the_api_has() {
        for state in STATES {
            assert_eq!(serde_json::json!(state), word(state).0);
        }
    }
}
