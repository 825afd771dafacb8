//! Hostile bytes on the wire.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::Server;

/// Sends raw bytes and returns everything that comes back until the server closes or is silent.
fn exchange(server: &Server, bytes: &[u8]) -> (String, bool) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = vec![];
    let closed = stream.read_to_end(&mut answer).is_ok();
    (String::from_utf8_lossy(&answer).into_owned(), closed)
}

#[test]
fn f52_malformed_heads_are_refused_and_the_connection_closed() {
    let server = Server::start();
    let many: String = (0..101).map(|n| format!("x-{n}: y\r\n")).collect();
    let large = format!("x: {}\r\n", "y".repeat(1 << 20));
    for (head, status) in
        [(many, "431"), (large, "431"), ("content-length: 1\r\ncontent-length: 2\r\n".to_owned(), "400")]
    {
        let (answer, closed) = exchange(&server, format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{head}\r\n").as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(closed, "the connection stays open after {status}");
    }
    for bytes in
        [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), b"GET / HTTP/9.9\r\n\r\n", b"\0\0\0\0\r\n\r\n"]
    {
        let (answer, _) = exchange(&server, bytes);
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    server.anonymous().get("/healthz").expect(200);
}

/// A request that is read in two ways is how one caller's bytes become another's request. Both lengths together are
/// answered once, by the chunked reading that RFC 9112 (6.3) prescribes, and the connection is closed behind it.
#[test]
fn f52_a_smuggled_request_is_never_answered() {
    let server = Server::start();
    let smuggled = "POST /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n\
                    0\r\n\r\nGET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    let (answer, closed) = exchange(&server, smuggled.as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(closed);
}

#[test]
fn f51_a_silent_client_is_closed() {
    let server = Server::start();
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let mut partly = TcpStream::connect(server.address()).unwrap();
    partly.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    partly.write_all(b"GET /healthz HTT").unwrap();
    for mut stream in [stream, partly] {
        let mut rest = vec![];
        stream.read_to_end(&mut rest).expect("the server closes the connection within its limit");
    }
}

/// A client that sends its whole body before it reads still gets the answer.
#[test]
fn f07_a_refusal_reaches_a_client_that_is_still_sending() {
    let server = Server::start();
    let length = 8 << 20;
    let head = format!("PUT /api/v1/plugins/x HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![0; length]).expect("the server reads on");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401");
    }
}
