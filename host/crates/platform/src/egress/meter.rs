//! Counts what tenants use, in memory, and writes it to the journal from time to time.
//!
//! Who is counted never waits for the disk, but for the first one of an hour, who reads what a process before this one
//! had counted. What is not written yet when the process is killed is lost: of what was sent or refused [`FLUSH`] at
//! most, of calls [`CALLS`] times that, of which plugin's they were [`OBJECTS`] times.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aimass_core::event::{Actor, Event, ObjectUsageRecorded, UsagePruned, UsageRecorded};
use aimass_core::outgoing::{OutgoingCall, OutgoingError};
use aimass_core::usage::{Calls, DAY, HOUR, ObjectUsage, Usage};
use aimass_core::{Name, Result, Tenant};
use aimass_store::Store;

use crate::Platform;
use crate::statistics::Records;

/// How often what was sent or refused is written.
const FLUSH: Duration = Duration::from_secs(10);

/// Calls alone are written every so many times: they are nobody's data, and a busy tenant would fill the journal.
const CALLS: u32 = 6;

/// Old hours are looked for when the node starts, and once in six hours.
const PRUNE: u32 = 6 * 360;

/// Kinds of refusals of one tenant that are recorded each time; the count of all stands in the usage.
const AUDITED: usize = 5;

pub(crate) struct Meter {
    store: Store,
    key: [u8; 32],
    tenants: Mutex<HashMap<Name, Open>>,
}

/// Single plugins and models are written more rarely still, and at the end of each hour.
const OBJECTS: u32 = 30;

/// Plugins and models in one record.
const TOGETHER: usize = 200;

/// How much is to be written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// What was sent or refused, and hours that ended.
    Urgent,
    /// What calls came to as well.
    Calls,
    /// What those of single plugins and models came to as well.
    All,
}

/// A tenant's current hour, and what is not written yet.
#[derive(Default)]
struct Open {
    usage: Usage,
    changed: bool,
    /// Something changed that is to be written soon.
    urgent: bool,
    /// Hours that ended and were not written.
    ended: Vec<Usage>,
    /// The plugins and models of the current hour, and those that are not written as they are.
    objects: BTreeMap<Name, Calls>,
    changed_objects: BTreeSet<Name>,
    ended_objects: Vec<ObjectUsage>,
    /// The hours of this day that are over.
    day: Today,
    /// Plugin, reason and words, and how often.
    refused: HashMap<(Name, &'static str, String), u64>,
}

/// What a tenant used on one day, as far as days have limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Today {
    /// Midnight UTC, seconds since the epoch.
    pub(crate) began: u64,
    /// Of processors and engines, nanoseconds.
    pub(crate) compute_ns: u64,
    /// Bytes that guests sent out.
    pub(crate) sent: u64,
}

impl Today {
    fn add(&mut self, usage: &Usage) {
        self.compute_ns = self.compute_ns.saturating_add(usage.calls.compute_ns());
        self.sent = self.sent.saturating_add(usage.sent());
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Meter {
    pub(super) fn new(store: Store, key: [u8; 32]) -> Self {
        Self { store, key, tenants: Mutex::default() }
    }

    /// The hash of a subject of a tenant: nobody without the key finds the subject by it.
    pub(super) fn hash(&self, tenant: &Tenant, subject: &[u8]) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(tenant.name().as_str().as_bytes()).update(b"\0").update(subject);
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }

    /// Counts something in the tenant's current hour.
    pub(super) fn with(&self, tenant: &Tenant, count: impl FnOnce(&mut Usage)) {
        self.open(tenant.name(), |open| {
            count(&mut open.usage);
            (open.changed, open.urgent) = (true, true);
        });
    }

    /// Counts a refused request, and keeps it for the audit unless there are too many already.
    pub(super) fn refused(&self, call: &OutgoingCall, error: &OutgoingError) {
        self.open(call.tenant.name(), |open| {
            open.usage.refuse(error.reason());
            (open.changed, open.urgent) = (true, true);
            let kind = (call.plugin.clone(), error.reason(), format!("{}: {error}", call.plugin));
            if open.refused.len() < AUDITED || open.refused.contains_key(&kind) {
                *open.refused.entry(kind).or_default() += 1;
            }
        });
    }

    /// The tenant's current hour so far.
    pub(super) fn current(&self, tenant: &Name) -> Usage {
        self.open(tenant, |open| open.usage.clone())
    }

    /// The tenant's plugins and models in the current hour so far.
    pub(super) fn current_objects(&self, tenant: &Name) -> Vec<ObjectUsage> {
        self.open(tenant, |open| {
            let row = |(name, calls): (&Name, &Calls)| ObjectUsage {
                hour: open.usage.hour,
                name: name.clone(),
                calls: *calls,
            };
            open.objects.iter().map(row).collect()
        })
    }

    /// What a tenant used that is gone is nobody's any more.
    pub(super) fn forget(&self, tenant: &Name) {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    fn open<T>(&self, tenant: &Name, act: impl FnOnce(&mut Open) -> T) -> T {
        let hour = now() / HOUR * HOUR;
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let open = tenants.entry(tenant.clone()).or_default();
        if open.usage.hour != hour {
            self.turn(tenant, open, hour);
        }
        act(open)
    }

    /// Another hour begins, or the first one of this process.
    fn turn(&self, tenant: &Name, open: &mut Open, hour: u64) {
        let state = self.store.state();
        let read = |what: Result<Vec<Usage>>| {
            what.unwrap_or_else(|fault| {
                tracing::warn!(%fault, "what was counted before in this hour cannot be read");
                vec![]
            })
        };
        let before = read(state.usage(tenant, hour).map(|usage| usage.into_iter().collect()));
        let ended = std::mem::replace(&mut open.usage, before.into_iter().next().unwrap_or_else(|| Usage::at(hour)));
        let began = hour / DAY * DAY;
        if open.day.began == began {
            open.day.add(&ended);
        } else {
            open.day = Today { began, ..Today::default() };
            let today = read(state.usages(tenant, began, (DAY / HOUR) as usize));
            today.iter().filter(|usage| usage.hour < hour).for_each(|usage| open.day.add(usage));
        }
        let objects = std::mem::take(&mut open.objects);
        let changed = std::mem::take(&mut open.changed_objects);
        let changed = objects.into_iter().filter(|(name, _)| changed.contains(name));
        open.ended_objects.extend(changed.map(|(name, calls)| ObjectUsage { hour: ended.hour, name, calls }));
        let known = state.object_usages(tenant, hour, None, usize::MAX).unwrap_or_default();
        open.objects = known.into_iter().filter(|o| o.hour == hour).map(|o| (o.name, o.calls)).collect();
        if std::mem::take(&mut open.changed) {
            open.ended.push(ended);
        }
    }

    /// Takes over what the records counted since it was last asked.
    pub(crate) fn collect(&self, records: &Records) {
        for (tenant, name, calls) in records.take() {
            self.open(tenant.name(), |open| {
                open.usage.calls += calls;
                open.changed = true;
                *open.objects.entry(name.clone()).or_default() += calls;
                open.changed_objects.insert(name);
            });
        }
    }

    /// What the tenant used today, as far as it was collected.
    pub(crate) fn today(&self, tenant: &Name) -> Today {
        self.open(tenant, |open| {
            let mut today = open.day;
            today.add(&open.usage);
            today
        })
    }

    /// Writes what is new and due. What cannot be written is tried again the next time.
    pub(super) async fn flush(&self, due: Due) {
        for (tenant, event) in self.unwritten(due) {
            let (owner, wanted) = (tenant.clone(), event.clone());
            let written = self.store.write(Actor::system(), move |state| {
                // Of a tenant that is gone nothing is recorded.
                Ok((state.tenant(&owner)?.map(|_| wanted), ()))
            });
            if let Err(fault) = written.await {
                tracing::warn!(%fault, %tenant, "usage was not recorded yet");
                self.again(&tenant, event);
            }
        }
    }

    fn unwritten(&self, due: Due) -> Vec<(Name, Event)> {
        let mut events = vec![];
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        for (tenant, open) in tenants.iter_mut() {
            let changed = open.changed && (due >= Due::Calls || open.urgent);
            let current = changed.then(|| open.usage.clone());
            if changed {
                (open.changed, open.urgent) = (false, false);
            }
            let usages = open.ended.drain(..).chain(current);
            let usages = usages.map(|usage| Event::UsageRecorded(UsageRecorded { tenant: tenant.clone(), usage }));
            let refused = open.refused.drain().map(|((plugin, reason, what), count)| {
                let (tenant, reason) = (tenant.clone(), reason.to_owned());
                Event::EgressRefused { tenant, plugin, reason, what, count }
            });
            let mut objects = std::mem::take(&mut open.ended_objects);
            if due == Due::All {
                let hour = open.usage.hour;
                let changed = std::mem::take(&mut open.changed_objects).into_iter();
                objects.extend(changed.filter_map(|name| {
                    let calls = *open.objects.get(&name)?;
                    Some(ObjectUsage { hour, name, calls })
                }));
            }
            let objects = objects.chunks(TOGETHER).map(|objects| {
                Event::ObjectUsageRecorded(ObjectUsageRecorded { tenant: tenant.clone(), objects: objects.to_vec() })
            });
            events.extend(usages.chain(refused).chain(objects).map(|event| (tenant.clone(), event)));
        }
        events
    }

    /// Remembers usage that could not be written.
    fn again(&self, tenant: &Name, event: Event) {
        self.open(tenant, |open| match event {
            Event::UsageRecorded(UsageRecorded { usage, .. }) if usage.hour == open.usage.hour => {
                (open.changed, open.urgent) = (true, true);
            }
            Event::UsageRecorded(UsageRecorded { usage, .. }) => open.ended.push(usage),
            Event::ObjectUsageRecorded(ObjectUsageRecorded { objects, .. }) => {
                for object in objects {
                    if object.hour == open.usage.hour {
                        open.changed_objects.insert(object.name);
                    } else {
                        open.ended_objects.push(object);
                    }
                }
            }
            _ => {}
        });
    }
}

impl Platform {
    /// Writes what tenants used, again and again, and forgets what they used long ago. It ends with the task that runs
    /// it.
    pub async fn record_usage(&self) {
        for round in 1_u32.. {
            tokio::time::sleep(FLUSH).await;
            self.flush_usage(match round {
                _ if round % OBJECTS == 0 => Due::All,
                _ if round % CALLS == 0 => Due::Calls,
                _ => Due::Urgent,
            })
            .await;
            if round % PRUNE == 1 {
                self.prune_usage().await;
            }
        }
    }

    pub(crate) async fn flush_usage(&self, due: Due) {
        let meter: &Arc<Meter> = &self.egress.meter;
        meter.collect(&self.records);
        meter.flush(due).await;
    }

    /// Takes hours out of the view that are older than the node keeps them.
    async fn prune_usage(&self) {
        let before = now().saturating_sub(self.usage_retention.as_secs()) / HOUR * HOUR;
        let tenants = self.store.state().tenants(None, usize::MAX).unwrap_or_default();
        for tenant in tenants.into_iter().map(|row| row.name) {
            let pruned = self.store.write(Actor::system(), move |state| {
                let oldest = state.usages(&tenant, 0, 1)?.first().map(|usage| usage.hour);
                let oldest_of = state.object_usages(&tenant, 0, None, 1)?.first().map(|usage| usage.hour);
                let old = oldest.into_iter().chain(oldest_of).any(|hour| hour < before);
                Ok((old.then_some(Event::UsagePruned(UsagePruned { tenant, before })), ()))
            });
            if let Err(fault) = pruned.await {
                tracing::warn!(%fault, "old usage was not forgotten yet");
            }
        }
    }
}
