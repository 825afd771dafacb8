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
#[derive(Clone)]
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
    /// The number of those; 0 for none.
    pub(crate) configuration: u64,
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

    /// The same version with the configuration of that number; as it is without one.
    ///
    /// # Errors
    /// `not_found` if that is gone: what something runs with is kept, so the plugin went meanwhile.
    pub(crate) fn with_configuration(
        &self,
        tenant: &Tenant,
        version: Arc<Resolved>,
        number: Option<u64>,
    ) -> Result<Arc<Resolved>> {
        let Some(number) = number.filter(|number| *number != version.configuration) else { return Ok(version) };
        let settings = self.store.configuration(tenant, &version.name, Some(number))?;
        Ok(Arc::new(Resolved { settings: Arc::new(settings), configuration: number, ..(*version).clone() }))
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
        let settings = (latest.settings.clone(), latest.configuration);
        let resolved = Arc::new(resolved(row, settings, latest.public, latest.record.clone()));
        object.others.write().unwrap_or_else(PoisonError::into_inner).insert(number, resolved.clone());
        Ok(resolved)
    }

    fn read(&self, tenant: &Tenant, name: &Name) -> Result<Object> {
        let state = self.store.state();
        let object = state.object(tenant, name)?.filter(|o| !o.deleted).ok_or_else(Fault::not_found)?;
        let row = state.version(tenant, name, object.latest)?.ok_or_else(Fault::not_found)?;
        let settings = self.store.configuration(tenant, name, None)?;
        let number = settings.row().number;
        let record = self.records.of(tenant, name, row.kind);
        let latest = Arc::new(resolved(row, (Arc::new(settings), number), object.public, record));
        let object = Object { latest, aliases: BTreeMap::new(), default: None, others: RwLock::default() };
        let version = |number, configuration| -> Result<Arc<Resolved>> {
            let version = self.numbered(tenant, &object, number)?;
            version.recorder.watch();
            self.with_configuration(tenant, version, configuration)
        };
        let mut aliases = BTreeMap::new();
        for row in state.aliases(tenant, name, None, MAX_ALIASES)? {
            let split =
                row.route.split.iter().map(|share| Ok((share.weight, version(share.version, share.configuration)?)));
            let shadow = row.route.shadow.map(|shadow| version(shadow, row.route.shadow_configuration)).transpose()?;
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
            configuration: 0,
            public: false,
            record: record.clone(),
            recorder: record.version(version),
        }
    }
}

fn resolved(
    row: VersionRow,
    (settings, configuration): (Arc<dyn Configuration>, u64),
    public: bool,
    record: Arc<Record>,
) -> Resolved {
    let http = row.inspection.worlds.iter().any(|w| w.starts_with("wasi:http/"));
    let VersionRow { kind, name, version, digest, inspection, .. } = row;
    let (device, signature) = (inspection.device, inspection.signature);
    let recorder = record.version(version);
    Resolved { kind, name, version, digest, device, signature, http, settings, configuration, public, record, recorder }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use aimass_core::event::{
        Actor, AliasSet, Change, Deployment, Event, Inspection, Provenance, Route, Settings, Share,
    };
    use aimass_store::seal_settings;

    use super::*;

    async fn record(store: &Store, event: Event) {
        store.write(Actor::system(), move |_| Ok((Some(event), ()))).await.unwrap();
    }

    #[tokio::test]
    async fn an_alias_of_an_older_record_serves_with_the_newest_settings() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), dir.path().join("key").as_path()).unwrap();
        let (tenant, name): (Name, Name) = ("acme".parse().unwrap(), "p".parse().unwrap());
        let acme = Tenant::vouched_for(tenant.clone());
        record(&store, Event::TenantCreated { tenant: tenant.clone() }).await;
        let created = Event::VersionCreated {
            tenant: tenant.clone(),
            kind: Kind::Plugin,
            name: name.clone(),
            version: 1,
            digest: Digest::of(b""),
            size: 0,
            inspection: serde_json::from_str::<Inspection>("{}").unwrap(),
            idempotency_key: None,
            provenance: Provenance::default(),
        };
        record(&store, created).await;
        let seal = store.seal(&acme).await.unwrap();
        for (alias, configuration) in [("old", None), ("first", Some(1)), ("bare", Some(0))] {
            if alias == "first" {
                let sealed = Some(seal_settings(&seal, &name, 1, &Settings::new()).unwrap());
                let (tenant, name, settings) = (tenant.clone(), name.clone(), Settings::new());
                record(&store, Event::SettingsReplaced { tenant, name, settings, number: 1, sealed }).await;
            }
            let split = vec![Share { configuration, ..Share::new(1, 1) }];
            let route = Route { split, shadow: None, shadow_configuration: None, canary: None };
            let deployment = Deployment { route, change: Change::Set, restores: None, gate: None, seen: vec![] };
            let (tenant, name, alias) = (tenant.clone(), name.clone(), alias.parse().unwrap());
            record(&store, Event::AliasSet(AliasSet { tenant, name, alias, deployment })).await;
        }
        let settings = Settings::from([("v".to_owned(), "new".to_owned())]);
        let sealed = Some(seal_settings(&seal, &name, 2, &settings).unwrap());
        let replaced = Event::SettingsReplaced { tenant, name, settings: Settings::new(), number: 2, sealed };
        record(&store, replaced).await;

        let directory = Directory::new(store, Arc::default());
        let of = |reference: &str| {
            let (resolved, _) = directory.resolve(&acme, &reference.parse().unwrap(), &Routing::default()).unwrap();
            let values = resolved.settings.open().unwrap();
            (resolved.configuration, values.get("v").map(str::to_owned))
        };
        let new = || Some("new".to_owned());
        assert_eq!((of("p"), of("p@1"), of("p:old")), ((2, new()), (2, new()), (2, new())));
        assert_eq!((of("p:first"), of("p:bare")), ((1, None), (0, None)));
    }
}
