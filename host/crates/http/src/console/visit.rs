//! What a page knows of the request: who asks, in which session, with which form.

use std::str::FromStr;
use std::sync::Arc;

use aimass_core::event::Kind;
use aimass_core::{Fault, Result};
use aimass_platform::{Asked, Caller, Scope};
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Redirect, Response};
use http::HeaderMap;
use http::header::COOKIE;
use http::request::Parts;

use super::session::Session;
use crate::problem::Rejection;
use crate::request::RequestId;

/// The name of the cookie that keeps the choice of colours.
pub(super) const THEME_COOKIE: &str = "aimass-theme";

/// Bright or dark; as the system has it, unless somebody chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Theme {
    #[default]
    System,
    Light,
    Dark,
}

impl Theme {
    pub(super) const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    pub(super) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.as_str() == word)
    }

    /// The choice that the browser sent.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = all.flat_map(|all| all.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == THEME_COOKIE).and_then(|(_, word)| Self::named(word)).unwrap_or_default()
    }
}

/// One request of somebody who is signed in.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(super) caller: Arc<Caller>,
    pub(super) session: Arc<Session>,
    pub(super) request: RequestId,
    pub(super) theme: Theme,
    pub(super) path: String,
    /// A script asks, and wants a piece of a page.
    pub(super) fragment: bool,
}

impl Visit {
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked { by: &self.caller, request: self.request.as_str() }
    }

    /// Whether the token holds a scope.
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.caller.require(scope).is_ok()
    }

    pub(super) fn is_operator(&self) -> bool {
        self.may(Scope::Operator)
    }

    /// To another page, which says what was done.
    pub(super) fn done(&self, path: &str, notice: impl Into<String>) -> Response {
        self.session.tell(notice);
        Redirect::to(path).into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let visit = parts.extensions.get::<Self>().cloned();
        visit.ok_or_else(|| Fault::internal("a page that needs a session stands on another route").into())
    }
}

/// A form's fields.
#[derive(Clone, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn read(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// A field that is there and not empty, without spaces around it.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.trim());
        named.find(|value| !value.is_empty())
    }

    /// The same of a field that must be there.
    pub(super) fn text(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| Fault::invalid(format!("`{name}` is missing")))
    }

    /// The same in its type.
    pub(super) fn parse<T: FromStr<Err = Fault>>(&self, name: &str) -> Result<T> {
        self.text(name)?.parse()
    }

    /// A number, if the field is not empty.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let number = |text: &str| text.parse().map_err(|_| Fault::invalid(format!("`{name}` is a number")));
        self.get(name).map(number).transpose()
    }

    /// Every value of a field that may stand several times.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All fields.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<S: Sync> FromRequestParts<S> for Fields {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Ok(parts.extensions.remove().unwrap_or_default())
    }
}

/// Plugin or model, as the path says.
pub(crate) struct Of(pub(super) Kind);

impl<S: Sync> FromRequestParts<S> for Of {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let model = parts.uri.path().starts_with("/console/models/");
        Ok(Self(if model { Kind::Model } else { Kind::Plugin }))
    }
}
