//! The Open Inference Protocol, whole: with the clients that exist, and with what no client would send.

use std::io::{BufRead as _, BufReader, Write as _};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Answer, Client, Server, guests, onnx, python};

/// The types that ONNX models take here, with their numbers in `onnx.proto`.
const TYPES: [(&str, u64); 12] = [
    ("bool", 9),
    ("uint8", 2),
    ("uint16", 4),
    ("uint32", 12),
    ("uint64", 13),
    ("int8", 3),
    ("int16", 5),
    ("int32", 6),
    ("int64", 7),
    ("fp16", 10),
    ("fp32", 1),
    ("fp64", 11),
];

/// A tenant with plugins that give back what they take, and a model for each type that does.
fn with_echoes(server: &Server) -> Client {
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/echo", guests::echo()).expect(201);
    acme.put_json("/api/v1/plugins/echo/aliases/prod", &json!({ "version": 1 })).expect(200);
    acme.put("/api/v1/plugins/text", guests::text()).expect(201);
    for (name, number) in TYPES {
        acme.put(&format!("/api/v1/models/identity-{name}"), &onnx::identity(number)).expect(201);
    }
    acme
}

fn run(script: &str) {
    let server = Server::start();
    let acme = with_echoes(&server);
    assert_eq!(python::client(script, &[server.address(), &acme.token]).trim(), "done");
}

#[test]
fn tritonclient_speaks_grpc() {
    run("triton_grpc.py");
}

#[test]
fn tritonclient_speaks_http() {
    run("triton_http.py");
}

#[test]
fn kserves_client_speaks_both() {
    run("kserve_client.py");
}

/// A stream that is open; `then` comes, and this is how it ends.
fn stream_ends(server: &Server, token: &str, then: impl FnOnce(), send: &str) -> String {
    let mut client = python::start("triton_stream.py", &[server.address(), token]);
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("open"));
    then();
    writeln!(client.stdin.take().unwrap(), "{send}").unwrap();
    let end = lines.next().unwrap_or_default();
    client.wait().unwrap();
    end
}

#[test]
fn a_stream_outlives_neither_its_token_nor_its_node() {
    let mut server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/models/identity-fp32", &onnx::identity(1)).expect(201);
    let wish = json!({ "subject": "stream", "scopes": ["models:invoke"] });
    let minted = acme.post("/api/v1/tokens", &wish).expect(201).json();
    let revoke = || drop(acme.delete(&format!("/api/v1/tokens/{}", minted["jti"].as_str().unwrap())).expect(204));
    let end = stream_ends(&server, minted["token"].as_str().unwrap(), revoke, "send");
    assert_eq!(end, "StatusCode.UNAUTHENTICATED");

    // An idle stream does not hold a node that wants to stop, whose grace is 30 seconds.
    let started = Instant::now();
    assert_eq!(stream_ends(&server, &acme.token, || server.signal("TERM"), "wait"), "StatusCode.UNAVAILABLE");
    assert!(server.child.wait().unwrap().success());
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

/// A call of gRPC by hand. A refusal stands whole in the answer's head.
fn grpc(client: &Client, method: &str, headers: &[(&str, &str)], message: &[u8]) -> Answer {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let frame = [&[0][..], &length, message].concat();
    framed(client, method, headers, &frame)
}

fn framed(client: &Client, method: &str, headers: &[(&str, &str)], frame: &[u8]) -> Answer {
    let headers = [&[("content-type", "application/grpc")][..], headers].concat();
    client.send("POST", &format!("/inference.GRPCInferenceService/{method}"), &headers, frame).expect(200)
}

/// The field `tag` with these bytes.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut length = bytes.len();
    let mut out = vec![tag << 3 | 2];
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

/// A `ModelInferRequest` for `identity-fp32`, whose one input has this shape (varints) and these raw contents.
fn request(shape: &[u8], raw: &[u8]) -> Vec<u8> {
    let input = [field(1, b"x"), field(2, b"FP32"), field(3, shape)].concat();
    [field(1, b"identity-fp32"), field(5, &input), field(7, raw)].concat()
}

#[test]
fn f10_grpc_bodies_that_do_not_fit_cost_nothing() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/models/identity-fp32", &onnx::identity(1)).expect(201);
    assert_eq!(grpc(&acme, "ModelInfer", &[], &request(&[2, 3], &[0; 24])).header("grpc-status"), "");
    let before = server.figure("VmHWM");

    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    for (case, status) in [
        (request(&[2, 3], &[0; 23]), "3"),
        (request(&[2, 3], &[0; 25]), "3"),
        (request(&[huge, huge].concat(), &[0; 24]), "3"),
        // 2⁶³ − 1 elements, and nothing behind them.
        (
            [field(1, b"identity-fp32"), field(5, &[field(1, b"x"), field(2, b"FP32"), field(3, &huge)].concat())]
                .concat(),
            "3",
        ),
        // 20 million inputs of nothing, which would be gigabytes as messages.
        ([0x2a, 0].repeat(20_000_000), "3"),
        ([0x3a, 0].repeat(20_000_000), "3"),
        (vec![0xff; 100], "3"),
        (vec![0; (64 << 20) + 1], "8"),
    ] {
        let answer = grpc(&acme, "ModelInfer", &[], &case);
        assert_eq!(answer.header("grpc-status"), status, "{} bytes: {}", case.len(), answer.header("grpc-message"));
    }
    // Announced and not sent, sent twice, compressed, no gRPC.
    assert_eq!(framed(&acme, "ModelInfer", &[], &[0, 0, 0, 1, 0, 7]).header("grpc-status"), "3");
    assert_eq!(framed(&acme, "ModelInfer", &[], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).header("grpc-status"), "3");
    assert_eq!(framed(&acme, "ModelInfer", &[], &[1, 0, 0, 0, 0]).header("grpc-status"), "3");
    assert_eq!(grpc(&acme, "ModelInfer", &[("grpc-encoding", "gzip")], &[]).header("grpc-status"), "12");
    assert_eq!(acme.post("/inference.GRPCInferenceService/ModelInfer", &json!({})).header("grpc-status"), "12");
    assert_eq!(grpc(&acme, "ModelGuess", &[], &[]).header("grpc-status"), "12");

    // A body is held once, and what it claims is not.
    let grown = server.figure("VmHWM") - before;
    eprintln!("the server grew by {grown} KiB at most");
    assert!(grown < 200 << 10, "the server grew by {grown} KiB");
    assert_eq!(grpc(&acme, "ModelInfer", &[], &request(&[2, 3], &[0; 24])).header("grpc-status"), "");
    server.anonymous().get("/healthz").expect(200);
}

#[test]
fn the_callers_deadline_ends_a_call() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/text", guests::text()).expect(201);
    acme.put("/api/v1/plugins/echo", guests::echo()).expect(201);
    acme.put_json("/api/v1/plugins/echo/config", &json!({ "spin": "yes" })).expect(200);
    let empty = |datatype: &str| {
        field(5, &[field(1, datatype.as_bytes()), field(2, datatype.as_bytes()), field(3, &[0, 2])].concat())
    };
    let types = [
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32",
        "FP64", "BYTES",
    ];
    let mut message = field(1, b"echo");
    message.extend(types.iter().flat_map(|ty| empty(ty)));
    message.extend(types.iter().flat_map(|_| field(7, &[])));
    let started = Instant::now();
    let answer = grpc(&acme, "ModelInfer", &[("grpc-timeout", "300m")], &message);
    let took = started.elapsed();
    assert_eq!(answer.header("grpc-status"), "4", "{}", answer.header("grpc-message"));
    assert!((300..1_000).contains(&took.as_millis()), "{took:?}");

    // What the plugin itself refuses is nobody's to try again; and it is counted.
    acme.put_json("/api/v1/plugins/echo/config", &json!({ "fail": "yes" })).expect(200);
    assert_eq!(grpc(&acme, "ModelInfer", &[], &message).header("grpc-status"), "2");
    let stats = acme.get("/v2/models/echo/stats").expect(200).json()["model_stats"][0].clone();
    assert_eq!((&stats["inference_count"], &stats["inference_stats"]["fail"]["count"]), (&json!(0), &json!(2)));
}

#[test]
fn a_repository_shows_its_own_tenant_what_the_token_may_call() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/text", guests::text()).expect(201);
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    acme.put("/api/v1/models/tiny", &onnx::relu(4)).expect(201);
    acme.put("/api/v1/models/tiny", &onnx::relu(5)).expect(201);
    let names = |client: &Client| -> Vec<String> {
        let index = client.post("/v2/repository/index", &json!({})).expect(200).json();
        index.as_array().unwrap().iter().map(|e| format!("{} {}", e["name"].as_str().unwrap(), e["version"])).collect()
    };
    // A plugin that is only an HTTP function is no model.
    assert_eq!(names(&acme), ["text \"1\"", "tiny \"1\"", "tiny \"2\""]);
    assert_eq!(names(&server.token("acme", &["models:invoke"])), ["tiny \"1\"", "tiny \"2\""]);
    assert!(names(&server.tenant("other")).is_empty());
    // Whoever may only call cannot make others wait.
    let caller = server.token("acme", &["models:invoke"]);
    caller.post("/v2/repository/models/tiny/unload", &json!({})).expect(403);
    caller.post("/v2/repository/models/tiny/load", &json!({})).expect(200);
    caller.post("/v2/repository/models/text/load", &json!({})).expect(403);
    acme.post("/v2/repository/models/hello/load", &json!({})).expect(422);

    acme.send("POST", "/v2/repository/models/tiny/unload", &[], b"").expect(200);
    let ready = acme.post("/v2/repository/index", &json!({ "ready": true })).expect(200).json();
    assert_eq!(ready.as_array().unwrap().len(), 1, "{ready}");
    acme.get("/v2/models/tiny/ready").expect(409);
    acme.get("/v2/models/tiny/versions/1/ready").expect(409);
    // A new version is there to be called.
    acme.put("/api/v1/models/tiny", &onnx::relu(6)).expect(201);
    acme.get("/v2/models/tiny/ready").expect(200);
    // What is deleted takes its statistics with it.
    acme.delete("/api/v1/models/tiny").expect(204);
    acme.get("/v2/models/tiny/stats").expect(404);
    assert_eq!(acme.get("/v2/models/stats").expect(200).json()["model_stats"].as_array().unwrap().len(), 1);
}
