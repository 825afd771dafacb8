//! What is on the disk without the key, and what happens without the right one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use aimass_core::Code;
use aimass_core::event::{AliasSet, Change, Deployment, Event, Route, SecretSet, Settings, Share};
use aimass_core::seam::{Bucket, Configuration as _};

use super::{blob, created, name, open, record, tenant, version};
use crate::log::Log;
use crate::options::Options;
use crate::{Store, seal_secret, seal_settings};

const SECRET: &[u8] = b"planted-secret-5d1f0a7c";

fn bucket(tenant_name: &str) -> Bucket {
    Bucket { tenant: tenant(tenant_name), plugin: name("hello"), name: String::new() }
}

fn text() -> String {
    String::from_utf8(SECRET.to_vec()).unwrap()
}

async fn filled(dir: &Path) -> aimass_core::Digest {
    let store = open(dir, &Options::default()).unwrap();
    record(&store, created("acme")).await.unwrap();
    let digest = blob(&store, "acme", SECRET).await;
    record(&store, version("acme", "hello", 1, digest, SECRET.len() as u64)).await.unwrap();
    let seal = store.seal(&tenant("acme")).await.unwrap();
    let settings = Settings::from([("a".to_owned(), text())]);
    let sealed = seal_settings(&seal, &name("hello"), 1, &settings).unwrap();
    record(
        &store,
        Event::SettingsReplaced {
            tenant: name("acme"),
            name: name("hello"),
            settings: Settings::new(),
            number: 1,
            sealed: Some(sealed),
        },
    )
    .await
    .unwrap();
    // Something serves with it, so that it is kept.
    let split = vec![Share { configuration: Some(1), ..Share::new(1, 1) }];
    let route = Route { split, shadow: None, shadow_configuration: None, canary: None };
    let deployment = Deployment { route, change: Change::Deployed, restores: None, gate: None, seen: vec![] };
    let alias = AliasSet { tenant: name("acme"), name: name("hello"), alias: name("prod"), deployment };
    record(&store, Event::AliasSet(alias)).await.unwrap();
    let sealed = seal_secret(&seal, &name("hello"), "s", 2, &text()).unwrap();
    let (key, everywhere) = ("s".to_owned(), false);
    let set = SecretSet { tenant: name("acme"), name: name("hello"), key, number: 2, sealed, everywhere };
    record(&store, Event::SecretSet(set)).await.unwrap();
    let large = text().repeat(100);
    let changes = [("small", text()), ("large", large), (&text(), "a key".to_owned())];
    let changes = changes.map(|(key, value)| (key.to_owned(), Some(value.into()))).to_vec();
    store.key_value().set(&bucket("acme"), changes).await.unwrap();
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
    let data = store.key_value();
    assert_eq!(data.get(&bucket("acme"), "small").await.unwrap().unwrap(), SECRET);
    assert_eq!(data.get(&bucket("acme"), "large").await.unwrap().unwrap().len(), 100 * SECRET.len());
    assert_eq!(data.get(&bucket("acme"), &text()).await.unwrap().unwrap(), "a key");
    let configuration = store.configuration(&tenant("acme"), &name("hello"), None).unwrap();
    assert_eq!(configuration.row().number, 2);
    let values = configuration.open().unwrap();
    assert_eq!((values.get("a"), values.get("s")), (Some(&*text()), Some(&*text())));
    assert!(!format!("{configuration:?} {values:?}").contains(&text()));
    // The one before, by its number, without the secret.
    let first = store.configuration(&tenant("acme"), &name("hello"), Some(1)).unwrap();
    assert_eq!(first.open().unwrap().iter().collect::<Vec<_>>(), [("a", &*text())]);
    assert_eq!(store.configuration(&tenant("acme"), &name("hello"), Some(3)).unwrap_err().code(), Code::NotFound);
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
    let keys = b"\"generations\":{\"1\":\"";
    let at = right.windows(keys.len()).position(|part| part == keys).unwrap() + keys.len();
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
    assert_eq!(fs::read_to_string(dir.path().join("schema")).unwrap(), "3\n");
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

#[tokio::test]
async fn key_value_data_of_before_there_was_sealing_is_read_and_then_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let kv = dir.path().join("kv");
    fs::create_dir_all(&kv).unwrap();
    let mut log = Log::open(&kv, Options::default(), &mut |_| Ok(())).unwrap();
    let put = |record: &mut Vec<u8>, bytes: &[u8]| {
        record.extend((bytes.len() as u32).to_le_bytes());
        record.extend_from_slice(bytes);
    };
    let mut record = Vec::new();
    for part in [b"acme\0hello\0", &b"small"[..], SECRET, b"large", &SECRET.repeat(100), b"n", b"41"] {
        put(&mut record, part);
    }
    log.append(&[record]).unwrap();
    log.sync().unwrap();
    drop(log);
    let store = open(dir.path(), &Options::default()).unwrap();
    let data = store.key_value();
    let check = async || {
        assert_eq!(data.get(&bucket("acme"), "small").await.unwrap().unwrap(), SECRET);
        assert_eq!(data.get(&bucket("acme"), "large").await.unwrap().unwrap(), SECRET.repeat(100));
        assert_eq!(data.keys(&bucket("acme"), None, 9).await.unwrap(), ["large", "n", "small"]);
    };
    check().await;
    assert_eq!(data.increment(&bucket("acme"), "n", 1).await.unwrap(), 42);
    store.settle().await.unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while files(&kv).iter().any(|path| holds(path, SECRET)) {
        assert!(std::time::Instant::now() < end, "it is not sealed");
        // The snapshot is looked at behind a group.
        data.increment(&bucket("acme"), "n", 0).await.unwrap();
    }
    check().await;
    drop((data, store));
    let store = open(dir.path(), &Options::default()).unwrap();
    let data = store.key_value();
    assert_eq!(data.get(&bucket("acme"), "small").await.unwrap().unwrap(), SECRET);
    assert_eq!(data.get(&bucket("acme"), "n").await.unwrap().unwrap(), "42");
}
