//! The Web console's pages for what goes on by itself: logs, triggers, asynchronous calls, files, jobs, quotas.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::console::{Visitor, chromium};
use crate::invocations::{accepted, ended, later};
use crate::support::{ALL_SCOPES, Client, Server, eventually, guests, onnx, python, root};

/// The columns of a row.
const EIGHT: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// A tenant that has something of everything: the ids of a run, of a call and of a job.
fn with_work(server: &Server) -> (Client, String, String, String) {
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/once", guests::once()).expect(201);
    acme.put("/api/v1/models/table", &onnx::table_net()).expect(201);
    let hourly = json!({ "on": { "cron": { "schedule": "@hourly" } }, "run": { "function": { "plugin": "once" } } });
    acme.put_json("/api/v1/triggers/nightly", &hourly).expect(201);
    acme.put_json("/api/v1/triggers/incoming", &json!({ "on": { "webhook": {} }, "run": hourly["run"] })).expect(201);
    let run = acme.post("/api/v1/triggers/nightly/fire", &json!({})).expect(202).json()["id"].clone();
    let call = accepted(later(&acme, "POST", "/fn/acme/once/hello", &[], b""));
    ended(&acme, &call);
    acme.post("/api/v1/webhooks", &json!({ "name": "done", "url": "https://hooks.example.com/" })).expect(201);
    acme.put("/api/v1/files/rows.csv", b"a,b,c,d,e,f,g,h\n1,2,3,4,5,6,7,8\n").expect(201);
    let wish = json!({
        "kind": "batch", "target": "table", "input": "rows.csv", "output": "scores.csv",
        "columns": { "x": EIGHT },
    });
    let job = acme.post("/api/v1/jobs", &wish).expect(202).json()["id"].clone();
    let job = job.as_str().unwrap().to_owned();
    eventually("the job ends", Duration::from_secs(60), || {
        acme.get(&format!("/api/v1/jobs/{job}")).expect(200).json()["state"] == "done"
    });
    (acme, run.as_str().unwrap().to_owned(), call, job)
}

/// Pages, with the scope that each takes.
const PAGES: &[(&str, &str)] = &[
    ("/console/plugins/once/logs", "plugins:read"),
    ("/console/plugins/once/logs/events", "plugins:read"),
    ("/console/triggers", "triggers:read"),
    ("/console/triggers/nightly", "triggers:read"),
    ("/console/webhooks", "webhooks:read"),
    ("/console/webhooks/done", "webhooks:read"),
    ("/console/files", "data:read"),
    ("/console/files/rows.csv", "data:read"),
    ("/console/jobs", "jobs:read"),
    ("/console/jobs/JOB", "jobs:read"),
    ("/console/jobs/JOB/events", "jobs:read"),
];

/// What they send, with the scope that each takes. What is sent would be taken from who may.
const WRITES: &[(&str, &str, &str)] = &[
    ("/console/triggers", "on=cron&name=x&schedule=%40daily&zone=UTC&runs=function&target=once", "triggers:write"),
    ("/console/triggers/nightly/fire", "", "triggers:write"),
    ("/console/triggers/nightly/pause", "", "triggers:write"),
    ("/console/triggers/nightly/resume", "", "triggers:write"),
    ("/console/triggers/incoming/secret", "", "triggers:write"),
    ("/console/triggers/nightly/runs/RUN/replay", "", "triggers:write"),
    ("/console/triggers/nightly/delete", "", "triggers:write"),
    ("/console/webhooks", "name=x&url=nowhere", "webhooks:write"),
    ("/console/webhooks/done/test", "", "webhooks:write"),
    ("/console/webhooks/done/pause", "", "webhooks:write"),
    ("/console/webhooks/done/resume", "", "webhooks:write"),
    ("/console/webhooks/done/secret", "", "webhooks:write"),
    ("/console/webhooks/done/deliveries/msg_1/retry", "", "webhooks:write"),
    ("/console/webhooks/done/delete", "", "webhooks:write"),
    ("/console/files/rows.csv/delete", "", "data:write"),
    (
        "/console/jobs",
        "target=table&input=rows.csv&output=x.csv&columns=x%3Da%2Cb%2Cc%2Cd%2Ce%2Cf%2Cg%2Ch",
        "jobs:write",
    ),
    ("/console/jobs/JOB/cancel", "", "jobs:write"),
];

#[test]
fn what_goes_on_by_itself_is_its_tenants_alone() {
    let server = Server::start();
    let (acme, run, call, job) = with_work(&server);
    let other = Visitor::sign_in(&server, &server.tenant("other").token);
    let operator = Visitor::sign_in(&server, &server.operator().token);
    let own = Visitor::sign_in(&server, &acme.token);
    let named = |path: &str| path.replace("JOB", &job).replace("RUN", &run);
    let without = |missing: &[&str]| {
        let scopes: Vec<&str> = ALL_SCOPES.iter().copied().filter(|scope| !missing.contains(scope)).collect();
        Visitor::sign_in(&server, &server.token("acme", &scopes).token)
    };
    for (path, scope) in PAGES {
        let path = &named(path);
        assert!(without(&[scope]).get(path).expect(403).text().contains(scope), "{path}");
        operator.get(path).expect(403);
        // Lines come without an end.
        if !path.ends_with("/logs/events") {
            own.get(path).expect(200);
        }
        let theirs = other.get(path);
        let is_list = ["/triggers", "/webhooks", "/files", "/jobs"].iter().any(|end| path.ends_with(end));
        assert_eq!(theirs.status, if is_list { 200 } else { 404 }, "{path} as another tenant");
        for secret in ["nightly", "rows.csv", "once", job.as_str()] {
            assert!(!is_list || !theirs.text().contains(&format!("/{secret}")), "{path} shows {secret}");
        }
    }
    for (path, fields, scope) in WRITES {
        let path = &named(path);
        without(&[scope]).post(path, fields).expect(403);
        operator.post(path, fields).expect(403);
        // A trigger of what is not there is no trigger, and nowhere is no address.
        let is_wrong = ["/console/triggers", "/console/webhooks"].contains(&path.as_str());
        assert_eq!(other.post(path, fields).status, if is_wrong { 400 } else { 404 }, "{path}");
    }
    // Calls take one of two scopes, as in the API.
    let call = format!("/console/calls/{call}");
    let weak = without(&["plugins:invoke", "models:invoke"]);
    for path in ["/console/calls", &call] {
        weak.get(path).expect(403);
        operator.get(path).expect(403);
        without(&["plugins:invoke"]).get(path).expect(200);
    }
    for act in ["cancel", "retry"] {
        weak.post(&format!("{call}/{act}"), "").expect(403);
        other.post(&format!("{call}/{act}"), "").expect(404);
        assert!(own.post(&format!("{call}/{act}"), "").expect(409).text().contains("alert"), "it has ended");
    }
    other.get(&call).expect(404);
    assert!(!other.get("/console/calls").expect(200).text().contains("/console/calls/"));
    let stored = other.script("/console/files/rows.csv/upload", &[], b"a\n1\n").expect(201).json();
    assert_eq!(stored["size"], 4, "its own");
    without(&["data:write"]).script("/console/files/rows.csv/upload", &[], b"x").expect(403);

    // Nothing that was refused has happened.
    let trigger = acme.get("/api/v1/triggers/nightly").expect(200).json();
    assert_eq!((&trigger["paused"], &trigger["runs"]), (&json!(false), &json!(1)));
    assert_eq!(acme.get("/api/v1/triggers").expect(200).json()["items"].as_array().unwrap().len(), 2);
    assert!(acme.get("/api/v1/files/rows.csv").expect(200).text().starts_with("a,b,c"));
    assert_eq!(acme.get("/api/v1/jobs").expect(200).json()["items"].as_array().unwrap().len(), 1);
    let endpoints = acme.get("/api/v1/webhooks").expect(200).json();
    assert_eq!((&endpoints["items"][0]["name"], &endpoints["items"][0]["paused"]), (&json!("done"), &json!(false)));
    assert!(endpoints["items"][1].is_null());

    // A run that begins a job leads to it, and both say what they are.
    let work = json!({ "target": "table", "input": "rows.csv", "output": "{run}.csv", "columns": { "x": EIGHT } });
    let weekly = json!({ "on": { "cron": { "schedule": "0 0 * * 0" } }, "run": { "batch": work } });
    acme.put_json("/api/v1/triggers/weekly", &weekly).expect(201);
    let run = acme.post("/api/v1/triggers/weekly/fire", &json!({})).expect(202).json()["id"].clone();
    let run = run.as_str().unwrap();
    assert_eq!(ended(&acme, run)["state"], "done");
    assert!(own.get("/console/triggers/weekly").expect(200).text().contains("a job: <code>table</code>"));
    assert!(own.get(&format!("/console/calls/{run}")).expect(200).text().contains(&format!("/console/jobs/{run}")));
    assert!(own.get(&format!("/console/jobs/{run}")).expect(200).text().contains(&format!("{run}.csv")));

    // What a token may not do is not offered.
    let reader = server.token("acme", &["triggers:read", "data:read", "jobs:read", "plugins:read"]);
    let reader = Visitor::sign_in(&server, &reader.token);
    for path in ["/console/triggers", "/console/triggers/nightly", "/console/files", "/console/jobs"] {
        let page = reader.get(path).expect(200).text();
        let main = page.split("<main").nth(1).unwrap();
        assert!(!main.contains("<form") && !main.contains("<button"), "{path}: {main}");
        assert!(!page.contains("/console/calls") && !page.contains("/console/usage"), "{path}");
    }
}

#[test]
fn files_come_out_as_files_and_what_is_written_is_what_the_api_shows() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/once", guests::once()).expect(201);
    let visitor = Visitor::sign_in(&server, &acme.token);
    // A file that is a page: it is kept, not opened, and under the console's policy.
    visitor.script("/console/files/page.html/upload", &[], b"<script>alert(1)</script>").expect(201);
    let fetched = visitor.get("/console/files/page.html").expect(200);
    assert_eq!(fetched.header("content-disposition"), "attachment; filename=\"page.html\"");
    assert_eq!(fetched.header("content-type"), "application/octet-stream");
    assert_eq!(fetched.header("x-content-type-options"), "nosniff");
    assert!(fetched.header("content-security-policy").starts_with("default-src 'none'"));
    let refused = visitor.script("/console/files/..%2Fx/upload", &[], b"x").expect(400);
    assert!(refused.text().contains("alert"), "{}", refused.text());

    let wish = "on=cron&name=nightly&schedule=30+2+*+*+*&zone=Europe%2FBerlin&late=0&runs=function&target=once&method=PUT&path=%2Feffect&body=hi";
    visitor.post("/console/triggers", wish).expect(303);
    let trigger = acme.get("/api/v1/triggers/nightly").expect(200).json();
    let cron = json!({ "schedule": "30 2 * * *", "time_zone": "Europe/Berlin", "catch_up_seconds": 0 });
    assert_eq!(trigger["on"], json!({ "cron": cron }));
    let function = json!({ "plugin": "once", "method": "PUT", "path": "/effect", "body": "hi" });
    assert_eq!(trigger["run"], json!({ "function": function }));
    let again = visitor.post("/console/triggers", wish).expect(409).text();
    assert!(again.contains("there is a trigger `nightly` already"), "{again}");
    visitor.post("/console/triggers/nightly/pause", "").expect(303);
    assert_eq!(acme.get("/api/v1/triggers/nightly").expect(200).json()["paused"], true);
    let made = visitor.post("/console/triggers", "on=webhook&name=incoming&runs=event&target=once").expect(200).text();
    let secret = made.split("id=\"secret\">").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
    assert!(secret.starts_with("whsec_") && made.contains("/hooks/acme/incoming"), "{made}");
    assert!(!visitor.get("/console/triggers/incoming").expect(200).text().contains(secret), "shown once");
    let hostile =
        visitor.post("/console/triggers", "on=cron&name=x&schedule=%3Cscript%3E&zone=UTC&runs=event&target=once");
    assert!(!hostile.expect(400).text().contains("<script>"), "escaped");

    // The newest call comes first, whatever its caller calls it.
    for id in ["1.first", "2.second"] {
        later(&acme, "POST", "/fn/acme/once/hello", &[("x-request-id", id)], b"").expect(202);
    }
    let page = visitor.get("/console/calls?name=once").expect(200).text();
    let at = |id: &str| page.find(&format!("/console/calls/{id}")).unwrap();
    assert!(at("2.second") < at("1.first"), "{page}");
    let listed = acme.get("/api/v1/invocations?newest_first=true&limit=1").expect(200).json();
    assert_eq!((&listed["items"][0]["id"], &listed["next"]), (&json!("2.second"), &json!("2.second")));
    let before = acme.get("/api/v1/invocations?newest_first=true&after=2.second").expect(200).json();
    assert_eq!(before["items"][0]["id"], "1.first");
}

#[test]
fn lines_come_until_the_session_ends() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/once", guests::once()).expect(201);
    let visitor = Visitor::sign_in(&server, &acme.token);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "GET /console/plugins/once/logs/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\ncookie: {}\r\n\r\n",
        visitor.cookie
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    acme.get("/fn/acme/once/hello").expect(200);
    while !line.starts_with("data: ") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream ended");
    }
    assert!(line.contains("answered 200") && line.contains("<div class=\"line info\">"), "{line}");
    visitor.post("/console/sign-out", "").expect(303);
    acme.get("/fn/acme/once/hello").expect(200);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("data: <div"), "{rest}");
}

#[test]
fn a_person_watches_work_in_a_browser() {
    let Some(chromium) = chromium() else {
        println!("skipped: there is no chromium here (apt-get install chromium)");
        return;
    };
    let server = Server::start_with(&["--call-attempts", "2"]);
    let (acme, operator) = (server.tenant("acme"), server.operator());
    acme.put("/api/v1/plugins/once", guests::once()).expect(201);
    acme.put("/api/v1/models/table", &onnx::table_net()).expect(201);
    let limits = json!({ "storage_mib": 1, "plugins": 1, "compute_seconds_per_day": 3_600 });
    let json = [("content-type", "application/json")];
    operator.send("PATCH", "/api/v1/tenants/acme/limits", &json, limits.to_string().as_bytes()).expect(200);
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("rows.csv");
    let numbers = |row: usize| (0..8).map(|i| ((row + i) % 97).to_string()).collect::<Vec<_>>().join(",");
    let text: String = (0..10_000).map(|row| format!("{}\n", numbers(row))).collect();
    std::fs::write(&rows, format!("a,b,c,d,e,f,g,h\n{text}")).unwrap();
    let shots = root().join("target/console");
    std::fs::create_dir_all(&shots).unwrap();
    let said = python::browser(
        "console_pages.py",
        &[
            chromium.to_str().unwrap(),
            &server.url,
            &acme.token,
            &operator.token,
            shots.to_str().unwrap(),
            rows.to_str().unwrap(),
        ],
    );
    println!("{said}");
    // What was done there is there.
    let trigger = acme.get("/api/v1/triggers/nightly").expect(200).json();
    assert_eq!((&trigger["paused"], &trigger["runs"]), (&json!(false), &json!(2)), "{trigger}");
    acme.get("/api/v1/triggers/incoming").expect(404);
    let jobs = acme.get("/api/v1/jobs").expect(200).json();
    let states: Vec<_> = jobs["items"].as_array().unwrap().iter().map(|job| &job["state"]).collect();
    assert_eq!(states, ["done", "cancelled"], "{jobs}");
    acme.get("/api/v1/files/scores.csv").expect(404);
}
