//! Canaries with gates, rollback and shadows: over the real binary, for plugins, functions and models.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::deployments::{PROD, infer, served, with_models};
use crate::support::{Answer, Client, Server, eventually, guests, onnx};

/// What a load saw: the failures by the version that the answer names, and all calls by version.
#[derive(Default)]
struct Load {
    failed: BTreeMap<String, usize>,
    all: BTreeMap<String, usize>,
}

/// Calls from four clients until `until` has come to its end.
fn under_load(call: impl Fn() -> Answer + Sync, until: impl FnOnce()) -> Load {
    let (over, load) = (AtomicBool::new(false), Mutex::new(Load::default()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let answer = call();
                    let version = answer.header("aimass-served-version").to_owned();
                    let mut load = load.lock().unwrap();
                    if answer.status >= 400 {
                        *load.failed.entry(version.clone()).or_default() += 1;
                    }
                    *load.all.entry(version).or_default() += 1;
                }
            });
        }
        until();
        over.store(true, Ordering::Relaxed);
    });
    load.into_inner().unwrap()
}

/// The versions of an alias with their weights.
fn parts(alias: &Value) -> Vec<(u64, u64)> {
    let number = |share: &Value, field: &str| share[field].as_u64().unwrap();
    let shares = alias["split"].as_array().unwrap().iter();
    shares.map(|share| (number(share, "version"), number(share, "weight"))).collect()
}

/// The whole story: v1 serves, v2 comes as a canary with a planted fault, its gate breaks, it is taken back.
fn story(acme: &Client, name: &str, call: impl Fn() -> Answer + Sync) {
    let path = format!("/api/v1/plugins/{name}");
    let alias = format!("{path}/aliases/prod");
    // Version 2 is there and serves nobody: the alias was told of version 1.
    let before = under_load(&call, || std::thread::sleep(Duration::from_millis(500)));
    assert!(before.failed.is_empty() && before.all.keys().eq(["1"]), "{:?} {:?}", before.failed, before.all);

    let wish = json!({ "version": 2, "canary_percent": 10, "gate": "error_rate < 0.05", "min_requests": 5 });
    let mut took = Duration::MAX;
    let load = under_load(&call, || {
        let out = std::time::Instant::now();
        let deployed = acme.post(&format!("{path}/deployments"), &wish).expect(200).json();
        assert_eq!(parts(&deployed), [(1, 90), (2, 10)]);
        eventually("the canary is taken back", Duration::from_secs(20), || {
            acme.get(&alias).expect(200).json()["canary"].is_null()
        });
        took = out.elapsed();
    });
    let (all, failed) = (load.all.values().sum::<usize>(), load.failed.values().sum::<usize>());
    assert!(load.failed.keys().all(|version| version == "2"), "only the canary failed: {:?}", load.failed);
    assert!(failed > 0 && failed * 100 <= all * 13, "{failed} of {all} failed");
    eprintln!("{name}: taken back after {took:?}; {failed} of {all} calls failed, all of the canary's");

    let now = acme.get(&alias).expect(200).json();
    assert_eq!(parts(&now), [(1, 100)], "{now}");
    let listed = acme.get(&format!("{path}/deployments")).expect(200).json();
    let newest = &listed["items"][0];
    assert_eq!((&newest["change"], &newest["by"]), (&json!("gate_broken"), &json!("system")), "{newest}");
    assert_eq!((&newest["gate"], &newest["restores"]), (&json!("error_rate < 0.05"), &json!(1)));
    let seen = &newest["seen"][0];
    assert_eq!((&seen["version"], &seen["requests"]), (&json!(2), &seen["errors"]), "{seen}");
    assert!(seen["requests"].as_u64().unwrap() >= 5);
    assert_eq!(newest["seen"][1]["errors"], 0, "{newest}");
    let audit = acme.get("/api/v1/audit?kind=alias_set").expect(200).json();
    let last = audit["items"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["object"], &last["actor"]["subject"]), (&json!(format!("{name}:prod")), &json!("system")));

    let after = under_load(&call, || std::thread::sleep(Duration::from_millis(500)));
    assert!(after.failed.is_empty() && after.all.keys().eq(["1"]), "{:?} {:?}", after.failed, after.all);
    acme.post(&format!("{alias}/promote"), &json!({})).problem(409, "conflict");
    acme.post(&format!("{alias}/rollback"), &json!({})).problem(409, "conflict");
}

#[test]
fn a_canary_with_a_planted_fault_is_taken_back_within_seconds() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/text", guests::text()).expect(201);
    acme.put_json("/api/v1/plugins/text/aliases/prod", &json!({ "version": 1 })).expect(200);
    acme.put("/api/v1/plugins/text", guests::broken()).expect(201);
    let input = json!({ "name": "BYTES", "datatype": "BYTES", "shape": [1, 2], "data": ["a", "b"] });
    let body = json!({ "inputs": [input] });
    story(&acme, "text", || acme.post("/v2/models/text/infer", &body));
}

#[test]
fn a_canary_of_a_function_is_taken_back_within_seconds() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/greet", guests::hello()).expect(201);
    acme.put_json("/api/v1/plugins/greet/aliases/prod", &json!({ "version": 1 })).expect(200);
    // The probe panics at this path, and the other one greets whatever the path.
    acme.put("/api/v1/plugins/greet?allow-new-imports=true", guests::probe()).expect(201);
    story(&acme, "greet", || acme.get("/fn/acme/greet/panic"));
    assert_eq!(acme.get("/fn/acme/greet:prod/x").expect(200).header("aimass-served-version"), "1");
    assert_eq!(acme.get("/fn/acme/greet@2/x").expect(200).header("aimass-served-version"), "2");
    acme.send("GET", "/fn/acme/greet/x", &[("aimass-version", "2")], b"").problem(400, "invalid_request");
    acme.get("/fn/acme/greet:staging/x").problem(404, "not_found");
}

#[test]
fn a_function_that_fails_behind_its_head_has_failed() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    let alias = "/api/v1/plugins/probe/aliases/prod";
    acme.put_json(alias, &json!({ "version": 1 })).expect(200);
    acme.get("/fn/acme/probe/fine").expect(200);
    assert!(acme.try_send("GET", "/fn/acme/probe/endless", &[], b"").is_err(), "the answer is cut off");
    acme.get("/fn/acme/probe/panic").problem(502, "plugin_trap");
    let figures = acme.get(alias).expect(200).json()["last_minute"][0].clone();
    assert_eq!((&figures["requests"], &figures["errors"]), (&json!(3), &json!(2)), "{figures}");
}

#[test]
fn a_canary_is_promoted_when_its_gate_holds_and_rolled_back_in_one_call() {
    let server = Server::start();
    let acme = with_models(&server);
    acme.put_json(PROD, &json!({ "version": 1 })).expect(200);
    let deploy = |wish: Value| acme.post("/api/v1/models/m/deployments", &wish);
    deploy(json!({ "version": 2, "canary_percent": 10, "gate": "latency < 1.0" })).problem(400, "invalid_request");
    deploy(json!({ "version": 2, "gate": "error_rate < 0.1" })).problem(400, "invalid_request");
    deploy(json!({ "version": 2, "alias": "new", "canary_percent": 10 })).problem(409, "conflict");

    let gate = "error_rate < 0.01 && p99_ms < 10000.0";
    deploy(json!({ "version": 2, "canary_percent": 50, "gate": gate })).expect(200);
    let promote = |wish: &Value| acme.post(&format!("{PROD}/promote"), wish);
    let early = promote(&json!({})).problem(409, "conflict").json();
    assert!(early["detail"].as_str().unwrap().contains("too few calls"), "{early}");
    // The gate asks for 20 calls, in seconds after that of the deployment.
    eventually("the gate holds", Duration::from_secs(30), || {
        infer(&acme, "m", &[]).expect(200);
        promote(&json!({})).status == 200
    });
    assert_eq!(served(infer(&acme, "m", &[])), 2);

    // A gate that asks for the impossible holds for nobody; it breaks, or is passed over.
    let wish = json!({ "version": 3, "canary_percent": 0, "gate": "p99_ms < 0.0", "min_requests": 1000000 });
    deploy(wish).expect(200);
    promote(&json!({})).problem(409, "conflict");
    let promoted = promote(&json!({ "force": true })).expect(200).json();
    assert_eq!((&promoted["split"][0]["version"], &promoted["rollback_to"]), (&json!(3), &json!(3)));

    // Back to 2, and further back to 1; then there is nothing before.
    let back = || acme.post(&format!("{PROD}/rollback"), &json!({}));
    assert_eq!(back().expect(200).json()["split"][0]["version"], 2);
    assert_eq!(back().expect(200).json()["split"][0]["version"], 1);
    back().problem(409, "conflict");
    let listed = acme.get("/api/v1/models/m/deployments").expect(200).json();
    let changes: Vec<_> = listed["items"].as_array().unwrap().iter().map(|d| d["change"].as_str().unwrap()).collect();
    assert_eq!(
        changes,
        ["rolled_back", "rolled_back", "promoted", "deployed", "promoted", "deployed", "set"],
        "newest first"
    );

    // By itself, when its time has come.
    deploy(json!({ "version": 2, "canary_percent": 1, "after_seconds": 1 })).expect(200);
    eventually("it is promoted by itself", Duration::from_secs(20), || {
        acme.get(PROD).expect(200).json()["split"][0]["version"] == 2
    });
    let newest = acme.get("/api/v1/models/m/deployments?limit=1").expect(200).json()["items"][0].clone();
    assert_eq!((&newest["change"], &newest["by"]), (&json!("promoted"), &json!("system")));
}

#[test]
fn a_shadow_gets_copies_and_its_answers_are_only_compared() {
    let server = Server::start();
    let acme = with_models(&server);
    // The same bytes as version 1.
    acme.put("/api/v1/models/m", &onnx::relu(4)).expect(201);
    acme.put_json(PROD, &json!({ "version": 1, "shadow": 4 })).expect(200);
    let compared = || acme.get(PROD).expect(200).json()["compared"].clone();
    let count = |what: &str| compared()[what].as_u64().unwrap();
    let call = |what: &str, times: u64| {
        eventually(what, Duration::from_secs(20), || {
            assert_eq!(served(infer(&acme, "m", &[])), 1);
            count(what) >= times
        });
    };
    call("equal", 5);
    assert_eq!((&compared()["different"], &compared()["largest_difference"]), (&json!(0), &json!(0.0)));

    acme.put_json(PROD, &json!({ "version": 1, "shadow": 2 })).expect(200);
    let numbers = |version: u64| -> Vec<f64> {
        let answer = infer(&acme, &format!("m/versions/{version}"), &[]).expect(200).json();
        answer["outputs"][0]["data"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
    };
    let far = numbers(1).iter().zip(numbers(2)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    call("different", 3);
    assert!((compared()["largest_difference"].as_f64().unwrap() - far).abs() < 1e-5, "{} is not {far}", compared());
    assert_eq!(compared()["equal"], 0);
    // Its own figures are those of the calls that it answered.
    assert_eq!(acme.get(PROD).expect(200).json()["last_minute"][1]["requests"], 1);

    // A burst is not waited for: what there is no room for is counted, and nobody fails.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(served(infer(&acme, "m", &[])), 1)));
        }
    });
    acme.put("/api/v1/plugins/text", guests::text()).expect(201);
    acme.put("/api/v1/plugins/text", guests::broken()).expect(201);
    let alias = "/api/v1/plugins/text/aliases/prod";
    acme.put_json(alias, &json!({ "version": 1, "shadow": 2 })).expect(200);
    let input = json!({ "name": "BYTES", "datatype": "BYTES", "shape": [1, 2], "data": ["a", "b"] });
    eventually("the shadow fails", Duration::from_secs(20), || {
        let answer = acme.post("/v2/models/text/infer", &json!({ "inputs": [input.clone()] })).expect(200);
        assert_eq!(answer.json()["outputs"][0]["data"], json!(["a", "b"]));
        acme.get(alias).expect(200).json()["compared"]["failed"].as_u64().unwrap() > 0
    });
}
