//! Webhooks signed as Standard Webhooks 1.0 has it: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::time::Duration;

use aimass_core::{Fault, Result};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// What a secret's text begins with.
const PREFIX: &str = "whsec_";

/// How far a webhook's time may be from ours: as much as the standard's own libraries allow.
pub const WEBHOOK_TOLERANCE: Duration = Duration::from_secs(300);

/// Signatures that one webhook may bear: more than one while its sender changes secrets.
const MAX_SIGNATURES: usize = 16;

/// The longest id of a webhook, in bytes.
const MAX_ID: usize = 256;

/// What sender and receiver share. It is wiped when it is dropped, and never shown by `Debug`.
///
/// ```
/// use aimass_auth::WebhookSecret;
/// let secret = WebhookSecret::random()?;
/// let signature = secret.sign("msg_1", 1_700_000_000, b"{}");
/// assert!(signature.starts_with("v1,"));
/// assert!(secret.verify("msg_1", "1700000000", &signature, b"{}", 1_700_000_100).is_ok());
/// assert!(secret.verify("msg_1", "1700000000", &signature, b"{ }", 1_700_000_100).is_err());
/// assert!(secret.verify("msg_1", "1700000000", &signature, b"{}", 1_700_000_301).is_err(), "too old");
/// // Its text is what people hand on.
/// assert_eq!(WebhookSecret::parse(&secret.text())?.sign("a", 1, b""), secret.sign("a", 1, b""));
/// # Ok::<(), aimass_core::Fault>(())
/// ```
pub struct WebhookSecret(Zeroizing<Vec<u8>>);

impl WebhookSecret {
    /// A new one, of 32 bytes: the standard asks for 24 to 64.
    ///
    /// # Errors
    /// `internal` if the system gives no random numbers.
    pub fn random() -> Result<Self> {
        let key = Zeroizing::new(crate::random_key()?);
        Ok(Self(Zeroizing::new(key.to_vec())))
    }

    /// The secret that is this key.
    pub fn of(key: &[u8; 32]) -> Self {
        Self(Zeroizing::new(key.to_vec()))
    }

    /// Reads `whsec_` and base64.
    ///
    /// # Errors
    /// `invalid_request`. The text is not echoed.
    pub fn parse(text: &str) -> Result<Self> {
        let bytes = text.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok()).map(Zeroizing::new);
        bytes
            .filter(|bytes| (24..=64).contains(&bytes.len()))
            .map(Self)
            .ok_or_else(|| Fault::invalid("a webhook's secret is `whsec_` and base64 of 24 to 64 bytes"))
    }

    /// Its text.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", STANDARD.encode(&*self.0)))
    }

    /// The signature, `v1,…`. `timestamp` is seconds since the epoch.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let tag = hmac::sign(&self.key(), &signed(id, &timestamp.to_string(), body));
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    }

    /// Checks a webhook by its three headers. `now` is seconds since the epoch.
    ///
    /// # Errors
    /// That it is not valid, and never why.
    pub fn verify(
        &self,
        id: &str,
        timestamp: &str,
        signatures: &str,
        body: &[u8],
        now: u64,
    ) -> Result<(), InvalidWebhook> {
        // Digits alone: a sign or a zero before would be another text for the same time.
        let plain = timestamp.bytes().all(|b| b.is_ascii_digit()) && !timestamp.starts_with('0');
        let at = timestamp.parse::<u64>().ok().filter(|_| plain).ok_or(InvalidWebhook)?;
        if at.abs_diff(now) > WEBHOOK_TOLERANCE.as_secs() || id.is_empty() || id.len() > MAX_ID {
            return Err(InvalidWebhook);
        }
        let (key, signed) = (self.key(), signed(id, timestamp, body));
        let valid = signatures.split(' ').take(MAX_SIGNATURES).filter_map(|one| one.strip_prefix("v1,")).any(|one| {
            // Compared in constant time.
            STANDARD.decode(one).is_ok_and(|tag| hmac::verify(&key, &signed, &tag).is_ok())
        });
        if valid { Ok(()) } else { Err(InvalidWebhook) }
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

/// A webhook whose signature, time or id is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the webhook is not valid")]
pub struct InvalidWebhook;

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret")
    }
}

fn signed(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The example that the standard's own libraries test themselves with.
    #[test]
    fn the_standards_own_example_verifies() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(secret.sign(id, 1_614_265_330, body), signature);
        let verify = |id: &str, time: &str, signature: &str, now| secret.verify(id, time, signature, body, now);
        let now = 1_614_265_330;
        assert!(verify(id, "1614265330", signature, now + 300).is_ok());
        assert!(verify(id, "1614265330", signature, now - 300).is_ok(), "a clock that is behind");
        let several = format!("v1,AAAA v2,AAAA nonsense {signature}");
        assert!(verify(id, "1614265330", &several, now).is_ok(), "while its sender changes secrets");
        let many = format!("{}{signature}", "v1,AAAA ".repeat(16));
        for (id, time, signature, now) in [
            (id, "1614265330", signature, now + 301),
            (id, "1614265330", signature, now - 301),
            ("msg_other", "1614265330", signature, now),
            (id, "1614265331", signature, now),
            (id, "01614265330", signature, now),
            (id, "+1614265330", signature, now),
            (id, "", signature, now),
            ("", "1614265330", signature, now),
            (id, "1614265330", "", now),
            (id, "1614265330", "v1,", now),
            (id, "1614265330", &signature[3..], now),
            (id, "1614265330", "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", now),
            (id, "1614265330", &many, now),
        ] {
            assert!(verify(id, time, signature, now).is_err(), "{id} {time} {signature} {now}");
        }
    }

    #[test]
    fn a_secret_that_is_none_is_refused_and_not_echoed() {
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA", "whsec_!!!", "whsec_é"] {
            let fault = WebhookSecret::parse(bad).unwrap_err();
            assert!(!fault.detail().contains("AAAA"));
        }
        assert!(!format!("{:?}", WebhookSecret::random().unwrap()).contains("whsec"));
    }
}
