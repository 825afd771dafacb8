//! Settings and secrets belong to a deployment: an alias serves with those that it was deployed with, and a rollback
//! brings them back, whatever happens to the node meanwhile.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Client, Server, aimass, guests};

const KEEPER: &str = "/api/v1/plugins/keeper";

/// The same component as other bytes: with a custom section behind it.
pub(crate) fn again(component: &[u8]) -> Vec<u8> {
    [component, b"\0\x05\x04note"].concat()
}

/// Runs the command line.
fn run(server: &Server, client: &Client, arguments: &[&str]) -> String {
    aimass(&[&["--url", &server.url, "--token", &client.token], arguments].concat())
}

/// What the keeper reads under a key, called by this name.
fn says(client: &Client, name: &str, key: &str) -> String {
    client.get(&format!("/fn/acme/{name}/setting/{key}")).text()
}

/// What a bare name and a version read of the setting and the secret.
fn all(client: &Client) -> [String; 4] {
    [("keeper", "word"), ("keeper", "token"), ("keeper@1", "word"), ("keeper@1", "token")]
        .map(|(name, key)| says(client, name, key))
}

/// Kills the node, and starts it again.
fn killed(server: Server, data: &Path) -> Server {
    server.signal("KILL");
    drop(server);
    Server::on(data, &[])
}

#[test]
fn f42_a_deployment_keeps_its_settings_and_a_rollback_brings_them_back_through_kills() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on(folder.path(), &[]);
    let acme = server.tenant("acme");
    let token = acme.token.clone();
    acme.put(KEEPER, guests::keeper()).expect(201);
    let out = run(&server, &acme, &["plugins", "config", "keeper", "word=one"]);
    assert!(!out.contains("deploy"), "nothing is deployed yet: {out}");
    acme.put(&format!("{KEEPER}/secrets/token"), b"hush-1").expect(201);
    let out = run(&server, &acme, &["deploy", "keeper", "--version", "1"]);
    assert!(out.contains("keeper:prod is 1") && out.contains("newest settings and secrets, configuration 2"), "{out}");

    // Other settings, and another secret: who asks for the version has them, the alias has not.
    let out = run(&server, &acme, &["plugins", "config", "keeper", "word=two"]);
    assert!(out.contains("keeper:prod still serves with the settings and secrets of before"), "{out}");
    assert!(out.contains("`aimass deploy keeper`"), "{out}");
    acme.put(&format!("{KEEPER}/secrets/token"), b"hush-2").expect(200);
    assert_eq!(all(&acme), ["one", "hush-1", "two", "hush-2"]);
    assert_eq!(says(&acme, "keeper:prod", "word"), "one");
    let out = run(&server, &acme, &["aliases", "show", "keeper", "prod"]);
    assert!(out.contains("1 with configuration 2; the newest is 4: `aimass deploy keeper` takes it"), "{out}");
    let server = killed(server, folder.path());
    let acme = server.with(&token);
    assert_eq!(all(&acme), ["one", "hush-1", "two", "hush-2"], "after a kill");

    // What deploying would change is told by name, and without a value.
    let out = run(&server, &acme, &["diff", "keeper", "prod", "1"]);
    assert_eq!(out.trim(), "configuration: 2 -> 4\nsetting: ~ word\nsecret: ~ token");
    assert_eq!(run(&server, &acme, &["diff", "keeper", "1", "1"]).trim(), "there is no difference");
    run(&server, &acme, &["deploy", "keeper"]);
    assert_eq!(all(&acme), ["two", "hush-2", "two", "hush-2"]);
    assert_eq!(run(&server, &acme, &["diff", "keeper", "prod", "1"]).trim(), "there is no difference");

    // Another version with other settings; back to the version, its settings and its secret, and further back.
    acme.put(KEEPER, &again(guests::keeper())).expect(201);
    acme.put_json(&format!("{KEEPER}/config"), &json!({ "word": "three" })).expect(200);
    acme.put(&format!("{KEEPER}/secrets/token"), b"hush-3").expect(200);
    run(&server, &acme, &["deploy", "keeper", "--version", "2"]);
    let server = killed(server, folder.path());
    let acme = server.with(&token);
    let served = |acme: &Client| {
        let answer = acme.get("/fn/acme/keeper/setting/word").expect(200);
        (answer.header("aimass-served-version").to_owned(), answer.text(), says(acme, "keeper", "token"))
    };
    let told = |version: &str, word: &str, token: &str| (version.to_owned(), word.to_owned(), token.to_owned());
    assert_eq!(served(&acme), told("2", "three", "hush-3"));
    let out = run(&server, &acme, &["rollback", "keeper"]);
    assert!(out.contains("1 with configuration 4; the newest is 6"), "{out}");
    assert_eq!(served(&acme), told("1", "two", "hush-2"));
    let server = killed(server, folder.path());
    let acme = server.with(&token);
    assert_eq!(served(&acme), told("1", "two", "hush-2"));
    run(&server, &acme, &["rollback", "keeper"]);
    assert_eq!(served(&acme), told("1", "one", "hush-1"));
    let listed = acme.get(&format!("{KEEPER}/deployments")).expect(200).json();
    let numbers: Vec<_> = listed["items"].as_array().unwrap().iter().rev().collect();
    let numbers: Vec<_> = numbers.iter().map(|d| d["route"]["split"][0]["configuration"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [2, 4, 6, 4, 2]);
    assert!(run(&server, &acme, &["deployments", "keeper"]).contains("SETTINGS"));

    // A key that was revoked is gone from everywhere, also from what a rollback brings back.
    acme.put(&format!("{KEEPER}/secrets/token?everywhere=true"), b"hush-4").expect(200);
    assert_eq!(served(&acme), told("1", "one", "hush-4"));
    run(&server, &acme, &["deploy", "keeper", "--version", "2"]);
    assert_eq!(served(&acme), told("2", "three", "hush-4"));
    run(&server, &acme, &["rollback", "keeper"]);
    let server = killed(server, folder.path());
    let acme = server.with(&token);
    assert_eq!(served(&acme), told("1", "one", "hush-4"));
    run(&server, &acme, &["secrets", "delete", "keeper", "token", "--everywhere"]);
    assert_eq!(served(&acme), told("1", "one", "none"));
    assert!(server.operator().get("/api/v1/audit/verify").expect(200).json()["first_bad"].is_null());
}

#[test]
fn a_canary_brings_its_settings_and_leaves_the_others_theirs() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put(KEEPER, guests::keeper()).expect(201);
    acme.put(KEEPER, &again(guests::keeper())).expect(201);
    let config = |word: &str| acme.put_json(&format!("{KEEPER}/config"), &json!({ "word": word })).expect(200);
    let deploy = |wish: Value| acme.post(&format!("{KEEPER}/deployments"), &wish);
    let word = |version: &str| {
        acme.send("GET", "/fn/acme/keeper/setting/word", &[("aimass-version", version)], b"").expect(200).text()
    };
    config("one");
    deploy(json!({ "version": 1 })).expect(200);
    config("two");
    // A canary is another version: figures are told by version.
    let refused = deploy(json!({ "version": 1, "canary_percent": 10 })).problem(409, "conflict").json();
    assert!(refused["detail"].as_str().unwrap().contains("another alias"), "{refused}");
    run(&server, &acme, &["deploy", "keeper", "--version", "1", "--alias", "trial"]);
    assert_eq!((says(&acme, "keeper:trial", "word"), says(&acme, "keeper", "word")), ("two".into(), "one".into()));

    deploy(json!({ "version": 2, "canary_percent": 10 })).expect(200);
    assert_eq!((word("1"), word("2")), ("one".to_owned(), "two".to_owned()));
    config("three");
    // Another part of the calls changes no settings.
    let alias = format!("{KEEPER}/aliases/prod");
    acme.put_json(&alias, &json!({ "split": [{ "version": 1, "weight": 1 }, { "version": 2, "weight": 1 }] }))
        .expect(200);
    assert_eq!((word("1"), word("2")), ("one".to_owned(), "two".to_owned()));
    acme.post(&format!("{alias}/rollback"), &json!({})).expect(200);
    deploy(json!({ "version": 2, "configuration": 2, "canary_percent": 40 })).expect(200);
    let promoted = acme.post(&format!("{alias}/promote"), &json!({})).expect(200).json();
    assert_eq!(promoted["split"], json!([{ "version": 2, "weight": 100, "configuration": 2 }]));
    assert_eq!(says(&acme, "keeper", "word"), "two", "it is promoted with what it was tried with");
    acme.post(&format!("{alias}/rollback"), &json!({})).expect(200);
    assert_eq!(says(&acme, "keeper", "word"), "one");
    let all = deploy(json!({})).expect(200).json();
    assert_eq!((&all["split"][0]["configuration"], &all["newest_configuration"]), (&json!(3), &json!(3)));
    assert_eq!(says(&acme, "keeper", "word"), "three");

    deploy(json!({ "alias": "new" })).problem(409, "conflict");
    deploy(json!({ "canary_percent": 10 })).problem(400, "invalid_request");
    deploy(json!({ "version": 1, "configuration": 9 })).problem(409, "conflict");
    acme.put("/api/v1/models/m", &crate::support::onnx::relu(4)).expect(201);
    let of_model = json!({ "version": 1, "configuration": 0 });
    acme.post("/api/v1/models/m/deployments", &of_model).problem(400, "invalid_request");
    acme.get(&format!("{KEEPER}/diff?from=prod&to=nobody")).problem(404, "not_found");
    acme.get(&format!("{KEEPER}/diff?from=prod&to=0")).problem(400, "invalid_name");
}
