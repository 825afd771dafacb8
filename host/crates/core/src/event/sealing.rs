//! Plugins' settings and secrets in the journal: sealed, so that the journal and its copies hold only ciphertext.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Name;

/// A value that only its tenant's data key opens. In JSON it is base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// From ciphertext.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The ciphertext.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(Self).map_err(|_| serde::de::Error::custom("no base64"))
    }
}

/// A plugin's secret was set: its configuration of this number is the one before, with this secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSet {
    /// Whose.
    pub tenant: Name,
    /// Which plugin's.
    pub name: Name,
    /// What the guest asks for it by.
    pub key: String,
    /// The configuration's number; it is the next one.
    pub number: u64,
    /// The value.
    pub sealed: Sealed,
    /// Also in every configuration before that has such a secret: aliases that stay with one of them get this value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everywhere: bool,
}

/// A plugin's secret was deleted: its configuration of this number is the one before without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretDeleted {
    /// Whose.
    pub tenant: Name,
    /// Which plugin's.
    pub name: Name,
    /// What the guest asked for it by.
    pub key: String,
    /// The configuration's number; it is the next one.
    pub number: u64,
    /// Also from every configuration before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everywhere: bool,
}

/// Every tenant's data key was wrapped anew, under the newest key-encryption key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataKeysRewrapped {
    /// The id of the key file whose key wraps them.
    pub ring: String,
    /// Which of that file's keys.
    pub generation: u64,
    /// The keys, wrapped, hex, by tenant.
    pub keys: std::collections::BTreeMap<Name, String>,
}

/// A tenant is gone with all that it had. The data keys of all others were wrapped anew at the same time, so that
/// the keys before could be destroyed, which the erased tenant's was wrapped with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantErased {
    /// Which.
    pub tenant: Name,
    /// The others' keys.
    pub others: DataKeysRewrapped,
}
