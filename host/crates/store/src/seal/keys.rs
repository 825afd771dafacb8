//! How the parts of the store come by data keys, and how those change.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aimass_core::event::{Actor, Event, TenantErased};
use aimass_core::{Fault, Name, Result};
use serde::Serialize;

use super::aead::DataKey;
use super::vault::Vault;
use crate::log::Committer;
use crate::view::State;
use crate::writer::{self, Write};

/// Damages that are remembered, so that each is recorded once.
const REMEMBERED: usize = 1_000;

/// How the parts of the store come by data keys.
#[derive(Clone)]
pub(crate) struct Keys {
    vault: Arc<Vault>,
    writes: Arc<Committer<Write>>,
    /// What was told of since the start.
    told: Arc<Mutex<HashSet<(Name, String)>>>,
    /// One change of the key file at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A generation of key-encryption keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyGeneration {
    /// Its number; the highest one wraps.
    pub generation: u64,
    /// How many tenants' data keys are wrapped under it.
    pub tenants: u64,
}

impl Keys {
    pub(crate) fn new(vault: Arc<Vault>, writes: Arc<Committer<Write>>) -> Self {
        Self { vault, writes, told: Arc::default(), turn: Arc::default() }
    }

    pub(crate) fn vault(&self) -> &Arc<Vault> {
        &self.vault
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
        if let Err(fault) = self.write(Actor::system(), move |_| Ok((Some(event), ()))).await {
            tracing::error!(%fault, %tenant, "damage could not be recorded");
        }
    }

    /// A tenant's data key, made and recorded if it has none.
    ///
    /// # Errors
    /// `not_found` if the tenant was erased.
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
        self.write(Actor::system(), create).await?;
        self.get(tenant).ok_or_else(|| Fault::internal("a data key was recorded and is not there"))
    }

    /// A new generation: every data key is wrapped under it. The ones before stay in the key file, for backups. Killed
    /// at any step, the next start ends it ([`Keys::settle`]).
    pub(crate) async fn rotate(&self, actor: Actor) -> Result<u64> {
        let _turn = self.turn.lock().await;
        let generation = self.begin_generation().await?;
        self.rewrap(actor).await?;
        Ok(generation)
    }

    /// Erases a tenant: records that it is gone, with the others' keys wrapped anew, and then destroys every key that
    /// its own was ever wrapped with. When this returns, no backup opens for it, unless somebody kept an old key file.
    pub(crate) async fn erase(&self, actor: Actor, tenant: &Name) -> Result<()> {
        let _turn = self.turn.lock().await;
        // Not for nothing.
        let wanted = tenant.clone();
        self.write(Actor::system(), move |state| {
            state.tenant(&wanted)?.map(|_| (None, ())).ok_or_else(Fault::not_found)
        })
        .await?;
        self.begin_generation().await?;
        self.record_erasure(actor, tenant).await?;
        self.destroy_older().await
    }

    /// Ends what a kill or a restored backup has left half done; returns whose files may still be there. To be called at
    /// every start, before anything is served.
    pub(crate) async fn settle(&self) -> Result<Vec<Name>> {
        let _turn = self.turn.lock().await;
        let ring = self.vault.ring();
        let of_file = ring.erased.clone();
        let read = move |state: &State<'_>| -> Result<_> {
            let mut live = Vec::new();
            for tenant in of_file {
                if state.tenant(&tenant)?.is_some() || state.has_data_key(&tenant)? {
                    live.push(tenant);
                }
            }
            Ok((live, state.erased_tenants()?, state.data_keys()?))
        };
        let (live, recorded, rows) = self.write(Actor::system(), move |state| Ok((None, read(state)?))).await?;
        for tenant in &live {
            tracing::warn!(%tenant, "this data is of before the tenant was erased: it is erased again");
            self.record_erasure(Actor::system(), tenant).await?;
        }
        if rows.iter().any(|row| row.generation != ring.newest()) {
            tracing::info!(generation = ring.newest(), "wrapping the tenants' data keys under the newest key");
            self.rewrap(Actor::system()).await?;
        }
        let mut left = live;
        let unfinished = recorded.into_iter().filter(|tenant| !ring.erased.contains(tenant));
        let noted = left.len();
        left.extend(unfinished);
        if left.len() > noted {
            self.destroy_older().await?;
        }
        Ok(left)
    }

    /// The generations in the key file, oldest first.
    pub(crate) fn generations(&self, state: &State<'_>) -> Result<Vec<KeyGeneration>> {
        let rows = state.data_keys()?;
        let of = |generation| rows.iter().filter(|row| row.generation == generation).count() as u64;
        let known = self.vault.ring();
        let generations = known.generations.keys();
        Ok(generations.map(|&generation| KeyGeneration { generation, tenants: of(generation) }).collect())
    }

    pub(crate) async fn begin_generation(&self) -> Result<u64> {
        let vault = Arc::clone(&self.vault);
        tokio::task::spawn_blocking(move || vault.begin_generation()).await.map_err(Fault::internal)?
    }

    async fn rewrap(&self, actor: Actor) -> Result<()> {
        let vault = Arc::clone(&self.vault);
        let rewrap = move |state: &State<'_>| {
            let rewrapped = vault.rewrapped(state, None)?;
            // An audit wants to know of it also where there is nothing to wrap.
            Ok((Some(Event::DataKeysRewrapped(rewrapped)), ()))
        };
        self.write(actor, rewrap).await
    }

    pub(crate) async fn record_erasure(&self, actor: Actor, tenant: &Name) -> Result<()> {
        let (vault, tenant) = (Arc::clone(&self.vault), tenant.clone());
        let erase = move |state: &State<'_>| {
            let others = vault.rewrapped(state, Some(&tenant))?;
            Ok((Some(Event::TenantErased(TenantErased { tenant, others })), ()))
        };
        self.write(actor, erase).await
    }

    async fn destroy_older(&self) -> Result<()> {
        let vault = Arc::clone(&self.vault);
        let read = move |state: &State<'_>| Ok((None, (vault.rewrapped(state, None)?, state.erased_tenants()?)));
        let (keys, erased) = self.write(Actor::system(), read).await?;
        let vault = Arc::clone(&self.vault);
        let destroy = move || vault.destroy_older(&keys, erased);
        tokio::task::spawn_blocking(destroy).await.map_err(Fault::internal)?
    }

    async fn write<T: Send + 'static>(
        &self,
        actor: Actor,
        decide: impl FnOnce(&State<'_>) -> Result<(Option<Event>, T)> + Send + 'static,
    ) -> Result<T> {
        writer::write(&self.writes, actor, decide).await
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}
