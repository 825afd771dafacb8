//! The tenants' data keys, unwrapped, in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use aimass_core::event::{DataKeysRewrapped, Event};
use aimass_core::{Code, Fault, Name, Result};
use zeroize::Zeroizing;

use super::aead::{DataKey, KEY};
use super::key_file::{Found, KeyFile};
use super::keyring::{KeptKey, Keyring};
use crate::view::State;

/// The keyring of this node and what it has unwrapped.
#[derive(Debug)]
pub(crate) struct Vault {
    file: KeyFile,
    ring: RwLock<Arc<Keyring>>,
    tenants: RwLock<Tenants>,
}

#[derive(Default)]
struct Tenants {
    keys: HashMap<Name, Arc<DataKey>>,
    /// Here, or by what the key file says.
    erased: HashSet<Name>,
}

/// What can be done with a tenant's bytes.
#[derive(Clone)]
pub(crate) enum Owner {
    /// They are sealed with this key.
    Sealing(Arc<DataKey>),
    /// Nothing of it was sealed yet.
    Plain,
    /// Nothing: it was erased.
    Erased,
}

impl Vault {
    /// Opens the key file for what `state` holds, or makes it if nothing is sealed yet.
    ///
    /// # Errors
    /// `conflict` if the file is missing, another node's, or does not open every tenant's data key.
    pub(crate) fn open(file: KeyFile, state: &State<'_>) -> Result<Self> {
        let rows = state.data_keys()?;
        let path = file.path().display();
        let refuse = |what: String| Fault::new(Code::Conflict, format!("{what}; nothing was changed"));
        let Found { ring, current } = match file.read()? {
            Some(found) => found,
            None if rows.is_empty() => {
                let ring = Keyring::random()?;
                file.write(&ring, false)?;
                Found { ring, current: true }
            }
            None => {
                return Err(refuse(format!(
                    "the tenants' data is sealed, and the key file {path} is missing: name it with --key-file, or put \
                     it back"
                )));
            }
        };
        let mut tenants = Tenants { keys: HashMap::new(), erased: ring.erased.iter().cloned().collect() };
        tenants.erased.extend(state.erased_tenants()?);
        for row in rows {
            if row.ring != ring.id {
                return Err(refuse(format!("the key file {path} is another node's: name this one's with --key-file")));
            }
            if ring.erased.contains(&row.tenant) {
                // This folder is of before the erasure.
                continue;
            }
            let Some(key) = ring.unwrap(&row.tenant, row.generation, &row.key)? else {
                return Err(refuse(format!(
                    "the key file {path} does not open the data key of the tenant `{}` (generation {}): it is damaged \
                     or of another time",
                    row.tenant, row.generation
                )));
            };
            tenants.keys.insert(row.tenant, Arc::new(key));
        }
        if !current {
            file.write(&ring, true)?;
        }
        Ok(Self { ring: RwLock::new(Arc::new(ring)), tenants: RwLock::new(tenants), file })
    }

    /// A tenant's data key, if it has one.
    pub(super) fn get(&self, tenant: &Name) -> Option<Arc<DataKey>> {
        self.read().keys.get(tenant).cloned()
    }

    /// What can be done with a tenant's bytes.
    pub(crate) fn owner(&self, tenant: &Name) -> Owner {
        let tenants = self.read();
        match tenants.keys.get(tenant) {
            _ if tenants.erased.contains(tenant) => Owner::Erased,
            Some(key) => Owner::Sealing(Arc::clone(key)),
            None => Owner::Plain,
        }
    }

    /// The keyring as it stands.
    pub(super) fn ring(&self) -> Arc<Keyring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A key of the node's own, for one purpose; the same at every start.
    pub(crate) fn node_key(&self, purpose: &str) -> Zeroizing<[u8; KEY]> {
        Zeroizing::new(*blake3::Hasher::new_keyed(&self.ring().node).update(purpose.as_bytes()).finalize().as_bytes())
    }

    /// A new data key for `tenant`, as it is recorded.
    pub(super) fn create(&self, tenant: &Name) -> Result<Event> {
        if matches!(self.owner(tenant), Owner::Erased) {
            return Err(Fault::not_found());
        }
        let ring = self.ring();
        let key = ring.wrap(tenant, &DataKey::random()?)?;
        Ok(Event::DataKeyCreated { tenant: tenant.clone(), ring: ring.id.clone(), generation: ring.newest(), key })
    }

    /// Takes note of a durable record.
    pub(crate) fn applied(&self, event: &Event) {
        match event {
            Event::DataKeyCreated { tenant, generation, key, .. } => {
                match self.ring().unwrap(tenant, *generation, key) {
                    Ok(Some(key)) => drop(self.write().keys.insert(tenant.clone(), Arc::new(key))),
                    // Made by `create` a moment ago.
                    other => tracing::error!(%tenant, failed = other.is_err(), "a new data key does not open"),
                }
            }
            Event::TenantErased(erased) => {
                let mut tenants = self.write();
                tenants.keys.remove(&erased.tenant);
                tenants.erased.insert(erased.tenant.clone());
            }
            _ => {}
        }
    }

    /// Every data key in `state` but that of `without`, wrapped under the newest generation.
    pub(super) fn rewrapped(&self, state: &State<'_>, without: Option<&Name>) -> Result<DataKeysRewrapped> {
        let ring = self.ring();
        let mut keys = BTreeMap::new();
        for row in state.data_keys()? {
            if Some(&row.tenant) == without || ring.erased.contains(&row.tenant) {
                continue;
            }
            // One that is decided and not yet durable is not in memory.
            let key = match self.get(&row.tenant) {
                Some(key) => Some(ring.wrap(&row.tenant, &key)?),
                None => match ring.unwrap(&row.tenant, row.generation, &row.key)? {
                    Some(key) => Some(ring.wrap(&row.tenant, &key)?),
                    None => None,
                },
            };
            let lost = || Fault::internal(format!("the data key of {} does not open", row.tenant));
            keys.insert(row.tenant.clone(), key.ok_or_else(lost)?);
        }
        Ok(DataKeysRewrapped { ring: ring.id.clone(), generation: ring.newest(), keys })
    }

    /// Adds a generation to the key file and wraps under it from now on. The ones before stay. Blocks.
    pub(super) fn begin_generation(&self) -> Result<u64> {
        let next = self.ring().with_next()?;
        self.file.write(&next, true)?;
        let generation = next.newest();
        self.set_ring(next);
        Ok(generation)
    }

    /// Destroys every generation but the newest, under which `keys` wraps every data key that is left, and notes whose
    /// are not. Blocks.
    pub(super) fn destroy_older(&self, keys: &DataKeysRewrapped, erased: impl IntoIterator<Item = Name>) -> Result<()> {
        let before = self.ring();
        let mut ring = Keyring::clone(&before);
        ring.erased.extend(erased);
        ring.kept.clear();
        // A folder of a later time may hold tenants that this one does not know.
        for (tenant, kept) in before.kept.iter().filter(|(tenant, _)| !ring.erased.contains(*tenant)) {
            if let Some(key) = before.unwrap(tenant, kept.generation, &kept.key)? {
                let key = ring.wrap(tenant, &key)?;
                ring.kept.insert(tenant.clone(), KeptKey { generation: ring.newest(), key });
            }
        }
        for (tenant, key) in &keys.keys {
            ring.kept.insert(tenant.clone(), KeptKey { generation: keys.generation, key: key.clone() });
        }
        let newest = ring.newest();
        ring.generations.retain(|&generation, _| generation == newest);
        self.file.write(&ring, true)?;
        self.set_ring(ring);
        Ok(())
    }

    fn set_ring(&self, ring: Keyring) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }

    // Nothing here panics half way.
    fn read(&self) -> RwLockReadGuard<'_, Tenants> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tenants> {
        self.tenants.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Tenants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tenants({})", self.keys.len())
    }
}
