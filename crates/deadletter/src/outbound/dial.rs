//! The connector: looks a name up, judges each address, and dials one that was judged.
//!
//! Between the judgement and the dial stands nothing: the very socket address that was judged is
//! connected to. A client library's own resolver is not enough, because an address in a URL never
//! passes it; and a judgement of an earlier look-up is worth nothing, because a name may have
//! another answer each time.

use super::guard::{Guard, Refused};
use async_trait::async_trait;
use hyper::Uri;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

/// Addresses of one name that are looked at; public names have a handful.
const ADDRESSES_LIMIT: usize = 16;

/// For one address, so that a silent one leaves time for the next.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where names are looked up.
#[async_trait]
pub(super) trait Names: Send + Sync {
    /// The addresses of a name, as many as there are.
    async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// As the machine resolves names for every program.
pub(super) struct SystemNames;

#[async_trait]
impl Names for SystemNames {
    async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((name, port)).await?.take(ADDRESSES_LIMIT).collect())
    }
}

/// Why there is no connection; no byte has left.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Unreachable(#[from] io::Error),
}

/// Dials what its guard allows.
#[derive(Clone)]
pub(super) struct Dial {
    pub(super) guard: Arc<Guard>,
    pub(super) names: Arc<dyn Names>,
}

impl Dial {
    /// A connection to one of the addresses that are allowed, tried in their order; the others are
    /// left out. Where none is allowed, it is refused by the first.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let mut last = None;
        let mut refused = None;
        for address in self.addresses(host, port).await?.into_iter().take(ADDRESSES_LIMIT) {
            if let Err(why) = self.guard.allows(address.ip()) {
                refused.get_or_insert(why);
                continue;
            }
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = Some(io::ErrorKind::TimedOut.into()),
            }
        }
        match (last, refused) {
            (Some(error), _) => Err(error.into()),
            (None, Some(refused)) => Err(refused.into()),
            (None, None) => {
                Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into())
            }
        }
    }

    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(ip) => Ok(vec![SocketAddr::new(ip, port)]),
            Err(_) => self.names.look_up(host, port).await,
        }
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move {
            let usual = if to.scheme_str() == Some("https") { 443 } else { 80 };
            let host = to.host().ok_or(Refused::Unreadable)?;
            let stream = dial.connect(host, to.port_u16().unwrap_or(usual)).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}
