//! From a name to what a call needs, in memory: the hot path asks here and waits for no disk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aimass_core::event::{Device, Kind};
use aimass_core::seam::Configuration;
use aimass_core::{Code, Digest, Fault, Name, ObjectRef, Result, Selector, Signature, Tenant};
use aimass_store::{Store, VersionRow};
use quick_cache::sync::Cache;

use crate::statistics::{Record, Recorder, Records};

/// Names that are kept in memory; further ones cost a look-up in the index.
const NAMES: usize = 10_000;

/// What a call needs to know of a version.
pub(crate) struct Resolved {
    pub(crate) kind: Kind,
    pub(crate) name: Name,
    pub(crate) version: u64,
    pub(crate) digest: Digest,
    pub(crate) device: Device,
    /// What it takes and gives; none for a plugin that is only an HTTP function.
    pub(crate) signature: Option<Signature>,
    pub(crate) http: bool,
    /// Settings and secrets, sealed.
    pub(crate) settings: Arc<dyn Configuration>,
    pub(crate) public: bool,
    /// What is remembered of the name.
    pub(crate) record: Arc<Record>,
    /// Counts this version's calls.
    pub(crate) recorder: Arc<Recorder>,
}

struct Object {
    latest: Arc<Resolved>,
    /// Versions that were asked for by number.
    others: RwLock<BTreeMap<u64, Arc<Resolved>>>,
}

/// A cache of the view. What changes a name calls [`Directory::forget`] before it answers.
pub(crate) struct Directory {
    store: Store,
    records: Arc<Records>,
    objects: Cache<(Tenant, Name), Arc<Object>>,
    /// Counts changes, so that a row that was read before one is not kept after it.
    changes: AtomicU64,
}

impl Directory {
    pub(crate) fn new(store: Store, records: Arc<Records>) -> Self {
        Self { store, records, objects: Cache::new(NAMES), changes: AtomicU64::new(0) }
    }

    /// Finds the version that `reference` means.
    ///
    /// # Errors
    /// `not_found`.
    pub(crate) fn resolve(&self, tenant: &Tenant, reference: &ObjectRef) -> Result<Arc<Resolved>> {
        let object = self.object(tenant, &reference.name)?;
        match reference.selector {
            Selector::Latest => Ok(object.latest.clone()),
            Selector::Version(number) => self.numbered(tenant, &object, number),
            // Aliases cannot be made yet, so there is none of that name.
            Selector::Alias(_) => Err(Fault::not_found()),
        }
    }

    /// Drops what is known of a name. The next call reads the view.
    pub(crate) fn forget(&self, tenant: &Tenant, name: &Name) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.objects.remove(&(tenant.clone(), name.clone()));
    }

    /// Drops what is known of a tenant's names.
    pub(crate) fn forget_tenant(&self, tenant: &Name) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.objects.retain(|(owner, _), _| owner.name() != tenant);
    }

    fn object(&self, tenant: &Tenant, name: &Name) -> Result<Arc<Object>> {
        let key = (tenant.clone(), name.clone());
        if let Some(object) = self.objects.get(&key) {
            return Ok(object);
        }
        let before = self.changes.load(Ordering::SeqCst);
        let object = Arc::new(self.read(tenant, name)?);
        self.objects.insert(key.clone(), object.clone());
        // A change may have come between the read and the insertion. `forget` counts first and removes then: either
        // the count differs here, or the removal comes after this insertion.
        if self.changes.load(Ordering::SeqCst) != before {
            self.objects.remove(&key);
        }
        Ok(object)
    }

    fn numbered(&self, tenant: &Tenant, object: &Object, number: u64) -> Result<Arc<Resolved>> {
        if object.latest.version == number {
            return Ok(object.latest.clone());
        }
        if let Some(found) = object.others.read().unwrap_or_else(PoisonError::into_inner).get(&number) {
            return Ok(found.clone());
        }
        let latest = &object.latest;
        let row = self.store.state().version(tenant, &latest.name, number)?.ok_or_else(Fault::not_found)?;
        let resolved = Arc::new(resolved(row, latest.settings.clone(), latest.public, latest.record.clone()));
        object.others.write().unwrap_or_else(PoisonError::into_inner).insert(number, resolved.clone());
        Ok(resolved)
    }

    fn read(&self, tenant: &Tenant, name: &Name) -> Result<Object> {
        let state = self.store.state();
        let object = state.object(tenant, name)?.filter(|o| !o.deleted).ok_or_else(Fault::not_found)?;
        let row = state.version(tenant, name, object.latest)?.ok_or_else(Fault::not_found)?;
        let settings = Arc::new(self.store.configuration(tenant, name, None)?);
        let record = self.records.of(tenant, name, row.kind);
        Ok(Object { latest: Arc::new(resolved(row, settings, object.public, record)), others: RwLock::default() })
    }
}

impl Resolved {
    /// Its signature.
    ///
    /// # Errors
    /// `unsupported_operation` for a plugin that is only an HTTP function.
    pub(crate) fn signature(&self) -> Result<&Signature> {
        self.signature.as_ref().ok_or_else(|| {
            let detail = format!("`{}` is an HTTP function, not a model: call it under /fn", self.name);
            Fault::new(Code::UnsupportedOperation, detail)
        })
    }
}

fn resolved(row: VersionRow, settings: Arc<dyn Configuration>, public: bool, record: Arc<Record>) -> Resolved {
    let http = row.inspection.worlds.iter().any(|w| w.starts_with("wasi:http/"));
    let VersionRow { kind, name, version, digest, inspection, .. } = row;
    let (device, signature) = (inspection.device, inspection.signature);
    let recorder = record.version(version);
    Resolved { kind, name, version, digest, device, signature, http, settings, public, record, recorder }
}
