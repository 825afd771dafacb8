//! Shadow traffic of HTTP functions: copied, compared, and of no consequence.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::pinning::again;
use crate::support::{Answer, Client, Server, eventually, guests};

/// A plugin of two versions, of which the first serves and the second is its shadow.
struct Shadowed {
    acme: Client,
    name: &'static str,
}

impl Shadowed {
    fn new(acme: &Client, name: &'static str, first: &[u8], second: &[u8]) -> Self {
        let path = format!("/api/v1/plugins/{name}");
        acme.put(&path, first).expect(201);
        acme.put(&format!("{path}?allow-new-imports=true"), second).expect(201);
        acme.put_json(&format!("{path}/aliases/prod"), &json!({ "version": 1, "shadow": 2 })).expect(200);
        Self { acme: acme.clone(), name }
    }

    fn call(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let answer = self.acme.send(method, &format!("/fn/acme/{}{path}", self.name), &[], body);
        assert_eq!(answer.header("aimass-served-version"), "1");
        answer
    }

    fn compared(&self) -> Value {
        self.acme.get(&format!("/api/v1/plugins/{}/aliases/prod", self.name)).expect(200).json()["compared"].clone()
    }

    /// Waits until the copies of so many calls are accounted for, and shows how.
    fn counts(&self, calls: u64) -> [u64; 5] {
        let mut counts = [0; 5];
        eventually("the copies are accounted for", Duration::from_secs(60), || {
            let compared = self.compared();
            counts = ["equal", "different", "failed", "dropped", "not_compared"]
                .map(|field| compared[field].as_u64().unwrap());
            counts.iter().sum::<u64>() == calls
        });
        counts
    }
}

#[test]
fn a_functions_calls_are_copied_and_its_answers_compared() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let same = Shadowed::new(&acme, "probe", guests::probe(), &again(guests::probe()));
    // One after the other: only two copies run at once.
    assert_eq!(same.call("GET", "/any/path?query", b"").expect(200).text(), "/any/path?query");
    assert_eq!(same.counts(1), [1, 0, 0, 0, 0]);
    assert_eq!(same.call("POST", "/echo", b"a body").expect(200).text(), "a body");
    assert_eq!(same.counts(2), [2, 0, 0, 0, 0], "the copy had the body, too");
    let most = vec![b'x'; 64 << 10];
    assert_eq!(same.call("POST", "/echo", &most).expect(200).body, most);
    assert_eq!(same.counts(3), [3, 0, 0, 0, 0]);
    let more = vec![b'x'; (64 << 10) + 1];
    assert_eq!(same.call("POST", "/echo", &more).expect(200).body, more);
    assert_eq!(same.counts(4), [3, 0, 0, 0, 1], "too much to keep");
    assert_eq!(same.call("POST", "/unread", b"that nobody reads").expect(200).text(), "/unread");
    assert_eq!(same.counts(5)[2..4], [0, 0]);
    assert!(same.call("HEAD", "/head", b"").expect(200).body.is_empty());
    assert_eq!(same.counts(6)[1..4], [0, 0, 0]);
    // What the platform refuses is no answer to compare with.
    same.call("GET", "/panic", b"").problem(502, "plugin_trap");
    // A version by its number has no shadow.
    same.acme.get("/fn/acme/probe@1/x").expect(200);
    assert_eq!(same.counts(6)[1..4], [0, 0, 0]);

    let other = Shadowed::new(&acme, "greet", guests::hello(), guests::probe());
    let greeting = other.call("GET", "/x", b"").expect(200).text();
    assert!(greeting.contains("Hello"), "{greeting}");
    assert_eq!(other.counts(1), [0, 1, 0, 0, 0]);
    assert_eq!(other.call("GET", "/panic", b"").expect(200).text(), greeting);
    assert_eq!(other.counts(2), [0, 1, 1, 0, 0], "only the shadow fails");
    let alias = other.acme.get("/api/v1/plugins/greet/aliases/prod").expect(200).json();
    assert_eq!(alias["last_minute"][1]["requests"], 0, "its copies are no calls: {alias}");
    assert_eq!(alias["last_minute"][0]["errors"], 0, "{alias}");
}

#[test]
fn a_shadow_delays_nobody_and_changes_nothing() {
    let server = Server::start();
    let acme = server.tenant("acme");
    // The shadow sleeps until it is ended, and the caller does not wait for it.
    let slow = Shadowed::new(&acme, "greet", guests::hello(), guests::probe());
    let begun = Instant::now();
    for _ in 0..5 {
        slow.call("GET", "/sleep", b"").expect(200);
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let compared = slow.compared();
    assert_eq!(compared["dropped"], 3, "two wait at once: {compared}");

    let server = Server::start();
    let acme = server.tenant("acme");
    // A counter that a shadow counted with would be one too far.
    let counter = Shadowed::new(&acme, "counter", guests::counter(), &again(guests::counter()));
    for n in 1..=5 {
        assert_eq!(counter.call("POST", "/hits", b"").expect(200).text(), format!("{n}\n"));
        counter.counts(n);
    }
    let [equal, different, failed, ..] = counter.counts(5);
    assert_eq!((equal, different + failed), (0, 5), "it could not count");
    let probe = Shadowed::new(&acme, "probe", guests::probe(), &again(guests::probe()));
    probe.call("GET", "/outgoing", b"").expect(200);
    assert_eq!(probe.counts(1)[3..], [0, 0]);
}
