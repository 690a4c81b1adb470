//! Whom a connection under TLS believes.

use crate::{Error, Result};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::path::Path;

/// The certificates in a file (PEM), or the usual ones.
///
/// Errors: `BadUrl` where they cannot be read.
pub(crate) fn roots(path: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(path) = path else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    let what = format!("sslrootcert={}", path.display());
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| unusable(&what, e))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|e| unusable(&what, e))?;
        roots.add(certificate).map_err(|e| unusable(&what, e))?;
    }
    if roots.is_empty() {
        return Err(unusable(&what, "it holds no certificate"));
    }
    Ok(roots)
}

/// `BadUrl`, with what is in the way of TLS.
pub(crate) fn unusable(what: &str, error: impl std::fmt::Display) -> Error {
    Error::BadUrl(format!("{what} cannot be used for TLS: {error}"))
}
