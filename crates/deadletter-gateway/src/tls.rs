//! TLS: with a certificate that was given, or with one that the local authority signs when it is
//! due.

use crate::authority::{Authority, AuthorityError};
use deadletter::{core::UnixMs, store::Clock};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use secrecy::{ExposeSecret, SecretString};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::TlsAcceptor;

/// How the port speaks TLS 1.2 and 1.3.
#[derive(Clone)]
pub struct Tls(pub(crate) TlsAcceptor);

/// Why a port cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of the certificate holds none, or a broken one.
    #[error("there is no certificate in PEM")]
    Certificate(#[source] pem::Error),
    /// The file of the key holds none, or a broken one.
    #[error("there is no private key in PEM")]
    Key(#[source] pem::Error),
    /// Certificate and key do not belong together, or cannot be used.
    #[error(transparent)]
    Unusable(#[from] rustls::Error),
    /// The local authority cannot sign.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl Tls {
    /// With a chain of certificates, the server's own first, and its key, both as PEM.
    ///
    /// # Errors
    /// Where one of the two cannot be read, or they do not belong together.
    pub fn given(chain: &[u8], key: &SecretString) -> Result<Self, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(TlsError::Certificate)?;
        if chain.is_empty() {
            return Err(TlsError::Certificate(pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes());
        let key = key.map_err(TlsError::Key)?;
        Ok(Self::of(begun()?.with_single_cert(chain, key)?))
    }

    /// With certificates that `authority` signs for this machine's own names and `names`, a new one
    /// whenever the last is half through its life.
    ///
    /// # Errors
    /// Where a name cannot stand in a certificate.
    pub fn local(
        authority: Authority,
        names: Vec<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        let (leaf, renew_at) = authority.sign(&names, clock.now())?;
        let leaf = Mutex::new((Arc::new(leaf), renew_at));
        let leaves = Leaves { authority, names, clock, leaf };
        Ok(Self::of(begun()?.with_cert_resolver(Arc::new(leaves))))
    }

    fn of(mut config: ServerConfig) -> Self {
        // A client that offers HTTP/2 as well shall not take it.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(TlsAcceptor::from(Arc::new(config)))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

fn begun() -> Result<rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>, TlsError>
{
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_no_client_auth())
}

/// The certificate of the moment.
struct Leaves {
    authority: Authority,
    names: Vec<String>,
    clock: Arc<dyn Clock>,
    /// Guards the certificate, and when to make the next.
    leaf: Mutex<(Arc<CertifiedKey>, UnixMs)>,
}

impl ResolvesServerCert for Leaves {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = self.clock.now();
        let mut leaf = self.leaf.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= leaf.1 {
            match self.authority.sign(&self.names, now) {
                Ok((next, renew_at)) => *leaf = (Arc::new(next), renew_at),
                Err(error) => tracing::error!(%error, "the certificate could not be renewed"),
            }
        }
        Some(Arc::clone(&leaf.0))
    }
}

impl std::fmt::Debug for Leaves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaves").field("names", &self.names).finish_non_exhaustive()
    }
}
