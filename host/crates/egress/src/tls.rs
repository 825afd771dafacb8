//! TLS towards destinations: rustls, the system's roots, and what the operator adds.

use std::path::Path;
use std::sync::Arc;

use aimass_core::{Code, Fault, Result};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// The client's side of TLS 1.2 and 1.3, HTTP/1.1 within.
pub(crate) fn config(extra_roots: Option<&Path>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (added, ignored) = roots.add_parsable_certificates(native.certs);
    if added == 0 {
        // No reason not to start: nothing may be sent by https then but to what `extra_roots` vouches for.
        tracing::warn!(ignored, errors = ?native.errors, "this system has no root certificates");
    }
    if let Some(path) = extra_roots {
        let bad = |e: &dyn std::fmt::Display| {
            Fault::new(Code::InvalidRequest, format!("{} holds no certificates: {e}", path.display()))
        };
        let mut found = 0;
        for certificate in CertificateDer::pem_file_iter(path).map_err(|e| bad(&e))? {
            roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
            found += 1;
        }
        if found == 0 {
            return Err(bad(&"none is in it"));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Fault::internal)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = config;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
