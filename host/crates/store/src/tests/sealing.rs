//! What is on the disk without the key, and what happens without the right one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use aimass_core::Code;
use aimass_core::event::Event;

use super::{blob, created, open, record, tenant, version};
use crate::Store;
use crate::options::Options;

const SECRET: &[u8] = b"planted-secret-5d1f0a7c";

async fn filled(dir: &Path) -> aimass_core::Digest {
    let store = open(dir, &Options::default()).unwrap();
    record(&store, created("acme")).await.unwrap();
    let digest = blob(&store, "acme", SECRET).await;
    record(&store, version("acme", "hello", 1, digest, SECRET.len() as u64)).await.unwrap();
    store.close().await;
    digest
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn holds(path: &Path, what: &[u8]) -> bool {
    fs::read(path).unwrap().windows(what.len()).any(|part| part == what)
}

#[tokio::test]
async fn a_planted_secret_is_not_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let digest = filled(dir.path()).await;
    let found: Vec<_> = files(dir.path()).into_iter().filter(|path| holds(path, SECRET)).collect();
    assert!(found.is_empty(), "{found:?}");
    let names: Vec<_> = files(dir.path()).into_iter().filter(|path| holds(path, b"acme")).collect();
    assert!(!names.is_empty(), "the search finds what is there");
    let store = open(dir.path(), &Options::default()).unwrap();
    assert_eq!(&store.blobs().read(&tenant("acme"), &digest).await.unwrap()[..], SECRET);
    assert_eq!(fs::metadata(dir.path().join("key")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_start_without_the_right_key_is_refused() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let digest = filled(dir.path()).await;
    filled(other.path()).await;
    let key = dir.path().join("key");
    let right = fs::read(&key).unwrap();
    let refused = |what: &str| {
        let fault = open(dir.path(), &Options::default()).expect_err(what);
        assert_eq!(fault.code(), Code::Conflict, "{fault:?}");
        assert!(fault.detail().contains(&key.display().to_string()), "{fault}");
        assert!(fault.detail().contains(what), "{fault}");
    };
    fs::remove_file(&key).unwrap();
    refused("is missing");
    assert!(!key.exists(), "no other key is made");
    fs::write(&key, fs::read(other.path().join("key")).unwrap()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    refused("another node's");
    let at = right.len() - 10;
    let mut damaged = right.clone();
    damaged[at] = if damaged[at] == b'0' { b'1' } else { b'0' };
    fs::write(&key, damaged).unwrap();
    refused("does not open the data key of the tenant `acme`");
    fs::write(&key, b"{}").unwrap();
    refused("is damaged");
    fs::write(&key, &right).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    refused("chmod 600");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    assert_eq!(&store.blobs().read(&tenant("acme"), &digest).await.unwrap()[..], SECRET);
}

#[tokio::test]
async fn f39_a_sealed_blob_swapped_between_tenants_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    let (ours, theirs) =
        (blob(&store, "acme", b"the same bytes").await, blob(&store, "rival", b"the same bytes").await);
    assert_eq!(ours, theirs);
    let path = |store: &Store, name: &str| store.blobs().path(&tenant(name), &ours);
    let (acme, rival) = (fs::read(path(&store, "acme")).unwrap(), fs::read(path(&store, "rival")).unwrap());
    assert_ne!(acme, rival);
    // The digest fits: only the key tells them apart.
    fs::write(path(&store, "acme"), rival).unwrap();
    let fault = store.blobs().read(&tenant("acme"), &ours).await.unwrap_err();
    assert_eq!(fault.code(), Code::Integrity);
    store.blobs().read(&tenant("acme"), &ours).await.unwrap_err();
    let mut events = vec![];
    crate::read_journal(dir.path(), 2, &mut |record| {
        events.push(record.event);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    let told = Event::IntegrityFailed { tenant: "acme".parse().unwrap(), what: format!("blob {ours}") };
    assert_eq!(events, [told], "behind the two data keys, and once");
    fs::write(path(&store, "acme"), acme).unwrap();
    store.blobs().read(&tenant("acme"), &ours).await.unwrap();
}

#[tokio::test]
async fn f39_a_sealed_blob_swapped_within_a_tenant_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    let (a, b) = (blob(&store, "acme", b"version one").await, blob(&store, "acme", b"version two").await);
    let path = |digest| store.blobs().path(&tenant("acme"), digest);
    fs::copy(path(&b), path(&a)).unwrap();
    assert_eq!(store.blobs().read(&tenant("acme"), &a).await.unwrap_err().code(), Code::Integrity);
}

#[tokio::test]
async fn a_blob_of_before_there_was_sealing_is_read_and_sealed_when_it_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let digest = filled(dir.path()).await;
    let path = dir.path().join("blobs/acme").join(digest.hex());
    fs::write(&path, SECRET).unwrap();
    fs::write(dir.path().join("schema"), "1\n").unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("schema")).unwrap(), "2\n");
    assert_eq!(&store.blobs().read(&tenant("acme"), &digest).await.unwrap()[..], SECRET);
    blob(&store, "acme", SECRET).await;
    assert!(!holds(&path, SECRET));
    assert_eq!(&store.blobs().read(&tenant("acme"), &digest).await.unwrap()[..], SECRET);
}

#[tokio::test]
async fn a_data_key_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    let acme = tenant("acme");
    let (a, b, c) = tokio::join!(store.blobs().writer(&acme), store.blobs().writer(&acme), store.blobs().writer(&acme));
    for writer in [a, b, c] {
        let (digest, _) = writer.unwrap().finish().await.unwrap();
        store.blobs().read(&acme, &digest).await.unwrap();
    }
    assert_eq!(store.sequence(), 1);
}
