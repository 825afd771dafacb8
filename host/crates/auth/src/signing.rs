//! Signatures of plugins: detached, Ed25519, over the digest of the component.
//!
//! What is signed are the ASCII bytes `aimass:plugin-signature:v1:` followed by the component's digest as it is
//! written everywhere, `sha256:` and 64 lower-case hex digits, without a line end. The words before it keep a
//! signature from meaning anything elsewhere, and other signatures from meaning anything here. Any tool can make one:
//!
//! ```text
//! printf 'aimass:plugin-signature:v1:sha256:%s' "$(sha256sum < plugin.wasm | cut -d' ' -f1)" > message
//! openssl pkeyutl -sign -rawin -inkey key.pem -in message | base64 -w0
//! ```

use std::fmt;
use std::str::FromStr;

use aimass_core::{Code, Digest, Fault, Result};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What stands before the digest in the bytes that are signed.
const DOMAIN: &str = "aimass:plugin-signature:v1:";

/// A SubjectPublicKeyInfo of Ed25519 (RFC 8410) before the 32 bytes of the key.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

fn message(digest: &Digest) -> String {
    format!("{DOMAIN}{digest}")
}

/// A public key; read from PEM (`BEGIN PUBLIC KEY`) or base64 of its 32 bytes, and written as the latter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignerKey([u8; 32]);

impl FromStr for SignerKey {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Fault::invalid("a signer's key is an Ed25519 public key: PEM, or base64 of its 32 bytes");
        let bytes = match pem(text, "PUBLIC KEY") {
            Some(der) => der.strip_prefix(&SPKI).map(<[u8]>::to_vec),
            None => STANDARD.decode(text.trim()).ok(),
        };
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(bad)
    }
}

impl fmt::Display for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A signature with the key that it claims to be by. As text: `ed25519 <key> <signature>`, both base64.
///
/// ```
/// use aimass_auth::{PluginSignature, SigningKey};
/// use aimass_core::Digest;
/// let key = SigningKey::generate()?;
/// let text = key.sign(&Digest::of(b"a component"))?.to_string();
/// let signature: PluginSignature = text.parse()?;
/// assert!(signature.verify(&Digest::of(b"a component")).is_ok());
/// assert!(signature.verify(&Digest::of(b"another")).is_err());
/// # Ok::<(), aimass_core::Fault>(())
/// ```
#[derive(Clone, Debug)]
pub struct PluginSignature {
    key: SignerKey,
    bytes: [u8; 64],
}

impl PluginSignature {
    /// Whose it claims to be.
    pub fn key(&self) -> &SignerKey {
        &self.key
    }

    /// Checks it against the digest of a component.
    ///
    /// # Errors
    /// `invalid_signature`.
    pub fn verify(&self, digest: &Digest) -> Result<()> {
        let key = UnparsedPublicKey::new(&ED25519, &self.key.0);
        key.verify(message(digest).as_bytes(), &self.bytes).map_err(|_| {
            Fault::new(Code::InvalidSignature, format!("it is no signature of {digest} by the key {}", self.key))
        })
    }
}

impl FromStr for PluginSignature {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let mut words = text.split(' ');
            let (scheme, key, bytes) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
            let bytes = STANDARD.decode(bytes).ok()?.try_into().ok()?;
            (scheme == "ed25519" && words.next().is_none()).then_some(Self { key, bytes })
        };
        let bad = "a signature is `ed25519 KEY SIGNATURE`, both base64 of their bytes; `aimass sign` makes one";
        parse().ok_or_else(|| Fault::new(Code::InvalidSignature, bad))
    }
}

impl fmt::Display for PluginSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519 {} {}", self.key, STANDARD.encode(self.bytes))
    }
}

/// A private key, for whoever signs. The platform never sees one.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// A new one.
    ///
    /// # Errors
    /// `internal` if the system gives no random numbers.
    pub fn generate() -> Result<Self> {
        Ed25519KeyPair::generate().map(Self).map_err(|_| Fault::internal("no Ed25519 key could be generated"))
    }

    /// Reads PEM (`BEGIN PRIVATE KEY`, PKCS#8), as this or `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// `invalid_request` if it is none.
    pub fn from_pem(text: &str) -> Result<Self> {
        let pair = pem(text, "PRIVATE KEY").and_then(|der| Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok());
        pair.map(Self).ok_or_else(|| Fault::invalid("this is no Ed25519 private key in PEM (PKCS#8)"))
    }

    /// The key as PEM: a secret.
    ///
    /// # Errors
    /// `internal`.
    pub fn to_pem(&self) -> Result<String> {
        let der = self.0.to_pkcs8v1().map_err(|_| Fault::internal("the key cannot be written"))?;
        let body = STANDARD.encode(der.as_ref());
        Ok(format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"))
    }

    /// Its public half.
    ///
    /// # Errors
    /// `internal`.
    pub fn public(&self) -> Result<SignerKey> {
        let key = self.0.public_key().as_ref().try_into();
        key.map(SignerKey).map_err(|_| Fault::internal("a public key of another length"))
    }

    /// Signs the digest of a component.
    ///
    /// # Errors
    /// `internal`.
    pub fn sign(&self, digest: &Digest) -> Result<PluginSignature> {
        let signature = self.0.sign(message(digest).as_bytes());
        let bytes = signature.as_ref().try_into().map_err(|_| Fault::internal("a signature of another length"))?;
        Ok(PluginSignature { key: self.public()?, bytes })
    }
}

/// The bytes of the first PEM block with this label.
fn pem(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Made by `openssl genpkey -algorithm ed25519`, its public half by `openssl pkey -pubout`, and the signature of the
    /// digest of `abc` by `openssl pkeyutl -sign -rawin`.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIFI1XODY/fcXYFwexz701+EFk5BenziD/LwsmCPBpaHD\n-----END PRIVATE KEY-----";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAtLrk/IzKMyEm8uw8ZLD9TZLYvSJtTMa7sqLrfZmnr6Q=\n-----END PUBLIC KEY-----";
    const SIGNATURE: &str = "kieCm/blRyKwdB4EDKt0xpAoNm6izQjUacrKGNtfx3n6IR52fVXf8Vk1WtVKavt4SGUHdFWMQ2cUd34YxggXAA==";

    #[test]
    fn f04_what_openssl_signs_is_the_same() {
        let key = SigningKey::from_pem(PRIVATE).unwrap();
        let public: SignerKey = PUBLIC.parse().unwrap();
        assert_eq!(key.public().unwrap(), public);
        assert_eq!(public.to_string().parse::<SignerKey>().unwrap(), public);
        let theirs: PluginSignature = format!("ed25519 {public} {SIGNATURE}").parse().unwrap();
        theirs.verify(&Digest::of(b"abc")).unwrap();
        assert_eq!(key.sign(&Digest::of(b"abc")).unwrap().to_string(), theirs.to_string());
        assert_eq!(SigningKey::from_pem(&key.to_pem().unwrap()).unwrap().public().unwrap(), public);
    }

    #[test]
    fn f04_what_is_no_signature_is_refused() {
        let key = SigningKey::generate().unwrap();
        let good = key.sign(&Digest::of(b"abc")).unwrap().to_string();
        for bad in ["", "ed25519", &good.replace("ed25519", "none"), &format!("{good} x"), &good[..good.len() - 4]] {
            assert_eq!(bad.parse::<PluginSignature>().unwrap_err().code(), Code::InvalidSignature, "{bad}");
        }
        let other = SigningKey::generate().unwrap().public().unwrap();
        let of_other = good.replace(&key.public().unwrap().to_string(), &other.to_string());
        let forged: PluginSignature = of_other.parse().unwrap();
        assert_eq!(forged.verify(&Digest::of(b"abc")).unwrap_err().code(), Code::InvalidSignature);
        // A signature over the bare digest, without the words before it.
        let bare = key.0.sign(Digest::of(b"abc").to_string().as_bytes());
        let bare = PluginSignature { key: key.public().unwrap(), bytes: bare.as_ref().try_into().unwrap() };
        assert!(bare.verify(&Digest::of(b"abc")).is_err());
        for bad in ["", "AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"] {
            assert!(bad.parse::<SignerKey>().is_err());
        }
    }
}
