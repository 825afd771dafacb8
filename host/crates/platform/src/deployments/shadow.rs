//! Shadow traffic: a copy of a call goes to another version after the answer, and what that says is compared.
//!
//! It must cost nobody anything: few run at once, what comes while they run is dropped and counted, and a shadowed
//! plugin changes no data and sends nothing out.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};

use aimass_core::event::Inspection;
use aimass_core::tensor::Element;
use aimass_core::{ElementType, Name, Tenant, Tensor};
use half::{bf16, f16};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::live::Live;
use crate::directory::Resolved;
use crate::{CallOptions, Platform};

/// Copies of all tenants that run at once on a node.
const AT_ONCE: usize = 2;
/// Calls of functions whose requests are kept at once on a node, each until its answer has ended.
const KEPT: usize = 64;

/// How the answers of a shadowed version compare with those that were given, since this node started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct ShadowFigures {
    /// Answers that were the same to the last bit.
    pub equal: u64,
    /// Answers that were not.
    pub different: u64,
    /// Calls that it failed and the serving version did not.
    pub failed: u64,
    /// Calls that it got no copy of, since others were running.
    pub dropped: u64,
    /// Calls of a function that cannot be compared: the request's body was over 64 KiB or was not read to its end, or
    /// nobody took the answer to its end.
    pub not_compared: u64,
    /// The largest difference between two numbers; null if one of them was none (NaN, infinite).
    #[schemars(with = "Option<f64>")]
    pub largest_difference: f64,
}

/// Counts how a version compares as a shadow.
#[derive(Default)]
pub(crate) struct Shadowed {
    equal: AtomicU64,
    different: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    not_compared: AtomicU64,
    /// Bits of a number that is not negative: those are ordered like the numbers.
    largest: AtomicU64,
}

impl Shadowed {
    pub(crate) fn read(&self) -> ShadowFigures {
        ShadowFigures {
            equal: self.equal.load(Relaxed),
            different: self.different.load(Relaxed),
            failed: self.failed.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            not_compared: self.not_compared.load(Relaxed),
            largest_difference: f64::from_bits(self.largest.load(Relaxed)),
        }
    }

    /// There was no room for a copy.
    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// A function's call was none to compare by.
    pub(super) fn not_compared(&self) {
        self.not_compared.fetch_add(1, Relaxed);
    }

    /// It failed a call that the serving version did not.
    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// It answered the same, or by so much another thing.
    pub(super) fn compared(&self, difference: Option<f64>) {
        match difference {
            None => self.equal.fetch_add(1, Relaxed),
            Some(difference) => {
                self.largest.fetch_max(difference.to_bits(), Relaxed);
                self.different.fetch_add(1, Relaxed)
            }
        };
    }
}

/// The copies under way.
pub(crate) struct Shadows {
    pub(super) permits: Arc<Semaphore>,
    pub(super) keeping: Arc<Semaphore>,
    pub(super) platform: OnceLock<Weak<Platform>>,
}

impl Default for Shadows {
    fn default() -> Self {
        let room = |calls| Arc::new(Semaphore::new(calls));
        Self { permits: room(AT_ONCE), keeping: room(KEPT), platform: OnceLock::new() }
    }
}

/// A copy of a call that waits for the answer.
pub(crate) struct Copied {
    platform: Arc<Platform>,
    version: Arc<Resolved>,
    inputs: Vec<Tensor>,
}

impl Shadows {
    pub(crate) fn connect(&self, platform: &Arc<Platform>) {
        let _ = self.platform.set(Arc::downgrade(platform));
    }

    /// Copies a call, if its alias has a shadow. The tensors' data is shared.
    pub(crate) fn copy(&self, live: Option<&Live>, inputs: &[Tensor]) -> Option<Copied> {
        let version = live?.shadow.as_ref()?;
        let platform = self.platform.get()?.upgrade()?;
        Some(Copied { platform, version: version.clone(), inputs: inputs.to_vec() })
    }
}

impl Copied {
    /// Runs the copy beside what the caller does next, if there is room, and compares.
    pub(crate) fn follow(self, tenant: &Tenant, answer: &[Tensor], options: &CallOptions, request: &str) {
        let Self { platform, version, inputs } = self;
        let Ok(permit) = platform.shadows.permits.clone().try_acquire_owned() else {
            version.recorder.shadowed.dropped();
            return;
        };
        let options = CallOptions { shadow: true, ..options.clone() };
        let (tenant, answer, request) = (tenant.clone(), answer.to_vec(), std::sync::Arc::<str>::from(request));
        tokio::spawn(async move {
            // The answer goes out first.
            tokio::task::yield_now().await;
            let shadowed = &version.recorder.shadowed;
            // What does not fit its signature it would have refused.
            let checked = version.signature().and_then(|signature| signature.check_inputs(&inputs));
            let outcome = match checked {
                Ok(()) => platform.run(&tenant, &version, inputs, &options, &request).await,
                Err(fault) => Err(fault),
            };
            match outcome {
                Err(_) => shadowed.failed(),
                Ok((outputs, _)) if outputs == answer => shadowed.compared(None),
                Ok((outputs, _)) => {
                    // Millions of numbers take a while.
                    let compared = tokio::task::spawn_blocking(move || difference(&answer, &outputs)).await;
                    shadowed.compared(Some(compared.unwrap_or(f64::INFINITY)));
                }
            }
            drop(permit);
        });
    }
}

/// The largest difference between two numbers of two answers; infinite where they cannot be compared, 0 where only
/// what is no number differs.
fn difference(ours: &[Tensor], theirs: &[Tensor]) -> f64 {
    let mut largest = if ours.len() == theirs.len() { 0.0 } else { f64::INFINITY };
    for a in ours {
        let Some(b) = theirs.iter().find(|b| b.name() == a.name()) else { return f64::INFINITY };
        if a.element_type() != b.element_type() || a.shape() != b.shape() {
            return f64::INFINITY;
        }
        largest = largest.max(between(a, b));
    }
    largest
}

fn between(a: &Tensor, b: &Tensor) -> f64 {
    fn largest<T: Element>(a: &Tensor, b: &Tensor, number: impl Fn(T) -> f64) -> f64 {
        let pairs = a.data().chunks_exact(size_of::<T>()).zip(b.data().chunks_exact(size_of::<T>()));
        pairs.fold(0.0, |largest, (a, b)| {
            let (a, b) = (number(T::get(a)), number(T::get(b)));
            let far = if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() };
            if far.is_nan() { f64::INFINITY } else { largest.max(far) }
        })
    }
    match a.element_type() {
        ElementType::Bool => largest::<bool>(a, b, |n| n.into()),
        ElementType::Uint8 => largest::<u8>(a, b, f64::from),
        ElementType::Uint16 => largest::<u16>(a, b, f64::from),
        ElementType::Uint32 => largest::<u32>(a, b, f64::from),
        ElementType::Uint64 => largest::<u64>(a, b, |n| n as f64),
        ElementType::Int8 => largest::<i8>(a, b, f64::from),
        ElementType::Int16 => largest::<i16>(a, b, f64::from),
        ElementType::Int32 => largest::<i32>(a, b, f64::from),
        ElementType::Int64 => largest::<i64>(a, b, |n| n as f64),
        ElementType::Fp16 => largest::<f16>(a, b, f64::from),
        ElementType::Bf16 => largest::<bf16>(a, b, f64::from),
        ElementType::Fp32 => largest::<f32>(a, b, f64::from),
        ElementType::Fp64 => largest::<f64>(a, b, |n| n),
        // Texts are the same or are not.
        ElementType::Bytes => 0.0,
    }
}

/// Whether a version answers calls that can be copied.
pub(super) fn is_called(inspection: &Inspection) -> bool {
    inspection.signature.is_some() || inspection.worlds.iter().any(|world| world.starts_with("wasi:http/"))
}

/// Says that there is nothing of a version's to compare.
pub(super) fn unsupported(name: &Name, version: u64) -> aimass_core::Fault {
    let detail = format!("version {version} of `{name}` is neither a model nor an HTTP function: it answers nothing");
    aimass_core::Fault::new(aimass_core::Code::UnsupportedOperation, detail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_elements("y", [values.len() as u64], values).unwrap()
    }

    #[test]
    fn answers_are_compared_number_by_number() {
        let ours = [tensor(&[1.0, f32::NAN, -2.0])];
        assert_eq!(difference(&ours, &[tensor(&[1.5, f32::NAN, -2.25])]), 0.5);
        assert_eq!(difference(&ours, &[tensor(&[1.0, 0.0, -2.0])]), f64::INFINITY);
        assert_eq!(difference(&ours, &[tensor(&[1.0])]), f64::INFINITY);
        assert_eq!(difference(&ours, &[]), f64::INFINITY);
        assert_eq!(difference(&ours, &[tensor(&[1.0, 2.0, 3.0]).renamed("z")]), f64::INFINITY);
        let large = |n: i64| [Tensor::from_elements("n", [1], &[n]).unwrap()];
        assert_eq!(difference(&large(i64::MAX), &large(0)), i64::MAX as f64);
        let text = |t: &str| [Tensor::from_bytes_elements("t", [1], &[t]).unwrap()];
        assert_eq!(difference(&text("a"), &text("b")), 0.0);
    }

    #[test]
    fn the_largest_difference_stays() {
        let shadowed = Shadowed::default();
        for difference in [None, Some(0.5), Some(2.0), Some(1e-9), None] {
            shadowed.compared(difference);
        }
        let read = shadowed.read();
        assert_eq!((read.equal, read.different, read.largest_difference), (2, 3, 2.0));
    }
}
