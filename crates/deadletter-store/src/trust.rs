//! Whom a connection under TLS believes, and why one is not made.

use crate::{Error, Result};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{error::Error as StdError, io, path::Path};

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

/// Why a handshake came to nothing, where another URL or certificate mends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nobody who is trusted vouches for the server.
    Certificate,
    /// What the server says is no TLS.
    Plain,
}

/// What an error says of a handshake, wherever in it that stands; none where it is another error.
pub(crate) fn refusal(error: &(dyn StdError + 'static)) -> Option<Refusal> {
    let mut next = Some(error);
    while let Some(error) = next {
        // An error of the line shows what is behind its own cause, and not that one.
        let of_line = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner: &(dyn StdError + 'static) = match of_line {
            Some(inner) => inner,
            None => error,
        };
        match inner.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(_)) => return Some(Refusal::Certificate),
            Some(rustls::Error::InvalidMessage(_)) => return Some(Refusal::Plain),
            _ => next = error.source(),
        }
    }
    None
}
