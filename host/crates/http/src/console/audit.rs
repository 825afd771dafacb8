//! The audit log, newest first, filtered.

use std::sync::Arc;

use aimass_core::{Fault, Result};
use aimass_platform::AuditQuery;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::visit::Visit;
use super::{parts, shell};
use crate::app::App;
use crate::extract::Query;
use crate::problem::Rejection;

/// What the form asks for; empty fields ask for nothing.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    /// Records below this number.
    before: Option<String>,
    actor: String,
    kind: String,
    tenant: String,
    since: String,
    until: String,
}

impl Filter {
    fn query(&self) -> Result<AuditQuery> {
        let word = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(AuditQuery {
            limit: Some(50),
            tenant: word(&self.tenant).map(|name| name.parse()).transpose()?,
            actor: word(&self.actor),
            kind: word(&self.kind),
            since_ms: time(&self.since)?,
            until_ms: time(&self.until)?,
            ..AuditQuery::default()
        })
    }

    /// The same page of the list, with these filters.
    fn path(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let fields = [
            ("actor", &self.actor),
            ("kind", &self.kind),
            ("tenant", &self.tenant),
            ("since", &self.since),
            ("until", &self.until),
        ];
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.trim().is_empty()) {
            query.append_pair(name, value.trim());
        }
        format!("/console/audit?{}", query.finish())
    }
}

/// A time of the form, UTC: `2026-11-24T12:30` as browsers write it, or RFC 3339. Milliseconds since the epoch.
fn time(text: &str) -> Result<Option<u64>> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    };
    let time =
        humantime::parse_rfc3339_weak(&whole).map_err(|_| Fault::invalid("a time is like 2026-11-24T12:30, UTC"))?;
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_millis()).ok())
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    visit: Visit,
    Query(filter): Query<Filter>,
) -> Result<Response, Rejection> {
    let before = filter.before.as_deref().filter(|text| !text.is_empty()).map(str::parse::<u64>).transpose();
    let before = before.map_err(|_| Fault::invalid("`before` is a number"))?;
    let page = app.platform().newest_audit(visit.asked(), filter.query()?, before).await?;
    let rows = html! {
        @for record in &page.items {
            tr {
                td { (parts::when(record.time_ms)) }
                td { code { (record.kind) } }
                td { (record.object.as_deref().unwrap_or("–")) }
                @if visit.is_operator() { td { (record.tenant.as_deref().unwrap_or("–")) } }
                td { (record.actor.subject) }
                td.number { span title=(record.hash) { (record.seq) } }
            }
        }
    };
    let heads: &[&str] = match visit.is_operator() {
        true => &["When (UTC)", "What", "On what", "Tenant", "Who", "Record#"],
        false => &["When (UTC)", "What", "On what", "Who", "Record#"],
    };
    let path = filter.path();
    let body = html! {
        (parts::heading(&html! { "Audit" }, &html! {}))
        (form(&filter, visit.is_operator()))
        @if page.items.is_empty() {
            (parts::empty("No record", &html! { p { "Nothing of that kind was recorded here." } }))
        } @else { (parts::table("Records", heads, &rows)) }
        @if let Some(next) = &page.next {
            nav.pager aria-label="Pages" { a.button href={ (path) "&before=" (next) } rel="next" { "Older records" } }
        }
    };
    Ok(shell::page(&visit, "Audit", &body))
}

fn form(filter: &Filter, operator: bool) -> Markup {
    let field = |name: &str, title: &str, value: &str, kind: &str, hint: &str| {
        html! {
            div.field {
                label for=(name) { (title) }
                input #(name) name=(name) type=(kind) value=(value) placeholder=[Some(hint).filter(|hint| !hint.is_empty())];
            }
        }
    };
    html! {
        form.row method="get" action="/console/audit" {
            (field("kind", "What", &filter.kind, "text", "version_created"))
            (field("actor", "Who", &filter.actor, "text", "alice"))
            @if operator { (field("tenant", "Tenant", &filter.tenant, "text", "acme")) }
            (field("since", "Since (UTC)", &filter.since, "datetime-local", ""))
            (field("until", "Until (UTC)", &filter.until, "datetime-local", ""))
            button type="submit" { "Filter" }
            @if filter.path() != "/console/audit?" { a href="/console/audit" { "Show all" } }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_of_the_form_are_utc() {
        assert_eq!(time("").unwrap(), None);
        assert_eq!(time("1970-01-01").unwrap(), Some(0));
        assert_eq!(time("1970-01-01T00:01").unwrap(), Some(60_000));
        assert_eq!(time("1970-01-01T00:00:01Z").unwrap(), Some(1_000));
        assert!(time("yesterday").is_err());
    }

    #[test]
    fn the_next_page_keeps_the_filters() {
        let filter = Filter { kind: "a b&c".into(), ..Filter::default() };
        assert_eq!(filter.path(), "/console/audit?kind=a+b%26c");
    }
}
