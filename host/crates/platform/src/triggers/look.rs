//! How far a trigger is with its bucket, and how long that rests when it fails.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aimass_core::{Code, Fault, Result};
use aimass_store::FoundObject;

/// A bucket that fails is looked into again after this time at the latest, unless it is looked into more rarely anyway.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// Objects that are passed over, for each trigger.
const PASSED: usize = 1_000;

/// How far a trigger is with its bucket.
pub(super) struct Look {
    pub(super) due: Instant,
    pub(super) failures: u32,
    /// Objects that it was fired for.
    pub(super) fired: u64,
    /// The name behind which the next look goes on; none at the first one.
    pub(super) after: Option<String>,
    /// Objects that are listed and could not be read, by name.
    passed: BTreeMap<String, Passed>,
}

/// An object that is passed over while this version of it is there.
struct Passed {
    version: String,
    /// Whether it was listed since the list was begun.
    listed: bool,
    /// Why the storage did not give it, and when that was. None for a name without an object: what some programs make
    /// in place of folders.
    refused: Option<(Instant, String)>,
}

impl Look {
    pub(super) fn new(due: Instant) -> Self {
        Self { due, failures: 0, fired: 0, after: None, passed: BTreeMap::new() }
    }

    /// The list is read to its end: what was passed over and did not stand in it is gone.
    pub(super) fn ended(&mut self) {
        self.after = None;
        self.passed.retain(|_, passed| std::mem::take(&mut passed.listed));
    }

    /// An object is taken.
    pub(super) fn take(&mut self, path: &str) {
        self.passed.remove(path);
        self.fired += 1;
    }

    pub(super) fn may_read(&mut self, object: &FoundObject) -> bool {
        self.passed.get_mut(&object.path).is_none_or(|passed| {
            passed.listed = true;
            let again = passed.refused.as_ref().is_some_and(|(at, _)| at.elapsed() > LONGEST_PAUSE);
            again || passed.version != object.version
        })
    }

    /// Remembers that an object could not be read; where too many could not, none is passed over any more.
    pub(super) fn pass(&mut self, path: &str, version: String, why: Option<Fault>) -> Result<()> {
        if self.passed.len() >= PASSED && !self.passed.contains_key(path) {
            return why.map_or(Ok(()), Err);
        }
        let refused = why.map(|fault| (Instant::now(), fault.detail().to_owned()));
        self.passed.insert(path.to_owned(), Passed { version, listed: true, refused });
        Ok(())
    }

    pub(super) fn all_read(&self) -> Result<()> {
        let mut refused = self.passed.iter().filter_map(|(path, passed)| Some((path, passed.refused.as_ref()?)));
        let Some((path, (_, why))) = refused.next() else { return Ok(()) };
        let others = match refused.count() {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        Err(Fault::new(Code::Unavailable, format!("{path}{others} could not be read: {why}")))
    }
}

/// How long a bucket rests behind so many looks that failed.
pub(super) fn pause(every: Duration, failures: u32) -> Duration {
    every.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE.max(every))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_that_fails_rests_longer_each_time() {
        let seconds = |every, failures| pause(Duration::from_secs(every), failures).as_secs();
        assert_eq!([0, 1, 2, 5, 7, u32::MAX].map(|failures| seconds(10, failures)), [10, 20, 40, 320, 900, 900]);
        // What is looked into once a day is not looked into more often because it fails.
        assert_eq!([0, 3].map(|failures| seconds(86_400, failures)), [86_400, 86_400]);
    }

    #[test]
    fn what_cannot_be_read_is_told_until_it_is_gone_or_another_one() {
        let mut look = Look::new(Instant::now());
        let object = |version: &str| FoundObject { path: "a".into(), version: version.into(), size: 1, modified_ms: 0 };
        let refused = || Fault::new(Code::Conflict, "the storage answered with status 403");
        assert!(look.may_read(&object("1")));
        look.pass("a", "1".to_owned(), Some(refused())).unwrap();
        look.pass("b/", "1".to_owned(), None).unwrap();
        look.ended();
        assert!(!look.may_read(&object("1")));
        assert_eq!(look.all_read().unwrap_err().detail(), "a could not be read: the storage answered with status 403");
        assert!(look.may_read(&object("2")), "another version");
        look.ended();
        // It stood in the list the last time, and not this time.
        look.ended();
        assert!(look.all_read().is_ok() && look.passed.is_empty());
        // There are too many: the look fails, and its bucket rests.
        for n in 0..PASSED {
            look.pass(&n.to_string(), String::new(), Some(refused())).unwrap();
        }
        assert!(look.pass("another", String::new(), Some(refused())).is_err());
        assert!(look.all_read().unwrap_err().detail().starts_with("0 (and 999 more) could not be read"));
    }
}
