//! The way in and out.

use std::sync::Arc;
use std::time::Instant;

use aimass_core::Code;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{ORIGIN, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use maud::{Markup, html};
use serde::Deserialize;

use super::origin;
use super::shell;
use super::visit::Fields;
use crate::app::App;
use crate::extract::{Query, whole_body};
use crate::problem::Rejection;

/// The largest form: a token is 8 KiB at most.
const MAX_FORM: usize = 32 << 10;

/// `?next=/console/…`: where to go afterwards.
#[derive(Default, Deserialize)]
pub(crate) struct Next {
    next: Option<String>,
}

/// The page that asks for a token.
pub(crate) async fn form(Query(Next { next }): Query<Next>) -> Response {
    page(next.as_deref().filter(|next| ours(next)), None, StatusCode::OK)
}

/// A token for a session.
pub(crate) async fn sign_in(State(app): State<Arc<App>>, request: Request) -> Result<Response, Rejection> {
    let headers = request.headers().clone();
    if let Err(fault) = origin::check(&headers, request.uri()) {
        return Ok(page(None, Some(fault.detail()), StatusCode::FORBIDDEN));
    }
    let fields = Fields::read(&whole_body(request, MAX_FORM).await?);
    let next = fields.get("next").filter(|next| ours(next)).map(str::to_owned);
    // What a terminal or an editor put between its lines.
    let token: String = fields.get("token").unwrap_or_default().split_whitespace().collect();
    let caller = match app.platform().authenticate(&token).await {
        Ok(caller) => caller,
        Err(fault) if fault.code() == Code::Unauthenticated => {
            let refused = "This token is not valid: it may have expired, been revoked, or been cut short.";
            return Ok(page(next.as_deref(), Some(refused), StatusCode::UNAUTHORIZED));
        }
        Err(fault) => return Err(fault.into()),
    };
    let sessions = app.sessions();
    if let Some(before) = origin::session_id(&headers) {
        sessions.end(before);
    }
    let tenant = caller.tenant.as_ref().map(|tenant| tenant.name().clone());
    let id = sessions.begin(token, tenant, Instant::now())?;
    let mut response = Redirect::to(next.as_deref().unwrap_or(super::PREFIX)).into_response();
    response.headers_mut().append(SET_COOKIE, origin::session_cookie(&id, secure(&app, &headers)));
    Ok(response)
}

/// Ends the session.
pub(crate) async fn leave(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if let Some(id) = origin::session_id(&headers) {
        app.sessions().end(id);
    }
    let mut response = Redirect::to(&format!("{}sign-in", super::PREFIX)).into_response();
    for secure in [false, true] {
        response.headers_mut().append(SET_COOKIE, origin::session_cookie("", secure));
    }
    response
}

/// Whether the browser is served over TLS: by this node, or by a proxy before it, of which the browser's origin tells.
fn secure(app: &App, headers: &HeaderMap) -> bool {
    app.over_tls() || headers.get(ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

/// Whether it is a page of the console, and no way to another site.
fn ours(path: &str) -> bool {
    path.starts_with(super::PREFIX)
        && !path.starts_with("/console//")
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

fn page(next: Option<&str>, refused: Option<&str>, status: StatusCode) -> Response {
    let body = html! {
        main.sign-in #main {
            (shell::mark())
            h1 { "Sign in to AI Mass" }
            @if let Some(refused) = refused { p.notice.bad role="alert" { (refused) } }
            form method="post" action="/console/sign-in" {
                @if let Some(next) = next { input type="hidden" name="next" value=(next); }
                label for="token" { "Token" }
                textarea #token name="token" rows="4" required autofocus autocomplete="off" spellcheck="false"
                    autocapitalize="off" aria-describedby="token-help" {}
                p.hint #token-help { "It is sent to this node only, and kept in its memory until you sign out." }
                button.primary.wide type="submit" { "Sign in" }
            }
            (help())
        }
    };
    let mut response = shell::bare("Sign in", html! {}, body);
    *response.status_mut() = status;
    response
}

fn help() -> Markup {
    html! {
        details {
            summary { "Where do I get a token?" }
            p { "From whoever runs this node, who makes one for a tenant with" }
            pre { code { "aimass tokens create --tenant acme --role developer" } }
            p { "The operator's own is in the file that `aimass serve` names when it starts." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_leads_nowhere_else() {
        assert!(ours("/console/plugins/a?x=1") && ours("/console/"));
        for bad in [
            "https://evil.example/",
            "//evil.example/",
            "/console",
            "/fn/evil/x",
            "/console//evil",
            "/console/\\e",
            "/console/\r\nx: y",
            "javascript:alert(1)",
        ] {
            assert!(!ours(bad), "{bad}");
        }
    }
}
