//! https: real clients, a certificate that changes, handshakes that never end.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::frames::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, fields, frame};
use crate::support::tls::{Pair, Secure, connect, over, replace, shown, trusting};
use crate::support::{aimass, binary, eventually};

/// One request on a connection that stays open; whether it was answered well.
fn ask(stream: &mut (impl std::io::Read + std::io::Write)) -> std::io::Result<bool> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let (mut answer, mut buffer) = (vec![], [0; 1_024]);
    while !answer.ends_with(b"}") {
        match stream.read(&mut buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => answer.extend(&buffer[..read]),
        }
    }
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

#[test]
fn https_serves_the_command_line_python_and_http2() {
    let pair = Pair::new();
    let secure = Secure::start(&pair, &[]);
    let token = secure.server.data.join("operator.token");
    let (url, ca) = (secure.server.url.as_str(), secure.certificate.to_str().unwrap());
    let node = ["--url", url, "--token-file", token.to_str().unwrap()];
    let trusted = [&node[..], &["--ca", ca]].concat();
    aimass(&[&["tenants", "create", "acme"], &trusted[..]].concat());
    assert!(aimass(&[&["tenants", "list"], &trusted[..]].concat()).contains("acme"));
    // Who is not told to trust it does not.
    let untold = Command::new(binary()).args(["tenants", "list"]).args(node).output().unwrap();
    let error = String::from_utf8_lossy(&untold.stderr).into_owned();
    assert!(!untold.status.success() && error.contains("--ca"), "{error}");

    let script = "
import http.client, ssl, sys
port, ca = int(sys.argv[1]), sys.argv[2]
for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_1):
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = context.maximum_version = version
    connection = http.client.HTTPSConnection('localhost', port, context=context, timeout=10)
    try:
        connection.request('GET', '/healthz')
        print(connection.sock.version(), connection.getresponse().status)
    except ssl.SSLError as e:
        print('refused')
";
    let port = secure.server.address().rsplit_once(':').unwrap().1;
    let python = Command::new("python3").args(["-W", "ignore", "-c", script, port, ca]).output().unwrap();
    let said = String::from_utf8_lossy(&python.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&python.stderr).into_owned();
    assert_eq!(said, "TLSv1.3 200\nTLSv1.2 200\nrefused\n", "{wrong}");

    let stream = connect(&secure.server, &trusting(&[&pair], &["h2", "http/1.1"])).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
    let mut http2 = Http2::new(stream).unwrap();
    http2.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields("GET", "/healthz", &[]))).unwrap();
    let body = http2.until(|frame| frame.kind == DATA).expect("an answer");
    assert!(String::from_utf8_lossy(&body.payload).contains("\"ok\""), "{body:?}");

    let mut http1 = connect(&secure.server, &trusting(&[&pair], &["http/1.1"])).unwrap();
    assert_eq!(http1.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(ask(&mut http1).unwrap());
    // Plain HTTP on the same port is no request.
    let mut plain = TcpStream::connect(secure.server.address()).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(!ask(&mut plain).unwrap_or(false));
}

#[test]
fn a_certificate_without_its_key_stops_the_start() {
    let (one, other) = (Pair::new(), Pair::new());
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&certificate, one.certificate).unwrap();
    std::fs::write(&key, other.key).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let start = |arguments: &[&str]| crate::support::Server::try_on(folder.path(), arguments).err();
    let error = start(&["--tls-certificate", certificate, "--tls-key", key]).expect("a wrong key serves");
    assert!(error.contains("k.pem") && error.contains("c.pem"), "{error}");
    assert!(start(&["--tls-certificate", certificate]).expect("no key is needed").contains("tls-key"));
}

#[test]
fn a_new_certificate_is_taken_under_load_without_a_failed_request() {
    let (first, second, third) = (Pair::new(), Pair::new(), Pair::new());
    let secure = Secure::start(&first, &[]);
    let trust = trusting(&[&first, &second, &third], &["http/1.1"]);
    let over_now = || shown(&connect(&secure.server, &trust).unwrap());
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (secure, trust, stop, done) = (&secure, &trust, &stop, &done);
            scope.spawn(move || {
                let mut kept = connect(&secure.server, trust).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    // Half of the clients keep their connection, half open one for each request.
                    if client % 2 == 0 {
                        kept = connect(&secure.server, trust).unwrap();
                    }
                    assert!(ask(&mut kept).unwrap());
                    done.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let _stop = StopOnDrop(&stop);
        assert_eq!(over_now(), first.der);
        // Between the two writes they do not fit together; nobody notices.
        replace(&secure.certificate, &second.certificate);
        std::thread::sleep(Duration::from_millis(2_500));
        assert_eq!(over_now(), first.der);
        replace(&secure.key, &second.key);
        eventually("the second certificate is shown", Duration::from_secs(8), || over_now() == second.der);
        // What is broken is not taken.
        std::fs::write(&secure.certificate, "-----BEGIN CERTIFICATE-----\nnonsense").unwrap();
        std::thread::sleep(Duration::from_millis(2_500));
        assert_eq!(over_now(), second.der);
        // A signal does not wait for the next look at the files.
        std::fs::write(&secure.key, &third.key).unwrap();
        std::fs::write(&secure.certificate, &third.certificate).unwrap();
        secure.server.signal("HUP");
        eventually("the third certificate is shown", Duration::from_secs(8), || over_now() == third.der);
    });
    assert!(done.load(Ordering::Relaxed) > 100, "{done:?} requests are no load");
}

/// So that a failed assertion ends the clients as well.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn f54_a_thousand_half_handshakes_keep_nobody_out() {
    // This process holds the other ends.
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let all = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: all, maximum: all }).unwrap();
    let pair = Pair::new();
    let secure = Secure::start(&pair, &["--connections-per-address", "0", "--new-connections-per-address", "0"]);
    let trust = trusting(&[&pair], &["http/1.1"]);
    let before = secure.server.descriptors();
    let held: Vec<_> = (0..1_000)
        .map(|_| {
            let mut half = TcpStream::connect(secure.server.address()).unwrap();
            // The head of a record of 512 bytes that never comes.
            half.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
            half
        })
        .collect();
    let started = Instant::now();
    for _ in 0..20 {
        assert!(ask(&mut connect(&secure.server, &trust).unwrap()).unwrap());
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    eventually("the half handshakes are closed", Duration::from_secs(30), || {
        secure.server.descriptors() <= before + 25
    });
    drop(held);

    // One address alone does not get that far.
    let secure = Secure::start(&pair, &["--connections-per-address", "50"]);
    let _held: Vec<_> = (0..200).map(|_| TcpStream::connect(secure.server.address()).unwrap()).collect();
    let other = crate::network::connect_from([127, 0, 0, 2], &secure.server);
    assert!(ask(&mut over(other, &trust).unwrap()).unwrap());
    assert!(secure.server.descriptors() < before + 75);
}

#[test]
fn f56_https_drains_under_load() {
    let pair = Pair::new();
    let mut secure = Secure::start(&pair, &[]);
    let (one, two) = (trusting(&[&pair], &["http/1.1"]), trusting(&[&pair], &["h2"]));
    let server = &secure.server;
    let mut idle = Http2::new(connect(server, &two).unwrap()).unwrap();
    let mut kept: Vec<_> = (0..4).map(|_| connect(server, &one).unwrap()).collect();
    let ready = std::sync::Barrier::new(5);
    let answered: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = kept
            .iter_mut()
            .map(|stream| {
                let ready = &ready;
                scope.spawn(move || {
                    let mut answered = 0;
                    while let Ok(well) = ask(stream) {
                        assert!(well);
                        answered += 1;
                        if answered == 10 {
                            ready.wait();
                        }
                    }
                    answered
                })
            })
            .collect();
        ready.wait();
        server.signal("TERM");
        assert!(idle.until(|frame| frame.kind == GOAWAY).is_some(), "no GOAWAY");
        assert!(idle.until(|_| false).is_none());
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(answered >= 40);
    assert!(secure.server.child.wait().unwrap().success());
}
