//! Asynchronous calls: accepted at once, run later, tried again where that helps, kept with their answer.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Client, Server, aimass, eventually, guests, onnx};

/// Sends a request that is to be answered later.
pub fn later(client: &Client, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    client.send(method, path, &[headers, &[("prefer", "respond-async")]].concat(), body)
}

/// The id of a call that was accepted.
pub fn accepted(answer: Answer) -> String {
    let answer = answer.expect(202);
    assert_eq!(answer.header("preference-applied"), "respond-async");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("/api/v1/invocations/{id}"));
    id
}

pub fn show(client: &Client, id: &str) -> Value {
    client.get(&format!("/api/v1/invocations/{id}")).expect(200).json()
}

/// Waits until a call has ended.
pub fn ended(client: &Client, id: &str) -> Value {
    let mut call = Value::Null;
    eventually("the call ends", Duration::from_secs(60), || {
        call = show(client, id);
        !["queued", "running"].contains(&call["state"].as_str().unwrap())
    });
    call
}

fn result(client: &Client, id: &str) -> Answer {
    client.get(&format!("/api/v1/invocations/{id}/result"))
}

fn with_once(server: &Server) -> Client {
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/once", guests::once()).expect(201);
    acme
}

#[test]
fn a_call_is_accepted_and_its_result_is_what_the_call_gives() {
    let server = Server::start();
    let acme = with_once(&server);
    acme.put("/api/v1/models/tiny", &onnx::relu(4)).expect(201);
    let id = accepted(later(&acme, "POST", "/fn/acme/once/effect?x=1", &[("aimass-attempt", "7")], b""));
    let call = ended(&acme, &id);
    assert_eq!((&call["state"], &call["attempts"], &call["name"]), (&json!("done"), &json!(1), &json!("once")));
    assert_eq!((&call["method"], &call["path"]), (&json!("POST"), &json!("/fn/acme/once/effect?x=1")));
    let answer = result(&acme, &id).expect(200);
    assert_eq!(answer.text(), format!("{id} 1"), "what the caller says of attempts means nothing");
    assert_eq!((answer.header("x-answered"), answer.header("aimass-invocation-id")), ("once", id.as_str()));
    // Of a call that somebody waits for it is told nothing.
    assert_eq!(acme.send("GET", "/fn/acme/once/x", &[("aimass-attempt", "7")], b"").expect(200).text(), " 0");

    let request = json!({ "id": "mine", "inputs":
        [{ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [-1, 0, 1, 2.5] }] });
    let body = request.to_string();
    let now = acme.post("/v2/models/tiny/infer", &request).expect(200);
    let id = accepted(later(&acme, "POST", "/v2/models/tiny/versions/1/infer", &[], body.as_bytes()));
    ended(&acme, &id);
    let answer = result(&acme, &id).expect(200);
    assert_eq!(answer.json(), now.json());
    assert_eq!(answer.header("content-type"), now.header("content-type"));

    // What cannot be right is refused while the caller is there.
    let wrong = body.replace("2.5]", "2.5, 3]");
    later(&acme, "POST", "/v2/models/tiny/infer", &[], wrong.as_bytes()).expect(400);
    later(&acme, "POST", "/v2/models/nobody/infer", &[], body.as_bytes()).expect(404);
    later(&acme, "GET", "/fn/acme/nobody/", &[], b"").problem(404, "not_found");
    later(&acme, "GET", "/fn/acme/tiny/", &[], b"").problem(422, "unsupported_operation");
    later(&server.anonymous(), "GET", "/fn/acme/once/", &[], b"").problem(401, "unauthenticated");
}

#[test]
fn what_fails_is_tried_again_and_what_is_given_up_can_be_tried_by_hand() {
    let server = Server::start_with(&["--call-attempts", "2"]);
    let acme = with_once(&server);
    let id = accepted(later(&acme, "POST", "/fn/acme/once/flaky/1", &[], b""));
    let call = ended(&acme, &id);
    assert_eq!((&call["state"], &call["attempts"]), (&json!("done"), &json!(2)), "{call}");
    assert_eq!(result(&acme, &id).expect(200).text(), format!("{id} 2"));

    let id = accepted(later(&acme, "POST", "/fn/acme/once/flaky/3", &[], b""));
    let call = ended(&acme, &id);
    assert_eq!((&call["state"], &call["failure"]["code"]), (&json!("dead"), &json!("plugin_trap")));
    result(&acme, &id).problem(502, "plugin_trap");
    let retry = |id: &str| acme.post(&format!("/api/v1/invocations/{id}/retry"), &Value::Null);
    assert_eq!(retry(&id).expect(202).json()["max_attempts"], 4);
    let call = ended(&acme, &id);
    assert_eq!((&call["state"], &call["attempts"]), (&json!("done"), &json!(4)), "{call}");
    retry(&id).problem(409, "conflict");
    // Whoever follows the journal learns of it.
    let audit = acme.get("/api/v1/audit?kind=invocation_given_up").expect(200).json();
    assert_eq!(audit["items"][0]["object"], "once", "{audit}");

    // What the guest says is an answer, unless it asks for another try.
    for (status, state, attempts) in [(404, "done", 1), (410, "done", 1), (503, "dead", 2)] {
        let id = accepted(later(&acme, "POST", &format!("/fn/acme/once/status/{status}"), &[], b""));
        let call = ended(&acme, &id);
        assert_eq!((&call["state"], &call["attempts"]), (&json!(state), &json!(attempts)), "{call}");
        assert_eq!(result(&acme, &id).expect(status).text(), "as told");
    }
    // The caller's own faults are never tried again.
    let id = accepted(later(&acme, "POST", "/fn/acme/once/slow/900", &[], b""));
    eventually("it runs", Duration::from_secs(20), || show(&acme, &id)["state"] == "running");
    let second = accepted(later(&acme, "POST", "/fn/acme/once/slow/900", &[], b""));
    let third = accepted(later(&acme, "POST", "/fn/acme/once/slow/900", &[], b""));
    acme.delete("/api/v1/plugins/once").expect(204);
    let states: Vec<_> = [&id, &second, &third].map(|id| ended(&acme, id)["failure"]["code"].clone()).to_vec();
    assert_eq!((&states[0], &states[2]), (&Value::Null, &json!("not_found")), "{states:?}");
}

#[test]
fn a_call_can_be_called_off_also_while_it_runs() {
    let server = Server::start_with(&["--async-calls", "1"]);
    let acme = with_once(&server);
    let running = accepted(later(&acme, "POST", "/fn/acme/once/slow/20000", &[], b""));
    let waiting = accepted(later(&acme, "POST", "/fn/acme/once/effect", &[], b""));
    eventually("it runs", Duration::from_secs(20), || show(&acme, &running)["state"] == "running");
    let early = result(&acme, &waiting).problem(409, "conflict");
    assert_eq!(early.header("retry-after"), "1");
    for id in [&waiting, &running] {
        let call = acme.delete(&format!("/api/v1/invocations/{id}")).expect(200).json();
        assert_eq!(call["state"], "cancelled");
        acme.delete(&format!("/api/v1/invocations/{id}")).problem(409, "conflict");
        result(&acme, id).problem(409, "conflict");
    }
    // The place is free at once, and the one that waited never had its effect.
    let next = accepted(later(&acme, "POST", "/fn/acme/once/x", &[], b""));
    assert_eq!(ended(&acme, &next)["state"], "done");
    assert_eq!(acme.get("/fn/acme/once/effects").expect(200).text(), "0 0");
}

#[test]
fn calls_are_listed_page_by_page_and_forgotten_in_time() {
    let server = Server::start_with(&["--result-ttl-seconds", "2"]);
    let acme = with_once(&server);
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    let ids: Vec<_> = (0..5).map(|_| accepted(later(&acme, "GET", "/fn/acme/once/slow/5000", &[], b""))).collect();
    let probe = accepted(later(&acme, "GET", "/fn/acme/probe/", &[], b""));
    let list = |query: &str| {
        let page = acme.get(&format!("/api/v1/invocations?{query}")).expect(200).json();
        let ids: Vec<_> =
            page["items"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect();
        (ids, page["next"].clone())
    };
    let (first, next) = list("name=once&limit=3");
    assert_eq!((first.as_slice(), &next), (&ids[..3], &json!(ids[2])));
    assert_eq!(list(&format!("name=once&limit=3&after={}", ids[2])), (ids[3..].to_vec(), Value::Null));
    acme.get("/api/v1/invocations?state=gone").problem(400, "invalid_request");
    for id in &ids {
        acme.delete(&format!("/api/v1/invocations/{id}")).expect(200);
    }
    assert_eq!(list("state=cancelled").0.len(), 5);
    ended(&acme, &probe);
    let other = server.tenant("other");
    assert_eq!(other.get("/api/v1/invocations").expect(200).json()["items"], json!([]));
    other.get(&format!("/api/v1/invocations/{probe}")).problem(404, "not_found");
    eventually("they are forgotten", Duration::from_secs(20), || list("").0.is_empty());
    acme.get(&format!("/api/v1/invocations/{probe}/result")).problem(404, "not_found");
}

#[test]
fn a_tenants_queue_is_bounded() {
    let server = Server::start_with(&["--tenant-queue-calls", "3", "--tenant-queue-mib", "1", "--async-calls", "1"]);
    let acme = with_once(&server);
    let slow = |path: &str| later(&acme, "POST", path, &[], b"");
    let ids: Vec<_> = (0..3).map(|_| accepted(slow("/fn/acme/once/slow/20000"))).collect();
    let full = slow("/fn/acme/once/x").problem(429, "rate_limited");
    assert!(!full.header("retry-after").is_empty());
    acme.delete(&format!("/api/v1/invocations/{}", ids[2])).expect(200);
    later(&acme, "POST", "/fn/acme/once/x", &[], &[7; 1 << 20]).problem(507, "storage_full");
    accepted(slow("/fn/acme/once/slow/20000"));
    // One tenant's is not another's.
    let other = server.tenant("other");
    other.put("/api/v1/plugins/once", guests::once()).expect(201);
    accepted(later(&other, "POST", "/fn/other/once/x", &[], b""));
}

#[test]
fn a_key_stands_for_one_call() {
    let server = Server::start();
    let acme = with_once(&server);
    let key = [("idempotency-key", "order-17")];
    let id = accepted(later(&acme, "POST", "/fn/acme/once/effect", &key, b"x"));
    assert_eq!(accepted(later(&acme, "POST", "/fn/acme/once/effect", &key, b"x")), id);
    ended(&acme, &id);
    assert_eq!(accepted(later(&acme, "POST", "/fn/acme/once/effect", &key, b"x")), id);
    later(&acme, "POST", "/fn/acme/once/effect", &key, b"y").problem(422, "idempotency_key_reused");
    later(&acme, "POST", "/fn/acme/once/other", &key, b"x").problem(422, "idempotency_key_reused");
    assert_eq!(acme.get("/fn/acme/once/effects").expect(200).text(), "1 1");
}

#[test]
fn the_command_line_queues_waits_lists_and_cancels() {
    let server = Server::start();
    let acme = with_once(&server);
    acme.put("/api/v1/models/tiny", &onnx::relu(4)).expect(201);
    let run = |arguments: &[&str]| aimass(&[arguments, &["--url", &server.url, "--token", &acme.token]].concat());
    let tensors = run(&["invoke", "tiny", "x=[-1,0,1,2.5]", "--async", "--wait", "--json"]);
    let tensors: Value = serde_json::from_str(&tensors).unwrap();
    assert_eq!(tensors[0]["data"], json!([0.0, 0.0, 1.0, 2.5]));
    let id = run(&["invoke", "once", "--path", "/slow/60000", "--async", "--idempotency-key", "k"]).trim().to_owned();
    assert_eq!(run(&["invoke", "once", "--path", "/slow/60000", "--async", "--idempotency-key", "k"]).trim(), id);
    assert!(run(&["invocations", "list", "--name", "once"]).contains(&id));
    assert!(run(&["invocations", "cancel", &id]).contains("cancelled"));
    let call: Value = serde_json::from_str(&run(&["invocations", "show", &id, "--json"])).unwrap();
    assert_eq!((&call["state"], &call["path"]), (&json!("cancelled"), &json!("/fn/acme/once/slow/60000")));
    let id = run(&["invoke", "once", "--path", "/x", "--async"]).trim().to_owned();
    assert_eq!(run(&["invocations", "result", &id, "--wait"]), format!("{id} 1"));
}
