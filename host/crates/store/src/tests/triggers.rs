//! Triggers and their runs in the view.

use std::sync::atomic::{AtomicU64, Ordering};

use aimass_core::Code;
use aimass_core::event::{RunCause, Trigger, TriggerDeleted, TriggerFired, TriggerPaused, TriggerRun, TriggerSet};

use super::*;
use crate::view::rebuild;

fn trigger() -> Trigger {
    serde_json::from_str(r#"{"on": {"cron": {"schedule": "@hourly"}}, "run": {"function": {"plugin": "hello"}}}"#)
        .unwrap()
}

/// Something that may happen to a trigger.
pub(super) fn some(tenant: Name, name: Name, what: u8) -> Event {
    let cause = RunCause::Cron { slot_ms: what.into(), caught_up: false };
    let run = TriggerRun::new((&tenant, &name), 0, 0, "k", cause);
    match what {
        0 => Event::TriggerSet(TriggerSet { tenant, name, trigger: trigger(), secret: None, credentials: None }),
        1 => Event::TriggerDeleted(TriggerDeleted { tenant, name }),
        2 | 3 => Event::TriggerFired(TriggerFired { tenant, name, run }),
        4 => Event::TriggerPaused(TriggerPaused { tenant, name, paused: false }),
        _ => Event::TriggerPaused(TriggerPaused { tenant, name, paused: true }),
    }
}

fn set() -> Event {
    Event::TriggerSet(TriggerSet {
        tenant: name("acme"),
        name: name("hourly"),
        trigger: trigger(),
        secret: None,
        credentials: None,
    })
}

fn fired(slot_ms: u64) -> Event {
    let (tenant, name) = (name("acme"), name("hourly"));
    let cause = RunCause::Cron { slot_ms, caught_up: false };
    let run = TriggerRun::new((&tenant, &name), 2, slot_ms, "cron", cause);
    Event::TriggerFired(TriggerFired { tenant, name, run })
}

#[tokio::test]
async fn f61_a_run_is_recorded_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    record(&store, created("acme")).await.unwrap();
    let empty = store.index().dump();
    record(&store, set()).await.unwrap();
    record(&store, fired(7_200_000)).await.unwrap();
    assert_eq!(record(&store, fired(7_200_000)).await.unwrap_err().code(), Code::Conflict);

    // An older slot does not take the newest one back.
    record(&store, fired(3_600_000)).await.unwrap();
    let acme = tenant("acme");
    let row = store.state().trigger(&acme, &name("hourly")).unwrap().unwrap();
    assert_eq!((row.last_slot_ms, row.runs, row.generation), (Some(7_200_000), 2, 2));
    let runs = store.state().trigger_runs(&acme, &name("hourly"), None, 10).unwrap();
    assert_eq!(runs.iter().map(|run| run.number).collect::<Vec<_>>(), [2, 1], "newest first");
    let before = store.state().trigger_runs(&acme, &name("hourly"), Some(2), 10).unwrap();
    assert_eq!(before.iter().map(|run| run.number).collect::<Vec<_>>(), [1]);

    // Replaced, it keeps its runs; deleted, it leaves nothing.
    record(&store, set()).await.unwrap();
    assert_eq!(store.state().trigger(&acme, &name("hourly")).unwrap().unwrap().generation, 2);
    let followed = store.index().dump();
    assert_eq!(rebuild(dir.path()).unwrap().dump(), followed);
    record(&store, Event::TriggerDeleted(TriggerDeleted { tenant: name("acme"), name: name("hourly") })).await.unwrap();
    let left = |dump: std::collections::BTreeMap<Vec<u8>, Vec<u8>>| dump.into_keys().collect::<Vec<_>>();
    assert_eq!(left(store.index().dump()), left(empty));
    assert_eq!(record(&store, fired(9)).await.unwrap_err().code(), Code::NotFound);
}

/// Milliseconds; the test's alone.
static NOW: AtomicU64 = AtomicU64::new(0);

#[tokio::test]
async fn old_runs_are_forgotten_but_none_that_may_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let clock = || NOW.load(Ordering::SeqCst);
    let store = open(dir.path(), &Options { clock, ..Options::default() }).unwrap();
    record(&store, created("acme")).await.unwrap();
    record(&store, set()).await.unwrap();
    let kept = || {
        let row = store.state().trigger(&tenant("acme"), &name("hourly")).unwrap().unwrap();
        let runs = store.state().trigger_runs(&tenant("acme"), &name("hourly"), None, usize::MAX).unwrap();
        assert_eq!(runs.last().map(|run| run.number), Some(row.oldest_run));
        runs.len()
    };
    // A burst: more than are kept, and all of them young.
    let burst: Vec<_> = (1..=1_100)
        .map(|n| {
            tokio::spawn({
                let store = store.clone();
                async move { record(&store, fired(n)).await.unwrap() }
            })
        })
        .collect();
    for one in burst {
        one.await.unwrap();
    }
    assert_eq!(kept(), 1_100);
    NOW.store(16 * 60 * 1_000, Ordering::SeqCst);
    for n in 2_001..=2_100 {
        record(&store, fired(n)).await.unwrap();
    }
    assert_eq!(kept(), 1_000, "two went with each");
    let followed = store.index().dump();
    assert_eq!(rebuild(dir.path()).unwrap().dump(), followed);
}
