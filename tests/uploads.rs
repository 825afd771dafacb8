//! Uploads that are wrong, interrupted, doubled or too large.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::support::{Server, eventually, guests};

/// Files below the store's blobs, finished or not.
fn blobs(server: &Server) -> usize {
    fn count(folder: &Path) -> usize {
        let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
        entries.map(|e| e.unwrap().path()).map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
    }
    count(&server.data.join("store/blobs"))
}

#[test]
fn f01_what_is_no_component_is_refused_and_leaves_nothing() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let hello = guests::hello();
    let module = wat::parse_str("(module (func (export \"run\")))").unwrap();
    let mut precompiled = b"\x7fELF".to_vec();
    precompiled.extend_from_slice(&[0; 4096]);
    for bytes in [&hello[..hello.len() / 2], &hello[..12], &module, &precompiled, b"", b"not wasm"] {
        acme.put("/api/v1/plugins/bad", bytes).problem(422, "invalid_component");
    }
    acme.get("/api/v1/plugins/bad").problem(404, "not_found");
    assert_eq!(blobs(&server), 0);
    for bytes in [b"".as_slice(), b"not onnx", &[0xff; 100]] {
        acme.put("/api/v1/models/bad", bytes).problem(422, "invalid_model");
    }
    assert_eq!(blobs(&server), 0);
}

#[test]
fn f02_too_large_is_refused_at_the_limit() {
    let server = Server::start();
    let acme = server.tenant("acme");
    // With a length: at once.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(
        stream,
        "PUT /api/v1/plugins/big HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 999999999\r\n\r\n",
        acme.token
    )
    .unwrap();
    assert!(head(&mut stream).starts_with("HTTP/1.1 413"));
    // Without one: when the limit is passed, although more is coming.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(
        stream,
        "PUT /api/v1/plugins/big HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\r\n",
        acme.token
    )
    .unwrap();
    let chunk = vec![b'x'; 1 << 20];
    let mut sent = 0u64;
    while sent < 4 * aimass_core::limits::MAX_COMPONENT {
        if write!(stream, "100000\r\n")
            .and_then(|()| stream.write_all(&chunk))
            .and_then(|()| write!(stream, "\r\n"))
            .is_err()
        {
            break;
        }
        sent += 1 << 20;
    }
    assert!(sent < 4 * aimass_core::limits::MAX_COMPONENT, "the server took it all");
    assert!(sent >= aimass_core::limits::MAX_COMPONENT);
    eventually("the temporary file goes", Duration::from_secs(5), || blobs(&server) == 0);
    acme.get("/api/v1/plugins/big").problem(404, "not_found");
}

#[test]
fn f03_an_import_that_is_not_given_is_named() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let component = wat::parse_str(
        r#"(component
            (import "acme:secret/vault@1.0.0" (instance (export "open" (func)))))"#,
    )
    .unwrap();
    let problem = acme.put("/api/v1/plugins/bad", &component).problem(422, "unsupported_import").json();
    assert!(problem["detail"].as_str().unwrap().contains("acme:secret/vault"), "{problem}");
}

#[test]
fn f07_a_client_that_leaves_leaves_nothing() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let hello = guests::hello();
    let descriptors = server.descriptors();
    for part in 0..10 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(
            stream,
            "PUT /api/v1/plugins/gone HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
            acme.token,
            hello.len()
        )
        .unwrap();
        stream.write_all(&hello[..hello.len() * part / 10]).unwrap();
    }
    eventually("the temporary files go", Duration::from_secs(5), || blobs(&server) == 0);
    acme.get("/api/v1/plugins/gone").problem(404, "not_found");
    // The name is free again.
    eventually("the name is free", Duration::from_secs(5), || acme.put("/api/v1/plugins/gone", hello).status == 201);
    eventually("the descriptors are back", Duration::from_secs(5), || server.descriptors() <= descriptors + 8);
}

#[test]
fn f08_doubled_uploads_make_one_version() {
    let server = Server::start();
    let acme = server.tenant("acme");
    // One upload of a name holds it; the other is told so, whatever it brings.
    let hello = guests::hello();
    let mut slow = TcpStream::connect(server.address()).unwrap();
    write!(
        slow,
        "PUT /api/v1/plugins/twice HTTP/1.1\r\nhost: x\r\nprefer: wait=60\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        acme.token,
        hello.len()
    )
    .unwrap();
    slow.write_all(&hello[..100]).unwrap();
    eventually("the second upload is refused", Duration::from_secs(30), || {
        let answer = acme.put("/api/v1/plugins/twice", b"x");
        answer.status == 409 && answer.json()["code"] == "upload_in_progress"
    });
    slow.write_all(&hello[100..]).unwrap();
    assert!(head(&mut slow).starts_with("HTTP/1.1 201"));

    // The same bytes from many at once: one version, whoever made it.
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| acme.put("/api/v1/plugins/many", hello).status)).collect();
        callers.into_iter().map(|c| c.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|s| [200, 201, 409].contains(s)), "{answers:?}");
    assert_eq!(answers.iter().filter(|s| **s == 201).count(), 1, "{answers:?}");

    // An `Idempotency-Key` answers with what it made, even when other versions came after it.
    let keyed = |bytes: &[u8]| acme.send("PUT", "/api/v1/plugins/keyed", &[("idempotency-key", "k1")], bytes);
    let first = keyed(hello).expect(201).json();
    acme.put("/api/v1/plugins/keyed?allow-new-imports=true", guests::probe()).expect(201);
    assert_eq!(keyed(hello).expect(200).json(), first);
    let other = acme.send("PUT", "/api/v1/plugins/another", &[("idempotency-key", "k1")], hello);
    other.problem(409, "conflict");
}

#[test]
fn an_upload_can_insist_on_what_it_replaces() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let put = |tag: &str, bytes: &[u8]| {
        acme.send("PUT", "/api/v1/plugins/guarded?allow-new-imports=true", &[("if-match", tag)], bytes)
    };
    let digest = |answer: crate::support::Answer| answer.json()["digest"].as_str().unwrap().to_owned();
    let missing = format!("\"{}\"", aimass_core::Digest::of(b"something else"));
    put(&missing, guests::hello()).problem(412, "precondition_failed");
    let first = digest(acme.put("/api/v1/plugins/guarded", guests::hello()).expect(201));
    put(&missing, guests::probe()).problem(412, "precondition_failed");
    put("nonsense", guests::probe()).problem(400, "invalid_request");
    put(&format!("\"{first}\""), guests::probe()).expect(201);
    put(&format!("\"{first}\""), guests::counter()).problem(412, "precondition_failed");
}

/// The head of the next answer.
fn head(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (mut text, mut byte) = (vec![], [0]);
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}
