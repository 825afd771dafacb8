//! The Web console under `/console/`: pages that the node writes, a little script, nothing from elsewhere.
//!
//! Every page calls the use cases of the platform as the API does, with the session's [`Caller`]: there is no second
//! way to anybody's data. Every text goes through maud, which escapes it.
//!
//! [`Caller`]: aimass_platform::Caller

mod assets;
pub(crate) mod audit;
pub(crate) mod calls;
mod charts;
pub(crate) mod compare;
pub(crate) mod egress;
pub(crate) mod files;
mod guard;
pub(crate) mod jobs;
mod lists;
mod live;
pub(crate) mod logs;
mod objects;
mod origin;
mod overview;
mod parts;
pub(crate) mod playground;
mod quotas;
pub(crate) mod secrets;
mod session;
pub(crate) mod settings;
mod shell;
mod sign_in;
pub(crate) mod signers;
pub(crate) mod tenants;
pub(crate) mod tokens;
pub(crate) mod traffic;
pub(crate) mod triggers;
pub(crate) mod upload;
pub(crate) mod usage;
mod visit;
pub(crate) mod webhooks;

pub(crate) use guard::check;
pub(crate) use origin::isolate;
pub(crate) use session::Sessions;
pub(crate) use shell::refusal_outside as refusal;

use axum::response::{IntoResponse, Redirect, Response};
use http::HeaderValue;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};

/// Where the console is.
pub(crate) const PREFIX: &str = "/console/";

/// Only the node's own files, no inline script or style, in nobody's frame. Images may also be made by the page: what
/// the playground decodes and what an answer holds.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Adds the headers that every answer under [`PREFIX`] has.
pub(crate) fn protect(headers: &mut HeaderMap) {
    let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    // Without any, a form's own `Origin` would be `null`.
    set(REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Whether a path is the console's.
pub(crate) fn owns(path: &str) -> bool {
    path.starts_with(PREFIX) || path == "/console"
}

/// `/console`.
pub(crate) async fn enter() -> Response {
    Redirect::to(PREFIX).into_response()
}

/// What the routes name.
pub(crate) mod pages {
    pub(crate) use super::assets::serve as asset;
    pub(crate) use super::lists::{models, plugins, search};
    pub(crate) use super::objects::{delete_version, model, model_version, plugin, plugin_version};
    pub(crate) use super::overview::show as overview;
    pub(crate) use super::shell::set_theme;
    pub(crate) use super::sign_in::{form as sign_in_form, leave as sign_out, sign_in};
    pub(crate) use super::{
        audit, calls, compare, egress, files, jobs, logs, playground, secrets, settings, signers, tenants, tokens,
        traffic, triggers, upload, usage, webhooks,
    };
}
