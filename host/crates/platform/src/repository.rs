//! The model repository as the Open Inference Protocol sees it: what there is, what is ready, what it cost.

use aimass_core::event::Kind;
use aimass_core::{Code, Fault, Name, ObjectRef, Result, Selector, Tenant};
use aimass_store::VersionRow;

use crate::calls::Servable;
use crate::statistics::Counts;
use crate::{Caller, Platform, Scope};

/// One version in the repository's index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The model's or plugin's name.
    pub name: Name,
    /// The version's number.
    pub version: u64,
    /// Whether it can serve: from memory, or by being loaded on demand.
    pub ready: bool,
    /// Why not.
    pub reason: &'static str,
}

/// What one version has done so far.
#[derive(Clone, Debug)]
pub struct VersionStatistics {
    /// Whose.
    pub tenant: Tenant,
    /// The model's or plugin's name.
    pub name: Name,
    /// The version's number.
    pub version: u64,
    /// Its counts.
    pub counts: Counts,
    /// Bytes of memory that the loaded model takes; none if it is not in memory, or a plugin: between calls that has
    /// nothing but its code, mapped from a file.
    pub memory: Option<u64>,
}

/// What metrics tell of a tenant, or of all of them.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Every version that was ever asked for.
    pub versions: Vec<VersionStatistics>,
    /// How many models left memory because others needed the room, by whose they were.
    pub evictions: Vec<(Tenant, u64)>,
}

/// The models in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Residents {
    /// How many.
    pub models: usize,
    /// Bytes that they take together.
    pub bytes: u64,
    /// How many ever left because others needed the room.
    pub evictions: u64,
}

const UNLOADED: &str = "unloaded";

impl Platform {
    /// Every version that the caller may call. Plugins that are only HTTP functions are not among them.
    ///
    /// # Errors
    /// `insufficient_scope`, or what reading the store says.
    pub fn index(&self, by: &Caller) -> Result<Vec<IndexEntry>> {
        let tenant = by.tenant()?;
        let mut entries = vec![];
        for (name, kind) in self.callable(by)? {
            let unloaded = self.records.get(tenant, &name).is_some_and(|record| record.unloaded());
            let rows = self.store.state().versions(tenant, &name, None, usize::MAX)?;
            let served = rows.into_iter().filter(|row| row.kind == kind && row.inspection.signature.is_some());
            entries.extend(served.map(|row| IndexEntry {
                name: name.clone(),
                version: row.version,
                ready: !unloaded,
                reason: if unloaded { UNLOADED } else { "" },
            }));
        }
        Ok(entries)
    }

    /// Takes it out of memory, with all its versions. It is not ready then until it is loaded, or called: a call loads
    /// it. Calls under way finish. This node remembers that as long as it runs.
    ///
    /// # Errors
    /// `not_found`; `insufficient_scope`: this takes what changing it takes.
    pub fn unload(&self, by: &Caller, name: &Name) -> Result<()> {
        let servable = self.servable(by, &ObjectRef { name: name.clone(), selector: Selector::Latest })?;
        by.require(match servable.kind() {
            Kind::Plugin => Scope::PluginsWrite,
            Kind::Model => Scope::ModelsWrite,
        })?;
        servable.signature()?;
        let tenant = by.tenant()?;
        // Marked first: a call that comes in between takes the mark away, and may stay in memory.
        servable.0.record.set_unloaded(true);
        if servable.kind() == Kind::Model {
            for row in self.store.state().versions(tenant, name, None, usize::MAX)? {
                self.models.evict(tenant, row.digest, row.inspection.device);
            }
        }
        Ok(())
    }

    /// Checks that it can serve, loading what is not in memory.
    ///
    /// # Errors
    /// `conflict` if it was unloaded; what loading says.
    pub async fn check_ready(&self, by: &Caller, servable: &Servable) -> Result<()> {
        if servable.0.record.unloaded() {
            let detail = format!("`{}` was unloaded; load it, or call it", servable.name());
            return Err(Fault::new(Code::Conflict, detail));
        }
        self.load(by, servable).await
    }

    /// The statistics of one version, of all that a name has, or of everything that the caller may call.
    ///
    /// Versions that were never asked for are left out, but for the newest.
    ///
    /// # Errors
    /// `not_found`, `insufficient_scope`, or what reading the store says.
    pub fn statistics(&self, by: &Caller, of: Option<(&Name, Option<u64>)>) -> Result<Vec<VersionStatistics>> {
        let tenant = by.tenant()?;
        let Some((name, version)) = of else {
            let mut all = vec![];
            for (name, kind) in self.callable(by)? {
                all.extend(self.statistics_of(tenant, &name, kind)?);
            }
            return Ok(all);
        };
        let selector = version.map_or(Selector::Latest, Selector::Version);
        let servable = self.servable(by, &ObjectRef { name: name.clone(), selector })?;
        servable.signature()?;
        let mut all = self.statistics_of(tenant, name, servable.kind())?;
        all.retain(|row| version.is_none_or(|version| version == row.version));
        Ok(all)
    }

    /// The statistics of all that was ever asked for: the operator's, or a tenant's.
    ///
    /// # Errors
    /// `insufficient_scope` if the token may neither see nor call anything.
    pub fn observed(&self, by: &Caller) -> Result<Observed> {
        let tenant = if by.require(Scope::Operator).is_ok() { None } else { Some(by.tenant()?) };
        let sees = |kind| match kind {
            Kind::Plugin => by.require(Scope::PluginsRead).or(by.require(Scope::PluginsInvoke)),
            Kind::Model => by.require(Scope::ModelsRead).or(by.require(Scope::ModelsInvoke)),
        };
        if tenant.is_some() {
            sees(Kind::Plugin).or(sees(Kind::Model))?;
        }
        let mut versions = vec![];
        for (owner, name, record) in self.records.list(tenant) {
            if tenant.is_none() || sees(record.kind).is_ok() {
                for (version, counts) in record.counts() {
                    let row = self.store.state().version(&owner, &name, version)?;
                    // Of plugins that are only HTTP functions nothing is counted here.
                    let Some(row) = row.filter(|row| row.inspection.signature.is_some()) else { continue };
                    let memory = self.resident_memory(&owner, &row);
                    let (tenant, name) = (owner.clone(), name.clone());
                    versions.push(VersionStatistics { tenant, name, version, counts, memory });
                }
            }
        }
        Ok(Observed { versions, evictions: self.models.evictions(tenant) })
    }

    /// What models cost this node in memory, without anybody's name.
    pub fn residency(&self) -> Residents {
        let (models, bytes) = self.models.resident();
        Residents { models, bytes, evictions: self.models.evictions(None).iter().map(|(_, count)| count).sum() }
    }

    /// The names that the caller may call, with their kind.
    fn callable(&self, by: &Caller) -> Result<Vec<(Name, Kind)>> {
        self.may_call(by)?;
        let tenant = by.tenant()?;
        let mut names = vec![];
        for (kind, scope) in [(Kind::Plugin, Scope::PluginsInvoke), (Kind::Model, Scope::ModelsInvoke)] {
            if by.require(scope).is_ok() {
                let rows = self.store.state().objects(tenant, kind, None, usize::MAX)?;
                names.extend(rows.into_iter().map(|row| (row.name, kind)));
            }
        }
        names.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(names)
    }

    fn statistics_of(&self, tenant: &Tenant, name: &Name, kind: Kind) -> Result<Vec<VersionStatistics>> {
        let state = self.store.state();
        let record = self.records.get(tenant, name).filter(|record| record.kind == kind);
        let mut known: std::collections::BTreeMap<u64, Counts> =
            record.map(|record| record.counts()).unwrap_or_default().into_iter().collect();
        if let Some(object) = state.object(tenant, name)? {
            known.entry(object.latest).or_default();
        }
        let mut all = vec![];
        for (version, counts) in known {
            if let Some(row) = state.version(tenant, name, version)?.filter(|row| row.inspection.signature.is_some()) {
                let memory = self.resident_memory(tenant, &row);
                all.push(VersionStatistics { tenant: tenant.clone(), name: name.clone(), version, counts, memory });
            }
        }
        Ok(all)
    }

    fn resident_memory(&self, tenant: &Tenant, row: &VersionRow) -> Option<u64> {
        self.models.memory(tenant, row.digest, row.inspection.device)
    }
}
