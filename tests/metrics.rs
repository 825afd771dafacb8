//! `/metrics`: what it tells, and whom.

use serde_json::{Value, json};

use crate::support::{Client, Server, onnx, python};

fn metrics(client: &Client) -> Value {
    let answer = client.get("/metrics").expect(200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    serde_json::from_str(&python::filter("metrics.py", &answer.body)).unwrap()
}

fn call(client: &Client, model: &str, shape: [u64; 2], times: usize) {
    let data = vec![1.0; (shape[0] * shape[1]) as usize];
    let request = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": shape, "data": data }] });
    for _ in 0..times {
        client.post(&format!("/v2/models/{model}/infer"), &request).expect(200);
    }
}

#[test]
fn a_token_shows_its_tenants_models_and_the_operators_shows_all() {
    let server = Server::start();
    let (acme, other) = (server.tenant("acme"), server.tenant("other"));
    acme.put("/api/v1/models/mine", &onnx::relu(4)).expect(201);
    other.put("/api/v1/models/theirs", &onnx::relu(5)).expect(201);
    call(&acme, "mine", [1, 4], 3);
    call(&other, "theirs", [1, 5], 2);

    let (mine, theirs) = ("model=mine,tenant=acme,version=1", "model=theirs,tenant=other,version=1");
    let shown = metrics(&acme);
    assert_eq!(shown["aimass_model_requests_total"], json!({ mine: 3.0 }));
    assert_eq!(shown["aimass_model_failures_total"], json!({ mine: 0.0 }));
    assert_eq!(shown["nv_inference_request_success"], json!({ mine: 3.0 }));
    assert_eq!(shown["nv_inference_exec_count"], json!({ mine: 3.0 }));
    assert_eq!(shown["aimass_model_batches_total"], json!({ format!("batch_size=1,{mine}"): 3.0 }));
    let seconds = shown["aimass_model_compute_duration_seconds_total"][mine].as_f64().unwrap();
    let micros = |what: &str| shown[format!("nv_inference_{what}_duration_us")][mine].as_f64().unwrap();
    let parts = micros("compute_input") + micros("compute_infer") + micros("compute_output");
    assert!(seconds > 0.0 && (seconds * 1e6 - parts).abs() <= 3.0, "{seconds} s, {parts} us");
    assert!(micros("compute_infer") > 0.0 && micros("request") >= micros("queue") + parts - 3.0, "{shown}");
    assert!(shown["aimass_model_memory_bytes"].get(mine).is_some(), "{shown}");

    let all = metrics(&server.operator());
    assert_eq!(all["nv_inference_count"], json!({ mine: 3.0, theirs: 2.0 }));
    // Without a token, or with one of a tenant, nobody else's name is there.
    let public = server.anonymous().get("/metrics").expect(200).text();
    assert!(!public.contains("acme") && !public.contains("mine") && !public.contains("theirs"), "{public}");
    assert_eq!(metrics(&server.anonymous())["aimass_node_models"], json!({ "": 2.0 }));
    let mine_only = acme.get("/metrics").expect(200).text();
    assert!(!mine_only.contains("\"other\"") && !mine_only.contains("theirs"), "{mine_only}");
    server.with("forged").get("/metrics").expect(401);
    // A token that may not see models does not see them here.
    server.token("acme", &["tokens:read"]).get("/metrics").expect(403);
    let plugins_only = server.token("acme", &["plugins:read"]).get("/metrics").expect(200).text();
    assert!(!plugins_only.contains("mine"), "{plugins_only}");
}

#[test]
fn what_leaves_memory_is_counted() {
    // Room for two models of 1 MB at most.
    let server = Server::start_with(&["--model-memory-mib", "2"]);
    let acme = server.tenant("acme");
    for (seed, name) in ["one", "two", "three", "four"].into_iter().enumerate() {
        acme.put(&format!("/api/v1/models/{name}"), &onnx::dense(500, seed as u64)).expect(201);
    }
    for _ in 0..3 {
        for name in ["one", "two", "three", "four"] {
            call(&acme, name, [1, 500], 1);
        }
    }
    let shown = metrics(&acme);
    let evicted = shown["aimass_model_evictions_total"]["tenant=acme"].as_f64().unwrap();
    assert!(evicted >= 3.0, "{shown}");
    let there = shown["aimass_model_memory_bytes"].as_object().unwrap();
    let bytes: f64 = there.values().map(|bytes| bytes.as_f64().unwrap()).sum();
    assert!(there.len() < 4 && bytes > 0.0, "{shown}");
    assert_eq!(shown["aimass_node_model_evictions"][""].as_f64().unwrap(), evicted);
}
