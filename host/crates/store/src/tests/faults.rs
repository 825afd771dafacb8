use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aimass_core::Code;

use super::*;
use crate::log::Log;
use crate::{Record, verify_journal};

fn journal_file(dir: &Path) -> PathBuf {
    dir.join("journal/00000000000000000001.log")
}

/// A closed store of ten tenants.
async fn ten(dir: &Path) {
    let store = open(dir, &Options::default()).unwrap();
    for n in 0..10 {
        record(&store, created(&format!("t{n}"))).await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn f41_a_record_that_was_edited_removed_or_cut_off_is_named() {
    let dir = tempfile::tempdir().unwrap();
    ten(dir.path()).await;
    let sound = verify_journal(dir.path()).unwrap();
    assert_eq!((sound.records, &sound.first_bad), (10, &None));
    let mut records = Vec::new();
    Log::open(&dir.path().join("journal"), Options::default(), &mut |entry| {
        records.push(entry.bytes.to_vec());
        Ok(())
    })
    .unwrap();

    // Somebody who can write the files makes sound frames around what was changed.
    let forged = |records: &[Vec<u8>]| {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(&dir.path().join("journal"), Options::default(), &mut |_| Ok(())).unwrap();
        if !records.is_empty() {
            log.append(records).unwrap();
        }
        dir
    };
    let replaced = |bytes: &[u8], from: &str, to: &str| {
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
    };
    let mut edited = records.clone();
    edited[5] = replaced(&edited[5], "\"t5\"", "\"t6\"");
    let folder = forged(&edited);
    let bad = verify_journal(folder.path()).unwrap().first_bad.unwrap();
    assert_eq!(bad.seq, 6);
    assert!(bad.reason.contains("hash") && bad.reason.contains("offset"), "{}", bad.reason);
    let fault = open(folder.path(), &Options::default()).unwrap_err();
    assert_eq!(fault.code(), Code::Integrity);
    assert!(fault.detail().contains("record 6"), "{fault}");

    // A hash made to fit the edit breaks the chain at the next record.
    let body: serde_json::Value = serde_json::from_slice(&edited[5][64..]).unwrap();
    let mut previous = [0; 32];
    previous.copy_from_slice(&edited[5][..32]);
    let event = serde_json::from_value(body["event"].clone()).unwrap();
    let time = body["time_ms"].as_u64().unwrap();
    edited[5] = Record::seal(previous, 6, time, Actor::system(), event).unwrap().1;
    assert_eq!(verify_journal(forged(&edited).path()).unwrap().first_bad.unwrap().seq, 7);

    let mut removed = records.clone();
    removed.remove(3);
    assert_eq!(verify_journal(forged(&removed).path()).unwrap().first_bad.unwrap().seq, 4);

    // What is cut off cannot be seen in what is left, only by whoever knows the head.
    let cut = verify_journal(forged(&records[..8]).path()).unwrap();
    assert_eq!((cut.records, &cut.first_bad), (8, &None));
    assert_ne!(cut.head, sound.head);
}

#[tokio::test]
async fn f44_a_torn_journal_opens_with_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    ten(dir.path()).await;
    let path = journal_file(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    // A write that never came to its sync.
    bytes.extend([1, 2, 3, 4, 5]);
    fs::write(&path, bytes).unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    assert_eq!(store.state().tenants(None, 99).unwrap().len(), 10);
    record(&store, created("next")).await.unwrap();
    assert_eq!(store.sequence(), 11);
}

#[tokio::test]
async fn f45_a_bit_flipped_in_the_journal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    ten(dir.path()).await;
    let path = journal_file(dir.path());
    let bytes = fs::read(&path).unwrap();
    for at in (0..bytes.len()).step_by(41) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        fs::write(&path, flipped).unwrap();
        let fault = open(dir.path(), &Options::default()).expect_err(&format!("bit at {at}"));
        assert_eq!(fault.code(), Code::Integrity);
        assert!(fault.detail().contains(&path.display().to_string()), "{fault}");
    }
    fs::write(&path, bytes).unwrap();
    open(dir.path(), &Options::default()).unwrap();
}

#[tokio::test]
async fn f45_a_bit_flipped_in_a_blob_is_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    let digest = blob(&store, "acme", &vec![7; 2 << 20]).await;
    let path = store.blobs().path(&tenant("acme"), &digest);
    assert_eq!(store.blobs().read(&tenant("acme"), &digest).await.unwrap().len(), 2 << 20);
    assert_eq!(store.blobs().read(&tenant("other"), &digest).await.unwrap_err().code(), Code::Integrity);
    let mut bytes = fs::read(&path).unwrap();
    bytes[1 << 20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let fault = store.blobs().read(&tenant("acme"), &digest).await.unwrap_err();
    assert_eq!(fault.code(), Code::Integrity);
    assert!(fault.cause().unwrap().contains(&digest.hex()));
    assert_eq!(blob(&store, "acme", &vec![7; 2 << 20]).await, digest);
    store.blobs().read(&tenant("acme"), &digest).await.expect("uploading it again mends it");
}

#[tokio::test]
async fn f46_a_full_disk_refuses_writes_and_is_clean_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::default();
    let store = open(dir.path(), &options).unwrap();
    record(&store, created("before")).await.unwrap();
    for room in [0, 1, 30, 100] {
        *options.faults.room.lock().unwrap() = Some(room);
        let fault = record(&store, created("full")).await.unwrap_err();
        assert_eq!(fault.code(), Code::StorageFull);
        assert!(store.state().tenant(&name("before")).unwrap().is_some(), "reads go on");
        assert!(store.state().tenant(&name("full")).unwrap().is_none());
    }
    *options.faults.room.lock().unwrap() = None;
    store.healthy().expect("it looks whether there is room again");
    record(&store, created("full")).await.unwrap();
    store.close().await;
    let store = open(dir.path(), &options).unwrap();
    assert_eq!((store.sequence(), store.state().tenants(None, 9).unwrap().len()), (2, 2));
}

#[tokio::test]
async fn f46_a_full_disk_in_the_index_acknowledges_nothing_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::default();
    let store = open(dir.path(), &options).unwrap();
    record(&store, created("before")).await.unwrap();
    options.faults.index_fails.store(true, Ordering::SeqCst);
    // It is in the journal, so it may not be acknowledged and not be denied either.
    assert_eq!(record(&store, created("recorded")).await.unwrap_err().code(), Code::StorageFull);
    assert_eq!(record(&store, created("refused")).await.unwrap_err().code(), Code::StorageFull);
    assert_eq!(store.sequence(), 1);
    assert!(store.state().tenant(&name("before")).unwrap().is_some(), "reads go on");
    assert_eq!(store.verify_chain().unwrap().records, 2, "nothing is recorded behind what the index lacks");
    options.faults.index_fails.store(false, Ordering::SeqCst);
    let healed = async {
        while store.healthy().is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), healed).await.unwrap();
    assert!(store.state().tenant(&name("recorded")).unwrap().is_some());
    record(&store, created("after")).await.unwrap();
    assert_eq!(store.sequence(), 3);
}

/// A tiny file system, for as long as it lives. Only root can make one.
pub(super) struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn new(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .output()
            .is_ok_and(|o| o.status.success());
        if !mounted {
            eprintln!("skipped: no file system can be mounted here");
        }
        mounted.then(|| Self(dir))
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn f46_a_really_full_disk() {
    let Some(disk) = TinyDisk::new("6m") else { return };
    let dir = disk.0.path().join("data");
    let store = open(&dir, &Options::default()).unwrap();
    record(&store, created("acme")).await.unwrap();
    let digest = blob(&store, "acme", &[1; 1000]).await;
    record(&store, version("acme", "small", 1, digest, 1000)).await.unwrap();
    let data = store.key_value();
    let bucket = aimass_core::seam::Bucket { tenant: tenant("acme"), plugin: name("p"), name: String::new() };

    // At a blob: the writer fails somewhere, and its temporary file goes.
    let mut writer = store.blobs().writer(&tenant("acme")).await.unwrap();
    let mut failed = None;
    for _ in 0..20 {
        if let Err(fault) = writer.write(&[2; 512 << 10]).await {
            failed = Some(fault.code());
            break;
        }
    }
    assert_eq!(failed, Some(Code::StorageFull));
    drop(writer);
    assert_eq!(fs::read_dir(dir.join("blobs/.uploads")).unwrap().count(), 0);

    // At appends, and in the index: until something refuses; then until the disk is full to the last page.
    let fill = disk.0.path().join("fill");
    let mut acknowledged = 0;
    for n in 0.. {
        if n == 200 {
            let _ = fs::write(&fill, vec![3; 6 << 20]);
        }
        let settings = [("k".to_owned(), "v".repeat(20_000))].into();
        let event =
            Event::SettingsReplaced { tenant: name("acme"), name: name("small"), settings, number: 0, sealed: None };
        match record(&store, event).await {
            Ok(()) => acknowledged += 1,
            Err(fault) => {
                assert_eq!(fault.code(), Code::StorageFull, "{fault:?}");
                break;
            }
        }
    }
    let _ = fs::write(&fill, vec![3; 6 << 20]);
    assert!(acknowledged > 0);
    assert_eq!(
        data.set(&bucket, vec![("k".into(), Some(vec![1; 100_000].into()))]).await.unwrap_err().code(),
        Code::StorageFull
    );
    assert!(store.state().tenant(&name("acme")).unwrap().is_some(), "reads go on");
    assert_eq!(&store.blobs().read(&tenant("acme"), &digest).await.unwrap()[..], [1; 1000]);

    fs::remove_file(&fill).unwrap();
    fs::remove_file(dir.join("blobs/acme").join(digest.hex())).unwrap();
    // The index may have to be rebuilt, which is tried once a second; it takes about what the journal does.
    let bigger = std::process::Command::new("mount").args(["-o", "remount,size=64m"]).arg(disk.0.path()).status();
    assert!(bigger.unwrap().success());
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    record(&store, created("after")).await.unwrap();
    data.set(&bucket, vec![("k".into(), Some(vec![1; 100].into()))]).await.unwrap();
    store.healthy().unwrap();
    let sequence = store.sequence();
    store.close().await;
    let store = open(&dir, &Options::default()).unwrap();
    assert_eq!(store.sequence(), sequence);
    assert!(sequence >= acknowledged + 3);
    assert!(store.state().tenant(&name("after")).unwrap().is_some());
}

#[tokio::test]
async fn f47_after_a_failed_sync_nothing_is_acknowledged_and_the_process_ends() {
    let dir = tempfile::tempdir().unwrap();
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ended);
    let options = Options {
        fatal: Arc::new(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        }),
        ..Options::default()
    };
    let store = open(dir.path(), &options).unwrap();
    record(&store, created("before")).await.unwrap();
    options.faults.sync_fails.store(true, Ordering::SeqCst);
    record(&store, created("lost")).await.unwrap_err();
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    options.faults.sync_fails.store(false, Ordering::SeqCst);
    assert_eq!(record(&store, created("late")).await.unwrap_err().code(), Code::Unavailable);
    store.healthy().unwrap_err();
    assert_eq!(store.sequence(), 1);
    assert!(store.state().tenant(&name("lost")).unwrap().is_none());
}

#[tokio::test]
async fn f49_what_a_crash_left_of_uploads_is_swept_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    record(&store, created("acme")).await.unwrap();
    let named = blob(&store, "acme", b"named").await;
    record(&store, version("acme", "x", 1, named, 5)).await.unwrap();
    let orphan = blob(&store, "acme", b"orphan").await;
    // The same bytes are another tenant's orphan.
    let theirs = blob(&store, "other", b"named").await;
    fs::write(dir.path().join("blobs/.uploads/half"), b"ha").unwrap();
    fs::write(dir.path().join("blobs/acme/what"), b"ever").unwrap();
    let path = |tenant_name: &str, digest| store.blobs().path(&tenant(tenant_name), digest);
    let (named_path, orphan_path, their_path) = (path("acme", &named), path("acme", &orphan), path("other", &theirs));
    assert!(orphan_path.exists(), "while running, an upload may be about to name it");
    store.close().await;
    let store = open(dir.path(), &Options::default()).unwrap();
    assert!(named_path.exists() && !orphan_path.exists() && !their_path.exists());
    assert_eq!(fs::read_dir(dir.path().join("blobs/.uploads")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(dir.path().join("blobs/acme")).unwrap().count(), 1);
    assert_eq!(&store.blobs().read(&tenant("acme"), &named).await.unwrap()[..], b"named");
}

#[tokio::test]
async fn f07_an_upload_that_is_given_up_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    let mut writer = store.blobs().writer(&tenant("acme")).await.unwrap();
    writer.write(&vec![0; 3 << 20]).await.unwrap();
    assert_eq!(fs::read_dir(dir.path().join("blobs/.uploads")).unwrap().count(), 1);
    drop(writer);
    assert_eq!(fs::read_dir(dir.path().join("blobs/.uploads")).unwrap().count(), 0);

    let mut writer = store.blobs().writer(&tenant("acme")).await.unwrap();
    writer.write(b"not a component").await.unwrap();
    let staged = writer.stage().await.unwrap();
    assert_eq!(*staged.digest(), Digest::of(b"not a component"));
    assert_eq!(&staged.read().await.unwrap()[..], b"not a component");
    drop(staged);
    assert_eq!(fs::read_dir(dir.path().join("blobs/.uploads")).unwrap().count(), 0);
    assert!(!dir.path().join("blobs/acme").exists());
}

#[tokio::test]
async fn f50_a_second_store_on_the_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &Options::default()).unwrap();
    let fault = open(dir.path(), &Options::default()).unwrap_err();
    assert_eq!(fault.code(), Code::Conflict);
    assert!(fault.detail().contains(&dir.path().display().to_string()), "{fault}");
    record(&store, created("acme")).await.unwrap();
    drop(store);
    open(dir.path(), &Options::default()).unwrap();
}
