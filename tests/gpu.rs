//! The GPU path over HTTP. Without a Vulkan device (`mesa-vulkan-drivers` gives a software one) these tests say that
//! they were skipped.

use serde_json::{Value, json};

use crate::support::{Client, Server, aimass, onnx};

/// Whether there is a Vulkan device, hard or soft.
fn device() -> bool {
    let findings: Value = serde_json::from_str(&aimass(&["doctor", "--json"])).unwrap();
    let gpu = findings.as_array().unwrap().iter().find(|f| f["what"] == "inference: wonnx").unwrap().clone();
    let found = gpu["advice"] == "";
    if !found {
        eprintln!("skipped: no Vulkan device ({})", gpu["found"]);
    }
    found
}

fn run(client: &Client, model: &str, shape: &[u64]) -> Vec<f64> {
    let count: u64 = shape.iter().product();
    let data: Vec<f64> = (0..count).map(|i| ((i * 37) % 101) as f64 / 101.0 - 0.5).collect();
    let request = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": shape, "data": data }] });
    let answer = client.post(&format!("/v2/models/{model}/infer"), &request).expect(200).json();
    serde_json::from_value(answer["outputs"][0]["data"].clone()).unwrap()
}

fn placement(client: &Client, model: &str) -> Value {
    client.get(&format!("/api/v1/models/{model}")).expect(200).json()["placement"].clone()
}

#[test]
fn small_models_run_on_the_gpu_and_agree_with_the_cpu() {
    if !device() {
        return;
    }
    let server = Server::start_with(&["--gpu", "any"]);
    let acme = server.tenant("acme");
    for (name, bytes, shape) in [
        ("perceptron", onnx::perceptron(), &[1, 8][..]),
        ("convolutions", onnx::convolutions(true), &[1, 4, 8, 8][..]),
        ("without-biases", onnx::convolutions(false), &[1, 4, 8, 8][..]),
    ] {
        acme.put(&format!("/api/v1/models/{name}"), &bytes).expect(201);
        acme.put(&format!("/api/v1/models/{name}-cpu?device=cpu"), &bytes).expect(201);
        let there = placement(&acme, name);
        assert_eq!(there["backend"], "wonnx", "{there}");
        assert!(there["canary"].as_f64().is_some_and(|error| error < 1e-3), "{there}");
        assert_eq!(placement(&acme, &format!("{name}-cpu"))["backend"], "tract");
        let (gpu, cpu) = (run(&acme, name, shape), run(&acme, &format!("{name}-cpu"), shape));
        for (a, b) in gpu.iter().zip(&cpu) {
            assert!((a - b).abs() <= 1e-3 * b.abs().max(1e-2), "{name}: {a} on the GPU, {b} on the CPU");
        }
    }
}

#[test]
fn a_model_that_the_gpu_gets_wrong_is_served_by_the_cpu_and_says_why() {
    if !device() {
        return;
    }
    let server = Server::start_with(&["--gpu", "any"]);
    let acme = server.tenant("acme");
    let bytes = onnx::far_angles();
    acme.put("/api/v1/models/wrong", &bytes).expect(201);
    acme.put("/api/v1/models/right?device=cpu", &bytes).expect(201);
    let there = placement(&acme, "wrong");
    assert_eq!(there["backend"], "tract", "{there}");
    assert!(there["reason"].as_str().unwrap().contains("the canary"), "{there}");
    assert!(there["canary"].as_f64().is_some_and(|error| error > 1e-3), "{there}");
    assert_eq!(run(&acme, "wrong", &[1, 8]), run(&acme, "right", &[1, 8]));
    // Asked for strictly, it is refused with the same reason.
    acme.put("/api/v1/models/strict?device=gpu", &bytes).problem(422, "unsupported_device");
}
