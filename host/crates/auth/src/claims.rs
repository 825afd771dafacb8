//! What stands in a token, and the rules for it.

use aimass_core::Name;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};

/// The longest `jti` and `kid`, bytes. Ours are 36 and 43.
pub(crate) const MAX_ID: usize = 128;

/// The header (RFC 7515 §4.1). Only what we write ourselves, and what names a key, is known: a token that points at a
/// key (`jku`, `jwk`, `x5u`, `x5c`), or asks for an extension (`crit`), is refused by that alone, and nothing is fetched.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    alg: String,
    kid: String,
    #[serde(default, deserialize_with = "present")]
    typ: Option<String>,
    // Hashes of a certificate, which some providers write beside `kid`. They are not looked at.
    #[serde(default, deserialize_with = "present")]
    x5t: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present", rename = "x5t#S256")]
    x5t_s256: Option<IgnoredAny>,
}

impl Header {
    /// Reads the first part of a token, still base64url.
    pub(crate) fn read(encoded: &str) -> Option<Self> {
        part::<Self>(encoded).filter(|header| header.kid.len() <= MAX_ID)
    }

    /// Whether it is one that we write ourselves.
    pub(crate) fn is_ours(&self) -> bool {
        self.x5t.is_none() && self.x5t_s256.is_none() && self.typ.as_deref().is_none_or(|typ| typ == "JWT")
    }

    /// Whether it is one that identity providers write (RFC 9068 §2.1 for access tokens; in any case, RFC 7515 §4.1.9).
    pub(crate) fn is_providers(&self) -> bool {
        let known = ["JWT", "at+jwt", "application/at+jwt"];
        self.typ.as_deref().is_none_or(|typ| known.iter().any(|known| typ.eq_ignore_ascii_case(known)))
    }

    /// The algorithm that the token claims: it must be the key's own.
    pub(crate) fn algorithm(&self) -> &str {
        &self.alg
    }

    /// Which key is said to have signed it.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }
}

/// The claims (RFC 7519 §4.1). All but the last two are required, of exactly this type: an array in `aud`, a number
/// with a fraction or an exponent in `exp` is refused. A claim that stands twice is refused as well.
#[derive(Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: String,
    pub(crate) exp: u64,
    pub(crate) nbf: u64,
    pub(crate) iat: u64,
    pub(crate) jti: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(crate) tenant: Option<Name>,
    #[serde(default)]
    pub(crate) scope: String,
}

impl Claims {
    /// Whether the claims hold at `now`, seconds since the epoch; if not, why (for the log).
    pub(crate) fn check(&self, issuer: &str, audience: &str, now: u64, leeway: u64) -> Result<(), &'static str> {
        if self.iss != issuer {
            return Err("another issuer");
        }
        if self.aud != audience {
            return Err("another audience");
        }
        if self.sub.is_empty() || self.jti.is_empty() || self.jti.len() > MAX_ID {
            return Err("no subject or no usable id");
        }
        if expired(self.exp, now, leeway) {
            return Err("expired");
        }
        if self.nbf > now.saturating_add(leeway) {
            return Err("not valid yet");
        }
        Ok(())
    }
}

/// RFC 7519 §4.1.4: a token is refused *on* `exp`, give or take the leeway.
pub(crate) fn expired(exp: u64, now: u64, leeway: u64) -> bool {
    now >= exp.saturating_add(leeway)
}

/// A part of a token: base64url without padding, JSON inside.
pub(crate) fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

/// A field that may be missing, but not `null`.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
