//! TLS in front of a simulator, for clients that speak nothing else: bytes are passed on as they
//! are, and a connection that ends on one side ends on the other.

use std::{io, path::Path, sync::Arc};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// A listening relay; it ends when it is dropped.
pub(crate) struct Relay {
    port: u16,
    acceptor: JoinHandle<()>,
}

impl Relay {
    /// A relay to that port, with the certificate that `clients/install` made.
    pub(crate) async fn to(port: u16, installed: &Path) -> io::Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(settings(&installed.join("tls"))));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own = listener.local_addr()?.port();
        // Ended by `Drop`, and all connections with it.
        let acceptor = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass_on(acceptor.clone(), client, port));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { port: own, acceptor })
    }

    /// `https://127.0.0.1:PORT`.
    pub(crate) fn base_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

fn settings(folder: &Path) -> ServerConfig {
    let certificate = CertificateDer::from_pem_file(folder.join("cert.pem")).expect("it was made");
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("it was made");
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("the key is the certificate's")
}

/// An upstream that is not there, and one that resets, both look to the client as an end without a
/// word: that is what it would see of a proxy in front of one, too.
async fn pass_on(acceptor: TlsAcceptor, client: TcpStream, port: u16) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut upstream = TcpStream::connect(("127.0.0.1", port)).await?;
    upstream.set_nodelay(true)?;
    let mut client = acceptor.accept(client).await?;
    tokio::io::copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}
