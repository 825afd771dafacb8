//! The management API: names, lists, life cycles, problem documents.

use serde_json::json;

use crate::support::{Server, guests};

#[test]
fn f09_hostile_names_are_refused_everywhere() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let long = "a".repeat(10 * 1024);
    for name in ["..%2Fx", "%00", "a%00b", "UPPER", "f%D1%96le", "a%0Ab", "-a", &long] {
        for path in [format!("/api/v1/plugins/{name}"), format!("/api/v1/models/{name}")] {
            acme.put(&path, b"x").problem(400, "invalid_name");
            acme.get(&path).problem(400, "invalid_name");
        }
        acme.get(&format!("/v2/models/{name}")).expect(400);
    }
    for name in ["../x", "a\0b", "", &long] {
        server.operator().post("/api/v1/tenants", &json!({ "name": name })).problem(400, "invalid_name");
    }
    acme.get("/fn/..%2F..%2Fetc/passwd").problem(400, "invalid_name");
}

#[test]
fn a_plugin_lives_and_dies() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let first = acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    let version = first.json();
    assert_eq!((version["version"].as_u64(), version["kind"].as_str()), (Some(1), Some("plugin")));
    assert!(
        version["worlds"].as_array().unwrap().iter().any(|w| w.as_str().unwrap().starts_with("wasi:http/")),
        "{version}"
    );
    assert_eq!(first.header("etag"), format!("\"{}\"", version["digest"].as_str().unwrap()));
    // The same bytes again are the same version.
    assert_eq!(acme.put("/api/v1/plugins/hello", guests::hello()).expect(200).json(), version);
    let second = acme.put("/api/v1/plugins/hello?allow-new-imports=true", guests::probe()).expect(201).json();
    assert_eq!(second["version"], 2);
    let versions = acme.get("/api/v1/plugins/hello/versions").expect(200).json();
    assert_eq!(versions["items"].as_array().unwrap().len(), 2);
    assert_eq!(acme.get("/api/v1/plugins/hello/versions/1").expect(200).json(), version);
    acme.get("/api/v1/plugins/hello/versions/3").problem(404, "not_found");

    // A name is a plugin's or a model's, not both.
    acme.put("/api/v1/models/hello", &crate::support::onnx::relu(4)).problem(409, "conflict");
    acme.get("/api/v1/models/hello").problem(404, "not_found");

    acme.delete("/api/v1/plugins/hello").expect(204);
    acme.get("/api/v1/plugins/hello").problem(404, "not_found");
    acme.get("/fn/acme/hello/").problem(404, "not_found");
    acme.delete("/api/v1/plugins/hello").problem(404, "not_found");
    // A number is never used again.
    assert_eq!(acme.put("/api/v1/plugins/hello", guests::hello()).expect(201).json()["version"], 3);
}

#[test]
fn lists_are_paged() {
    let server = Server::start();
    let operator = server.operator();
    for name in ["a", "b", "c"] {
        operator.post("/api/v1/tenants", &json!({ "name": name })).expect(201);
    }
    operator.post("/api/v1/tenants", &json!({ "name": "a" })).problem(409, "conflict");
    let first = operator.get("/api/v1/tenants?limit=2").expect(200).json();
    assert_eq!((&first["items"][1]["name"], &first["next"]), (&json!("b"), &json!("b")));
    let last = operator.get("/api/v1/tenants?limit=2&after=b").expect(200).json();
    assert_eq!((last["items"].as_array().unwrap().len(), &last["next"]), (1, &json!(null)));
    operator.get("/api/v1/tenants?limt=2").problem(400, "invalid_request");
}

#[test]
fn problems_say_what_to_do_and_name_the_request() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let answer = acme.get("/api/v1/plugins/nobody").problem(404, "not_found");
    let problem = answer.json();
    assert_eq!(problem["type"], "urn:aimass:problem:not_found");
    assert_eq!(problem["status"], 404);
    assert_eq!(problem["request_id"], answer.header("x-request-id"));
    acme.get("/api/v2").problem(404, "not_found");
    acme.post("/healthz", &json!({})).problem(405, "method_not_allowed");
    let refused = acme.get("/v2/models/nobody").expect(404).json();
    assert!(refused["error"].is_string(), "{refused}");
    // The operator is no tenant.
    server.operator().get("/api/v1/plugins").problem(403, "insufficient_scope");
}

#[test]
fn the_node_shows_its_health() {
    let server = Server::start();
    let anyone = server.anonymous();
    assert_eq!(anyone.get("/healthz").expect(200).json()["status"], "ok");
    assert_eq!(anyone.get("/readyz").expect(200).json()["status"], "ready");
    let keys = anyone.get("/.well-known/jwks.json").expect(200).json();
    assert_eq!((&keys["keys"][0]["kty"], &keys["keys"][0]["crv"]), (&json!("OKP"), &json!("Ed25519")));
    assert!(keys["keys"][0].get("d").is_none(), "the private key is published");
    let metrics = anyone.get("/metrics").expect(200).text();
    assert!(metrics.contains("aimass_http_requests_total{route=\"/healthz\",status=\"200\"} 1"), "{metrics}");
    assert!(metrics.trim_end().ends_with("# EOF"));
}

#[test]
fn secrets_on_disk_are_their_owners_alone() {
    use std::os::unix::fs::MetadataExt;
    let server = Server::start();
    let mut files = vec![server.data.join("operator.token")];
    files.extend(std::fs::read_dir(server.data.join("keys")).unwrap().map(|e| e.unwrap().path()));
    assert!(files.len() > 2, "{files:?}");
    for file in files.iter().filter(|f| f.is_file()) {
        assert_eq!(file.metadata().unwrap().mode() & 0o077, 0, "{}", file.display());
    }
}
