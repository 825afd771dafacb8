//! What the view tells of egress: rules, regions, and what was used.

use aimass_core::event::{Event, ObjectUsageRecorded, UsagePruned, UsageRecorded};
use aimass_core::policy::{EgressRule, TransferRule};
use aimass_core::usage::{ObjectUsage, Usage};
use aimass_core::{Fault, Name, Result, Tenant};

use super::apply::{Changes, must_exist, put};
use super::state::State;

/// The rows of one kind of a tenant. A [`Name`] holds no NUL; what follows may hold anything.
fn rows(kind: &str, tenant: &Name) -> Vec<u8> {
    [b"\x01", kind.as_bytes(), b"\0", tenant.as_str().as_bytes(), b"\0"].concat()
}

fn row(kind: &str, tenant: &Name, key: &[u8]) -> Vec<u8> {
    [rows(kind, tenant).as_slice(), key].concat()
}

fn rule(tenant: &Name, host: &str) -> Vec<u8> {
    row("egress-rule", tenant, host.as_bytes())
}

fn transfer(tenant: &Name, from: &Name, to: &Name) -> Vec<u8> {
    row("transfer", tenant, format!("{from}\0{to}").as_bytes())
}

fn region(tenant: &Name) -> Vec<u8> {
    row("region", tenant, b"")
}

fn usage(tenant: &Name, hour: u64) -> Vec<u8> {
    row("usage", tenant, &hour.to_be_bytes())
}

fn usage_of(tenant: &Name, hour: u64, name: &Name) -> Vec<u8> {
    row("usage-of", tenant, &[&hour.to_be_bytes(), name.as_str().as_bytes()].concat())
}

impl State<'_> {
    /// At most `limit` egress rules behind `after`, by host.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn egress_rules(&self, tenant: &Tenant, after: Option<&str>, limit: usize) -> Result<Vec<EgressRule>> {
        let tenant = tenant.name();
        self.rows(&rows("egress-rule", tenant), after.map(|host| rule(tenant, host)), limit, |_| true)
    }

    /// The egress rule of a host.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn egress_rule(&self, tenant: &Tenant, host: &str) -> Result<Option<EgressRule>> {
        self.row(&rule(tenant.name(), host))
    }

    /// At most `limit` transfer rules behind the pair `after`, by regions.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn transfers(&self, tenant: &Tenant, after: Option<(&Name, &Name)>, limit: usize) -> Result<Vec<TransferRule>> {
        let tenant = tenant.name();
        let after = after.map(|(from, to)| transfer(tenant, from, to));
        self.rows(&rows("transfer", tenant), after, limit, |_| true)
    }

    /// The transfer rule between two regions.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn transfer(&self, tenant: &Tenant, from: &Name, to: &Name) -> Result<Option<TransferRule>> {
        self.row(&transfer(tenant.name(), from, to))
    }

    /// The region that the tenant's data is labelled with; none if it never was.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn data_region(&self, tenant: &Tenant) -> Result<Option<Name>> {
        Ok(self.row::<Option<Name>>(&region(tenant.name()))?.flatten())
    }

    /// What was recorded of the hour that began at `hour`.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn usage(&self, tenant: &Name, hour: u64) -> Result<Option<Usage>> {
        self.row(&usage(tenant, hour))
    }

    /// At most `limit` hours from `from` on, oldest first.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn usages(&self, tenant: &Name, from: u64, limit: usize) -> Result<Vec<Usage>> {
        let after = from.checked_sub(1).map(|before| usage(tenant, before));
        self.rows(&rows("usage", tenant), after, limit, |_| true)
    }

    /// At most `limit` hours of single plugins and models, from the hour `from` on or behind `after`, by hour and name.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn object_usages(
        &self,
        tenant: &Name,
        from: u64,
        after: Option<(u64, &Name)>,
        limit: usize,
    ) -> Result<Vec<ObjectUsage>> {
        let behind = match after {
            Some((hour, name)) => Some(usage_of(tenant, hour, name)),
            // A name has bytes, and none of them is so high.
            None => {
                from.checked_sub(1).map(|before| [row("usage-of", tenant, &before.to_be_bytes()), vec![0xff]].concat())
            }
        };
        self.rows(&rows("usage-of", tenant), behind, limit, |_| true)
    }
}

/// What an event of egress changes.
pub(super) fn changes(state: &State<'_>, event: &Event, out: &mut Changes) -> Result<()> {
    let is_there = |key: &[u8]| state.row::<serde_json::Value>(key)?.map(drop).ok_or_else(Fault::not_found);
    match event {
        Event::EgressAllowed { tenant, rule: allowed } => {
            must_exist(state, tenant)?;
            put(out, rule(tenant, &allowed.host), allowed)?;
        }
        Event::EgressRuleRemoved { tenant, host } => {
            let key = rule(tenant, host);
            is_there(&key)?;
            out.push((key, None));
        }
        Event::DataRegionSet { tenant, region: set } => {
            must_exist(state, tenant)?;
            put(out, region(tenant), set)?;
        }
        Event::TransferAllowed { tenant, rule } => {
            must_exist(state, tenant)?;
            put(out, transfer(tenant, &rule.from, &rule.to), rule)?;
        }
        Event::TransferRuleRemoved { tenant, from, to } => {
            let key = transfer(tenant, from, to);
            is_there(&key)?;
            out.push((key, None));
        }
        Event::UsageRecorded(UsageRecorded { tenant, usage: used }) => {
            must_exist(state, tenant)?;
            put(out, usage(tenant, used.hour), used)?;
        }
        Event::ObjectUsageRecorded(ObjectUsageRecorded { tenant, objects }) => {
            must_exist(state, tenant)?;
            for used in objects {
                put(out, usage_of(tenant, used.hour, &used.name), used)?;
            }
        }
        Event::UsagePruned(UsagePruned { tenant, before }) => {
            for used in state.rows(&rows("usage", tenant), None, usize::MAX, |used: &Usage| used.hour < *before)? {
                out.push((usage(tenant, used.hour), None));
            }
            let old = |used: &ObjectUsage| used.hour < *before;
            for used in state.rows(&rows("usage-of", tenant), None, usize::MAX, old)? {
                out.push((usage_of(tenant, used.hour, &used.name), None));
            }
        }
        // Recorded for the audit alone, and everything that is none of egress's.
        _ => {}
    }
    Ok(())
}
