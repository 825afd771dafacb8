//! Tenants' identity providers and roles in the view.

use aimass_core::identity::{Issuer, Revocation};
use aimass_core::{Fault, Name, Result};
use serde::{Deserialize, Serialize};

use super::apply::{Changes, conflict, put};
use super::keys;
use super::state::State;

/// An identity provider of a tenant's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerRow {
    /// What the tenant calls it.
    pub name: Name,
    /// The provider.
    pub issuer: Issuer,
    /// When it came, milliseconds since the epoch.
    pub created_ms: u64,
}

/// A role of a tenant's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRow {
    /// Its name.
    pub name: Name,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// When it was made, milliseconds since the epoch.
    pub created_ms: u64,
}

impl State<'_> {
    /// An identity provider of a tenant's.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn issuer(&self, tenant: &Name, name: &Name) -> Result<Option<IssuerRow>> {
        self.row(&issuer_key(tenant, name))
    }

    /// At most `limit` identity providers of a tenant's behind `after`, by name.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn issuers(&self, tenant: &Name, after: Option<&Name>, limit: usize) -> Result<Vec<IssuerRow>> {
        self.rows(&issuers_key(tenant), after.map(|name| issuer_key(tenant, name)), limit, |_| true)
    }

    /// What is revoked of an identity provider, at most `limit`.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn revocations(&self, tenant: &Name, issuer: &Name, limit: usize) -> Result<Vec<Revocation>> {
        self.rows(&revocations_key(tenant, issuer), None, limit, |_| true)
    }

    /// A role of a tenant's own.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn role(&self, tenant: &Name, name: &Name) -> Result<Option<RoleRow>> {
        self.row(&role_key(tenant, name))
    }

    /// At most `limit` roles of a tenant's own behind `after`, by name.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn roles(&self, tenant: &Name, after: Option<&Name>, limit: usize) -> Result<Vec<RoleRow>> {
        self.rows(&roles_key(tenant), after.map(|name| role_key(tenant, name)), limit, |_| true)
    }
}

pub(super) fn add_issuer(
    state: &State<'_>,
    out: &mut Changes,
    tenant: &Name,
    name: &Name,
    issuer: &Issuer,
    created_ms: u64,
) -> Result<()> {
    if state.issuer(tenant, name)?.is_some() {
        return Err(conflict(format!("the issuer `{name}` exists: remove it first")));
    }
    // A token names an issuer and an audience, and no tenant: the two must lead to one.
    let pair = pair_key(issuer);
    if state.row::<(Name, Name)>(&pair)?.is_some() {
        return Err(conflict("this issuer is registered with this audience already: use an audience of your own"));
    }
    put(out, pair, &(tenant, name))?;
    put(out, issuer_key(tenant, name), &IssuerRow { name: name.clone(), issuer: issuer.clone(), created_ms })
}

pub(super) fn remove_issuer(state: &State<'_>, out: &mut Changes, tenant: &Name, name: &Name) -> Result<()> {
    let row = state.issuer(tenant, name)?.ok_or_else(Fault::not_found)?;
    for revocation in state.revocations(tenant, name, usize::MAX)? {
        out.push((revocation_key(tenant, name, &revocation), None));
    }
    out.push((pair_key(&row.issuer), None));
    out.push((issuer_key(tenant, name), None));
    Ok(())
}

pub(super) fn set_revocation(
    state: &State<'_>,
    out: &mut Changes,
    (tenant, name): (&Name, &Name),
    revocation: &Revocation,
    revoked: bool,
) -> Result<()> {
    state.issuer(tenant, name)?.ok_or_else(Fault::not_found)?;
    let key = revocation_key(tenant, name, revocation);
    if revoked { put(out, key, revocation) } else { Ok(out.push((key, None))) }
}

pub(super) fn set_role(
    state: &State<'_>,
    out: &mut Changes,
    tenant: &Name,
    name: &Name,
    scopes: &[String],
    now_ms: u64,
) -> Result<()> {
    let created_ms = state.role(tenant, name)?.map_or(now_ms, |role| role.created_ms);
    put(out, role_key(tenant, name), &RoleRow { name: name.clone(), scopes: scopes.to_vec(), created_ms })
}

pub(super) fn delete_role(state: &State<'_>, out: &mut Changes, tenant: &Name, name: &Name) -> Result<()> {
    state.role(tenant, name)?.ok_or_else(Fault::not_found)?;
    out.push((role_key(tenant, name), None));
    Ok(())
}

fn issuers_key(tenant: &Name) -> Vec<u8> {
    keys::worded("issuer", &[tenant.as_str().as_bytes(), b""])
}

fn issuer_key(tenant: &Name, name: &Name) -> Vec<u8> {
    keys::worded("issuer", &[tenant.as_str().as_bytes(), name.as_str().as_bytes()])
}

fn roles_key(tenant: &Name) -> Vec<u8> {
    keys::worded("role", &[tenant.as_str().as_bytes(), b""])
}

fn role_key(tenant: &Name, name: &Name) -> Vec<u8> {
    keys::worded("role", &[tenant.as_str().as_bytes(), name.as_str().as_bytes()])
}

/// Neither holds a NUL: the platform refuses control characters in both.
fn pair_key(issuer: &Issuer) -> Vec<u8> {
    keys::worded("issuer-pair", &[issuer.issuer.as_bytes(), issuer.audience.as_bytes()])
}

fn revocations_key(tenant: &Name, issuer: &Name) -> Vec<u8> {
    keys::worded("issuer-revocation", &[tenant.as_str().as_bytes(), issuer.as_str().as_bytes(), b""])
}

fn revocation_key(tenant: &Name, issuer: &Name, revocation: &Revocation) -> Vec<u8> {
    let (kind, what) = match revocation {
        Revocation::Kid(kid) => ("k", kid),
        Revocation::Subject(subject) => ("s", subject),
    };
    [&revocations_key(tenant, issuer)[..], kind.as_bytes(), what.as_bytes()].concat()
}
