//! What calls cost, counted per tenant, name and version; and which names were unloaded.
//!
//! A call finds its [`Recorder`] in what it resolved anyway, and adds to a handful of relaxed atomics. Sums that belong
//! together may be read a call apart. They live as long as the process: whoever wants more keeps the metrics.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aimass_core::event::Kind;
use aimass_core::usage::Calls;
use aimass_core::{Name, Source, Tenant};

use crate::counters::Counters;
use crate::deployments::Shadowed;
use crate::recent::Seen;
use crate::window::{Figures, Windows};

/// Where the time of one successful call went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Waiting for a thread or for others to form a batch.
    pub queue: Duration,
    /// Bringing the inputs to the engine.
    pub compute_input: Duration,
    /// The run itself.
    pub compute_infer: Duration,
    /// Bringing the outputs back.
    pub compute_output: Duration,
    /// How many calls ran together in this call's execution, itself among them; 0 counts as 1.
    pub batch: u64,
}

/// Calls, and the nanoseconds that they took together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// Nanoseconds.
    pub ns: u64,
}

/// The counts of one version, read at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that were answered, from start to end.
    pub success: Sum,
    /// Calls that failed after their inputs were found to fit.
    pub fail: Sum,
    /// See [`Observation::queue`]; the count is that of the successful calls, so in all that follow.
    pub queue: Sum,
    /// See [`Observation::compute_input`].
    pub compute_input: Sum,
    /// See [`Observation::compute_infer`].
    pub compute_infer: Sum,
    /// See [`Observation::compute_output`].
    pub compute_output: Sum,
    /// Runs of the engine: fewer than calls where calls were batched.
    pub executions: u64,
    /// When the last call ended, milliseconds since the epoch; 0 for never.
    pub last_ms: u64,
    /// Executions by batch size, with the times of each.
    pub batches: BTreeMap<u64, BatchCounts>,
}

/// The executions of one batch size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchCounts {
    /// How many.
    pub executions: u64,
    /// Nanoseconds of [`Observation::compute_input`] together.
    pub input_ns: u64,
    /// Nanoseconds of [`Observation::compute_infer`] together.
    pub infer_ns: u64,
    /// Nanoseconds of [`Observation::compute_output`] together.
    pub output_ns: u64,
}

/// Counts one version's calls.
#[derive(Default)]
pub(crate) struct Recorder {
    success: Total,
    fail: Total,
    queue_ns: AtomicU64,
    input_ns: AtomicU64,
    infer_ns: AtomicU64,
    output_ns: AtomicU64,
    last_ms: AtomicU64,
    /// Calls as an HTTP function, which are told apart from inferences.
    functions: AtomicU64,
    /// Calls that ran in batches of more than one, by size. Only those pay for the lock.
    batched: Mutex<BTreeMap<u64, Batched>>,
    /// An alias names it or has done so.
    watched: AtomicBool,
    /// The last minute and hour, once it was called while it was watched.
    windows: OnceLock<Windows>,
    /// How it compares as another version's shadow.
    pub(crate) shadowed: Shadowed,
}

#[derive(Default)]
struct Total {
    count: AtomicU64,
    ns: AtomicU64,
}

impl Total {
    fn add(&self, took: Duration) {
        self.count.fetch_add(1, Relaxed);
        self.ns.fetch_add(nanos(took), Relaxed);
    }

    fn read(&self) -> Sum {
        Sum { count: self.count.load(Relaxed), ns: self.ns.load(Relaxed) }
    }
}

#[derive(Clone, Copy, Default)]
struct Batched {
    calls: u64,
    input_ns: u64,
    infer_ns: u64,
    output_ns: u64,
}

impl Recorder {
    /// A call was answered after `took`.
    pub(crate) fn succeeded(&self, took: Duration, observed: &Observation) {
        self.success.add(took);
        for (sum, part) in [
            (&self.queue_ns, observed.queue),
            (&self.input_ns, observed.compute_input),
            (&self.infer_ns, observed.compute_infer),
            (&self.output_ns, observed.compute_output),
        ] {
            if !part.is_zero() {
                sum.fetch_add(nanos(part), Relaxed);
            }
        }
        if observed.batch > 1 {
            let mut batched = self.batched.lock().unwrap_or_else(PoisonError::into_inner);
            let size = batched.entry(observed.batch).or_default();
            size.calls += 1;
            size.input_ns += nanos(observed.compute_input);
            size.infer_ns += nanos(observed.compute_infer);
            size.output_ns += nanos(observed.compute_output);
        }
        self.ended();
    }

    /// A call failed after `took`.
    pub(crate) fn failed(&self, took: Duration) {
        self.fail.add(took);
        self.ended();
    }

    /// From now on the last minute and hour are remembered.
    pub(crate) fn watch(&self) {
        self.watched.store(true, Relaxed);
    }

    /// A call that ended after `took` counts in the last minute and hour, unless its caller is to blame for its failure.
    pub(crate) fn ended_with(&self, took: Duration, failed: Option<Source>) {
        if self.watched.load(Relaxed) && failed != Some(Source::Caller) {
            self.windows.get_or_init(Windows::default).add(took, failed.is_some());
        }
    }

    /// A call that was counted as answered has failed after all.
    pub(crate) fn failed_late(&self, by: Source) {
        if let Some(windows) = self.windows.get().filter(|_| by != Source::Caller) {
            windows.fail();
        }
    }

    /// The last minute; only what came in the second `since` or later.
    pub(crate) fn last_minute(&self, since: u64) -> Figures {
        self.windows.get().map(|windows| windows.last_minute(since)).unwrap_or_default()
    }

    /// The last hour; only whole minutes since the second `since`.
    pub(crate) fn last_hour(&self, since: u64) -> Figures {
        self.windows.get().map(|windows| windows.last_hour(since)).unwrap_or_default()
    }

    /// It was called as an HTTP function.
    pub(crate) fn function(&self) {
        self.functions.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> Counts {
        let (success, fail) = (self.success.read(), self.fail.read());
        let part = |ns: &AtomicU64| Sum { count: success.count, ns: ns.load(Relaxed) };
        let mut counts = Counts {
            success,
            fail,
            queue: part(&self.queue_ns),
            compute_input: part(&self.input_ns),
            compute_infer: part(&self.infer_ns),
            compute_output: part(&self.output_ns),
            executions: 0,
            last_ms: self.last_ms.load(Relaxed),
            batches: BTreeMap::new(),
        };
        // Each call of a batch saw the whole execution, so that is divided among them.
        let mut alone = Batched {
            calls: counts.success.count,
            input_ns: counts.compute_input.ns,
            infer_ns: counts.compute_infer.ns,
            output_ns: counts.compute_output.ns,
        };
        for (&size, of) in &*self.batched.lock().unwrap_or_else(PoisonError::into_inner) {
            alone.calls = alone.calls.saturating_sub(of.calls);
            alone.input_ns = alone.input_ns.saturating_sub(of.input_ns);
            alone.infer_ns = alone.infer_ns.saturating_sub(of.infer_ns);
            alone.output_ns = alone.output_ns.saturating_sub(of.output_ns);
            counts.batches.insert(size, executions(of, size));
        }
        if alone.calls > 0 {
            counts.batches.insert(1, executions(&alone, 1));
        }
        counts.executions = counts.batches.values().map(|batch| batch.executions).sum();
        counts
    }

    fn ended(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_ms.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// What `of` calls in batches of `size` were to the engine. A batch that is partly recorded counts.
fn executions(of: &Batched, size: u64) -> BatchCounts {
    BatchCounts {
        executions: of.calls.div_ceil(size),
        input_ns: of.input_ns / size,
        infer_ns: of.infer_ns / size,
        output_ns: of.output_ns / size,
    }
}

/// 584 years fit.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What is remembered of a plugin or model while the process lives.
pub(crate) struct Record {
    pub(crate) kind: Kind,
    /// What its calls came to, until that is written down.
    pub(crate) used: Counters,
    /// It was asked out of memory, and nobody has called or loaded it since.
    unloaded: AtomicBool,
    versions: RwLock<BTreeMap<u64, Arc<Recorder>>>,
}

impl Record {
    /// The recorder of a version.
    pub(crate) fn version(&self, version: u64) -> Arc<Recorder> {
        if let Some(found) = self.versions.read().unwrap_or_else(PoisonError::into_inner).get(&version) {
            return found.clone();
        }
        self.versions.write().unwrap_or_else(PoisonError::into_inner).entry(version).or_default().clone()
    }

    /// Every version that was asked for, with its counts.
    pub(crate) fn counts(&self) -> Vec<(u64, Counts)> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        versions.iter().map(|(&version, recorder)| (version, recorder.read())).collect()
    }

    /// The sums of every version that was asked for, without their parts.
    pub(crate) fn seen(&self) -> Vec<(u64, Seen)> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        let sums = versions.iter().map(|(&version, recorder)| {
            let (success, fail) = (recorder.success.read(), recorder.fail.read());
            let functions = recorder.functions.load(Relaxed);
            (version, Seen { answered: success.count, failed: fail.count, ns: success.ns + fail.ns, functions })
        });
        sums.collect()
    }

    pub(crate) fn unloaded(&self) -> bool {
        self.unloaded.load(Relaxed)
    }

    /// Remembers whether it was unloaded. Writes only what is new: every call comes here.
    pub(crate) fn set_unloaded(&self, unloaded: bool) {
        if self.unloaded.load(Relaxed) != unloaded {
            self.unloaded.store(unloaded, Relaxed);
        }
    }
}

/// The records of all tenants.
#[derive(Default)]
pub(crate) struct Records {
    all: RwLock<HashMap<Tenant, BTreeMap<Name, Arc<Record>>>>,
    /// Names that were deleted, while calls of theirs are under way.
    gone: Mutex<Vec<(Tenant, Name, Arc<Record>)>>,
}

impl Records {
    /// The record of a name that exists.
    pub(crate) fn of(&self, tenant: &Tenant, name: &Name, kind: Kind) -> Arc<Record> {
        if let Some(found) = self.get(tenant, name).filter(|found| found.kind == kind) {
            return found;
        }
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let names = all.entry(tenant.clone()).or_default();
        let new = || {
            let (used, unloaded, versions) = (Counters::default(), AtomicBool::new(false), RwLock::default());
            Arc::new(Record { kind, used, unloaded, versions })
        };
        let record = names.entry(name.clone()).or_insert_with(new);
        if record.kind != kind {
            *record = new();
        }
        record.clone()
    }

    /// The record of a name, if it was ever asked for.
    pub(crate) fn get(&self, tenant: &Tenant, name: &Name) -> Option<Arc<Record>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(tenant)?.get(name).cloned()
    }

    /// Forgets a name that was deleted. What its calls under way come to is still counted.
    pub(crate) fn forget(&self, tenant: &Tenant, name: &Name) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = all.get_mut(tenant).and_then(|names| names.remove(name)) {
            let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
            gone.push((tenant.clone(), name.clone(), record));
        }
    }

    /// What the calls of each name came to since the last time; without those that nobody called.
    pub(crate) fn take(&self) -> Vec<(Tenant, Name, Calls)> {
        let mut records = self.list(None);
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        records.extend(gone.iter().cloned());
        // Whoever has the last one counts no more. Looked at first: what came before is taken below.
        gone.retain(|(_, _, record)| Arc::strong_count(record) > 2);
        drop(gone);
        let taken = records.into_iter().map(|(tenant, name, record)| (tenant, name, record.used.take()));
        taken.filter(|(_, _, calls)| *calls != Calls::default()).collect()
    }

    /// Forgets all of a tenant's names.
    pub(crate) fn forget_tenant(&self, tenant: &Name) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|owner, _| owner.name() != tenant);
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).retain(|(owner, ..)| owner.name() != tenant);
    }

    /// Everything, or what one tenant has.
    pub(crate) fn list(&self, of: Option<&Tenant>) -> Vec<(Tenant, Name, Arc<Record>)> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let tenants = all.iter().filter(|(tenant, _)| of.is_none_or(|of| of == *tenant));
        let rows = tenants.flat_map(|(tenant, names)| names.iter().map(move |(name, record)| (tenant, name, record)));
        rows.map(|(tenant, name, record)| (tenant.clone(), name.clone(), record.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn calls_and_their_parts_add_up() {
        let recorder = Recorder::default();
        let observed = Observation { queue: MS, compute_infer: 2 * MS, batch: 1, ..Observation::default() };
        recorder.succeeded(3 * MS, &observed);
        recorder.succeeded(3 * MS, &observed);
        recorder.failed(5 * MS);
        let counts = recorder.read();
        assert_eq!((counts.success, counts.fail), (Sum { count: 2, ns: 6_000_000 }, Sum { count: 1, ns: 5_000_000 }));
        assert_eq!((counts.queue.ns, counts.compute_infer.ns, counts.compute_input.ns), (2_000_000, 4_000_000, 0));
        assert_eq!((counts.queue.count, counts.executions), (2, 2));
        assert!(counts.last_ms > 1_700_000_000_000);
    }

    #[test]
    fn a_batch_is_one_execution() {
        let recorder = Recorder::default();
        recorder.succeeded(MS, &Observation { compute_infer: MS, ..Observation::default() });
        for _ in 0..8 {
            recorder.succeeded(4 * MS, &Observation { compute_infer: 4 * MS, batch: 4, ..Observation::default() });
        }
        let counts = recorder.read();
        assert_eq!((counts.success.count, counts.executions), (9, 3));
        assert_eq!((counts.batches[&4].executions, counts.batches[&4].infer_ns), (2, 8_000_000));
        assert_eq!((counts.batches[&1].executions, counts.batches[&1].infer_ns), (1, 1_000_000));
    }

    #[test]
    fn a_deleted_name_starts_anew() {
        let (records, tenant) = (Records::default(), Tenant::vouched_for("acme".parse().unwrap()));
        let name: Name = "m".parse().unwrap();
        records.of(&tenant, &name, Kind::Model).version(1).failed(MS);
        assert_eq!(records.of(&tenant, &name, Kind::Model).counts()[0].1.fail.count, 1);
        records.forget(&tenant, &name);
        assert!(records.get(&tenant, &name).is_none());
        assert!(records.of(&tenant, &name, Kind::Plugin).counts().is_empty());
        assert_eq!(records.list(Some(&tenant)).len(), 1);
        assert!(records.list(Some(&Tenant::vouched_for("other".parse().unwrap()))).is_empty());
    }
}
