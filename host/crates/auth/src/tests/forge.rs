//! A node's `Auth`, and somebody who knows its keys and writes tokens by hand.

use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::{Auth, AuthConfig, Grant, Minted, Scope};

/// The time of the tests, seconds since the epoch.
pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const ISSUER: &str = "https://aimass.example";
pub(super) const AUDIENCE: &str = "aimass";
pub(super) const LEEWAY: u64 = 3;

pub(super) struct Forge {
    pub(super) auth: Auth,
    pub(super) dir: tempfile::TempDir,
    pub(super) kid: String,
    pair: Ed25519KeyPair,
}

impl Forge {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let auth = open(dir.path()).unwrap();
        let kid = auth.jwks()["keys"][0]["kid"].as_str().unwrap().to_owned();
        let pair = Ed25519KeyPair::from_pkcs8(&std::fs::read(dir.path().join(format!("{kid}.pk8"))).unwrap()).unwrap();
        Self { auth, dir, kid, pair }
    }

    pub(super) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    pub(super) fn sign(&self, message: &str) -> Vec<u8> {
        self.pair.sign(message.as_bytes()).as_ref().to_vec()
    }

    /// A token with this header and payload, as text, signed with the node's own key.
    pub(super) fn token(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(payload));
        let signature = encode(self.sign(&message));
        format!("{message}.{signature}")
    }

    /// The same, with the signature that `sign` makes.
    pub(super) fn token_by(&self, header: &str, payload: &str, sign: impl FnOnce(&str) -> Vec<u8>) -> String {
        let message = format!("{}.{}", encode(header), encode(payload));
        let signature = encode(sign(&message));
        format!("{message}.{signature}")
    }

    pub(super) fn header(&self) -> Value {
        json!({ "typ": "JWT", "alg": "EdDSA", "kid": self.kid })
    }

    /// A token that differs from a good one in its header alone.
    pub(super) fn with_header(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut header = self.header();
        change(&mut header);
        self.token(&header.to_string(), &claims().to_string())
    }

    /// A token that differs from a good one in its claims alone.
    pub(super) fn with_claims(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = claims();
        change(&mut claims);
        self.token(&self.header().to_string(), &claims.to_string())
    }

    /// The claims as text, with one value written by hand (for what JSON values cannot hold).
    pub(super) fn with_text(&self, claim: &str, value: &str) -> String {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(claim);
        let rest = claims.to_string();
        self.token(&self.header().to_string(), &format!(r#"{{"{claim}":{value},{}"#, &rest[1..]))
    }

    pub(super) fn accepts(&self, token: &str, now: u64) -> bool {
        match self.auth.verify_at(token, now) {
            Ok(_) => true,
            Err(fault) => {
                assert_eq!(format!("{fault:?}"), refusal(), "every refusal is the same");
                false
            }
        }
    }

    pub(super) fn mint(&self, subject: &str) -> Minted {
        let scopes = [Scope::PluginsInvoke, Scope::PluginsRead].into_iter().collect();
        let (subject, tenant) = (subject.to_owned(), Some("acme".parse().unwrap()));
        self.auth.mint_at(Grant { subject, tenant, scopes, ttl: Duration::from_secs(600) }, NOW).unwrap()
    }
}

pub(super) fn open(dir: &std::path::Path) -> aimass_core::Result<Auth> {
    Auth::open(dir, AuthConfig { leeway: Duration::from_secs(LEEWAY), ..AuthConfig::new(ISSUER, AUDIENCE) })
}

pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "someone", "exp": NOW + 600, "nbf": NOW - 600, "iat": NOW - 600,
        "jti": "018f0000-0000-7000-8000-000000000000", "tenant": "acme", "scope": "plugins:invoke of-the-future",
    })
}

pub(super) fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

pub(super) fn hmac_of(algorithm: hmac::Algorithm, key: &[u8], message: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), message.as_bytes()).as_ref().to_vec()
}

/// The one refusal, with all that `Debug` shows of it: code, detail, no cause.
pub(super) fn refusal() -> String {
    let detail = "send a valid token as `Authorization: Bearer …`";
    format!("{:?}", aimass_core::Fault::new(aimass_core::Code::Unauthenticated, detail))
}
