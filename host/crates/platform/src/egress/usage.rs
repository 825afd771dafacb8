//! `usage`: what a tenant used, hour by hour.

use std::collections::BTreeMap;

use aimass_core::usage::{Calls, Flow, ObjectUsage, Usage};
use aimass_core::{Fault, Name, Result};
use serde::Serialize;

use crate::objects::{PAGE, Page};
use crate::{Asked, Platform, Scope};

/// Rows that are given at once, at most.
const MOST: usize = 10_000;

/// What a tenant used in one hour.
#[derive(Clone, Debug, Serialize)]
pub struct UsageDocument {
    /// When the hour began, seconds since the epoch.
    pub hour: u64,
    /// What calls came to.
    #[serde(flatten)]
    pub calls: CallsDocument,
    /// What was sent out, by the regions of the data and of the destination.
    pub transfers: Vec<FlowDocument>,
    /// Outgoing requests that were refused, by reason.
    pub refused: BTreeMap<String, u64>,
}

/// What calls came to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CallsDocument {
    /// Calls that clients made: inferences, and functions.
    pub requests: u64,
    /// Calls that failed, and functions that answered with a status of 500 or above.
    pub errors: u64,
    /// Inferences, on models and plugins.
    pub inferences: u64,
    /// Their time, milliseconds.
    pub inference_ms: u64,
    /// Calls of HTTP functions.
    pub functions: u64,
    /// Runs of models that guests asked for.
    pub guest_inferences: u64,
    /// Time that guests ran on a processor, milliseconds.
    pub guest_ms: u64,
    /// Time of runs in an engine, milliseconds.
    pub engine_ms: u64,
    /// Bytes of tensors and bodies that came in.
    pub bytes_in: u64,
    /// Bytes of tensors and bodies that were answered with.
    pub bytes_out: u64,
    /// Memory of guests by how long they had it.
    pub memory_mib_seconds: f64,
}

/// What the calls of one plugin or model came to in one hour.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectUsageDocument {
    /// When the hour began, seconds since the epoch.
    pub hour: u64,
    /// Its name.
    pub name: Name,
    /// What they came to.
    #[serde(flatten)]
    pub calls: CallsDocument,
}

/// Which hours.
#[derive(Clone, Debug, Default)]
pub struct UsageQuery {
    /// Whose; none for the caller's own.
    pub tenant: Option<Name>,
    /// Hours that began then or later, seconds since the epoch.
    pub from: u64,
    /// Hours that began before.
    pub to: Option<u64>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// What was sent from one region to another, or within one.
#[derive(Clone, Debug, Serialize)]
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
        let Usage { hour, calls, flows, refused } = usage;
        let transfers = flows.into_iter().map(Into::into).collect();
        Self { hour, calls: calls.into(), transfers, refused }
    }
}

impl From<Calls> for CallsDocument {
    fn from(calls: Calls) -> Self {
        Self {
            requests: calls.inferences + calls.functions,
            errors: calls.errors,
            inferences: calls.inferences,
            inference_ms: calls.inference_ns / 1_000_000,
            functions: calls.functions,
            guest_inferences: calls.guest_inferences,
            guest_ms: calls.guest_ns / 1_000_000,
            engine_ms: calls.engine_ns / 1_000_000,
            bytes_in: calls.bytes_in,
            bytes_out: calls.bytes_out,
            // KiB and milliseconds; three digits are enough.
            memory_mib_seconds: (calls.memory_kib_ms as f64 / 1_024.0).round() / 1e3,
        }
    }
}

impl From<ObjectUsage> for ObjectUsageDocument {
    fn from(used: ObjectUsage) -> Self {
        Self { hour: used.hour, name: used.name, calls: used.calls.into() }
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
        let from = after.map_or(0, |after| after.saturating_add(1));
        self.usage_hours(asked, &UsageQuery { from, limit, ..UsageQuery::default() })
    }

    /// The same of any tenant, for the operator.
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
        let from = after.map_or(0, |after| after.saturating_add(1));
        self.usage_hours(asked, &UsageQuery { tenant: Some(tenant.clone()), from, limit, ..UsageQuery::default() })
    }

    /// The hours that a tenant used anything in, oldest first, the running one among them.
    ///
    /// # Errors
    /// `insufficient_scope`; `not_found` for an unknown tenant; what reading the store says.
    pub fn usage_hours(&self, asked: Asked<'_>, query: &UsageQuery) -> Result<Page<UsageDocument>> {
        let name = self.whose_usage(asked, query)?;
        let limit = limit(query);
        let mut rows = self.store.state().usages(&name, query.from, limit.saturating_add(1))?;
        let current = self.egress.meter.current(&name);
        rows.retain(|row| row.hour != current.hour);
        if Usage::at(current.hour) != current && current.hour >= query.from {
            rows.push(current);
        }
        rows.retain(|row| query.to.is_none_or(|to| row.hour < to));
        rows.sort_unstable_by_key(|row| row.hour);
        Ok(Page::cut(rows.into_iter().map(Into::into), limit, |used: &UsageDocument| used.hour.to_string()))
    }

    /// The same of each plugin and model, by hour and name, behind the pair `after`.
    ///
    /// # Errors
    /// As for [`Platform::usage_hours`].
    pub fn usage_by_object(
        &self,
        asked: Asked<'_>,
        query: &UsageQuery,
        after: Option<(u64, Name)>,
    ) -> Result<Page<ObjectUsageDocument>> {
        let name = self.whose_usage(asked, query)?;
        let limit = limit(query);
        let behind = after.as_ref().map(|(hour, name)| (*hour, name));
        let mut rows = self.store.state().object_usages(&name, query.from, behind, limit.saturating_add(1))?;
        let current = self.egress.meter.current_objects(&name);
        let hour = self.egress.meter.current(&name).hour;
        rows.retain(|row| row.hour != hour);
        let wanted = |row: &ObjectUsage| {
            row.hour >= query.from && behind.is_none_or(|(hour, name)| (row.hour, &row.name) > (hour, name))
        };
        rows.extend(current.into_iter().filter(wanted));
        rows.retain(|row| query.to.is_none_or(|to| row.hour < to));
        rows.sort_unstable_by(|a, b| (a.hour, &a.name).cmp(&(b.hour, &b.name)));
        let cursor = |used: &ObjectUsageDocument| format!("{}/{}", used.hour, used.name);
        Ok(Page::cut(rows.into_iter().map(Into::into), limit, cursor))
    }

    /// Whose usage is asked for, with what is not collected yet.
    fn whose_usage(&self, asked: Asked<'_>, query: &UsageQuery) -> Result<Name> {
        let name = match &query.tenant {
            Some(tenant) => {
                asked.by.require(Scope::Operator)?;
                self.store.state().tenant(tenant)?.ok_or_else(Fault::not_found)?;
                tenant.clone()
            }
            None => asked.tenant(Scope::UsageRead)?.name().clone(),
        };
        self.egress.meter.collect(&self.records);
        Ok(name)
    }
}

/// Rows of a page; an export asks for more than a page at once.
fn limit(query: &UsageQuery) -> usize {
    query.limit.unwrap_or(PAGE).clamp(1, MOST)
}
