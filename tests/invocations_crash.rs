//! Asynchronous calls through `kill -9`: each ends exactly once, none is lost, and effects that are keyed by the call
//! happen once.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::invocations::later;
use crate::support::{Client, Server, eventually, guests};

/// Kills while calls are accepted and run.
const KILLS: u64 = 5;

/// One of so many calls is given up at its first attempt.
const DEAD: u64 = 50;

/// Calls of the short form; `AIMASS_CRASH_CALLS=10000` is the long one.
fn calls() -> u64 {
    std::env::var("AIMASS_CRASH_CALLS").ok().and_then(|text| text.parse().ok()).unwrap_or(500)
}

/// Sends call number `n` until some server accepts it, under one key.
fn accept(urls: &Mutex<String>, token: &str, n: u64) -> String {
    let (key, path) = (format!("call-{n}"), if n % DEAD == 0 { "mute" } else { "effect" });
    loop {
        let client = Client::new(&urls.lock().unwrap().clone(), token);
        let headers = [("prefer", "respond-async"), ("idempotency-key", key.as_str())];
        match client.try_send("POST", &format!("/fn/acme/once/{path}"), &headers, b"") {
            Ok(answer) => return answer.expect(202).json()["id"].as_str().unwrap().to_owned(),
            // It was killed: the next one is asked the same.
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn list(client: &Client) -> Vec<Value> {
    let (mut all, mut after) = (vec![], String::new());
    loop {
        let page = client.get(&format!("/api/v1/invocations?limit=100{after}")).expect(200).json();
        all.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return all,
        }
    }
}

#[test]
fn f42_asynchronous_calls_end_exactly_once_through_kills() {
    let total = calls();
    let folder = tempfile::tempdir().unwrap();
    // Enough attempts that a call which every kill meets is still not given up for that.
    let arguments = ["--call-attempts", "9"];
    let mut server = Server::on(folder.path(), &arguments);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/once", guests::once()).expect(201);
    let token = acme.token.clone();
    let (urls, next, accepted) =
        (Mutex::new(server.url.clone()), AtomicU64::new(0), Mutex::new(BTreeMap::<String, u64>::new()));
    let started = Instant::now();
    let server = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::SeqCst);
                    if n >= total {
                        return;
                    }
                    let id = accept(&urls, &token, n);
                    let before = accepted.lock().unwrap().insert(id, n);
                    assert_eq!(before, None, "two keys stand for one call");
                }
            });
        }
        for kill in 1..=KILLS {
            let due = (total * kill / (KILLS + 1)) as usize;
            eventually("calls are accepted", Duration::from_secs(600), || accepted.lock().unwrap().len() >= due);
            server.kill();
            server = Server::on(folder.path(), &arguments);
            *urls.lock().unwrap() = server.url.clone();
        }
        server
    });
    let client = server.with(&token);
    for state in ["queued", "running"] {
        eventually("every call has ended", Duration::from_secs(600), || {
            let page = client.get(&format!("/api/v1/invocations?limit=1&state={state}")).expect(200).json();
            page["items"].as_array().unwrap().is_empty()
        });
    }
    let took = started.elapsed();
    let calls = list(&client);
    let accepted = accepted.into_inner().unwrap();
    assert_eq!((calls.len() as u64, accepted.len() as u64), (total, total), "none is lost, and none is there twice");
    let (mut dead, mut attempts) = (0, 0);
    for call in &calls {
        let n = accepted[call["id"].as_str().unwrap()];
        let state = if n % DEAD == 0 { "dead" } else { "done" };
        assert_eq!(call["state"], state, "{call}");
        dead += u64::from(n % DEAD == 0);
        attempts += call["attempts"].as_u64().unwrap();
    }
    let told = client.get("/fn/acme/once/effects").expect(200).text();
    let (effects, begun) = told.split_once(' ').unwrap();
    assert_eq!(effects.parse::<u64>().unwrap(), total - dead, "each effect once");
    assert!(begun.parse::<u64>().unwrap() <= attempts - dead, "what was begun was counted");
    for call in calls.iter().filter(|call| call["state"] == "done").step_by(97) {
        let id = call["id"].as_str().unwrap();
        let result = client.get(&format!("/api/v1/invocations/{id}/result")).expect(200).text();
        assert_eq!(result, format!("{id} {}", call["attempts"]));
    }
    // An end is final: what is sent again under its key is the same call.
    let headers = [("idempotency-key", "call-1")];
    let again = later(&client, "POST", "/fn/acme/once/effect", &headers, b"").expect(202).json();
    assert_eq!(again["state"], "done");
    eprintln!(
        "{total} calls and {KILLS} kills in {took:?}: {dead} dead letters, {attempts} attempts, {begun} begun effects"
    );
}
