//! Backup, restore and rebuild through the real binary: under load, with a bit flipped in every kind of file, and
//! killed in the middle.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Server, binary, eventually, guests, onnx};

/// Runs `aimass` over a data folder: its document, or what it refused with.
fn run(arguments: &[&str]) -> Result<Value, String> {
    let output = Command::new(binary()).arg("--json").args(arguments).output().unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() { found.extend(files(&entry)) } else { found.push(entry) }
    }
    found
}

fn flip(path: &Path, at: usize) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    let mut flipped = bytes.clone();
    flipped[at] ^= 0x10;
    fs::write(path, flipped).unwrap();
    bytes
}

#[test]
fn f42_a_backup_under_load_holds_what_was_acknowledged_before_it() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/steady", guests::counter()).expect(201);
    let (stop, counted, uploaded) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let (mut hits, mut models) = (vec![], vec![]);
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for writer in 0..3 {
            let (acme, stop, counted, uploaded) = (&acme, &stop, &counted, &uploaded);
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    if writer == 0 {
                        let hit = acme.send("POST", "/fn/acme/steady/hits", &[], b"").expect(200);
                        counted.store(hit.text().trim().parse().unwrap(), Ordering::SeqCst);
                    } else if writer == 1 {
                        let model = onnx::named_relu(4, &n.to_string());
                        acme.put(&format!("/api/v1/models/m{n}"), &model).expect(201);
                        uploaded.store(n + 1, Ordering::SeqCst);
                    } else {
                        let wish = json!({ "subject": "load", "scopes": ["plugins:read"] });
                        acme.post("/api/v1/tokens", &wish).expect(201);
                    }
                }
            });
        }
        for n in 0..3 {
            std::thread::sleep(Duration::from_millis(400));
            hits.push(counted.load(Ordering::SeqCst));
            models.push(uploaded.load(Ordering::SeqCst));
            let to = folder.path().join(format!("b{n}"));
            let taken = run(&["backup", text(&to), "--data", text(&server.data), "--with-keys"]).unwrap();
            assert!(taken["records"].as_u64().unwrap() > 4 && taken["blobs"].as_u64().unwrap() > models[n]);
        }
    });
    assert!(hits[2] > hits[0] && models[2] > models[0], "there was load: {hits:?} {models:?}");
    for n in 0..3 {
        let data = folder.path().join(format!("restored{n}"));
        run(&["restore", text(&folder.path().join(format!("b{n}"))), "--data", text(&data)]).unwrap();
        let restored = Server::on(&data, &[]);
        // The keys came along, so the same token is good.
        let acme = restored.with(&acme.token);
        for m in 0..models[n] {
            acme.get(&format!("/api/v1/models/m{m}")).expect(200);
        }
        let next = acme.send("POST", "/fn/acme/steady/hits", &[], b"").expect(200).text();
        let next: u64 = next.trim().parse().unwrap();
        assert!(next > hits[n], "{} was acknowledged before the backup, then came {next}", hits[n]);
    }
}

/// A failed assertion ends the writers as well.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn f45_a_bit_flipped_in_any_file_of_a_backup_is_refused_and_named() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/steady", guests::counter()).expect(201);
    acme.send("POST", "/fn/acme/steady/hits", &[], b"").expect(200);
    let (backup, data) = (folder.path().join("b"), folder.path().join("data"));
    run(&["backup", text(&backup), "--data", text(&server.data), "--with-keys"]).unwrap();
    let again = run(&["backup", text(&backup), "--data", text(&server.data)]).unwrap_err();
    assert!(again.contains("is there already"), "{again}");

    let all = files(&backup);
    for kind in ["/journal/", "/kv/", "/blobs/", "/keys/", "manifest.json", "manifest.b3"] {
        assert!(all.iter().any(|path| text(path).contains(kind)), "no {kind} in {all:?}");
    }
    for path in &all {
        let length = fs::metadata(path).unwrap().len() as usize;
        for at in [0, length / 2, length - 1] {
            let bytes = flip(path, at);
            let refused = run(&["restore", text(&backup), "--data", text(&data)]).unwrap_err();
            let name = text(path).rsplit('/').next().unwrap();
            assert!(refused.contains(name), "{name} at {at}: {refused}");
            assert!(run(&["restore", text(&backup), "--check"]).is_err());
            assert!(!data.exists(), "nothing is left of it");
            fs::write(path, bytes).unwrap();
        }
        let aside = folder.path().join("aside");
        fs::rename(path, &aside).unwrap();
        let refused = run(&["restore", text(&backup), "--data", text(&data)]).unwrap_err();
        assert!(refused.contains(text(path).rsplit('/').next().unwrap()), "{refused}");
        fs::rename(&aside, path).unwrap();
    }
    fs::create_dir(&data).unwrap();
    fs::write(data.join("mine"), "x").unwrap();
    let refused = run(&["restore", text(&backup), "--data", text(&data)]).unwrap_err();
    assert!(refused.contains("is not empty"), "{refused}");
    fs::remove_file(data.join("mine")).unwrap();
    run(&["restore", text(&backup), "--data", text(&data)]).unwrap();
    Server::on(&data, &[]).with(&acme.token).get("/api/v1/plugins/steady").expect(200);

    // Without the keys: no secret in it, the old tokens are refused, and the operator has a new one.
    let (backup, data) = (folder.path().join("b2"), folder.path().join("data2"));
    run(&["backup", text(&backup), "--data", text(&server.data)]).unwrap();
    assert!(!backup.join("keys").exists());
    run(&["restore", text(&backup), "--data", text(&data)]).unwrap();
    let restored = Server::on(&data, &[]);
    restored.with(&acme.token).get("/api/v1/plugins/steady").expect(401);
    restored.token("acme", &["plugins:read"]).get("/api/v1/plugins/steady").expect(200);
}

#[test]
fn f43_a_backup_that_is_killed_leaves_the_data_and_is_no_backup() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let acme = server.tenant("acme");
    for n in 0..20 {
        acme.put(&format!("/api/v1/models/m{n}"), &onnx::named_relu(4, &n.to_string())).expect(201);
    }
    let mut partial = 0;
    for n in 0..8u64 {
        let to = folder.path().join(format!("b{n}"));
        let begun = folder.path().join(format!("b{n}.partial"));
        let mut child = Command::new(binary())
            .args(["backup", text(&to), "--data", text(&server.data)])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the backup has begun", Duration::from_secs(30), || begun.exists() || to.exists());
        std::thread::sleep(Duration::from_millis(5 * n));
        let _ = child.kill();
        child.wait().unwrap();
        if to.exists() {
            run(&["restore", text(&to), "--check"]).expect("it has its name, so it is whole");
            continue;
        }
        partial += 1;
        let refused = run(&["restore", text(&begun), "--check"]);
        // Between the manifest and the name it is whole already.
        assert!(refused.is_ok() || refused.unwrap_err().contains("is no finished backup"));
        // The next try under the same name takes its place.
        run(&["backup", text(&to), "--data", text(&server.data)]).unwrap();
        assert!(!begun.exists());
    }
    assert!(partial > 0, "none was killed in the middle");
    for n in 0..20 {
        acme.get(&format!("/api/v1/models/m{n}")).expect(200);
    }
    // A restore: the data folder is there whole, or not at all.
    let data = folder.path().join("data");
    for n in 0..8u64 {
        let mut child = Command::new(binary())
            .args(["restore", text(&folder.path().join("b0")), "--data", text(&data)])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begun = folder.path().join("data.partial");
        eventually("the restore has begun", Duration::from_secs(30), || begun.exists() || data.exists());
        std::thread::sleep(Duration::from_millis(5 * n));
        let _ = child.kill();
        child.wait().unwrap();
        if data.exists() {
            let restored = Server::on(&data, &[]);
            restored.token("acme", &["models:read"]).get("/api/v1/models/m19").expect(200);
            drop(restored.kill());
            fs::remove_dir_all(&data).unwrap();
        }
    }
    run(&["restore", text(&folder.path().join("b0")), "--data", text(&data)]).unwrap();
    assert!(!folder.path().join("data.partial").exists());
    let restarted = server.data.clone();
    let token = acme.token.clone();
    let _folder = server.kill();
    Server::on(&restarted, &[]).with(&token).get("/api/v1/models/m19").expect(200);
}

#[test]
fn f45_a_bit_flipped_in_any_kind_of_file_is_noticed_and_never_served() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/steady", guests::counter()).expect(201);
    acme.send("POST", "/fn/acme/steady/hits", &[], b"").expect(200);
    acme.send("POST", "/fn/acme/steady/hits", &[], b"").expect(200);
    let (data, token) = (server.data.clone(), acme.token.clone());
    let _folder = server.kill();
    let store = data.join("store");

    // The logs: the server names the file, and does not start.
    for log in ["journal", "kv"] {
        let log = files(&store.join(log)).into_iter().find(|path| text(path).ends_with(".log")).unwrap();
        let length = fs::metadata(&log).unwrap().len() as usize;
        for at in [3, 40, length / 2, length - 2] {
            let bytes = flip(&log, at);
            let said = Server::try_on(&data, &[]).map(drop).expect_err("it must not start");
            assert!(said.contains(text(&log)), "{at}: {said}");
            fs::write(&log, bytes).unwrap();
        }
    }
    // The index: built anew, or it did not matter; what is served is right.
    for path in files(&store).into_iter().filter(|path| text(path).contains("/index-")) {
        let length = fs::metadata(&path).unwrap().len() as usize;
        for at in [0, length / 3, length / 2].into_iter().filter(|at| *at < length) {
            let Ok(_) = fs::metadata(&path) else { break };
            flip(&path, at);
            let server = Server::on(&data, &[]);
            let versions = server.with(&token).get("/api/v1/plugins/steady/versions").expect(200).json();
            assert_eq!(versions["items"].as_array().unwrap().len(), 1);
            drop(server.kill());
        }
    }
    // The blob: the call fails, and nothing else comes out. Compiled code of before is no way round.
    fs::remove_dir_all(data.join("compiled")).unwrap();
    let blob = files(&store.join("blobs/acme")).remove(0);
    let bytes = flip(&blob, 1000);
    let server = Server::on(&data, &[]);
    server.with(&token).send("POST", "/fn/acme/steady/hits", &[], b"").problem(500, "integrity");
    fs::write(&blob, bytes).unwrap();
    drop(server.kill());
    let server = Server::on(&data, &[]);
    assert_eq!(server.with(&token).send("POST", "/fn/acme/steady/hits", &[], b"").expect(200).text().trim(), "3");
}

#[test]
fn the_index_is_rebuilt_offline() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/models/tiny", &onnx::relu(4)).expect(201);
    let used = run(&["rebuild", "--data", text(&server.data)]).unwrap_err();
    assert!(used.contains("used by another server"), "{used}");
    let (data, token) = (server.data.clone(), acme.token.clone());
    let _folder = server.kill();
    for path in fs::read_dir(data.join("store")).unwrap().map(|e| e.unwrap().path()) {
        if text(&path).contains("/index-") {
            fs::remove_dir_all(path).unwrap();
        }
    }
    let rebuilt = run(&["rebuild", "--data", text(&data)]).unwrap();
    // Two tokens, a tenant, a model.
    assert_eq!(rebuilt["records"], 4);
    Server::on(&data, &[]).with(&token).get("/api/v1/models/tiny").expect(200);
}
