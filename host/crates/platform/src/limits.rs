//! The limits of each tenant: its own where the operator gave it some, else the node's. In memory, for every call asks.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{PoisonError, RwLock};

use aimass_core::event::{Event, Limits, QuotaLimits};
use aimass_core::{Code, Fault, Name, Result, Tenant};
use aimass_store::TenantRow;
use serde::{Deserialize, Deserializer};

use crate::{Asked, Platform, Scope, TenantDocument, TenantLimits};

/// A larger weight than this is no share of anything.
const MAX_WEIGHT: u32 = 1_000_000;

/// A change of a tenant's limits. What is left out stays; what is null is the node's again.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsChange {
    /// Its part of the engines' time, beside the weights of the others that ask.
    #[serde(deserialize_with = "present")]
    pub weight: Option<Option<NonZeroU32>>,
    /// Requests a second, on average.
    #[serde(deserialize_with = "present")]
    pub requests_per_second: Option<Option<NonZeroU32>>,
    /// Calls at once.
    #[serde(deserialize_with = "present")]
    pub calls: Option<Option<NonZeroU32>>,
    /// Memory that its loaded models take together, MiB.
    #[serde(deserialize_with = "present")]
    pub engine_memory_mib: Option<Option<NonZeroU32>>,
    /// Bytes of its plugins and models, MiB.
    #[serde(deserialize_with = "present")]
    pub storage_mib: Option<Option<NonZeroU32>>,
    /// Plugins.
    #[serde(deserialize_with = "present")]
    pub plugins: Option<Option<NonZeroU32>>,
    /// Models.
    #[serde(deserialize_with = "present")]
    pub models: Option<Option<NonZeroU32>>,
    /// Time that its guests run on processors and its models in engines, seconds in a day (UTC).
    #[serde(deserialize_with = "present")]
    pub compute_seconds_per_day: Option<Option<NonZeroU32>>,
    /// Bytes that its guests send out, MiB in a day (UTC).
    #[serde(deserialize_with = "present")]
    pub egress_mib_per_day: Option<Option<NonZeroU32>>,
}

/// A field that is there, also as null.
fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<NonZeroU32>>, D::Error> {
    Option::deserialize(field).map(Some)
}

impl LimitsChange {
    fn apply(&self, to: &Limits) -> Limits {
        Limits {
            weight: self.weight.unwrap_or(to.weight),
            requests_per_second: self.requests_per_second.unwrap_or(to.requests_per_second),
            calls: self.calls.unwrap_or(to.calls),
            engine_memory_mib: self.engine_memory_mib.unwrap_or(to.engine_memory_mib),
            quotas: QuotaLimits {
                storage_mib: self.storage_mib.unwrap_or(to.quotas.storage_mib),
                plugins: self.plugins.unwrap_or(to.quotas.plugins),
                models: self.models.unwrap_or(to.quotas.models),
                compute_seconds_per_day: self.compute_seconds_per_day.unwrap_or(to.quotas.compute_seconds_per_day),
                egress_mib_per_day: self.egress_mib_per_day.unwrap_or(to.quotas.egress_mib_per_day),
            },
        }
    }
}

/// What every tenant may, and what some may instead.
pub(crate) struct TenantsLimits {
    node: TenantLimits,
    own: RwLock<HashMap<Name, Limits>>,
}

impl TenantsLimits {
    pub(crate) fn new(node: TenantLimits, tenants: &[TenantRow]) -> Self {
        let own = tenants.iter().filter(|row| row.limits != Limits::default());
        Self { node, own: RwLock::new(own.map(|row| (row.name.clone(), row.limits)).collect()) }
    }

    /// A tenant's.
    pub(crate) fn of(&self, tenant: &Name) -> TenantLimits {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner).get(tenant).copied();
        own.map_or(self.node, |own| self.node.with(&own))
    }

    /// A tenant is gone.
    pub(crate) fn forget(&self, tenant: &Name) {
        self.own.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// Replaces a tenant's own limits by what `read` says, which sees no older state than another caller's before.
    fn set(&self, tenant: &Name, read: impl FnOnce() -> Result<Limits>) -> Result<()> {
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        own.insert(tenant.clone(), read()?);
        Ok(())
    }
}

impl TenantLimits {
    fn with(self, own: &Limits) -> Self {
        let rate = own.requests_per_second;
        Self {
            weight: own.weight.map_or(self.weight, NonZeroU32::get),
            per_second: rate.or(self.per_second),
            burst: rate.map_or(self.burst, Self::burst_of),
            concurrency: own.calls.or(self.concurrency),
            engine_memory: own.engine_memory_mib.map(|mib| u64::from(mib.get()) << 20).or(self.engine_memory),
            quotas: QuotaLimits {
                storage_mib: own.quotas.storage_mib.or(self.quotas.storage_mib),
                plugins: own.quotas.plugins.or(self.quotas.plugins),
                models: own.quotas.models.or(self.quotas.models),
                compute_seconds_per_day: own.quotas.compute_seconds_per_day.or(self.quotas.compute_seconds_per_day),
                egress_mib_per_day: own.quotas.egress_mib_per_day.or(self.quotas.egress_mib_per_day),
            },
        }
    }

    /// The same in the words of the API.
    pub(crate) fn document(&self) -> Limits {
        let mib = |bytes: u64| u32::try_from(bytes >> 20).ok().and_then(NonZeroU32::new);
        Limits {
            weight: NonZeroU32::new(self.weight.max(1)),
            requests_per_second: self.per_second,
            calls: self.concurrency,
            engine_memory_mib: self.engine_memory.and_then(mib),
            quotas: self.quotas,
        }
    }
}

impl Platform {
    /// Changes a tenant's limits, at once: for what is asked from now on, and for what is in memory.
    ///
    /// # Errors
    /// `not_found`; `invalid_request` for a weight over a million.
    pub async fn limit_tenant(&self, asked: Asked<'_>, name: &Name, change: LimitsChange) -> Result<TenantDocument> {
        asked.by.require(Scope::Operator)?;
        if change.weight.flatten().is_some_and(|weight| weight.get() > MAX_WEIGHT) {
            return Err(Fault::new(Code::InvalidRequest, format!("a weight is 1 to {MAX_WEIGHT}")));
        }
        let tenant = name.clone();
        self.store
            .write(asked.actor(), move |state| {
                let row = state.tenant(&tenant)?.ok_or_else(Fault::not_found)?;
                let limits = change.apply(&row.limits);
                let event = Event::TenantLimitsSet { tenant, limits };
                Ok(((limits != row.limits).then_some(event), ()))
            })
            .await?;
        let read = || self.store.state().tenant(name)?.map(|row| row.limits).ok_or_else(Fault::not_found);
        self.limits_of_tenants.set(name, read)?;
        self.models.limits_changed(name);
        self.quota_changed(name);
        self.show_tenant(name)
    }

    /// The limits that hold for a tenant now.
    pub(crate) fn limits_of(&self, tenant: &Tenant) -> TenantLimits {
        self.limits_of_tenants.of(tenant.name())
    }
}
