//! Secrets, keys and erasure through the running server.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Server, binary, guests, onnx};

/// Runs `aimass` with a token and perhaps something on its standard input.
fn run(client: &Client, server: &Server, arguments: &[&str], input: &str) -> Result<Value, String> {
    let mut child = Command::new(binary())
        .args(["--json", "--url", &server.url, "--token", &client.token])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap_or_default()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The files below a folder that hold one of these.
fn holding(folder: &Path, planted: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = vec![];
    for path in files(folder) {
        let bytes = fs::read(&path).unwrap();
        for secret in planted {
            if holds(&bytes, secret.as_bytes()) {
                found.push((path.clone(), (*secret).to_owned()));
            }
        }
    }
    found
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    memchr::memmem::find(bytes, what).is_some()
}

fn backup(server: &Server, to: &Path) {
    let data = server.data.to_str().unwrap();
    let output = Command::new(binary()).args(["backup", to.to_str().unwrap(), "--data", data]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn restore(from: &Path, to: &Path) {
    let arguments = ["restore", from.to_str().unwrap(), "--data", to.to_str().unwrap()];
    let output = Command::new(binary()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_secret_reaches_the_guest_and_nobody_else() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/keeper", guests::keeper()).expect(201);
    acme.put_json("/api/v1/plugins/keeper/config", &json!({ "plain": "setting-value" })).expect(200);
    acme.get("/fn/acme/keeper/setting/token").expect(404);
    let set = run(&acme, &server, &["secrets", "set", "keeper", "token"], "hush-1\n").unwrap();
    assert_eq!((&set["key"], &set["set_by"], &set["configuration"]), (&json!("token"), &json!("test"), &json!(2)));
    assert_eq!(acme.get("/fn/acme/keeper/setting/token").expect(200).text(), "hush-1");
    assert_eq!(acme.get("/fn/acme/keeper/setting/plain").expect(200).text(), "setting-value");

    // Set again, from a file; another one; the list shows no value.
    let file = server.data.join("value");
    fs::write(&file, "hush-2").unwrap();
    let from_file = ["secrets", "set", "keeper", "token", "--from-file", file.to_str().unwrap()];
    run(&acme, &server, &from_file, "").unwrap();
    fs::remove_file(&file).unwrap();
    acme.put("/api/v1/plugins/keeper/secrets/other", b"hush-3").expect(201);
    acme.put("/api/v1/plugins/keeper/secrets/other", b"hush-3").expect(200);
    assert_eq!(acme.get("/fn/acme/keeper/setting/token").expect(200).text(), "hush-2");
    let listed = run(&acme, &server, &["secrets", "list", "keeper"], "").unwrap();
    let keys: Vec<_> = listed.as_array().unwrap().iter().map(|secret| secret["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["other", "token"]);
    let page = acme.get("/api/v1/plugins/keeper/secrets?limit=1").expect(200).json();
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next"]), (1, &json!("other")));
    for path in ["/api/v1/plugins/keeper/secrets", "/api/v1/plugins/keeper/config", "/api/v1/plugins/keeper"] {
        assert!(!acme.get(path).expect(200).text().contains("hush"), "{path}");
    }
    // The settings are replaced, and the secrets stay.
    acme.put_json("/api/v1/plugins/keeper/config", &json!({ "token": "a setting", "b": "c" })).expect(200);
    assert_eq!(acme.get("/fn/acme/keeper/setting/token").expect(200).text(), "hush-2");
    assert_eq!(acme.get("/fn/acme/keeper/setting/plain").expect(404).text(), "none");
    let token = acme.token.clone();
    let data = server.data.clone();
    let _folder = server.kill();
    let server = Server::on(&data, &[]);
    let acme = server.with(&token);
    assert_eq!(acme.get("/fn/acme/keeper/setting/token").expect(200).text(), "hush-2");
    run(&acme, &server, &["secrets", "delete", "keeper", "token"], "").unwrap();
    assert_eq!(acme.get("/fn/acme/keeper/setting/token").expect(200).text(), "a setting");
    assert!(run(&acme, &server, &["secrets", "delete", "keeper", "token"], "").is_err());

    let audit = acme.get("/api/v1/audit").expect(200).json();
    let objects = |kind: &str| {
        let items = audit["items"].as_array().unwrap().iter().filter(|item| item["kind"] == kind);
        items.map(|item| item["object"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(objects("secret_set"), ["keeper token", "keeper token", "keeper other", "keeper other"]);
    assert_eq!(objects("secret_deleted"), ["keeper token"]);
    assert!(objects("read").contains(&"secrets keeper".to_owned()));
    let export = server.operator().get("/api/v1/audit/export").expect(200).text();
    assert!(!export.contains("hush") && !export.contains("a setting"));
}

#[test]
fn what_is_no_secret_is_refused_without_being_repeated() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/keeper", guests::keeper()).expect(201);
    let path = |key: &str| format!("/api/v1/plugins/keeper/secrets/{key}");
    acme.put(&path("x"), b"").problem(400, "invalid_request");
    let refused = acme.put(&path("x"), b"hush\xff").problem(400, "invalid_request");
    assert!(!refused.text().contains("hush"));
    acme.put(&path("a%20b"), b"v").problem(400, "invalid_request");
    acme.put(&path(&"k".repeat(129)), b"v").problem(400, "invalid_request");
    acme.put(&path("x"), &vec![b'v'; (32 << 10) + 1]).problem(413, "payload_too_large");
    acme.put(&path("x"), &vec![b'v'; 32 << 10]).expect(201);
    assert_eq!(acme.get("/fn/acme/keeper/setting/x").expect(200).body.len(), 32 << 10);
    acme.put("/api/v1/plugins/nobody/secrets/x", b"v").problem(404, "not_found");
    acme.delete(&path("y")).problem(404, "not_found");
    for n in 0..63 {
        acme.put(&path(&format!("n{n}")), b"v").expect(201);
    }
    acme.put(&path("one-more"), b"v").problem(413, "payload_too_large");
    // A plugin of the same name knows nothing of the one before.
    acme.delete("/api/v1/plugins/keeper").expect(204);
    acme.put("/api/v1/plugins/keeper", guests::keeper()).expect(201);
    acme.get("/fn/acme/keeper/setting/x").expect(404);
    let secret = acme.put(&path("x"), b"v").expect(201).json();
    assert_eq!(secret["configuration"], 65);
}

#[test]
fn f64_keys_are_rotated_while_serving_and_a_kill_in_the_middle_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::on(folder.path(), &[]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/keeper", guests::keeper()).expect(201);
    acme.put("/api/v1/plugins/keeper/secrets/token", b"hush").expect(201);
    // An alias that serves with a configuration which is not the newest.
    acme.put_json("/api/v1/plugins/keeper/aliases/prod", &json!({ "version": 1 })).expect(200);
    acme.put("/api/v1/plugins/keeper/secrets/token", b"newer").expect(200);
    acme.send("POST", "/fn/acme/keeper/kept/k", &[], b"value").expect(200);
    acme.put("/api/v1/models/tiny", &onnx::relu(4)).expect(201);
    let operator = server.operator();
    let key = run(&operator, &server, &["keys", "rotate"], "").unwrap();
    assert_eq!((&key["generation"], &key["tenants"]), (&json!(2), &json!(1)));
    run(&acme, &server, &["keys", "rotate"], "").expect_err("it is the operator's");
    let token = acme.token.clone();
    for round in 0..8u64 {
        let (url, operator) = (server.url.clone(), server.operator().token.clone());
        let rotations = std::thread::spawn(move || {
            let operator = Client::new(&url, &operator);
            while operator.try_send("POST", "/api/v1/keys", &[], b"").is_ok() {}
        });
        std::thread::sleep(Duration::from_millis(20 + 7 * round));
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        rotations.join().unwrap();
        server = Server::on(folder.path(), &[]);
        let acme = server.with(&token);
        assert_eq!(acme.get("/fn/acme/keeper/setting/token").expect(200).text(), "hush");
        assert_eq!(acme.get("/fn/acme/keeper@1/setting/token").expect(200).text(), "newer");
        assert_eq!(acme.get("/fn/acme/keeper/kept/k").expect(200).text(), "value");
        let keys = server.operator().get("/api/v1/keys?limit=100").expect(200).json();
        let wraps: Vec<_> = keys["items"].as_array().unwrap().iter().filter(|key| key["tenants"] != 0).collect();
        if keys["next"].is_null() {
            assert_eq!(wraps.len(), 1, "the start has ended it: {keys}");
            assert_eq!(wraps[0]["newest"], true);
        }
    }
    let report = server.operator().get("/api/v1/audit/verify").expect(200).json();
    assert!(report["first_bad"].is_null());
}

#[test]
fn f40_an_erased_tenant_is_gone_from_the_server_and_from_an_older_backup() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let (acme, rival) = (server.tenant("acme"), server.tenant("rival"));
    for tenant in [&acme, &rival] {
        let name = if std::ptr::eq(tenant, &acme) { "acme" } else { "rival" };
        tenant.put("/api/v1/plugins/keeper", guests::keeper()).expect(201);
        tenant.put("/api/v1/plugins/keeper/secrets/token", b"hush").expect(201);
        tenant.put_json("/api/v1/plugins/keeper/aliases/prod", &json!({ "version": 1 })).expect(200);
        tenant.put("/api/v1/plugins/keeper/secrets/token", b"newer").expect(200);
        tenant.put_json("/api/v1/plugins/keeper/access", &json!({ "public": true })).expect(200);
        tenant.send("POST", &format!("/fn/{name}/keeper/kept/k"), &[], b"value").expect(200);
        tenant.put("/api/v1/models/tiny", &onnx::relu(4)).expect(201);
    }
    acme.put("/api/v1/plugins/own", guests::counter()).expect(201);
    acme.send("POST", "/fn/acme/own/hits", &[], b"").expect(200);
    let compiled = files(&server.data.join("compiled")).len();
    let old = folder.path().join("backup");
    backup(&server, &old);

    let operator = server.operator();
    let refused = run(&operator, &server, &["tenants", "erase", "acme"], "").unwrap_err();
    assert!(refused.contains("--yes"), "{refused}");
    operator.delete("/api/v1/tenants/acme").problem(400, "invalid_request");
    operator.delete("/api/v1/tenants/acme?confirm=rival").problem(400, "invalid_request");
    acme.delete("/api/v1/tenants/acme?confirm=acme").problem(403, "insufficient_scope");
    // A call under way ends with the tenant.
    let sleeper = acme.clone();
    let call = std::thread::spawn(move || sleeper.get("/fn/acme/keeper/sleep"));
    std::thread::sleep(Duration::from_millis(300));
    let begun = std::time::Instant::now();
    run(&operator, &server, &["tenants", "erase", "acme", "--yes"], "").unwrap();
    call.join().unwrap().expect(404);
    assert!(begun.elapsed() < Duration::from_secs(20), "it did not wait for the call's own end");

    operator.get("/api/v1/tenants/acme").problem(404, "not_found");
    operator.delete("/api/v1/tenants/acme?confirm=acme").problem(404, "not_found");
    operator.post("/api/v1/tenants", &json!({ "name": "acme" })).problem(409, "conflict");
    operator.post("/api/v1/tenants/acme/tokens", &json!({ "subject": "x", "scopes": ["plugins:read"] })).expect(404);
    acme.get("/api/v1/plugins").problem(401, "unauthenticated");
    acme.get("/fn/acme/keeper/kept/k").expect(401);
    rival.get("/fn/acme/keeper/kept/k").expect(404);
    assert_eq!(rival.get("/fn/rival/keeper/setting/token").expect(200).text(), "hush");
    assert_eq!(rival.get("/fn/rival/keeper/kept/k").expect(200).text(), "value");
    assert!(!server.data.join("store/blobs/acme").exists());
    let left = files(&server.data.join("compiled")).len();
    assert_eq!(left, compiled - 1, "its own is gone, and what another one has stays");
    let report = operator.get("/api/v1/audit/verify").expect(200).json();
    assert!(report["first_bad"].is_null());
    let erased = operator.get("/api/v1/audit?kind=tenant_erased").expect(200).json();
    assert_eq!(erased["items"][0]["tenant"], "acme");

    // Both as they are, and as a backup of before shows them.
    let (data, key) = (server.data.clone(), server.data.join("sealing/key"));
    let acme = acme.token.clone();
    let _folder = server.kill();
    let check = |server: Server| {
        server.operator().get("/api/v1/tenants/acme").problem(404, "not_found");
        assert_ne!(server.with(&acme).get("/api/v1/plugins").status, 200);
        let rival = server.token("rival", &["plugins:invoke", "plugins:read", "models:read"]);
        assert_eq!(rival.get("/fn/rival/keeper/setting/token").expect(200).text(), "hush");
        assert_eq!(rival.get("/fn/rival/keeper/kept/k").expect(200).text(), "value");
        rival.get("/fn/acme/keeper/kept/k").expect(404);
        assert!(server.operator().get("/api/v1/audit/verify").expect(200).json()["first_bad"].is_null());
        drop(server.kill());
    };
    check(Server::on(&data, &[]));
    let restored = folder.path().join("restored");
    restore(&old, &restored);
    check(Server::on(&restored, &["--key-file", key.to_str().unwrap()]));
    assert_eq!(holding(&restored, &["hush"]), []);
}

/// The pages of a process that it has written to and that are in memory, one behind the other. The rest of its address
/// space is reserved, and holds nothing.
fn memory(pid: u32) -> Vec<u8> {
    use std::os::unix::fs::FileExt as _;
    const PAGE: u64 = 4096;
    let open = |what: &str| fs::File::open(format!("/proc/{pid}/{what}")).unwrap();
    let (memory, pages) = (open("mem"), open("pagemap"));
    let mut found = vec![];
    for line in fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines() {
        let mut fields = line.split(' ');
        let (low, high) = fields.next().unwrap().split_once('-').unwrap();
        if !fields.next().unwrap().contains('w') {
            continue;
        }
        let [low, high] = [low, high].map(|hex| u64::from_str_radix(hex, 16).unwrap() / PAGE);
        let mut at = low;
        while at < high {
            let count = (high - at).min(1 << 16);
            let mut entries = vec![0; count as usize * 8];
            pages.read_exact_at(&mut entries, at * 8).unwrap();
            for (n, entry) in (at..).zip(entries.chunks(8)) {
                // Bit 63: present; bit 62: swapped out.
                let mut page = [0; PAGE as usize];
                if entry[7] & 0xc0 != 0 && memory.read_exact_at(&mut page, n * PAGE).is_ok() {
                    found.extend(page);
                }
            }
            at += count;
        }
    }
    found
}

/// A signing key as a release before there was sealing left it; its private half.
fn plant_signing_key(keys: &Path) -> Vec<u8> {
    use base64::Engine as _;
    use std::os::unix::fs::PermissionsExt as _;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let x = encode(pair.public_key_raw());
    let kid =
        encode(aimass_core::Digest::of(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes()).as_bytes());
    let row = json!({ "kid": kid, "x": x, "created": 1, "revoked": false });
    let state = json!({ "format": 1, "active": kid, "keys": [row] }).to_string();
    fs::create_dir_all(keys).unwrap();
    let private = pair.serialize_der();
    for (name, bytes) in [("keys.json".to_owned(), state.as_bytes()), (format!("{kid}.pk8"), &private)] {
        fs::write(keys.join(&name), bytes).unwrap();
        fs::set_permissions(keys.join(&name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    // RFC 8410 §7: an octet string of an octet string of 32 bytes.
    let start = private.windows(4).position(|part| part == [0x04, 0x22, 0x04, 0x20]).unwrap() + 4;
    private[start..start + 32].to_vec()
}

#[test]
fn planted_secrets_are_in_no_file_no_backup_and_not_in_the_memory_of_an_idle_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let seed = plant_signing_key(&data.join("keys"));
    let server = Server::on(&data, &[]);
    let acme = server.tenant("acme");
    let planted = ["setting", "secret", "small", "large", "model"].map(|what| {
        let nonce = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), what);
        format!("pl4nted-{what}-{nonce:016x}")
    });
    let [setting, secret, small, large, model] = &planted;
    acme.put("/api/v1/plugins/keeper", guests::keeper()).expect(201);
    acme.put_json("/api/v1/plugins/keeper/config", &json!({ "setting": setting })).expect(200);
    acme.put("/api/v1/plugins/keeper/secrets/secret", secret.as_bytes()).expect(201);
    acme.send("POST", "/fn/acme/keeper/kept/small", &[], small.as_bytes()).expect(200);
    acme.send("POST", "/fn/acme/keeper/kept/large", &[], large.repeat(500).as_bytes()).expect(200);
    acme.put("/api/v1/models/tiny", &onnx::named_relu(4, model)).expect(201);
    // All of it is used, too.
    for (path, value) in [("setting/setting", setting), ("setting/secret", secret), ("kept/small", small)] {
        assert_eq!(&acme.get(&format!("/fn/acme/keeper/{path}")).expect(200).text(), value);
    }
    assert_eq!(acme.get("/fn/acme/keeper/kept/large").expect(200).text(), large.repeat(500));
    let tensor = json!({ "name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4] });
    acme.post("/v2/models/tiny/infer", &json!({ "inputs": [tensor] })).expect(200);
    let saved = folder.path().join("backup");
    backup(&server, &saved);

    let mut all: Vec<(&str, &[u8])> = planted.iter().map(|text| (text.as_str(), text.as_bytes())).collect();
    all.push(("the signing key", &seed));
    for place in [&data, &saved] {
        for path in files(place) {
            let bytes = fs::read(&path).unwrap();
            for (what, planted) in &all {
                assert!(!holds(&bytes, planted), "{what} is in {}", path.display());
            }
        }
    }
    // The search finds what is there: a name is no secret.
    assert!(!holding(&data, &["keeper"]).is_empty());
    // Idle: its connections are closed by now.
    drop(acme);
    std::thread::sleep(Duration::from_secs(2));
    let memory = memory(server.child.id());
    assert!(holds(&memory, b"keeper"), "the search finds what is there");
    let left: Vec<_> = all.iter().filter(|(_, planted)| holds(&memory, planted)).map(|(what, _)| *what).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_key_from_a_command_seals_the_key_file() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let server = Server::on(data, &[]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/keeper", guests::keeper()).expect(201);
    acme.put("/api/v1/plugins/keeper/secrets/token", b"hush").expect(201);
    let token = acme.token.clone();
    let file = data.join("sealing/key");
    assert!(fs::read_to_string(&file).unwrap().contains("generations"));
    drop(server.kill());
    // A later start seals the file that is there; from then on it is of no use by itself.
    let command = ["--key-command", "printf '%064d' 7"];
    let server = Server::on(data, &command);
    assert_eq!(server.with(&token).get("/fn/acme/keeper/setting/token").expect(200).text(), "hush");
    server.operator().post("/api/v1/keys", &json!({})).expect(201);
    drop(server.kill());
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("sealed") && !text.contains("generations"));
    let refused = |arguments: &[&str], why: &str| {
        let said = Server::try_on(data, arguments).map(drop).expect_err("it must not start");
        assert!(said.contains(why), "{said}");
    };
    refused(&[], "--key-env");
    refused(&["--key-command", "printf '%064d' 8"], "does not open");
    refused(&["--key-command", "exit 3"], "failed");
    refused(&["--key-env", "AIMASS_TEST_NO_SUCH_VARIABLE"], "is not set");
    let server = Server::on(data, &command);
    assert_eq!(server.with(&token).get("/fn/acme/keeper/setting/token").expect(200).text(), "hush");
}
