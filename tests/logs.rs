//! What a plugin's calls log: a page of it, a stream of it, and whose it is.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Server, aimass, binary, eventually, guests};

/// The newest lines, the newest first.
fn lines(client: &Client, query: &str) -> Vec<Value> {
    let page = client.get(&format!("/api/v1/plugins/probe/logs{query}")).expect(200).json();
    page["items"].as_array().unwrap().clone()
}

fn with_probe() -> (Server, Client) {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    (server, acme)
}

/// A stream of events, line by line.
fn events(server: &Server, client: &Client, query: &str, last: Option<&str>) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
    let head = format!(
        "GET /api/v1/plugins/probe/logs{query} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         accept: text/event-stream\r\n{last}\r\n",
        client.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).unwrap();
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    reader
}

/// The next event: its id and its data.
fn event(reader: &mut impl BufRead) -> (String, Value) {
    let (mut id, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream ended");
        if let Some(text) = line.strip_prefix("id: ") {
            text.trim().clone_into(&mut id);
        }
        if let Some(data) = line.strip_prefix("data: ") {
            return (id, serde_json::from_str(data).unwrap());
        }
    }
}

#[test]
fn a_failing_plugins_log_says_why_and_each_call_leaves_a_line() {
    let (server, acme) = with_probe();
    acme.get("/fn/acme/probe/fine").expect(200);
    let failed = acme.get("/fn/acme/probe/panic").expect(502);
    let id = failed.header("x-request-id").to_owned();

    let of_it = lines(&acme, &format!("?request_id={id}"));
    let call = &of_it[0];
    assert_eq!((&call["kind"], &call["level"], &call["version"]), (&json!("call"), &json!("error"), &json!(1)));
    assert_eq!(call["call"]["code"], "plugin_trap");
    assert!(call["text"].as_str().unwrap().starts_with("failed with plugin_trap after "), "{call}");
    assert!(call["text"].as_str().unwrap().contains("wasm backtrace"), "its own frames: {call}");
    let words =
        of_it.iter().find(|line| line["context"] == "stderr" && line["text"].as_str().unwrap().contains("told"));
    assert_eq!(words.expect("what it said as it panicked")["level"], "warn");

    let fine = lines(&acme, "?text=ANSWERED");
    assert_eq!(
        (fine.len(), &fine[0]["call"]["status"], &fine[0]["level"]),
        (1, &json!(200), &json!("info")),
        "{fine:?}"
    );
    assert!(fine[0]["call"]["duration_ms"].as_f64().unwrap() > 0.0);
    assert!(lines(&acme, "?level=error").iter().all(|line| line["level"] == "error"));
    acme.get("/api/v1/plugins/probe/logs?level=loud").problem(400, "invalid_request");
    acme.get("/api/v1/plugins/probe/logs?after=x").problem(400, "invalid_request");

    // Page by page, the newest first.
    let first = acme.get("/api/v1/plugins/probe/logs?limit=2").expect(200).json();
    let rest = lines(&acme, &format!("?after={}", first["next"].as_str().unwrap()));
    let all = lines(&acme, "");
    assert_eq!([first["items"].as_array().unwrap().clone(), rest].concat(), all);

    // Nobody else's.
    let other = server.tenant("other");
    other.get("/api/v1/plugins/probe/logs").problem(404, "not_found");
    other.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    assert!(lines(&other, "").is_empty());
    // A name that is deleted and comes again begins anew.
    acme.delete("/api/v1/plugins/probe").expect(204);
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    assert!(lines(&acme, "").is_empty());
}

#[test]
fn a_caller_that_leaves_is_told_of_and_a_streamed_answer_ends_once() {
    let (server, acme) = with_probe();
    let mut call = TcpStream::connect(server.address()).unwrap();
    let head =
        format!("GET /fn/acme/probe/endless HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", acme.token);
    call.write_all(head.as_bytes()).unwrap();
    call.read_exact(&mut [0; 1000]).unwrap();
    drop(call);
    eventually("the call is over", Duration::from_secs(10), || !lines(&acme, "?text=caller+left").is_empty());
    assert_eq!(lines(&acme, "").len(), 1);
}

#[test]
fn lines_come_as_they_are_said_and_a_reader_goes_on_where_it_was() {
    let (server, acme) = with_probe();
    acme.get("/fn/acme/probe/before").expect(200);
    let mut reader = events(&server, &acme, "?limit=1", None);
    let (first, line) = event(&mut reader);
    assert_eq!(line["call"]["status"], 200);
    acme.get("/fn/acme/probe/panic").expect(502);
    let mut ids = vec![];
    let failed = loop {
        let (id, line) = event(&mut reader);
        ids.push(id);
        if line["kind"] == "call" {
            break line;
        }
    };
    assert_eq!(failed["call"]["code"], "plugin_trap");
    drop(reader);
    // Everything behind the first one again, and no more.
    let mut again = events(&server, &acme, "", Some(&first));
    for id in &ids {
        assert_eq!(event(&mut again).0, *id);
    }
    // The plugin goes, and so does the stream.
    acme.delete("/api/v1/plugins/probe").expect(204);
    let mut rest = String::new();
    again.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("data:"), "{rest}");
}

#[test]
fn f22_a_reader_that_is_slow_loses_lines_and_is_told_how_many() {
    let server = Server::start_with(&["--log-memory-mib", "1"]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    acme.get("/fn/acme/probe/before").expect(200);
    let first = lines(&acme, "")[0]["id"].as_str().unwrap().to_owned();
    let memory = server.figure("VmRSS");
    for _ in 0..5 {
        acme.get("/fn/acme/probe/shout").expect(200);
    }
    // The last call's own line comes behind its answer.
    eventually("the last call has ended", Duration::from_secs(10), || {
        lines(&acme, "?limit=1")[0]["kind"] == "call" && lines(&acme, "?limit=1")[0]["id"] != first.as_str()
    });
    let mut reader = events(&server, &acme, "", Some(&first));
    let (id, lost) = event(&mut reader);
    assert_eq!(id, "", "{lost}");
    // Five calls of a thousand lines, a note on those that were dropped, and the call's end.
    let kept = lines(&acme, "?limit=1000").len() as u64;
    assert_eq!(lost["lost"].as_u64().unwrap() + kept, 5 * 1002, "{lost} and {kept}");
    assert!(server.figure("VmRSS") < memory + (24 << 10));
}

#[test]
fn a_token_that_is_revoked_ends_its_stream() {
    let (server, acme) = with_probe();
    let minted = json!({ "subject": "x", "scopes": ["plugins:read"] });
    let minted = acme.post("/api/v1/tokens", &minted).expect(201).json();
    let reader = server.with(minted["token"].as_str().unwrap());
    let mut stream = events(&server, &reader, "", None);
    acme.delete(&format!("/api/v1/tokens/{}", minted["jti"].as_str().unwrap())).expect(204);
    acme.get("/fn/acme/probe/one").expect(200);
    acme.get("/fn/acme/probe/two").expect(200);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("data:"), "{rest}");
}

#[test]
fn the_command_line_shows_and_follows() {
    let (server, acme) = with_probe();
    let failed = acme.get("/fn/acme/probe/panic").expect(502);
    let id = failed.header("x-request-id").to_owned();
    let of = |more: &[&str]| {
        let fixed = ["--url", &server.url, "--token", &acme.token, "logs", "probe"];
        aimass(&[&fixed[..], more].concat())
    };
    let shown = of(&["--request", &id, "--level", "error"]);
    assert!(shown.contains("ERROR  v1  [call]  failed with plugin_trap after "), "{shown}");
    let json: Value = serde_json::from_str(&of(&["--since", "1h", "--json"])).unwrap();
    assert!(json.as_array().unwrap().len() > 1);
    assert_eq!(of(&["--text", "no such words"]).trim(), "there are none");

    let mut follow = Command::new(binary())
        .args(["--url", &server.url, "--token", &acme.token, "logs", "probe", "-f", "-n", "0", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(follow.stdout.take().unwrap());
    // It is there when the first line that is said comes through.
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                acme.get("/fn/acme/probe/live").expect(200);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["call"]["status"], 200);
    });
    follow.kill().unwrap();
    follow.wait().unwrap();
}
