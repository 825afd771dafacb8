//! Keys are wrapped anew, and destroyed: what can be read afterwards, and what a kill in between leaves.

use std::fs;
use std::path::Path;

use aimass_core::event::Actor;
use aimass_core::seam::Bucket;
use aimass_core::{Code, Digest};
use zeroize::Zeroizing;

use super::{blob, created, name, open, record, tenant, version};
use crate::options::Options;
use crate::{KeyFile, Store, backup, restore, verify_journal};

const BYTES: &[u8] = b"bytes of a tenant's";

fn bucket(of: &str) -> Bucket {
    Bucket { tenant: tenant(of), plugin: name("hello"), name: String::new() }
}

/// A store with two tenants who have the same things.
async fn two(dir: &Path) -> (Store, Digest) {
    let store = open(dir, &Options::default()).unwrap();
    let mut digest = None;
    for of in ["acme", "rival"] {
        record(&store, created(of)).await.unwrap();
        digest = Some(blob(&store, of, BYTES).await);
        record(&store, version(of, "hello", 1, digest.unwrap(), BYTES.len() as u64)).await.unwrap();
        store.key_value().set(&bucket(of), vec![("k".to_owned(), Some(BYTES.into()))]).await.unwrap();
    }
    (store, digest.unwrap())
}

async fn readable(store: &Store, of: &str, digest: &Digest) {
    assert_eq!(&store.blobs().read(&tenant(of), digest).await.unwrap()[..], BYTES);
    assert_eq!(&store.key_value().get(&bucket(of), "k").await.unwrap().unwrap()[..], BYTES);
    assert!(store.state().tenant(&name(of)).unwrap().is_some());
}

async fn gone(store: &Store, of: &str, digest: &Digest) {
    assert!(store.blobs().read(&tenant(of), digest).await.is_err());
    assert_eq!(store.key_value().get(&bucket(of), "k").await.unwrap(), None);
    assert!(store.state().tenant(&name(of)).unwrap().is_none());
    assert!(store.state().object(&tenant(of), &name("hello")).unwrap().is_none());
    assert!(store.known_seal(&tenant(of)).is_none());
    assert_eq!(store.seal(&tenant(of)).await.unwrap_err().code(), Code::NotFound);
}

fn generations(store: &Store) -> Vec<(u64, u64)> {
    store.key_generations().unwrap().iter().map(|of| (of.generation, of.tenants)).collect()
}

#[tokio::test]
async fn what_is_sealed_stays_readable_when_keys_are_rotated() {
    let dir = tempfile::tempdir().unwrap();
    let (store, digest) = two(dir.path()).await;
    assert_eq!(generations(&store), [(1, 2)]);
    assert_eq!(store.rotate_keys(Actor::system()).await.unwrap(), 2);
    assert_eq!(generations(&store), [(1, 0), (2, 2)]);
    record(&store, created("third")).await.unwrap();
    blob(&store, "third", BYTES).await;
    assert_eq!(generations(&store), [(1, 0), (2, 3)]);
    for of in ["acme", "rival"] {
        readable(&store, of, &digest).await;
    }
    store.close().await;
    let store = open(dir.path(), &Options::default()).unwrap();
    store.settle().await.unwrap();
    readable(&store, "acme", &digest).await;
    assert_eq!(store.sequence(), store.verify_chain().unwrap().records);
}

#[tokio::test]
async fn f64_a_rotation_that_was_killed_is_ended_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (store, digest) = two(dir.path()).await;
    // The key file is written, and then comes the kill.
    store.keys().begin_generation().await.unwrap();
    store.close().await;
    let store = open(dir.path(), &Options::default()).unwrap();
    readable(&store, "acme", &digest).await;
    assert_eq!(generations(&store), [(1, 2), (2, 0)]);
    store.settle().await.unwrap();
    assert_eq!(generations(&store), [(1, 0), (2, 2)]);
    let records = store.sequence();
    store.settle().await.unwrap();
    assert_eq!(store.sequence(), records, "there is nothing more to do");
    readable(&store, "rival", &digest).await;
}

#[tokio::test]
async fn f40_an_erased_tenant_is_gone_and_no_backup_of_before_opens_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (store, digest) = two(&data).await;
    let saved = dir.path().join("backup");
    backup(&data, &saved, &[], None, &mut |_| {}).unwrap();
    store.erase_tenant(Actor::system(), &name("acme")).await.unwrap();
    gone(&store, "acme", &digest).await;
    readable(&store, "rival", &digest).await;
    assert_eq!(generations(&store), [(2, 1)]);
    let again = store.erase_tenant(Actor::system(), &name("acme")).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
    assert_eq!(
        record(&store, created("acme")).await.unwrap_err().code(),
        Code::Conflict,
        "its name is not given again"
    );
    assert_eq!(verify_journal(&data).unwrap().first_bad, None);
    let rows = store.index().dump();
    assert!(!rows.keys().any(|key| key.windows(4).any(|part| part == b"acme") && !key.starts_with(b"\x01erased")));
    store.close().await;

    // The index does not need the key that is gone.
    for index in fs::read_dir(&data).unwrap().map(|e| e.unwrap().path()) {
        if index.file_name().unwrap().to_str().unwrap().starts_with("index-") {
            fs::remove_dir_all(index).unwrap();
        }
    }
    let store = open(&data, &Options::default()).unwrap();
    store.settle().await.unwrap();
    assert_eq!(store.index().dump(), rows);
    gone(&store, "acme", &digest).await;
    readable(&store, "rival", &digest).await;
    store.close().await;

    // The backup of before, with the key file of now: everybody's but the erased tenant's.
    let restored = dir.path().join("restored");
    restore(&saved, &restored, &mut |_| {}).unwrap();
    let restored = restored.join("store");
    fs::copy(data.join("key"), restored.join("key")).unwrap();
    let store = open(&restored, &Options::default()).unwrap();
    assert!(store.blobs().read(&tenant("acme"), &digest).await.is_err(), "before anything is settled as well");
    assert_eq!(store.key_value().get(&bucket("acme"), "k").await.unwrap(), None);
    readable(&store, "rival", &digest).await;
    store.settle().await.unwrap();
    gone(&store, "acme", &digest).await;
    readable(&store, "rival", &digest).await;
    assert_eq!(verify_journal(&restored).unwrap().first_bad, None);
    store.close().await;
    let store = open(&restored, &Options::default()).unwrap();
    store.settle().await.unwrap();
    readable(&store, "rival", &digest).await;
}

#[tokio::test]
async fn f64_an_erasure_that_was_killed_is_ended_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (store, digest) = two(dir.path()).await;
    // The record is written, and the key file still holds the key that opens old backups.
    store.keys().begin_generation().await.unwrap();
    store.keys().record_erasure(Actor::system(), &name("acme")).await.unwrap();
    store.close().await;
    assert!(dir.path().join("blobs/acme").exists());
    let store = open(dir.path(), &Options::default()).unwrap();
    gone(&store, "acme", &digest).await;
    assert_eq!(generations(&store), [(1, 0), (2, 1)]);
    store.settle().await.unwrap();
    assert_eq!(generations(&store), [(2, 1)]);
    assert!(!dir.path().join("blobs/acme").exists());
    readable(&store, "rival", &digest).await;
    let records = store.sequence();
    store.settle().await.unwrap();
    assert_eq!(store.sequence(), records);
}

#[tokio::test]
async fn two_erasures_and_a_rotation_leave_old_backups_open_for_those_who_are_left() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (store, digest) = two(&data).await;
    record(&store, created("third")).await.unwrap();
    blob(&store, "third", BYTES).await;
    let saved = dir.path().join("backup");
    backup(&data, &saved, &[], None, &mut |_| {}).unwrap();
    store.erase_tenant(Actor::system(), &name("acme")).await.unwrap();
    store.rotate_keys(Actor::system()).await.unwrap();
    store.erase_tenant(Actor::system(), &name("third")).await.unwrap();
    store.close().await;
    let restored = dir.path().join("restored");
    restore(&saved, &restored, &mut |_| {}).unwrap();
    let restored = restored.join("store");
    fs::copy(data.join("key"), restored.join("key")).unwrap();
    let store = open(&restored, &Options::default()).unwrap();
    store.settle().await.unwrap();
    readable(&store, "rival", &digest).await;
    gone(&store, "acme", &digest).await;
    assert!(store.state().tenant(&name("third")).unwrap().is_none());
}

#[tokio::test]
async fn a_key_file_that_is_sealed_opens_with_its_key_only() {
    let dir = tempfile::tempdir().unwrap();
    let (store, digest) = two(dir.path()).await;
    store.close().await;
    let path = dir.path().join("key");
    let sealed = |byte: u8| KeyFile::at(&path).sealed_with(Zeroizing::new([byte; 32]));
    let plain = fs::read_to_string(&path).unwrap();
    assert!(plain.contains("generations"));
    let store = Store::open(dir.path(), sealed(7)).unwrap();
    store.rotate_keys(Actor::system()).await.unwrap();
    store.close().await;
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("generations") && text.contains("sealed"), "it is sealed by the first start");
    for (file, what) in [(KeyFile::at(&path), "--key-env"), (sealed(8), "does not open")] {
        let fault = Store::open(dir.path(), file).unwrap_err();
        assert_eq!(fault.code(), Code::Conflict);
        assert!(fault.detail().contains(what), "{fault}");
    }
    let store = Store::open(dir.path(), sealed(7)).unwrap();
    store.settle().await.unwrap();
    readable(&store, "acme", &digest).await;
    assert_eq!(*store.node_key("a"), *store.node_key("a"));
    assert_ne!(*store.node_key("a"), *store.node_key("b"));
}
