//! `Idempotency-Key` on the writes of the platform's own API.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Client, Server, guests};

fn keyed(client: &Client, method: &str, path: &str, key: &str, body: &Value) -> Answer {
    client.send(method, path, &[("idempotency-key", key)], body.to_string().as_bytes())
}

#[test]
fn f08_the_same_key_and_the_same_request_get_the_same_answer() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::on(folder.path(), &[]);
    let acme = server.tenant("acme");
    let token = acme.token.clone();
    let wish = json!({ "subject": "ci", "scopes": ["plugins:read"] });
    let first = keyed(&acme, "POST", "/api/v1/tokens", "mint-1", &wish).expect(201);
    assert_eq!(first.header("idempotency-replayed"), "");
    // Also quoted, as structured fields have it, and also after a crash.
    for key in ["mint-1", "\"mint-1\""] {
        server.kill();
        server = Server::on(folder.path(), &[]);
        let again = keyed(&server.with(&token), "POST", "/api/v1/tokens", key, &wish).expect(201);
        assert_eq!((again.text(), again.header("idempotency-replayed")), (first.text(), "true"));
        assert_eq!(again.header("content-type"), first.header("content-type"));
    }
    let acme = server.with(&token);
    let minted = |client: &Client| client.get("/api/v1/tokens").expect(200).json()["items"].as_array().unwrap().len();
    assert_eq!(minted(&acme), 2, "this one, and the tenant's first");

    let other = json!({ "subject": "ci", "scopes": ["plugins:write"] });
    keyed(&acme, "POST", "/api/v1/tokens", "mint-1", &other).problem(422, "idempotency_key_reused");
    keyed(&acme, "POST", "/api/v1/roles", "mint-1", &wish).problem(422, "idempotency_key_reused");
    keyed(&acme, "POST", "/api/v1/tokens", "", &wish).problem(400, "invalid_request");
    keyed(&acme, "POST", "/api/v1/tokens", &"k".repeat(300), &wish).problem(400, "invalid_request");

    // Another tenant, another subject and other rights are not answered with it.
    let beta = server.tenant("beta");
    assert_ne!(keyed(&beta, "POST", "/api/v1/tokens", "mint-1", &wish).expect(201).text(), first.text());
    let weaker = server.token("acme", &["tokens:write", "plugins:read"]);
    keyed(&weaker, "POST", "/api/v1/tokens", "mint-1", &wish).problem(422, "idempotency_key_reused");
    let ci = server.with(first.json()["token"].as_str().unwrap());
    keyed(&ci, "POST", "/api/v1/tokens", "mint-1", &wish).problem(403, "insufficient_scope");
}

#[test]
fn what_was_refused_may_be_sent_again_and_deleting_twice_is_deleting_once() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let rule = json!({ "ports": [443] });
    keyed(&acme, "PUT", "/api/v1/plugins/hello/access", "a", &json!({ "public": true })).problem(404, "not_found");
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    keyed(&acme, "PUT", "/api/v1/plugins/hello/access", "a", &json!({ "public": true })).expect(200);
    keyed(&acme, "PUT", "/api/v1/egress/rules/api.example.com", "b", &rule).expect(200);
    for _ in 0..2 {
        keyed(&acme, "DELETE", "/api/v1/egress/rules/api.example.com", "c", &Value::Null).expect(204);
    }
    keyed(&acme, "DELETE", "/api/v1/egress/rules/api.example.com", "d", &Value::Null).problem(404, "not_found");
    // The operator's too, while the node runs.
    let wish = json!({ "name": "gamma" });
    for replayed in ["", "true"] {
        let made = keyed(&server.operator(), "POST", "/api/v1/tenants", "e", &wish).expect(201);
        assert_eq!(made.header("idempotency-replayed"), replayed);
    }
}

#[test]
fn of_two_at_once_one_is_done() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let wish = json!({ "subject": "ci", "scopes": ["plugins:read"] });
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let send = || keyed(&acme, "POST", "/api/v1/tokens", "at-once", &wish);
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for answer in &answers {
        assert!([201, 409].contains(&answer.status), "{}", answer.text());
    }
    std::thread::sleep(Duration::from_millis(10));
    let last = keyed(&acme, "POST", "/api/v1/tokens", "at-once", &wish).expect(201);
    assert!(answers.iter().filter(|answer| answer.status == 201).all(|answer| answer.text() == last.text()));
    assert_eq!(acme.get("/api/v1/tokens").expect(200).json()["items"].as_array().unwrap().len(), 2);
}
