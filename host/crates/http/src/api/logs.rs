//! `/api/v1/plugins/{name}/logs`: what a plugin's calls log, a page of it or as it comes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aimass_core::logs::Level;
use aimass_core::{Fault, Result};
use aimass_platform::{Follower, LogQuery, News};
use axum::Json as Answer;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use http::header::{ACCEPT, CACHE_CONTROL, HeaderValue};
use http::{HeaderMap, HeaderName};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::app::App;
use crate::extract::{Ask, Params, Query};
use crate::guard::bearer;
use crate::problem::Rejection;

/// Where a reader of events that was cut off goes on.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A sign of life for whatever stands between: proxies close what is silent for a minute.
const ALIVE: Duration = Duration::from_secs(15);

/// `?after=…&limit=…&request_id=…&level=…&since_ms=…&until_ms=…&text=…`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    /// A line's id: those that are older; as events, those that are newer.
    after: Option<String>,
    /// At most so many; 1000 at most.
    limit: Option<usize>,
    /// Of this request.
    request_id: Option<String>,
    /// At least so serious.
    #[schemars(with = "Option<Level>")]
    level: Option<String>,
    /// Not before, milliseconds since the epoch.
    since_ms: Option<u64>,
    /// Not after, milliseconds since the epoch.
    until_ms: Option<u64>,
    /// That hold this text, in letters of either case.
    text: Option<String>,
}

impl Filter {
    fn query(self) -> Result<LogQuery> {
        let Self { after, limit, request_id, level, since_ms, until_ms, text } = self;
        let level = level.as_deref().map(str::parse::<Level>).transpose()?;
        Ok(LogQuery { after, limit, request_id, level, since_ms, until_ms, text })
    }
}

pub(crate) async fn tail(
    State(app): State<Arc<App>>,
    ask: Ask,
    params: Params,
    Query(filter): Query<Filter>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let (name, mut query) = (params.get("name")?, filter.query()?);
    if !wants_events(&headers) {
        return Ok(Answer(app.platform().logs(ask.asked(), &name, &query)?).into_response());
    }
    if let Some(last) = headers.get(LAST_EVENT_ID) {
        let last = last.to_str().map_err(|_| Fault::invalid("`Last-Event-ID` is no line's id"))?;
        query.after = Some(last.to_owned());
    }
    let follower = app.platform().follow_logs(ask.asked(), &name, &query)?;
    let token = bearer(&headers)?.to_owned();
    let alive = KeepAlive::new().interval(ALIVE);
    let mut response = Sse::new(events(app, follower, token)).keep_alive(alive).into_response();
    // A proxy that collects answers before it passes them on would keep the lines.
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Whether the reader is one of server-sent events.
pub(crate) fn wants_events(headers: &HeaderMap) -> bool {
    let kinds = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    kinds.filter_map(|kind| kind.split(';').next()).any(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// The lines as they come, until the plugin or the token is gone or the node stops.
fn events(app: Arc<App>, follower: Follower, token: String) -> impl Stream<Item = Result<Event, Infallible>> {
    let pieces = stream::unfold((app, follower, token), |(app, mut follower, token)| async move {
        let news = tokio::select! {
            biased;
            () = app.drained() => return None,
            () = no_longer_valid(&app, &token) => return None,
            news = follower.next() => news?,
        };
        // It may have been revoked since the line was waited for.
        app.platform().authenticate(&token).await.ok()?;
        let events: Vec<_> = news.into_iter().map(|news| Ok(event(news))).collect();
        Some((stream::iter(events), (app, follower, token)))
    });
    pieces.flatten()
}

/// Resolves when the token has ended or was revoked.
async fn no_longer_valid(app: &App, token: &str) {
    while app.platform().authenticate(token).await.is_ok() {
        tokio::time::sleep(ALIVE).await;
    }
}

fn event(news: News) -> Event {
    match news {
        News::Line(line) => {
            let event = Event::default().id(&line.id).event("line");
            // JSON has no line breaks of its own, and a document that cannot be written does not exist.
            event.data(serde_json::to_string(&line).unwrap_or_default())
        }
        News::Lost(lines) => Event::default().event("lost").data(json!({ "lost": lines }).to_string()),
    }
}
