//! What was called in the last hour, minute by minute: for whoever looks now. The statistics count for ever, so this
//! reads them now and then and keeps the differences; calls themselves pay nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aimass_core::{Name, Result, Tenant};
use serde::Serialize;

use crate::statistics::Records;
use crate::{Asked, Platform, Scope};

/// Minutes that are kept.
const MINUTES: u64 = 60;

/// How often the statistics are read. Who looks reads them as well.
const EVERY: Duration = Duration::from_secs(10);

/// The calls of one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MinuteDocument {
    /// When it began, seconds since the epoch.
    pub minute: u64,
    /// Inferences that were answered.
    pub answered: u64,
    /// Inferences that failed.
    pub failed: u64,
    /// The time of both together, nanoseconds.
    pub inference_ns: u64,
    /// Calls of HTTP functions.
    pub functions: u64,
}

/// Counts since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    pub(crate) ns: u64,
    pub(crate) functions: u64,
}

/// The last minutes of one name.
#[derive(Default)]
struct Series {
    /// What each version's statistics said when they were last read.
    last: BTreeMap<u64, Seen>,
    /// Minutes in which anything was called.
    minutes: BTreeMap<u64, MinuteDocument>,
}

/// The last hour of everybody.
#[derive(Default)]
pub(crate) struct Recent(Mutex<HashMap<(Tenant, Name), Series>>);

impl Recent {
    /// Reads the statistics at `now`, seconds since the epoch.
    fn read(&self, records: &Records, now: u64) {
        let minute = now / 60 * 60;
        let oldest = minute.saturating_sub((MINUTES - 1) * 60);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = HashMap::with_capacity(all.len());
        for (tenant, name, record) in records.list(None) {
            let key = (tenant, name);
            let mut series = all.remove(&key).unwrap_or_default();
            for (version, seen) in record.seen() {
                let before = series.last.insert(version, seen).unwrap_or_default();
                // A name that was deleted and made anew begins at zero again.
                let before = if seen.answered < before.answered { Seen::default() } else { before };
                if seen != before {
                    let of = series.minutes.entry(minute).or_insert(MinuteDocument { minute, ..Default::default() });
                    of.answered += seen.answered.saturating_sub(before.answered);
                    of.failed += seen.failed.saturating_sub(before.failed);
                    of.inference_ns += seen.ns.saturating_sub(before.ns);
                    of.functions += seen.functions.saturating_sub(before.functions);
                }
            }
            series.minutes.retain(|&minute, _| minute >= oldest);
            known.insert(key, series);
        }
        *all = known;
    }

    /// The last hour of a tenant, or of one of its names: every minute of it, oldest first.
    fn of(&self, tenant: &Tenant, wanted: impl Fn(&Name) -> bool, now: u64) -> Vec<MinuteDocument> {
        let last = now / 60 * 60;
        let minutes = (0..MINUTES).rev().map(|back| last.saturating_sub(back * 60));
        let mut sums: BTreeMap<u64, MinuteDocument> =
            minutes.map(|minute| (minute, MinuteDocument { minute, ..MinuteDocument::default() })).collect();
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((owner, name), series) in &*all {
            if owner != tenant || !wanted(name) {
                continue;
            }
            for (minute, of) in &series.minutes {
                if let Some(sum) = sums.get_mut(minute) {
                    sum.answered += of.answered;
                    sum.failed += of.failed;
                    sum.inference_ns += of.inference_ns;
                    sum.functions += of.functions;
                }
            }
        }
        sums.into_values().collect()
    }
}

impl Platform {
    /// What the tenant's plugins and models were called in the last hour, or one of them: all of its minutes, oldest
    /// first. It begins with this process.
    ///
    /// # Errors
    /// `insufficient_scope` if the token may neither see plugins nor models, or not the kind of this name; `not_found`.
    pub fn recent_calls(&self, asked: Asked<'_>, name: Option<&Name>) -> Result<Vec<MinuteDocument>> {
        let tenant = asked.by.tenant()?;
        let sees = |scope| asked.by.require(scope);
        match name {
            Some(name) => {
                let row = self.store.state().object(tenant, name)?.filter(|row| !row.deleted);
                let row = row.ok_or_else(aimass_core::Fault::not_found)?;
                sees(match row.kind {
                    aimass_core::event::Kind::Plugin => Scope::PluginsRead,
                    aimass_core::event::Kind::Model => Scope::ModelsRead,
                })?;
            }
            None => sees(Scope::PluginsRead).or_else(|_| sees(Scope::ModelsRead))?,
        }
        let now = now();
        self.recent.read(&self.records, now);
        Ok(self.recent.of(tenant, |other| name.is_none_or(|name| name == other), now))
    }

    /// Reads the statistics now and then, so that each call is counted in its minute. It does not end.
    pub async fn follow_calls(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.recent.read(&self.records, now());
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use aimass_core::event::Kind;

    use super::*;
    use crate::statistics::Observation;

    #[test]
    fn calls_are_counted_in_their_minute_for_an_hour() {
        let (recent, records) = (Recent::default(), Records::default());
        let tenant = Tenant::vouched_for("acme".parse().unwrap());
        let name: Name = "m".parse().unwrap();
        let recorder = records.of(&tenant, &name, Kind::Model).version(1);
        let start = 1_000 * 60;
        recorder.succeeded(Duration::from_millis(2), &Observation::default());
        recent.read(&records, start + 5);
        recorder.failed(Duration::from_millis(3));
        recorder.function();
        recent.read(&records, start + 59);
        recorder.succeeded(Duration::from_millis(4), &Observation::default());
        recent.read(&records, start + 60);
        recent.read(&records, start + 61);

        let hour = recent.of(&tenant, |_| true, start + 65);
        assert_eq!(hour.len(), 60);
        let first = MinuteDocument { minute: start, answered: 1, failed: 1, inference_ns: 5_000_000, functions: 1 };
        assert_eq!(hour[58], first);
        assert_eq!((hour[59].answered, hour[59].inference_ns), (1, 4_000_000));
        assert!(recent.of(&tenant, |other| other.as_str() == "n", start + 65).iter().all(|m| m.answered == 0));
        let other = Tenant::vouched_for("other".parse().unwrap());
        assert!(recent.of(&other, |_| true, start + 65).iter().all(|m| m.answered == 0));

        recent.read(&records, start + 3_600);
        let hour = recent.of(&tenant, |_| true, start + 3_600);
        assert_eq!((hour[0].minute, hour[0].answered), (start + 60, 1));
        records.forget(&tenant, &name);
        recent.read(&records, start + 3_600);
        assert!(recent.0.lock().unwrap().is_empty(), "what was deleted is not kept");
    }
}
