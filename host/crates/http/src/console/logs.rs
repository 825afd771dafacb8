//! What a plugin's calls say: the newest lines, a search in them, and those that come while somebody looks.

use std::sync::Arc;

use aimass_core::event::Kind;
use aimass_core::logs::Level;
use aimass_core::{Name, Result};
use aimass_platform::{LogDocument, LogQuery, News};
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use maud::{Markup, html};
use serde::Deserialize;

use super::objects::{self, Tab};
use super::visit::Visit;
use super::{live, parts, shell};
use crate::api::logs::LAST_EVENT_ID;
use crate::app::App;
use crate::extract::{Params, Query};
use crate::problem::Rejection;

/// Lines that the page begins with.
const LINES: usize = 200;

/// The end of a request's id that a line shows; the whole of it is a link's title.
const ID_END: usize = 8;

/// The levels that the form offers: at least so serious.
const LEVELS: [Level; 5] = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];

/// What the form asks for; empty fields ask for nothing.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    level: String,
    request: String,
    text: String,
    /// Of events: lines behind this one.
    after: String,
}

impl Filter {
    fn query(&self) -> Result<LogQuery> {
        let level = word(&self.level).map(|word| word.parse::<Level>()).transpose()?;
        let (request_id, text) = (word(&self.request), word(&self.text));
        Ok(LogQuery { limit: Some(LINES), request_id, level, text, ..LogQuery::default() })
    }

    fn asks(&self) -> bool {
        [&self.level, &self.request, &self.text].into_iter().any(|field| word(field).is_some())
    }

    /// Where the lines come from that are like these.
    fn events(&self, base: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, field) in [("level", &self.level), ("request", &self.request), ("text", &self.text)] {
            if let Some(value) = word(field) {
                query.append_pair(name, &value);
            }
        }
        format!("{base}/events?{}", query.finish())
    }
}

fn word(field: &str) -> Option<String> {
    Some(field.trim().to_owned()).filter(|word| !word.is_empty())
}

/// Where a plugin's lines of one request are.
pub(super) fn of_request(plugin: &str, request: &str) -> String {
    let id: String = form_urlencoded::byte_serialize(request.as_bytes()).collect();
    format!("{}/logs?request={id}", parts::path(Kind::Plugin, plugin))
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    Query(filter): Query<Filter>,
) -> Result<Response, Rejection> {
    let name: Name = params.get("name")?;
    let object = objects::record(app.platform(), &visit, Kind::Plugin, &name)?;
    let mut lines = app.platform().logs(visit.asked(), &name, &filter.query()?)?.items;
    // They come newest first, and are read downwards.
    lines.reverse();
    let base = format!("{}/logs", parts::path(Kind::Plugin, name.as_str()));
    let body = html! {
        (objects::top(&visit, &object, Tab::Logs))
        (form(&filter, &base))
        div.log tabindex="0" role="log" aria-label={ "Lines of " (name) }
            data-stream=(filter.events(&base)) data-last=[lines.last().map(|line| &line.id)] {
            @for line in &lines { (row(&name, line)) }
        }
        // It stands behind the lines, and leaves when there are some.
        div.no-lines { (none_yet(&filter, &base, &name)) }
        p.hint role="status" data-stream-state { "Lines are as of now; with its script, this page shows those that come." }
    };
    Ok(shell::page(&visit, &format!("{name}: logs"), &body))
}

fn form(filter: &Filter, base: &str) -> Markup {
    html! {
        form.row method="get" action=(base) {
            div.field {
                label for="level" { "Level" }
                select #level name="level" {
                    option value="" { "every one" }
                    @for level in LEVELS {
                        option value=(level) selected[filter.level == level.as_str()] { (level) @if level != Level::Error { " and above" } }
                    }
                }
            }
            div.field.grow {
                label for="request" { "Request" }
                input #request name="request" value=(filter.request) placeholder="its id" autocomplete="off" spellcheck="false";
            }
            div.field.grow {
                label for="text" { "Text" }
                input #text name="text" value=(filter.text) autocomplete="off" spellcheck="false";
            }
            button type="submit" { "Filter" }
            @if filter.asks() { a.button href=(base) { "Every line" } }
        }
    }
}

fn none_yet(filter: &Filter, base: &str, name: &Name) -> Markup {
    if filter.asks() {
        return parts::empty(
            "No such line",
            &html! {
                p { "None of the lines that are kept fits. Those that come and fit will stand here, or " a href=(base) { "see every line" } "." }
            },
        );
    }
    parts::empty(
        "No line yet",
        &html! {
            p { "Each call leaves a line at its end, and what the plugin says stands before it. The newest lines are kept until the node is started again. In a terminal:" }
            (parts::command(&format!("aimass logs {name} -f")))
        },
    )
}

/// One line.
fn row(plugin: &Name, line: &LogDocument) -> Markup {
    let id: Vec<char> = line.request_id.chars().collect();
    let end: String = id[id.len().saturating_sub(ID_END)..].iter().collect();
    let exact = parts::exact(line.time_ms);
    html! {
        div class={ "line " (line.level) } {
            time datetime=(exact) title=(exact) { (exact.get(11..19).unwrap_or_default()) }
            span.level { (line.level) }
            span.version { "v" (line.version) }
            a.request href=(of_request(plugin.as_str(), &line.request_id)) title={ "Request " (line.request_id) } { (end) }
            span.text {
                @if let Some(context) = line.context.as_deref().filter(|context| !context.is_empty()) { span.context { (context) } " " }
                @if line.kind == "guest" { (line.text) } @else { em { (line.text) } }
            }
        }
    }
}

/// The lines as they come.
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    visit: Visit,
    params: Params,
    Query(filter): Query<Filter>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let name: Name = params.get("name")?;
    let mut query = filter.query()?;
    // Where a stream that broke off goes on, or the page's last line. A page without one may have missed the first.
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).unwrap_or(&filter.after);
    query.after = word(last);
    let follower = app.platform().follow_logs(visit.asked(), &name, &query)?;
    let pieces = stream::unfold((follower, name), |(mut follower, name)| async move {
        let news = follower.next().await?;
        let events: Vec<_> = news.iter().map(|news| event(&name, news)).collect();
        Some((stream::iter(events), (follower, name)))
    });
    Ok(live::answer(app, &headers, pieces.flatten()))
}

fn event(plugin: &Name, news: &News) -> Event {
    match news {
        News::Line(line) => live::line(&row(plugin, line)).id(&line.id),
        News::Lost(lines) => {
            let says = match lines {
                Some(lines) => format!("{lines} lines are missing: they came faster than they were read."),
                None => "The node was started again: lines from before are gone.".to_owned(),
            };
            live::line(&html! { div.line.warn { span.text { em { (says) } } } })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_guest_says_cannot_become_markup() {
        let hostile = "<script>alert(1)</script>\"'\r\ndata: forged";
        let line = LogDocument {
            id: "1-1".to_owned(),
            time_ms: 0,
            level: Level::Info,
            kind: "guest",
            version: 1,
            request_id: hostile.to_owned(),
            context: Some(hostile.to_owned()),
            text: hostile.to_owned(),
            call: None,
        };
        let html = row(&"probe".parse().unwrap(), &line).0;
        assert!(!html.contains("<script>") && html.matches("&lt;script&gt;").count() == 3, "{html}");
        assert!(html.contains("request=%3Cscript%3E") && html.contains("00:00:00"), "{html}");
    }

    #[test]
    fn events_ask_for_what_the_page_asked_for() {
        let filter = Filter { level: "warn".to_owned(), request: " a&b ".to_owned(), ..Filter::default() };
        assert_eq!(filter.events("/x"), "/x/events?level=warn&request=a%26b");
        let query = filter.query().unwrap();
        assert_eq!((query.level, query.request_id.as_deref(), query.text), (Some(Level::Warn), Some("a&b"), None));
    }
}
