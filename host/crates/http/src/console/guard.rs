//! Lets a request to the console through to its page: with a session, or to the way in.

use std::sync::Arc;
use std::time::Instant;

use aimass_core::limits::MAX_JSON;
use aimass_core::{Code, Fault, Result};
use aimass_platform::Caller;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, Method};
use maud::html;

use super::origin;
use super::session::Session;
use super::shell;
use super::visit::{Fields, Theme, Visit};
use crate::api::logs::wants_events;
use crate::app::App;
use crate::extract::whole_body;
use crate::problem::{log, status};
use crate::request::RequestId;

/// The header in which scripts send a session's form key.
const FORM_KEY: &str = "x-form-key";

/// Runs the page of who is signed in. Whatever writes must come from the console's own pages and hold the session's form
/// key; that is checked here, so that no page can forget it.
pub(crate) async fn check(request: Request, next: Next) -> Response {
    let (app, id) = (request.extensions().get::<Arc<App>>().cloned(), request.extensions().get::<RequestId>().cloned());
    let Some((app, id)) = app.zip(id) else {
        return crate::problem::Rejection(Fault::internal("no app in the request")).into_response();
    };
    // A stream is opened by a page that looks by itself, too.
    let looks = request.headers().contains_key("x-looks-again") || wants_events(request.headers());
    let Some((session, caller)) = signed_in(&app, request.headers(), !looks).await else {
        return way_in(&request);
    };
    let visit = Visit {
        theme: Theme::of(request.headers()),
        path: request.uri().path().to_owned(),
        fragment: request.headers().contains_key(FORM_KEY),
        request: id,
        caller,
        session,
    };
    let mut response = match written_here(&visit, request).await {
        Ok(mut request) => {
            request.extensions_mut().insert(visit.clone());
            next.run(request).await
        }
        Err(fault) => crate::problem::Rejection(fault).into_response(),
    };
    match response.extensions_mut().remove::<Fault>() {
        Some(fault) => {
            log(&fault, visit.request.as_str());
            shell::refusal(&visit, &fault, status(fault.code()))
        }
        None => response,
    }
}

/// The session that the cookie names, if its token still holds; else it ends here.
async fn signed_in(app: &App, headers: &HeaderMap, used: bool) -> Option<(Arc<Session>, Arc<Caller>)> {
    let id = origin::session_id(headers)?;
    let session = app.sessions().find(id, used, Instant::now())?;
    match app.platform().authenticate(&session.token).await {
        Ok(caller) => Some((session, caller)),
        Err(_) => {
            app.sessions().end(id);
            None
        }
    }
}

/// To the sign-in page, and from there back to what was asked for.
fn way_in(request: &Request) -> Response {
    if origin::linked_from_elsewhere(request.method(), request.headers()) {
        // The cookie may only have been held back. This page asks again, as one of the console's own.
        return shell::bare(
            "One moment",
            html! { meta http-equiv="refresh" content="0"; },
            html! { p { "One moment…" } },
        );
    }
    let wanted = request.uri().path_and_query().map_or(super::PREFIX, |target| target.as_str());
    let next = match *request.method() {
        Method::GET if wanted != super::PREFIX => {
            format!("?next={}", form_urlencoded::byte_serialize(wanted.as_bytes()).collect::<String>())
        }
        _ => String::new(),
    };
    let mut response = Redirect::to(&format!("{}sign-in{next}", super::PREFIX)).into_response();
    if origin::session_id(request.headers()).is_some() {
        // What is left of a session that ended.
        for secure in [false, true] {
            response.headers_mut().append(SET_COOKIE, origin::session_cookie("", secure));
        }
    }
    response
}

/// Checks that a request that writes was made by this session's own pages. A form's fields are read here.
async fn written_here(visit: &Visit, request: Request) -> Result<Request> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(request);
    }
    origin::check(request.headers(), request.uri())?;
    let key = |given: Option<&str>| match given {
        Some(given) if same(given, &visit.session.form_key) => Ok(()),
        _ => Err(Fault::new(Code::CrossSite, "the form is not one of this session's; open its page again")),
    };
    if let Some(given) = request.headers().get(FORM_KEY) {
        key(given.to_str().ok())?;
        return Ok(request);
    }
    let form = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !form.starts_with("application/x-www-form-urlencoded") {
        return Err(Fault::new(Code::CrossSite, "a form of the console's is wanted"));
    }
    let (mut parts, body) = request.into_parts();
    let mut whole = Request::new(body);
    *whole.headers_mut() = parts.headers.clone();
    let fields = Fields::read(&whole_body(whole, MAX_JSON).await?);
    key(fields.get("form-key"))?;
    parts.extensions.insert(fields);
    Ok(Request::from_parts(parts, Body::empty()))
}

/// Compares without telling by the time where they differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
