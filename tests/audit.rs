//! The audit log: who sees what of it, that reads of sensitive things are in it, and rows 41 and 45 over the real
//! binary.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Client, Server, binary, guests};

fn items(answer: crate::support::Answer) -> Vec<Value> {
    answer.expect(200).json()["items"].as_array().unwrap().clone()
}

fn kinds(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["kind"].as_str().unwrap()).collect()
}

/// Runs `aimass`; its success, and what it said on both.
fn run(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(binary()).args(arguments).output().unwrap();
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Runs `aimass` as the operator of a server.
fn operator(server: &Server, arguments: &[&str]) -> (bool, String) {
    let token = server.data.join("operator.token");
    run(&[&["--url", &server.url, "--token-file", token.to_str().unwrap()], arguments].concat())
}

/// The one file of a data folder's journal.
fn journal(data: &Path) -> std::path::PathBuf {
    let mut files = fs::read_dir(data.join("store/journal")).unwrap().map(|e| e.unwrap().path());
    files.find(|path| path.extension().is_some_and(|e| e == "log")).unwrap()
}

#[test]
fn a_tenant_sees_its_own_and_reads_are_recorded() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let other = server.tenant("other");
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    acme.put_json("/api/v1/plugins/hello/config", &json!({ "key": "PLANTED" })).expect(200);
    other.get("/api/v1/tokens").expect(200);

    let own = acme.get("/api/v1/audit").expect(200);
    assert!(!own.text().contains("other") && !own.text().contains("PLANTED"), "{}", own.text());
    let own = items(own);
    assert_eq!(
        kinds(&own),
        ["tenant_created", "token_minted", "data_key_created", "version_created", "settings_replaced"]
    );
    assert_eq!(own[3]["object"], "hello@1");
    assert_eq!(own[3]["actor"]["tenant"], "acme");
    assert!(own[3]["actor"]["token"].is_string() && own[3]["actor"]["request"].is_string());
    // Of the operator, a tenant learns the subject.
    assert_eq!(own[1]["actor"], json!({ "subject": "operator" }));
    acme.get("/api/v1/audit?tenant=other").problem(404, "not_found");

    // Reads of what may be secret, and the operator's look over the wall.
    acme.get("/api/v1/plugins/hello/config").expect(200);
    acme.get("/api/v1/plugins/hello/config").expect(200);
    items(server.operator().get("/api/v1/audit?tenant=acme"));
    let own = items(acme.get("/api/v1/audit?kind=read"));
    let whats: Vec<_> =
        own.iter().map(|r| (r["object"].as_str().unwrap(), r["actor"]["subject"].as_str().unwrap())).collect();
    assert_eq!(whats, [("settings hello", "test"), ("audit", "operator")], "each once");
    let theirs = items(other.get("/api/v1/audit?kind=read"));
    assert_eq!(theirs[0]["object"], "tokens");

    // An operator's revocation of a tenant's token names no tenant, and is shown to it all the same.
    let jti = acme.post("/api/v1/tokens", &json!({ "subject": "ci", "scopes": ["plugins:read"] })).expect(201).json();
    let jti = jti["jti"].as_str().unwrap();
    server.operator().delete(&format!("/api/v1/tenants/acme/tokens/{jti}")).expect(204);
    let revoked = items(acme.get("/api/v1/audit?kind=token_revoked"));
    assert_eq!((revoked.len(), &revoked[0]["object"]), (1, &json!(jti)));
    assert_eq!(items(other.get("/api/v1/audit?kind=token_revoked")).len(), 0);

    // Filters, and pages that meet without a gap.
    let all = |client: &Client, query: &str| {
        let (mut found, mut after) = (vec![], 0u64);
        loop {
            let page = client.get(&format!("/api/v1/audit?limit=2&after={after}{query}")).expect(200).json();
            found.extend(page["items"].as_array().unwrap().iter().map(|i| i["seq"].as_u64().unwrap()));
            match page["next"].as_str() {
                Some(next) => after = next.parse().unwrap(),
                None => return found,
            }
        }
    };
    let everything = all(&server.operator(), "");
    assert_eq!(everything, (1..=everything.len() as u64).collect::<Vec<_>>());
    assert!(all(&server.operator(), "&actor=test").len() < everything.len());
    assert_eq!(all(&server.operator(), "&until_ms=1").len(), 0);
    assert_eq!(all(&server.operator(), "&since_ms=1"), everything);
    assert_eq!(all(&acme, "&actor=test&kind=version_created").len(), 1);
    acme.get("/api/v1/audit?colour=red").problem(400, "invalid_request");

    let (done, text) = operator(&server, &["audit", "--tenant", "acme", "--since", "1h", "--kind", "version_created"]);
    assert!(done && text.contains("hello@1") && text.contains("test of acme"), "{text}");
    let (done, text) = operator(&server, &["audit", "--json", "--actor", "no such & odd"]);
    assert!(done && text.trim() == "[]", "{text}");
}

#[test]
fn f41_a_cut_tail_and_a_changed_record_are_named() {
    let mut server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = server.data.to_str().unwrap().to_owned();
    let acme = server.tenant("acme");
    let (checkpoint, export) = (at("checkpoint.json"), at("export.ndjson"));

    let before = fs::read(journal(&server.data)).unwrap();
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    let (done, text) = operator(&server, &["audit", "checkpoint"]);
    assert!(done, "{text}");
    fs::write(&checkpoint, &text).unwrap();
    acme.delete("/api/v1/plugins/hello").expect(204);

    // Sound: online, over the folder of a running server, and as an export; with the checkpoint and without.
    for with in [&[][..], &["--checkpoint", &checkpoint]] {
        let (done, text) = operator(&server, &[&["audit", "verify"], with].concat());
        assert!(done, "{text}");
        let (done, text) = run(&[&["audit", "verify", "--data", &data], with].concat());
        assert!(done, "{text}");
    }
    let (done, text) = operator(&server, &["audit", "export", &export]);
    assert!(done, "{text}");
    let (done, text) = run(&["audit", "verify", "--file", &export, "--checkpoint", &checkpoint]);
    assert!(done, "{text}");
    let offline = at("offline.ndjson");
    assert!(run(&["audit", "export", &offline, "--data", &data]).0);
    assert_eq!(fs::read(&offline).unwrap(), fs::read(&export).unwrap());

    // A stranger checks the export by the documented formula alone.
    let text = fs::read_to_string(&export).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 5);
    let mut previous = "0".repeat(64);
    for (n, line) in lines.iter().enumerate() {
        assert_eq!((line["seq"].as_u64().unwrap(), line["previous"].as_str().unwrap()), (n as u64 + 1, &*previous));
        let mut hasher = blake3::Hasher::new();
        hasher.update(&hex::decode(&previous).unwrap()).update(line["body"].as_str().unwrap().as_bytes());
        previous = hasher.finalize().to_hex().to_string();
        assert_eq!(line["hash"].as_str().unwrap(), previous);
    }
    // Edited, without a line, with its end cut off.
    let checked = |lines: &[Value], with: &[&str]| {
        let path = at("changed.ndjson");
        fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        run(&[&["audit", "verify", "--json", "--file", &path], with].concat())
    };
    let mut edited = lines.clone();
    edited[2]["body"] = edited[2]["body"].as_str().unwrap().replace("acme", "acne").into();
    let (done, text) = checked(&edited, &[]);
    assert!(!done && text.contains("record 3 is the first"), "{text}");
    let mut removed = lines.clone();
    removed.remove(1);
    let (done, text) = checked(&removed, &[]);
    assert!(!done && text.contains("record 2 is the first"), "{text}");
    assert!(checked(&lines[..2], &[]).0, "what is cut off cannot be seen in what is left");
    let (done, text) = checked(&lines[..2], &["--checkpoint", &checkpoint]);
    assert!(!done && text.contains("record 3 is the first") && text.contains("cut off"), "{text}");

    // The checkpoint itself: another key's, another's words.
    let signed: Value = serde_json::from_slice(&fs::read(&checkpoint).unwrap()).unwrap();
    let kid = server.anonymous().get("/.well-known/jwks.json").expect(200).json()["keys"][0]["kid"].clone();
    assert_eq!(signed["kid"], kid);
    let pinned = ["audit", "verify", "--data", &data, "--checkpoint", &checkpoint, "--kid"];
    assert!(run(&[&pinned[..], &[kid.as_str().unwrap()]].concat()).0);
    assert!(!run(&[&pinned[..], &["another"]].concat()).0);
    let mut forged = signed.clone();
    forged["checkpoint"]["records"] = 1.into();
    let path = at("forged.json");
    fs::write(&path, forged.to_string()).unwrap();
    let (done, text) = run(&["audit", "verify", "--data", &data, "--checkpoint", &path]);
    assert!(!done && text.contains("not what was signed"), "{text}");
    server.with(signed["jws"].as_str().unwrap()).get("/api/v1/plugins").problem(401, "unauthenticated");

    // Of the folder: its end cut off, then a bit flipped in it.
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let path = journal(&server.data);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &before).unwrap();
    assert!(run(&["audit", "verify", "--data", &data]).0);
    let (done, text) = run(&["audit", "verify", "--data", &data, "--checkpoint", &checkpoint]);
    assert!(!done && text.contains("cut off"), "{text}");
    let mut flipped = whole.clone();
    flipped[before.len() / 2] ^= 1;
    fs::write(&path, &flipped).unwrap();
    let (done, text) = run(&["audit", "verify", "--data", &data]);
    assert!(!done && text.contains("is the first that is not sound") && text.contains("offset"), "{text}");
    fs::write(&path, &whole).unwrap();
    assert!(run(&["audit", "verify", "--data", &data, "--checkpoint", &checkpoint]).0);
}
