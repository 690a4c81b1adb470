//! The port: connections and their limits, and the end of it all.
//!
//! ```text
//! serve() ── one task owns the listener and every connection task (ends them by ending)
//!    └─ connection: TLS?, HTTP/1.1 ── request: host?, body within limits ── Gateway::answer
//! ```

use crate::{
    askers::KeysError, connection::converse, gateway::Gateway, places::Places, settings::Limits,
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

/// Out of file descriptors, mostly: accepting again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bodies are counted in pieces of this many bytes.
pub(crate) const PIECE: usize = 16 << 10;

/// Why a gateway does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// An address that others can reach, and no key to tell them apart by.
    #[error("{0} can be reached from other machines, and no key is issued")]
    Open(SocketAddr),
    /// The issued keys are not known.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// A gateway that serves. Dropping it ends every connection at once; [`Running::stop`] waits.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stopping: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nobody new, lets what is under way end within [`Limits::drain`], and ends.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        if let Err(error) = (&mut self.serving).await {
            tracing::error!(%error, "the gateway did not end well");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What connections share.
pub(crate) struct Shared {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) limits: Limits,
    pub(crate) address: SocketAddr,
    /// Pieces of bodies that may be held at a time.
    pub(crate) pieces: Arc<Semaphore>,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Starts to serve at the address of the settings.
pub async fn serve(gateway: Arc<Gateway>) -> Result<Running, ServeError> {
    gateway.askers.refresh(gateway.store()).await?;
    let address = gateway.settings.listen;
    refuse_open(&gateway, address)?;
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(serve_at(gateway, listener, address))
}

/// Starts to serve at a socket that listens already: whoever holds it as well lets clients wait
/// while this process is started again, where its port would refuse them.
pub async fn serve_on(
    gateway: Arc<Gateway>,
    listener: std::net::TcpListener,
) -> Result<Running, ServeError> {
    gateway.askers.refresh(gateway.store()).await?;
    let unnamed = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let address =
        listener.local_addr().map_err(|source| ServeError::Listen { address: unnamed, source })?;
    let failed = |source| ServeError::Listen { address, source };
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = TcpListener::from_std(listener).map_err(failed)?;
    refuse_open(&gateway, address)?;
    Ok(serve_at(gateway, listener, address))
}

/// Refuses an address that others can reach while there is no key to tell them apart by.
fn refuse_open(gateway: &Gateway, address: SocketAddr) -> Result<(), ServeError> {
    if address.ip().is_loopback() || gateway.askers.are_issued() {
        return Ok(());
    }
    Err(ServeError::Open(address))
}

fn serve_at(gateway: Arc<Gateway>, listener: TcpListener, address: SocketAddr) -> Running {
    let limits = gateway.settings.limits;
    let (stopping, stopped) = watch::channel(false);
    let pieces =
        Arc::new(Semaphore::new(limits.bodies_bytes.max(limits.body_bytes).div_ceil(PIECE)));
    let shared = Arc::new(Shared { gateway, limits, address, pieces, stopping: stopped });
    // Ends when `stopping` is said or `Running` is dropped.
    let serving = tokio::spawn(accept(shared, listener));
    Running { address, stopping, serving }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    let mut stopping = shared.stopping.clone();
    let places = Arc::new(Places::default());
    let metrics = &shared.gateway.metrics;
    let look_after = shared.gateway.look_after();
    tokio::pin!(look_after);
    loop {
        metrics.connections.store(connections.len() as u64, Relaxed);
        let has_room = connections.len() < shared.limits.connections;
        tokio::select! {
            () = told(&mut stopping) => break,
            () = &mut look_after => {}
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, peer)) => {
                    let most = shared.limits.connections_of_one;
                    let Some(place) = places.take(peer.ip(), most) else {
                        metrics.connections_refused.fetch_add(1, Relaxed);
                        continue;
                    };
                    let talk = converse(Arc::clone(&shared), stream, peer.ip());
                    // Ends with its connection, or with the set.
                    connections.spawn(async move {
                        talk.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let ended =
        timeout(shared.limits.drain, async { while connections.join_next().await.is_some() {} });
    if ended.await.is_err() {
        tracing::warn!(open = connections.len(), "connections were closed before their end");
    }
}

/// Waits for the word to stop, or for the end of whoever could say it.
pub(crate) async fn told(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|is_stopping| *is_stopping).await);
}
