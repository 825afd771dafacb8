//! Hostile bytes on the wire.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Server, eventually, guests};

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

/// Reads to the end while it sends a byte now and then; returns what came and how long it took.
fn drip(server: &Server, first: &str, then: &[u8], every: Duration) -> (String, Duration) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let started = Instant::now();
    stream.write_all(first.as_bytes()).unwrap();
    stream.set_read_timeout(Some(every)).unwrap();
    let (mut answer, mut buffer) = (vec![], [0; 4_096]);
    for byte in then {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => answer.extend(&buffer[..read]),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                if stream.write_all(&[*byte]).is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    (String::from_utf8_lossy(&answer).into_owned(), started.elapsed())
}

#[test]
fn f51_a_byte_a_second_is_too_slow_for_a_head() {
    let server = Server::start();
    let every = Duration::from_millis(500);
    std::thread::scope(|scope| {
        // A head, and what may become HTTP/2's preface.
        for (first, then) in
            [("GET /healthz HTTP/1.1\r\nx: ", b"y".repeat(60)), ("PRI * HT", b"TP/2".to_vec().repeat(15))]
        {
            let server = &server;
            scope.spawn(move || {
                let (_, took) = drip(server, first, &then, every);
                assert!(took < Duration::from_secs(15), "{first}: {took:?}");
            });
        }
        scope.spawn(|| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.write_all(b"PRI * HT").unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
            if let Err(e) = stream.read_to_end(&mut vec![]) {
                // What was never read is answered with a reset.
                assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "it could become HTTP/2, and stays open");
            }
        });
    });
}

#[test]
fn f51_a_byte_a_second_is_too_slow_for_a_body() {
    let server = Server::start_with(&["--client-wait-seconds", "2"]);
    let acme = server.tenant("acme");
    let head = format!(
        "PUT /api/v1/plugins/x HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 1000\r\n\r\n",
        acme.token
    );
    let (answer, took) = drip(&server, &head, &[0; 60], Duration::from_millis(300));
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("too slowly"), "{answer}");
    assert!((Duration::from_secs(2)..Duration::from_secs(8)).contains(&took), "{took:?}");
    // Half as long a wait, again and again, is no reason: the bytes between earn it.
    let parts = [vec![0; 4_000], vec![0; 4_000], vec![0; 4_000], vec![0; 4_000]];
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(head.replace("1000", "16000").as_bytes()).unwrap();
    for part in parts {
        std::thread::sleep(Duration::from_secs(1));
        stream.write_all(&part).unwrap();
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 422");
}

#[test]
fn f51_an_answer_that_is_not_taken_is_given_up() {
    let server = Server::start_with(&["--client-wait-seconds", "2"]);
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/probe", guests::probe()).expect(201);
    let length = 32 << 20;
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(
        stream,
        "POST /fn/acme/probe/echo HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {length}\r\n\r\n",
        acme.token
    )
    .unwrap();
    stream.write_all(&vec![b'x'; length]).unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"H");
    let asking = server.anonymous();
    // Idle connections of the other clients end as well; the one that asks is left.
    eventually("the connection is closed", Duration::from_secs(25), || {
        let _ = stream.read(&mut byte);
        asking.get("/metrics").text().contains("aimass_http_connections 1\n")
    });
}

#[test]
fn f54_accepting_recovers_when_descriptors_are_there_again() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let server = Server::start_with(&["--connections", "2000", "--connections-per-address", "0"]);
    let known = server.anonymous();
    known.get("/healthz").expect(200);
    let few = (server.descriptors() + 20) as u64;
    let pid = Pid::from_raw(server.child.id().cast_signed());
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(few), maximum: Some(few) }).unwrap();
    let held: Vec<_> = (0..60).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    eventually("the descriptors are used up", Duration::from_secs(5), || server.descriptors() as u64 >= few);
    // Who is connected is served; who comes waits.
    known.get("/healthz").expect(200);
    drop(held);
    let started = Instant::now();
    server.anonymous().get("/healthz").expect(200);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

/// A connection from another address of this machine.
pub fn connect_from(from: [u8; 4], server: &Server) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &std::net::SocketAddr::from((from, 0))).unwrap();
    connect(&socket, &server.address().parse::<std::net::SocketAddr>().unwrap()).unwrap();
    TcpStream::from(socket)
}

/// Whether the server closes at once.
fn is_refused(mut stream: TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    !matches!(stream.read(&mut [0; 12]), Ok(1..))
}

#[test]
fn f54_an_address_has_its_share_of_connections_and_no_more() {
    let server = Server::start_with(&["--connections-per-address", "20"]);
    let held: Vec<_> = (0..20).map(|_| connect_from([127, 0, 0, 2], &server)).collect();
    eventually("the address is at its limit", Duration::from_secs(5), || {
        is_refused(connect_from([127, 0, 0, 2], &server))
    });
    server.anonymous().get("/healthz").expect(200);
    let refused = server.anonymous().get("/metrics").text();
    assert!(refused.contains("aimass_http_connections_refused_total{reason=\"address_connections\"}"), "{refused}");
    drop(held);
    eventually("it may connect again", Duration::from_secs(5), || !is_refused(connect_from([127, 0, 0, 2], &server)));

    let server = Server::start_with(&["--new-connections-per-address", "10"]);
    let refused = (0..40).filter(|_| is_refused(connect_from([127, 0, 0, 2], &server))).count();
    assert!(refused >= 1, "40 connections at once and none was refused");
    server.anonymous().get("/healthz").expect(200);
}
