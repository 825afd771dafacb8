//! From a name to what a call needs, in memory: the hot path asks here and waits for no disk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aimass_core::event::{Device, Kind};
use aimass_core::limits::MAX_ALIASES;
use aimass_core::name::DEFAULT_ALIAS;
use aimass_core::seam::Configuration;
use aimass_core::{Code, Digest, Fault, Name, ObjectRef, Result, Selector, Signature, Tenant};
use aimass_store::{Store, VersionRow};
use quick_cache::sync::Cache;

use crate::deployments::{Live, Routing, only};
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
    /// What its aliases say.
    aliases: BTreeMap<Name, Arc<Live>>,
    /// What the name alone means, unless that is the newest version.
    default: Option<Arc<Live>>,
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

    /// Finds the version that `reference` means, and the alias that chose it, if one did.
    ///
    /// # Errors
    /// `not_found`; `invalid_request` for a routing that does not fit.
    pub(crate) fn resolve(
        &self,
        tenant: &Tenant,
        reference: &ObjectRef,
        routing: &Routing,
    ) -> Result<(Arc<Resolved>, Option<Arc<Live>>)> {
        let object = self.object(tenant, &reference.name)?;
        let live = match &reference.selector {
            Selector::Latest => object.default.as_ref(),
            Selector::Alias(alias) => Some(object.aliases.get(alias).ok_or_else(Fault::not_found)?),
            Selector::Version(_) => None,
        };
        if let Some(live) = live {
            return Ok((live.choose(routing)?.clone(), Some(live.clone())));
        }
        let version = match reference.selector {
            Selector::Version(number) => self.numbered(tenant, &object, number)?,
            _ => object.latest.clone(),
        };
        only(&version, routing)?;
        Ok((version, None))
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
        let latest = Arc::new(resolved(row, settings, object.public, record));
        let object = Object { latest, aliases: BTreeMap::new(), default: None, others: RwLock::default() };
        let version = |number| -> Result<Arc<Resolved>> {
            let version = self.numbered(tenant, &object, number)?;
            version.recorder.watch();
            Ok(version)
        };
        let mut aliases = BTreeMap::new();
        for row in state.aliases(tenant, name, None, MAX_ALIASES)? {
            let split = row.route.split.iter().map(|share| Ok((share.weight, version(share.version)?)));
            let shadow = row.route.shadow.map(version).transpose()?;
            let live = Live::new(name.clone(), row.alias.clone(), split.collect::<Result<_>>()?, shadow)?;
            aliases.insert(row.alias, Arc::new(live));
        }
        let default = aliases.iter().find(|(alias, _)| alias.as_str() == DEFAULT_ALIAS).map(|(_, live)| live.clone());
        Ok(Object { aliases, default, ..object })
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

    /// Checks that it is an HTTP function.
    ///
    /// # Errors
    /// `unsupported_operation`.
    pub(crate) fn is_function(&self) -> Result<()> {
        if self.kind == Kind::Plugin && self.http {
            return Ok(());
        }
        let detail = format!("`{}` is no HTTP function: call it under /v2/models", self.name);
        Err(Fault::new(Code::UnsupportedOperation, detail))
    }
}

#[cfg(test)]
impl Resolved {
    /// A model's version that nobody has uploaded.
    pub(crate) fn bare(name: Name, version: u64, record: &Arc<Record>) -> Self {
        Self {
            kind: record.kind,
            name,
            version,
            digest: Digest::of(b""),
            device: Device::Auto,
            signature: None,
            http: false,
            settings: Arc::new(aimass_core::event::Settings::new()),
            public: false,
            record: record.clone(),
            recorder: record.version(version),
        }
    }
}

fn resolved(row: VersionRow, settings: Arc<dyn Configuration>, public: bool, record: Arc<Record>) -> Resolved {
    let http = row.inspection.worlds.iter().any(|w| w.starts_with("wasi:http/"));
    let VersionRow { kind, name, version, digest, inspection, .. } = row;
    let (device, signature) = (inspection.device, inspection.signature);
    let recorder = record.version(version);
    Resolved { kind, name, version, digest, device, signature, http, settings, public, record, recorder }
}
