//! HTTP functions under `/fn`.

use serde_json::json;

use std::io::{Read as _, Write as _};

use crate::support::{Server, guests};

#[test]
fn a_component_built_with_wasip2_alone_serves_unmodified() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    assert_eq!(acme.get("/fn/acme/probe/some/path?and=query").expect(200).text(), "/some/path?and=query");
    assert_eq!(acme.get("/fn/acme/probe@1").expect(200).text(), "/");
    acme.get("/fn/acme/probe@2").problem(404, "not_found");
    let body: Vec<u8> = (0..1 << 20).map(|i| (i % 251) as u8).collect();
    assert_eq!(acme.send("POST", "/fn/acme/probe/echo", &[], &body).expect(200).body, body);
}

#[test]
fn the_guest_sees_no_token_of_the_platform() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    let names = acme.send("GET", "/fn/acme/probe/headers", &[("x-mine", "1")], b"").expect(200).text();
    assert!(names.contains("x-mine") && names.contains("x-forwarded-prefix"), "{names}");
    assert!(!names.contains("authorization"), "{names}");
}

#[test]
fn a_function_asks_for_a_token_unless_it_is_public() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let other = server.tenant("other");
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    let path = "/fn/acme/hello/";
    acme.get(path).expect(200);
    server.anonymous().get(path).problem(401, "unauthenticated");
    other.get(path).problem(404, "not_found");
    server.token("acme", &["plugins:read"]).get(path).problem(403, "insufficient_scope");

    acme.put_json("/api/v1/plugins/hello/access", &json!({ "public": true })).expect(200);
    for client in [server.anonymous(), other.clone(), server.with("nonsense")] {
        client.get(path).expect(200);
    }
    acme.put_json("/api/v1/plugins/hello/access", &json!({ "public": false })).expect(200);
    server.anonymous().get(path).problem(401, "unauthenticated");
}

#[test]
fn a_counter_counts_durably_and_for_its_tenant_alone() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let other = server.tenant("other");
    for tenant in [&acme, &other] {
        tenant.put("/api/v1/plugins/counter", guests::counter()).expect(201);
    }
    for n in 1..=3 {
        assert_eq!(acme.send("POST", "/fn/acme/counter/hits", &[], b"").expect(200).text().trim(), n.to_string());
    }
    assert_eq!(other.send("POST", "/fn/other/counter/hits", &[], b"").expect(200).text().trim(), "1");
    assert_eq!(acme.send("POST", "/fn/acme/counter/other", &[], b"").expect(200).text().trim(), "1");
    // Two callers at once never get the same number.
    let numbers: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    (0..10)
                        .map(|_| acme.send("POST", "/fn/acme/counter/race", &[], b"").expect(200).text())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        callers.into_iter().flat_map(|c| c.join().unwrap()).collect()
    });
    assert_eq!(numbers.len(), 80);
}

#[test]
fn a_function_is_no_model_and_a_model_no_function() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    acme.put("/api/v1/models/tiny", &crate::support::onnx::relu(4)).expect(201);
    let refused = acme.post("/v2/models/hello/infer", &json!({ "inputs": [] })).expect(422).json();
    assert!(refused["error"].as_str().unwrap().contains("/fn"), "{refused}");
    acme.get("/fn/acme/tiny/").problem(422, "unsupported_operation");
}

#[test]
fn a_raw_model_is_served_without_a_plugin() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/models/tiny", &crate::support::onnx::relu(4)).expect(201);
    let request =
        json!({ "id": "a", "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [-1, 0, 1, 2.5] }] });
    for path in ["/v2/models/tiny/infer", "/v2/models/tiny/versions/1/infer"] {
        let answer = acme.post(path, &request).expect(200).json();
        assert_eq!(answer["outputs"][0]["data"], json!([0.0, 0.0, 1.0, 2.5]), "{answer}");
        assert_eq!(
            (&answer["id"], &answer["model_name"], &answer["model_version"]),
            (&json!("a"), &json!("tiny"), &json!("1"))
        );
    }
}

#[test]
fn f10_tensors_that_do_not_fit_are_refused() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/models/tiny", &crate::support::onnx::relu(4)).expect(201);
    let memory = server.figure("VmRSS");
    for (shape, data) in [
        (json!([1, 4]), json!([1, 2, 3])),
        (json!([1, 4]), json!([1, 2, 3, 4, 5])),
        (json!([1, 5]), json!([1, 2, 3, 4, 5])),
        (json!([18446744073709551615u64, 2]), json!([])),
        (json!([4294967296u64, 4294967296u64]), json!([1])),
        (json!([1_000_000_000, 1_000_000_000]), json!([1])),
        (json!([-1, 4]), json!([1, 2, 3, 4])),
        (json!([1, 4]), json!(["a", "b", "c", "d"])),
        (json!([1, 4]), json!([[[[[[1]]]]]])),
    ] {
        let request = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": shape, "data": data }] });
        acme.post("/v2/models/tiny/infer", &request).expect(400);
    }
    let unknown = json!({ "inputs": [{ "name": "z", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] }] });
    assert!(acme.post("/v2/models/tiny/infer", &unknown).expect(400).text().contains("[\\\"x\\\"]"));
    acme.post("/v2/models/tiny/infer", &json!({ "inputs": [] })).expect(400);
    let deep = "[".repeat(100_000);
    acme.send("POST", "/v2/models/tiny/infer", &[], deep.as_bytes()).expect(400);
    assert!(server.figure("VmRSS") < memory + (64 << 10), "refusing costs no memory");
}

#[test]
fn f12_a_plugin_deleted_in_mid_call_finishes_it() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    acme.get("/fn/acme/probe/warm").expect(200);
    let mut call = std::net::TcpStream::connect(server.address()).unwrap();
    call.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let head = format!(
        "POST /fn/acme/probe/echo HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 8\r\nconnection: close\r\n\r\nhalf",
        acme.token
    );
    call.write_all(head.as_bytes()).unwrap();
    // Until the guest runs and waits for the rest.
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(acme.delete("/api/v1/plugins/probe").status / 100, 2);
    acme.get("/fn/acme/probe/warm").problem(404, "not_found");
    call.write_all(b"full").unwrap();
    let mut answer = String::new();
    call.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("halffull"), "{answer}");
}

#[test]
fn f26_a_call_below_too_many_others_is_refused() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    let at = |path: &str, depth: &str| acme.send("GET", path, &[("aimass-call-depth", depth)], b"");
    at("/fn/acme/probe/x", "7").expect(200);
    at("/fn/acme/probe/x", "8").problem(508, "call_depth");
    at("/api/v1/plugins", "8").problem(508, "call_depth");
    at("/v2/models/probe", "8").expect(508);
    at("/fn/acme/probe/x", "many").problem(400, "invalid_request");
    acme.get("/fn/acme/probe/x").expect(200);
}
