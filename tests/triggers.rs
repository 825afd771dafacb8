//! Triggers: what runs by itself. Rows 60 and 61.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::clock::{Clock, borrowed};
use crate::support::{Client, Server, aimass_with, eventually, guests, onnx, python};

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

fn is_end(run: &Value) -> bool {
    run["state"] != "queued" && run["state"] != "running"
}

/// Waits until so many runs have ended.
#[track_caller]
fn ended(client: &Client, trigger: &str, number: usize) -> Vec<Value> {
    eventually(&format!("{trigger} has {number} runs that have ended"), Duration::from_secs(30), || {
        runs(client, trigger).iter().filter(|run| is_end(run)).count() >= number
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
    assert_eq!((&first["id"], &first["state"], &first["attempts"]), (&fired["id"], &json!("done"), &json!(1)));
    assert_eq!((&first["cause"]["type"], &first["asked_by"]), (&json!("manual"), &json!("test")));
    let id = first["id"].as_str().unwrap();
    assert_eq!(acme.get(&format!("{path}/runs/{id}")).expect(200).json(), first);
    // A run is an asynchronous call, and its answer is kept as any other's.
    assert_eq!(acme.get(&format!("/api/v1/invocations/{id}/result")).expect(200).text().trim(), "1");
    let calls = acme.get("/api/v1/invocations?trigger=nightly").expect(200).json();
    assert_eq!((&calls["items"][0]["id"], &calls["items"][0]["trigger"]), (&json!(id), &json!("nightly")));

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
    assert_eq!(ended(&acme, "model", 1)[0]["state"], "done", "{:?}", runs(&acme, "model"));
    let wrong = json!({ "inputs": [{ "name": "y", "shape": [1], "datatype": "FP32", "data": [1] }] });
    acme.put_json("/api/v1/triggers/model", &infer(&wrong)).expect(200);
    acme.post("/api/v1/triggers/model/fire", &json!({})).expect(202);
    let failed = ended(&acme, "model", 2).pop().unwrap();
    assert_eq!((&failed["state"], &failed["failure"]["code"]), (&json!("dead"), &json!("invalid_tensor")), "{failed}");
    assert!(failed["failure"]["detail"].is_string());

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
        runs(&acme, "secondly").iter().all(|run| run["state"] == "done")
    });
    let slots: Vec<u64> = runs(&acme, "secondly").iter().map(|run| run["cause"]["slot_ms"].as_u64().unwrap()).collect();
    let mut distinct = slots.clone();
    distinct.sort_unstable();
    distinct.dedup();
    // A second that passes while no node is there is caught up with only if it is the newest.
    assert!(slots.len() >= 8, "{slots:?}");
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
    assert!(listed.contains("manual") && listed.contains("done"), "{listed}");
    let shown: Value = serde_json::from_str(&run(&["show", "nightly", "--json"])).unwrap();
    assert_eq!(shown["on"]["cron"]["catch_up_seconds"], 7200);
    let id = shown["last_run"]["id"].as_str().unwrap().to_owned();
    assert!(run(&["replay", "nightly", &id]).starts_with("fired nightly"));
    assert!(run(&["pause", "nightly"]).contains("paused"));
    assert!(run(&["list"]).contains("paused"));
    assert!(run(&["delete", "nightly"]).contains("deleted"));
    assert!(run(&["list"]).contains("there are none"));
}

/// Sends a webhook as its sender would.
fn webhook(server: &Server, path: &str, secret: &str, id: &str, at: u64, body: &[u8]) -> crate::support::Answer {
    let signature = aimass_auth::WebhookSecret::parse(secret).unwrap().sign(id, at, body);
    let at = at.to_string();
    let headers = [
        ("webhook-id", id),
        ("webhook-timestamp", at.as_str()),
        ("webhook-signature", signature.as_str()),
        ("content-type", "text/plain"),
    ];
    server.anonymous().send("POST", path, &headers, body)
}

/// The message that was handed to the inbox last.
fn kept(client: &Client) -> String {
    client.get("/fn/acme/inbox/kept").expect(200).text()
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_signed_webhook_fires_once_and_all_others_are_refused_alike() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on(folder.path(), &[]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/inbox", guests::inbox()).expect(201);
    let wish = json!({ "on": { "webhook": {} }, "run": { "function": { "plugin": "inbox", "path": "/kept" } } });
    let made = acme.put_json("/api/v1/triggers/intake", &wish).expect(201).json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    let again = acme.put_json("/api/v1/triggers/intake", &wish).expect(200).json();
    assert!(again["secret"].is_null(), "it is shown once");
    assert!(!acme.get("/api/v1/triggers/intake").expect(200).text().contains("whsec_"));

    let path = "/hooks/acme/intake";
    let first = webhook(&server, path, &secret, "msg_1", now(), b"hello").expect(202).json();
    // Sent again, with a new time as senders do, or as it was: the same run.
    assert_eq!(webhook(&server, path, &secret, "msg_1", now() + 1, b"hello").expect(202).json(), first);
    let ended_runs = ended(&acme, "intake", 1);
    assert_eq!((ended_runs.len(), &ended_runs[0]["id"]), (1, &first["run"]));
    assert_eq!(ended_runs[0]["cause"]["webhook"], "msg_1");
    let id = first["run"].as_str().unwrap();
    assert!(kept(&acme).ends_with("\n\nhello"), "the body became the function's");

    // Unsigned, wrongly signed, too old, for a trigger of another kind or none: all alike.
    acme.put_json("/api/v1/triggers/daily", &json!({ "on": { "cron": { "schedule": "@daily" } }, "run": wish["run"] }))
        .expect(201);
    let other = aimass_auth::WebhookSecret::random().unwrap().text().to_string();
    let mut answers = std::collections::BTreeSet::new();
    for answer in [
        server.anonymous().send("POST", path, &[], b"hello"),
        webhook(&server, path, &other, "msg_2", now(), b"hello"),
        webhook(&server, path, &secret, "msg_2", now() - 400, b"hello"),
        webhook(&server, path, &secret, "msg_2", now() + 400, b"hello"),
        webhook(&server, "/hooks/acme/daily", &secret, "msg_2", now(), b"hello"),
        webhook(&server, "/hooks/acme/nobody", &secret, "msg_2", now(), b"hello"),
        webhook(&server, "/hooks/nobody/intake", &secret, "msg_2", now(), b"hello"),
        webhook(&server, "/hooks/..%2Facme/intake", &secret, "msg_2", now(), b"hello"),
    ] {
        let mut problem = answer.problem(401, "unauthenticated").json();
        problem["request_id"] = "".into();
        answers.insert(problem.to_string());
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(runs(&acme, "intake").len(), 1);

    // Replayed, it runs with the same body; a rotated secret voids the old one; and both survive a restart.
    acme.send("POST", "/fn/acme/inbox/kept", &[], b"forgotten").expect(200);
    acme.post(&format!("/api/v1/triggers/intake/runs/{id}/replay"), &json!({})).expect(202);
    ended(&acme, "intake", 2);
    let message = kept(&acme);
    assert!(message.ends_with("\n\nhello") && message.contains("content-type: text/plain\n"), "{message}");
    let rotated = acme.put_json("/api/v1/triggers/intake?rotate-secret=true", &wish).expect(200).json();
    let rotated = rotated["secret"].as_str().unwrap().to_owned();
    webhook(&server, path, &secret, "msg_3", now(), b"x").problem(401, "unauthenticated");
    let token = acme.token.clone();
    server.kill();
    let stored = std::process::Command::new("grep").args(["-rlF", &rotated[6..]]).arg(folder.path()).output().unwrap();
    assert!(stored.stdout.is_empty(), "the secret is in a file: {}", String::from_utf8_lossy(&stored.stdout));
    let server = Server::on(folder.path(), &[]);
    let acme = server.with(&token);
    webhook(&server, path, &rotated, "msg_3", now(), b"x").expect(202);
    webhook(&server, path, &rotated, "msg_1", now(), b"hello").expect(202);
    assert_eq!(ended(&acme, "intake", 3).len(), 3, "msg_1 has run");
    acme.post("/api/v1/triggers/intake/pause", &json!({})).expect(200);
    webhook(&server, path, &rotated, "msg_4", now(), b"x").problem(409, "conflict");
}

#[test]
fn standardwebhooks_of_pypi_signs_what_is_accepted() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/counter", guests::counter()).expect(201);
    let wish = json!({ "on": { "webhook": {} }, "run": { "function": { "plugin": "counter", "path": "/hooks" } } });
    let made = acme.put_json("/api/v1/triggers/intake", &wish).expect(201).json();
    let (secret, at, body) = (made["secret"].as_str().unwrap(), now().to_string(), r#"{"order":17}"#);
    let signature = python::webhooks_with("webhook_sign.py", &[secret, "msg_1", &at], body.as_bytes());
    let headers = [("webhook-id", "msg_1"), ("webhook-timestamp", &at), ("webhook-signature", signature.trim())];
    server.anonymous().send("POST", "/hooks/acme/intake", &headers, body.as_bytes()).expect(202);
    server.anonymous().send("POST", "/hooks/acme/intake", &headers, b"{}").problem(401, "unauthenticated");
    assert_eq!(ended(&acme, "intake", 1)[0]["state"], "done");
}

/// A trigger that hands events of these kinds to the function that shows what came.
fn on_events(kinds: &[&str], condition: &str) -> Value {
    let run = json!({ "function": { "plugin": "inbox", "path": "/kept" } });
    json!({ "on": { "event": { "kinds": kinds, "if": condition } }, "run": run })
}

#[test]
fn events_fire_triggers_and_cloudevents_of_pypi_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on(folder.path(), &[]);
    let acme = server.tenant("acme");
    let other = server.tenant("other");
    acme.put("/api/v1/plugins/inbox", guests::inbox()).expect(201);
    let watch = on_events(&["version.created"], "event.data.name == 'sum' && event.data.version >= 2");
    acme.put_json("/api/v1/triggers/watch", &watch).expect(201);
    acme.put("/api/v1/models/other", &onnx::relu(2)).expect(201);
    acme.put("/api/v1/models/sum", &onnx::relu(2)).expect(201);
    other.put("/api/v1/models/sum", &onnx::relu(2)).expect(201);
    other.put("/api/v1/models/sum", &onnx::relu(3)).expect(201);
    acme.put("/api/v1/models/sum", &onnx::relu(3)).expect(201);
    let fired = ended(&acme, "watch", 1);
    assert_eq!(fired.len(), 1, "{fired:?}");
    assert_eq!(fired[0]["cause"]["kind"], "version.created");
    let event: Value = serde_json::from_str(&python::filter("cloud_event.py", kept(&acme).as_bytes())).unwrap();
    let attributes = &event["attributes"];
    assert_eq!(attributes["specversion"], "1.0");
    assert_eq!(
        (&attributes["type"], &attributes["source"]),
        (&json!("aimass.version.created"), &json!("/tenants/acme"))
    );
    assert_eq!((&attributes["subject"], &event["data"]["version"]), (&json!("models/sum/versions/2"), &json!(2)));
    assert_eq!(attributes["id"], fired[0]["cause"]["seq"].to_string());

    // Replayed, it is the same event.
    let id = fired[0]["id"].as_str().unwrap();
    acme.send("POST", "/fn/acme/inbox/kept", &[], b"forgotten").expect(200);
    acme.post(&format!("/api/v1/triggers/watch/runs/{id}/replay"), &json!({})).expect(202);
    ended(&acme, "watch", 2);
    let again: Value = serde_json::from_str(&python::filter("cloud_event.py", kept(&acme).as_bytes())).unwrap();
    assert_eq!(again, event);

    // What happened while no node followed is found at the next start, once; what was seen is not.
    for (kinds, condition) in [(&["nothing.known"][..], "true"), (&[], "true"), (&["version.created"], "event.")] {
        acme.put_json("/api/v1/triggers/bad", &on_events(kinds, condition)).problem(400, "invalid_request");
    }
    let token = acme.token.clone();
    server.kill();
    let server = Server::on(folder.path(), &[]);
    let acme = server.with(&token);
    acme.put("/api/v1/models/sum", &onnx::relu(4)).expect(201);
    let all = ended(&acme, "watch", 3);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(runs(&acme, "watch").len(), 3, "{all:?}");
}

#[test]
fn f61_an_event_is_one_run_whenever_the_node_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::on(folder.path(), &[]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/counter", guests::counter()).expect(201);
    let run = json!({ "function": { "plugin": "counter", "path": "/seen" } });
    let wish = json!({ "on": { "event": { "kinds": ["version.created"] } }, "run": run });
    acme.put_json("/api/v1/triggers/watch", &wish).expect(201);
    let token = acme.token.clone();
    let mut created = 0;
    for round in 0..10_u64 {
        let acme = server.with(&token);
        for n in 0..3 {
            let named = onnx::named_relu(4, &format!("{round}-{n}"));
            acme.put(&format!("/api/v1/models/m{n}"), &named).expect(201);
            created += 1;
        }
        std::thread::sleep(Duration::from_millis(round * 3));
        server.kill();
        server = Server::on(folder.path(), &[]);
    }
    let acme = server.with(&token);
    let all = ended(&acme, "watch", created);
    let mut seqs: Vec<u64> = all.iter().map(|run| run["cause"]["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs.len(), created, "each event has its run");
    seqs.dedup();
    assert_eq!(seqs.len(), created, "and one alone: {seqs:?}");
    assert!(seqs.is_sorted());
}

#[test]
fn a_plugin_is_told_of_events() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let version = acme.put("/api/v1/plugins/changes", guests::changes()).expect(201).json();
    let worlds = version["worlds"].to_string();
    assert!(worlds.contains("event-plugin") && worlds.contains("wasi:http/proxy"), "{worlds}");
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    let source = json!({ "event": { "kinds": ["version.created", "object.deleted"] } });
    let tell = json!({ "event": { "plugin": "changes" } });
    acme.put_json("/api/v1/triggers/changes", &json!({ "on": source, "run": tell })).expect(201);
    acme.put("/api/v1/models/tiny", &onnx::relu(2)).expect(201);
    // Runs are not one after the other, so neither is what they do.
    ended(&acme, "changes", 1);
    acme.delete("/api/v1/models/tiny").expect(204);
    let all = ended(&acme, "changes", 2);
    assert!(all.iter().all(|run| run["state"] == "done"), "{all:?}");
    let shown = || acme.get("/fn/acme/changes").expect(200).text();
    let kinds = |text: &str| text.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(kinds(&shown()), ["aimass.object.deleted", "aimass.version.created"]);
    assert!(shown().contains(" models/tiny/versions/1\n"), "{}", shown());

    // Any source can tell; what is no event becomes one.
    acme.put_json("/api/v1/triggers/daily", &json!({ "on": { "cron": { "schedule": "@daily" } }, "run": tell }))
        .expect(201);
    acme.post("/api/v1/triggers/daily/fire", &json!({})).expect(202);
    assert_eq!(ended(&acme, "daily", 1)[0]["state"], "done");
    assert_eq!(kinds(&shown())[0], "aimass.trigger.fired");

    // And so can whoever may call the plugin, in both modes of HTTP.
    let path = "/api/v1/plugins/changes/events";
    let event = json!({ "specversion": "1.0", "id": "1", "source": "/here", "type": "mine", "subject": "x" });
    let structured = [("content-type", "application/cloudevents+json")];
    for _ in 0..2 {
        acme.send("POST", path, &structured, event.to_string().as_bytes()).expect(204);
    }
    let binary = [("ce-specversion", "1.0"), ("ce-id", "2"), ("ce-source", "/here"), ("ce-type", "yours")];
    acme.send("POST", path, &binary, b"").expect(204);
    assert_eq!(kinds(&shown())[..3], ["yours", "mine", "aimass.trigger.fired"], "told twice, kept once");
    acme.post(path, &event).problem(400, "invalid_request");
    let batch = [("content-type", "application/cloudevents-batch+json")];
    acme.send("POST", path, &batch, b"[]").problem(415, "unsupported_media_type");
    acme.send("POST", "/api/v1/plugins/hello/events", &binary, b"").problem(422, "unsupported_operation");
    acme.send("POST", "/api/v1/plugins/nobody/events", &binary, b"").problem(404, "not_found");
}

#[test]
fn figures_fire_a_trigger_once_each_time_that_they_begin_to_fulfil_it() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    acme.put("/api/v1/plugins/inbox", guests::inbox()).expect(201);
    let wish = |when: &str| {
        let metric = json!({ "of": "probe", "when": when, "every_seconds": 1 });
        json!({ "on": { "metric": metric }, "run": { "function": { "plugin": "inbox", "path": "/kept" } } })
    };
    for bad in ["errors", "eror_rate > 0.5", "errors >"] {
        acme.put_json("/api/v1/triggers/bad", &wish(bad)).problem(400, "invalid_request");
    }
    acme.put_json("/api/v1/triggers/alert", &wish("errors >= 3.0 && error_rate > 0.5")).expect(201);
    // The first look begins to count.
    std::thread::sleep(Duration::from_secs(3));
    for _ in 0..4 {
        acme.get("/fn/acme/probe/panic").expect(502);
    }
    let fired = ended(&acme, "alert", 1);
    assert_eq!(fired[0]["cause"]["seen"]["errors"], 4, "{fired:?}");
    let message = kept(&acme);
    assert!(message.contains("ce-type: aimass.metric.reached\n") && message.contains(r#""errors":4"#), "{message}");
    acme.get("/fn/acme/probe/panic").expect(502);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(runs(&acme, "alert").len(), 1, "it has held all the time");
}

#[test]
fn the_command_line_makes_triggers_of_every_kind() {
    let incoming = tempfile::tempdir().unwrap();
    let watch = format!("acme={}", incoming.path().display());
    let server = Server::start_with(&["--watch-folder", &watch]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/inbox", guests::inbox()).expect(201);
    let token = server.data.join("acme.token");
    std::fs::write(&token, &acme.token).unwrap();
    let create = |arguments: &[&str]| {
        let all = [&["--url", &server.url, "triggers", "create"], arguments].concat();
        aimass_with(&all, &[("AIMASS_TOKEN_FILE", &token)])
    };
    let hook = create(&["in", "--webhook", "--function", "inbox", "--path", "/kept"]);
    let secret = hook.split("signed with ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(hook.contains(&format!("{}/hooks/acme/in", server.url)), "{hook}");
    webhook(&server, "/hooks/acme/in", secret, "msg_1", now(), b"x").expect(202);
    ended(&acme, "in", 1);
    let condition = "event.data.name == 'x'";
    let event = create(&["ev", "--on", "version.created,object.deleted", "--if", condition, "--tell", "inbox"]);
    assert!(event.contains("version.created object.deleted if event.data.name == 'x'"), "{event}");
    assert!(event.contains("tell inbox"), "{event}");
    let folder = incoming.path().to_str().unwrap();
    let object = create(&["files", "--folder", folder, "--suffix", ".csv", "--every", "1s", "--function", "inbox"]);
    assert!(object.contains(&format!("objects in {folder} .csv")), "{object}");
    let metric = create(&["slow", "--when", "p99_ms > 200.0", "--of", "inbox", "--function", "inbox"]);
    assert!(metric.contains("p99_ms > 200.0 of inbox"), "{metric}");
    assert_eq!(acme.get("/api/v1/triggers").expect(200).json()["items"].as_array().unwrap().len(), 4);
}

#[test]
fn an_object_that_arrives_is_one_run() {
    let (folder, incoming) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let watch = format!("acme={}", incoming.path().display());
    let arguments = ["--watch-folder", watch.as_str()];
    let server = Server::on(folder.path(), &arguments);
    let acme = server.tenant("acme");
    let other = server.tenant("other");
    for tenant in [&acme, &other] {
        tenant.put("/api/v1/plugins/inbox", guests::inbox()).expect(201);
    }
    let wish = |folder: &str| {
        let object = json!({ "folder": folder, "suffix": ".csv", "every_seconds": 1 });
        json!({ "on": { "object": object }, "run": { "function": { "plugin": "inbox", "path": "/kept" } } })
    };
    let path = incoming.path().to_str().unwrap();
    std::fs::write(incoming.path().join("there already.csv"), "1,2").unwrap();
    acme.put_json("/api/v1/triggers/files", &wish(path)).expect(201);
    // Neither somebody else's folder nor one that nobody was let into, by whatever name.
    other.put_json("/api/v1/triggers/files", &wish(path)).problem(400, "invalid_request");
    for bad in ["/etc", "incoming", &format!("{path}/../.."), &format!("{path}x"), "/"] {
        acme.put_json("/api/v1/triggers/bad", &wish(bad)).problem(400, "invalid_request");
    }
    ended(&acme, "files", 1);
    // Written in two parts, and something that is not meant.
    let mut file = std::fs::File::create(incoming.path().join("new.csv")).unwrap();
    std::io::Write::write_all(&mut file, b"3,").unwrap();
    std::fs::write(incoming.path().join("notes.txt"), "x").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    std::io::Write::write_all(&mut file, b"4").unwrap();
    drop(file);
    let all = ended(&acme, "files", 2);
    assert_eq!(
        all.iter().map(|run| run["cause"]["path"].as_str().unwrap()).collect::<Vec<_>>(),
        ["there already.csv", "new.csv"]
    );
    let message = kept(&acme);
    assert!(message.ends_with("\n\n3,4") && message.contains("content-type: text/csv\n"), "{message}");
    assert!(
        message.contains("ce-type: aimass.object.arrived\n") && message.contains("ce-subject: new.csv\n"),
        "{message}"
    );

    // A restart sees them again, and runs nothing; one that is written anew is another one.
    let token = acme.token.clone();
    server.kill();
    let server = Server::on(folder.path(), &arguments);
    let acme = server.with(&token);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(runs(&acme, "files").len(), 2);
    std::fs::write(incoming.path().join("new.csv"), "5,6").unwrap();
    let all = ended(&acme, "files", 3);
    let replay = format!("/api/v1/triggers/files/runs/{}/replay", all[2]["id"].as_str().unwrap());
    acme.post(&replay, &json!({})).expect(202);
    ended(&acme, "files", 4);
    assert!(kept(&acme).ends_with("5,6"));
    std::fs::remove_file(incoming.path().join("new.csv")).unwrap();
    acme.post(&replay, &json!({})).problem(409, "conflict");
}
