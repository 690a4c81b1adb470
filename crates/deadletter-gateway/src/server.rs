//! The port: connections and their limits, the reading of requests, the end of it all.
//!
//! ```text
//! serve() ── one task owns the listener and every connection task (ends them by ending)
//!    └─ connection ── hyper ── host? ── body within limits ── Gateway::answer
//! ```

use crate::{
    askers::KeysError,
    gateway::{Gateway, Incoming},
    settings::Limits,
    wire::Wire,
    wording::reply,
};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Incoming as RequestBody},
    header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioTimer;
use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

/// Out of file descriptors, mostly: accepting again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of a request head: queries of 7 kB are seen.
const HEAD_BYTES: usize = 64 << 10;
/// Headers of a request.
const HEADERS: usize = 100;
/// Bodies are counted in pieces of this many bytes.
const PIECE: usize = 16 << 10;
const PLAIN: &str = "text/plain; charset=utf-8";
/// The header by which clients name a submit that they may repeat.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

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
struct Shared {
    gateway: Arc<Gateway>,
    limits: Limits,
    address: SocketAddr,
    /// Pieces of bodies that may be held at a time.
    pieces: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

/// Starts to serve.
pub async fn serve(gateway: Arc<Gateway>) -> Result<Running, ServeError> {
    let limits = gateway.settings.limits;
    gateway.askers.refresh(gateway.store()).await?;
    let wanted = gateway.settings.listen;
    if !wanted.ip().is_loopback() && !gateway.askers.are_issued() {
        return Err(ServeError::Open(wanted));
    }
    let failed = |source| ServeError::Listen { address: wanted, source };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let (stopping, stopped) = watch::channel(false);
    let pieces = Arc::new(Semaphore::new(limits.bodies_bytes / PIECE));
    let shared = Arc::new(Shared { gateway, limits, address, pieces, stopping: stopped });
    // Ends when `stopping` is said or `Running` is dropped.
    let serving = tokio::spawn(accept(shared, listener));
    Ok(Running { address, stopping, serving })
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    let mut stopping = shared.stopping.clone();
    let look_after = shared.gateway.look_after();
    tokio::pin!(look_after);
    loop {
        let has_room = connections.len() < shared.limits.connections;
        tokio::select! {
            () = told(&mut stopping) => break,
            () = &mut look_after => {}
            accepted = listener.accept(), if has_room => match accepted {
                // Ends with its connection, or with the set.
                Ok((stream, peer)) => {
                    drop(connections.spawn(converse(Arc::clone(&shared), stream, peer.ip())));
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
async fn told(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|is_stopping| *is_stopping).await);
}

async fn converse(shared: Arc<Shared>, stream: TcpStream, peer: IpAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(treat(&shared, peer, request).await.map(Full::new)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.head)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(Wire::new(stream, shared.limits.write), service);
    let mut connection = std::pin::pin!(connection);
    let mut stopping = shared.stopping.clone();
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = told(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}

async fn treat(shared: &Shared, peer: IpAddr, request: Request<RequestBody>) -> Response<Bytes> {
    let (head, body) = request.into_parts();
    if !is_allowed(shared, &head.headers) {
        return reply(
            StatusCode::MISDIRECTED_REQUEST,
            PLAIN,
            "this host name is not served here; `serve --allow-host NAME` allows one\n",
        );
    }
    let body = match timeout(shared.limits.body, read(shared, body)).await {
        Ok(Ok(body)) => body,
        Ok(Err(status)) => return last(reply(status, PLAIN, "the body was not taken\n")),
        Err(_) => {
            return last(reply(StatusCode::REQUEST_TIMEOUT, PLAIN, "the body took too long\n"));
        }
    };
    let text = |name: &HeaderName| head.headers.get(name)?.to_str().ok().map(str::to_owned);
    let incoming = Incoming {
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        content_type: text(&CONTENT_TYPE),
        idempotency_key: text(&IDEMPOTENCY_KEY).filter(|key| !key.is_empty()),
        method: head.method,
        peer,
        body,
    };
    shared.gateway.answer(incoming).await
}

/// The last reply on its connection: what is left of the request is not read.
fn last(mut reply: Response<Bytes>) -> Response<Bytes> {
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}

/// True where the `Host` is ours: a page of a browser that was led here by a name of its own
/// (DNS rebinding) has another. Clients that send none are no browsers.
fn is_allowed(shared: &Shared, headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_ours = address.is_ok_and(|ip| ip == shared.address.ip() || ip.is_loopback());
    let allowed = &shared.gateway.settings.allowed_hosts;
    is_ours
        || name.eq_ignore_ascii_case("localhost")
        || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
}

/// Reads a body; what all bodies hold at a time is bounded.
async fn read(shared: &Shared, mut body: RequestBody) -> Result<Bytes, StatusCode> {
    let most = shared.limits.body_bytes;
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > most {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let (mut whole, mut held) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > most {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let pieces = u32::try_from(data.len() / PIECE + 1).unwrap_or(u32::MAX);
        let more = Arc::clone(&shared.pieces).acquire_many_owned(pieces).await;
        let more = more.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        match &mut held {
            None => held = Some(more),
            Some(held) => held.merge(more),
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
