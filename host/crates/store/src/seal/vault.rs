//! The tenants' data keys, unwrapped, in memory.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aimass_core::event::{Actor, Event};
use aimass_core::{Code, Fault, Name, Result};

use super::aead::{self, DataKey};
use super::keyring::Keyring;
use crate::log::Committer;
use crate::view::State;
use crate::writer::{self, Write};

/// The keyring of this node and what it has unwrapped.
#[derive(Debug)]
pub(crate) struct Vault {
    ring: Keyring,
    keys: RwLock<HashMap<Name, Arc<DataKey>>>,
}

impl Vault {
    /// Opens the key file `path` for what `state` holds, or makes it if nothing is sealed yet.
    ///
    /// # Errors
    /// `conflict` if the file is missing, another node's, or does not open every tenant's data key.
    pub(crate) fn open(path: &Path, state: &State<'_>) -> Result<Self> {
        let rows = state.data_keys()?;
        let refuse = |what: String| Fault::new(Code::Conflict, format!("{what}; nothing was changed"));
        let ring = match Keyring::read(path)? {
            Some(ring) => ring,
            None if rows.is_empty() => Keyring::create(path)?,
            None => {
                return Err(refuse(format!(
                    "the tenants' data is sealed, and the key file {} is missing: name it with --key-file, or put it \
                     back",
                    path.display()
                )));
            }
        };
        let vault = Self { ring, keys: RwLock::default() };
        for row in rows {
            if row.ring != vault.ring.id {
                return Err(refuse(format!(
                    "the key file {} is another node's: name this one's with --key-file",
                    path.display()
                )));
            }
            let Some(key) = vault.unwrap(&row.tenant, row.generation, &row.key)? else {
                return Err(refuse(format!(
                    "the key file {} does not open the data key of the tenant `{}` (generation {}): it is damaged or \
                     of another time",
                    path.display(),
                    row.tenant,
                    row.generation
                )));
            };
            vault.insert(row.tenant, key);
        }
        Ok(vault)
    }

    /// A tenant's data key, if it has one.
    fn get(&self, tenant: &Name) -> Option<Arc<DataKey>> {
        // Nothing here panics half way.
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    /// A new data key for `tenant`, as it is recorded.
    fn create(&self, tenant: &Name) -> Result<Event> {
        let generation = self.ring.newest();
        let wrapping = self.ring.key(generation).ok_or_else(|| Fault::internal("the keyring is empty"))?;
        let sealed = aead::seal(wrapping, &context(tenant, &generation.to_le_bytes()), DataKey::random()?.bytes())?;
        let ring = self.ring.id.clone();
        Ok(Event::DataKeyCreated { tenant: tenant.clone(), ring, generation, key: hex::encode(sealed) })
    }

    /// Takes note of a durable record.
    pub(crate) fn applied(&self, event: &Event) {
        let Event::DataKeyCreated { tenant, generation, key, .. } = event else { return };
        match self.unwrap(tenant, *generation, key) {
            Ok(Some(key)) => self.insert(tenant.clone(), key),
            // Made by `create` a moment ago.
            other => tracing::error!(%tenant, failed = other.is_err(), "a new data key does not open"),
        }
    }

    fn unwrap(&self, tenant: &Name, generation: u64, wrapped: &str) -> Result<Option<DataKey>> {
        let (Some(key), Ok(wrapped)) = (self.ring.key(generation), hex::decode(wrapped)) else { return Ok(None) };
        let opened = aead::open(key, &context(tenant, &generation.to_le_bytes()), &wrapped)?;
        Ok(opened.and_then(|bytes| DataKey::from_bytes(&bytes)))
    }

    fn insert(&self, tenant: Name, key: DataKey) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(tenant, Arc::new(key));
    }
}

fn context<'a>(tenant: &'a Name, generation: &'a [u8]) -> [&'a [u8]; 3] {
    [b"data key", tenant.as_str().as_bytes(), generation]
}

/// How the parts of the store come by data keys.
#[derive(Clone)]
pub(crate) struct Keys {
    vault: Arc<Vault>,
    writes: Arc<Committer<Write>>,
    /// What was told of since the start.
    told: Arc<Mutex<HashSet<(Name, String)>>>,
}

/// Damages that are remembered, so that each is recorded once.
const REMEMBERED: usize = 1_000;

impl Keys {
    pub(crate) fn new(vault: Arc<Vault>, writes: Arc<Committer<Write>>) -> Self {
        Self { vault, writes, told: Arc::default() }
    }

    /// A tenant's data key, if it has one.
    pub(crate) fn get(&self, tenant: &Name) -> Option<Arc<DataKey>> {
        self.vault.get(tenant)
    }

    /// Records that a tenant's stored bytes were refused: once, or a client that tries again fills the journal.
    pub(crate) async fn tell(&self, tenant: &Name, what: String) {
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.len() >= REMEMBERED {
                told.clear();
            }
            if !told.insert((tenant.clone(), what.clone())) {
                return;
            }
        }
        let event = Event::IntegrityFailed { tenant: tenant.clone(), what };
        if let Err(fault) = writer::write(&self.writes, Actor::system(), move |_| Ok((Some(event), ()))).await {
            tracing::error!(%fault, %tenant, "damage could not be recorded");
        }
    }

    /// A tenant's data key, made and recorded if it has none.
    pub(crate) async fn get_or_create(&self, tenant: &Name) -> Result<Arc<DataKey>> {
        if let Some(key) = self.get(tenant) {
            return Ok(key);
        }
        let (vault, wanted) = (Arc::clone(&self.vault), tenant.clone());
        let create = move |state: &State<'_>| {
            // Another one may have come first.
            let event = if state.has_data_key(&wanted)? { None } else { Some(vault.create(&wanted)?) };
            Ok((event, ()))
        };
        writer::write(&self.writes, Actor::system(), create).await?;
        self.get(tenant).ok_or_else(|| Fault::internal("a data key was recorded and is not there"))
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}
