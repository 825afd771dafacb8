//! Counts what tenants use, in memory, and writes it to the journal from time to time.
//!
//! Who is counted never waits for the disk, but for the first one of an hour, who reads what a process before this one
//! had counted. What is not written yet when the process is killed is lost: of what was sent or refused [`FLUSH`] at
//! most, of calls [`CALLS`] times that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aimass_core::event::{Actor, Event};
use aimass_core::outgoing::{OutgoingCall, OutgoingError};
use aimass_core::usage::{HOUR, Usage};
use aimass_core::{Name, Tenant};
use aimass_store::Store;

use crate::Platform;
use crate::statistics::Records;

/// How often what was sent or refused is written.
const FLUSH: Duration = Duration::from_secs(10);

/// Calls alone are written every so many times: they are nobody's data, and a busy tenant would fill the journal.
const CALLS: u32 = 6;

/// Kinds of refusals of one tenant that are recorded each time; the count of all stands in the usage.
const AUDITED: usize = 5;

pub(crate) struct Meter {
    store: Store,
    key: [u8; 32],
    tenants: Mutex<HashMap<Name, Open>>,
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
    /// Plugin, reason and words, and how often.
    refused: HashMap<(Name, &'static str, String), u64>,
    /// What the records said when they were last read.
    read: Totals,
}

/// Counts since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) inferences: u64,
    pub(crate) inference_ns: u64,
    pub(crate) functions: u64,
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
    pub(super) fn current(&self, tenant: &Tenant) -> Usage {
        self.open(tenant.name(), |open| open.usage.clone())
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
            let before = self.store.state().usage(tenant, hour).unwrap_or_else(|fault| {
                tracing::warn!(%fault, "what was counted before in this hour cannot be read");
                None
            });
            let ended = std::mem::replace(&mut open.usage, before.unwrap_or_else(|| Usage::at(hour)));
            if std::mem::take(&mut open.changed) {
                open.ended.push(ended);
            }
        }
        act(open)
    }

    /// Takes over what the records counted since it was last asked.
    pub(super) fn collect(&self, records: &Records) {
        for (tenant, totals) in records.totals() {
            self.open(tenant.name(), |open| {
                let since = |now: u64, then: u64| now.saturating_sub(then);
                let Totals { inferences, inference_ns, functions } = totals;
                let new = Totals {
                    inferences: since(inferences, open.read.inferences),
                    inference_ns: since(inference_ns, open.read.inference_ns),
                    functions: since(functions, open.read.functions),
                };
                if new != Totals::default() {
                    open.usage.inferences += new.inferences;
                    open.usage.inference_ns += new.inference_ns;
                    open.usage.functions += new.functions;
                    open.changed = true;
                }
                open.read = totals;
            });
        }
    }

    /// Writes what is new, or of that only what is urgent. What cannot be written is tried again the next time.
    pub(super) async fn flush(&self, all: bool) {
        for (tenant, event) in self.unwritten(all) {
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

    fn unwritten(&self, all: bool) -> Vec<(Name, Event)> {
        let mut events = vec![];
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        for (tenant, open) in tenants.iter_mut() {
            let due = open.changed && (all || open.urgent);
            let current = due.then(|| open.usage.clone());
            if due {
                (open.changed, open.urgent) = (false, false);
            }
            let usages = open.ended.drain(..).chain(current);
            let usages = usages.map(|usage| Event::UsageRecorded { tenant: tenant.clone(), usage });
            let refused = open.refused.drain().map(|((plugin, reason, what), count)| {
                let (tenant, reason) = (tenant.clone(), reason.to_owned());
                Event::EgressRefused { tenant, plugin, reason, what, count }
            });
            events.extend(usages.chain(refused).map(|event| (tenant.clone(), event)));
        }
        events
    }

    /// Remembers usage that could not be written.
    fn again(&self, tenant: &Name, event: Event) {
        let Event::UsageRecorded { usage, .. } = event else { return };
        self.open(tenant, |open| {
            if usage.hour == open.usage.hour {
                (open.changed, open.urgent) = (true, true);
            } else {
                open.ended.push(usage);
            }
        });
    }
}

impl Platform {
    /// Writes what tenants used, again and again. It ends with the task that runs it.
    pub async fn record_usage(&self) {
        for round in 1_u32.. {
            tokio::time::sleep(FLUSH).await;
            self.flush_usage(round % CALLS == 0).await;
        }
    }

    pub(crate) async fn flush_usage(&self, all: bool) {
        let meter: &Arc<Meter> = &self.egress.meter;
        meter.collect(&self.records);
        meter.flush(all).await;
    }
}
