//! What the calls of one plugin or model came to since somebody last looked: a handful of relaxed atomics, taken out
//! by whoever writes usage down. A call adds to what it resolved anyway.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use aimass_core::usage::{Calls, Meter};

use crate::statistics::Record;

#[derive(Default)]
pub(crate) struct Counters {
    inferences: AtomicU64,
    inference_ns: AtomicU64,
    functions: AtomicU64,
    guest_inferences: AtomicU64,
    errors: AtomicU64,
    guest_ns: AtomicU64,
    engine_ns: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    memory_kib_ms: AtomicU64,
}

impl Counters {
    /// An inference that a client asked for is over.
    pub(crate) fn inference(&self, took: Duration, failed: bool) {
        self.inferences.fetch_add(1, Relaxed);
        self.inference_ns.fetch_add(nanos(took), Relaxed);
        self.errors.fetch_add(failed.into(), Relaxed);
    }

    /// A call of a function is over.
    pub(crate) fn function(&self, failed: bool) {
        self.functions.fetch_add(1, Relaxed);
        self.errors.fetch_add(failed.into(), Relaxed);
    }

    /// A guest has run a model.
    pub(crate) fn guest_inference(&self, failed: bool) {
        self.guest_inferences.fetch_add(1, Relaxed);
        self.errors.fetch_add(failed.into(), Relaxed);
    }

    /// An engine ran for `compute`, for `batch` calls together, of which this was one.
    pub(crate) fn engine(&self, compute: Duration, batch: u32) {
        self.engine_ns.fetch_add(nanos(compute) / u64::from(batch.max(1)), Relaxed);
    }

    pub(crate) fn came(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn went(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Relaxed);
    }

    /// What came since the last time. Sums that belong together may be taken a call apart.
    pub(crate) fn take(&self) -> Calls {
        let take = |counter: &AtomicU64| match counter.load(Relaxed) {
            // Most have nothing, and reading costs others nothing.
            0 => 0,
            _ => counter.swap(0, Relaxed),
        };
        Calls {
            inferences: take(&self.inferences),
            inference_ns: take(&self.inference_ns),
            functions: take(&self.functions),
            guest_inferences: take(&self.guest_inferences),
            errors: take(&self.errors),
            guest_ns: take(&self.guest_ns),
            engine_ns: take(&self.engine_ns),
            bytes_in: take(&self.bytes_in),
            bytes_out: take(&self.bytes_out),
            memory_kib_ms: take(&self.memory_kib_ms),
        }
    }
}

impl Meter for Record {
    fn ran(&self, time: Duration) {
        self.used.guest_ns.fetch_add(nanos(time), Relaxed);
    }

    fn held(&self, bytes: usize, time: Duration) {
        // In microseconds: most calls live for less than a millisecond.
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let kib_ms = (bytes as u64 >> 10).saturating_mul(micros) / 1_000;
        self.used.memory_kib_ms.fetch_add(kib_ms, Relaxed);
    }
}

/// 584 years fit.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
