//! What the view tells.

use aimass_core::event::{Inspection, Kind, Limits};
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
