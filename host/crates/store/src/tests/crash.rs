//! A child process that does everything at once is killed at random moments; what it acknowledged must be there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aimass_core::Code;
use aimass_core::seam::{Bucket, KeyValue};

use super::*;
use crate::{Ending, Failure, ItemFilter, ItemState, LeaseWish, NewItem, Parts, Topic};

const FOLDER: &str = "AIMASS_STORE_CRASH_FOLDER";
/// Rounds of the crash test. 1,000 take about two minutes.
const ROUNDS: &str = "AIMASS_STORE_CRASH_ROUNDS";

/// Kills since the last check, among what is known.
const KILLS: &str = "kills";

/// Small segments and snapshots, so that kills meet their making as well.
fn options() -> Options {
    Options { segment_bytes: 8 << 10, snapshot_bytes: 16 << 10, ..Options::default() }
}

fn bucket() -> Bucket {
    Bucket { tenant: tenant("acme"), plugin: name("p"), name: "crash".to_owned() }
}

/// Says that something was acknowledged: one line, one write.
fn acknowledged(what: &str, n: u64) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("\n@{what} {n}\n").as_bytes());
    let _ = out.flush();
}

#[test]
#[ignore = "the child process of f42 and f43"]
fn crash_child() {
    let Some(dir) = std::env::var_os(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(dir.as_ref(), &options()).unwrap();
        acknowledged("open", store.sequence());
        match record(&store, created("acme")).await {
            Ok(()) => {}
            Err(fault) => assert_eq!(fault.code(), Code::Conflict),
        }
        let data = store.key_value();
        let all = (uploads(&store), tokens(&store), pairs(data.as_ref()), counts(data.as_ref()), rotations(&store));
        tokio::join!(all.0, all.1, all.2, all.3, all.4, calls(&store));
    });
}

fn object(n: u64) -> String {
    format!("o{}", n / 4)
}

fn content(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(300)
}

/// Step `n` uploads a version of object n / 4; every fourth step deletes the object instead.
async fn uploads(store: &Store) {
    let mut n = uploads_done(store);
    loop {
        if n % 4 == 3 {
            record(store, Event::ObjectDeleted { tenant: name("acme"), name: name(&object(n)) }).await.unwrap();
        } else {
            let digest = blob(store, "acme", &content(n)).await;
            record(store, version("acme", &object(n), n % 4 + 1, digest, content(n).len() as u64)).await.unwrap();
        }
        acknowledged("upload", n + 1);
        n += 1;
    }
}

/// How many steps of [`uploads`] the state shows.
fn uploads_done(store: &Store) -> u64 {
    let state = store.state();
    (0..)
        .map_while(|n| state.object(&tenant("acme"), &name(&object(n * 4))).unwrap())
        .map(|object| object.latest + u64::from(object.deleted))
        .sum()
}

/// Mints tokens, and revokes each before the next.
async fn tokens(store: &Store) {
    let found = store.state().tokens(None, None, usize::MAX).unwrap();
    if let Some(last) = found.last().filter(|last| !last.revoked) {
        record(store, Event::TokenRevoked { jti: last.jti.clone() }).await.unwrap();
        acknowledged("revoked", found.len() as u64);
    }
    for n in found.len() as u64.. {
        let jti = format!("{n:08}");
        let minted = Event::TokenMinted {
            jti: jti.clone(),
            subject: "s".to_owned(),
            tenant: None,
            scopes: vec!["operator".to_owned()],
            expires: n,
        };
        record(store, minted).await.unwrap();
        acknowledged("token", n + 1);
        record(store, Event::TokenRevoked { jti }).await.unwrap();
        acknowledged("revoked", n + 1);
    }
}

/// Two keys and a third that comes and goes, always set together.
async fn pairs(data: &dyn KeyValue) {
    for n in number(data, "left").await + 1.. {
        let value = |size: usize| Some(format!("{n:0size$}").into());
        let both = vec![
            ("left".to_owned(), value(1)),
            ("right".to_owned(), value(2000)),
            ("odd".to_owned(), if n % 2 == 1 { value(1) } else { None }),
        ];
        data.set(&bucket(), both).await.unwrap();
        acknowledged("pair", n);
    }
}

async fn counts(data: &dyn KeyValue) {
    loop {
        acknowledged("count", data.increment(&bucket(), "count", 1).await.unwrap());
    }
}

/// Wraps the data key anew, again and again (row 64): everything else must stay readable.
async fn rotations(store: &Store) {
    store.settle().await.unwrap();
    loop {
        acknowledged("rotated", store.rotate_keys(Actor::system()).await.unwrap() - 1);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// A request of the queue, as every process makes it; every tenth is large.
fn request(n: u64) -> Parts {
    Parts { head: n.to_string().into(), body: n.to_le_bytes().repeat(if n % 10 == 0 { 9_000 } else { 20 }).into() }
}

/// Puts requests, takes what is due, and ends it; every third one is given up.
async fn calls(store: &Store) {
    const WISH: LeaseWish = LeaseWish { topic: Topic::Call, most: 1, per_tenant: 9, lease_ms: 1 << 40 };
    let (queue, acme) = (store.queue(), tenant("acme"));
    let all = queue.list(&acme, Topic::Call, &ItemFilter::default(), None, usize::MAX);
    let mut ended = all.iter().filter(|row| row.state.is_end()).count() as u64;
    for n in all.len() as u64.. {
        let new = NewItem {
            id: format!("{n:08}"),
            topic: Topic::Call,
            subject: "p".to_owned(),
            tag: None,
            once: None,
            due_ms: 0,
            max_attempts: 9,
            request: request(n),
        };
        assert!(!queue.put(&acme, new, None, 1).await.unwrap().known);
        acknowledged("put", n + 1);
        // What the process before this one had is handed out again.
        for row in queue.lease(WISH, 1).await.unwrap() {
            let of: u64 = row.id.parse().unwrap();
            assert_eq!(queue.request(&row).await.unwrap(), request(of));
            let failure = Failure { code: "plugin_trap".to_owned(), detail: String::new() };
            let ending = if of % 3 == 0 { Ending::Dead(failure, None) } else { Ending::Done(request(of + 1)) };
            queue.end(&row, ending, 1 << 40, None, 1).await.unwrap();
            ended += 1;
            acknowledged("ended", ended);
        }
    }
}

async fn check_calls(store: &Store, near: &mut dyn FnMut(&str, u64)) {
    let queue = store.queue();
    let rows = queue.list(&tenant("acme"), Topic::Call, &ItemFilter::default(), None, usize::MAX);
    near("put", rows.len() as u64);
    near("ended", rows.iter().filter(|row| row.state.is_end()).count() as u64);
    for (n, row) in (0..).zip(rows) {
        assert_eq!(row.id, format!("{n:08}"), "none is missing");
        let due =
            if row.state == ItemState::Done { Parts { body: Default::default(), ..request(n) } } else { request(n) };
        assert_eq!(queue.request(&row).await.unwrap(), due);
        let result = if row.state == ItemState::Done { Some(request(n + 1)) } else { None };
        assert_eq!(queue.result(&row).await.unwrap(), result);
    }
}

async fn number(data: &dyn KeyValue, key: &str) -> u64 {
    let value = data.get(&bucket(), key).await.unwrap();
    value.map_or(0, |v| std::str::from_utf8(&v).unwrap().parse().unwrap())
}

fn spawn(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "tests::crash::crash_child"])
        .env(FOLDER, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Kills the child after `after`, and takes down what it had acknowledged. Whether it had opened the store.
fn kill(mut child: Child, after: Duration, known: &mut BTreeMap<String, u64>) -> bool {
    let out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(out).lines().map_while(Result::ok);
        let found = lines.filter_map(|line| {
            let (what, n) = line.strip_prefix('@')?.split_once(' ')?;
            Some((what.to_owned(), n.parse::<u64>().ok()?))
        });
        found.collect::<Vec<_>>()
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "the child failed by itself");
    let mut opened = false;
    *known.entry(KILLS.to_owned()).or_default() += 1;
    for (what, n) in reader.join().unwrap() {
        opened |= what == "open";
        known.insert(what, n);
    }
    opened
}

/// Opens the folder, and checks that all that is `known` is there, and everything is whole. What is found is known
/// from then on.
async fn check(dir: &Path, known: &mut BTreeMap<String, u64>) {
    let store = open(dir, &options()).unwrap_or_else(|fault| panic!("{fault:?}"));
    // At most the one that was under way at each kill comes to what was acknowledged.
    let kills = known.remove(KILLS).unwrap_or(0);
    let mut near = |what: &str, found: u64| {
        let sure = known.insert(what.to_owned(), found).unwrap_or(0);
        assert!((sure..=sure + kills).contains(&found), "{what}: {sure} acknowledged, {found} found");
    };
    let (state, acme) = (store.state(), tenant("acme"));

    let done = uploads_done(&store);
    near("upload", done);
    let mut blobs = 0;
    for n in 0..done.div_ceil(4) {
        let object = name(&object(n * 4));
        let row = state.object(&acme, &object).unwrap().unwrap();
        assert_eq!(row.deleted, (n + 1) * 4 <= done);
        let versions = state.versions(&acme, &object, None, 9).unwrap();
        assert_eq!(versions.len() as u64, if row.deleted { 0 } else { row.latest });
        for version in versions {
            let bytes = store.blobs().read(&acme, &version.digest).await.unwrap();
            assert_eq!(bytes, content(n * 4 + version.version - 1));
            blobs += 1;
        }
    }
    if done > 0 {
        assert_eq!(std::fs::read_dir(dir.join("blobs/acme")).unwrap().count(), blobs, "nothing is left over");
    }

    let tokens = state.tokens(None, None, usize::MAX).unwrap();
    near("token", tokens.len() as u64);
    let revoked = tokens.iter().filter(|t| t.revoked).count() as u64;
    near("revoked", revoked);
    assert!(revoked + 1 >= tokens.len() as u64);
    assert_eq!(state.revoked().unwrap().len() as u64, revoked);

    let data: Arc<dyn KeyValue> = store.key_value();
    let left = number(data.as_ref(), "left").await;
    near("pair", left);
    assert_eq!(number(data.as_ref(), "right").await, left, "both or neither");
    assert_eq!(number(data.as_ref(), "odd").await, if left % 2 == 1 { left } else { 0 });
    near("count", number(data.as_ref(), "count").await);
    // A kill may come between the key file and the record.
    near("rotated", store.key_generations().unwrap().last().unwrap().generation - 1);

    check_calls(&store, &mut near).await;

    let report = store.verify_chain().unwrap();
    assert_eq!((report.records, report.first_bad), (store.sequence(), None));
    store.close().await;
}

/// Numbers that differ from run to run; a failing run prints its seed.
fn random() -> impl FnMut(u64) -> u64 {
    let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0) | 1;
    println!("seed {seed}");
    let mut state = seed;
    move |below| {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

#[tokio::test]
async fn f42_killed_at_random_moments_it_keeps_what_it_acknowledged() {
    let rounds = std::env::var(ROUNDS).ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let dir = tempfile::tempdir().unwrap();
    let (mut known, mut random) = (BTreeMap::new(), random());
    let mut opened = 0;
    // At first long enough that there is a data key, also on a machine that is busy: without it nothing is kept.
    for seconds in [1, 2, 4, 8, 16] {
        kill(spawn(dir.path()), Duration::from_secs(seconds), &mut known);
        check(dir.path(), &mut known).await;
        if known.get("count").is_some_and(|count| *count > 0) {
            break;
        }
    }
    for _ in 0..rounds {
        opened += usize::from(kill(spawn(dir.path()), Duration::from_micros(random(60_000)), &mut known));
        check(dir.path(), &mut known).await;
    }
    println!("{rounds} kills, {opened} of them behind the opening; acknowledged: {known:?}");
    assert!(opened > 0 && known["count"] > 0, "the child never came to work");
}

#[tokio::test]
async fn f43_killed_while_it_opens_the_next_start_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let (mut known, mut random) = (BTreeMap::new(), random());
    kill(spawn(dir.path()), Duration::from_millis(500), &mut known);
    // How long opening takes here.
    let begun = Instant::now();
    check(dir.path(), &mut known).await;
    let opening = begun.elapsed().as_micros().max(1000) as u64;
    let mut before = 0;
    for round in 0..30 {
        if round % 3 == 0 {
            // The long way: the index is rebuilt.
            for entry in std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap()) {
                if entry.file_name().to_str().unwrap().starts_with("index-") {
                    std::fs::remove_dir_all(entry.path()).unwrap();
                }
            }
        }
        before += usize::from(!kill(spawn(dir.path()), Duration::from_micros(random(opening)), &mut known));
    }
    check(dir.path(), &mut known).await;
    assert!(before > 0, "no kill met the opening");
}
