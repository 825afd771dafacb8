//! Certificates for a server, and clients that trust them.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::Server;

/// A certificate of its own making.
pub struct Pair {
    pub certificate: String,
    pub key: String,
    pub der: CertificateDer<'static>,
}

impl Pair {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), der: made.cert.der().clone() }
    }
}

/// A server with a certificate in files that a test can change.
pub struct Secure {
    pub server: Server,
    pub certificate: PathBuf,
    pub key: PathBuf,
    _folder: tempfile::TempDir,
}

impl Secure {
    pub fn start(pair: &Pair, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        std::fs::write(&certificate, &pair.certificate).unwrap();
        std::fs::write(&key, &pair.key).unwrap();
        let files = ["--tls-certificate", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
        let server = Server::start_with(&[&files, arguments].concat());
        assert!(server.url.starts_with("https://"), "{}", server.url);
        Self { server, certificate, key, _folder: folder }
    }
}

/// What a client trusts, and which protocols it offers.
pub fn trusting(pairs: &[&Pair], protocols: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    pairs.iter().for_each(|pair| roots.add(pair.der.clone()).unwrap());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    // Each connection shows which certificate there is now.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A connection whose handshake is complete.
pub fn connect(server: &Server, config: &Arc<ClientConfig>) -> std::io::Result<Stream> {
    over(TcpStream::connect(server.address())?, config)
}

/// The same over a connection that is there.
pub fn over(tcp: TcpStream, config: &Arc<ClientConfig>) -> std::io::Result<Stream> {
    tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
    let name = "localhost".try_into().unwrap();
    let connection = ClientConnection::new(config.clone(), name).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, tcp);
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}

/// Who the server says that it is.
pub fn shown(stream: &Stream) -> CertificateDer<'static> {
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Replaces a file as careful tools do.
pub fn replace(file: &Path, text: &str) {
    let aside = file.with_extension("new");
    std::fs::write(&aside, text).unwrap();
    std::fs::rename(aside, file).unwrap();
}
