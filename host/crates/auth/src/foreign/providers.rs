//! The providers that tenants registered, in memory: a token's issuer and audience lead to one.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aimass_core::identity::{Issuer, KeySource, Revocation};
use aimass_core::{Name, Result, Tenant};
use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Validation;

use super::jwks::{ForeignKey, Jwks, KeyInfo};
use super::token::{Claims, Parties};
use crate::claims::Header;
use crate::{Caller, Role, Scopes};

/// Why a token is refused that may be accepted once its provider's keys are fetched again.
pub(crate) const UNKNOWN_KEY: &str = "an unknown key of a known issuer";

/// An identity provider as a tenant registered it.
#[derive(Clone, Debug)]
pub struct Provider {
    /// What the tenant calls it.
    pub name: Name,
    /// The provider.
    pub issuer: Issuer,
    /// What is revoked of it.
    pub revoked: Vec<Revocation>,
}

/// A tenant's identity providers and its own roles.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The providers.
    pub providers: Vec<Provider>,
    /// The roles that are the tenant's own.
    pub roles: HashMap<String, Scopes>,
}

/// A provider as it stands between two changes. Cached tokens hold on to the one that they were checked with.
#[derive(Debug)]
pub(crate) struct Trusted {
    pub(crate) tenant: Tenant,
    pub(crate) name: Name,
    pub(crate) issuer: Issuer,
    keys: Arc<Jwks>,
    revoked_keys: HashSet<String>,
    pub(crate) revoked_subjects: HashSet<String>,
    /// The tenant's own and the built-in ones.
    pub(crate) roles: Arc<HashMap<String, Scopes>>,
    /// Something changed: another one stands in its place, or none.
    retired: AtomicBool,
}

impl Trusted {
    fn new(tenant: &Name, provider: Provider, keys: Arc<Jwks>, roles: Arc<HashMap<String, Scopes>>) -> Self {
        let Provider { name, issuer, revoked } = provider;
        let (mut revoked_keys, mut revoked_subjects) = (HashSet::new(), HashSet::new());
        for revocation in revoked {
            match revocation {
                Revocation::Kid(kid) => revoked_keys.insert(kid),
                Revocation::Subject(subject) => revoked_subjects.insert(subject),
            };
        }
        let tenant = Tenant::vouched_for(tenant.clone());
        Self { tenant, name, issuer, keys, revoked_keys, revoked_subjects, roles, retired: AtomicBool::new(false) }
    }

    fn with_keys(&self, keys: Jwks) -> Self {
        Self {
            tenant: self.tenant.clone(),
            name: self.name.clone(),
            issuer: self.issuer.clone(),
            keys: Arc::new(keys),
            revoked_keys: self.revoked_keys.clone(),
            revoked_subjects: self.revoked_subjects.clone(),
            roles: self.roles.clone(),
            retired: AtomicBool::new(false),
        }
    }

    pub(crate) fn retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Whether a key of this id may be found by fetching the keys.
    pub(crate) fn may_find(&self, kid: &str) -> bool {
        matches!(self.issuer.keys, KeySource::JwksUrl(_)) && !self.revoked_keys.contains(kid)
    }

    /// Whose token it is; if nobody's, why (for the log).
    pub(crate) fn check(&self, bearer: &str, header: &Header, now: u64, leeway: u64) -> Result<Caller, &'static str> {
        if self.revoked_keys.contains(header.kid()) {
            return Err("its key is revoked");
        }
        let key = self.keys.find(header.kid()).ok_or(UNKNOWN_KEY)?;
        if header.algorithm() != key.algorithm_name {
            return Err("an algorithm that is not the key's");
        }
        let token = jsonwebtoken::decode::<Claims>(bearer, &key.decoding, &self.validation(key));
        let claims = token.map_err(|_| "a bad signature or bad claims")?.claims;
        claims.check(self, now, leeway)?;
        // Not every provider numbers its tokens; the audit log needs something to call this one by.
        let id = || URL_SAFE_NO_PAD.encode(&digest(&SHA256, bearer.as_bytes()).as_ref()[..16]);
        Ok(Caller {
            // A provider can write any subject and any id: with its name before them they are nobody else's.
            subject: format!("{}:{}", self.name, claims.sub),
            jti: format!("{}:{}", self.name, claims.jti.clone().unwrap_or_else(id)),
            tenant: Some(self.tenant.clone()),
            scopes: claims.scopes(self),
            expires: claims.exp,
            kid: None,
        })
    }

    /// As for the node's own tokens: the times are left to [`Claims::check`].
    fn validation(&self, key: &ForeignKey) -> Validation {
        let mut validation = Validation::new(key.algorithm);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.set_issuer(&[&self.issuer.issuer]);
        validation.set_audience(&[&self.issuer.audience]);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }
}

/// By the `iss` claim. Few tenants share one, each with an audience of its own.
type Table = HashMap<String, Vec<Arc<Trusted>>>;

/// All providers of all tenants.
#[derive(Default)]
pub(crate) struct Providers {
    table: ArcSwap<Table>,
    /// One change at a time; readers do not take it.
    change: Mutex<()>,
}

impl Providers {
    /// The provider that these lead to. A token for two audiences that are registered is nobody's: it does not say for
    /// which tenant.
    pub(crate) fn find(&self, parties: &Parties) -> Option<Arc<Trusted>> {
        let table = self.table.load();
        let mut meant = table.get(&parties.iss)?.iter().filter(|trusted| parties.aud.holds(&trusted.issuer.audience));
        match (meant.next(), meant.next()) {
            (Some(one), None) => Some(one.clone()),
            _ => None,
        }
    }

    pub(crate) fn set(&self, tenant: &Name, read: impl FnOnce() -> Result<Identity>) -> Result<()> {
        let _changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let Identity { providers, mut roles } = read()?;
        roles.extend(Role::ALL.map(|role| (role.name().to_owned(), role.scopes())));
        let roles = Arc::new(roles);
        let mut table = Table::clone(&self.table.load());
        let mut retired = vec![];
        for registered in table.values_mut() {
            let (theirs, others) = registered.drain(..).partition(|trusted| trusted.tenant.name() == tenant);
            *registered = others;
            retired.extend::<Vec<_>>(theirs);
        }
        table.retain(|_, registered| !registered.is_empty());
        for provider in providers {
            let before =
                retired.iter().find(|old| old.name == provider.name && old.issuer.keys == provider.issuer.keys);
            let keys = match (before, &provider.issuer.keys) {
                (Some(same), _) => same.keys.clone(),
                (None, KeySource::Jwks(document)) => Arc::new(read_again(tenant, &provider.name, document)),
                // They come when they were fetched.
                (None, KeySource::JwksUrl(_)) => Arc::default(),
            };
            let trusted = Trusted::new(tenant, provider, keys, roles.clone());
            table.entry(trusted.issuer.issuer.clone()).or_default().push(Arc::new(trusted));
        }
        self.table.store(Arc::new(table));
        retire(&retired);
        Ok(())
    }

    pub(crate) fn set_keys(&self, tenant: &Name, provider: &Name, url: &str, keys: Jwks) {
        let _changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.table.load());
        let place = place(&mut table, tenant, provider);
        let Some(place) = place.filter(|old| matches!(&old.issuer.keys, KeySource::JwksUrl(of) if of == url)) else {
            return;
        };
        if place.keys.same(&keys) {
            return;
        }
        let new = Arc::new(place.with_keys(keys));
        let old = std::mem::replace(place, new);
        self.table.store(Arc::new(table));
        retire(&[old]);
    }

    pub(crate) fn keys(&self, tenant: &Name, provider: &Name) -> Vec<KeyInfo> {
        let table = self.table.load();
        let mut all = table.values().flatten();
        let found = all.find(|trusted| trusted.tenant.name() == tenant && trusted.name == *provider);
        found.map(|trusted| trusted.keys.keys()).unwrap_or_default()
    }
}

fn place<'a>(table: &'a mut Table, tenant: &Name, provider: &Name) -> Option<&'a mut Arc<Trusted>> {
    table.values_mut().flatten().find(|trusted| trusted.tenant.name() == tenant && trusted.name == *provider)
}

/// Behind the change of the table: a token that is being checked meanwhile is checked again.
fn retire(trusted: &[Arc<Trusted>]) {
    trusted.iter().for_each(|old| old.retired.store(true, Ordering::Release));
}

/// The document was read when it was registered; if it is no longer of use, no token is valid by it.
fn read_again(tenant: &Name, provider: &Name, document: &serde_json::Value) -> Jwks {
    Jwks::parse(document.to_string().as_bytes()).unwrap_or_else(|why| {
        tracing::error!(%tenant, %provider, %why, "the keys of an issuer cannot be used");
        Jwks::default()
    })
}
