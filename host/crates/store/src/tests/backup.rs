//! Backups of a store with small segments and a snapshot.

use std::fs;
use std::path::{Path, PathBuf};

use aimass_core::Code;
use aimass_core::seam::Bucket;

use super::*;
use crate::{Extra, Progress, backup, restore, verify_backup, verify_journal};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for path in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn bucket() -> Bucket {
    Bucket { tenant: tenant("acme"), plugin: name("p"), name: String::new() }
}

fn small() -> Options {
    Options { segment_bytes: 2_000, snapshot_bytes: 10_000, ..Options::default() }
}

#[tokio::test]
async fn f45_a_bit_flipped_in_a_backup_with_a_snapshot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("store"), dir.path().join("backup"));
    let store = open(&from, &small()).unwrap();
    record(&store, created("acme")).await.unwrap();
    let digest = blob(&store, "acme", b"bytes").await;
    record(&store, version("acme", "x", 1, digest, 5)).await.unwrap();
    for n in 0..20 {
        record(&store, created(&format!("t{n}"))).await.unwrap();
    }
    let data = store.key_value();
    let mut n = 0u64;
    // Until the data has gone through a snapshot, and a little more is in the log behind it.
    while n < 200 || !files(&from.join("kv")).iter().any(|p| p.extension().is_some_and(|e| e == "snapshot")) {
        n += 1;
        let value = format!("{n:0500}").into();
        data.set(&bucket(), vec![(format!("k{}", n % 7), Some(value))]).await.unwrap();
    }
    let mut seen = Vec::new();
    let key = dir.path().join("secret");
    fs::write(&key, "k").unwrap();
    let extra = [Extra { from: key, to: "keys/secret".to_owned() }];
    let taken = backup(&from, &to, &extra, None, &mut |at: Progress| seen.push(at.doing)).unwrap();
    assert_eq!((taken.records, taken.blobs, taken.keys), (22, 1, true));
    assert!(seen.contains(&"copying") && seen.contains(&"checking"));
    assert_eq!(backup(&from, &to, &[], None, &mut |_| {}).unwrap_err().code(), Code::Conflict);

    let all = files(&to);
    assert!(all.iter().any(|path| path.extension().is_some_and(|e| e == "snapshot")));
    assert!(all.iter().filter(|path| path.parent().unwrap().ends_with("journal")).count() > 1);
    for path in &all {
        let bytes = fs::read(path).unwrap();
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 2;
        fs::write(path, flipped).unwrap();
        let fault = verify_backup(&to, &mut |_| {}).expect_err(&path.display().to_string());
        assert_eq!(fault.code(), Code::Integrity);
        let named = path.file_name().unwrap().to_str().unwrap();
        assert!(fault.detail().contains(named), "{named}: {fault}");
        fs::write(path, bytes).unwrap();
    }
    let back = dir.path().join("back");
    restore(&to, &back, &mut |_| {}).unwrap();
    assert_eq!(fs::read(back.join("keys/secret")).unwrap(), b"k");
    let restored = open(&back.join("store"), &small()).unwrap();
    assert_eq!(restored.head().unwrap(), store.head().unwrap());
    assert_eq!(&restored.blobs().read(&tenant("acme"), &digest).await.unwrap()[..], b"bytes");
    for k in 0..7 {
        let key = format!("k{k}");
        assert_eq!(restored.key_value().get(&bucket(), &key).await.unwrap(), data.get(&bucket(), &key).await.unwrap());
    }
}

#[tokio::test]
async fn f45_what_is_damaged_is_not_backed_up() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("store"), dir.path().join("backup"));
    let store = open(&from, &Options::default()).unwrap();
    record(&store, created("acme")).await.unwrap();
    let digest = blob(&store, "acme", b"bytes").await;
    record(&store, version("acme", "x", 1, digest, 5)).await.unwrap();
    let path = store.blobs().path(&tenant("acme"), &digest);
    fs::write(&path, b"bytez").unwrap();
    let fault = backup(&from, &to, &[], None, &mut |_| {}).unwrap_err();
    assert_eq!(fault.code(), Code::Integrity);
    assert!(fault.detail().contains(&digest.hex()), "{fault}");
    fs::remove_file(&path).unwrap();
    assert_eq!(backup(&from, &to, &[], None, &mut |_| {}).unwrap_err().code(), Code::Integrity);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left");
    assert_eq!(backup(dir.path(), &to, &[], None, &mut |_| {}).unwrap_err().code(), Code::InvalidRequest);
}

/// Writers that never rest: every backup is a prefix that holds what was acknowledged before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_of_a_busy_store_is_a_sound_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("store");
    let store = open(&from, &small()).unwrap();
    let data = store.key_value();
    let counter = {
        let data = data.clone();
        tokio::spawn(async move {
            loop {
                data.increment(&bucket(), "n", 1).await.unwrap();
                let value = vec![0; 700].into();
                data.set(&bucket(), vec![("big".to_owned(), Some(value))]).await.unwrap();
            }
        })
    };
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0.. {
                record(&store, created(&format!("t{n}"))).await.unwrap();
            }
        })
    };
    for round in 0..6 {
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        let (head, n) = (store.head().unwrap(), number(&*data).await);
        let (to, back) = (dir.path().join(format!("b{round}")), dir.path().join(format!("r{round}")));
        let taken = {
            let (from, to) = (from.clone(), to.clone());
            tokio::task::spawn_blocking(move || backup(&from, &to, &[], None, &mut |_| {})).await.unwrap().unwrap()
        };
        assert!(taken.records >= head.0, "{} were acknowledged, {} are in it", head.0, taken.records);
        restore(&to, &back, &mut |_| {}).unwrap();
        let sound = crate::verify_journal_against(&back.join("store"), Some(head)).unwrap();
        assert_eq!((sound.records, sound.first_bad), (taken.records, None));
        let restored = open(&back.join("store"), &small()).unwrap();
        assert!(number(&*restored.key_value()).await >= n);
    }
    counter.abort();
    writer.abort();
    assert!(verify_journal(&from).unwrap().first_bad.is_none());
}

async fn number(data: &dyn aimass_core::seam::KeyValue) -> u64 {
    let value = data.get(&bucket(), "n").await.unwrap();
    value.map_or(0, |v| std::str::from_utf8(&v).unwrap().parse().unwrap())
}

#[tokio::test]
async fn an_earlier_backup_lends_its_blobs() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let (from, first, second) = (dir.path().join("store"), dir.path().join("first"), dir.path().join("second"));
    let store = open(&from, &Options::default()).unwrap();
    record(&store, created("acme")).await.unwrap();
    let old = blob(&store, "acme", b"old").await;
    record(&store, version("acme", "x", 1, old, 3)).await.unwrap();
    backup(&from, &first, &[], None, &mut |_| {}).unwrap();
    let new = blob(&store, "acme", b"new").await;
    record(&store, version("acme", "x", 2, new, 3)).await.unwrap();
    let taken = backup(&from, &second, &[], Some(&first), &mut |_| {}).unwrap();
    assert_eq!(taken.blobs, 2);
    let links = |digest: Digest| fs::metadata(second.join("store/blobs/acme").join(digest.hex())).unwrap().nlink();
    assert_eq!((links(old), links(new)), (2, 1));
    // What the earlier one has damaged is copied anew.
    fs::remove_dir_all(&second).unwrap();
    fs::write(first.join("store/blobs/acme").join(old.hex()), b"odd").unwrap();
    backup(&from, &second, &[], Some(&first), &mut |_| {}).unwrap();
    assert_eq!(links(old), 1);
    let no_backup = dir.path().join("third");
    assert_eq!(backup(&from, &no_backup, &[], Some(&from), &mut |_| {}).unwrap_err().code(), Code::InvalidRequest);
}

#[tokio::test]
async fn f46_a_backup_that_finds_no_room_leaves_nothing_and_one_on_a_read_only_disk_is_read() {
    let Some(disk) = super::faults::TinyDisk::new("2m") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("store"), disk.path().join("b"));
    let store = open(&from, &Options::default()).unwrap();
    record(&store, created("acme")).await.unwrap();
    backup(&from, &to, &[], None, &mut |_| {}).unwrap();
    let digest = blob(&store, "acme", &vec![7; 3 << 20]).await;
    record(&store, version("acme", "x", 1, digest, 3 << 20)).await.unwrap();
    let full = backup(&from, &disk.path().join("c"), &[], None, &mut |_| {}).unwrap_err();
    assert_eq!(full.code(), Code::StorageFull);
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1);
    let only = std::process::Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()).status().unwrap();
    assert!(only.success());
    assert_eq!(verify_backup(&to, &mut |_| {}).unwrap().records, 1);
    restore(&to, &dir.path().join("back"), &mut |_| {}).unwrap();
}
