//! What stands in a provider's token, and the rules for it.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Scopes;
use crate::claims::{MAX_ID, expired, part, present};

use super::providers::Trusted;

/// Roles that are read of one token.
const MAX_ROLES: usize = 256;

/// The longest subject, bytes (OpenID Connect Core §2).
pub(crate) const MAX_SUBJECT: usize = 255;

/// Who signed, and for whom, as the token says before it is checked: where to look for the key, nothing more.
#[derive(Deserialize)]
pub(crate) struct Parties {
    pub(crate) iss: String,
    pub(crate) aud: Audience,
}

impl Parties {
    /// Reads them of a token that nobody has checked yet.
    pub(crate) fn read(bearer: &str) -> Option<Self> {
        part(bearer.split('.').nth(1)?)
    }
}

/// RFC 7519 §4.1.3: one audience, or several of which we are one.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    pub(crate) fn holds(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

/// The claims of a token whose signature holds. Providers differ in what they write: `nbf` and `jti` may be missing,
/// as in OpenID Connect's ID tokens. What is there has exactly this type, and nothing stands twice.
#[derive(Deserialize)]
pub(crate) struct Claims {
    iss: String,
    aud: Audience,
    pub(crate) sub: String,
    pub(crate) exp: u64,
    iat: u64,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) jti: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Claims {
    /// Whether the claims hold at `now`, seconds since the epoch; if not, why (for the log).
    pub(crate) fn check(&self, trusted: &Trusted, now: u64, leeway: u64) -> Result<(), &'static str> {
        if self.iss != trusted.issuer.issuer || !self.aud.holds(&trusted.issuer.audience) {
            return Err("another issuer or audience");
        }
        let sub = &self.sub;
        if sub.is_empty() || sub.len() > MAX_SUBJECT || sub.chars().any(char::is_control) {
            return Err("no usable subject");
        }
        if self.jti.as_ref().is_some_and(|jti| jti.is_empty() || jti.len() > MAX_ID) {
            return Err("no usable id");
        }
        if expired(self.exp, now, leeway) {
            return Err("expired");
        }
        let latest = now.saturating_add(leeway);
        if self.nbf.is_some_and(|nbf| nbf > latest) || self.iat > latest {
            return Err("not valid yet");
        }
        if trusted.revoked_subjects.contains(self.sub.as_str()) {
            return Err("its subject is revoked");
        }
        Ok(())
    }

    /// The scopes of the roles that the token names. What is no role is left out.
    pub(crate) fn scopes(&self, trusted: &Trusted) -> Scopes {
        let mut path = trusted.issuer.roles_claim.split('.');
        let first = path.next().and_then(|first| self.rest.get(first));
        let found = match self.rest.get(trusted.issuer.roles_claim.as_str()) {
            // A claim may have dots in its own name: `https://example.com/roles`.
            Some(whole) => Some(whole),
            None => path.try_fold(first, |claim, step| claim.map(|claim| claim.get(step))).flatten(),
        };
        let named: Vec<&str> = match found {
            Some(Value::String(words)) => words.split(' ').collect(),
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            _ => vec![],
        };
        let scopes = named.into_iter().take(MAX_ROLES).filter_map(|name| trusted.roles.get(name));
        scopes.fold(Scopes::default(), |all, &scopes| all.union(scopes))
    }
}
