//! What the tenant used, hour by hour.

use std::sync::Arc;

use aimass_core::usage::HOUR;
use aimass_core::{Name, Result};
use aimass_platform::{Platform, UsageDocument};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::charts::{self, Bar};
use super::visit::Visit;
use super::{parts, quotas, shell};
use crate::app::App;
use crate::problem::Rejection;

/// Hours that are plotted: two days, one bar each.
const PLOTTED: u64 = 48;

/// Days that the table sums up.
const DAYS: u64 = 7;

pub(crate) async fn show(State(app): State<Arc<App>>, visit: Visit) -> Result<Response, Rejection> {
    let hours = hours(app.platform(), &visit, None)?;
    let quotas = app.platform().quotas(visit.asked())?;
    let body = html! { (parts::heading(&html! { "Usage" }, &html! {})) (quotas::section(&quotas)) (report(&hours)) };
    Ok(shell::page(&visit, "Usage", &body))
}

/// The hours of the last days: the own tenant's, or, for the operator, those of `of`.
pub(super) fn hours(platform: &Platform, visit: &Visit, of: Option<&Name>) -> Result<Vec<UsageDocument>> {
    let start = (parts::now().as_secs() / HOUR * HOUR).saturating_sub(DAYS * 24 * HOUR);
    let (mut all, mut after) = (vec![], Some(start));
    while let Some(from) = after {
        let page = match of {
            Some(tenant) => platform.usage_of(visit.asked(), tenant, Some(from), None)?,
            None => platform.usage(visit.asked(), Some(from), None)?,
        };
        after = page.next.as_ref().and_then(|next| next.parse().ok());
        all.extend(page.items);
    }
    Ok(all)
}

/// Plots and a table.
pub(super) fn report(hours: &[UsageDocument]) -> Markup {
    if hours.is_empty() {
        return parts::empty(
            "Nothing used",
            &html! { p { "Nothing was called and nothing sent in the last " (DAYS) " days." } },
        );
    }
    let now = parts::now().as_secs() / HOUR * HOUR;
    let slots: Vec<(u64, Option<&UsageDocument>)> = (0..PLOTTED)
        .rev()
        .map(|back| now.saturating_sub(back * HOUR))
        .map(|hour| (hour, hours.iter().find(|used| used.hour == hour)))
        .collect();
    let calls: Vec<_> = slots
        .iter()
        .map(|(hour, used)| {
            let count = used.map_or(0, |used| used.calls.inferences + used.calls.functions);
            Bar { good: count as f64, bad: 0.0, says: format!("{}: {count} calls", parts::exact(hour * 1_000)) }
        })
        .collect();
    let mean: Vec<_> = slots
        .iter()
        .map(|(hour, used)| {
            let used = used.filter(|used| used.calls.inferences > 0)?;
            let ms = used.calls.inference_ms as f64 / used.calls.inferences as f64;
            Some((ms, format!("{}: {ms:.1} ms", parts::exact(hour * 1_000))))
        })
        .collect();
    let ends = ("two days ago", "this hour");
    html! {
        div.plots {
            figure { figcaption { "Calls an hour" } (charts::bars("Calls an hour, last two days", &calls, ends, parts::short_count)) }
            figure {
                figcaption { "Mean time of an inference" }
                (charts::line("Mean time of an inference by hour", &mean, ends, parts::short_time))
            }
        }
        (days(hours))
        (flows(hours))
    }
}

/// A row for each day, newest first.
fn days(hours: &[UsageDocument]) -> Markup {
    let mut days: std::collections::BTreeMap<u64, [u64; 6]> = std::collections::BTreeMap::new();
    for used in hours {
        let day = days.entry(used.hour / (24 * HOUR)).or_default();
        let sum = |of: fn(&aimass_platform::FlowDocument) -> u64| used.transfers.iter().map(of).sum::<u64>();
        let parts = [
            used.calls.inferences,
            used.calls.inference_ms,
            used.calls.functions,
            sum(|flow| flow.bytes_sent),
            sum(|flow| flow.bytes_received),
            used.refused.values().sum(),
        ];
        day.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
    }
    let rows = html! {
        @for (day, [inferences, ms, functions, sent, received, refused]) in days.iter().rev() {
            tr {
                th scope="row" { (parts::exact(day * 24 * HOUR * 1_000)[..10]) }
                td.number { (parts::count(*inferences)) }
                td.number { (parts::millis(ms * 1_000_000)) }
                td.number { (parts::count(*functions)) }
                td.number { (parts::bytes(*sent)) }
                td.number { (parts::bytes(*received)) }
                td.number { (parts::count(*refused)) }
            }
        }
    };
    let heads = ["Day (UTC)", "Inferences#", "Their time#", "Functions#", "Sent out#", "Received#", "Refused#"];
    html! { section { h2 { "By day" } (parts::table("Usage by day", &heads, &rows)) } }
}

/// Where data went.
fn flows(hours: &[UsageDocument]) -> Markup {
    let mut flows: std::collections::BTreeMap<(&str, &str), (u64, u64, u64)> = std::collections::BTreeMap::new();
    for flow in hours.iter().flat_map(|used| &used.transfers) {
        let sum = flows.entry((flow.from.as_str(), flow.to.as_str())).or_default();
        *sum = (sum.0 + flow.records, sum.1 + flow.bytes_sent, sum.2 + flow.bytes_received);
    }
    let rows = html! {
        @for ((from, to), (requests, sent, received)) in &flows {
            tr {
                th scope="row" { (from) " → " (to) }
                td.number { (parts::count(*requests)) }
                td.number { (parts::bytes(*sent)) }
                td.number { (parts::bytes(*received)) }
            }
        }
    };
    html! {
        @if !flows.is_empty() {
            section { h2 { "Sent between regions" } (parts::table("Flows", &["Regions", "Requests#", "Sent#", "Received#"], &rows)) }
        }
    }
}
