//! Aliases, splits, canaries with gates, rollback: over the real binary, for plugins, functions and models.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Client, Server, aimass, eventually, guests, onnx};

/// A tenant's client with three versions of the model `m`: one that clips, and two that multiply.
fn with_models(server: &Server) -> Client {
    let acme = server.tenant("acme");
    for bytes in [onnx::relu(4), onnx::matrix(4, 1), onnx::matrix(4, 2)] {
        acme.put("/api/v1/models/m", &bytes).expect(201);
    }
    acme
}

const PROD: &str = "/api/v1/models/m/aliases/prod";

fn infer(client: &Client, model: &str, headers: &[(&str, &str)]) -> Answer {
    let input = json!({ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [-1.0, 2.0, -3.0, 4.0] });
    let body = json!({ "inputs": [input] }).to_string();
    client.send("POST", &format!("/v2/models/{model}/infer"), headers, body.as_bytes())
}

/// The version that served, as the head and the body both say.
fn served(answer: Answer) -> u64 {
    let answer = answer.expect(200);
    let version = answer.json()["model_version"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("aimass-served-version"), version);
    version.parse().unwrap()
}

fn split(parts: &[(u64, u64)]) -> Value {
    let shares: Vec<_> =
        parts.iter().map(|(version, weight)| json!({ "version": version, "weight": weight })).collect();
    json!({ "split": shares })
}

#[test]
fn a_name_means_its_alias_and_an_alias_what_it_was_told() {
    let server = Server::start();
    let acme = with_models(&server);
    assert_eq!(served(infer(&acme, "m", &[])), 3, "the newest, without an alias");
    infer(&acme, "m:prod", &[]).expect(404);

    let set = acme.put_json(PROD, &json!({ "version": 1 })).expect(200);
    assert_eq!((set.json()["deployment"].as_u64(), set.header("etag")), (Some(1), "\"1\""));
    for (model, version) in [("m", 1), ("m:prod", 1), ("m/versions/2", 2)] {
        assert_eq!(served(infer(&acme, model, &[])), version, "{model}");
    }
    infer(&acme, "m:prod/versions/2", &[]).expect(400);
    infer(&acme, "m:staging", &[]).expect(404);
    assert_eq!(acme.get("/v2/models/m:prod").expect(200).json()["name"], "m");

    // Who looked at another deployment changes nothing.
    let put = |tag: &str, body: &Value| acme.send("PUT", PROD, &[("if-match", tag)], body.to_string().as_bytes());
    put("\"7\"", &json!({ "version": 2 })).problem(412, "precondition_failed");
    put("7", &json!({ "version": 2 })).problem(400, "invalid_request");
    put("\"1\"", &split(&[(2, 90), (3, 10)])).expect(200);
    acme.put_json(PROD, &json!({ "version": 9 })).problem(409, "conflict");
    acme.put_json(PROD, &json!({ "version": 1, "tenant": "other" })).problem(400, "invalid_request");

    // Ten in a hundred, whoever asks; a header insists, and a key sticks.
    let counts = |headers: &dyn Fn(usize) -> Vec<(&'static str, String)>| {
        let mut counts = BTreeMap::<u64, usize>::new();
        for n in 0..100 {
            let headers = headers(n);
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            *counts.entry(served(infer(&acme, "m", &headers))).or_default() += 1;
        }
        counts
    };
    let plain = counts(&|_| vec![]);
    assert!((8..=12).contains(&plain[&3]) && plain[&2] + plain[&3] == 100, "{plain:?}");
    assert_eq!(counts(&|_| vec![("aimass-version", "3".to_owned())]), BTreeMap::from([(3, 100)]));
    for user in 0..8 {
        let keyed = counts(&|_| vec![("aimass-route-key", format!("user {user}"))]);
        assert_eq!(keyed.len(), 1, "user {user}: {keyed:?}");
    }
    let refused = infer(&acme, "m", &[("aimass-version", "1")]).expect(400).text();
    assert!(refused.contains("versions 2, 3, not by 1"), "{refused}");

    // The figures of the last minute stand in the alias, of each version.
    let figures = acme.get(PROD).expect(200).json()["last_minute"].clone();
    assert_eq!((figures[0]["version"].as_u64(), figures[1]["version"].as_u64()), (Some(2), Some(3)));
    assert!(figures[0]["requests"].as_u64().unwrap() >= 80 && figures[0]["errors"] == 0, "{figures}");
    assert!(figures[1]["p99_ms"].as_f64().unwrap() >= figures[1]["p50_ms"].as_f64().unwrap(), "{figures}");
    assert!(figures[1]["p50_ms"].as_f64().unwrap() > 0.0, "{figures}");

    acme.delete(PROD).expect(204);
    assert_eq!(served(infer(&acme, "m", &[])), 3);
    acme.get(PROD).problem(404, "not_found");
    acme.delete(PROD).problem(404, "not_found");
}

#[test]
fn a_guest_finds_a_model_by_its_alias() {
    let server = Server::start();
    let acme = server.tenant("acme");
    // Of 4: times itself in two columns, once and twice.
    for products in [1, 2] {
        acme.put("/api/v1/models/m", &onnx::products(products, 2, [1, 1, 1, 1])).expect(201);
    }
    acme.put("/api/v1/plugins/tensors", guests::tensors()).expect(201);
    let y = |model: &str| {
        let settings = json!({ "model": model, "input": "x", "output": "y" });
        acme.put_json("/api/v1/plugins/tensors/config", &settings).expect(200);
        let input = json!({ "name": "x", "datatype": "FP32", "shape": [1, 1, 1, 1], "data": [4.0] });
        let answer = acme.post("/v2/models/tensors/infer", &json!({ "inputs": [input] }));
        if answer.status == 200 {
            answer.json()["outputs"][0]["data"][0].clone()
        } else {
            answer.json()["error"].clone()
        }
    };
    assert_eq!((y("m"), y("m@1")), (json!(256.0), json!(32.0)));
    acme.put_json(PROD, &json!({ "version": 1 })).expect(200);
    assert_eq!((y("m"), y("m:prod"), y("m@2")), (json!(32.0), json!(32.0), json!(256.0)));
    assert!(y("m:staging").is_string());
    // What guests call counts in the figures as well.
    assert_eq!(acme.get(PROD).expect(200).json()["last_minute"][0]["requests"], 2);
}

#[test]
fn f13_one_version_answers_a_call_that_races_an_alias_change() {
    let server = Server::start();
    let acme = with_models(&server);
    let outputs = |answer: &Answer| answer.json()["outputs"][0]["data"].clone();
    let right: BTreeMap<u64, Value> = (1..=3u64)
        .map(|version| (version, outputs(&infer(&acme, &format!("m/versions/{version}"), &[]).expect(200))))
        .collect();
    acme.put_json(PROD, &json!({ "version": 1 })).expect(200);
    let (over, seen) = (AtomicBool::new(false), Mutex::new(BTreeMap::<u64, usize>::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let answer = infer(&acme, "m", &[]).expect(200);
                    let data = outputs(&answer);
                    let version = served(answer);
                    assert_eq!(data, right[&version]);
                    *seen.lock().unwrap().entry(version).or_default() += 1;
                }
            });
        }
        for round in 0..60u64 {
            let version = 1 + round % 3;
            acme.put_json(PROD, &json!({ "version": version })).expect(200);
            // Acknowledged: the next call sees it.
            let last = served(infer(&acme, "m", &[]));
            assert_eq!(last, version);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(seen.into_inner().unwrap().len(), 3);
    let listed = acme.get("/api/v1/models/m/deployments?limit=2").expect(200).json();
    assert_eq!((listed["items"][0]["number"].as_u64(), listed["next"].as_str()), (Some(61), Some("60")));
}

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
        assert_eq!(deployed["split"], split(&[(1, 90), (2, 10)])["split"]);
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
    assert_eq!(now["split"], split(&[(1, 100)])["split"], "{now}");
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
    acme.put("/api/v1/plugins/greet", guests::hello()).expect(201);
    acme.put("/api/v1/plugins/greet?allow-new-imports=true", guests::probe()).expect(201);
    let functions = json!({ "version": 1, "shadow": 2 });
    acme.put_json("/api/v1/plugins/greet/aliases/prod", &functions).problem(422, "unsupported_operation");
}

#[test]
fn f42_a_split_and_its_canary_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::on(folder.path(), &[]);
    let token = with_models(&server).token;
    let acme = server.with(&token);
    acme.put_json(PROD, &json!({ "version": 1 })).expect(200);
    let wish = json!({ "version": 2, "canary_percent": 30, "gate": "error_rate < 0.5", "shadow": 3 });
    let before = acme.post("/api/v1/models/m/deployments", &wish).expect(200).json();
    for _ in 0..3 {
        // In the middle of calls.
        let acme = server.with(&token);
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| {
                let body =
                    json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] });
                let body = body.to_string();
                while acme.try_send("POST", "/v2/models/m/infer", &[], body.as_bytes()).is_ok() {}
            });
            std::thread::sleep(Duration::from_millis(200));
            server.signal("KILL");
            caller.join().unwrap();
        });
        drop(server);
        server = Server::on(folder.path(), &[]);
        let acme = server.with(&token);
        let now = acme.get(PROD).expect(200).json();
        for field in ["split", "canary", "shadow", "deployment", "rollback_to", "set_ms"] {
            assert_eq!(now[field], before[field], "{field}");
        }
        let counts = (0..50).map(|_| served(infer(&acme, "m", &[]))).fold([0; 4], |mut counts, version| {
            counts[version as usize] += 1;
            counts
        });
        assert!((12..=18).contains(&counts[2]) && counts[3] == 0, "{counts:?}");
    }
    // And its gate is watched again: version 2 still answers well, so it can be promoted.
    let acme = server.with(&token);
    eventually("the gate holds", Duration::from_secs(30), || {
        infer(&acme, "m", &[]).expect(200);
        acme.post(&format!("{PROD}/promote"), &json!({})).status == 200
    });
}

#[test]
fn aliases_go_with_what_they_are_of() {
    let server = Server::start();
    let acme = with_models(&server);
    acme.put_json(PROD, &split(&[(1, 1), (2, 1)])).expect(200);
    acme.post("/api/v1/models/m/deployments", &json!({ "version": 3, "canary_percent": 10 })).expect(200);
    acme.delete("/api/v1/models/m").expect(204);
    infer(&acme, "m", &[]).expect(404);
    infer(&acme, "m:prod", &[]).expect(404);
    acme.get(PROD).problem(404, "not_found");
    acme.get("/api/v1/models/m/deployments").problem(404, "not_found");
    acme.post(&format!("{PROD}/rollback"), &json!({})).problem(404, "not_found");
    // The same name again begins anew.
    acme.put("/api/v1/models/m", &onnx::relu(4)).expect(201);
    assert_eq!(served(infer(&acme, "m", &[])), 4);
    assert!(acme.get("/api/v1/models/m/aliases").expect(200).json()["items"].as_array().unwrap().is_empty());
    acme.put_json(PROD, &json!({ "version": 1 })).problem(409, "conflict");
    // A model's aliases are no plugin's, and nobody else's.
    acme.get("/api/v1/plugins/m/aliases").problem(404, "not_found");
    let other = server.tenant("other");
    for path in ["aliases", "aliases/prod", "deployments", "diff?from=1&to=2"] {
        other.get(&format!("/api/v1/models/m/{path}")).problem(404, "not_found");
    }
    other.put_json(PROD, &json!({ "version": 1 })).problem(404, "not_found");
}

#[test]
fn a_version_that_an_alias_names_is_not_deleted() {
    let server = Server::start();
    let acme = with_models(&server);
    let delete = |version: u64| acme.delete(&format!("/api/v1/models/m/versions/{version}"));
    acme.put_json(PROD, &json!({ "version": 2 })).expect(200);
    acme.put_json(PROD, &json!({ "version": 1 })).expect(200);
    acme.put_json("/api/v1/models/m/aliases/old", &json!({ "version": 3, "shadow": 2 })).expect(200);
    let refused = delete(1).problem(409, "conflict").json();
    assert!(refused["detail"].as_str().unwrap().contains("alias `prod`"), "{refused}");
    assert!(delete(2).problem(409, "conflict").text().contains("alias `old`"), "a shadow is named as well");
    assert!(delete(3).problem(409, "conflict").text().contains("newest"));
    acme.delete("/api/v1/models/m/aliases/old").expect(204);

    assert_eq!(served(infer(&acme, "m/versions/2", &[])), 2);
    delete(2).expect(204);
    delete(2).problem(404, "not_found");
    infer(&acme, "m/versions/2", &[]).expect(404);
    acme.put_json(PROD, &split(&[(1, 1), (2, 1)])).problem(409, "conflict");
    // The alias said 2 before, and cannot any more.
    acme.post(&format!("{PROD}/rollback"), &json!({})).problem(409, "conflict");
    assert_eq!(served(infer(&acme, "m", &[])), 1);
    let versions = acme.get("/api/v1/models/m/versions").expect(200).json();
    let numbers: Vec<_> = versions["items"].as_array().unwrap().iter().map(|v| v["version"].clone()).collect();
    assert_eq!(numbers, [json!(1), json!(3)]);
    acme.put("/api/v1/models/m", &onnx::relu(6)).expect(201);
    assert_eq!(acme.get("/api/v1/models/m").expect(200).json()["latest_version"], 4);
    acme.delete("/api/v1/plugins/m/versions/1").problem(404, "not_found");
}

#[test]
fn the_command_line_deploys_promotes_rolls_back_and_compares() {
    let server = Server::start();
    let acme = with_models(&server);
    let run = |arguments: &[&str]| aimass(&[&["--url", &server.url, "--token", &acme.token], arguments].concat());
    assert_eq!(run(&["deploy", "m", "--version", "1"]).trim(), "m:prod is 1");
    let out = run(&["deploy", "m", "--version", "2", "--canary", "10%", "--if", "p99_ms < 1e6", "--after", "10m"]);
    assert!(out.contains("m:prod is 1 (90%), 2 (10%)") && out.contains("p99_ms < 1e6") && out.contains("10m"), "{out}");
    assert!(run(&["invoke", "m:prod", "x=[1,2,3,4]"]).contains("FP32 [1, 4]"));
    assert!(run(&["aliases", "show", "m", "prod"]).contains("CALLS/MIN"));
    assert_eq!(run(&["rollback", "m"]).trim(), "m:prod is 1");
    run(&["deploy", "m", "--version", "3", "--canary", "50%"]);
    assert_eq!(run(&["promote", "m"]).trim(), "m:prod is 3");
    let out = run(&["deployments", "m"]);
    assert!(out.contains("rolled back") && out.contains("1 (50%), 3 (50%)"), "{out}");
    run(&["aliases", "set", "m", "staging", "2=1", "3=1"]);
    assert!(run(&["aliases", "list", "m"]).contains("2 (50%), 3 (50%)"));
    run(&["aliases", "delete", "m", "staging"]);
    let listed: Value = serde_json::from_str(&run(&["aliases", "list", "m", "--json"])).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1);

    assert!(run(&["diff", "m", "2", "3"]).contains("digest: "));
    assert_eq!(run(&["models", "delete", "m", "--version", "2"]).trim(), "deleted m@2");
    let file = server.data.join("m.onnx");
    std::fs::write(&file, onnx::matrix(4, 2)).unwrap();
    let out = run(&["models", "push", "m", file.to_str().unwrap()]);
    assert!(!out.contains("stays"), "{out}");
    std::fs::write(&file, onnx::relu(5)).unwrap();
    let out = run(&["models", "push", "m", file.to_str().unwrap()]);
    assert!(out.contains("m:prod stays 3; `aimass deploy m --version 4` changes that"), "{out}");
    assert!(run(&["diff", "m", "3", "3"]).contains("no difference"));
    let out = run(&["diff", "m", "1", "4"]);
    assert!(out.contains("input x: FP32 [1,4] -> FP32 [1,5]") && out.contains("may not be able to call"), "{out}");
    let diff: Value = serde_json::from_str(&run(&["diff", "m", "1", "4", "--json"])).unwrap();
    assert_eq!((&diff["compatible"], &diff["ports"][0]["name"]), (&json!(false), &json!("x")));
}
