//! Usage in the view: by the hour, by what is called, and pruned.

use aimass_core::event::{Event, ObjectUsageRecorded, UsagePruned, UsageRecorded};
use aimass_core::usage::{Calls, HOUR, ObjectUsage, Usage};

use super::{created, name, open, record, tenant, version};
use crate::options::Options;

fn used(hour: u64, functions: u64) -> Usage {
    Usage { calls: Calls { functions, ..Calls::default() }, ..Usage::at(hour * HOUR) }
}

#[tokio::test]
async fn hours_are_replaced_listed_and_pruned_also_by_a_rebuild() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    record(&store, created("acme")).await.unwrap();
    let object = |hour: u64, of: &str, functions| ObjectUsage {
        hour: hour * HOUR,
        name: name(of),
        calls: Calls { functions, ..Calls::default() },
    };
    for (hour, functions) in [(1, 5), (2, 6), (2, 7), (9, 1)] {
        let usage = used(hour, functions);
        record(&store, Event::UsageRecorded(UsageRecorded { tenant: name("acme"), usage })).await.unwrap();
        let objects = vec![object(hour, "b", functions), object(hour, "a", 1)];
        record(&store, Event::ObjectUsageRecorded(ObjectUsageRecorded { tenant: name("acme"), objects }))
            .await
            .unwrap();
    }
    let acme = name("acme");
    let hours = |store: &crate::Store| store.state().usages(&acme, 0, 10).unwrap();
    assert_eq!(hours(&store), [used(1, 5), used(2, 7), used(9, 1)]);
    let behind = store.state().object_usages(&acme, 0, Some((2 * HOUR, &name("a"))), 10).unwrap();
    assert_eq!(behind, [object(2, "b", 7), object(9, "a", 1), object(9, "b", 1)]);
    assert_eq!(store.state().object_usages(&acme, 2 * HOUR, None, 10).unwrap().len(), 4);

    record(&store, Event::UsagePruned(UsagePruned { tenant: name("acme"), before: 2 * HOUR })).await.unwrap();
    assert_eq!(hours(&store), [used(2, 7), used(9, 1)]);
    assert_eq!(store.state().object_usages(&acme, 0, None, 10).unwrap().len(), 4);
    store.close().await;
    let entries = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let indexes: Vec<_> =
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("index-")).collect();
    assert_eq!(indexes.len(), 1);
    std::fs::remove_dir_all(&indexes[0]).unwrap();
    let again = open(dir.path(), &Options::default()).unwrap();
    assert_eq!(hours(&again), [used(2, 7), used(9, 1)]);
    again.close().await;
}

#[test]
fn an_hour_that_an_earlier_release_wrote_is_read() {
    let text = r#"{"hour":7200,"inferences":3,"inference_ns":9,"functions":2,"flows":[],"refused":{"not_allowed":1}}"#;
    let usage: Usage = serde_json::from_str(text).unwrap();
    assert_eq!((usage.calls.inferences, usage.calls.functions, usage.calls.guest_ns), (3, 2, 0));
    assert_eq!(serde_json::to_string(&usage).unwrap(), text, "and nothing that is nothing is added to it");
}

#[tokio::test]
async fn equal_bytes_are_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    record(&store, created("acme")).await.unwrap();
    let digest = aimass_core::Digest::of(b"x");
    for (object, number) in [("a", 1), ("a", 2), ("b", 1)] {
        record(&store, version("acme", object, number, digest, 100)).await.unwrap();
    }
    record(&store, version("acme", "b", 2, aimass_core::Digest::of(b"y"), 11)).await.unwrap();
    let stored = store.state().stored(&tenant("acme")).unwrap();
    assert_eq!((stored.bytes, stored.plugins, stored.models), (111, 2, 0));
    assert_eq!(store.state().stored(&tenant("acm")).unwrap(), crate::Stored::default());
    store.close().await;
}
