//! Tenants that were erased: their rows go, and their names are never given again.

use aimass_core::event::{DataKeysRewrapped, TenantErased};
use aimass_core::{Fault, Name, Result};
use serde::{Deserialize, Serialize};

use super::apply::{Changes, must_exist, put};
use super::rows::{DataKeyRow, TokenRow};
use super::state::State;
use super::{identity, keys};

/// What is left of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ErasedRow {
    tenant: Name,
    /// When, milliseconds since the epoch.
    erased_ms: u64,
}

impl State<'_> {
    /// Tenants that were erased.
    pub(crate) fn erased_tenants(&self) -> Result<Vec<Name>> {
        let rows: Vec<ErasedRow> = self.rows(&all(), None, usize::MAX, |_| true)?;
        Ok(rows.into_iter().map(|row| row.tenant).collect())
    }

    /// Whether there was a tenant of that name that is erased.
    pub(super) fn is_erased(&self, tenant: &Name) -> Result<bool> {
        Ok(self.row::<ErasedRow>(&erased(tenant))?.is_some())
    }
}

/// Every data key that is named was wrapped anew.
pub(super) fn rewrap(state: &State<'_>, out: &mut Changes, rewrapped: &DataKeysRewrapped) -> Result<()> {
    for (tenant, key) in &rewrapped.keys {
        if !state.has_data_key(tenant)? {
            return Err(Fault::not_found());
        }
        let (ring, generation) = (rewrapped.ring.clone(), rewrapped.generation);
        put(out, keys::data_key(tenant), &DataKeyRow { tenant: tenant.clone(), ring, generation, key: key.clone() })?;
    }
    Ok(())
}

/// A tenant's rows go. Its tokens stay revoked for as long as they would be good.
pub(super) fn erase(state: &State<'_>, out: &mut Changes, event: &TenantErased, erased_ms: u64) -> Result<()> {
    let tenant = &event.tenant;
    if !state.has_data_key(tenant)? {
        must_exist(state, tenant)?;
    }
    for TokenRow { jti, expires, .. } in state.tokens(Some(tenant), None, usize::MAX)? {
        out.push((keys::token(&jti), None));
        put(out, keys::revoked(&jti), &(jti, expires))?;
    }
    for row in state.issuers(tenant, None, usize::MAX)? {
        // The one row of a tenant's that does not stand under its name.
        identity::remove_issuer(state, out, tenant, &row.name)?;
    }
    for key in state.keys_of(tenant)? {
        out.push((key, None));
    }
    out.push((keys::tenant(tenant), None));
    put(out, erased(tenant), &ErasedRow { tenant: tenant.clone(), erased_ms })?;
    rewrap(state, out, &event.others)
}

fn all() -> Vec<u8> {
    b"\x01erased\0".to_vec()
}

fn erased(tenant: &Name) -> Vec<u8> {
    keys::tagged("erased", tenant)
}
