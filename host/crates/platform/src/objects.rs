//! What plugins and models have in common: names, versions, lists.

use aimass_core::event::{Event, Inspection, Kind, Provenance};
use aimass_core::{Digest, Fault, Name, Result, Tenant};
use aimass_store::{ObjectRow, VersionRow};
use serde::Serialize;

use crate::{Asked, Platform, Scope};

/// Rows of a page, unless fewer are asked for.
pub(crate) const PAGE: usize = 100;

/// One page of a list.
#[derive(Clone, Debug, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Give it as `after` for the next page; none on the last one.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page of the first `limit` of `rows`, which hold one more if there is a next page.
    pub(crate) fn cut(rows: impl Iterator<Item = T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let mut items: Vec<T> = rows.collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(cursor);
        Self { items, next }
    }
}

/// A plugin or model in a list.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectSummary {
    /// Its name.
    pub name: Name,
    /// Plugin or model.
    pub kind: Kind,
    /// The newest version.
    pub latest_version: u64,
    /// When it was created, milliseconds since the epoch.
    pub created_ms: u64,
    /// Whether anybody may call it at `/fn` without a token.
    pub public: bool,
}

impl From<ObjectRow> for ObjectSummary {
    fn from(row: ObjectRow) -> Self {
        Self {
            name: row.name,
            kind: row.kind,
            latest_version: row.latest,
            created_ms: row.created_ms,
            public: row.public,
        }
    }
}

/// One version of a plugin or model.
#[derive(Clone, Debug, Serialize)]
pub struct VersionDocument {
    /// The object's name.
    pub name: Name,
    /// Plugin or model.
    pub kind: Kind,
    /// Its number, from 1.
    pub version: u64,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// When it was uploaded, milliseconds since the epoch.
    pub created_ms: u64,
    /// By whom.
    pub created_by: String,
    /// What validation found: worlds, imports, exports, signature.
    #[serde(flatten)]
    pub inspection: Inspection,
    /// Who signed it, what it newly imports, which upload brought it.
    #[serde(flatten)]
    pub provenance: Provenance,
}

impl From<VersionRow> for VersionDocument {
    fn from(row: VersionRow) -> Self {
        let VersionRow { kind, name, version, digest, size, inspection, created_ms, created_by, provenance, .. } = row;
        Self { name, kind, version, digest, size, created_ms, created_by, inspection, provenance }
    }
}

/// A plugin or model with its newest version.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectDocument {
    /// The object itself.
    #[serde(flatten)]
    pub summary: ObjectSummary,
    /// Its newest version.
    pub latest: VersionDocument,
}

impl Platform {
    pub(crate) fn list_objects(
        &self,
        tenant: &Tenant,
        kind: Kind,
        after: Option<&Name>,
        limit: Option<usize>,
    ) -> Result<Page<ObjectSummary>> {
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let rows = self.store.state().objects(tenant, kind, after, limit + 1)?;
        Ok(Page::cut(rows.into_iter().map(Into::into), limit, |o: &ObjectSummary| o.name.to_string()))
    }

    pub(crate) fn show_object(&self, tenant: &Tenant, kind: Kind, name: &Name) -> Result<ObjectDocument> {
        let row = self.object_row(tenant, kind, name)?;
        let latest = self.version_row(tenant, name, row.latest)?;
        Ok(ObjectDocument { summary: row.into(), latest: latest.into() })
    }

    pub(crate) fn list_versions(
        &self,
        tenant: &Tenant,
        kind: Kind,
        name: &Name,
        after: Option<u64>,
        limit: Option<usize>,
    ) -> Result<Page<VersionDocument>> {
        self.object_row(tenant, kind, name)?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let rows = self.store.state().versions(tenant, name, after, limit + 1)?;
        Ok(Page::cut(rows.into_iter().map(Into::into), limit, |v: &VersionDocument| v.version.to_string()))
    }

    pub(crate) fn show_version(
        &self,
        tenant: &Tenant,
        kind: Kind,
        name: &Name,
        version: u64,
    ) -> Result<VersionDocument> {
        self.object_row(tenant, kind, name)?;
        Ok(self.version_row(tenant, name, version)?.into())
    }

    /// Deletes an object with all its versions. Calls under way finish; new ones find nothing.
    pub(crate) async fn delete_object(&self, asked: Asked<'_>, scope: Scope, kind: Kind, name: &Name) -> Result<()> {
        let tenant = asked.tenant(scope)?;
        let (owner, wanted) = (tenant.clone(), name.clone());
        self.store
            .write(asked.actor(), move |state| {
                state.object(&owner, &wanted)?.filter(|row| live(row, kind)).ok_or_else(Fault::not_found)?;
                Ok((Some(Event::ObjectDeleted { tenant: owner.name().clone(), name: wanted }), ()))
            })
            .await?;
        self.directory.forget(tenant, name);
        self.records.forget(tenant, name);
        self.logs.forget(tenant, name);
        self.rollouts.forget(tenant, name);
        Ok(())
    }

    pub(crate) fn object_row(&self, tenant: &Tenant, kind: Kind, name: &Name) -> Result<ObjectRow> {
        self.store.state().object(tenant, name)?.filter(|row| live(row, kind)).ok_or_else(Fault::not_found)
    }

    fn version_row(&self, tenant: &Tenant, name: &Name, version: u64) -> Result<VersionRow> {
        self.store.state().version(tenant, name, version)?.ok_or_else(Fault::not_found)
    }
}

pub(crate) fn live(row: &ObjectRow, kind: Kind) -> bool {
    row.kind == kind && !row.deleted
}
