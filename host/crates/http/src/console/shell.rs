//! What every page stands in.

use aimass_core::Fault;
use aimass_platform::Scope;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{CONTENT_TYPE, REFERER, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::assets::{Asset, ICON, SCRIPT, STYLE};
use super::visit::{Fields, THEME_COOKIE, Theme, Visit};

/// A part of the console, as the navigation lists them.
struct Section {
    path: &'static str,
    title: &'static str,
    /// One of them is needed; none where anybody may.
    scopes: &'static [Scope],
}

const fn section(path: &'static str, title: &'static str, scopes: &'static [Scope]) -> Section {
    Section { path, title, scopes }
}

/// A tenant's.
const TENANT: &[Section] = &[
    section("/console/", "Overview", &[]),
    section("/console/plugins", "Plugins", &[Scope::PluginsRead]),
    section("/console/models", "Models", &[Scope::ModelsRead]),
    section("/console/triggers", "Triggers", &[Scope::TriggersRead]),
    section("/console/calls", "Calls", &[Scope::PluginsInvoke, Scope::ModelsInvoke]),
    section("/console/webhooks", "Webhooks", &[Scope::WebhooksRead]),
    section("/console/files", "Files", &[Scope::DataRead]),
    section("/console/jobs", "Jobs", &[Scope::JobsRead]),
    section("/console/usage", "Usage", &[Scope::UsageRead]),
    section("/console/audit", "Audit", &[Scope::AuditRead]),
    section("/console/tokens", "Tokens", &[Scope::TokensRead]),
    section("/console/egress", "Egress", &[Scope::EgressRead]),
    section("/console/signers", "Signers", &[Scope::PluginsRead]),
];

/// The operator's.
const OPERATOR: &[Section] = &[
    section("/console/", "This node", &[]),
    section("/console/tenants", "Tenants", &[]),
    section("/console/tokens", "Tokens", &[]),
    section("/console/audit", "Audit", &[]),
];

/// A whole page for who is signed in.
pub(super) fn page(visit: &Visit, title: &str, body: &Markup) -> Response {
    let markup = html! {
        a.skip href="#main" { "Skip to the content" }
        (header(visit))
        (navigation(visit))
        main #main tabindex="-1" {
            @if let Some(notice) = visit.session.told() { p.notice.good role="status" { (notice) } }
            (body)
        }
    };
    answer(&document(title, visit.theme, Some(&visit.session.form_key), &html! {}, &markup))
}

/// A page that needs a script of its own beside the one of every page.
pub(super) fn page_with(visit: &Visit, title: &str, script: &Asset, body: &Markup) -> Response {
    page(visit, title, &html! { (body) script type="module" src=(script.path()) {} })
}

/// A page without navigation, for who is not signed in.
pub(super) fn bare(title: &str, head: Markup, body: Markup) -> Response {
    answer(&document(title, Theme::System, None, &head, &body))
}

/// A piece of a page, for a script.
pub(super) fn fragment(body: &Markup) -> Response {
    answer(body)
}

/// A page that says why there is none.
pub(super) fn refusal(visit: &Visit, fault: &Fault, status: StatusCode) -> Response {
    let notice = html! {
        div.notice.bad role="alert" {
            strong { (fault.code().title()) } ": " (fault.detail())
            p.hint { "Request " code { (visit.request.as_str()) } }
        }
    };
    let mut response = match visit.fragment {
        true => fragment(&notice),
        false => {
            let back = html! { p { a href="/console/" { "Back to the overview" } } };
            page(visit, fault.code().title(), &html! { h1 { (fault.code().title()) } (notice) (back) })
        }
    };
    *response.status_mut() = status;
    response
}

/// The same where nobody is signed in.
pub(crate) fn refusal_outside(fault: &Fault, status: StatusCode) -> Response {
    let mut response = bare(
        fault.code().title(),
        html! {},
        html! {
            main.sign-in #main {
                (mark())
                h1 { (fault.code().title()) }
                p.notice.bad role="alert" { (fault.detail()) }
                p { a href="/console/" { "To the console" } }
            }
        },
    );
    *response.status_mut() = status;
    response
}

/// Keeps the choice of colours in a cookie, so that the page comes in them.
pub(crate) async fn set_theme(headers: HeaderMap, fields: Fields) -> Response {
    let chosen = fields.get("theme").and_then(Theme::named).unwrap_or_default();
    let referer = headers.get(REFERER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Back to the page, by its path alone: whatever host stands there, it is not gone to.
    let back = referer
        .split_once("/console/")
        .map_or(String::new(), |(_, rest)| rest.chars().take_while(|c| c.is_ascii_graphic() && *c != '\\').collect());
    let mut response = Redirect::to(&format!("/console/{}", back.trim_start_matches('/'))).into_response();
    let cookie = format!("{THEME_COOKIE}={}; Path=/console/; SameSite=Strict; Max-Age=31536000", chosen.as_str());
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// A button that posts to `action`, once `confirm` is agreed to.
pub(super) fn act(visit: &Visit, action: &str, text: &str, class: &str, confirm: Option<&str>) -> Markup {
    html! {
        form method="post" action=(action) data-confirm=[confirm] {
            (form_key(visit))
            button class=(class) type="submit" { (text) }
        }
    }
}

/// The field that every form must hold.
pub(super) fn form_key(visit: &Visit) -> Markup {
    html! { input type="hidden" name="form-key" value=(visit.session.form_key); }
}

/// The product's sign.
pub(super) fn mark() -> Markup {
    html! { img.mark src=(ICON.path()) alt="" width="28" height="28"; }
}

fn document(title: &str, theme: Theme, form_key: Option<&str>, head: &Markup, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[(theme != Theme::System).then_some(theme.as_str())] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(key) = form_key { meta name="form-key" content=(key); }
                (head)
                title { (title) " · AI Mass" }
                link rel="icon" type="image/svg+xml" href=(ICON.path());
                link rel="stylesheet" href=(STYLE.path());
                script type="module" src=(SCRIPT.path()) {}
            }
            body { (body) }
        }
    }
}

fn header(visit: &Visit) -> Markup {
    let whose = visit.caller.tenant.as_ref().map_or("operator", |tenant| tenant.name().as_str());
    html! {
        header.top {
            a.brand href="/console/" { (mark()) span { "AI Mass" } }
            @if !visit.is_operator() {
                form.search role="search" action="/console/search" {
                    label.hidden for="search" { "Search plugins and models" }
                    input #search type="search" name="q" placeholder="Search  /" autocomplete="off" data-shortcut="/";
                }
            }
            div.who {
                span.tenant title="Whose things these are" { (whose) }
                span.subject { (visit.caller.subject) }
                form method="post" action="/console/theme" {
                    (form_key(visit))
                    @let next = match visit.theme { Theme::System => Theme::Dark, Theme::Dark => Theme::Light, Theme::Light => Theme::System };
                    button.quiet type="submit" name="theme" value=(next.as_str())
                        title={ "Colours: " (visit.theme.as_str()) "; change to " (next.as_str()) }
                        aria-label={ "Colours: " (visit.theme.as_str()) "; change to " (next.as_str()) } { (theme_icon(visit.theme)) }
                }
                form method="post" action="/console/sign-out" {
                    (form_key(visit))
                    button.quiet type="submit" { "Sign out" }
                }
            }
        }
    }
}

fn theme_icon(theme: Theme) -> Markup {
    let path = match theme {
        Theme::System => "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
        Theme::Light => {
            "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1v2M8 13v2M1 8h2M13 8h2M3 3l1.5 1.5M11.5 11.5 13 13M13 3l-1.5 1.5M4.5 11.5 3 13"
        }
        Theme::Dark => "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z",
    };
    html! { svg.icon viewBox="0 0 16 16" aria-hidden="true" { path d=(path) .filled[theme == Theme::System] {} } }
}

fn navigation(visit: &Visit) -> Markup {
    let sections = if visit.is_operator() { OPERATOR } else { TENANT };
    let may = |section: &&Section| section.scopes.is_empty() || section.scopes.iter().any(|scope| visit.may(*scope));
    let here = |section: &Section| match section.path {
        "/console/" => visit.path == section.path,
        path => visit.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    };
    html! {
        nav.sections aria-label="Sections" {
            ul {
                @for section in sections.iter().filter(may) {
                    li { a href=(section.path) aria-current=[here(section).then_some("page")] { (section.title) } }
                }
            }
        }
    }
}

fn answer(markup: &PreEscaped<String>) -> Response {
    let kind = [(CONTENT_TYPE, "text/html; charset=utf-8")];
    (kind, markup.0.clone()).into_response()
}
