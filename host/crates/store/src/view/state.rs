//! Reading the state, committed or about to be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aimass_core::event::{Kind, Settings};
use aimass_core::{Digest, Name, Result, Tenant};
use serde::de::DeserializeOwned;

use super::index::Index;
use super::keys;
use super::rows::{DataKeyRow, IdempotentRow, ObjectRow, TenantRow, TokenRow, VersionRow};

/// Rows that are decided and not yet durable: `None` removes one.
pub(crate) type Pending = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A consistent look at the state: what is committed, and inside of [`Store::write`](crate::Store::write) also what
/// is decided and not yet durable.
///
/// Every read goes to the index; nothing is cached here. A state is cheap to get, and not to be kept: it follows the
/// commits that come after it, except inside of `write`, where nothing changes meanwhile.
pub struct State<'a> {
    index: Arc<Index>,
    pending: Option<&'a Pending>,
}

impl State<'static> {
    pub(crate) fn committed(index: Arc<Index>) -> Self {
        Self { index, pending: None }
    }
}

impl<'a> State<'a> {
    pub(crate) fn with(index: Arc<Index>, pending: &'a Pending) -> Self {
        Self { index, pending: Some(pending) }
    }

    /// A tenant, if there is one of that name.
    ///
    /// # Errors
    /// Like every read here: `internal` or `integrity` if the index cannot be read.
    pub fn tenant(&self, name: &Name) -> Result<Option<TenantRow>> {
        self.row(&keys::tenant(name))
    }

    /// At most `limit` tenants behind `after`, by name.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn tenants(&self, after: Option<&Name>, limit: usize) -> Result<Vec<TenantRow>> {
        self.rows(&keys::tenants(), after.map(keys::tenant), limit, |_| true)
    }

    /// Every tenant's data key, wrapped.
    pub(crate) fn data_keys(&self) -> Result<Vec<DataKeyRow>> {
        self.rows(&keys::all_data_keys(), None, usize::MAX, |_| true)
    }

    /// Whether a tenant has a data key.
    pub(crate) fn has_data_key(&self, tenant: &Name) -> Result<bool> {
        Ok(self.row::<DataKeyRow>(&keys::data_key(tenant))?.is_some())
    }

    /// A plugin or model, also one that was deleted (see [`ObjectRow::deleted`]).
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn object(&self, tenant: &Tenant, name: &Name) -> Result<Option<ObjectRow>> {
        self.object_of(tenant.name(), name)
    }

    /// At most `limit` plugins or models behind `after`, by name, without deleted ones.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn objects(&self, tenant: &Tenant, kind: Kind, after: Option<&Name>, limit: usize) -> Result<Vec<ObjectRow>> {
        let after = after.map(|n| keys::object(tenant.name(), n));
        self.rows(&keys::objects(tenant.name()), after, limit, |row: &ObjectRow| row.kind == kind && !row.deleted)
    }

    /// A version. Those of a deleted object are gone.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn version(&self, tenant: &Tenant, name: &Name, number: u64) -> Result<Option<VersionRow>> {
        self.row(&keys::version(tenant.name(), name, number))
    }

    /// At most `limit` versions behind number `after`, oldest first.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn versions(&self, tenant: &Tenant, name: &Name, after: Option<u64>, limit: usize) -> Result<Vec<VersionRow>> {
        let after = after.map(|n| keys::version(tenant.name(), name, n));
        self.rows(&keys::versions(tenant.name(), name), after, limit, |_| true)
    }

    /// A plugin's settings of before they were sealed; empty if there are none.
    pub(crate) fn plain_settings(&self, tenant: &Tenant, name: &Name) -> Result<Settings> {
        Ok(self.row(&keys::settings(tenant.name(), name))?.unwrap_or_default())
    }

    /// A token by its id.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn token(&self, jti: &str) -> Result<Option<TokenRow>> {
        self.row(&keys::token(jti))
    }

    /// At most `limit` tokens of a tenant behind `after`, by id; for `None` the operator's own.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn tokens(&self, tenant: Option<&Name>, after: Option<&str>, limit: usize) -> Result<Vec<TokenRow>> {
        let after = after.map(|jti| keys::token_of(tenant, jti));
        let mut tokens = Vec::new();
        let mut failed = None;
        self.scan(&keys::tokens_of(tenant), after, &mut |key, _| {
            let jti = &key[keys::tokens_of(tenant).len()..];
            match self.row([b"K", jti].concat().as_slice()) {
                Ok(row) => tokens.extend(row),
                Err(fault) => failed = Some(fault),
            }
            failed.is_none() && tokens.len() < limit
        })?;
        tokens.truncate(limit);
        failed.map_or(Ok(tokens), Err)
    }

    /// Ids of all revoked tokens, with when they end anyway (seconds since the epoch; `u64::MAX` if that is not
    /// known).
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn revoked(&self) -> Result<Vec<(String, u64)>> {
        self.rows(&keys::all_revoked(), None, usize::MAX, |_| true)
    }

    /// The version that an upload with this `Idempotency-Key` brought, if it still stands.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn idempotent(&self, tenant: &Tenant, key: &str) -> Result<Option<VersionRow>> {
        let found: Option<IdempotentRow> = self.row(&keys::idempotent(tenant.name(), key))?;
        found.map_or(Ok(None), |found| self.version(tenant, &found.name, found.version))
    }

    /// Every blob that a version, an upload under way, a data file or a job names, by tenant, with its size.
    pub(crate) fn live_blobs(&self) -> Result<BTreeMap<(String, Digest), u64>> {
        let mut live = BTreeMap::new();
        let mut failed = None;
        self.scan(&keys::all_versions(), None, &mut |key, value| {
            let tenant = key[1..].split(|&b| b == 0).next().unwrap_or_default();
            match decode::<VersionRow>(value) {
                Ok(row) => {
                    live.insert((String::from_utf8_lossy(tenant).into_owned(), row.digest), row.size);
                }
                Err(fault) => failed = Some(fault),
            }
            failed.is_none()
        })?;
        for row in self.uploads_under_way()? {
            live.insert((row.tenant.to_string(), row.digest), row.size);
        }
        for (tenant, digest, size) in self.trigger_blobs()? {
            live.insert((tenant.to_string(), digest), size);
        }
        self.data_blobs(&mut live)?;
        failed.map_or(Ok(live), Err)
    }

    /// The digests of all blobs that somebody's version, or upload under way, names.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn named_digests(&self) -> Result<BTreeSet<Digest>> {
        Ok(self.live_blobs()?.into_keys().map(|(_, digest)| digest).collect())
    }

    pub(super) fn object_of(&self, tenant: &Name, name: &Name) -> Result<Option<ObjectRow>> {
        self.row(&keys::object(tenant, name))
    }

    pub(super) fn row<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>> {
        match self.pending.and_then(|p| p.get(key)) {
            Some(value) => value.as_deref().map(decode).transpose(),
            None => self.index.get(key)?.map(|value| decode(&value)).transpose(),
        }
    }

    /// A row that is no JSON.
    pub(super) fn bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.pending.and_then(|p| p.get(key)) {
            Some(value) => Ok(value.clone()),
            None => Ok(self.index.get(key)?.map(|value| value.to_vec())),
        }
    }

    /// The keys of a tenant's rows, but for its own and those of its tokens.
    pub(super) fn keys_of(&self, tenant: &Name) -> Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        for prefix in keys::lettered(tenant) {
            self.scan(&prefix, None, &mut |key, _| {
                found.push(key.to_vec());
                true
            })?;
        }
        self.scan(&keys::all_tagged(), None, &mut |key, _| {
            found.extend(keys::is_tagged(key, tenant).then(|| key.to_vec()));
            true
        })?;
        Ok(found)
    }

    pub(super) fn rows<T: DeserializeOwned>(
        &self,
        prefix: &[u8],
        after: Option<Vec<u8>>,
        limit: usize,
        keep: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        if limit == 0 {
            return Ok(rows);
        }
        let mut failed = None;
        self.scan(prefix, after, &mut |_, value| {
            match decode(value) {
                Ok(row) if keep(&row) => rows.push(row),
                Ok(_) => {}
                Err(fault) => failed = Some(fault),
            }
            failed.is_none() && rows.len() < limit
        })?;
        failed.map_or(Ok(rows), Err)
    }

    /// Hands rows with `prefix` behind the key `after` to `visit`, in order, until it returns false: the index with
    /// what is pending laid over it.
    fn scan(&self, prefix: &[u8], after: Option<Vec<u8>>, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let start = after.map_or(Included(prefix.to_vec()), Excluded);
        let empty = Pending::new();
        let mut pending = self
            .pending
            .unwrap_or(&empty)
            .range((start.clone(), Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .peekable();
        for row in self.index.range(start) {
            let (key, value) = row?;
            if !key.starts_with(prefix) {
                break;
            }
            while let Some((pending_key, value)) = pending.next_if(|(k, _)| k.as_slice() < key.as_ref()) {
                if value.as_ref().is_some_and(|value| !visit(pending_key, value)) {
                    return Ok(());
                }
            }
            let go_on = match pending.next_if(|(k, _)| k.as_slice() == key.as_ref()) {
                Some((_, value)) => value.as_ref().is_none_or(|value| visit(&key, value)),
                None => visit(&key, &value),
            };
            if !go_on {
                return Ok(());
            }
        }
        for (key, value) in pending {
            if value.as_ref().is_some_and(|value| !visit(key, value)) {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T> {
    serde_json::from_slice(value).map_err(|e| {
        aimass_core::Fault::new(aimass_core::Code::Integrity, "the index is damaged; restart to rebuild it")
            .caused_by(e)
    })
}
