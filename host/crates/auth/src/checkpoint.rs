//! Signed statements of where the journal stood: whoever keeps one can tell later whether the end was cut off, or the
//! chain written anew.
//!
//! The signature is a JWS (RFC 7515, compact) over the statement's JSON, with a `typ` of its own: it opens nothing as a
//! token, and no token passes for one. The public key stands beside it, under its RFC 7638 thumbprint: compare that
//! with what the node publishes at `/.well-known/jwks.json`, or with what it published when the key was in use.

use aimass_core::{Code, Fault, Result};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::keys::{KeySet, thumbprint};

const TYPE: &str = "aimass-checkpoint+jws";

/// Where the journal stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The node that says so.
    pub issuer: String,
    /// The number of the last record.
    pub records: u64,
    /// That record's hash, hex; zeros if there is none.
    pub head: String,
    /// When it was said, milliseconds since the epoch.
    pub time_ms: u64,
}

/// A checkpoint with its signature.
///
/// ```
/// use aimass_auth::{Auth, AuthConfig, SignedCheckpoint};
/// # let dir = tempfile::tempdir().unwrap();
/// let auth = Auth::open(dir.path(), AuthConfig::new("https://aimass.example", "aimass"))?;
/// let signed = auth.sign_checkpoint(7, "00".repeat(32), 1_700_000_000_000)?;
/// assert_eq!(signed.verify()?.records, 7);
/// // It is no token, and what was changed does not verify.
/// assert!(auth.verify(&signed.jws).is_err());
/// let forged = SignedCheckpoint { x: "A".repeat(43), ..signed };
/// assert!(forged.verify().is_err());
/// # Ok::<(), aimass_core::Fault>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCheckpoint {
    /// What is said, to be read by people: the signature is over what stands in `jws`.
    pub checkpoint: Checkpoint,
    /// The key's id: its RFC 7638 thumbprint.
    pub kid: String,
    /// The Ed25519 public key, base64url (RFC 8037's `x`).
    pub x: String,
    /// The statement, signed.
    pub jws: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

impl SignedCheckpoint {
    pub(crate) fn sign(keys: &KeySet, checkpoint: Checkpoint) -> Result<Self> {
        let mut header = jsonwebtoken::Header::new(keys.algorithm());
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(keys.kid().to_owned());
        let jws = jsonwebtoken::encode(&header, &checkpoint, &keys.signing()?).map_err(Fault::internal)?;
        Ok(Self { checkpoint, kid: keys.kid().to_owned(), x: keys.public().to_owned(), jws })
    }

    /// What is said, if the key that stands beside it has signed just that. Whose key it is, `kid` says.
    ///
    /// # Errors
    /// [`Code::Integrity`].
    pub fn verify(&self) -> Result<&Checkpoint> {
        let bad = |what: &str| Fault::new(Code::Integrity, format!("the checkpoint is not valid: {what}"));
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let (signed, signature) = self.jws.rsplit_once('.').ok_or_else(|| bad("it has no signature"))?;
        let (header, payload) = signed.split_once('.').ok_or_else(|| bad("it has no header"))?;
        let header: Header = decode(header)
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| bad("its header cannot be read"))?;
        if header.alg != "EdDSA" || header.typ != TYPE {
            return Err(bad("it is another kind of document"));
        }
        if header.kid != self.kid || thumbprint(&self.x) != self.kid {
            return Err(bad("its key is not the one that it names"));
        }
        let (key, signature) = decode(&self.x).zip(decode(signature)).ok_or_else(|| bad("it is no base64url"))?;
        UnparsedPublicKey::new(&ED25519, key)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| bad("its signature is wrong"))?;
        let said: Option<Checkpoint> = decode(payload).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if said.as_ref() != Some(&self.checkpoint) {
            return Err(bad("what it shows is not what was signed"));
        }
        Ok(&self.checkpoint)
    }
}
