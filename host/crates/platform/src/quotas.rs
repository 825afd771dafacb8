//! Quotas: what a tenant may keep, and what it may use in a day (UTC).
//!
//! A call asks what was found out about its tenant within the last second; without such a limit it asks nothing. So a
//! tenant may go over what it may use by what it uses in a second, and calls under way end as they would.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aimass_core::event::{Actor, Event, Kind, QuotaWarning};
use aimass_core::usage::DAY;
use aimass_core::{Code, Digest, Fault, Name, Result, Tenant};
use aimass_store::{State, Stored};
use serde::Serialize;

use crate::egress::Today;
use crate::{Asked, Platform, Scope, TenantLimits};

/// How often what was used is held against the limits.
const LOOK: Duration = Duration::from_secs(1);

/// What is stored is looked through less often: it is checked at each upload anyway.
const STORED: u32 = 30;

/// One quota. Its word is that of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quota {
    /// Bytes of plugins and models.
    StorageMib,
    /// Time on processors and in engines.
    ComputeSecondsPerDay,
    /// Bytes that guests send out.
    EgressMibPerDay,
    /// Plugins.
    Plugins,
    /// Models.
    Models,
}

impl Quota {
    /// The quota as a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StorageMib => "storage_mib",
            Self::ComputeSecondsPerDay => "compute_seconds_per_day",
            Self::EgressMibPerDay => "egress_mib_per_day",
            Self::Plugins => "plugins",
            Self::Models => "models",
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::StorageMib | Self::EgressMibPerDay => "bytes",
            Self::ComputeSecondsPerDay => "milliseconds",
            Self::Plugins | Self::Models => "objects",
        }
    }

    fn said(self, amount: u64) -> String {
        match self {
            Self::StorageMib | Self::EgressMibPerDay => format!("{:.1} MiB", amount as f64 / f64::from(1 << 20)),
            Self::ComputeSecondsPerDay => format!("{:.1} s", amount as f64 / 1e3),
            Self::Plugins | Self::Models => amount.to_string(),
        }
    }
}

/// A quota, what is used of it, and what may be.
#[derive(Clone, Debug, Serialize)]
pub struct QuotaDocument {
    /// Which; the word of the limit.
    pub quota: Quota,
    /// What `used` and `limit` count: `bytes`, `milliseconds`, `objects`.
    pub unit: &'static str,
    /// How much is used now.
    pub used: u64,
    /// How much may be; without it, as much as there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// When it starts at nothing again, seconds since the epoch; never, of what is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resets: Option<u64>,
}

impl QuotaDocument {
    fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.used >= limit)
    }

    /// Whether four fifths of it are used.
    fn is_near(&self) -> bool {
        self.limit.is_some_and(|limit| self.used.saturating_mul(5) >= limit.saturating_mul(4))
    }

    /// The refusal that it is used up.
    pub(crate) fn refusal(&self) -> Fault {
        let of = |amount: u64| self.quota.said(amount);
        let (used, limit) = (of(self.used), of(self.limit.unwrap_or_default()));
        let name = self.quota.as_str();
        match self.resets {
            Some(resets) => {
                let left = Duration::from_secs(resets.saturating_sub(now()).max(1));
                let detail = format!(
                    "the tenant has used {used} of the {limit} that it may use in a day (`{name}`); the next day begins \
                     at midnight UTC, in {} min",
                    left.as_secs().div_ceil(60)
                );
                Fault::new(Code::QuotaExceeded, detail).retry_after(left)
            }
            None => full(self.quota, self.used, self.limit.unwrap_or_default()),
        }
    }
}

/// There is no room for more of what is kept.
fn full(quota: Quota, used: u64, limit: u64) -> Fault {
    let (used, limit, name) = (quota.said(used), quota.said(limit), quota.as_str());
    let detail = format!("the tenant has {used} of the {limit} that it may have (`{name}`): delete some first");
    Fault::new(Code::StorageQuota, detail)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What was last found out about tenants with limits by the day.
#[derive(Default)]
pub(crate) struct Quotas {
    today: RwLock<HashMap<Name, Found>>,
}

#[derive(Clone, Default)]
struct Found {
    compute: Option<QuotaDocument>,
    egress: Option<QuotaDocument>,
}

impl Quotas {
    /// A tenant is gone.
    pub(crate) fn forget(&self, tenant: &Name) {
        self.today.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }
}

/// The quotas of a tenant that are used up over a day.
fn daily(limits: &TenantLimits, today: &Today) -> [QuotaDocument; 2] {
    let resets = Some(today.began + DAY);
    let document = |quota: Quota, used, limit| QuotaDocument { quota, unit: quota.unit(), used, limit, resets };
    let millis = limits.quotas.compute_seconds_per_day.map(|seconds| u64::from(seconds.get()) * 1_000);
    [
        document(Quota::ComputeSecondsPerDay, today.compute_ns / 1_000_000, millis),
        document(
            Quota::EgressMibPerDay,
            today.sent,
            limits.quotas.egress_mib_per_day.map(|mib| u64::from(mib.get()) << 20),
        ),
    ]
}

/// Those of what is kept.
fn kept(limits: &TenantLimits, stored: &Stored) -> [QuotaDocument; 3] {
    let document = |quota: Quota, used, limit| QuotaDocument { quota, unit: quota.unit(), used, limit, resets: None };
    [
        document(Quota::StorageMib, stored.bytes, limits.quotas.storage_mib.map(|mib| u64::from(mib.get()) << 20)),
        document(Quota::Plugins, stored.plugins, limits.quotas.plugins.map(|most| most.get().into())),
        document(Quota::Models, stored.models, limits.quotas.models.map(|most| most.get().into())),
    ]
}

/// Whether there is room for one more version.
///
/// # Errors
/// `storage_quota`.
pub(crate) fn room(
    state: &State<'_>,
    limits: &TenantLimits,
    tenant: &Tenant,
    (kind, name): (Kind, &Name),
    bytes: Option<(&Digest, u64)>,
) -> Result<()> {
    let (quota, most) = match kind {
        Kind::Plugin => (Quota::Plugins, limits.quotas.plugins),
        Kind::Model => (Quota::Models, limits.quotas.models),
    };
    if let Some(most) = most.map(|most| u64::from(most.get()))
        && state.object(tenant, name)?.is_none_or(|row| row.deleted)
    {
        let stored = state.stored(tenant)?;
        let used = if kind == Kind::Plugin { stored.plugins } else { stored.models };
        if used >= most {
            return Err(full(quota, used, most));
        }
    }
    let Some(limit) = limits.quotas.storage_mib.map(|mib| u64::from(mib.get()) << 20) else { return Ok(()) };
    let blobs = state.stored_blobs(tenant)?;
    let used: u64 = blobs.values().sum();
    let more = match bytes {
        Some((digest, _)) if blobs.contains_key(digest) => return Ok(()),
        Some((_, size)) => size,
        // Before they have come: the smallest that there can be.
        None => 1,
    };
    if used.saturating_add(more) > limit {
        return Err(match bytes {
            Some(_) => {
                let (has, more) = (Quota::StorageMib.said(used), Quota::StorageMib.said(more));
                let (limit, name) = (Quota::StorageMib.said(limit), Quota::StorageMib.as_str());
                let detail = format!(
                    "the tenant has {has} of the {limit} that it may have (`{name}`), and these are {more}: delete \
                     some first"
                );
                Fault::new(Code::StorageQuota, detail)
            }
            None => full(Quota::StorageMib, used, limit),
        });
    }
    Ok(())
}

impl Platform {
    /// What the caller's tenant uses of its quotas.
    ///
    /// # Errors
    /// `insufficient_scope`; what reading the store says.
    pub fn quotas(&self, asked: Asked<'_>) -> Result<Vec<QuotaDocument>> {
        self.quotas_now(asked.tenant(Scope::UsageRead)?)
    }

    /// The same of any tenant, for the operator.
    ///
    /// # Errors
    /// `not_found` for an unknown tenant.
    pub fn quotas_of(&self, asked: Asked<'_>, name: &Name) -> Result<Vec<QuotaDocument>> {
        asked.by.require(Scope::Operator)?;
        self.store.state().tenant(name)?.ok_or_else(Fault::not_found)?;
        self.quotas_now(&aimass_auth::resumed(name.clone()))
    }

    fn quotas_now(&self, tenant: &Tenant) -> Result<Vec<QuotaDocument>> {
        self.egress.meter.collect(&self.records);
        let limits = self.limits_of(tenant);
        let stored = self.store.state().stored(tenant)?;
        let today = self.egress.meter.today(tenant.name());
        Ok(kept(&limits, &stored).into_iter().chain(daily(&limits, &today)).collect())
    }

    /// Whether the tenant may still compute today.
    ///
    /// # Errors
    /// `quota_exceeded`.
    pub(crate) fn may_compute(&self, tenant: &Tenant, limits: &TenantLimits) -> Result<()> {
        if limits.quotas.compute_seconds_per_day.is_none() {
            return Ok(());
        }
        let found = self.found(tenant.name(), limits);
        found.compute.filter(QuotaDocument::is_over).map_or(Ok(()), |over| Err(over.refusal()))
    }

    /// The quota of what guests send out, if it is used up.
    pub(crate) fn egress_used_up(&self, tenant: &Tenant) -> Option<QuotaDocument> {
        let limits = self.limits_of(tenant);
        limits.quotas.egress_mib_per_day?;
        self.found(tenant.name(), &limits).egress.filter(QuotaDocument::is_over)
    }

    /// What was found out, or is now, about a tenant that nobody asked for yet.
    fn found(&self, tenant: &Name, limits: &TenantLimits) -> Found {
        let known = self.quotas.today.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned();
        known.unwrap_or_else(|| self.find(tenant, limits))
    }

    fn find(&self, tenant: &Name, limits: &TenantLimits) -> Found {
        let [compute, egress] = daily(limits, &self.egress.meter.today(tenant));
        let found = Found { compute: Some(compute), egress: Some(egress) };
        let mut today = self.quotas.today.write().unwrap_or_else(PoisonError::into_inner);
        today.insert(tenant.clone(), found.clone());
        found
    }

    /// Forgets what was found out about a tenant whose limits are others now.
    pub(crate) fn quota_changed(&self, tenant: &Name) {
        self.egress.meter.collect(&self.records);
        self.quotas.forget(tenant);
    }

    /// Holds what tenants use against their limits, again and again, and warns of what is near its end. It ends with
    /// the task that runs it.
    pub async fn watch_quotas(&self) {
        for round in 0_u32.. {
            tokio::time::sleep(LOOK).await;
            let asked: Vec<Name> =
                self.quotas.today.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
            if !asked.is_empty() {
                self.egress.meter.collect(&self.records);
            }
            for tenant in asked {
                let limits = self.limits_of_tenants.of(&tenant);
                let found = self.find(&tenant, &limits);
                for quota in [found.compute, found.egress].into_iter().flatten() {
                    self.warn(&tenant, &quota).await;
                }
            }
            if round % STORED == 0 {
                self.warn_of_stored().await;
            }
        }
    }

    async fn warn_of_stored(&self) {
        let state = self.store.state();
        for row in state.tenants(None, usize::MAX).unwrap_or_default() {
            let limits = self.limits_of_tenants.of(&row.name);
            if limits.quotas.storage_mib.is_none() && limits.quotas.plugins.is_none() && limits.quotas.models.is_none()
            {
                continue;
            }
            let tenant = aimass_auth::resumed(row.name);
            let Ok(stored) = state.stored(&tenant) else { continue };
            for quota in kept(&limits, &stored) {
                self.warn(tenant.name(), &quota).await;
            }
        }
    }

    /// Records that a quota is four fifths used, once a day and limit.
    async fn warn(&self, tenant: &Name, quota: &QuotaDocument) {
        let (Some(limit), true) = (quota.limit, quota.is_near()) else { return };
        let (name, day) = (quota.quota.as_str(), now() / DAY * DAY);
        let is_told = |last: &QuotaWarning| last.day == day && last.limit == limit;
        match self.store.state().quota_warning(tenant, name) {
            Ok(last) if !last.as_ref().is_some_and(is_told) => {}
            _ => return,
        }
        let warning =
            QuotaWarning { quota: name.to_owned(), unit: quota.unit.to_owned(), used: quota.used, limit, day };
        tracing::warn!(%tenant, quota = name, used = quota.used, limit, "a quota is nearly used up");
        let tenant = tenant.clone();
        let written = self.store.write(Actor::system(), move |state| {
            let there = state.tenant(&tenant)?.is_some();
            Ok((there.then_some(Event::QuotaWarned { tenant, warning }), ()))
        });
        if let Err(fault) = written.await {
            tracing::warn!(%fault, "a warning about a quota was not recorded yet");
        }
    }
}
