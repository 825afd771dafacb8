//! Components that are slow, huge or deadly to compile: what they cost is their own upload.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Client, Server, binary, eventually, guests};

/// A component that takes about a tenth of a second of a processor for each of its modules. None of them is
/// instantiated, so it is a plugin like `hello`.
fn slow(modules: usize) -> Vec<u8> {
    let step = "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.load (local.get 1))) (local.get 2)))
        (local.set 1 (i32.xor (local.get 2) (i32.rotl (local.get 0) (i32.const 7))))
        (local.set 2 (i32.sub (i32.load (local.get 0)) (local.get 1)))";
    let function = format!("(func (local i32 i32 i32) {})", step.repeat(500));
    let module = wat::parse_str(format!("(module (memory 1) {})", function.repeat(20))).unwrap();
    let mut component = guests::hello().to_vec();
    for _ in 0..modules {
        // A section of a component: a core module, with its length as LEB128 in front.
        component.push(1);
        let mut length = module.len();
        while length >= 0x80 {
            component.push(length as u8 | 0x80);
            length >>= 7;
        }
        component.push(length as u8);
        component.extend_from_slice(&module);
    }
    component
}

fn put(client: &Client, name: &str, prefer: &str, component: &[u8]) -> crate::support::Answer {
    client.send("PUT", &format!("/api/v1/plugins/{name}"), &[("prefer", prefer)], component)
}

/// Follows an accepted upload to its end.
fn ended(client: &Client, location: &str) -> Value {
    let mut status = Value::Null;
    eventually("the upload ends", Duration::from_secs(100), || {
        status = client.get(location).expect(200).json();
        status["state"] == "ready" || status["state"] == "failed"
    });
    status
}

#[test]
fn f05_what_is_slow_to_compile_is_stopped_and_others_go_on() {
    let server = Server::start_with(&["--compile-seconds", "1", "--compilers", "1"]);
    let (acme, other) = (server.tenant("acme"), server.tenant("other"));
    other.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    other.get("/fn/other/hello/").expect(200);
    let bomb = slow(100);
    std::thread::scope(|scope| {
        let bombing = scope.spawn(|| acme.put("/api/v1/plugins/bomb", &bomb));
        eventually("it is being compiled", Duration::from_secs(30), || !server.compilers().is_empty());
        eventually("it gives way to calls", Duration::from_secs(5), || {
            server.compilers().first().is_none_or(|pid| {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                // Field 19; the third is the first behind the name.
                let nice = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(16));
                nice == Some("15")
            })
        });
        // Another tenant is answered meanwhile; by the median, for the test itself competes for the cores.
        let mut waits: Vec<Duration> = (0..20)
            .map(|_| {
                let started = Instant::now();
                other.get("/fn/other/hello/").expect(200);
                started.elapsed()
            })
            .collect();
        waits.sort();
        assert!(waits[10] < Duration::from_millis(250), "{waits:?}");
        let problem = bombing.join().unwrap().problem(422, "compile_budget").json();
        assert!(problem["detail"].as_str().unwrap().contains("processor time"), "{problem}");
    });
    eventually("no child is left", Duration::from_secs(5), || server.compilers().is_empty());
    acme.get("/api/v1/plugins/bomb").problem(404, "not_found");
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
}

#[test]
fn f05_what_takes_too_much_memory_to_compile_is_stopped() {
    let server = Server::start_with(&["--compile-memory-mib", "64"]);
    let acme = server.tenant("acme");
    let memory = server.figure("VmRSS");
    let problem = acme.put("/api/v1/plugins/bomb", &slow(60)).problem(422, "compile_budget").json();
    assert!(problem["detail"].as_str().unwrap().contains("MiB of memory"), "{problem}");
    // It was not the server's memory.
    eventually("the memory is back", Duration::from_secs(5), || server.figure("VmRSS") < memory + (96 << 10));
}

#[test]
fn a_compiler_that_is_killed_costs_its_upload() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let component = slow(100);
    std::thread::scope(|scope| {
        let upload = scope.spawn(|| acme.put("/api/v1/plugins/big", &component));
        eventually("it is being compiled", Duration::from_secs(30), || !server.compilers().is_empty());
        for pid in server.compilers() {
            assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
        }
        let problem = upload.join().unwrap().problem(422, "invalid_component").json();
        assert!(problem["detail"].as_str().unwrap().contains("broke the compiler"), "{problem}");
    });
    server.anonymous().get("/healthz").expect(200);
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
}

#[test]
fn a_large_component_is_compiled_in_the_background() {
    let server = Server::start_with(&["--upload-wait-seconds", "0"]);
    let acme = server.tenant("acme");
    let component = slow(4);
    let accepted = acme.send("PUT", "/api/v1/plugins/big", &[("prefer", "")], &component).expect(202);
    let location = accepted.header("location").to_owned();
    let status = accepted.json();
    assert!(["queued", "compiling"].contains(&status["state"].as_str().unwrap()), "{status}");
    assert_eq!(location, format!("/api/v1/uploads/{}", status["id"].as_str().unwrap()));
    // The name is taken until it has ended, and nobody else sees it.
    put(&acme, "big", "wait=60", guests::hello()).problem(409, "upload_in_progress");
    server.tenant("other").get(&location).problem(404, "not_found");
    let mut seconds = 0.0;
    eventually("it says for how long it has been compiled", Duration::from_secs(60), || {
        let status = acme.get(&location).expect(200).json();
        seconds = status["seconds"].as_f64().unwrap_or(seconds);
        seconds > 0.0 || status["state"] == "ready"
    });
    let status = ended(&acme, &location);
    assert_eq!(status["state"], "ready", "{status}");
    assert_eq!(status["version"], acme.get("/api/v1/plugins/big/versions/1").expect(200).json());
    assert_eq!(status["version"]["upload"], status["id"]);
    acme.get("/fn/acme/big/").expect(200);
    let list = acme.get("/api/v1/uploads").expect(200).json();
    assert_eq!(list["items"][0]["id"], status["id"], "{list}");

    // A refusal is told there as it would have been at once.
    let missing = wat::parse_str(r#"(component (import "acme:secret/vault@1.0.0" (instance)))"#).unwrap();
    let accepted = acme.send("PUT", "/api/v1/plugins/bad", &[("prefer", "respond-async")], &missing).expect(202);
    assert_eq!(accepted.header("preference-applied"), "wait=0");
    let status = ended(&acme, accepted.header("location"));
    assert_eq!(status["problem"]["code"], "unsupported_import", "{status}");
    assert_eq!(status["problem"]["status"], 422, "{status}");
    acme.get("/api/v1/plugins/bad").problem(404, "not_found");
    // Who prefers to wait is answered with the version.
    put(&acme, "hello", "wait=60", guests::hello()).expect(201);
}

#[test]
fn an_accepted_upload_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on(folder.path(), &[]);
    let acme = server.tenant("acme");
    let component = slow(6);
    let accepted = put(&acme, "big", "respond-async", &component).expect(202);
    let location = accepted.header("location").to_owned();
    server.kill();
    let server = Server::on(folder.path(), &[]);
    let acme = server.with(&acme.token);
    let status = ended(&acme, &location);
    assert_eq!(status["state"], "ready", "{status}");
    let version = acme.get("/api/v1/plugins/big").expect(200).json();
    assert_eq!(version["latest"]["digest"], aimass_core::Digest::of(&component).to_string());
    assert_eq!(version["latest"]["created_by"], "test");
    acme.get("/fn/acme/big/").expect(200);
}

#[test]
fn push_follows_an_upload_to_its_end() {
    let server = Server::start_with(&["--upload-wait-seconds", "0"]);
    let acme = server.tenant("acme");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("big.wasm");
    std::fs::write(&file, slow(2)).unwrap();
    let push = |more: &[&str]| push(&server, &acme, &file, more);
    let (ok, out) = push(&["--no-wait"]);
    assert!(ok && out.contains("big is ") && out.contains("aimass plugins uploads "), "{out}");
    let id = out.trim().rsplit(' ').next().unwrap().to_owned();
    let waited = Command::new(binary())
        .args(["--url", &server.url, "--token", &acme.token, "plugins", "uploads", &id])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&waited.stdout).into_owned();
    assert!(text.starts_with("big@1 is new: sha256:"), "{text} {}", String::from_utf8_lossy(&waited.stderr));
    std::fs::write(&file, slow(3)).unwrap();
    let (ok, out) = push(&[]);
    assert!(ok && out.starts_with("big@2 is new: sha256:"), "{out}");
    std::fs::write(&file, b"\0asm\x0d\0\x01\0 and nothing that makes sense").unwrap();
    let (ok, out) = push(&[]);
    assert!(!ok && out.contains("The component is not valid"), "{out}");
}

fn push(server: &Server, client: &Client, file: &Path, more: &[&str]) -> (bool, String) {
    let output = Command::new(binary())
        .args(["--url", &server.url, "--token", &client.token, "push"])
        .arg(file)
        .args(more)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn f65_code_of_another_build_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::on(folder.path(), &[]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    server.kill();
    let compiled = folder.path().join("compiled");
    let builds = || std::fs::read_dir(&compiled).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>();
    let own = builds().remove(0);
    // As a release with another wasmtime would have left it.
    std::fs::rename(&own, compiled.join("0".repeat(64))).unwrap();
    let server = Server::on(folder.path(), &[]);
    assert_eq!(builds(), [own.clone()]);
    assert_eq!(std::fs::read_dir(&own).unwrap().count(), 0);
    server.with(&acme.token).get("/fn/acme/hello/").expect(200);
    assert_eq!(std::fs::read_dir(&own).unwrap().count(), 1);
}
