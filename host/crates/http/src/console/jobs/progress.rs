//! How far a job is, as it gets on.

use std::sync::Arc;
use std::time::Duration;

use aimass_core::event::JobWork;
use aimass_platform::{JobDocument, JobState, Scope};
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use maud::{Markup, html};

use super::super::visit::Visit;
use super::super::{files, live, parts};
use super::{badge, ended};
use crate::app::App;
use crate::extract::Params;
use crate::problem::Rejection;

/// News that come faster than this are joined: a person reads them.
const PACE: Duration = Duration::from_millis(250);

/// The part that is done: `42 %`.
pub(super) fn percent(job: &JobDocument) -> String {
    job.done.map_or("–".to_owned(), |done| format!("{:.0} %", (done * 100.0).floor()))
}

/// State, progress and outcome.
pub(super) fn section(visit: &Visit, job: &JobDocument) -> Markup {
    let JobWork::Batch(work) = &job.work;
    html! {
        div.panel-box data-ended[ended(job)] {
            p.job-state {
                (badge(job.state)) " "
                strong { (parts::count(job.rows)) }
                @if let Some(total) = job.total_rows { " of " (parts::count(total)) }
                " rows"
                @if let Some(rate) = job.rows_per_second { " · " (rate_of(rate)) }
                @if let Some(left) = job.seconds_left { " · " (left_of(left)) }
                @if let Some(ended) = job.ended_ms { " · ended " (parts::ago(ended)) }
            }
            @if let Some(done) = job.done {
                progress.job-bar max="1" value=(format!("{done:.4}")) aria-label={ "Rows of " (work.input) " that are done" } { (percent(job)) }
            }
        }
        @if let Some(fault) = &job.failure { div.notice.bad { strong { (fault.code().title()) } ": " (fault.detail()) } }
        @if job.state == JobState::Done {
            p.notice.good {
                "The result: "
                @if visit.may(Scope::DataRead) { a href=(files::path(&work.output)) download { (work.output) } } @else { (work.output) }
                @if let Some(size) = job.output_size { ", " (parts::bytes(size)) }
            }
        }
        @if job.row_errors.count > 0 { (errors(job)) }
    }
}

fn rate_of(rate: f64) -> String {
    // A rate is no more than a number of rows, which fits.
    let rate = if rate >= 10.0 { parts::count(rate.round() as u64) } else { format!("{rate:.1}") };
    format!("{rate} rows/s")
}

fn left_of(seconds: f64) -> String {
    match seconds {
        _ if seconds < 90.0 => format!("{seconds:.0} s left"),
        _ if seconds < 5_400.0 => format!("{:.0} min left", seconds / 60.0),
        _ => format!("{:.1} h left", seconds / 3_600.0),
    }
}

fn errors(job: &JobDocument) -> Markup {
    let rows = html! {
        @for error in &job.row_errors.first { tr { th.number scope="row" { (parts::count(error.row)) } td { (error.detail) } } }
    };
    html! {
        section {
            h2 { "Rows that could not be computed" }
            p { (parts::count(job.row_errors.count)) " in all; the first of them:" }
            (parts::table("Rows that could not be computed", &["Row#", "Why"], &rows))
        }
    }
}

/// The same as it changes; the last event is of the job as it ended.
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let id = params.text("job")?.to_owned();
    let (job, news) = app.platform().follow_job(visit.asked(), &id)?;
    let news = news.filter(|_| !ended(&job));
    let first = event(&visit, &job, news.is_none());
    let platform = app.platform().clone();
    let rest = stream::unfold(news, move |news| {
        let (platform, visit, id) = (platform.clone(), visit.clone(), id.clone());
        async move {
            let mut news = news?;
            let changed = news.changed().await.is_ok();
            let job = platform.job(visit.asked(), &id).ok()?;
            if ended(&job) || !changed {
                return Some((event(&visit, &job, true), None));
            }
            tokio::time::sleep(PACE).await;
            news.borrow_and_update();
            Some((event(&visit, &job, false), Some(news)))
        }
    });
    Ok(live::answer(app, &headers, stream::iter([first]).chain(rest)))
}

fn event(visit: &Visit, job: &JobDocument, last: bool) -> Event {
    let markup = section(visit, job);
    if last { live::last(&markup) } else { live::whole(&markup) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_times_are_said_shortly() {
        assert_eq!((rate_of(3.25), rate_of(12_345.6)), ("3.2 rows/s".into(), "12\u{202f}346 rows/s".into()));
        assert_eq!(
            (left_of(4.4), left_of(600.0), left_of(9_000.0)),
            ("4 s left".into(), "10 min left".into(), "2.5 h left".into())
        );
    }
}
