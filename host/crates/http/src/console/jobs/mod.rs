//! Jobs: inference over a file's rows, how far each is, and what became of it.

mod form;
mod progress;

use std::sync::Arc;

use aimass_core::Result;
use aimass_core::event::{BatchWork, JobWork};
use aimass_platform::{JobDocument, JobState, Platform, Scope};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

pub(crate) use form::create;
pub(crate) use progress::events;

use super::visit::Visit;
use super::{files, parts, shell};
use crate::app::App;
use crate::extract::{Params, Query};
use crate::problem::Rejection;

const PATH: &str = "/console/jobs";

/// Where a job is. Its id is that of the request that made it.
pub(super) fn path(id: &str) -> String {
    format!("{PATH}/{}", form_urlencoded::byte_serialize(id.as_bytes()).collect::<String>())
}

/// `?input=rows.csv`: what the form begins with.
#[derive(Deserialize)]
pub(crate) struct Begin {
    input: Option<String>,
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(Begin { input }): Query<Begin>,
) -> Result<Response, Rejection> {
    let jobs = all(app.platform(), &visit)?;
    if visit.fragment {
        return Ok(shell::fragment(&rows(&jobs)));
    }
    let body = html! {
        (parts::heading(&html! { "Jobs" }, &html! {}))
        @if jobs.is_empty() {
            (parts::empty("No job yet", &html! {
                p { "A job runs a model or a plugin over every row of a data file, in the background; it goes on where it was when the node is started again." }
                (parts::command("aimass batch my-model --input rows.csv --output scores.csv"))
            }))
        } @else {
            div data-refresh=(PATH) { (rows(&jobs)) }
        }
        @if form::may(&visit) { (form::section(app.platform(), &visit, input.as_deref())) }
    };
    Ok(shell::page(&visit, "Jobs", &body))
}

/// All that are kept, newest first: a hundred under way at most, and the last hundred that ended.
fn all(platform: &Platform, visit: &Visit) -> Result<Vec<JobDocument>> {
    let (mut jobs, mut after) = (vec![], None);
    loop {
        let page = platform.jobs(visit.asked(), after.as_deref(), None)?;
        jobs.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    jobs.sort_by_key(|job| std::cmp::Reverse(job.created_ms));
    Ok(jobs)
}

fn rows(jobs: &[JobDocument]) -> Markup {
    let rows = html! {
        @for job in jobs {
            @let JobWork::Batch(work) = &job.work;
            tr {
                th scope="row" { a href=(path(&job.id)) { (work.input) " → " (work.output) } }
                td { (work.target) " v" (work.version) }
                td { (badge(job.state)) }
                td.number { (progress::percent(job)) }
                td.number { (parts::count(job.rows)) }
                td { (parts::ago(job.created_ms)) " by " (job.created_by) }
            }
        }
    };
    parts::table("Jobs", &["Job", "Runs", "State", "Done#", "Rows#", "Created"], &rows)
}

fn badge(state: JobState) -> Markup {
    let (class, word) = match state {
        JobState::Queued => ("badge plain", "waits for its turn"),
        JobState::Running => ("badge", "running"),
        JobState::Done => ("badge good", "done"),
        JobState::Failed => ("badge bad", "failed"),
        JobState::Cancelled => ("badge plain", "cancelled"),
    };
    html! { span class=(class) { (word) } }
}

/// Whether nothing more happens to it.
fn ended(job: &JobDocument) -> bool {
    !matches!(job.state, JobState::Queued | JobState::Running)
}

pub(crate) async fn show(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    let job = app.platform().job(visit.asked(), params.text("job")?)?;
    let JobWork::Batch(work) = &job.work;
    let path = path(&job.id);
    let title = format!("{} → {}", work.input, work.output);
    let actions = html! {
        @if visit.may(Scope::JobsWrite) && !ended(&job) {
            form.until-end method="post" action={ (path) "/cancel" } data-confirm="End this job? Nothing of its result is kept." {
                (shell::form_key(&visit))
                button.danger type="submit" { "Cancel" }
            }
        }
    };
    let body = html! {
        p.crumbs { a href=(PATH) { "Jobs" } " / " }
        (parts::heading(&html! { (title) }, &actions))
        @if ended(&job) {
            div { (progress::section(&visit, &job)) }
        } @else {
            div data-stream={ (path) "/events" } { (progress::section(&visit, &job)) }
            p.hint role="status" data-stream-state {}
        }
        (facts(&job, work))
    };
    Ok(shell::page(&visit, &title, &body))
}

fn facts(job: &JobDocument, work: &BatchWork) -> Markup {
    html! {
        section {
            h2 { "What it does" }
            dl.facts {
                dt { "Runs" } dd { (work.target) " v" (work.version) }
                dt { "Over" } dd { code { (work.input) } ", " (files::format(Some(work.input_format))) ", " (parts::bytes(work.input_size)) }
                dt { "Into" } dd { code { (work.output) } ", " (files::format(Some(work.output_format))) }
                dt { "Columns" } dd {
                    @if work.columns.is_empty() { "each input is the column of its name" }
                    @for (input, columns) in &work.columns { div { code { (input) } " from " code { (columns.join(", ")) } } }
                }
                dt { "Keeps" } dd { @match &work.keep { None => { "every column" }, Some(keep) if keep.is_empty() => { "no column" }, Some(keep) => { (keep.join(", ")) } } }
                dt { "Rows of a call" } dd { (work.batch_size) }
                dt { "Created" } dd { (parts::ago(job.created_ms)) " by " (job.created_by) }
                dt { "Id" } dd { code { (job.id) } }
            }
        }
    }
}

pub(crate) async fn cancel(State(app): State<Arc<App>>, visit: Visit, params: Params) -> Result<Response, Rejection> {
    let id = params.text("job")?;
    app.platform().cancel_job(visit.asked(), id).await?;
    Ok(visit.done(&path(id), "The job is ended; nothing of its result is kept."))
}
