use std::fs;

use aimass_core::{Name, Tenant};

use super::*;

fn bucket(tenant: &str, plugin: &str, name: &str) -> Bucket {
    let name_of = |text: &str| text.parse::<Name>().unwrap();
    Bucket { tenant: Tenant::vouched_for(name_of(tenant)), plugin: name_of(plugin), name: name.to_owned() }
}

/// The data of a store, for the keys are the store's.
struct Opened(crate::Store);

impl std::ops::Deref for Opened {
    type Target = GuestData;

    fn deref(&self) -> &GuestData {
        self.0.data()
    }
}

fn open(dir: &Path, options: &Options) -> Result<Opened> {
    crate::Store::open_with(dir, (&dir.join("key")).into(), options.clone()).map(Opened)
}

fn small() -> Options {
    Options { segment_bytes: 4 << 10, snapshot_bytes: 16 << 10, ..Options::default() }
}

fn set(key: &str, value: impl Into<Bytes>) -> (String, Option<Bytes>) {
    (key.to_owned(), Some(value.into()))
}

#[tokio::test]
async fn f38_names_made_to_collide_are_separate() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path(), &Options::default()).unwrap();
    let places = [
        (bucket("a", "b", "c"), "k"),
        (bucket("a", "b", ""), "ck"),
        (bucket("a", "b", "c\0"), "k"),
        (bucket("a", "b", "c"), "\0k"),
        (bucket("a", "b", "c\0k"), ""),
        (bucket("a", "b-c", ""), "k"),
        (bucket("a-b", "c", ""), "k"),
        (bucket("a", "b", "\0c"), "k"),
        (bucket("b", "a", "c"), "k"),
        (bucket("a", "b", "c/k"), "k"),
        (bucket("a", "b", "c"), "/k"),
    ];
    for (i, (bucket, key)) in places.iter().enumerate() {
        data.set(bucket, vec![set(key, i.to_string())]).await.unwrap();
    }
    let check = async |data: &GuestData| {
        for (i, (bucket, key)) in places.iter().enumerate() {
            assert_eq!(data.get(bucket, key).await.unwrap().unwrap(), i.to_string(), "{bucket:?} {key:?}");
        }
        assert_eq!(data.keys(&bucket("a", "b", "c"), None, 9).await.unwrap(), ["\0k", "/k", "k"]);
    };
    check(&data).await;
    drop(data);
    check(&open(dir.path(), &Options::default()).unwrap()).await;
}

#[tokio::test]
async fn limits_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path(), &Options::default()).unwrap();
    let b = bucket("a", "p", "default");
    let long = "k".repeat(MAX_KEY + 1);
    let code = |r: Result<()>| r.unwrap_err().code();
    assert_eq!(code(data.set(&b, vec![set(&long, "v")]).await), Code::InvalidRequest);
    assert_eq!(code(data.get(&b, &long).await.map(drop)), Code::InvalidRequest);
    assert_eq!(code(data.increment(&b, &long, 1).await.map(drop)), Code::InvalidRequest);
    assert_eq!(code(data.get(&bucket("a", "p", &long), "k").await.map(drop)), Code::InvalidRequest);
    assert_eq!(code(data.set(&b, vec![set("k", vec![0; MAX_VALUE + 1])]).await), Code::PayloadTooLarge);
    let many = (0..17).map(|i| set(&i.to_string(), vec![0; MAX_VALUE])).collect();
    assert_eq!(code(data.set(&b, many).await), Code::PayloadTooLarge);
    assert!(data.keys(&b, None, 10).await.unwrap().is_empty(), "nothing was set");
    data.set(&b, vec![set(&long[1..], vec![1; MAX_VALUE])]).await.unwrap();
    assert_eq!(data.get(&b, &long[1..]).await.unwrap().unwrap().len(), MAX_VALUE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(open(dir.path(), &Options::default()).unwrap());
    let tasks: Vec<_> = (0..200u64)
        .map(|_| {
            let data = Arc::clone(&data);
            tokio::spawn(async move { data.increment(&bucket("a", "p", ""), "n", 2).await.unwrap() })
        })
        .collect();
    let mut sums = Vec::new();
    for task in tasks {
        sums.push(task.await.unwrap());
    }
    sums.sort_unstable();
    assert_eq!(sums, (1..=200).map(|n| n * 2).collect::<Vec<_>>());
}

#[tokio::test]
async fn increment_refuses_what_is_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path(), &Options::default()).unwrap();
    let b = bucket("a", "p", "");
    for bad in ["", "-1", "+1", " 1", "1.0", "x", "18446744073709551616", &"1".repeat(300)] {
        data.set(&b, vec![set("n", bad.to_owned())]).await.unwrap();
        assert_eq!(data.increment(&b, "n", 1).await.unwrap_err().code(), Code::InvalidRequest, "{bad:?}");
        assert_eq!(data.get(&b, "n").await.unwrap().unwrap(), bad);
    }
    data.set(&b, vec![set("n", u64::MAX.to_string())]).await.unwrap();
    assert_eq!(data.increment(&b, "n", 0).await.unwrap(), u64::MAX);
    assert_eq!(data.increment(&b, "n", 1).await.unwrap_err().code(), Code::InvalidRequest);
    data.set(&b, vec![("n".to_owned(), None)]).await.unwrap();
    assert_eq!(data.increment(&b, "n", 5).await.unwrap(), 5);
}

#[tokio::test]
async fn keys_are_paged_in_byte_order() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path(), &Options::default()).unwrap();
    let b = bucket("a", "p", "");
    data.set(&b, ["b", "é", "a", "Z", ""].map(|k| set(k, "v")).to_vec()).await.unwrap();
    assert_eq!(data.keys(&b, None, 3).await.unwrap(), ["", "Z", "a"]);
    assert_eq!(data.keys(&b, Some("a"), 3).await.unwrap(), ["b", "é"]);
    assert!(data.keys(&b, None, 0).await.unwrap().is_empty());
}

/// Sets 40 keys of mixed sizes again and again, removes some, and returns what is left.
async fn churn(data: &GuestData, rounds: usize) -> std::collections::BTreeMap<String, Bytes> {
    let mut expected = std::collections::BTreeMap::new();
    let b = bucket("a", "p", "churn");
    for round in 0..rounds {
        let key = format!("key-{}", round * 7 % 40);
        let value = Bytes::from(vec![u8::try_from(round % 251).unwrap(); 10 + round * 37 % 2000]);
        if round % 11 == 0 {
            data.set(&b, vec![(key.clone(), None)]).await.unwrap();
            expected.remove(&key);
        } else {
            data.set(&b, vec![(key.clone(), Some(value.clone()))]).await.unwrap();
            expected.insert(key, value);
        }
    }
    expected
}

async fn all(data: &GuestData) -> std::collections::BTreeMap<String, Bytes> {
    let b = bucket("a", "p", "churn");
    let mut found = std::collections::BTreeMap::new();
    for key in data.keys(&b, None, usize::MAX).await.unwrap() {
        found.insert(key.clone(), data.get(&b, &key).await.unwrap().unwrap());
    }
    found
}

fn files(dir: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let paths = fs::read_dir(dir.join("kv")).unwrap().map(|e| e.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|p| p.extension().is_some_and(|e| e == extension)).collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn snapshots_let_the_log_go_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path(), &small()).unwrap();
    let expected = churn(&data, 1500).await;
    assert_eq!(all(&data).await, expected);
    drop(data);
    assert_eq!(files(dir.path(), "snapshot").len(), 1);
    let log: u64 = files(dir.path(), "log").iter().map(|p| fs::metadata(p).unwrap().len()).sum();
    assert!(log < 1_000_000, "about 1.4 MB were written, and {log} bytes of log are kept");
    fs::write(dir.path().join("kv/00000000000000000009.new"), b"half").unwrap();
    let data = open(dir.path(), &small()).unwrap();
    assert_eq!(all(&data).await, expected);
    assert!(files(dir.path(), "new").is_empty());
}

#[tokio::test]
async fn f45_a_damaged_snapshot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path(), &small()).unwrap();
    churn(&data, 400).await;
    drop(data);
    let path = files(dir.path(), "snapshot").pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    for at in (0..bytes.len()).step_by(bytes.len() / 60 + 1).chain([bytes.len() - 1, bytes.len() - 40]) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, flipped).unwrap();
        let fault = open(dir.path(), &small()).map(drop).expect_err(&format!("bit at {at}"));
        assert_eq!(fault.code(), Code::Integrity, "{fault:?}");
        assert!(fault.detail().contains("snapshot"), "{fault}");
    }
    for cut in [0, 10, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert!(open(dir.path(), &small()).is_err(), "cut at {cut}");
    }
    fs::remove_file(&path).unwrap();
    assert!(open(dir.path(), &small()).is_err(), "a missing one is noticed as well");
    fs::write(&path, &bytes).unwrap();
    open(dir.path(), &small()).unwrap();
}

#[tokio::test]
async fn f45_a_bit_flipped_under_a_value_is_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let data = open(dir.path(), &Options::default()).unwrap();
    let b = bucket("a", "p", "");
    data.set(&b, vec![set("k", vec![0x55; 5000])]).await.unwrap();
    let path = files(dir.path(), "log").pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 100;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let fault = data.get(&b, "k").await.unwrap_err();
    assert_eq!(fault.code(), Code::Integrity);
    assert!(!fault.detail().contains("kv"), "the caller is not told where");
}

#[tokio::test]
async fn f46_a_full_disk_refuses_the_write_and_reads_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::default();
    let data = open(dir.path(), &options).unwrap();
    let b = bucket("a", "p", "");
    data.increment(&b, "n", 1).await.unwrap();
    *options.faults.room.lock().unwrap() = Some(3);
    assert_eq!(data.increment(&b, "n", 1).await.unwrap_err().code(), Code::StorageFull);
    assert_eq!(data.set(&b, vec![set("x", "1"), set("y", "1")]).await.unwrap_err().code(), Code::StorageFull);
    assert_eq!(data.get(&b, "n").await.unwrap().unwrap(), "1");
    assert_eq!(data.healthy(&Err).unwrap_err().code(), Code::StorageFull);
    *options.faults.room.lock().unwrap() = None;
    assert_eq!(data.increment(&b, "n", 1).await.unwrap(), 2);
    data.healthy(&Err).unwrap();
    drop(data);
    let data = open(dir.path(), &options).unwrap();
    assert_eq!(data.keys(&b, None, 9).await.unwrap(), ["n"]);
}
