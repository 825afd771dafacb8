//! The key-encryption keys, by generation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aimass_core::{Fault, Name, Result};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::aead::{self, DataKey, KEY, fill};

/// What the key file holds.
#[derive(Clone)]
pub(super) struct Keyring {
    pub(super) id: String,
    pub(super) generations: BTreeMap<u64, Zeroizing<[u8; KEY]>>,
    /// What the node's own secrets are sealed with; it never changes.
    pub(super) node: Zeroizing<[u8; KEY]>,
    /// Data keys whose wrapping in old backups cannot be opened any more.
    pub(super) kept: BTreeMap<Name, KeptKey>,
    /// Tenants whose data keys were destroyed.
    pub(super) erased: BTreeSet<Name>,
}

/// A data key, wrapped.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct KeptKey {
    pub(super) generation: u64,
    /// Hex.
    pub(super) key: String,
}

impl Keyring {
    /// A new one, with a first key.
    pub(super) fn random() -> Result<Self> {
        let mut id = [0; 16];
        fill(&mut id)?;
        let generations = BTreeMap::from([(1, Self::random_key()?)]);
        let node = Self::random_key()?;
        Ok(Self { id: hex::encode(id), generations, node, kept: BTreeMap::new(), erased: BTreeSet::new() })
    }

    pub(super) fn random_key() -> Result<Zeroizing<[u8; KEY]>> {
        let mut key = Zeroizing::new([0; KEY]);
        fill(&mut *key)?;
        Ok(key)
    }

    /// The same with one more generation.
    pub(super) fn with_next(&self) -> Result<Self> {
        let mut next = self.clone();
        next.generations.insert(self.newest() + 1, Self::random_key()?);
        Ok(next)
    }

    /// The generation that keys are wrapped under.
    pub(super) fn newest(&self) -> u64 {
        self.generations.keys().next_back().copied().unwrap_or_default()
    }

    /// Wraps a tenant's data key under the newest generation; hex.
    pub(super) fn wrap(&self, tenant: &Name, key: &DataKey) -> Result<String> {
        let generation = self.newest();
        let wrapping = self.generations.get(&generation).ok_or_else(|| Fault::internal("the keyring is empty"))?;
        let sealed = aead::seal(wrapping, &context(tenant, &generation.to_le_bytes()), key.bytes())?;
        Ok(hex::encode(sealed))
    }

    /// A tenant's data key; none if no key here opens it.
    pub(super) fn unwrap(&self, tenant: &Name, generation: u64, wrapped: &str) -> Result<Option<DataKey>> {
        if self.erased.contains(tenant) {
            return Ok(None);
        }
        match (self.generations.get(&generation), self.kept.get(tenant)) {
            (Some(key), _) => open(key, tenant, generation, wrapped),
            (None, Some(kept)) => match self.generations.get(&kept.generation) {
                Some(key) => open(key, tenant, kept.generation, &kept.key),
                None => Ok(None),
            },
            (None, None) => Ok(None),
        }
    }
}

fn open(key: &[u8; KEY], tenant: &Name, generation: u64, wrapped: &str) -> Result<Option<DataKey>> {
    let Ok(wrapped) = hex::decode(wrapped) else { return Ok(None) };
    let opened = aead::open(key, &context(tenant, &generation.to_le_bytes()), &wrapped)?;
    Ok(opened.and_then(|bytes| DataKey::from_bytes(&bytes)))
}

fn context<'a>(tenant: &'a Name, generation: &'a [u8]) -> [&'a [u8]; 3] {
    [b"data key", tenant.as_str().as_bytes(), generation]
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("id", &self.id).finish_non_exhaustive()
    }
}
