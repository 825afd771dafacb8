//! The keys that tenants' data keys are wrapped with, and the erasure of a tenant, which destroys its own: the
//! operator's.

use std::collections::BTreeSet;

use aimass_core::event::Kind;
use aimass_core::{Digest, Fault, Name, Result, Tenant};
use aimass_store::KeyGeneration;
use serde::Serialize;
use tokio::pin;

use crate::objects::{PAGE, Page};
use crate::{Asked, Platform, Scope};

/// A generation of key-encryption keys as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct KeyGenerationDocument {
    /// Which, and how many tenants' data keys it wraps.
    #[serde(flatten)]
    pub of: KeyGeneration,
    /// Whether it wraps new ones. The others are there for older backups.
    pub newest: bool,
}

impl Platform {
    /// Lists the generations of key-encryption keys, oldest first.
    ///
    /// # Errors
    /// `insufficient_scope`; what reading the store says.
    pub fn key_generations(
        &self,
        asked: Asked<'_>,
        after: Option<u64>,
        limit: Option<usize>,
    ) -> Result<Page<KeyGenerationDocument>> {
        asked.by.require(Scope::Operator)?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let all = self.store.key_generations()?;
        let newest = all.last().map(|of| of.generation);
        let behind = all.into_iter().filter(|of| after.is_none_or(|after| of.generation > after)).take(limit + 1);
        let documents = behind.map(|of| KeyGenerationDocument { newest: Some(of.generation) == newest, of });
        Ok(Page::cut(documents, limit, |document: &KeyGenerationDocument| document.of.generation.to_string()))
    }

    /// Makes a new key-encryption key and wraps every tenant's data key with it, while all goes on.
    ///
    /// # Errors
    /// `insufficient_scope`; as [`aimass_store::Store::rotate_keys`].
    pub async fn rotate_keys(&self, asked: Asked<'_>) -> Result<KeyGenerationDocument> {
        asked.by.require(Scope::Operator)?;
        let generation = self.store.rotate_keys(asked.actor()).await?;
        let found = self.store.key_generations()?.into_iter().find(|of| of.generation == generation);
        let of = found.ok_or_else(|| Fault::internal("a new key is not in the key file"))?;
        Ok(KeyGenerationDocument { of, newest: true })
    }

    /// Erases a tenant with all that it has, here and in every backup. Its calls under way end, its tokens are refused,
    /// and its name is never given again.
    ///
    /// # Errors
    /// `insufficient_scope`; `not_found`; as [`aimass_store::Store::erase_tenant`].
    pub async fn erase_tenant(&self, asked: Asked<'_>, name: &Name) -> Result<()> {
        asked.by.require(Scope::Operator)?;
        let tenant = aimass_auth::resumed(name.clone());
        let state = self.store.state();
        state.tenant(name)?.ok_or_else(Fault::not_found)?;
        let issuers = state.issuers(name, None, usize::MAX)?;
        let (names, compiled) = self.things(&tenant)?;
        let erased = self.store.erase_tenant(asked.actor(), name).await;
        if self.store.state().tenant(name)?.is_some() {
            return erased;
        }
        // It is gone, also if the key file could not be written yet: nothing of it is served any more.
        self.auth.load_revoked(self.store.state().revoked()?.into_iter());
        issuers.iter().for_each(|row| self.provider_keys.remove(name, &row.name));
        self.identity_changed(name)?;
        self.directory.forget_tenant(name);
        names.iter().for_each(|name| self.rollouts.forget(&tenant, name));
        self.erasures.notify_waiters();
        self.models.forget_tenant(name);
        self.records.forget_tenant(name);
        self.limits_of_tenants.forget(name);
        self.egress.forget_tenant(name);
        self.logs.forget_tenant(name);
        self.quotas.forget(name);
        let named = self.store.state().named_digests()?;
        compiled.difference(&named).for_each(|digest| self.sandbox.forget(digest));
        erased
    }

    /// Awaits a call of a tenant's, unless that is erased meanwhile: then the call is dropped where it stands.
    pub(crate) async fn unless_erased<T>(&self, tenant: &Tenant, call: impl Future<Output = Result<T>>) -> Result<T> {
        pin!(call);
        loop {
            // Made before the first poll: it hears of what comes meanwhile.
            let erasure = self.erasures.notified();
            tokio::select! {
                biased;
                outcome = &mut call => return outcome,
                () = erasure => {
                    self.store.state().tenant(tenant.name())?.ok_or_else(Fault::not_found)?;
                }
            }
        }
    }

    /// The names of a tenant's plugins and models, and the components of the plugins.
    fn things(&self, tenant: &Tenant) -> Result<(Vec<Name>, BTreeSet<Digest>)> {
        let state = self.store.state();
        let (mut names, mut components) = (vec![], BTreeSet::new());
        for object in state.objects(tenant, Kind::Plugin, None, usize::MAX)? {
            let versions = state.versions(tenant, &object.name, None, usize::MAX)?;
            components.extend(versions.into_iter().map(|row| row.digest));
            names.push(object.name);
        }
        names.extend(state.objects(tenant, Kind::Model, None, usize::MAX)?.into_iter().map(|object| object.name));
        Ok((names, components))
    }
}
