//! Whom the command line trusts over https: the system's certificates, and those that it is told to.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::{Failure, Outcome};

/// The system's roots, and the certificates of a PEM file.
pub(crate) fn with(ca: Option<&Path>) -> Outcome<ClientConfig> {
    let mut roots = RootCertStore::empty();
    // What the system holds and nobody can read is not trusted; a system without any has --ca.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca {
        let named = |e: &dyn std::fmt::Display| Failure::new(format!("{}: {e}", file.display()));
        let all = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| named(&e))?;
        if all.is_empty() {
            return Err(named(&"it holds no PEM certificate"));
        }
        for certificate in all {
            roots.add(certificate).map_err(|e| named(&e))?;
        }
    }
    config(roots)
}

/// Nobody: for a client that speaks plain HTTP.
pub(super) fn nobody() -> Outcome<ClientConfig> {
    config(RootCertStore::empty())
}

fn config(roots: RootCertStore) -> Outcome<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| Failure::new(format!("TLS is not available: {e}")))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
