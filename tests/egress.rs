//! Row 55 and its neighbours over the real binary: guests that call out, a local server as the destination.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};

use crate::support::{Client, Server, aimass, eventually, guests};

/// A server that answers by the path, and keeps the heads of what it was sent.
struct Destination {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Destination {
    fn start() -> Self {
        Self::with(|stream| Box::new(stream))
    }

    /// The same over TLS.
    fn secure(pair: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Self {
        let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = builder.unwrap().with_no_client_auth().with_single_cert(vec![pair.cert.der().clone()], key);
        let config = Arc::new(config.unwrap());
        Self::with(move |stream| {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            Box::new(rustls::StreamOwned::new(connection, stream))
        })
    }

    fn with(wrap: impl Fn(TcpStream) -> Box<dyn Stream> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, heads) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let (seen, wrap) = (heads.clone(), Arc::new(wrap));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let (seen, wrap) = (seen.clone(), wrap.clone());
                // A client that breaks off is no failure of the test.
                std::thread::spawn(move || drop(serve(&mut *wrap(stream), &seen)));
            }
        });
        Self { address, heads }
    }

    fn port(&self) -> u16 {
        self.address.port()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

trait Stream: std::io::Read + std::io::Write {}
impl<T: std::io::Read + std::io::Write> Stream for T {}

fn serve(stream: &mut dyn Stream, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut bytes = vec![];
    let mut piece = vec![0; 64 << 10];
    let head = loop {
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&piece[..read]);
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
        }
    };
    seen.lock().unwrap().push(head.clone());
    let mut body = bytes;
    if head.contains("transfer-encoding: chunked") {
        while !body.ends_with(b"0\r\n\r\n") {
            let read = stream.read(&mut piece)?;
            if read == 0 {
                return Ok(());
            }
            body.extend_from_slice(&piece[..read]);
        }
    }
    let path = head.split(' ').nth(1).unwrap();
    let answer = |bytes: usize| {
        let mut whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n").into_bytes();
        whole.resize(whole.len() + bytes, b'y');
        whole
    };
    match path {
        "/redirect" => stream
            .write_all(b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n")?,
        "/large" => stream.write_all(&answer(80 << 20))?,
        "/silent" => std::thread::sleep(Duration::from_secs(20)),
        _ => stream.write_all(&answer(100))?,
    }
    stream.flush()
}

/// What came of a guest's request.
fn sent(client: &Client, tenant: &str, url: &str, headers: &[(&str, &str)]) -> String {
    let headers = [&[("x-url", url)], headers].concat();
    client.send("GET", &format!("/fn/{tenant}/caller"), &headers, b"").expect(200).text()
}

fn with_caller(arguments: &[&str]) -> (Server, Client) {
    let server = Server::start_with(arguments);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/caller", guests::caller()).expect(201);
    (server, acme)
}

fn allow(client: &Client, host: &str, wish: &Value) {
    client.put_json(&format!("/api/v1/egress/rules/{host}"), wish).expect(200);
}

/// The hour that is counted now.
fn used(client: &Client) -> Value {
    let usage = client.get("/api/v1/usage").expect(200).json();
    usage["items"].as_array().unwrap().last().cloned().unwrap_or_default()
}

#[test]
fn f55_no_rule_opens_the_inside_and_no_packet_leaves() {
    let destination = Destination::start();
    let port = destination.port();
    let (server, acme) = with_caller(&[]);
    let spelled = [
        ("127.0.0.1", "DestinationIpProhibited"),
        ("localhost", "DestinationIpProhibited"),
        ("0.0.0.0", "DestinationIpProhibited"),
        ("169.254.169.254", "DestinationIpProhibited"),
        ("[::ffff:127.0.0.1]", "DestinationIpProhibited"),
        ("[::1]", "DestinationIpProhibited"),
        ("2130706433", "HttpRequestUriInvalid"),
        ("0x7f000001", "HttpRequestUriInvalid"),
        ("0177.0.0.1", "HttpRequestUriInvalid"),
        ("127.1", "HttpRequestUriInvalid"),
    ];
    for (host, _) in spelled {
        // Without a rule nothing is even looked up.
        let refused = sent(&acme, "acme", &format!("http://{host}:{port}/"), &[]);
        assert!(
            refused.contains("HttpRequestDenied") || refused.contains("HttpRequestUriInvalid"),
            "{host}: {refused}"
        );
    }
    for (host, expected) in spelled {
        let rule = acme.put_json(&format!("/api/v1/egress/rules/{host}"), &json!({ "ports": [port] }));
        // A host that is no host gets no rule.
        assert_eq!(rule.status, if expected == "HttpRequestUriInvalid" { 400 } else { 200 }, "{host}: {}", rule.text());
        let refused = sent(&acme, "acme", &format!("http://{host}:{port}/"), &[]);
        assert!(refused.contains(expected), "{host}: {refused}");
    }
    assert_eq!(destination.heads(), Vec::<String>::new());
    let hour = used(&acme);
    assert_eq!(hour["transfers"], json!([]), "{hour}");
    assert_eq!((&hour["refused"]["not_allowed"], &hour["refused"]["forbidden_address"]), (&json!(6), &json!(6)));
    assert_eq!(hour["refused"]["invalid_destination"], 8);
    server.anonymous().get("/healthz").expect(200);
}

#[test]
fn f26_what_a_guest_sends_says_how_many_calls_stand_above() {
    let destination = Destination::start();
    let (_server, acme) = with_caller(&["--egress-private", &destination.address.to_string()]);
    allow(&acme, "127.0.0.1", &json!({ "ports": [destination.port()] }));
    sent(&acme, "acme", &destination.url("/"), &[]);
    sent(&acme, "acme", &destination.url("/"), &[("aimass-call-depth", "6")]);
    let depth =
        |head: &String| head.lines().find_map(|line| line.strip_prefix("aimass-call-depth: ").map(str::to_owned));
    let depths: Vec<_> = destination.heads().iter().map(depth).collect();
    // A seventh may still call, and what it calls may not.
    assert_eq!(depths, [Some("1".to_owned()), Some("7".to_owned())]);
}

#[test]
fn a_guest_sends_what_its_tenants_rules_allow_and_is_counted() {
    let destination = Destination::start();
    let private = destination.address.to_string();
    let (server, acme) = with_caller(&["--egress-private", &private]);
    let other = server.tenant("other");
    other.put("/api/v1/plugins/caller", guests::caller()).expect(201);
    allow(&acme, "127.0.0.1", &json!({ "ports": [destination.port()], "methods": ["GET", "POST"] }));

    let answer = sent(&acme, "acme", &destination.url("/a?b=c"), &[]);
    assert!(answer.starts_with("status 200  whole 100 bytes"), "{answer}");
    let subjects = [("x-method", "POST"), ("x-size", "70000"), ("x-subjects", "anna, bert"), ("x-times", "2")];
    assert!(sent(&acme, "acme", &destination.url("/"), &subjects).starts_with("status 200"));
    sent(&acme, "acme", &destination.url("/"), &[("x-subjects", "bert,carl")]);
    let heads = destination.heads();
    assert!(heads[0].starts_with("GET /a?b=c HTTP/1.1\r\n"), "{}", heads[0]);
    assert!(heads[0].contains(&format!("host: {private}\r\n")), "{}", heads[0]);
    assert!(heads.iter().all(|head| !head.contains("aimass-subjects") && !head.contains("anna")), "{heads:?}");

    // Another method, another port, another tenant.
    for refused in [
        sent(&acme, "acme", &destination.url("/"), &[("x-method", "DELETE")]),
        sent(&acme, "acme", "http://127.0.0.1:1/", &[]),
        sent(&other, "other", &destination.url("/"), &[]),
    ] {
        assert!(refused.contains("HttpRequestDenied"), "{refused}");
    }
    // A redirect is an answer, and what it leads to is not asked for.
    let redirect = sent(&acme, "acme", &destination.url("/redirect"), &[]);
    assert!(redirect.starts_with("status 302 http://169.254.169.254/latest"), "{redirect}");

    let hour = used(&acme);
    let flow = json!({ "from": "local", "to": "local", "records": 5, "bytes_sent": 140_000, "bytes_received": 400,
                       "subjects": 3 });
    assert_eq!(hour["transfers"], json!([flow]), "{hour}");
    assert_eq!(hour["refused"], json!({ "not_allowed": 2 }));
    assert_eq!(hour["functions"], 6);
    assert_eq!(used(&other)["refused"], json!({ "not_allowed": 1 }));
    acme.delete("/api/v1/egress/rules/127.0.0.1").expect(204);
    assert!(sent(&acme, "acme", &destination.url("/"), &[]).contains("HttpRequestDenied"));
}

#[test]
fn a_call_sends_and_receives_within_its_budget_and_its_deadline() {
    let destination = Destination::start();
    let (server, acme) = with_caller(&["--call-seconds", "4", "--egress-private", &destination.address.to_string()]);
    allow(&acme, "127.0.0.1", &json!({ "ports": [destination.port()] }));
    let many = sent(&acme, "acme", &destination.url("/"), &[("x-times", "51")]);
    assert!(many.contains("ConnectionLimitReached"), "{many}");
    assert_eq!(destination.heads().len(), 50);
    let much = sent(&acme, "acme", &destination.url("/"), &[("x-method", "POST"), ("x-size", "70000000")]);
    assert!(much.contains("HttpRequestBodySize(Some(67108864))"), "{much}");
    let large = sent(&acme, "acme", &destination.url("/large"), &[]);
    assert!(large.contains("broken off"), "{large}");
    // The call's deadline covers what it waits for.
    let started = std::time::Instant::now();
    let late = acme.send("GET", "/fn/acme/caller", &[("x-url", &destination.url("/silent"))], b"");
    assert!(late.status == 504 || late.text().contains("HttpResponseTimeout"), "{}", late.text());
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    server.anonymous().get("/healthz").expect(200);
}

#[test]
fn https_is_spoken_with_who_the_roots_vouch_for() {
    let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (trusted, stranger) = (made("localhost"), made("localhost"));
    let (good, bad) = (Destination::secure(&trusted), Destination::secure(&stranger));
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), trusted.cert.pem()).unwrap();
    let private = format!("localhost:{},localhost:{}", good.port(), bad.port());
    let (_server, acme) =
        with_caller(&["--egress-private", &private, "--egress-roots", roots.path().to_str().unwrap()]);
    allow(&acme, "localhost", &json!({ "ports": [good.port(), bad.port()] }));
    let answer = sent(&acme, "acme", &format!("https://localhost:{}/", good.port()), &[]);
    assert!(answer.starts_with("status 200"), "{answer}");
    let refused = sent(&acme, "acme", &format!("https://localhost:{}/", bad.port()), &[]);
    assert!(refused.contains("TlsCertificateError"), "{refused}");
    assert_eq!((good.heads().len(), bad.heads().len()), (1, 0));
}

#[test]
fn data_leaves_its_region_only_by_a_rule_and_usage_outlives_the_server() {
    let destination = Destination::start();
    let port = destination.port();
    let private = format!("127.0.0.1:{port},localhost:{port}");
    let arguments = ["--region", "eu", "--egress-private", &private];
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on(folder.path(), &arguments);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/caller", guests::caller()).expect(201);
    let unlabelled = acme.put_json("/api/v1/egress/rules/localhost", &json!({ "ports": [port] }));
    unlabelled.problem(400, "invalid_request");
    allow(&acme, "127.0.0.1", &json!({ "ports": [port], "region": "eu" }));
    allow(&acme, "localhost", &json!({ "ports": [port], "region": "us" }));
    let (near, far) = (destination.url("/"), format!("http://localhost:{port}/"));

    assert!(sent(&acme, "acme", &near, &[]).starts_with("status 200"));
    let refused = sent(&acme, "acme", &far, &[]);
    assert!(refused.contains("transfer_not_permitted"), "{refused}");
    assert!(refused.contains("`eu`") && refused.contains("`us`"), "{refused}");
    assert_eq!(destination.heads().len(), 1, "nothing was sent");

    let run = |arguments: &[&str]| aimass(&[&["--url", &server.url, "--token", &acme.token], arguments].concat());
    run(&["egress", "transfers", "allow", "eu", "us", "--purpose", "support"]);
    assert!(sent(&acme, "acme", &far, &[("x-subjects", "anna")]).starts_with("status 200"));
    // Data of another region has no such rule.
    run(&["egress", "region", "ch"]);
    assert!(sent(&acme, "acme", &near, &[]).contains("`ch`"));
    run(&["egress", "region", "default"]);
    run(&["egress", "transfers", "deny", "eu", "us"]);
    assert!(sent(&acme, "acme", &far, &[]).contains("transfer_not_permitted"));

    let before = used(&acme);
    let recorded = server.operator().get("/api/v1/tenants/acme/usage").expect(200).json();
    assert_eq!(recorded["items"][0], before, "the operator sees the running hour as well");
    // It is written within ten seconds.
    std::thread::sleep(Duration::from_secs(12));
    // The audit log tells who made rules, and what was refused, once and not a line for each.
    let told = |query: &str, kind: &str| -> Vec<String> {
        let audit = acme.get(&format!("/api/v1/audit{query}")).expect(200).json();
        let rows = audit["items"].as_array().unwrap().iter().filter(|row| row["kind"] == kind);
        rows.map(|row| row["object"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(told("", "transfer_allowed"), ["eu to us"]);
    assert_eq!(told("", "egress_allowed"), ["127.0.0.1", "localhost"]);
    eventually("the refusals are in the journal", Duration::from_secs(30), || {
        told("", "egress_refused").iter().any(|what| what.contains("caller: data of the region `eu`"))
    });
    assert!(told("", "egress_refused").len() <= 3, "not a line for each");
    assert!(told("", "usage_recorded").is_empty() && !told("?kind=usage_recorded", "usage_recorded").is_empty());
    // As a power cut would end it.
    server.kill();
    let server = Server::on(folder.path(), &arguments);
    let acme = server.with(&acme.token);
    let after = used(&acme);
    assert_eq!(before, after);
    let flows = after["transfers"].as_array().unwrap();
    assert_eq!((&flows[1]["from"], &flows[1]["to"], &flows[1]["subjects"]), (&json!("eu"), &json!("us"), &json!(1)));
    assert_eq!(after["refused"], json!({ "transfer_not_permitted": 3 }));
    // It counts on where it stopped.
    assert!(sent(&acme, "acme", &near, &[]).starts_with("status 200"));
    assert_eq!(used(&acme)["transfers"][0]["records"], 2);
}

#[test]
fn the_command_line_manages_rules_and_shows_usage() {
    let (server, acme) = with_caller(&[]);
    let run = |arguments: &[&str]| aimass(&[&["--url", &server.url, "--token", &acme.token], arguments].concat());
    assert!(run(&["egress", "list"]).contains("there are none"));
    run(&["egress", "allow", "*.Example.com", "--port", "443", "--port", "8443", "--method", "get", "--region", "us"]);
    let listed = run(&["egress", "list"]);
    assert!(listed.contains("*.example.com") && listed.contains("443 8443") && listed.contains("GET"), "{listed}");
    let rules: Value = serde_json::from_str(&run(&["egress", "list", "--json"])).unwrap();
    assert_eq!(rules[0]["region"], "us");
    run(&["egress", "transfers", "allow", "local", "us", "--purpose", "why not"]);
    assert!(run(&["egress", "transfers", "list"]).contains("why not"));
    assert!(run(&["egress", "region"]).contains("local"));
    run(&["egress", "deny", "*.example.com"]);
    assert!(run(&["egress", "list"]).contains("there are none"));
    assert!(run(&["usage"]).contains("nothing was used"));
    sent(&acme, "acme", "http://example.com/", &[]);
    let usage = run(&["usage"]);
    assert!(usage.contains("FUNCTIONS") && usage.contains("not_allowed"), "{usage}");
    // Rules are of the tenant, and who may only read them cannot make them.
    let reader = server.token("acme", &["egress:read"]);
    reader.put_json("/api/v1/egress/rules/example.com", &json!({ "ports": [443] })).problem(403, "insufficient_scope");
    for bad in [json!({ "ports": [] }), json!({ "ports": [0] }), json!({ "ports": [1], "methods": ["get"] })] {
        acme.put_json("/api/v1/egress/rules/example.com", &bad).problem(400, "invalid_request");
    }
    for bad in ["*", "*.com", "a..b", "10.1", "0x7f.1"] {
        let wish = json!({ "ports": [443] });
        acme.put_json(&format!("/api/v1/egress/rules/{bad}"), &wish).problem(400, "invalid_request");
    }
}
