//! The first page: what there is, and what it did in the last hour.

use std::sync::Arc;

use aimass_core::Result;
use aimass_core::event::Kind;
use aimass_platform::{MinuteDocument, ObjectSummary};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::charts::{self, Bar};
use super::visit::Visit;
use super::{lists, parts, shell, tenants};
use crate::app::App;
use crate::problem::Rejection;

/// Names of each kind that stand on this page; the lists have the others.
const SHOWN: usize = 10;

pub(crate) async fn show(State(app): State<Arc<App>>, visit: Visit) -> Result<Response, Rejection> {
    Ok(if visit.is_operator() { tenants::node(&app, &visit).await? } else { tenant(&app, &visit)? })
}

fn tenant(app: &App, visit: &Visit) -> Result<Response> {
    let platform = app.platform();
    let hour = platform.recent_calls(visit.asked(), None).ok();
    let calls = lists::calls(platform, visit);
    let kinds = [Kind::Plugin, Kind::Model].into_iter().filter(|kind| visit.may(lists::read_scope(*kind)));
    let mut sections = vec![];
    for kind in kinds {
        let page = lists::objects(platform, visit, kind, None, Some(SHOWN))?;
        sections.push((kind, page.items, page.next.is_some()));
    }
    let body = html! {
        (parts::heading(&html! { "Overview" }, &html! {}))
        @if let Some(hour) = &hour { (last_hour(hour)) }
        @for (kind, objects, more) in &sections { (section(visit, *kind, objects, *more, &calls)) }
        @if sections.is_empty() {
            (parts::empty("Nothing to see", &html! { p { "This token may see neither plugins nor models." } }))
        }
    };
    Ok(shell::page(visit, "Overview", &body))
}

fn section(
    visit: &Visit,
    kind: Kind,
    objects: &[ObjectSummary],
    more: bool,
    calls: &std::collections::HashMap<aimass_core::Name, (u64, u64)>,
) -> Markup {
    let (title, path) = lists::titled(kind);
    html! {
        section {
            div.heading { h2 { (title) } @if more { a href=(path) { "All " (title.to_lowercase()) } } }
            @if objects.is_empty() {
                (lists::none_yet(kind, visit.may(lists::write_scope(kind))))
            } @else {
                (lists::rows(title, objects, calls))
            }
        }
    }
}

/// Figures and plots of the last hour.
pub(super) fn last_hour(hour: &[MinuteDocument]) -> Markup {
    let sum = |of: fn(&MinuteDocument) -> u64| hour.iter().map(of).sum::<u64>();
    let (answered, failed, ns) = (sum(|m| m.answered), sum(|m| m.failed), sum(|m| m.inference_ns));
    let functions = sum(|m| m.functions);
    let inferences = answered + failed;
    let rate = if inferences == 0 { 0.0 } else { failed as f64 * 100.0 / inferences as f64 };
    let nothing = inferences + functions == 0;
    let mean = (inferences > 0).then(|| ns / inferences);
    html! {
        section aria-label="The last hour" {
            div.cards {
                (parts::card("Inferences", &html! { (parts::count(inferences)) }, &html! { "in the last hour" }))
                (parts::card("Failed", &html! { span.failed[failed > 0] { (parts::count(failed)) } }, &html! { (format!("{rate:.1} %")) }))
                (parts::card("Mean time", &html! { (mean.map_or("–".to_owned(), parts::millis)) }, &html! { "of an inference" }))
                (parts::card("Functions", &html! { (parts::count(functions)) }, &html! { "HTTP calls in the last hour" }))
            }
            @if nothing {
                p.hint { "Nothing was called in the last hour." }
            } @else {
                div.plots { (calls_plot(hour)) (time_plot(hour)) }
            }
        }
    }
}

fn calls_plot(hour: &[MinuteDocument]) -> Markup {
    let bar = |m: &MinuteDocument| Bar {
        good: (m.answered + m.functions) as f64,
        bad: m.failed as f64,
        says: format!("{}: {} calls, {} failed", clock(m.minute), m.answered + m.failed + m.functions, m.failed),
    };
    let bars: Vec<_> = hour.iter().map(bar).collect();
    let plot = charts::bars("Calls a minute in the last hour", &bars, ENDS, parts::short_count);
    html! { figure { figcaption { "Calls a minute" } (plot) } }
}

fn time_plot(hour: &[MinuteDocument]) -> Markup {
    let point = |m: &MinuteDocument| {
        let mean = m.inference_ns.checked_div(m.answered + m.failed)?;
        Some((mean as f64 / 1e6, format!("{}: {}", clock(m.minute), parts::millis(mean))))
    };
    let points: Vec<_> = hour.iter().map(point).collect();
    let plot = charts::line("Mean time of an inference by minute", &points, ENDS, parts::short_time);
    html! { figure { figcaption { "Mean time of an inference" } (plot) } }
}

/// What stands below the plots.
const ENDS: (&str, &str) = ("an hour ago", "now");

/// The time of day, UTC.
fn clock(seconds: u64) -> String {
    format!("{:02}:{:02} UTC", seconds / 3_600 % 24, seconds / 60 % 60)
}
