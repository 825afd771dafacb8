//! `aimass engines`: what is installed works, and what is broken is said.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Server, aimass, binary, onnx};

fn listed(library: Option<&str>) -> Value {
    let mut command = Command::new(binary());
    command.args(["engines", "--json"]);
    match library {
        Some(path) => command.env("AIMASS_ONNXRUNTIME", path),
        None => command.env_remove("AIMASS_ONNXRUNTIME"),
    };
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let engines: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    engines.into_iter().find(|e| e["engine"] == "onnxruntime").unwrap()
}

#[test]
fn onnx_runtime_is_installed_and_found() {
    let installed: Value = serde_json::from_str(&aimass(&["engines", "install", "onnxruntime", "--json"])).unwrap();
    assert_eq!(installed["version"], aimass_toolchain::onnxruntime::VERSION);
    let found = listed(installed["library"].as_str());
    assert_eq!(found["available"], true, "{found}");
    // Again: it is there.
    let again: Value = serde_json::from_str(&aimass(&["engines", "install", "onnxruntime", "--json"])).unwrap();
    assert_eq!(installed, again);
}

#[test]
fn a_library_that_is_missing_or_broken_is_said_to_be_so() {
    let folder = tempfile::tempdir().unwrap();
    let missing = listed(folder.path().join("nothing.so").to_str());
    assert_eq!(missing["available"], false);
    assert!(missing["found"].as_str().unwrap().contains("there is no ONNX Runtime at"), "{missing}");
    let broken = folder.path().join("libonnxruntime.so");
    std::fs::write(&broken, "\x7fELF and nothing more").unwrap();
    let broken = listed(broken.to_str());
    assert_eq!(broken["available"], false);
    assert!(broken["found"].as_str().unwrap().contains("cannot be used"), "{broken}");
}

#[test]
fn a_node_with_onnx_runtime_serves_models_with_it_and_answers_as_tract_does() {
    let installed: Value = serde_json::from_str(&aimass(&["engines", "install", "onnxruntime", "--json"])).unwrap();
    let library = installed["library"].as_str().unwrap();
    let input = json!({ "name": "x", "datatype": "FP32", "shape": [1, 8], "data": [1, -2, 3, -4, 5, -6, 7, -8] });
    let answers = [("tract", "off"), ("onnxruntime", library)].map(|(backend, path)| {
        let server = Server::start_with(&["--onnxruntime", path]);
        let acme = server.tenant("acme");
        acme.put("/api/v1/models/perceptron", &onnx::perceptron()).expect(201);
        let shown = acme.get("/api/v1/models/perceptron").expect(200).json();
        assert_eq!(shown["placement"]["backend"], backend, "{shown}");
        let answer = acme.post("/v2/models/perceptron/infer", &json!({ "inputs": [input] })).expect(200).json();
        serde_json::from_value::<Vec<f64>>(answer["outputs"][0]["data"].clone()).unwrap()
    });
    for (ours, theirs) in answers[0].iter().zip(&answers[1]) {
        assert!((ours - theirs).abs() < 1e-5, "{ours} {theirs}");
    }
}
