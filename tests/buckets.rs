//! Triggers on buckets, against a real storage that checks signatures: moto's server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Child;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Server, aimass_with, eventually, guests, python};

/// A storage with the bucket `incoming`, which ends with the test.
struct Storage {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
    endpoint: String,
    credentials: Value,
}

impl Storage {
    fn start() -> Self {
        let mut child = python::bucket();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        answers.read_line(&mut first).unwrap();
        let mut credentials: Value = serde_json::from_str(&first).unwrap();
        let endpoint = credentials.as_object_mut().unwrap().remove("endpoint").unwrap();
        Self { child, answers, endpoint: endpoint.as_str().unwrap().to_owned(), credentials }
    }

    fn host(&self) -> &str {
        self.endpoint.strip_prefix("http://").unwrap()
    }

    fn port(&self) -> u16 {
        self.host().rsplit_once(':').unwrap().1.parse().unwrap()
    }

    #[track_caller]
    fn tell(&mut self, wish: &Value) -> Value {
        let mut input = self.child.stdin.as_ref().unwrap();
        writeln!(input, "{wish}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{wish}: {e}: {line}"))
    }

    fn put(&mut self, key: &str, body: &str) {
        self.tell(&json!({ "put": key, "body": body }));
    }

    /// The requests with the reader's key since the last time.
    fn requests(&mut self) -> Vec<String> {
        serde_json::from_value(self.tell(&json!({ "requests": true }))).unwrap()
    }

    /// A trigger on the folder `2026` of the bucket.
    fn trigger(&self, credentials: Option<&Value>) -> Value {
        let bucket = json!({
            "url": "s3://incoming/2026", "endpoint": self.endpoint, "suffix": ".csv", "every_seconds": 1,
        });
        let run = json!({ "function": { "plugin": "inbox", "path": "/kept" } });
        let mut wish = json!({ "on": { "bucket": bucket }, "run": run });
        if let Some(credentials) = credentials {
            wish["credentials"] = credentials.clone();
        }
        wish
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // It ends with its input; `timeout` stands before it, and would leave it if it were killed.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn show(client: &Client) -> Value {
    client.get("/api/v1/triggers/files").expect(200).json()
}

/// Runs that have ended, oldest first.
fn runs(client: &Client) -> Vec<Value> {
    let page = client.get("/api/v1/triggers/files/runs").expect(200).json();
    let ended = |run: &&Value| run["state"] != "queued" && run["state"] != "running";
    page["items"].as_array().unwrap().iter().rev().filter(ended).cloned().collect()
}

#[track_caller]
fn ended(client: &Client, number: usize) -> Vec<Value> {
    eventually(&format!("{number} runs have ended: {}", show(client)), Duration::from_secs(30), || {
        runs(client).len() >= number
    });
    runs(client)
}

#[track_caller]
fn fails_with(client: &Client, words: &str) {
    eventually(&format!("a look fails with {words}: {}", show(client)), Duration::from_secs(30), || {
        show(client)["last_error"]["detail"].as_str().is_some_and(|detail| detail.contains(words))
    });
}

/// What the newest hour of the tenant's came to.
fn used(client: &Client) -> Value {
    let usage = client.get("/api/v1/usage").expect(200).json();
    usage["items"].as_array().unwrap().last().cloned().unwrap_or_default()
}

fn kept(client: &Client) -> String {
    client.get("/fn/acme/inbox/kept").expect(200).text()
}

fn acme_with_inbox(server: &Server) -> Client {
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/inbox", guests::inbox()).expect(201);
    acme
}

fn allow(client: &Client, storage: &Storage) {
    client.put_json("/api/v1/egress/rules/127.0.0.1", &json!({ "ports": [storage.port()] })).expect(200);
}

/// The files below a folder that hold this text.
fn holding(folder: &std::path::Path, text: &str) -> Vec<std::path::PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|w| w == text.as_bytes()) {
            found.push(path);
        }
    }
    found
}

#[test]
fn an_object_that_arrives_in_a_bucket_is_one_run() {
    let mut storage = Storage::start();
    let folder = tempfile::tempdir().unwrap();
    let private = storage.host().to_owned();
    let arguments = ["--egress-private", private.as_str()];
    let server = Server::on(folder.path(), &arguments);
    let acme = acme_with_inbox(&server);
    storage.put("2026/there already.csv", "1,2");
    storage.put("2025/old.csv", "0");
    storage.put("2026/empty/", "");

    // Nothing is sent that no rule allows, whoever it is signed by; and what a storage refuses is told.
    let wrong = json!({ "access_key_id": storage.credentials["access_key_id"], "secret_access_key": "wrong" });
    acme.put_json("/api/v1/triggers/files", &storage.trigger(Some(&wrong))).expect(201);
    fails_with(&acme, &format!("no egress rule allows GET to 127.0.0.1:{}", storage.port()));
    assert_eq!(storage.requests(), Vec::<String>::new());
    allow(&acme, &storage);
    fails_with(&acme, "the storage answered with status 403: SignatureDoesNotMatch");
    let made = acme.put_json("/api/v1/triggers/files", &storage.trigger(Some(&storage.credentials))).expect(200);
    let secret = storage.credentials["secret_access_key"].as_str().unwrap().to_owned();
    assert_eq!(made.json()["signed"], true);
    assert!(!made.text().contains(&secret) && !made.text().contains("access_key"), "{}", made.text());
    ended(&acme, 1);
    assert!(show(&acme)["last_error"].is_null(), "{}", show(&acme));

    storage.put("2026/new.csv", "3,4");
    storage.put("2026/notes.txt", "x");
    let all = ended(&acme, 2);
    // MD5 is what S3 makes an ETag of.
    let cause =
        json!({ "type": "object", "path": "2026/new.csv", "version": "c6579aaf5457eee679bb88bc31162a3d", "size": 3 });
    assert_eq!(all[0]["cause"]["path"], "2026/there already.csv");
    assert_eq!(all[1]["cause"], cause);
    let message = kept(&acme);
    assert!(message.ends_with("\n\n3,4") && message.contains("content-type: text/csv\n"), "{message}");
    assert!(message.contains("ce-type: aimass.object.arrived\n"), "{message}");
    assert!(message.contains("ce-subject: 2026/new.csv\n"), "{message}");

    // What lies behind the first page; and what is too large to be brought is told where it is.
    storage.tell(&json!({ "many": "2026/many/", "count": 1_005 }));
    storage.tell(&json!({ "put": "2026/z.csv", "size": (16 << 20) + 1 }));
    storage.requests();
    assert_eq!(ended(&acme, 3)[2]["cause"]["path"], "2026/z.csv");
    assert!(kept(&acme).contains("ce-dataref: s3://incoming/2026/z.csv\n"), "{}", kept(&acme));
    let requests = storage.requests();
    assert!(requests.iter().any(|r| r.starts_with("GET /incoming?continuation-token=")), "{requests:?}");
    assert!(!requests.iter().any(|r| r.contains("z.csv")), "{requests:?}");

    // A restart sees them again, and runs nothing; one that is written anew is another one. What is no object is asked
    // for once.
    let token = acme.token.clone();
    server.kill();
    let server = Server::on(folder.path(), &arguments);
    let acme = server.with(&token);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(runs(&acme).len(), 3);
    storage.put("2026/new.csv", "5,6");
    let all = ended(&acme, 4);
    assert!(kept(&acme).ends_with("\n\n5,6"));
    let replay = format!("/api/v1/triggers/files/runs/{}/replay", all[3]["id"].as_str().unwrap());
    acme.post(&replay, &json!({})).expect(202);
    assert_eq!(ended(&acme, 5)[4]["state"], "done");
    storage.tell(&json!({ "delete": "2026/new.csv" }));
    acme.post(&replay, &json!({})).problem(409, "conflict");

    // It is counted as what guests send and receive is, and the secret stands nowhere.
    let usage = used(&acme);
    let flow = &usage["transfers"][0];
    assert!(flow["records"].as_u64().unwrap() > 5 && flow["bytes_received"].as_u64().unwrap() > 100_000, "{usage}");
    assert_eq!(holding(folder.path(), &secret), Vec::<std::path::PathBuf>::new());
    let audit = acme.get("/api/v1/audit").expect(200).text();
    assert!(audit.contains("trigger_set") && !audit.contains(&secret), "{audit}");
}

#[test]
fn a_bucket_that_fails_is_left_alone_for_longer_and_found_again() {
    let mut storage = Storage::start();
    let server = Server::start_with(&["--egress-private", storage.host()]);
    let acme = acme_with_inbox(&server);
    allow(&acme, &storage);
    storage.tell(&json!({ "failing": true }));
    storage.put("2026/a.csv", "1");
    let file = tempfile::NamedTempFile::new().unwrap();
    let [id, secret] = ["access_key_id", "secret_access_key"].map(|part| storage.credentials[part].as_str().unwrap());
    let text = format!("[other]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    std::fs::write(file.path(), text).unwrap();
    let token = server.data.join("acme.token");
    std::fs::write(&token, &acme.token).unwrap();
    let aimass = |arguments: &[&str]| {
        aimass_with(&[&["--url", &server.url, "triggers"], arguments].concat(), &[("AIMASS_TOKEN_FILE", &token)])
    };
    let made = aimass(
        &[
            &[
                "create",
                "files",
                "--bucket",
                "s3://incoming/2026/",
                "--endpoint",
                &storage.endpoint,
                "--suffix",
                ".csv",
            ][..],
            &["--every", "1s", "--credentials", file.path().to_str().unwrap(), "--profile", "other"],
            &["--function", "inbox", "--path", "/kept"],
        ]
        .concat(),
    );
    assert!(made.contains(&format!("objects in s3://incoming/2026/ .csv at {}", storage.endpoint)), "{made}");
    fails_with(&acme, "status 503: SlowDown: Reduce your request rate.");
    storage.requests();
    std::thread::sleep(Duration::from_secs(8));
    let looks = storage.requests();
    // Of eight seconds' looks: after 2, 4 and 8 seconds, each with another attempt.
    assert!((2..=6).contains(&looks.len()), "{looks:?}");
    let shown = aimass(&["show", "files"]);
    assert!(shown.contains("SlowDown") && shown.contains("times until"), "{shown}");
    assert!(runs(&acme).is_empty());

    storage.tell(&json!({ "failing": false }));
    assert_eq!(ended(&acme, 1)[0]["cause"]["path"], "2026/a.csv");
    eventually("the error is gone", Duration::from_secs(10), || show(&acme)["last_error"].is_null());
    assert!(!aimass(&["show", "files"]).contains("last error"));
}

#[test]
fn f55_a_bucket_inside_is_not_asked() {
    let mut storage = Storage::start();
    let server = Server::start();
    let acme = acme_with_inbox(&server);
    allow(&acme, &storage);
    acme.put_json("/api/v1/triggers/files", &storage.trigger(Some(&storage.credentials))).expect(201);
    fails_with(&acme, "127.0.0.1 is at 127.0.0.1, ");
    assert_eq!(storage.requests(), Vec::<String>::new());
    let usage = used(&acme);
    assert!(usage["refused"]["forbidden_address"].as_u64().unwrap() > 0, "{usage}");
    assert_eq!(usage["transfers"], json!([]), "{usage}");
}

#[test]
fn credentials_stay_with_the_bucket_that_they_were_given_for() {
    let server = Server::start();
    let acme = acme_with_inbox(&server);
    let put = |url: &str, endpoint: &str, credentials: Option<Value>| {
        let bucket = json!({ "url": url, "endpoint": endpoint, "every_seconds": 3600 });
        let mut wish = json!({ "on": { "bucket": bucket }, "run": { "function": { "plugin": "inbox" } } });
        if let Some(given) = credentials {
            wish["credentials"] = given;
        }
        acme.put_json("/api/v1/triggers/files", &wish)
    };
    let given = |id: &str, secret: &str| Some(json!({ "access_key_id": id, "secret_access_key": secret }));
    let here = "https://s3.example.com";
    assert_eq!(put("s3://incoming", here, None).expect(201).json()["signed"], false);
    assert_eq!(put("s3://incoming", here, given("AKID", "hush")).expect(200).json()["signed"], true);
    assert_eq!(put("s3://incoming/2026", here, None).expect(200).json()["signed"], true, "the same bucket");
    // Whoever cannot show them cannot have them sent elsewhere.
    put("s3://incoming", "https://s3.evil.example", None).problem(400, "invalid_request");
    put("s3://others", here, None).problem(400, "invalid_request");
    assert_eq!(put("s3://others", here, given("AKID", "hush")).expect(200).json()["signed"], true);

    for (url, endpoint, credentials) in [
        ("incoming", here, None),
        ("s3://", here, None),
        ("s3://../etc", here, None),
        ("s3://incoming//x", here, None),
        ("s3://incoming/../x", here, None),
        ("s3://incoming", "s3.example.com", None),
        ("s3://incoming", "file:///etc/passwd", None),
        ("s3://incoming", "https://me@s3.example.com", None),
        ("s3://incoming", "http://2130706433", None),
        ("s3://incoming", "https://xn--a", None),
        ("s3://incoming", here, given("AKID\r\nx-evil: 1", "hush")),
        ("s3://incoming", here, given("", "hush")),
        ("s3://incoming", here, given("AKID", "")),
    ] {
        let refused = put(url, endpoint, credentials);
        refused.problem(400, "invalid_request");
    }
    let mut folder =
        json!({ "on": { "cron": { "schedule": "@daily" } }, "run": { "function": { "plugin": "inbox" } } });
    folder["credentials"] = given("AKID", "hush").unwrap();
    acme.put_json("/api/v1/triggers/daily", &folder).problem(400, "invalid_request");
}
