//! Webhooks out: signed as Standard Webhooks has it, by the tenant's egress rules, until the endpoint takes them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::invocations::{accepted, ended, later, show};
use crate::support::{Client, Server, aimass, eventually, guests, python};

/// An endpoint that keeps what it is sent, and answers with a status.
struct Endpoint {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    messages: Arc<Mutex<Vec<Message>>>,
}

#[derive(Clone)]
struct Message {
    head: String,
    body: String,
}

impl Message {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
    }
}

impl Endpoint {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Self {
            address: listener.local_addr().unwrap(),
            status: Arc::new(AtomicU16::new(204)),
            messages: Arc::default(),
        };
        let (status, messages) = (endpoint.status.clone(), endpoint.messages.clone());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let (mut bytes, mut piece) = (vec![], [0; 8192]);
                let message = loop {
                    let Ok(read) = stream.read(&mut piece) else { break None };
                    bytes.extend_from_slice(&piece[..read]);
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let message = Message { head: head.to_owned(), body: body.to_owned() };
                    let length: usize = message.header("content-length").parse().unwrap();
                    if body.len() == length || read == 0 {
                        break Some(message);
                    }
                };
                messages.lock().unwrap().extend(message);
                let answer = format!("HTTP/1.1 {} x\r\ncontent-length: 0\r\n\r\n", status.load(Ordering::SeqCst));
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        endpoint
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn messages(&self) -> Vec<Message> {
        self.messages.lock().unwrap().clone()
    }

    fn wait(&self, count: usize) -> Vec<Message> {
        eventually("a message arrives", Duration::from_secs(60), || self.messages().len() >= count);
        self.messages()
    }
}

/// What Standard Webhooks' own library says of a message.
fn verified(secret: &str, message: &Message) -> Value {
    let headers: serde_json::Map<_, _> = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .map(|name| (name.to_owned(), Value::from(message.header(name))))
        .into_iter()
        .collect();
    let input = json!({ "secret": secret, "headers": headers, "body": message.body });
    let said = python::webhooks("webhook_verify.py", input.to_string().as_bytes());
    serde_json::from_str(&said).unwrap()
}

/// A node whose tenant `acme` may send to the endpoint, and has a webhook `done` there.
fn with_webhook(endpoint: &Endpoint) -> (Server, Client, String) {
    let private = endpoint.address.to_string();
    let server = Server::start_with(&["--egress-private", &private, "--call-attempts", "1"]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/once", guests::once()).expect(201);
    let rule = json!({ "ports": [endpoint.address.port()] });
    acme.put_json("/api/v1/egress/rules/127.0.0.1", &rule).expect(200);
    let wish = json!({ "name": "done", "url": format!("http://{}/hook", endpoint.address) });
    let made = acme.post("/api/v1/webhooks", &wish).expect(201).json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"));
    (server, acme, secret)
}

fn deliveries(client: &Client) -> Vec<Value> {
    client.get("/api/v1/webhooks/done/deliveries").expect(200).json()["items"].as_array().unwrap().clone()
}

#[test]
fn the_end_of_a_call_is_told_signed_and_the_standards_library_verifies_it() {
    let endpoint = Endpoint::start();
    let (_server, acme, secret) = with_webhook(&endpoint);
    let callback = [("aimass-callback", "done")];
    let id = accepted(later(&acme, "POST", "/fn/acme/once/effect", &callback, b""));
    ended(&acme, &id);
    assert_eq!(show(&acme, &id)["callback"], "done");
    let message = endpoint.wait(1).remove(0);
    assert!(message.head.starts_with("POST /hook HTTP/1.1"), "{}", message.head);
    let payload = verified(&secret, &message);
    assert_eq!(payload["type"], "invocation.done");
    let data = &payload["data"];
    assert_eq!((&data["id"], &data["name"], &data["status"]), (&json!(id), &json!("once"), &json!(200)), "{payload}");
    acme.get(data["result"].as_str().unwrap()).expect(200);

    let dead = accepted(later(&acme, "POST", "/fn/acme/once/flaky/9", &callback, b""));
    let payload = verified(&secret, &endpoint.wait(2)[1]);
    assert_eq!((&payload["type"], &payload["data"]["id"]), (&json!("invocation.dead"), &json!(dead)));
    assert_eq!(payload["data"]["failure"]["code"], "plugin_trap");

    // Another body, another secret and an older time are refused, by that library.
    let forged = Message { body: message.body.replace("done", "dead"), ..message.clone() };
    assert_eq!(verified(&secret, &forged), Value::Null);
    let other = acme.post("/api/v1/webhooks/done/secret", &Value::Null).expect(200).json();
    let renewed = other["secret"].as_str().unwrap();
    assert_eq!(verified(renewed, &message), Value::Null);
    // After a renewal both verify, for a while.
    acme.post("/api/v1/webhooks/done/test", &Value::Null).expect(202);
    let message = endpoint.wait(3).remove(2);
    for secret in [&secret, renewed] {
        assert_eq!(verified(secret, &message)["type"], "webhook.test");
    }
    // The secrets are nowhere to be seen again.
    assert!(acme.get("/api/v1/webhooks/done").expect(200).json()["secret"].is_null());
    later(&acme, "POST", "/fn/acme/once/x", &[("aimass-callback", "nobody")], b"").problem(404, "not_found");
    eventually("all are delivered", Duration::from_secs(20), || {
        deliveries(&acme).iter().filter(|delivery| delivery["state"] == "done").count() == 3
    });
}

#[test]
fn a_message_is_sent_again_until_it_is_taken_and_waits_while_the_endpoint_is_paused() {
    let endpoint = Endpoint::start();
    let (_server, acme, _) = with_webhook(&endpoint);
    endpoint.answer(500);
    acme.post("/api/v1/webhooks/done/test", &Value::Null).expect(202);
    let first = endpoint.wait(1).remove(0);
    eventually("the failure shows", Duration::from_secs(20), || {
        deliveries(&acme)[0]["failure"]["detail"].as_str().is_some_and(|detail| detail.contains("500"))
    });
    endpoint.answer(200);
    let second = endpoint.wait(2).remove(1);
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"), "whoever takes it twice can tell");
    eventually("it is taken", Duration::from_secs(20), || deliveries(&acme)[0]["state"] == "done");

    let patch = |change: Value| acme.send("PATCH", "/api/v1/webhooks/done", &[], change.to_string().as_bytes());
    patch(json!({ "paused": true })).expect(200);
    acme.post("/api/v1/webhooks/done/test", &Value::Null).expect(202);
    eventually("it is held", Duration::from_secs(20), || {
        deliveries(&acme).iter().any(|delivery| delivery["failure"]["code"] == "paused")
    });
    assert_eq!(endpoint.messages().len(), 2);
    patch(json!({ "paused": false })).expect(200);
    endpoint.wait(3);

    // An endpoint that wants no more gets no more.
    endpoint.answer(410);
    acme.post("/api/v1/webhooks/done/test", &Value::Null).expect(202);
    let is_dead = |delivery: &Value| delivery["state"] == "dead";
    eventually("it is given up", Duration::from_secs(20), || deliveries(&acme).iter().any(is_dead));
    let dead = deliveries(&acme).into_iter().find(is_dead).unwrap();
    endpoint.answer(200);
    let retry = format!("/api/v1/webhooks/done/deliveries/{}/retry", dead["id"].as_str().unwrap());
    acme.post(&retry, &Value::Null).expect(202);
    eventually("it is taken", Duration::from_secs(20), || !deliveries(&acme).iter().any(is_dead));
}

#[test]
fn messages_go_out_by_the_tenants_egress_rules() {
    let endpoint = Endpoint::start();
    let (_server, acme, _) = with_webhook(&endpoint);
    acme.delete("/api/v1/egress/rules/127.0.0.1").expect(204);
    acme.post("/api/v1/webhooks/done/test", &Value::Null).expect(202);
    eventually("it is refused", Duration::from_secs(20), || deliveries(&acme)[0]["failure"]["code"] == "not_allowed");
    assert!(endpoint.messages().is_empty());
    for url in ["ftp://example.com/", "example.com", "http://user@example.com/", "https://"] {
        let wish = json!({ "name": "other", "url": url });
        acme.post("/api/v1/webhooks", &wish).problem(400, "invalid_request");
    }
    let wish = json!({ "name": "done", "url": "https://example.com/" });
    acme.post("/api/v1/webhooks", &wish).problem(409, "conflict");
}

#[test]
fn the_command_line_makes_tests_pauses_and_removes_endpoints() {
    let endpoint = Endpoint::start();
    let (server, acme, secret) = with_webhook(&endpoint);
    let run = |arguments: &[&str]| aimass(&[arguments, &["--url", &server.url, "--token", &acme.token]].concat());
    let url = format!("http://{}/other", endpoint.address);
    assert!(run(&["webhooks", "create", "other", &url]).starts_with("whsec_"));
    assert_ne!(run(&["webhooks", "renew-secret", "done"]).trim(), secret);
    assert!(run(&["webhooks", "pause", "other"]).contains("paused"));
    assert!(run(&["webhooks", "list"]).contains("true"));
    run(&["webhooks", "resume", "other"]);
    run(&["webhooks", "test", "other"]);
    endpoint.wait(1);
    let id = run(&["invoke", "once", "--path", "/effect", "--async", "--callback", "other"]).trim().to_owned();
    endpoint.wait(2);
    assert!(run(&["webhooks", "deliveries", "other"]).contains(&id));
    run(&["webhooks", "delete", "other"]);
    acme.get("/api/v1/webhooks/other").problem(404, "not_found");
}
