//! Whom a tenant lets in: its own identity providers and roles; and the keys that the node signs tokens with.

mod fetch;
mod issuers;
mod roles;
mod signing_keys;

use std::collections::HashMap;
use std::sync::Arc;

use aimass_auth::{Auth, Identity, Provider, Scopes};
use aimass_core::{Name, Result};
use aimass_store::{State, Store};

pub(crate) use fetch::ProviderKeys;
pub use issuers::{IssuerDocument, IssuerRequest, KeyDocument, RevocationWish};
pub use roles::{RoleDocument, RoleRequest};

use crate::{Caller, Platform};

impl Platform {
    /// Who holds a token: the bare one, without `Bearer` before it. What is known is answered from memory; only a
    /// token of a tenant's provider that names a key nobody has seen yet waits for the provider's keys, for a bounded
    /// time, and not more often than the provider may be asked.
    ///
    /// # Errors
    /// `unauthenticated`, always with the same detail.
    pub async fn authenticate(&self, bearer: &str) -> Result<Arc<Caller>> {
        let refused = match self.auth.verify_or_ask(bearer) {
            Ok(caller) => return Ok(caller),
            Err(refused) => refused,
        };
        let Some((tenant, issuer)) = refused.ask else { return Err(refused.fault) };
        self.provider_keys.look_again(&self.auth, &tenant, &issuer).await;
        // Also where nobody was asked now: the key may have come for somebody else meanwhile.
        self.auth.verify(bearer)
    }

    /// Fetches the keys of tenants' providers again whenever they are due. It does not end.
    pub async fn follow_issuers(&self) {
        self.provider_keys.follow(&self.auth).await;
    }

    /// Tells the token service what the store says of a tenant now. Call it behind each change.
    pub(crate) fn identity_changed(&self, tenant: &Name) -> Result<()> {
        self.auth.set_identity(tenant, || read(&self.store.state(), tenant))
    }
}

/// Loads what every tenant's tokens are checked with.
pub(crate) fn load(store: &Store, auth: &Auth, keys: &ProviderKeys) -> Result<()> {
    let state = store.state();
    for tenant in state.tenants(None, usize::MAX)? {
        let issuers = state.issuers(&tenant.name, None, usize::MAX)?;
        // Without a provider there is nobody to ask for a tenant's roles in memory.
        if !issuers.is_empty() {
            auth.set_identity(&tenant.name, || read(&state, &tenant.name))?;
            issuers.iter().for_each(|row| keys.add(&tenant.name, &row.name, &row.issuer.keys));
        }
    }
    Ok(())
}

fn read(state: &State<'_>, tenant: &Name) -> Result<Identity> {
    let mut providers = vec![];
    for row in state.issuers(tenant, None, usize::MAX)? {
        let revoked = state.revocations(tenant, &row.name, usize::MAX)?;
        providers.push(Provider { name: row.name, issuer: row.issuer, revoked });
    }
    let own = state.roles(tenant, None, usize::MAX)?.into_iter();
    // A scope that only a later release knows is left out, as in a token.
    let scopes = |words: &[String]| words.iter().filter_map(|word| word.parse().ok()).collect::<Scopes>();
    let roles: HashMap<_, _> = own.map(|row| (row.name.to_string(), scopes(&row.scopes))).collect();
    Ok(Identity { providers, roles })
}
