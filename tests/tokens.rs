//! Tokens, forged with the libraries that attackers have.

use std::time::Duration;

use aimass_auth::{Auth, AuthConfig};
use serde_json::{Value, json};

use crate::support::{Server, eventually, python};

#[test]
fn f30_f31_f32_f33_tokens_forged_with_pyjwt_and_joserfc_are_refused_alike() {
    let folder = tempfile::tempdir().unwrap();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    // The forger has the node's own key: from a node of before keys were sealed, which this one takes over.
    for keys in [data.join("keys"), copy.clone()] {
        std::fs::create_dir_all(keys).unwrap();
    }
    drop(Auth::open(&data.join("keys"), AuthConfig::new("aimass", "aimass")).unwrap());
    for file in std::fs::read_dir(data.join("keys")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    let server = Server::on(&data, &[]);
    server.tenant("acme");
    let descriptors = server.descriptors();
    let said = python::attacker("forged_tokens.py", &[server.address(), copy.to_str().unwrap(), "acme"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    // With nothing wrong, the same key opens the door: what follows is refused for its flaw.
    assert_eq!(said["accepted"], json!({ "by hand": 200, "PyJWT": 200, "joserfc": 200 }));
    assert_eq!(said["refusal"][0], 401);
    assert_eq!(said["wrong"], json!({}));
    assert!(said["tried"].as_u64().unwrap() >= 200, "{}", said["tried"]);
    assert_eq!(said["visits"], json!([]), "a key was looked for in the network");
    server.anonymous().get("/healthz").expect(200);
    eventually("the descriptors are back", Duration::from_secs(5), || server.descriptors() <= descriptors + 2);
}

#[test]
fn f30_f31_f32_f33_tokens_of_identity_providers_forged_with_pyjwt_and_joserfc_are_refused_alike() {
    let server = Server::start();
    let (acme, other) = (server.tenant("acme"), server.tenant("other"));
    let keys = server.data.join("keys");
    let descriptors = server.descriptors();
    let arguments = [server.address(), keys.to_str().unwrap(), &acme.token, &other.token];
    let said: Value = serde_json::from_str(&python::attacker("foreign_tokens.py", &arguments)).unwrap();
    let accepted = said["accepted"].as_object().unwrap();
    assert!(accepted.len() >= 21 && accepted.values().all(|status| *status == 200), "{accepted:?}");
    assert_eq!(said["forbidden"], json!({ "write": 403, "operator": 403, "role operator": 403 }));
    assert_eq!(said["refusal"][0], 401);
    assert_eq!(said["wrong"], json!({}));
    assert!(said["tried"].as_u64().unwrap() >= 600, "{}", said["tried"]);
    assert_eq!(said["visits"], json!([]), "a key was looked for in the network");
    assert_eq!(
        (&said["opened"], &said["seen"]),
        (&json!([]), &json!(["canary.pem"])),
        "a key was looked for on the disk"
    );
    server.anonymous().get("/healthz").expect(200);
    eventually("the descriptors are back", Duration::from_secs(5), || server.descriptors() <= descriptors + 2);
}
