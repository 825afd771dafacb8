//! What the view tells of a tenant's quotas: what it stores, and of what it was warned.

use std::collections::BTreeMap;

use aimass_core::event::{Event, Kind, QuotaWarning};
use aimass_core::{Digest, Name, Result, Tenant};

use super::apply::{Changes, must_exist, put};
use super::rows::{ObjectRow, VersionRow};
use super::state::State;

/// What a tenant stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Bytes of all versions; of equal ones, once.
    pub bytes: u64,
    /// Plugins.
    pub plugins: u64,
    /// Models.
    pub models: u64,
}

fn warned(tenant: &Name, quota: &str) -> Vec<u8> {
    [b"\x01quota-warned\0", tenant.as_str().as_bytes(), b"\0", quota.as_bytes()].concat()
}

/// The rows of one letter that are a tenant's.
fn of(letter: &[u8], tenant: &Tenant) -> Vec<u8> {
    [letter, tenant.name().as_str().as_bytes(), b"\0"].concat()
}

impl State<'_> {
    /// What the tenant stores. It looks at every version.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn stored(&self, tenant: &Tenant) -> Result<Stored> {
        let mut stored = Stored::default();
        for row in self.rows::<ObjectRow>(&of(b"O", tenant), None, usize::MAX, |row: &ObjectRow| !row.deleted)? {
            match row.kind {
                Kind::Plugin => stored.plugins += 1,
                Kind::Model => stored.models += 1,
            }
        }
        stored.bytes = self.stored_blobs(tenant)?.values().sum();
        Ok(stored)
    }

    /// The tenant's distinct bytes, with how many they are.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn stored_blobs(&self, tenant: &Tenant) -> Result<BTreeMap<Digest, u64>> {
        let versions = self.rows::<VersionRow>(&of(b"V", tenant), None, usize::MAX, |_| true)?;
        Ok(versions.into_iter().map(|row| (row.digest, row.size)).collect())
    }

    /// The last warning about a quota.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn quota_warning(&self, tenant: &Name, quota: &str) -> Result<Option<QuotaWarning>> {
        self.row(&warned(tenant, quota))
    }
}

/// What an event of quotas changes.
pub(super) fn changes(state: &State<'_>, event: &Event, out: &mut Changes) -> Result<()> {
    if let Event::QuotaWarned { tenant, warning } = event {
        must_exist(state, tenant)?;
        put(out, warned(tenant, &warning.quota), warning)?;
    }
    Ok(())
}
