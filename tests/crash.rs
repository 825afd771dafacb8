//! Row 42 over the whole server: `kill -9` at random moments under mixed writes, again and again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Client, Server, guests, onnx};

/// Rounds of the short form; `AIMASS_CRASH_ROUNDS` says otherwise.
fn rounds() -> u64 {
    std::env::var("AIMASS_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

/// A seeded generator (splitmix64), so that a failing run can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// What one writer knows: what was acknowledged, and what it was about to do when the server died.
#[derive(Default)]
struct Objects {
    /// Name → digests of its versions; gone when it was deleted.
    there: BTreeMap<String, Vec<String>>,
    /// The name that the last, unanswered request was about.
    unsure: Option<String>,
}

/// The component with a custom section that makes its bytes different.
fn variant(n: u64) -> Vec<u8> {
    let mut bytes = guests::counter().to_vec();
    let payload = n.to_le_bytes();
    // Section 0, its size, the name's length, the name, the content.
    bytes.extend_from_slice(&[0, 2 + payload.len() as u8, 1, b'n']);
    bytes.extend_from_slice(&payload);
    bytes
}

/// Uploads and deletes objects of one kind until the server dies.
fn churn(client: &Client, kind: &str, objects: &mut Objects, random: &mut Random, bytes: impl Fn(u64) -> Vec<u8>) {
    loop {
        let name = format!("{kind}-{}", random.next() % 4);
        let path = format!("/api/v1/{kind}s/{name}");
        objects.unsure = Some(name.clone());
        if random.next() % 4 == 0 && objects.there.contains_key(&name) {
            match client.try_send("DELETE", &path, &[], b"") {
                Ok(answer) => drop(answer.expect(204)),
                Err(_) => return,
            }
            objects.there.remove(&name);
        } else {
            match client.try_send("PUT", &path, &[], &bytes(random.next())) {
                Ok(answer) => {
                    let digest = answer.expect(201).json()["digest"].as_str().unwrap().to_owned();
                    objects.there.entry(name).or_default().push(digest);
                }
                Err(_) => return,
            }
        }
        objects.unsure = None;
    }
}

/// Compares what was acknowledged with what is there, and takes over what the last request may have done.
fn check(client: &Client, kind: &str, objects: &mut Objects, round: u64) {
    for n in 0..4 {
        let name = format!("{kind}-{n}");
        let answer = client.get(&format!("/api/v1/{kind}s/{name}/versions"));
        let found: Option<Vec<String>> = (answer.status == 200).then(|| {
            answer.json()["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v["digest"].as_str().unwrap().to_owned())
                .collect()
        });
        let known = objects.there.get(&name).cloned();
        if objects.unsure.as_ref() == Some(&name) {
            let kept = known.clone().unwrap_or_default();
            let whole = match &found {
                None => true,
                Some(found) => found == &kept || (found.len() == kept.len() + 1 && found.starts_with(&kept)),
            };
            assert!(whole, "round {round}: {name} is half done: {known:?}, {found:?}");
        } else {
            assert_eq!(found, known, "round {round}: {name}");
        }
        match found {
            Some(found) => drop(objects.there.insert(name, found)),
            None => drop(objects.there.remove(&name)),
        }
    }
    objects.unsure = None;
}

/// Mints and revokes tokens until the server dies: the tokens with whether they are revoked, and what is unsure.
fn tokens(client: &Client, known: &mut BTreeMap<String, (String, bool)>, random: &mut Random) -> Option<String> {
    loop {
        let wish = json!({ "subject": "crash", "scopes": ["plugins:read"] }).to_string();
        let Ok(answer) = client.try_send("POST", "/api/v1/tokens", &[], wish.as_bytes()) else { return None };
        let minted = answer.expect(201).json();
        let jti = minted["jti"].as_str().unwrap().to_owned();
        known.insert(jti.clone(), (minted["token"].as_str().unwrap().to_owned(), false));
        if random.next() % 2 == 0 {
            let Ok(answer) = client.try_send("DELETE", &format!("/api/v1/tokens/{jti}"), &[], b"") else {
                return Some(jti);
            };
            answer.expect(204);
            known.insert(jti.clone(), (known[&jti].0.clone(), true));
        }
    }
}

/// Counts until the server dies; returns the last number that was acknowledged.
fn count(client: &Client, mut last: u64) -> u64 {
    while let Ok(answer) = client.try_send("POST", "/fn/acme/steady/hits", &[], b"") {
        last = answer.expect(200).text().trim().parse().unwrap();
    }
    last
}

#[test]
fn f42_what_was_acknowledged_survives_every_kill() {
    survives(0x5eed, rounds(), |_| {});
}

#[test]
fn f42_what_was_acknowledged_survives_every_kill_with_the_index_deleted() {
    survives(0xde1e, (rounds() / 4).max(1), |data| {
        for index in indexes(data) {
            std::fs::remove_dir_all(index).unwrap();
        }
    });
}

#[test]
fn f45_what_was_acknowledged_survives_every_kill_with_a_bit_flipped_in_the_index() {
    let mut random = Random(0xf11b);
    survives(0xf11b, (rounds() / 4).max(1), |data| {
        let files = indexes(data).into_iter().flat_map(|index| std::fs::read_dir(index).unwrap());
        let files: Vec<_> = files.map(|e| e.unwrap().path()).filter(|path| path.is_file()).collect();
        let path = &files[(random.next() % files.len() as u64) as usize];
        let mut bytes = std::fs::read(path).unwrap();
        if !bytes.is_empty() {
            let at = (random.next() % bytes.len() as u64) as usize;
            bytes[at] ^= 1 << (random.next() % 8);
            std::fs::write(path, bytes).unwrap();
        }
    });
}

#[test]
fn f45_a_bit_flipped_in_a_log_between_kills_is_refused_or_was_never_acknowledged() {
    let mut random = Random(0xb17);
    let refused = std::cell::Cell::new(0);
    survives(0xb17, (rounds() / 4).max(1), |data| {
        let folder = data.join(if random.next() % 2 == 0 { "store/journal" } else { "store/kv" });
        let files = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
        let path = files.filter(|path| path.extension().is_some_and(|e| e == "log")).max().unwrap();
        let whole = std::fs::read(&path).unwrap();
        let at = (random.next() % whole.len() as u64) as usize;
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (random.next() % 8);
        std::fs::write(&path, &flipped).unwrap();
        // A start over what is taken for an unfinished write would cut it off; anything else is refused and named.
        match Server::try_on(data, &[]) {
            Err(said) => {
                assert!(said.contains(path.to_str().unwrap()), "at {at}: {said}");
                refused.set(refused.get() + 1);
                std::fs::write(&path, &whole).unwrap();
            }
            Ok(server) => drop(server.kill()),
        }
    });
    assert!(refused.get() > 0);
}

/// The folders of the index.
fn indexes(data: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(data.join("store")).unwrap().map(|e| e.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("index-")).collect()
}

/// Kills a server under mixed writes `rounds` times, does `between` to its data folder, and compares what was
/// acknowledged with what is there.
/// The end asks with thousands of tokens, each over a connection of its own.
const OPEN: &[&str] = &["--new-connections-per-address", "100000"];

fn survives(seed: u64, rounds: u64, mut between: impl FnMut(&std::path::Path)) {
    let mut random = Random(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::on(folder.path(), OPEN);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/steady", guests::counter()).expect(201);
    let token = acme.token.clone();
    let (mut plugins, mut models) = (Objects::default(), Objects::default());
    let mut minted: BTreeMap<String, (String, bool)> = BTreeMap::new();
    let mut hits = 0;
    let started = Instant::now();
    for round in 0..rounds {
        let client = server.with(&token);
        let seeds: Vec<u64> = (0..3).map(|_| random.next()).collect();
        let life = Duration::from_millis(random.next() % 250);
        let unsure = std::thread::scope(|scope| {
            let client = &client;
            let a = scope.spawn(|| churn(client, "plugin", &mut plugins, &mut Random(seeds[0]), variant));
            let b = scope.spawn(|| {
                churn(client, "model", &mut models, &mut Random(seeds[1]), |n| onnx::named_relu(4, &n.to_string()))
            });
            let c = scope.spawn(|| tokens(client, &mut minted, &mut Random(seeds[2])));
            let d = scope.spawn({
                let last = hits;
                move || count(client, last)
            });
            std::thread::sleep(life);
            server.kill();
            for writer in [a, b] {
                writer.join().unwrap();
            }
            hits = d.join().unwrap();
            c.join().unwrap()
        });
        between(folder.path());
        server = Server::on(folder.path(), OPEN);
        let client = server.with(&token);
        check(&client, "plugin", &mut plugins, round);
        check(&client, "model", &mut models, round);
        // The newest tokens are asked one by one; all of them at the end.
        for (jti, (secret, revoked)) in minted.iter().rev().take(8) {
            let status = server.with(secret).get("/api/v1/plugins").status;
            let expected = if *revoked { 401 } else { 200 };
            assert!(status == expected || unsure.as_ref() == Some(jti), "round {round}: token {jti} gives {status}");
        }
        if let Some(jti) = unsure {
            minted.remove(&jti);
        }
        let next: u64 =
            client.send("POST", "/fn/acme/steady/hits", &[], b"").expect(200).text().trim().parse().unwrap();
        assert!((hits + 1..=hits + 2).contains(&next), "round {round}: {hits} was acknowledged, then came {next}");
        hits = next;
    }
    for (jti, (secret, revoked)) in &minted {
        let status = server.with(secret).get("/api/v1/plugins").status;
        assert_eq!(status, if *revoked { 401 } else { 200 }, "token {jti}");
    }
    eprintln!(
        "{rounds} kills in {:?}: {} tokens, {hits} counted, {} plugins and {} models at the end",
        started.elapsed(),
        minted.len(),
        plugins.there.len(),
        models.there.len()
    );
}
