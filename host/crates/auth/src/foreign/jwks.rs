//! A provider's public keys (RFC 7517), as far as they may check tokens.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::claims::MAX_ID;

/// The longest document of keys, bytes. A large provider's is 10 KiB.
pub const MAX_JWKS: usize = 48 << 10;

/// Keys of one document, also those that are of no use here.
const MAX_KEYS: usize = 32;

/// The modulus of an RSA key, bits: NIST SP 800-131A's minimum, and a maximum so that checking stays cheap.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// 65537, the exponent that every provider's keys have.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// Public keys of small order, for which anybody makes signatures that hold: libsodium's list
/// (`ge25519_has_small_order`), the sign bit left out.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Why a document of keys is refused: a sentence for whoever registers it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadJwks(String);

impl BadJwks {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// What is shown of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id.
    pub kid: String,
    /// The one algorithm that it is for: `RS256`, `ES256` or `EdDSA`.
    pub algorithm: &'static str,
}

/// A key that checks a provider's tokens.
#[derive(Clone, Debug)]
pub(crate) struct ForeignKey {
    pub(crate) algorithm: Algorithm,
    /// The algorithm as a header names it.
    pub(crate) algorithm_name: &'static str,
    pub(crate) decoding: DecodingKey,
    /// Hash of what the key is, to tell whether it is another one.
    print: Vec<u8>,
}

/// The usable keys of a document, by id.
#[derive(Clone, Debug, Default)]
pub struct Jwks(HashMap<Box<str>, ForeignKey>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// The members that are read of a key (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwks {
    /// Reads a JWK set. Keys that are of no use here (for encryption, of another type, too short) are left out, as
    /// RFC 7517 §5 wants it; a set without any that is of use is refused, and so is one with a private key in it.
    ///
    /// ```
    /// use aimass_auth::Jwks;
    /// let document = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1",
    ///     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    /// assert_eq!(Jwks::parse(document)?.keys()[0].algorithm, "EdDSA");
    /// assert!(Jwks::parse(br#"{"keys":[{"kty":"oct","kid":"1","k":"c2VjcmV0"}]}"#).is_err());
    /// # Ok::<(), aimass_auth::BadJwks>(())
    /// ```
    ///
    /// # Errors
    /// With a sentence that says what is wrong.
    pub fn parse(document: &[u8]) -> Result<Self, BadJwks> {
        if document.len() > MAX_JWKS {
            return Err(BadJwks::new(format!("a document of keys has {MAX_JWKS} bytes at most")));
        }
        let no_set = |_| BadJwks::new("this is no JWK set: an object with an array `keys`");
        let document: Document = serde_json::from_slice(document).map_err(no_set)?;
        if document.keys.len() > MAX_KEYS {
            return Err(BadJwks::new(format!("a document of keys has {MAX_KEYS} keys at most")));
        }
        let mut keys = HashMap::new();
        let mut unusable = None;
        for value in document.keys {
            if ["d", "p", "k"].iter().any(|member| value.get(member).is_some()) {
                return Err(BadJwks::new("there is a secret key in it: it is no secret any more, replace it"));
            }
            match read(value) {
                Ok((kid, key)) => {
                    if keys.insert(kid, key).is_some() {
                        return Err(BadJwks::new("two keys have the same `kid`"));
                    }
                }
                Err(why) => unusable = unusable.or(Some(why)),
            }
        }
        if keys.is_empty() {
            let why = unusable.unwrap_or("there is none");
            return Err(BadJwks::new(format!("no key of it is of use (RS256, ES256, EdDSA, with a `kid`): {why}")));
        }
        Ok(Self(keys))
    }

    /// What is shown of the keys, by id.
    pub fn keys(&self) -> Vec<KeyInfo> {
        let shown =
            |(kid, key): (&Box<str>, &ForeignKey)| KeyInfo { kid: kid.to_string(), algorithm: key.algorithm_name };
        let mut keys: Vec<_> = self.0.iter().map(shown).collect();
        keys.sort_by(|a, b| a.kid.cmp(&b.kid));
        keys
    }

    pub(crate) fn find(&self, kid: &str) -> Option<&ForeignKey> {
        self.0.get(kid)
    }

    /// Whether they are the same keys.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().all(|(kid, key)| other.find(kid).is_some_and(|same| same.print == key.print))
    }
}

fn read(value: Value) -> Result<(Box<str>, ForeignKey), &'static str> {
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| "a key is no JWK")?;
    let kid = jwk.kid.as_deref().filter(|kid| !kid.is_empty() && kid.len() <= MAX_ID);
    let kid = kid.ok_or("a key has no `kid` of 1 to 128 bytes")?;
    if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig")
        || jwk.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify"))
    {
        return Err("a key is not for signatures");
    }
    let bytes = |member: &Option<String>| {
        let text = member.as_deref().ok_or("a key lacks a member")?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| "a member of a key is not base64url")
    };
    let (algorithm, algorithm_name, decoding, material) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => {
            let (n, e) = (bytes(&jwk.n)?, bytes(&jwk.e)?);
            // Some encoders keep the sign's zero byte, which RFC 7518 §6.3.1.1 does not want.
            let n = &n[n.iter().take_while(|&&byte| byte == 0).count()..];
            let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
            if !RSA_BITS.contains(&bits) {
                return Err("an RSA key has not 2048 to 8192 bits");
            }
            if e != RSA_EXPONENT {
                return Err("an RSA key's exponent is not 65537");
            }
            (Algorithm::RS256, "RS256", DecodingKey::from_rsa_raw_components(n, &e), n.to_vec())
        }
        ("EC", Some("P-256")) => {
            let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
            if (x.len(), y.len()) != (32, 32) {
                return Err("a coordinate of a P-256 key has not 32 bytes");
            }
            let point = [&[4], &x[..], &y].concat();
            // Also checks that the point is on the curve.
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point)
                .map_err(|_| "a P-256 key is no point of the curve")?;
            (Algorithm::ES256, "ES256", DecodingKey::from_ec_der(&point), point)
        }
        ("OKP", Some("Ed25519")) => {
            let x = bytes(&jwk.x)?;
            if x.len() != 32 {
                return Err("an Ed25519 key has not 32 bytes");
            }
            if small_order(&x) {
                return Err("an Ed25519 key is of small order");
            }
            (Algorithm::EdDSA, "EdDSA", DecodingKey::from_ed_der(&x), x)
        }
        _ => return Err("a key is of a type that is not supported"),
    };
    if jwk.alg.as_deref().is_some_and(|alg| alg != algorithm_name) {
        return Err("a key is for an algorithm that is not supported");
    }
    let print = digest(&SHA256, &[algorithm_name.as_bytes(), &material].concat()).as_ref().to_vec();
    Ok((kid.into(), ForeignKey { algorithm, algorithm_name, decoding, print }))
}

fn small_order(x: &[u8]) -> bool {
    let mut x = x.to_vec();
    if let Some(last) = x.last_mut() {
        *last &= 0x7f;
    }
    let hex: String = x.iter().map(|byte| format!("{byte:02x}")).collect();
    SMALL_ORDER.contains(&hex.as_str())
}
