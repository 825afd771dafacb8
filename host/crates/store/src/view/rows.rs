//! What the view tells.

use aimass_core::event::{Actor, Inspection, Kind, Limits, Provenance, UploadWish};
use aimass_core::{Digest, Name};
use serde::{Deserialize, Serialize};

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantRow {
    /// Its name.
    pub name: Name,
    /// When it came, milliseconds since the epoch.
    pub created_ms: u64,
    /// Those that are its own.
    #[serde(default)]
    pub limits: Limits,
}

/// A plugin or model, all its versions together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRow {
    /// Which of the two.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// The highest version number that was ever given.
    pub latest: u64,
    /// It was deleted: the row stays so that its version numbers are never given again.
    pub deleted: bool,
    /// When its first version came (after a deletion: the first one since), milliseconds since the epoch.
    pub created_ms: u64,
    /// Whether anybody may call it at `/fn` without a token.
    pub public: bool,
}

/// One version of a plugin or model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRow {
    /// Which of the two.
    pub kind: Kind,
    /// The object's name.
    pub name: Name,
    /// Its number, from 1.
    pub version: u64,
    /// Its bytes, in [`crate::Blobs`].
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
    /// What validation found.
    pub inspection: Inspection,
    /// When it came, milliseconds since the epoch.
    pub created_ms: u64,
    /// The subject of the token that brought it.
    pub created_by: String,
    /// The `Idempotency-Key` that it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Who signed it, what it newly imports, which upload brought it.
    #[serde(default)]
    pub provenance: Provenance,
}

/// A component that is compiled in the background, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRow {
    /// Whose.
    pub tenant: Name,
    /// Its id.
    pub id: String,
    /// The plugin's name.
    pub name: Name,
    /// Its bytes, in [`crate::Blobs`].
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
    /// What was asked for.
    pub wish: UploadWish,
    /// Who brought it.
    pub actor: Actor,
    /// When it was accepted, milliseconds since the epoch.
    pub accepted_ms: u64,
    /// What became of it; none while it is under way.
    pub outcome: Option<UploadOutcome>,
}

/// What became of an accepted upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadOutcome {
    /// It is this version.
    Ready {
        /// Its number.
        version: u64,
    },
    /// It is none.
    Failed {
        /// The fault's code.
        code: String,
        /// Its sentence for the caller.
        detail: String,
    },
}

/// Somebody whose signatures a tenant trusts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignerRow {
    /// What the tenant calls the signer.
    pub name: Name,
    /// The public key (Ed25519), base64 of its 32 bytes.
    pub key: String,
    /// When it was added, milliseconds since the epoch.
    pub added_ms: u64,
    /// The subject of the token that added it.
    pub added_by: String,
}

/// A token that was signed. The token itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    /// Its id.
    pub jti: String,
    /// Its subject.
    pub subject: String,
    /// Its tenant; none for the operator's own.
    pub tenant: Option<Name>,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// When it ends, seconds since the epoch.
    pub expires: u64,
    /// When it was signed, milliseconds since the epoch.
    pub minted_ms: u64,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// Which version an idempotency key brought.
#[derive(Serialize, Deserialize)]
pub(super) struct IdempotentRow {
    pub(super) name: Name,
    pub(super) version: u64,
}
