//! An alias in memory, and how it chooses: the hot path, so no lock and no allocation.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aimass_core::{Fault, Name, Result};

use crate::directory::Resolved;

/// The longest key that makes a choice sticky, in bytes: a session's or user's id.
const MAX_KEY: usize = 256;

/// What a caller says about the choice among an alias's versions.
#[derive(Clone, Debug, Default)]
pub struct Routing {
    /// This version of the split and no other.
    pub version: Option<u64>,
    /// Calls with the same key get the same version while the split stays, and the canary's keys stay the canary's
    /// while its part grows.
    pub key: Option<Box<[u8]>>,
    /// No call but a question about the name: the version with the largest part answers.
    pub main: bool,
}

impl Routing {
    /// For a question about a name, which is no call.
    pub fn main() -> Self {
        Self { main: true, ..Self::default() }
    }
}

/// What an alias says, with all that its calls need.
pub(crate) struct Live {
    name: Name,
    alias: Name,
    /// The versions with the sum of the weights up to theirs.
    shares: Vec<(u32, Arc<Resolved>)>,
    main: Arc<Resolved>,
    total: u32,
    /// Its answers are compared with those of whichever version served.
    pub(crate) shadow: Option<Arc<Resolved>>,
    calls: AtomicU64,
}

impl Live {
    /// # Errors
    /// `internal` without a version or with weights that come to nothing, neither of which is ever recorded.
    pub(crate) fn new(
        name: Name,
        alias: Name,
        split: Vec<(u32, Arc<Resolved>)>,
        shadow: Option<Arc<Resolved>>,
    ) -> Result<Self> {
        let heaviest = split.iter().max_by_key(|(weight, _)| *weight);
        let main = heaviest.map(|(_, version)| version.clone()).ok_or_else(|| Fault::internal("an empty split"))?;
        let mut total = 0u32;
        let sum = |(weight, version): (u32, Arc<Resolved>)| {
            total = total.saturating_add(weight);
            (total, version)
        };
        let shares = split.into_iter().map(sum).collect();
        if total == 0 {
            return Err(Fault::internal("a split without weight"));
        }
        // Not from zero: a name that is read anew often would always begin with its first version.
        let calls = AtomicU64::new(RandomState::new().build_hasher().finish());
        Ok(Self { name, alias, shares, main, total, shadow, calls })
    }

    /// The versions of the split.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &Arc<Resolved>> {
        self.shares.iter().map(|(_, version)| version)
    }

    /// Chooses a version.
    ///
    /// # Errors
    /// `invalid_request` for a version that is not one of the split, or a key that is too long.
    pub(crate) fn choose(&self, routing: &Routing) -> Result<&Arc<Resolved>> {
        if let Some(wanted) = routing.version {
            let found = self.versions().find(|version| version.version == wanted);
            return found.ok_or_else(|| self.not_in_the_split(wanted));
        }
        let point = match &routing.key {
            _ if routing.main => return Ok(&self.main),
            Some(key) => self.hash(key)?,
            // A Weyl sequence of the golden ratio (Knuth, TAOCP 6.4): any few calls in a row are split as they should
            // be, and so is every other one of them.
            None => self.calls.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        };
        let point = ((point >> 32) * u64::from(self.total)) >> 32;
        let at = self.shares.iter().find(|(sum, _)| u64::from(*sum) > point);
        Ok(at.map_or(&self.main, |(_, version)| version))
    }

    /// Of the name as well, so that a key is not everybody's first.
    fn hash(&self, key: &[u8]) -> Result<u64> {
        if key.len() > MAX_KEY {
            return Err(Fault::invalid(format!("a key is at most {MAX_KEY} bytes")));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.name.as_str().as_bytes()).update(b":").update(self.alias.as_str().as_bytes());
        hasher.update(b"\0").update(key);
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Ok(u64::from_le_bytes(first))
    }

    fn not_in_the_split(&self, wanted: u64) -> Fault {
        let known: Vec<_> = self.versions().map(|version| version.version.to_string()).collect();
        let (name, alias) = (&self.name, &self.alias);
        Fault::invalid(format!("`{name}:{alias}` is served by the versions {}, not by {wanted}", known.join(", ")))
    }
}

/// The one version that a name means which has no alias.
///
/// # Errors
/// `invalid_request` if another one is insisted on.
pub(crate) fn only(version: &Arc<Resolved>, routing: &Routing) -> Result<()> {
    match routing.version {
        Some(wanted) if wanted != version.version => {
            let detail = format!("`{}` is served by the version {}, not by {wanted}", version.name, version.version);
            Err(Fault::invalid(detail))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use aimass_core::Tenant;
    use aimass_core::event::Kind;

    use super::*;
    use crate::statistics::Records;

    fn live(split: &[(u64, u32)]) -> Live {
        let records = Records::default();
        let (tenant, name): (_, Name) = (Tenant::vouched_for("acme".parse().unwrap()), "m".parse().unwrap());
        let record = records.of(&tenant, &name, Kind::Model);
        let version =
            |(number, weight): &(u64, u32)| (*weight, Arc::new(Resolved::bare(name.clone(), *number, &record)));
        Live::new(name.clone(), "prod".parse().unwrap(), split.iter().map(version).collect(), None).unwrap()
    }

    fn counts(live: &Live, calls: usize, routing: impl Fn(usize) -> Routing) -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        for n in 0..calls {
            *counts.entry(live.choose(&routing(n)).unwrap().version).or_default() += 1;
        }
        counts
    }

    #[test]
    fn calls_are_split_by_weight_also_over_a_short_time() {
        let live = live(&[(2, 90), (3, 10), (4, 0)]);
        for _ in 0..20 {
            let counts = counts(&live, 100, |_| Routing::default());
            assert!((8..=12).contains(&counts[&3]) && !counts.contains_key(&4), "{counts:?}");
        }
        // A client that comes every third time gets its part as well.
        let mut thirds = BTreeMap::<u64, usize>::new();
        for n in 0..3_000 {
            let version = live.choose(&Routing::default()).unwrap().version;
            if n % 3 == 0 {
                *thirds.entry(version).or_default() += 1;
            }
        }
        assert!((90..=110).contains(&thirds[&3]), "{thirds:?}");
    }

    #[test]
    fn a_key_sticks_and_stays_with_a_growing_canary() {
        let keyed = |n: usize| Routing { key: Some(format!("user-{n}").into_bytes().into()), ..Routing::default() };
        let of = |live: &Live| (0..2_000).map(|n| live.choose(&keyed(n)).unwrap().version).collect::<Vec<_>>();
        let (small, large) = (of(&live(&[(2, 90), (3, 10)])), of(&live(&[(2, 1), (3, 1)])));
        assert_eq!(small, of(&live(&[(2, 90), (3, 10)])), "the same after a restart");
        let part = small.iter().filter(|version| **version == 3).count();
        assert!((140..=260).contains(&part), "{part} of 2,000");
        assert!(small.iter().zip(&large).all(|(before, after)| *before == 2 || *after == 3));
        let long = Routing { key: Some(vec![0; MAX_KEY + 1].into()), ..Routing::default() };
        assert!(live(&[(2, 1)]).choose(&long).is_err());
    }

    #[test]
    fn a_version_can_be_insisted_on_if_it_is_one_of_the_split() {
        let live = live(&[(2, 100), (3, 0)]);
        let forced = |version| Routing { version: Some(version), ..Routing::default() };
        assert_eq!(counts(&live, 10, |_| forced(3)), BTreeMap::from([(3, 10)]));
        assert!(live.choose(&forced(4)).err().unwrap().detail().contains("versions 2, 3"));
        assert_eq!(counts(&live, 10, |_| Routing::main()), BTreeMap::from([(2, 10)]));
    }
}
