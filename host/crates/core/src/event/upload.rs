//! What the journal records of how a version came to be.

use serde::{Deserialize, Serialize};

use crate::{Digest, Name};

/// Who vouches for a version's bytes, by a signature over their digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedBy {
    /// The public key (Ed25519), base64 of its 32 bytes.
    pub key: String,
    /// The name of the trusted signer whose key it was; none if nobody's whom the tenant trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<Name>,
}

/// How a version came to be what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The upload that it was compiled for in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// Who signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<SignedBy>,
    /// Interfaces that it imports and the version before did not, without versions, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_imports: Vec<String>,
}

/// What an upload asked for, kept while its component is compiled in the background.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadWish {
    /// The request's `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// What the newest version must be when it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Digest>,
    /// Whether it may import more than the version before.
    #[serde(default)]
    pub allow_new_imports: bool,
    /// Who signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<SignedBy>,
}
