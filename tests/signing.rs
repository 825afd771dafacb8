//! Row 4: signed plugins, and plugins that ask for more than they did before.

use std::path::Path;
use std::process::Command;

use aimass_core::Digest;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Server, binary, guests};

/// Runs `aimass` as this client; returns what it printed on both outputs, if it ended well.
fn run(client: Option<(&Server, &Client)>, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(binary());
    if let Some((server, client)) = client {
        command.args(["--url", &server.url, "--token", &client.token]);
    }
    let output = command.args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(text) } else { Err(text) }
}

/// A key pair in a folder, by `aimass` itself, and what it signs a file with.
fn signature(folder: &Path, key: &str, component: &[u8]) -> String {
    let (key, file) = (folder.join(key), folder.join("signed.wasm"));
    if !key.exists() {
        run(None, &["signers", "generate", key.to_str().unwrap()]).unwrap();
    }
    std::fs::write(&file, component).unwrap();
    let signed = run(None, &["sign", file.to_str().unwrap(), "--key", key.to_str().unwrap()]).unwrap();
    signed.trim().to_owned()
}

fn put(client: &Client, component: &[u8], signature: &str) -> Answer {
    client.send("PUT", "/api/v1/plugins/signed", &[("aimass-signature", signature)], component)
}

/// The journal as text: records are JSON.
fn journal(server: &Server) -> String {
    let files = std::fs::read_dir(server.data.join("store/journal")).unwrap();
    files.map(|file| String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()).into_owned()).collect()
}

#[test]
fn f04_signatures_are_checked_shown_and_insisted_on() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let folder = tempfile::tempdir().unwrap();
    let (hello, counter) = (guests::hello(), guests::counter());
    let good = signature(folder.path(), "ci.pem", hello);
    let key = good.split(' ').nth(1).unwrap().to_owned();

    // A signature of other bytes, or none at all, is wrong whoever is trusted.
    put(&acme, counter, &good).problem(422, "invalid_signature");
    put(&acme, hello, "ed25519 AAAA AAAA").problem(422, "invalid_signature");
    acme.get("/api/v1/plugins/signed").problem(404, "not_found");
    // Of somebody unknown: taken where signatures are not required, and shown as that.
    let version = put(&acme, hello, &good).expect(201).json();
    assert_eq!(version["signed_by"], json!({ "key": key }));

    let weak = server.token("acme", &["plugins:read", "plugins:write"]);
    weak.put_json("/api/v1/signing", &json!({ "required": false })).problem(403, "insufficient_scope");
    weak.put_json("/api/v1/signers/me", &json!({ "public_key": key })).problem(403, "insufficient_scope");
    acme.put_json("/api/v1/signing", &json!({ "required": true })).expect(200);
    acme.put("/api/v1/plugins/other", hello).problem(403, "signature_required");
    put(&acme, hello, &good).problem(403, "unknown_signer");
    acme.put_json("/api/v1/signers/ci", &json!({ "public_key": key })).expect(201);
    acme.put_json("/api/v1/signers/again", &json!({ "public_key": key })).problem(409, "conflict");
    acme.put_json("/api/v1/signers/bad", &json!({ "public_key": "AAAA" })).problem(400, "invalid_request");
    // Known now, the same bytes become a version that says so, once.
    let version = put(&acme, hello, &good).expect(201).json();
    assert_eq!(version["signed_by"], json!({ "key": key, "signer": "ci" }));
    assert_eq!(put(&acme, hello, &good).expect(200).json(), version);
    assert_eq!(acme.get("/api/v1/plugins/signed").expect(200).json()["latest"]["signed_by"]["signer"], "ci");
    let other = signature(folder.path(), "other.pem", counter);
    put(&acme, counter, &other).problem(403, "unknown_signer");

    // Another tenant trusts nobody by that.
    let globex = server.tenant("globex");
    assert_eq!(globex.get("/api/v1/signers").expect(200).json()["items"], json!([]));
    globex.put("/api/v1/plugins/signed", hello).expect(201);

    // Every refusal is in the journal, with the key that was claimed.
    let journal = journal(&server);
    for code in ["invalid_signature", "unknown_signer", "signature_required"] {
        assert!(journal.contains(&format!(r#""code":"{code}""#)), "{code} was not recorded");
    }
    assert!(journal.contains(other.split(' ').nth(1).unwrap()));
    assert!(journal.contains(&Digest::of(counter).to_string()));

    acme.delete("/api/v1/signers/ci").expect(204);
    acme.delete("/api/v1/signers/ci").problem(404, "not_found");
    put(&acme, hello, &good).problem(403, "unknown_signer");
    acme.get("/fn/acme/signed/").expect(200);
}

#[test]
fn f04_the_command_line_signs_and_names_signers() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (key, public, file) = (at("ci.pem"), at("ci.pem.pub"), at("hello.wasm"));
    std::fs::write(&file, guests::hello()).unwrap();
    let as_acme = |arguments: &[&str]| run(Some((&server, &acme)), arguments);
    run(None, &["signers", "generate", &key]).unwrap();
    let again = run(None, &["signers", "generate", &key]).unwrap_err();
    assert!(again.contains("exists"), "{again}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    as_acme(&["signers", "add", "ci", &public]).unwrap();
    let required = as_acme(&["signers", "require", "on"]).unwrap();
    assert!(required.contains("must be signed"), "{required}");
    assert_eq!(as_acme(&["signers", "require"]).unwrap(), required);
    let list = as_acme(&["signers", "list"]).unwrap();
    assert!(list.contains("ci ") && list.contains(std::fs::read_to_string(&public).unwrap().trim()), "{list}");
    let refused = as_acme(&["push", &file]).unwrap_err();
    assert!(refused.contains("A signature is required"), "{refused}");
    let pushed = as_acme(&["push", &file, "--sign", &key]).unwrap();
    assert!(pushed.contains("hello@1 is new") && pushed.contains("signed by ci"), "{pushed}");
    let shown = as_acme(&["plugins", "show", "hello"]).unwrap();
    assert!(shown.contains("signed by") && shown.contains("ci ("), "{shown}");
    as_acme(&["signers", "remove", "ci"]).unwrap();
    let refused = as_acme(&["push", &file, "--sign", &key]).unwrap_err();
    assert!(refused.contains("The signer is not trusted"), "{refused}");
}

#[test]
fn a_plugin_that_asks_for_more_is_shown_as_such() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let path = "/api/v1/plugins/hello";
    let first = acme.put(path, guests::hello()).expect(201).json();
    assert_eq!(first.get("new_imports"), None, "the first version asks for nothing new");
    let problem = acme.put(path, guests::counter()).problem(409, "new_imports").json();
    assert!(problem["detail"].as_str().unwrap().contains("wasi:keyvalue/store"), "{problem}");
    assert_eq!(acme.get(path).expect(200).json()["latest_version"], 1);
    acme.put(&format!("{path}?allow-new-import=true"), guests::counter()).problem(400, "invalid_request");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hello.wasm");
    std::fs::write(&file, guests::counter()).unwrap();
    let push = |more: &[&str]| run(Some((&server, &acme)), &[&["push", file.to_str().unwrap()][..], more].concat());
    let refused = push(&[]).unwrap_err();
    assert!(refused.contains("wasi:keyvalue/store") && refused.contains("--allow-new-imports"), "{refused}");
    let pushed = push(&["--allow-new-imports"]).unwrap();
    assert!(pushed.contains("hello@2 is new") && pushed.contains("wasi:keyvalue/store"), "{pushed}");
    let second = acme.get(path).expect(200).json()["latest"].clone();
    let new: Vec<&str> = second["new_imports"].as_array().unwrap().iter().map(|i| i.as_str().unwrap()).collect();
    assert!(new.iter().any(|import| import.starts_with("wasi:keyvalue/")), "{second}");
    assert!(!new.contains(&"wasi:http/types"), "{second}");
    // Less than before is nothing new.
    let third = acme.put(path, guests::hello()).expect(201).json();
    assert_eq!(third.get("new_imports"), None::<&Value>);
}
