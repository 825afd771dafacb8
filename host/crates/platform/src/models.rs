//! Models: list, show, delete, and which of them are in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aimass_core::event::{Device, Inspection, Kind};
use aimass_core::{Code, Digest, Fault, Name, Result, Tenant};
use aimass_inference::process::{EngineProcesses, ModelKey, ProcessModel};
use aimass_inference::{DeviceInfo, Placement};
use aimass_store::Blobs;
use bytes::Bytes;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};
use serde::Serialize;

use crate::directory::Resolved;
use crate::limits::TenantsLimits;
use crate::objects::{ObjectDocument, ObjectSummary, Page, VersionDocument};
use crate::{Asked, Platform, Scope};

/// A model with its newest version, and where that runs.
#[derive(Clone, Debug, Serialize)]
pub struct ModelDocument {
    /// The model itself.
    #[serde(flatten)]
    pub object: ObjectDocument,
    /// Backend and device, and why not another one.
    pub placement: Arc<Placement>,
}

impl Platform {
    /// Lists the tenant's models by name.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn models(&self, asked: Asked<'_>, after: Option<&Name>, limit: Option<usize>) -> Result<Page<ObjectSummary>> {
        self.list_objects(asked.tenant(Scope::ModelsRead)?, Kind::Model, after, limit)
    }

    /// Shows a model with its newest version, loading it if it is not in memory.
    ///
    /// # Errors
    /// `not_found`, or what loading says.
    pub async fn model(&self, asked: Asked<'_>, name: &Name) -> Result<ModelDocument> {
        let tenant = asked.tenant(Scope::ModelsRead)?;
        let object = self.show_object(tenant, Kind::Model, name)?;
        let latest = &object.latest;
        let loaded = self.models.load(tenant, latest.digest, latest.inspection.device).await?;
        Ok(ModelDocument { placement: loaded.placement(), object })
    }

    /// The same as it is recorded: where it runs is not looked for, and nothing is loaded.
    ///
    /// # Errors
    /// `not_found`.
    pub fn model_record(&self, asked: Asked<'_>, name: &Name) -> Result<ObjectDocument> {
        self.show_object(asked.tenant(Scope::ModelsRead)?, Kind::Model, name)
    }

    /// Lists a model's versions by number.
    ///
    /// # Errors
    /// `not_found`.
    pub fn model_versions(
        &self,
        asked: Asked<'_>,
        name: &Name,
        after: Option<u64>,
        limit: Option<usize>,
    ) -> Result<Page<VersionDocument>> {
        self.list_versions(asked.tenant(Scope::ModelsRead)?, Kind::Model, name, after, limit)
    }

    /// Shows one version of a model.
    ///
    /// # Errors
    /// `not_found`.
    pub fn model_version(&self, asked: Asked<'_>, name: &Name, version: u64) -> Result<VersionDocument> {
        self.show_version(asked.tenant(Scope::ModelsRead)?, Kind::Model, name, version)
    }

    /// Deletes a model with all its versions. Calls under way finish.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn delete_model(&self, asked: Asked<'_>, name: &Name) -> Result<()> {
        self.delete_object(asked, Scope::ModelsWrite, Kind::Model, name).await
    }
}

/// The models in memory. The least recently used leave when the budget is used up, and come back on demand: first those
/// of a tenant that has used up its own part.
pub(crate) struct Residency {
    engines: Arc<EngineProcesses>,
    blobs: Blobs,
    loaded: Cache<Key, Arc<Resident>, ByMemory, DefaultHashBuilder, Evictions>,
    evictions: Evictions,
    limits: Arc<TenantsLimits>,
    /// Counts uses, to tell which one is older.
    uses: AtomicU64,
}

/// A model in memory.
struct Resident {
    model: Arc<ProcessModel>,
    /// The number of its last use.
    used: AtomicU64,
    /// Its size when it was put here. It grows with the shapes that it is called with; but what the cache adds to its
    /// sum it must take off it later, so a model of another size is put here anew.
    bytes: u64,
}

impl Resident {
    fn new(model: Arc<ProcessModel>, used: u64) -> Arc<Self> {
        Arc::new(Self { bytes: model.memory(), model, used: AtomicU64::new(used) })
    }
}

/// Per tenant, although two tenants' equal bytes could share a plan: what one loads must not tell another anything.
type Key = (Tenant, Digest, Device);

impl Residency {
    pub(crate) fn new(
        engines: Arc<EngineProcesses>,
        blobs: Blobs,
        budget: u64,
        limits: Arc<TenantsLimits>,
    ) -> Result<Self> {
        // The estimate only sizes the cache's table: a small model is a few MiB.
        let expected = usize::try_from(budget / (4 << 20)).unwrap_or(usize::MAX).clamp(16, 4096);
        let evictions = Evictions::default();
        let hasher = DefaultHashBuilder::default();
        let mut options = OptionsBuilder::new();
        // One shard: with more, each has its part of the budget, and a model that is larger than that never stays.
        options.estimated_items_capacity(expected).weight_capacity(budget).shards(1);
        let options = options.build().map_err(Fault::internal)?;
        let loaded = Cache::with_options(options, ByMemory { budget }, hasher, evictions.clone());
        Ok(Self { engines, blobs, loaded, evictions, limits, uses: AtomicU64::new(1) })
    }

    /// Takes a model out of memory. Calls under way keep it until they end.
    pub(crate) fn evict(&self, tenant: &Tenant, digest: Digest, device: Device) {
        self.loaded.remove(&(tenant.clone(), digest, device));
    }

    /// Takes all of a tenant's models out of memory.
    pub(crate) fn forget_tenant(&self, tenant: &Name) {
        self.loaded.retain(|(owner, ..), _| owner.name() != tenant);
    }

    /// Bytes that a model takes; none if it is not in memory.
    pub(crate) fn memory(&self, tenant: &Tenant, digest: Digest, device: Device) -> Option<u64> {
        // `peek`: being looked at is not being used.
        self.loaded.peek(&(tenant.clone(), digest, device)).map(|loaded| loaded.model.memory())
    }

    /// Models in memory, and the bytes that they take together.
    pub(crate) fn resident(&self) -> (usize, u64) {
        (self.loaded.len(), self.loaded.iter().map(|(_, loaded)| loaded.model.memory()).sum())
    }

    /// The devices that models can run on.
    pub(crate) async fn devices(&self) -> Result<Vec<DeviceInfo>> {
        self.engines.devices().await
    }

    /// How many models left for others, by whose they were: everybody's or one tenant's.
    pub(crate) fn evictions(&self, of: Option<&Tenant>) -> Vec<(Tenant, u64)> {
        let counts = self.evictions.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = counts.iter().filter(|(tenant, _)| of.is_none_or(|of| of == *tenant));
        wanted.map(|(tenant, &count)| (tenant.clone(), count)).collect()
    }

    /// What an upload must know: that it loads, its signature, and that the device asked for serves it.
    pub(crate) async fn inspect(&self, tenant: &Tenant, onnx: Bytes, device: Device) -> Result<Inspection> {
        self.check_size(tenant, onnx.len() as u64)?;
        let signature = self.engines.inspect(onnx.clone()).await?;
        if device == Device::Gpu {
            self.read_into_engine(tenant, onnx.clone(), device, &Digest::of(&onnx)).await?;
        }
        Ok(Inspection { worlds: vec![], imports: vec![], exports: vec![], signature: Some(signature), device })
    }

    /// The model, from memory or from its blob; concurrent loads of one model are one load.
    pub(crate) async fn load(&self, tenant: &Tenant, digest: Digest, device: Device) -> Result<Arc<ProcessModel>> {
        let key = (tenant.clone(), digest, device);
        // One whose engine died is loaded again.
        self.loaded.remove_if(&key, |loaded| !loaded.model.alive());
        let load = async {
            let onnx = self.blobs.read(tenant, &digest).await?;
            self.check_size(tenant, onnx.len() as u64)?;
            self.make_room(tenant.name(), onnx.len() as u64, None);
            let model = Arc::new(self.read_into_engine(tenant, onnx, device, &digest).await?);
            Ok::<_, Fault>(Resident::new(model, 0))
        };
        let resident = self.loaded.get_or_insert_async(&key, load).await?;
        let use_number = self.uses.fetch_add(1, Ordering::Relaxed);
        // The first use, or it has grown since.
        let first = resident.used.swap(use_number, Ordering::Relaxed) == 0;
        let grown = resident.model.memory() != resident.bytes;
        if grown {
            // Not put back if it was evicted meanwhile.
            let _ = self.loaded.replace(key.clone(), Resident::new(resident.model.clone(), use_number), false);
        }
        if first || grown {
            self.make_room(tenant.name(), 0, Some(&key));
        }
        Ok(resident.model.clone())
    }

    async fn read_into_engine(
        &self,
        tenant: &Tenant,
        onnx: Bytes,
        device: Device,
        digest: &Digest,
    ) -> Result<ProcessModel> {
        self.engines.set_weight(tenant.name().as_str(), self.limits.of(tenant.name()).weight);
        let loaded = self.engines.load(onnx, wanted(device), tenant.name().as_str(), model_key(tenant, digest)).await?;
        self.check_size(tenant, loaded.memory())?;
        Ok(loaded)
    }

    /// # Errors
    /// `invalid_model` for a model that takes more than all of its tenant's models may take together.
    fn check_size(&self, tenant: &Tenant, bytes: u64) -> Result<()> {
        match self.limits.of(tenant.name()).engine_memory {
            Some(limit) if bytes > limit => {
                let detail = format!(
                    "the model takes {} MiB of the inference engine's memory, and the tenant's models may take {} MiB \
                     together",
                    bytes.div_ceil(1 << 20),
                    limit >> 20
                );
                Err(Fault::new(Code::InvalidModel, detail))
            }
            _ => Ok(()),
        }
    }

    /// Takes a tenant's least recently used models out of memory until what stays, and `bytes` more, fit into its part.
    /// The one with key `but` stays in any case: it is about to run.
    fn make_room(&self, tenant: &Name, bytes: u64, but: Option<&Key>) {
        let Some(limit) = self.limits.of(tenant).engine_memory else { return };
        let mut own: Vec<(Key, Arc<Resident>)> = self.loaded.iter().filter(|(key, _)| key.0.name() == tenant).collect();
        let mut taken = own.iter().map(|(_, resident)| resident.model.memory()).fold(bytes, u64::saturating_add);
        own.sort_by_key(|(_, resident)| resident.used.load(Ordering::Relaxed));
        for (key, resident) in own {
            if taken <= limit {
                return;
            }
            if but != Some(&key) && self.loaded.remove(&key).is_some() {
                self.evictions.count(key.0);
                taken = taken.saturating_sub(resident.model.memory());
            }
        }
    }

    /// A tenant's limits are others now.
    pub(crate) fn limits_changed(&self, tenant: &Name) {
        self.engines.set_weight(tenant.as_str(), self.limits.of(tenant).weight);
        self.make_room(tenant, 0, None);
    }

    pub(crate) async fn load_resolved(&self, tenant: &Tenant, resolved: &Resolved) -> Result<Arc<ProcessModel>> {
        self.load(tenant, resolved.digest, resolved.device).await
    }

    /// A model that is nobody's version: a guest brought its bytes, which are read like an upload's.
    pub(crate) async fn load_bytes(&self, tenant: &Tenant, onnx: Bytes) -> Result<Arc<ProcessModel>> {
        self.check_size(tenant, onnx.len() as u64)?;
        self.engines.inspect(onnx.clone()).await?;
        let digest = Digest::of(&onnx);
        self.read_into_engine(tenant, onnx, Device::Auto, &digest).await.map(Arc::new)
    }
}

/// What a model is known by when an engine dies of it.
fn model_key(tenant: &Tenant, digest: &Digest) -> ModelKey {
    format!("{}/{digest}", tenant.name()).into()
}

fn wanted(device: Device) -> aimass_inference::Device {
    match device {
        Device::Auto => aimass_inference::Device::Auto,
        Device::Cpu => aimass_inference::Device::Cpu,
        Device::Gpu => aimass_inference::Device::Gpu,
    }
}

/// Counts models that leave because others need the room. That is rare, and follows a load of many milliseconds.
#[derive(Clone, Default)]
struct Evictions(Arc<Mutex<HashMap<Tenant, u64>>>);

impl Evictions {
    fn count(&self, tenant: Tenant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(tenant).or_default() += 1;
    }
}

impl Lifecycle<Key, Arc<Resident>> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), (tenant, ..): Key, _: Arc<Resident>) {
        self.count(tenant);
    }
}

#[derive(Clone)]
struct ByMemory {
    budget: u64,
}

impl Weighter<Key, Arc<Resident>> for ByMemory {
    fn weight(&self, _: &Key, loaded: &Arc<Resident>) -> u64 {
        // One that is larger than the budget stays alone rather than be loaded at every call.
        loaded.bytes.clamp(1, self.budget.max(1))
    }
}
