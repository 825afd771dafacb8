//! Tenants' own identity providers, roles, and the node's signing keys, over HTTP and the command line.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::idp::{Idp, Key, jwks};
use crate::support::{Client, Server, aimass, eventually, guests};

const PLUGINS: &str = "/api/v1/plugins";

fn wish(name: &str, audience: &str) -> Value {
    json!({ "name": name, "issuer": "https://id.example", "audience": audience })
}

fn by_document(name: &str, audience: &str, keys: &[&Key]) -> Value {
    let mut wish = wish(name, audience);
    wish["jwks"] = jwks(keys);
    wish
}

fn by_url(name: &str, audience: &str, idp: &Idp) -> Value {
    let mut wish = wish(name, audience);
    wish["jwks_url"] = json!(idp.url());
    wish
}

/// Runs `aimass` for a client, with `--json`.
fn command(client: &Client, server: &Server, arguments: &[&str]) -> Value {
    let connection = ["--json", "--url", &server.url, "--token", &client.token];
    let said = aimass(&[&connection[..], arguments].concat());
    serde_json::from_str(&said).unwrap_or(Value::Null)
}

#[test]
fn roles_are_sets_of_scopes_for_tokens_and_for_users_of_providers() {
    let server = Server::start();
    let admin = server.tenant("acme");
    let listed = command(&admin, &server, &["roles", "list"]);
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["admin", "developer", "viewer"]);
    let set = command(&admin, &server, &["roles", "set", "on-duty", "--scopes", "audit:read,models:read"]);
    assert_eq!(set, json!({ "name": "on-duty", "scopes": ["models:read", "audit:read"], "built_in": false }));
    // Pages meet without a gap.
    let page = admin.get("/api/v1/roles?limit=2").expect(200).json();
    assert_eq!((&page["items"][1]["name"], &page["next"]), (&json!("developer"), &json!("developer")));
    let page = admin.get("/api/v1/roles?limit=2&after=developer").expect(200).json();
    assert_eq!((&page["items"][0]["name"], &page["items"][1]["name"]), (&json!("on-duty"), &json!("viewer")));

    // Tokens of ours with a role have its scopes, as it stands now.
    let minted = command(&admin, &server, &["tokens", "create", "--role", "on-duty", "--scope", "plugins:read"]);
    assert_eq!(minted["scopes"], json!(["plugins:read", "models:read", "audit:read"]));
    let on_duty = server.with(minted["token"].as_str().unwrap());
    on_duty.get("/api/v1/audit").expect(200);
    on_duty.get("/api/v1/roles").problem(403, "insufficient_scope");
    let operator = server.operator();
    let made = operator.post("/api/v1/tenants/acme/tokens", &json!({ "subject": "a", "roles": ["admin"] })).expect(201);
    assert!(made.json()["scopes"].as_array().unwrap().iter().all(|scope| scope != "operator"));
    let wrong = json!({ "subject": "a", "roles": ["admin"] });
    operator.post("/api/v1/tokens", &wrong).problem(400, "invalid_request");
    admin.post("/api/v1/tokens", &json!({ "subject": "a", "roles": ["none"] })).problem(400, "invalid_request");
    admin.post("/api/v1/tokens", &json!({ "subject": "a" })).problem(400, "invalid_request");

    // Nobody gives what they have not, by whatever name.
    let some = server.token("acme", &["tokens:write", "identity:read", "identity:write", "models:read"]);
    some.post("/api/v1/tokens", &json!({ "subject": "a", "roles": ["admin"] })).problem(403, "insufficient_scope");
    let wide = json!({ "name": "wide", "scopes": ["plugins:write"] });
    some.post("/api/v1/roles", &wide).problem(403, "insufficient_scope");
    some.post("/api/v1/issuers", &by_document("id", "a", &[&Key::new("1")])).problem(403, "insufficient_scope");
    for (name, scopes, status) in
        [("admin", "plugins:read", 409), ("op", "operator", 400), ("x", "unknown", 400), ("../x", "plugins:read", 400)]
    {
        admin.post("/api/v1/roles", &json!({ "name": name, "scopes": [scopes] })).expect(status);
    }
    admin.delete("/api/v1/roles/viewer").problem(409, "conflict");

    // Users of a provider follow their role at once; another tenant's role of the same name is another.
    let key = Key::new("k");
    admin.post("/api/v1/issuers", &by_document("id", "acme", &[&key])).expect(201);
    let other = server.tenant("other");
    other.post("/api/v1/issuers", &by_document("id", "other", &[&key])).expect(201);
    let user = server.with(&key.sign("acme", "alice", &["on-duty"]));
    user.get("/api/v1/audit").expect(200);
    let stranger = server.with(&key.sign("other", "alice", &["on-duty"]));
    stranger.get("/api/v1/audit").problem(403, "insufficient_scope");
    command(&admin, &server, &["roles", "set", "on-duty", "--scopes", "models:read"]);
    user.get("/api/v1/audit").problem(403, "insufficient_scope");
    user.get("/api/v1/models").expect(200);
    command(&admin, &server, &["roles", "delete", "on-duty"]);
    user.get("/api/v1/models").problem(403, "insufficient_scope");
    // What they do is theirs in the audit log, under the provider's name.
    let boss = server.with(&key.sign("acme", "boss", &["admin"]));
    boss.post("/api/v1/roles", &json!({ "name": "new", "scopes": ["plugins:read"] })).expect(201);
    let audit = boss.get("/api/v1/audit?kind=role_set&actor=id:boss").expect(200).json();
    assert_eq!((&audit["items"][0]["object"], &audit["items"][0]["actor"]["tenant"]), (&json!("new"), &json!("acme")));
    boss.get("/api/v1/tenants").problem(403, "insufficient_scope");
    // Wherever tokens are taken, theirs are: uploads, functions, OIP, metrics. A function never sees one.
    let developer = server.with(&key.sign("acme", "dev", &["developer"]));
    developer.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    let names = developer.get("/fn/acme/probe/headers").expect(200).text();
    assert!(names.contains("x-forwarded-prefix") && !names.contains("authorization"), "{names}");
    developer.post("/v2/repository/index", &json!({})).expect(200);
    developer.get("/metrics").expect(200);
    let theirs = server.with(&key.sign("other", "dev", &["developer"]));
    theirs.get("/fn/acme/probe/headers").problem(404, "not_found");
    theirs.get("/api/v1/plugins/probe").problem(404, "not_found");
    user.get("/fn/acme/probe/headers").problem(403, "insufficient_scope");
}

#[test]
fn f34_keys_and_subjects_of_a_provider_are_revoked_and_restored() {
    let server = Server::start();
    let admin = server.tenant("acme");
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Key::new("one"), Key::new("two"));
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, jwks(&[&one, &two]).to_string()).unwrap();
    let id = ["--issuer", "https://id.example", "--audience", "acme", "--jwks", file.to_str().unwrap()];
    let shown = command(&admin, &server, &[&["issuers", "add", "id"][..], &id].concat());
    assert_eq!(shown["keys"][1], json!({ "kid": "two", "algorithm": "EdDSA", "revoked": false }));
    let clients = [one.sign("acme", "alice", &["viewer"]), two.sign("acme", "alice", &["viewer"])];
    let [first, second] = clients.map(|token| server.with(&token));
    let third = server.with(&two.sign("acme", "bob", &["viewer"]));
    let statuses = || [&first, &second, &third].map(|client| client.get(PLUGINS).status);
    assert_eq!(statuses(), [200, 200, 200]);
    let shown = command(&admin, &server, &["issuers", "revoke", "id", "--kid", "one"]);
    assert_eq!((&shown["keys"][0]["revoked"], &shown["revoked"]), (&json!(true), &json!([{ "kid": "one" }])));
    assert_eq!(statuses(), [401, 200, 200]);
    command(&admin, &server, &["issuers", "revoke", "id", "--subject", "alice"]);
    assert_eq!(statuses(), [401, 401, 200]);
    // A power cut.
    let folder = server.kill().unwrap();
    let server = Server::on(folder.path(), &[]);
    let [admin, first, second, third] = [&admin, &first, &second, &third].map(|client| server.with(&client.token));
    let statuses = || [&first, &second, &third].map(|client| client.get(PLUGINS).status);
    assert_eq!(statuses(), [401, 401, 200]);
    command(&admin, &server, &["issuers", "restore", "id", "--subject", "alice"]);
    assert_eq!(statuses(), [401, 200, 200]);
    command(&admin, &server, &["issuers", "restore", "id", "--kid", "one"]);
    assert_eq!(statuses(), [200, 200, 200]);
    command(&admin, &server, &["issuers", "remove", "id"]);
    assert_eq!(statuses(), [401, 401, 401]);
    let audit = admin.get("/api/v1/audit?kind=issuer_revocation_set").expect(200).json();
    assert_eq!(audit["items"].as_array().unwrap().len(), 4);
    for body in [json!({}), json!({ "kid": "a", "subject": "b" }), json!({ "kid": "" }), json!({ "other": 1 })] {
        admin.post("/api/v1/issuers", &by_document("again", "acme", &[&one]));
        admin.post("/api/v1/issuers/again/revocations", &body).problem(400, "invalid_request");
    }
}

#[test]
fn f31_f34_keys_are_fetched_once_for_many_and_kept_while_the_provider_is_away() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let idp = Idp::start(&[&old]);
    let server = Server::start_with(&["--egress-private", &idp.address]);
    let admin = server.tenant("acme");
    let shown = admin.post("/api/v1/issuers", &by_url("id", "acme", &idp)).expect(201).json();
    assert_eq!((&shown["keys"][0]["kid"], idp.asked()), (&json!("old"), 1));
    assert!(shown["fetched_ms"].is_number());
    let user = server.with(&old.sign("acme", "alice", &["viewer"]));
    user.get(PLUGINS).expect(200);

    // The provider has a new key. Who comes with it before the provider may be asked again is refused, and so is every
    // stranger; none of them makes the server ask.
    idp.answer(&[&new]);
    let comes = server.with(&new.sign("acme", "alice", &["viewer"]));
    let stranger = Key::new("stranger");
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (server, stranger) = (&server, &stranger);
            scope.spawn(move || {
                for n in 0..25 {
                    let token = stranger.sign_as(&format!("{worker}-{n}"), "acme", "mallory", &["admin"]);
                    server.with(&token).get(PLUGINS).problem(401, "unauthenticated");
                }
            });
        }
    });
    let asked = idp.asked();
    assert!(asked <= 3, "200 unknown keys, {asked} questions");
    // Once it may be asked again, whoever comes with the new key waits for one and the same answer.
    std::thread::sleep(Duration::from_secs(11));
    let asked = idp.asked();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..16).map(|_| scope.spawn(|| comes.get(PLUGINS).status)).collect();
        waiting.into_iter().for_each(|one| assert_eq!(one.join().unwrap(), 200));
    });
    assert_eq!(idp.asked(), asked + 1, "one question for all who wait");
    user.get(PLUGINS).problem(401, "unauthenticated");

    // Away: what is known stays, and nobody waits for it.
    idp.fail();
    std::thread::sleep(Duration::from_secs(10));
    server.with(&stranger.sign("acme", "mallory", &["admin"])).get(PLUGINS).problem(401, "unauthenticated");
    let shown = command(&admin, &server, &["issuers", "show", "id"]);
    assert!(shown["fetch_error"].as_str().unwrap().contains("503"), "{shown}");
    comes.get(PLUGINS).expect(200);

    // Silent: who comes with an unknown key waits for a bounded time, the others not at all.
    idp.be_silent();
    std::thread::sleep(Duration::from_secs(10));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let began = Instant::now();
            server.with(&stranger.sign("acme", "mallory", &["admin"])).get(PLUGINS).problem(401, "unauthenticated");
            began.elapsed()
        });
        for _ in 0..10 {
            let began = Instant::now();
            comes.get(PLUGINS).expect(200);
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        }
        let waited = waits.join().unwrap();
        assert!(waited < Duration::from_secs(6), "{waited:?}");
    });

    // A restart fetches again, without being asked for it.
    idp.answer(&[&new]);
    let folder = server.kill().unwrap();
    let server = Server::on(folder.path(), &["--egress-private", &idp.address]);
    let comes = server.with(&comes.token);
    eventually("the keys are back", Duration::from_secs(10), || comes.get(PLUGINS).status == 200);
}

#[test]
fn f55_an_issuer_that_cannot_be_is_refused_before_anything_is_sent() {
    let server = Server::start();
    let (acme, other) = (server.tenant("acme"), server.tenant("other"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let with_url = |url: String| {
        let mut wish = wish("id", "acme");
        wish["jwks_url"] = json!(url);
        wish
    };
    for url in [
        format!("http://127.0.0.1:{port}/keys"),
        format!("https://127.0.0.1:{port}/keys"),
        format!("http://localhost:{port}/keys"),
        format!("https://[::ffff:127.0.0.1]:{port}/keys"),
        format!("https://2130706433:{port}/keys"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "http://id.example/keys".to_owned(),
        "https://user@id.example/keys".to_owned(),
        "file:///etc/passwd".to_owned(),
        String::new(),
        format!("https://id.example/{}", "x".repeat(1000)),
    ] {
        acme.post("/api/v1/issuers", &with_url(url.clone())).problem(400, "invalid_request");
    }
    assert!(listener.accept().is_err(), "something was sent");
    let key = Key::new("k");
    let changed = |field: &str, value: Value| {
        let mut wish = by_document("id", "acme", &[&key]);
        wish[field] = value;
        wish
    };
    for (what, wish) in [
        ("the node's own issuer", changed("issuer", json!("aimass"))),
        ("no issuer", changed("issuer", json!(""))),
        ("no audience", changed("audience", json!(""))),
        ("both sources", changed("jwks_url", json!("https://id.example/keys"))),
        ("no source", changed("jwks", Value::Null)),
        (
            "a private key",
            changed("jwks", json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "d": "AA" }] })),
        ),
        ("no usable key", changed("jwks", json!({ "keys": [] }))),
        ("a tenant", changed("tenant", json!("other"))),
        ("scopes", changed("scopes", json!(["operator"]))),
    ] {
        let answer = acme.post("/api/v1/issuers", &wish);
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
    }
    acme.post("/api/v1/issuers", &changed("name", json!("../x"))).problem(400, "invalid_name");
    assert_eq!(acme.get("/api/v1/issuers").expect(200).json()["items"], json!([]));
    acme.post("/api/v1/issuers", &by_document("id", "acme", &[&key])).expect(201);
    acme.post("/api/v1/issuers", &by_document("id", "b", &[&key])).problem(409, "conflict");
    // One issuer with one audience leads to one tenant.
    other.post("/api/v1/issuers", &by_document("id", "acme", &[&key])).problem(409, "conflict");
    other.post("/api/v1/issuers", &by_document("id", "other", &[&key])).expect(201);
    for n in 1..16 {
        acme.post("/api/v1/issuers", &by_document(&format!("n{n}"), &format!("a{n}"), &[&key])).expect(201);
    }
    acme.post("/api/v1/issuers", &by_document("more", "more", &[&key])).problem(409, "conflict");
}

#[test]
fn f34_the_nodes_signing_keys_are_rotated_and_revoked_without_locking_anybody_out() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let operator = server.operator();
    let keys = command(&operator, &server, &["signing-keys", "list"]);
    let first = keys[0]["kid"].as_str().unwrap().to_owned();
    assert_eq!(keys[0]["state"], "active");
    let second = command(&operator, &server, &["signing-keys", "rotate"])["kid"].as_str().unwrap().to_owned();
    let states = |client: &Client| -> Vec<(String, String)> {
        let keys = client.get("/api/v1/signing-keys").expect(200).json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        keys["items"].as_array().unwrap().iter().map(|key| (text(&key["kid"]), text(&key["state"]))).collect()
    };
    let pair = |kid: &str, state: &str| (kid.to_owned(), state.to_owned());
    assert_eq!(states(&operator), [pair(&second, "active"), pair(&first, "grace")]);
    acme.get(PLUGINS).expect(200);
    let fresh = server.token("acme", &["plugins:read"]);

    // The key of the operator's own token: not with that token.
    operator.delete(&format!("/api/v1/signing-keys/{first}")).problem(409, "conflict");
    operator.delete("/api/v1/signing-keys/none").problem(404, "not_found");
    let minted = operator.post("/api/v1/tokens", &json!({ "subject": "operator", "scopes": ["operator"] })).expect(201);
    let new = server.with(minted.json()["token"].as_str().unwrap());
    command(&new, &server, &["signing-keys", "revoke", &first]);
    assert_eq!(states(&new), [pair(&second, "active"), pair(&first, "revoked")]);
    for gone in [&acme, &operator] {
        gone.get("/api/v1/tokens").problem(401, "unauthenticated");
    }
    fresh.get(PLUGINS).expect(200);
    let published = server.anonymous().get("/.well-known/jwks.json").expect(200).json();
    assert_eq!((published["keys"].as_array().unwrap().len(), &published["keys"][0]["kid"]), (1, &json!(second)));
    let audit = new.get("/api/v1/audit?kind=signing_key_revoked").expect(200).json();
    assert_eq!(audit["items"][0]["object"], json!(first));

    // The file that a node's owner starts from is good again after a restart.
    let folder = server.kill().unwrap();
    let server = Server::on(folder.path(), &[]);
    server.operator().get("/api/v1/tenants").expect(200);
    server.with(&fresh.token).get(PLUGINS).expect(200);
    server.with(&acme.token).get(PLUGINS).problem(401, "unauthenticated");
}
