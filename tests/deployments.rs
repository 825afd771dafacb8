//! Aliases and splits over the real binary, for plugins, functions and models.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Client, Server, aimass, eventually, guests, onnx};

/// A tenant's client with three versions of the model `m`: one that clips, and two that multiply.
pub(crate) fn with_models(server: &Server) -> Client {
    let acme = server.tenant("acme");
    for bytes in [onnx::relu(4), onnx::matrix(4, 1), onnx::matrix(4, 2)] {
        acme.put("/api/v1/models/m", &bytes).expect(201);
    }
    acme
}

pub(crate) const PROD: &str = "/api/v1/models/m/aliases/prod";

pub(crate) fn infer(client: &Client, model: &str, headers: &[(&str, &str)]) -> Answer {
    let input = json!({ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [-1.0, 2.0, -3.0, 4.0] });
    let body = json!({ "inputs": [input] }).to_string();
    client.send("POST", &format!("/v2/models/{model}/infer"), headers, body.as_bytes())
}

/// The version that served, as the head and the body both say.
pub(crate) fn served(answer: Answer) -> u64 {
    let answer = answer.expect(200);
    let version = answer.json()["model_version"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("aimass-served-version"), version);
    version.parse().unwrap()
}

pub(crate) fn split(parts: &[(u64, u64)]) -> Value {
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
