//! Row 55 against real sockets: what is refused reaches no listener.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aimass_core::outgoing::{OutgoingBody, OutgoingError, Patience, Phase};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, StreamBody};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::{Connector, EgressConfig, Resolve, forbidden};

const SHORT: Duration = Duration::from_secs(5);

/// A server that answers every connection with the same bytes, and counts them.
struct Listener {
    address: SocketAddr,
    seen: Arc<AtomicUsize>,
}

impl Listener {
    async fn on(address: &str, answer: &'static str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<AtomicUsize>::default();
        let count = seen.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    let _ = stream.read(&mut head).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.read(&mut head).await;
                });
            }
        });
        Self { address, seen }
    }

    fn connections(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

/// Answers each question with the next of its answers, and the last one for ever.
struct Scripted {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answers = answers.iter().map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Resolve for Scripted {
    async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let n = self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.answers[n.min(self.answers.len() - 1)].clone())
    }
}

fn letting_in(private: &[String]) -> EgressConfig {
    EgressConfig { private: private.iter().map(|text| text.parse().unwrap()).collect(), extra_roots: None }
}

#[test]
fn f55_only_public_addresses_are_public() {
    for no in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.1.1.1",
        "::ffff:a9fe:a9fe",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "4000::1",
    ] {
        assert!(forbidden(no.parse().unwrap()).is_some(), "{no}");
    }
    for yes in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.0.0.1",
        "128.0.0.1",
        "169.253.255.255",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2001:4860:4860::8888",
        "64:ff9b::101:101",
        "::ffff:1.1.1.1",
    ] {
        assert_eq!(forbidden(yes.parse().unwrap()), None, "{yes}");
    }
}

#[tokio::test]
async fn f55_no_spelling_of_an_inner_address_is_connected_to() {
    let v4 = Listener::on("0.0.0.0:0", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let port = v4.address.port();
    // The same port, so that whatever the spelling means there is somebody to notice.
    let v6 = Listener::on(&format!("[::1]:{port}"), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let connector = Connector::new(EgressConfig::default()).unwrap();
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0x7F.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "0.0.0.0",
        "0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[fe80::1]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "0x",
        "1.2.3.0x7f",
        "１２７.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        "user@127.0.0.1",
        "127.0.0.1:80@example.com",
    ] {
        let url = format!("http://{host}:{port}/");
        let refused = connector.get(&url, 1024, SHORT).await.expect_err(&url);
        assert!(refused.is_refusal(), "{url}: {refused:?}");
    }
    for url in ["ftp://example.com/", "file:///etc/passwd", "/etc/passwd", "http://", "http://example.com:0/", ""] {
        let refused = connector.get(url, 1024, SHORT).await.expect_err(url);
        assert!(matches!(refused, OutgoingError::InvalidDestination(_)), "{url}: {refused:?}");
    }
    assert_eq!((v4.connections(), v6.connections()), (0, 0));
}

#[tokio::test]
async fn f55_a_name_that_rebinds_is_looked_up_once_and_every_address_counts() {
    let listener = Listener::on("127.0.0.1:0", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let port = listener.address.port();
    let url = format!("http://rebind.example:{port}/");

    // A public address beside an inner one: nothing is sent to either.
    for mixed in [["1.1.1.1", "127.0.0.1"], ["127.0.0.1", "1.1.1.1"], ["2606:4700::1111", "::ffff:127.0.0.1"]] {
        let connector = Connector::with_resolver(EgressConfig::default(), Scripted::new(&[&mixed])).unwrap();
        let refused = connector.get(&url, 1024, SHORT).await.unwrap_err();
        assert!(matches!(refused, OutgoingError::ForbiddenAddress { .. }), "{refused:?}");
    }
    assert_eq!(listener.connections(), 0);

    // Let in by name, the first answer is what is connected to; a second question would have led to a closed port.
    let resolver = Scripted::new(&[&["127.0.0.1"], &["127.0.0.99"]]);
    let config = letting_in(&[format!("rebind.example:{port}")]);
    let connector = Connector::with_resolver(config.clone(), resolver.clone()).unwrap();
    assert_eq!(connector.get(&url, 1024, SHORT).await.unwrap().body(), "ok");
    assert_eq!((resolver.asked.load(Ordering::SeqCst), listener.connections()), (1, 1));

    // The allowance is for one port, and never for the metadata of a cloud.
    let other = format!("http://rebind.example:{}/", port.wrapping_add(1).max(1));
    let refused = connector.get(&other, 1024, SHORT).await.unwrap_err();
    assert!(matches!(refused, OutgoingError::ForbiddenAddress { .. }), "{refused:?}");
    let metadata = Connector::with_resolver(config, Scripted::new(&[&["169.254.169.254"]])).unwrap();
    let refused = metadata.get(&url, 1024, SHORT).await.unwrap_err();
    assert!(matches!(refused, OutgoingError::ForbiddenAddress { .. }), "{refused:?}");
    assert_eq!(listener.connections(), 1);
}

#[tokio::test]
async fn f55_a_redirect_is_an_answer() {
    let target = Listener::on("127.0.0.1:0", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let answer = format!("HTTP/1.1 302 Found\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n", target.address);
    let first = Listener::on("127.0.0.1:0", answer.leak()).await;
    let both = [first.address.to_string(), target.address.to_string()];
    let connector = Connector::new(letting_in(&both)).unwrap();
    let answer = connector.get(&format!("http://{}/", first.address), 1024, SHORT).await.unwrap();
    assert_eq!(answer.status(), 302);
    assert_eq!((first.connections(), target.connections()), (1, 0));
}

#[tokio::test]
async fn what_is_slow_or_large_ends_at_its_limit() {
    let silent = Listener::on("127.0.0.1:0", "").await;
    let slow = Listener::on("127.0.0.1:0", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    let large = Listener::on("127.0.0.1:0", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789").await;
    let fields: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let many = Listener::on("127.0.0.1:0", format!("HTTP/1.1 200 OK\r\n{fields}\r\n").leak()).await;
    let all = [&silent, &slow, &large, &many].map(|listener| listener.address.to_string());
    let connector = Connector::new(letting_in(&all)).unwrap();
    let get = async |listener: &Listener, limit, wait| {
        connector.get(&format!("http://{}/", listener.address), limit, wait).await
    };
    let wait = Duration::from_millis(300);
    assert_eq!(get(&silent, 10, wait).await.unwrap_err(), OutgoingError::Timeout(Phase::FirstByte));
    assert_eq!(get(&slow, 10, wait).await.unwrap_err(), OutgoingError::Timeout(Phase::Body));
    assert_eq!(get(&large, 9, SHORT).await.unwrap_err(), OutgoingError::ResponseTooLarge(9));
    assert_eq!(get(&large, 10, SHORT).await.unwrap().body(), "0123456789");
    assert!(matches!(get(&many, 10, SHORT).await.unwrap_err(), OutgoingError::Broken(_)));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let connector = Connector::new(letting_in(std::slice::from_ref(&closed))).unwrap();
    let refused = connector.get(&format!("http://{closed}/"), 10, SHORT).await.unwrap_err();
    assert!(matches!(refused, OutgoingError::ConnectionRefused(_)), "{refused:?}");
}

#[tokio::test]
async fn tls_is_checked_against_the_systems_roots_and_the_extra_ones() {
    let made = rcgen::generate_simple_self_signed(vec!["service.internal".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = [0; 4096];
                let read = stream.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
                let _ = stream.shutdown().await;
            });
        }
    });
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(made.cert.pem().as_bytes()).unwrap();
    let private = [format!("service.internal:{port}"), format!("other.internal:{port}")];
    let resolver = Scripted::new(&[&["127.0.0.1"]]);
    let trusting = EgressConfig { extra_roots: Some(file.path().to_owned()), ..letting_in(&private) };
    let connector = Connector::with_resolver(trusting, resolver.clone()).unwrap();
    let answer = connector.get(&format!("https://service.internal:{port}/a?b"), 4096, SHORT).await.unwrap();
    let head = String::from_utf8_lossy(answer.body()).into_owned();
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: service.internal:{port}\r\n")), "{head}");
    // The right authority for another name, and the right name without the authority.
    let wrong = connector.get(&format!("https://other.internal:{port}/"), 4096, SHORT).await.unwrap_err();
    assert!(matches!(wrong, OutgoingError::Tls { certificate: true, .. }), "{wrong:?}");
    let connector = Connector::with_resolver(letting_in(&private), resolver).unwrap();
    let unknown = connector.get(&format!("https://service.internal:{port}/"), 4096, SHORT).await.unwrap_err();
    assert!(matches!(unknown, OutgoingError::Tls { certificate: true, .. }), "{unknown:?}");
    let missing = EgressConfig { extra_roots: Some("/nowhere.pem".into()), ..EgressConfig::default() };
    assert!(Connector::new(missing).is_err());
}

#[tokio::test]
async fn an_error_of_the_requests_body_is_told_as_it_is() {
    let listener = Listener::on("127.0.0.1:0", "").await;
    let connector = Connector::new(letting_in(&[listener.address.to_string()])).unwrap();
    let frames = futures_util::stream::iter([
        Ok(http_body::Frame::data(Bytes::from_static(b"start"))),
        Err(OutgoingError::RequestTooLarge(5)),
    ]);
    let body: OutgoingBody = StreamBody::new(frames).boxed_unsync();
    let uri = format!("http://{}/", listener.address);
    let request = Request::builder().method(Method::POST).uri(uri.as_str()).body(body).unwrap();
    let patience =
        Patience { connect: SHORT, first_byte: SHORT, between_bytes: SHORT, deadline: Instant::now() + SHORT };
    assert_eq!(connector.send(request, &patience).await.unwrap_err(), OutgoingError::RequestTooLarge(5));
    let full = Full::new(Bytes::from_static(b"x")).map_err(|never| match never {}).boxed_unsync();
    let tunnel = Request::builder().method(Method::CONNECT).uri(uri).body(full).unwrap();
    assert!(connector.send(tunnel, &patience).await.unwrap_err().is_refusal());
}
