//! What the store lets others seal, and how keys are rotated and tenants erased.

use aimass_core::event::Actor;
use aimass_core::{Name, Result, Tenant};
use zeroize::Zeroizing;

use crate::Store;
use crate::seal::{KeyGeneration, Seal};

impl Store {
    /// Seals and opens short values of a tenant; its data key is made if it has none.
    ///
    /// # Errors
    /// `not_found` if the tenant was erased; as [`Store::write`].
    pub async fn seal(&self, tenant: &Tenant) -> Result<Seal> {
        let key = self.keys().get_or_create(tenant.name()).await?;
        Ok(Seal::new(tenant.name().clone(), key))
    }

    /// The same for opening alone: none if nothing was ever sealed for the tenant.
    pub fn known_seal(&self, tenant: &Tenant) -> Option<Seal> {
        self.keys().get(tenant.name()).map(|key| Seal::new(tenant.name().clone(), key))
    }

    /// A key of this node's own for one purpose, which is named by a word; the same at every start with the same key
    /// file. No tenant's bytes are sealed with it.
    pub fn node_key(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        self.keys().vault().node_key(purpose)
    }

    /// Ends what a kill, a restored backup or an older release has left half done: keys that are not wrapped under the
    /// newest generation, tenants that were erased since, key-value data that is not sealed. To be called once, before
    /// anything is served.
    ///
    /// # Errors
    /// As [`Store::write`]; `storage_full`, `internal` from the key file's disk.
    pub async fn settle(&self) -> Result<()> {
        let erased = self.keys().settle().await?;
        for tenant in &erased {
            self.drop_files(tenant).await?;
        }
        self.data().seal_rest().await
    }

    /// Wraps every tenant's data key under a new key-encryption key, and returns that one's generation. What is sealed
    /// stays as it is, and readable all the while. The keys before stay in the key file: older backups need them.
    ///
    /// # Errors
    /// As [`Store::write`]; `storage_full`, `internal` from the key file's disk.
    pub async fn rotate_keys(&self, actor: Actor) -> Result<u64> {
        self.keys().rotate(actor).await
    }

    /// The generations of key-encryption keys in the key file, oldest first.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn key_generations(&self) -> Result<Vec<KeyGeneration>> {
        self.keys().generations(&self.state())
    }

    /// Erases a tenant: its rows, its blobs, its key-value data, and every key that its own was wrapped with, so that
    /// what copies and backups hold of it cannot be opened any more. The journal's chain stays as it is.
    ///
    /// # Errors
    /// `not_found`; as [`Store::write`]. After any other error the next start goes on with what was begun.
    pub async fn erase_tenant(&self, actor: Actor, tenant: &Name) -> Result<()> {
        self.keys().erase(actor, tenant).await?;
        self.drop_files(tenant).await
    }

    /// Ciphertext that nobody can open: it goes for the room that it takes.
    async fn drop_files(&self, tenant: &Name) -> Result<()> {
        self.data().forget(tenant).await?;
        self.queue().erase(tenant).await?;
        self.blobs().forget(tenant).await
    }
}
