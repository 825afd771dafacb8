//! Triggers: what runs by itself. Rows 60 and 61.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::clock::{Clock, borrowed};
use crate::support::{Client, Server, aimass_with, eventually, guests, onnx};

/// A trigger that counts: each run adds one to the counter of its name.
fn counting(schedule: &str, counter: &str) -> Value {
    let cron = json!({ "schedule": schedule });
    json!({ "on": { "cron": cron }, "run": { "function": { "plugin": "counter", "path": format!("/{counter}") } } })
}

/// The runs, oldest first.
fn runs(client: &Client, trigger: &str) -> Vec<Value> {
    let page = client.get(&format!("/api/v1/triggers/{trigger}/runs")).expect(200).json();
    page["items"].as_array().unwrap().iter().rev().cloned().collect()
}

/// What the counter says, after this look at it.
fn count(client: &Client, counter: &str) -> u64 {
    client.send("POST", &format!("/fn/acme/counter/{counter}"), &[], b"").expect(200).text().trim().parse().unwrap()
}

/// Waits until so many runs have ended.
#[track_caller]
fn ended(client: &Client, trigger: &str, number: usize) -> Vec<Value> {
    eventually(&format!("{trigger} has {number} runs that have ended"), Duration::from_secs(30), || {
        runs(client, trigger).iter().filter(|run| run["state"] != "running").count() >= number
    });
    runs(client, trigger)
}

#[test]
fn a_trigger_is_made_fired_replayed_and_deleted() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/counter", guests::counter()).expect(201);
    let path = "/api/v1/triggers/nightly";
    let made = acme.put_json(path, &counting("30 2 * * *", "nightly")).expect(201).json();
    assert_eq!((&made["paused"], &made["runs"]), (&json!(false), &json!(0)));
    assert!(made["next_ms"].as_u64().unwrap() > made["created_ms"].as_u64().unwrap(), "{made}");
    assert_eq!(acme.put_json(path, &counting("30 2 * * *", "nightly")).expect(200).json(), made, "the same again");

    let fired = acme.post(&format!("{path}/fire"), &json!({})).expect(202).json();
    let first = ended(&acme, "nightly", 1).remove(0);
    assert_eq!((&first["id"], &first["state"], &first["status"]), (&fired["id"], &json!("succeeded"), &json!(200)));
    assert_eq!((&first["cause"]["type"], &first["asked_by"]), (&json!("manual"), &json!("test")));
    let id = first["id"].as_str().unwrap();
    assert_eq!(acme.get(&format!("{path}/runs/{id}")).expect(200).json(), first);

    let replayed = acme.post(&format!("{path}/runs/{id}/replay"), &json!({})).expect(202).json();
    assert_eq!(replayed["cause"], json!({ "type": "replay", "of": id }));
    ended(&acme, "nightly", 2);
    assert_eq!(count(&acme, "nightly"), 3, "each run counted once");

    // A model with a fixed input, and what fails says why.
    acme.put("/api/v1/models/tiny", &onnx::relu(2)).expect(201);
    let input = json!({ "inputs": [{ "name": "x", "shape": [1, 2], "datatype": "FP32", "data": [-1, 1] }] });
    let infer = |body: &Value| json!({ "on": { "cron": { "schedule": "@daily" } }, "run": { "infer": { "model": "tiny@1", "body": body } } });
    acme.put_json("/api/v1/triggers/model", &infer(&input)).expect(201);
    acme.post("/api/v1/triggers/model/fire", &json!({})).expect(202);
    assert_eq!(ended(&acme, "model", 1)[0]["state"], "succeeded", "{:?}", runs(&acme, "model"));
    let wrong = json!({ "inputs": [{ "name": "y", "shape": [1], "datatype": "FP32", "data": [1] }] });
    acme.put_json("/api/v1/triggers/model", &infer(&wrong)).expect(200);
    acme.post("/api/v1/triggers/model/fire", &json!({})).expect(202);
    let failed = ended(&acme, "model", 2).pop().unwrap();
    assert_eq!((&failed["state"], &failed["status"]), (&json!("failed"), &json!(400)), "{failed}");
    assert!(failed["detail"].is_string());

    let listed = acme.get("/api/v1/triggers?limit=1").expect(200).json();
    assert_eq!((&listed["items"][0]["name"], &listed["next"]), (&json!("model"), &json!("model")));
    acme.delete(path).expect(204);
    acme.get(path).problem(404, "not_found");
    acme.get(&format!("{path}/runs")).problem(404, "not_found");
}

#[test]
fn what_is_no_trigger_is_refused() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    acme.put("/api/v1/models/tiny", &onnx::relu(2)).expect(201);
    let put = |on: Value, run: Value| acme.put_json("/api/v1/triggers/t", &json!({ "on": on, "run": run }));
    let daily = || json!({ "cron": { "schedule": "@daily" } });
    let hello = || json!({ "function": { "plugin": "hello" } });
    put(daily(), hello()).expect(201);
    for on in [
        json!({ "cron": { "schedule": "61 * * * *" } }),
        json!({ "cron": { "schedule": "0 0 30 2 *" } }),
        json!({ "cron": { "schedule": "@daily", "time_zone": "Mars/Olympus" } }),
        json!({ "cron": { "schedule": "@daily", "catch_up_seconds": 1_000_000 } }),
        json!({ "cron": { "schedule": "@daily", "timezone": "UTC" } }),
        json!({ "moon": {} }),
        json!({}),
    ] {
        put(on, hello()).problem(400, "invalid_request");
    }
    for run in [
        json!({ "function": { "plugin": "nobody" } }),
        json!({ "function": { "plugin": "tiny" } }),
        json!({ "function": { "plugin": "hello", "method": "TRACE" } }),
        json!({ "function": { "plugin": "hello", "path": "no-slash" } }),
        json!({ "function": { "plugin": "hello", "body": "x".repeat(30_000) } }),
        json!({ "infer": { "model": "tiny" } }),
        json!({ "infer": { "model": "tiny", "body": {} } }),
    ] {
        put(daily(), run).problem(400, "invalid_request");
    }
    // Whoever may make triggers makes none that do what they may not do themselves.
    let weak = server.token("acme", &["triggers:write", "models:invoke"]);
    let wish = json!({ "on": daily(), "run": hello() });
    weak.put_json("/api/v1/triggers/t", &wish).problem(403, "insufficient_scope");
}

/// Midnight of a day long from now, in UTC: 2033-05-19.
const DAY: u64 = 2_000_073_600 - 2_000_073_600 % 86_400;

#[test]
fn f60_a_clock_that_jumps_fires_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut clock = Clock::new();
    clock.set(DAY + 11 * 3600);
    let server = Server::try_on_with(folder.path(), &[], &borrowed(&clock.variables())).unwrap();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/counter", guests::counter()).expect(201);
    clock.set(DAY + 12 * 3600 - 3);
    acme.put_json("/api/v1/triggers/minutely", &counting("* * * * *", "minutely")).expect(201);
    let slot = |run: &Value| run["cause"]["slot_ms"].as_u64().unwrap() / 1000 - DAY;
    assert_eq!(slot(&ended(&acme, "minutely", 1)[0]), 12 * 3600);

    // An hour forward: sixty slots are missed, the newest is caught up with.
    clock.move_by(3600);
    let caught = ended(&acme, "minutely", 2);
    assert_eq!((caught.len(), slot(&caught[1])), (2, 13 * 3600), "{caught:?}");

    // An hour back: what was fired stands in the journal, so nothing fires again, also after a restart.
    clock.move_by(-3600);
    clock.set(DAY + 12 * 3600 + 58);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(runs(&acme, "minutely").len(), 2);
    let token = acme.token.clone();
    server.kill();
    clock.set(DAY + 13 * 3600 - 2);
    let server = Server::try_on_with(folder.path(), &[], &borrowed(&clock.variables())).unwrap();
    let acme = server.with(&token);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(runs(&acme, "minutely").len(), 2, "{:?}", runs(&acme, "minutely"));
    // Until the clock is where it was.
    clock.set(DAY + 13 * 3600 + 58);
    let all = ended(&acme, "minutely", 3);
    assert_eq!((all.len(), slot(&all[2])), (3, 13 * 3600 + 60));
    assert_eq!(count(&acme, "minutely"), 4);
}

#[test]
fn f60_over_daylight_saving_a_real_node_fires_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut clock = Clock::new();
    // 2033-03-27, 01:59:50 in Berlin: ten seconds later it is 03:00 there.
    let jump = 1_995_498_000;
    clock.set(jump - 3600);
    let server = Server::try_on_with(folder.path(), &[], &borrowed(&clock.variables())).unwrap();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/counter", guests::counter()).expect(201);
    let mut nightly = counting("30 2 * * *", "nightly");
    nightly["on"]["cron"]["time_zone"] = json!("Europe/Berlin");
    let made = acme.put_json("/api/v1/triggers/nightly", &nightly).expect(201).json();
    assert_eq!(made["next_ms"], json!(jump * 1000));
    clock.set(jump - 2);
    let fired = ended(&acme, "nightly", 1);
    assert_eq!(fired[0]["cause"], json!({ "type": "cron", "slot_ms": jump * 1000 }));
    // Half an hour later, when it would be 02:30, nothing is due.
    clock.set(jump + 1800 - 1);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(runs(&acme, "nightly").len(), 1);
}

#[test]
fn f61_missed_runs_are_caught_up_with_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut clock = Clock::new();
    clock.set(DAY + 8 * 3600 + 60);
    let server = Server::try_on_with(folder.path(), &[], &borrowed(&clock.variables())).unwrap();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/counter", guests::counter()).expect(201);
    acme.put_json("/api/v1/triggers/hourly", &counting("0 * * * *", "hourly")).expect(201);
    let mut none = counting("0 * * * *", "never-late");
    none["on"]["cron"]["catch_up_seconds"] = json!(0);
    acme.put_json("/api/v1/triggers/never-late", &none).expect(201);
    acme.put_json("/api/v1/triggers/resting", &counting("0 * * * *", "resting")).expect(201);
    acme.post("/api/v1/triggers/resting/pause", &json!({})).expect(200);
    let token = acme.token.clone();
    server.kill();

    // The node comes back after four slots.
    clock.set(DAY + 12 * 3600 + 600);
    let server = Server::try_on_with(folder.path(), &[], &borrowed(&clock.variables())).unwrap();
    let acme = server.with(&token);
    let caught = ended(&acme, "hourly", 1);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(runs(&acme, "hourly").len(), 1);
    let noon = (DAY + 12 * 3600) * 1000;
    assert_eq!(caught[0]["cause"], json!({ "type": "cron", "slot_ms": noon, "caught_up": true }));
    assert_eq!(runs(&acme, "never-late").len(), 0);
    // What came due while it rested is not caught up with.
    acme.post("/api/v1/triggers/resting/resume", &json!({})).expect(200);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(runs(&acme, "resting").len(), 0);
}

#[test]
fn f61_a_slot_is_one_run_whenever_the_node_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on(folder.path(), &[]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/counter", guests::counter()).expect(201);
    acme.put_json("/api/v1/triggers/secondly", &counting("* * * * * *", "secondly")).expect(201);
    let token = acme.token.clone();
    let mut server = server;
    for round in 0..12 {
        // Around the change of the second, where slots are fired and recorded.
        let millis = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_millis();
        std::thread::sleep(Duration::from_millis(u64::from(1_000 - millis) + [0, 1, 2, 4, 8, 16][round % 6]));
        server.kill();
        server = Server::on(folder.path(), &[]);
    }
    let acme = server.with(&token);
    acme.post("/api/v1/triggers/secondly/pause", &json!({})).expect(200);
    eventually("all runs have ended", Duration::from_secs(30), || {
        runs(&acme, "secondly").iter().all(|run| run["state"] == "succeeded")
    });
    let slots: Vec<u64> = runs(&acme, "secondly").iter().map(|run| run["cause"]["slot_ms"].as_u64().unwrap()).collect();
    let mut distinct = slots.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(slots.len() >= 12, "{slots:?}");
    assert_eq!(distinct, slots, "each slot once, in order");
}

#[test]
fn the_command_line_makes_and_fires_triggers() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/counter", guests::counter()).expect(201);
    let token = server.data.join("acme.token");
    std::fs::write(&token, &acme.token).unwrap();
    let run = |arguments: &[&str]| {
        let all = [&["--url", &server.url, "triggers"], arguments].concat();
        aimass_with(&all, &[("AIMASS_TOKEN_FILE", &token)])
    };
    let made = run(&[
        "create",
        "nightly",
        "--cron",
        "30 2 * * *",
        "--time-zone",
        "Europe/Berlin",
        "--catch-up",
        "2h",
        "--function",
        "counter",
        "--path",
        "/nightly",
    ]);
    assert!(made.contains("30 2 * * * (Europe/Berlin)") && made.contains("POST counter /nightly"), "{made}");
    assert!(run(&["fire", "nightly"]).starts_with("fired nightly: run "));
    ended(&acme, "nightly", 1);
    let listed = run(&["runs", "nightly"]);
    assert!(listed.contains("manual") && listed.contains("succeeded"), "{listed}");
    let shown: Value = serde_json::from_str(&run(&["show", "nightly", "--json"])).unwrap();
    assert_eq!(shown["on"]["cron"]["catch_up_seconds"], 7200);
    let id = shown["last_run"]["id"].as_str().unwrap().to_owned();
    assert!(run(&["replay", "nightly", &id]).starts_with("fired nightly"));
    assert!(run(&["pause", "nightly"]).contains("paused"));
    assert!(run(&["list"]).contains("paused"));
    assert!(run(&["delete", "nightly"]).contains("deleted"));
    assert!(run(&["list"]).contains("there are none"));
}
