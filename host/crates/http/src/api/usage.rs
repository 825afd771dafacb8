//! `/api/v1/usage`, and `/api/v1/tenants/{tenant}/usage` for the operator: hours, as JSON page by page or as CSV whole.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aimass_core::usage::HOUR;
use aimass_core::{Fault, Name, Result as Checked};
use aimass_platform::{Asked, CallsDocument, UsageDocument, UsageQuery};
use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde::Deserialize;

use crate::app::App;
use crate::extract::{Ask, Params, Query};
use crate::problem::Rejection;

/// Rows of one CSV document; a year's hours of ten plugins.
const MOST: usize = 100_000;

/// `?after=…&limit=…&from=…&to=…&by=plugin&format=csv`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    after: Option<String>,
    limit: Option<usize>,
    /// Seconds since the epoch: the hours that hold them, and those between.
    from: Option<u64>,
    to: Option<u64>,
    by: Option<By>,
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    /// Each plugin and each model.
    Plugin,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Json,
    Csv,
}

pub(crate) async fn own(
    State(app): State<Arc<App>>,
    ask: Ask,
    Query(wish): Query<Wish>,
) -> Result<Response, Rejection> {
    Ok(answer(&app, ask.asked(), None, wish)?)
}

pub(crate) async fn of_tenant(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(wish): Query<Wish>,
) -> Result<Response, Rejection> {
    Ok(answer(&app, ask.asked(), Some(params.get("tenant")?), wish)?)
}

fn answer(app: &App, asked: Asked<'_>, tenant: Option<Name>, wish: Wish) -> Checked<Response> {
    let Wish { after, limit, from, to, by, format } = wish;
    let from = from.map_or(0, |from| from / HOUR * HOUR);
    let query = UsageQuery { tenant, from, to: to.map(|to| to.saturating_add(1)), limit };
    let (platform, after) = (app.platform(), after.as_deref());
    let text = match (by, format) {
        (None, Format::Json) => {
            return Ok(Answer(platform.usage_hours(asked, &behind(query, hour(after)?))?).into_response());
        }
        (Some(By::Plugin), Format::Json) => {
            return Ok(Answer(platform.usage_by_object(asked, &query, pair(after)?)?).into_response());
        }
        (None, Format::Csv) => {
            let mut text = format!("hour,{CALLS},egress_requests,egress_bytes_sent,egress_bytes_received,refused\n");
            let mut after = hour(after)?;
            whole(|| {
                let query = UsageQuery { limit: Some(MOST / 10), ..behind(query.clone(), after) };
                let page = platform.usage_hours(asked, &query)?;
                page.items.iter().for_each(|used| row(&mut text, used));
                after = page.items.last().map(|used| used.hour).or(after);
                Ok((page.items.len(), page.next.is_some()))
            })?;
            text
        }
        (Some(By::Plugin), Format::Csv) => {
            let mut text = format!("hour,name,{CALLS}\n");
            let mut after = pair(after)?;
            whole(|| {
                let query = UsageQuery { limit: Some(MOST / 10), ..query.clone() };
                let page = platform.usage_by_object(asked, &query, after.take())?;
                for used in &page.items {
                    // Writing to a String cannot fail.
                    let _ = writeln!(text, "{},{},{}", time(used.hour), used.name, calls(&used.calls));
                }
                after = page.items.last().map(|used| (used.hour, used.name.clone()));
                Ok((page.items.len(), page.next.is_some()))
            })?;
            text
        }
    };
    Ok(([(CONTENT_TYPE, "text/csv; charset=utf-8; header=present")], text).into_response())
}

/// Reads page after page, each by `read`: how many rows it held, and whether there is another one.
fn whole(mut read: impl FnMut() -> Checked<(usize, bool)>) -> Checked<()> {
    let mut rows = 0;
    loop {
        let (more, again) = read()?;
        rows += more;
        if rows > MOST {
            return Err(Fault::invalid(format!("these are more than {MOST} rows: narrow them by `from` and `to`")));
        }
        if !again {
            return Ok(());
        }
    }
}

/// The cursor: when the last hour that was seen began.
fn hour(after: Option<&str>) -> Checked<Option<u64>> {
    let number = |text: &str| text.parse().map_err(|_| Fault::invalid("`after` is seconds since the epoch"));
    after.map(number).transpose()
}

fn behind(query: UsageQuery, after: Option<u64>) -> UsageQuery {
    let from = after.map_or(0, |after| after.saturating_add(1)).max(query.from);
    UsageQuery { from, ..query }
}

/// The cursor of single plugins: the hour and the name of the last one.
fn pair(after: Option<&str>) -> Checked<Option<(u64, Name)>> {
    let wrong = || Fault::invalid("`after` is HOUR/NAME");
    let parsed = |text: &str| {
        let (hour, name) = text.split_once('/').ok_or_else(wrong)?;
        Ok((hour.parse().map_err(|_| wrong())?, name.parse()?))
    };
    after.map(parsed).transpose()
}

const CALLS: &str = "requests,errors,inferences,inference_ms,functions,guest_inferences,guest_ms,engine_ms,bytes_in,\
                     bytes_out,memory_mib_seconds";

/// The columns of [`CALLS`].
fn calls(of: &CallsDocument) -> String {
    let numbers = [
        of.requests,
        of.errors,
        of.inferences,
        of.inference_ms,
        of.functions,
        of.guest_inferences,
        of.guest_ms,
        of.engine_ms,
        of.bytes_in,
        of.bytes_out,
    ];
    format!("{},{}", numbers.map(|number| number.to_string()).join(","), of.memory_mib_seconds)
}

fn row(text: &mut String, used: &UsageDocument) {
    let (mut requests, mut sent, mut received) = (0, 0, 0);
    for flow in &used.transfers {
        requests += flow.records;
        sent += flow.bytes_sent;
        received += flow.bytes_received;
    }
    let refused: u64 = used.refused.values().sum();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{},{},{requests},{sent},{received},{refused}", time(used.hour), calls(&used.calls));
}

/// RFC 3339, in UTC: what spreadsheets read as a time.
fn time(seconds: u64) -> humantime::Rfc3339Timestamp {
    // Hours are the clock's, so no sum leaves it.
    humantime::format_rfc3339_seconds(UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH))
}
