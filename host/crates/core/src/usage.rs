//! What a tenant used in one hour.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Name;

/// Seconds of the pieces that usage is counted in.
pub const HOUR: u64 = 3600;

/// Seconds that a limit by the day is for, from midnight UTC.
pub const DAY: u64 = 24 * HOUR;

/// Hashes that a [`Subjects`] keeps: up to so many it is exact, beyond it errs by 1/√(k−2), 6 %.
const KEPT: usize = 256;

/// Pairs of regions, of one hour, whose distinct subjects are counted; a tenant has one or two.
const COUNTED: usize = 8;

/// What a tenant used in one hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// When the hour began, seconds since the epoch.
    pub hour: u64,
    /// What calls came to, of all plugins and models together.
    #[serde(flatten)]
    pub calls: Calls,
    /// What was sent out, by the regions of the data and of the destination.
    #[serde(default)]
    pub flows: Vec<Flow>,
    /// Outgoing requests that were refused, by reason.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
}

/// What calls came to: of one plugin or model, or of a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Calls {
    /// Inferences that a client asked for, that were answered or failed.
    pub inferences: u64,
    /// Their time, nanoseconds.
    pub inference_ns: u64,
    /// Calls of HTTP functions.
    pub functions: u64,
    /// Runs of a model that a guest asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub guest_inferences: u64,
    /// Calls that failed, and functions that answered with a status of 500 or above.
    #[serde(skip_serializing_if = "is_zero")]
    pub errors: u64,
    /// Time that guests ran on a processor, nanoseconds: what they waited for does not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub guest_ns: u64,
    /// Time of runs in an engine, nanoseconds; what ran together is divided among those that it ran for.
    #[serde(skip_serializing_if = "is_zero")]
    pub engine_ns: u64,
    /// Bytes of tensors and bodies that came in.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_in: u64,
    /// Bytes of tensors and bodies that were answered with.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_out: u64,
    /// Memory of guests by how long they had it: KiB times milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub memory_kib_ms: u64,
}

/// What the calls of one plugin or model came to in one hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectUsage {
    /// When the hour began, seconds since the epoch.
    pub hour: u64,
    /// The plugin's or model's name.
    pub name: Name,
    /// What they came to.
    #[serde(flatten)]
    pub calls: Calls,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde asks.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Calls {
    /// What a day's limit on compute is held against: processors and engines, nanoseconds.
    pub fn compute_ns(&self) -> u64 {
        self.guest_ns.saturating_add(self.engine_ns)
    }
}

impl AddAssign for Calls {
    fn add_assign(&mut self, other: Self) {
        self.inferences += other.inferences;
        self.inference_ns += other.inference_ns;
        self.functions += other.functions;
        self.guest_inferences += other.guest_inferences;
        self.errors += other.errors;
        self.guest_ns += other.guest_ns;
        self.engine_ns += other.engine_ns;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.memory_kib_ms += other.memory_kib_ms;
    }
}

/// Is told what a guest has used, when it ends, however it ends. Whoever tells never waits.
pub trait Meter: Send + Sync {
    /// It ran on a processor for so long.
    fn ran(&self, time: Duration);

    /// It had so many bytes of memory in the end, and lived for so long.
    fn held(&self, bytes: usize, time: Duration);
}

/// What was sent from one region to another, or within one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The region that the data is labelled with.
    pub from: Name,
    /// The region of the destinations.
    pub to: Name,
    /// Requests.
    #[serde(default)]
    pub requests: u64,
    /// Bytes of the requests' bodies.
    #[serde(default)]
    pub sent: u64,
    /// Bytes of the answers' bodies.
    #[serde(default)]
    pub received: u64,
    /// Whose data it was, as far as the guests declared it.
    #[serde(default)]
    pub subjects: Subjects,
}

impl Usage {
    /// Nothing, in the hour that holds `seconds` since the epoch.
    pub fn at(seconds: u64) -> Self {
        Self { hour: seconds / HOUR * HOUR, ..Self::default() }
    }

    /// Counts one request, and the hashes of the subjects that it declared.
    pub fn request(&mut self, from: &Name, to: &Name, subjects: impl IntoIterator<Item = u64>) {
        let counted = self.flows.len() < COUNTED;
        let flow = self.flow(from, to);
        flow.requests += 1;
        if counted || !flow.subjects.is_empty() {
            flow.subjects.extend(subjects);
        }
    }

    /// Counts bytes of bodies.
    pub fn bytes(&mut self, from: &Name, to: &Name, sent: u64, received: u64) {
        let flow = self.flow(from, to);
        flow.sent += sent;
        flow.received += received;
    }

    /// Bytes of requests' bodies that were sent out, anywhere.
    pub fn sent(&self) -> u64 {
        self.flows.iter().map(|flow| flow.sent).fold(0, u64::saturating_add)
    }

    /// Counts refused requests.
    pub fn refuse(&mut self, reason: &str) {
        *self.refused.entry(reason.to_owned()).or_default() += 1;
    }

    fn flow(&mut self, from: &Name, to: &Name) -> &mut Flow {
        let at = match self.flows.iter().position(|flow| flow.from == *from && flow.to == *to) {
            Some(at) => at,
            None => {
                let (from, to) = (from.clone(), to.clone());
                self.flows.push(Flow { from, to, requests: 0, sent: 0, received: 0, subjects: Subjects::default() });
                self.flows.len() - 1
            }
        };
        &mut self.flows[at]
    }
}

/// How many distinct subjects there were, by the smallest of their hashes (k minimum values: Bar-Yossef et al. 2002,
/// Beyer et al. 2007). It holds no names, and two of them can be united.
///
/// ```
/// use aimass_core::usage::Subjects;
/// let mut subjects = Subjects::default();
/// subjects.extend([7, 9, 7]);
/// assert_eq!(subjects.estimate(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subjects(BTreeSet<u64>);

impl Subjects {
    /// How many, exact up to 256.
    pub fn estimate(&self) -> u64 {
        match self.0.last() {
            // The k-th smallest of n values that fall evenly on the line is near k/n of it.
            Some(&last) if self.0.len() == KEPT => {
                (((KEPT - 1) as f64) * (u64::MAX as f64) / (last.max(1) as f64)).round() as u64
            }
            _ => self.0.len() as u64,
        }
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Extend<u64> for Subjects {
    fn extend<I: IntoIterator<Item = u64>>(&mut self, hashes: I) {
        for hash in hashes {
            self.0.insert(hash);
            if self.0.len() > KEPT {
                self.0.pop_last();
            }
        }
    }
}

impl From<Subjects> for String {
    fn from(subjects: Subjects) -> Self {
        subjects.0.iter().map(|hash| hex::encode(hash.to_be_bytes())).collect()
    }
}

impl TryFrom<String> for Subjects {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = hex::decode(text)?;
        let (hashes, _) = bytes.as_chunks::<8>();
        Ok(Self(hashes.iter().map(|hash| u64::from_be_bytes(*hash)).take(KEPT).collect()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// splitmix64 (Steele, Lea, Flood 2014): even enough for a hash.
    fn hash(n: u64) -> u64 {
        let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn subjects_are_exact_when_few_and_near_when_many() {
        for n in [0, 1, 3, 255] {
            let mut subjects = Subjects::default();
            subjects.extend((0..n).chain(0..n).map(hash));
            assert_eq!(subjects.estimate(), n);
        }
        for n in [1_000_u64, 10_000, 100_000] {
            let mut subjects = Subjects::default();
            subjects.extend((0..n).map(hash));
            let off = subjects.estimate().abs_diff(n) as f64 / n as f64;
            assert!(off < 0.2, "{n}: {}", subjects.estimate());
            let text = String::from(subjects.clone());
            assert_eq!((text.len(), Subjects::try_from(text).unwrap()), (256 * 16, subjects));
        }
    }

    #[test]
    fn flows_are_counted_apart_and_the_row_stays_small() {
        let mut usage = Usage::at(7_205);
        assert_eq!(usage.hour, 7_200);
        for to in 0..40 {
            let to: Name = format!("r{to}").parse().unwrap();
            usage.request(&"eu".parse().unwrap(), &to, (0..1_000).map(hash));
            usage.bytes(&"eu".parse().unwrap(), &to, 2, 3);
        }
        assert_eq!((usage.flows.len(), usage.flows[39].requests, usage.flows[39].received), (40, 1, 3));
        assert!(serde_json::to_vec(&usage).unwrap().len() < 50 << 10);
        assert_eq!(serde_json::from_str::<Usage>(&serde_json::to_string(&usage).unwrap()).unwrap(), usage);
    }
}
