//! What tenants use, by the hour and by what is called, and what they may.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Server, aimass, eventually, guests, onnx};

fn infer(client: &Client) {
    let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [-1, 0, 1, 2.5] }] });
    client.post("/v2/models/tiny/infer", &body).expect(200);
}

fn items(client: &Client, path: &str) -> Vec<Value> {
    client.get(path).expect(200).json()["items"].as_array().unwrap().clone()
}

fn quota(client: &Client, name: &str) -> Value {
    items(client, "/api/v1/quotas").into_iter().find(|quota| quota["quota"] == name).unwrap()
}

#[test]
fn usage_tells_what_each_plugin_and_model_came_to() {
    let server = Server::start_with(&["--call-seconds", "1"]);
    let acme = server.tenant("acme");
    let other = server.tenant("other");
    acme.put("/api/v1/models/tiny", &onnx::relu(4)).expect(201);
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    (0..3).for_each(|_| infer(&acme));
    for _ in 0..2 {
        acme.send("POST", "/fn/acme/probe/echo", &[], &[7; 1000]).expect(200);
    }
    acme.get("/fn/acme/probe/panic").expect(502);
    let quick = items(&acme, "/api/v1/usage")[0].clone();
    let number = |of: &Value, field: &str| of[field].as_u64().unwrap_or_else(|| panic!("{field}: {of}"));
    assert_eq!((number(&quick, "requests"), number(&quick, "errors")), (6, 1), "{quick}");
    assert_eq!((number(&quick, "inferences"), number(&quick, "functions")), (3, 3), "{quick}");
    // Three times four numbers of four bytes, and twice a thousand bytes.
    assert_eq!((number(&quick, "bytes_in"), number(&quick, "bytes_out")), (2048, 2048), "{quick}");

    // What waits is not on a processor; what loops is.
    acme.get("/fn/acme/probe/sleep").expect(504);
    let waited = items(&acme, "/api/v1/usage")[0].clone();
    assert!(number(&waited, "guest_ms") < number(&quick, "guest_ms") + 500, "{waited}");
    acme.get("/fn/acme/probe/loop").expect(504);
    let ran = || number(&items(&acme, "/api/v1/usage")[0], "guest_ms") - number(&waited, "guest_ms");
    // A busy machine gives it a part of the second; and a guest that is ended is counted when it is gone.
    eventually("the loop is counted", Duration::from_secs(10), || ran() >= 100);
    assert!(ran() < 1_500, "{} ms of a second's loop", ran());
    let hour = items(&acme, "/api/v1/usage")[0].clone();
    // It had a MiB or more for a second, twice.
    assert!(hour["memory_mib_seconds"].as_f64().unwrap() > 1.0, "{hour}");

    let rows = items(&acme, "/api/v1/usage?by=plugin");
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["probe", "tiny"]);
    assert_eq!((&rows[0]["functions"], &rows[0]["errors"], &rows[0]["bytes_in"]), (&json!(5), &json!(3), &json!(2000)));
    assert_eq!((&rows[1]["inferences"], &rows[1]["guest_ms"]), (&json!(3), &json!(0)));
    let second = acme.get("/api/v1/usage?by=plugin&limit=1").expect(200).json()["next"].as_str().unwrap().to_owned();
    assert_eq!(items(&acme, &format!("/api/v1/usage?by=plugin&after={second}"))[0]["name"], "tiny");

    let csv = acme.get("/api/v1/usage?format=csv").expect(200);
    assert!(csv.header("content-type").starts_with("text/csv"));
    let lines: Vec<Vec<String>> = csv.text().lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
    assert_eq!((lines.len(), lines[0].len()), (2, lines[1].len()), "{lines:?}");
    assert_eq!((lines[0][1].as_str(), lines[1][1].as_str()), ("requests", "8"));
    assert!(lines[1][0].ends_with(":00:00Z"), "{}", lines[1][0]);
    assert_eq!(acme.get("/api/v1/usage?format=csv&by=plugin").expect(200).text().lines().count(), 3);
    // An hour that is over, and a range that holds the running one.
    assert!(items(&acme, "/api/v1/usage?to=1000000000").is_empty());
    assert_eq!(items(&acme, &format!("/api/v1/usage?from={}", number(&hour, "hour") + 1800)).len(), 1);
    acme.get("/api/v1/usage?format=xml").problem(400, "invalid_request");
    // Each sees its own; the operator anybody's, the running hour among them.
    assert!(items(&other, "/api/v1/usage?by=plugin").is_empty());
    assert_eq!(items(&server.operator(), "/api/v1/tenants/acme/usage?by=plugin").len(), 2);

    let run =
        |arguments: &[&str]| aimass(&[&["--url", &server.url, "--token", &acme.token, "usage"], arguments].concat());
    let shown = run(&["--by", "plugin", "--from", "1h"]);
    assert!(shown.contains("probe") && shown.contains("GUEST MS"), "{shown}");
    assert!(shown.contains("storage_mib") && shown.contains("no limit"), "{shown}");
    assert!(run(&["--csv"]).starts_with("hour,requests,errors,"));
    let json: Value = serde_json::from_str(&run(&["--json"])).unwrap();
    assert_eq!(json[0]["functions"], 5);
}

#[test]
fn a_deleted_plugins_calls_are_still_counted() {
    let server = Server::start_with(&["--call-seconds", "2"]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    acme.get("/fn/acme/probe/warm").expect(200);
    let before = items(&acme, "/api/v1/usage")[0]["guest_ms"].as_u64().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| acme.get("/fn/acme/probe/loop").expect(504));
        std::thread::sleep(Duration::from_millis(700));
        acme.delete("/api/v1/plugins/probe").expect(204);
    });
    eventually("the loop is counted", Duration::from_secs(5), || {
        items(&acme, "/api/v1/usage")[0]["guest_ms"].as_u64().unwrap() > before + 100
    });
}

#[test]
fn what_may_be_kept_is_a_number_and_a_size() {
    let server = Server::start_with(&["--tenant-models", "1"]);
    let acme = server.tenant("acme");
    let operator = server.operator();
    let limit =
        |change: Value| operator.send("PATCH", "/api/v1/tenants/acme/limits", &[], change.to_string().as_bytes());
    acme.put("/api/v1/models/tiny", &onnx::relu(4)).expect(201);
    let refused = acme.put("/api/v1/models/second", &onnx::relu(5)).problem(507, "storage_quota").json();
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("`models`") && detail.contains("1 of the 1"), "{detail}");
    // Another version is no further model.
    acme.put("/api/v1/models/tiny", &onnx::relu(6)).expect(201);
    let shown = limit(json!({ "models": 5, "storage_mib": 1, "plugins": 1 })).expect(200).json();
    assert_eq!((&shown["limits"]["models"], &shown["effective_limits"]["plugins"]), (&json!(5), &json!(1)), "{shown}");
    acme.put("/api/v1/models/second", &onnx::relu(5)).expect(201);

    // Two MB of weights.
    let large = acme.put("/api/v1/models/large", &onnx::dense(700, 1)).problem(507, "storage_quota").json();
    assert!(large["detail"].as_str().unwrap().contains("`storage_mib`"), "{large}");
    acme.get("/api/v1/models/large").problem(404, "not_found");
    let used = quota(&acme, "storage_mib");
    assert_eq!((&used["limit"], &used["unit"]), (&json!(1 << 20), &json!("bytes")));
    assert!(used["used"].as_u64().unwrap() < 10_000, "nothing of what was refused is counted: {used}");
    limit(json!({ "storage_mib": 3 })).expect(200);
    acme.put("/api/v1/models/large", &onnx::dense(700, 1)).expect(201);
    // The same bytes once more take no room.
    limit(json!({ "storage_mib": 2 })).expect(200);
    acme.put("/api/v1/models/copy", &onnx::dense(700, 1)).expect(201);
    eventually("it is warned of", Duration::from_secs(40), || {
        items(&acme, "/api/v1/audit?kind=quota_warned").iter().any(|row| row["tenant"] == "acme")
    });
    // Somebody else has its own.
    server.tenant("other").put("/api/v1/models/large", &onnx::dense(700, 1)).expect(201);
    limit(json!({ "storage_mib": null })).expect(200);
    assert!(quota(&acme, "storage_mib")["limit"].is_null());
}

#[test]
fn what_may_be_computed_in_a_day_ends_and_a_higher_limit_holds_at_once() {
    let server = Server::start_with(&["--call-seconds", "2"]);
    let acme = server.tenant("acme");
    let other = server.tenant("other");
    for tenant in [&acme, &other] {
        tenant.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    }
    let run = |arguments: &[&str]| {
        let token = server.operator().token;
        aimass(&[&["--url", &server.url, "--token", &token, "tenants", "limits", "acme"], arguments].concat())
    };
    let shown = run(&["--compute-seconds-per-day", "1"]);
    assert!(shown.contains("compute a day, seconds") && shown.contains("1 (its own)"), "{shown}");
    acme.get("/fn/acme/probe/fine").expect(200);
    // On a busy machine a loop of two seconds computes for less.
    eventually("its day's compute is used up", Duration::from_secs(60), || {
        acme.get("/fn/acme/probe/loop").status == 429
    });
    let refused = acme.get("/fn/acme/probe/fine").problem(429, "quota_exceeded");
    let after: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=86_400).contains(&after), "until midnight: {after}");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("of the 1.0 s") && detail.contains("`compute_seconds_per_day`"), "{detail}");
    other.get("/fn/other/probe/fine").expect(200);
    let used = quota(&acme, "compute_seconds_per_day");
    assert!(used["used"].as_u64().unwrap() >= 1_000 && used["resets"].as_u64().unwrap() % 86_400 == 0, "{used}");
    eventually("it was warned of, once", Duration::from_secs(10), || {
        items(&acme, "/api/v1/audit?kind=quota_warned").len() == 1
    });
    run(&["--compute-seconds-per-day", "1000"]);
    acme.get("/fn/acme/probe/fine").expect(200);
    // It is held against what was used before a restart as well.
    run(&["--compute-seconds-per-day", "1"]);
    acme.get("/fn/acme/probe/fine").problem(429, "quota_exceeded");
    server.signal("TERM");
    let data = server.data.clone();
    let mut server = server;
    server.child.wait().unwrap();
    let again = Server::on(&data, &[]);
    again.with(&acme.token).get("/fn/acme/probe/fine").problem(429, "quota_exceeded");
}

#[test]
fn what_may_be_sent_out_in_a_day_ends() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                use std::io::{Read, Write};
                let (mut piece, mut read) = ([0; 64 << 10], vec![]);
                while !read.ends_with(b"0\r\n\r\n") && !read.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut piece) {
                        Ok(0) | Err(_) => return,
                        Ok(n) => read = [&read[read.len().saturating_sub(8)..], &piece[..n]].concat(),
                    }
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            });
        }
    });
    let private = address.to_string();
    let server = Server::start_with(&["--egress-private", &private, "--tenant-egress-mib-per-day", "1"]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/caller", guests::caller()).expect(201);
    acme.put_json("/api/v1/egress/rules/127.0.0.1", &json!({ "ports": [address.port()] })).expect(200);
    let url = format!("http://{address}/");
    let send = |size: &str| {
        let headers = [("x-url", url.as_str()), ("x-method", "POST"), ("x-size", size)];
        acme.send("GET", "/fn/acme/caller", &headers, b"").expect(200).text()
    };
    assert!(send("1200000").starts_with("status 200"), "what is under way may end");
    eventually("its day's egress is used up", Duration::from_secs(5), || send("10").contains("quota_exceeded"));
    assert!(send("10").contains("may send in a day"));
    let hour = items(&acme, "/api/v1/usage")[0].clone();
    assert!(hour["refused"]["quota_exceeded"].as_u64().unwrap() >= 2, "{hour}");
    assert!(quota(&acme, "egress_mib_per_day")["used"].as_u64().unwrap() >= 1_200_000);
}
