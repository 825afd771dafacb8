//! The node's certificate: read from PEM files, and read again when they change.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aimass_core::{Fault, Result};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// HTTP/2 first: clients that speak both get the one that carries gRPC.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate chain and its key, as the connections that are accepted now use them.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<ServerConfig>,
    /// The files as they were when they were last read, in vain or not.
    seen: Mutex<Stamps>,
}

/// What changes when a file is written or replaced: time, size, and the inode behind the name (a renamed file, or a
/// link that was turned, as Kubernetes does with secrets).
type Stamps = [Option<(i64, i64, u64, u64)>; 2];

impl Tls {
    /// Reads the files: a chain of PEM certificates, the node's own first, and its key (PKCS#8, PKCS#1 or SEC1).
    ///
    /// # Errors
    /// `invalid_request` that names the file and what is wrong with it.
    pub fn open(certificate: &Path, key: &Path) -> Result<Arc<Self>> {
        let seen = stamps(certificate, key);
        let current = read(certificate, key)?;
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: ArcSwap::from_pointee(current),
            seen: Mutex::new(seen),
        }))
    }

    /// Reads the files again if they have changed, or because somebody says so. Connections that are open keep what
    /// they have. Files that do not fit together leave the certificate as it was, with a warning: the two are seldom
    /// written in the same instant.
    pub fn refresh(&self, told: bool) {
        let now = stamps(&self.certificate, &self.key);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now && !told {
                return;
            }
            *seen = now;
        }
        match read(&self.certificate, &self.key) {
            Ok(config) => {
                self.current.store(Arc::new(config));
                tracing::info!(certificate = %self.certificate.display(), "the certificate was read again");
            }
            Err(fault) => tracing::warn!(%fault, "the new certificate is not used; the one before stays"),
        }
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}

fn stamps(certificate: &Path, key: &Path) -> Stamps {
    let stamp = |m: Metadata| (m.mtime(), m.mtime_nsec(), m.size(), m.ino());
    [certificate, key].map(|file| std::fs::metadata(file).ok().map(stamp))
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig> {
    let wrong = |file: &Path, e: &dyn std::fmt::Display| Fault::invalid(format!("{}: {e}", file.display()));
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| wrong(certificate, &e))?;
    if chain.is_empty() {
        return Err(wrong(certificate, &"it holds no PEM certificate"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong(key, &e))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(Fault::internal)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|e| wrong(key, &format_args!("the key does not serve {}: {e}", certificate.display())))?;
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(folder: &Path, name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        std::fs::write(folder.join("c.pem"), &certificate).unwrap();
        std::fs::write(folder.join("k.pem"), &key).unwrap();
        (certificate, key)
    }

    #[test]
    fn a_pair_that_does_not_fit_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        assert!(Tls::open(&certificate, &key).is_err());
        pair(folder.path(), "one.test");
        let tls = Tls::open(&certificate, &key).unwrap();
        let first = tls.current();
        tls.refresh(false);
        assert!(Arc::ptr_eq(&first, &tls.current()), "nothing has changed");
        let other = rcgen::generate_simple_self_signed(["two.test".to_owned()]).unwrap();
        for broken in [other.cert.pem(), String::new(), "-----BEGIN CERTIFICATE-----\nAAAA\n".to_owned()] {
            std::fs::write(&certificate, broken).unwrap();
            tls.refresh(true);
            assert!(Arc::ptr_eq(&first, &tls.current()), "a broken pair is used");
        }
        // The other half follows, and both are taken without a word.
        std::fs::write(&certificate, other.cert.pem()).unwrap();
        std::fs::write(&key, other.signing_key.serialize_pem()).unwrap();
        tls.refresh(false);
        assert!(!Arc::ptr_eq(&first, &tls.current()));
    }
}
