//! `usage`: what a tenant used, hour by hour.

use std::collections::BTreeMap;

use aimass_core::usage::{Flow, Usage};
use aimass_core::{Fault, Name, Result, Tenant};
use schemars::JsonSchema;
use serde::Serialize;

use crate::objects::{PAGE, Page};
use crate::{Asked, Platform, Scope};

/// What a tenant used in one hour.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct UsageDocument {
    /// When the hour began, seconds since the epoch.
    pub hour: u64,
    /// Inferences, on models and plugins.
    pub inferences: u64,
    /// Their time, milliseconds.
    pub inference_ms: u64,
    /// Calls of HTTP functions.
    pub functions: u64,
    /// What was sent out, by the regions of the data and of the destination.
    pub transfers: Vec<FlowDocument>,
    /// Outgoing requests that were refused, by reason.
    pub refused: BTreeMap<String, u64>,
}

/// What was sent from one region to another, or within one.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FlowDocument {
    /// The region that the data is labelled with.
    pub from: Name,
    /// The region of the destinations.
    pub to: Name,
    /// Requests.
    pub records: u64,
    /// Bytes of the requests' bodies.
    pub bytes_sent: u64,
    /// Bytes of the answers' bodies.
    pub bytes_received: u64,
    /// Distinct subjects, as far as guests declared them; exact up to 255, then within some 6 %.
    pub subjects: u64,
}

impl From<Usage> for UsageDocument {
    fn from(usage: Usage) -> Self {
        let Usage { hour, inferences, inference_ns, functions, flows, refused } = usage;
        let transfers = flows.into_iter().map(Into::into).collect();
        Self { hour, inferences, inference_ms: inference_ns / 1_000_000, functions, transfers, refused }
    }
}

impl From<Flow> for FlowDocument {
    fn from(flow: Flow) -> Self {
        let Flow { from, to, requests, sent, received, subjects } = flow;
        let subjects = subjects.estimate();
        Self { from, to, records: requests, bytes_sent: sent, bytes_received: received, subjects }
    }
}

impl Platform {
    /// The hours that the caller's tenant used anything in, oldest first; those that began after `after` (seconds
    /// since the epoch).
    ///
    /// # Errors
    /// `insufficient_scope`; what reading the store says.
    pub fn usage(&self, asked: Asked<'_>, after: Option<u64>, limit: Option<usize>) -> Result<Page<UsageDocument>> {
        let tenant = asked.tenant(Scope::UsageRead)?;
        self.usage_hours(tenant.name(), Some(tenant), after, limit)
    }

    /// The same of any tenant, for the operator: as it was last recorded, some seconds ago.
    ///
    /// # Errors
    /// `not_found` for an unknown tenant.
    pub fn usage_of(
        &self,
        asked: Asked<'_>,
        tenant: &Name,
        after: Option<u64>,
        limit: Option<usize>,
    ) -> Result<Page<UsageDocument>> {
        asked.by.require(Scope::Operator)?;
        self.store.state().tenant(tenant)?.ok_or_else(Fault::not_found)?;
        self.usage_hours(tenant, None, after, limit)
    }

    fn usage_hours(
        &self,
        name: &Name,
        current: Option<&Tenant>,
        after: Option<u64>,
        limit: Option<usize>,
    ) -> Result<Page<UsageDocument>> {
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let from = after.map_or(0, |after| after.saturating_add(1));
        let mut rows = self.store.state().usages(name, from, limit + 1)?;
        if let Some(tenant) = current {
            self.egress.meter.collect(&self.records);
            let current = self.egress.meter.current(tenant);
            rows.retain(|row| row.hour != current.hour);
            let used = Usage::at(current.hour) != current;
            rows.extend((used && current.hour >= from).then_some(current));
            rows.sort_unstable_by_key(|row| row.hour);
        }
        Ok(Page::cut(rows.into_iter().map(Into::into), limit, |used: &UsageDocument| used.hour.to_string()))
    }
}
