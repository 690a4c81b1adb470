//! The HTTP server: connections, the reading of requests, the sending of replies.
//!
//! ```text
//! acceptor task ── owns the port and every connection task (ends them by ending)
//!    └─ connection task ── hyper ── treat() ── World::answer (under the lock) ── send()
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin;
use crate::clock::Clock;
use crate::family;
use crate::outage::OutageMode;
use crate::params::Params;
use crate::reply::{Manner, Reply};
use crate::wire::{self, Doom, ReplyBody, Wire};
use crate::world::{Ask, World};

/// A half-sent head or an idle connection is closed after this, as common web servers do.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// A body that is not there by then never comes.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// A hanging request is given up after this, so that a forgotten client holds nothing for ever.
const LONGEST_HANG: Duration = Duration::from_secs(600);
/// Heads are this long at most: queries of 7 kB exist, 64 kB leaves room for cookies.
const LONGEST_HEAD: usize = 64 * 1024;
/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 1_024;
/// Tries to take the port again after an outage, at `REOPEN_PAUSE`: about ten seconds.
const REOPEN_TRIES: u32 = 200;
const REOPEN_PAUSE: Duration = Duration::from_millis(50);

/// What acceptor, connections and handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Arc<Clock>,
    /// Guards the whole state; held for one request's work, never over a wait.
    world: Mutex<World>,
    /// Counts requests: wakes those who wait for something to have happened.
    pub(crate) pulse: watch::Sender<u64>,
    /// Counts changes of outages: wakes the acceptor.
    pub(crate) replan: watch::Sender<u64>,
    /// Whether the owner wants the port open.
    pub(crate) wants_open: watch::Sender<bool>,
    /// Whether it is.
    pub(crate) is_open: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        Self {
            clock: Arc::clone(&world.clock),
            world: Mutex::new(world),
            pulse: watch::Sender::new(0),
            replan: watch::Sender::new(0),
            wants_open: watch::Sender::new(true),
            is_open: watch::Sender::new(true),
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn bump(counter: &watch::Sender<u64>) {
        counter.send_modify(|n| *n = n.wrapping_add(1));
    }

    fn should_be_open(&self) -> bool {
        let now_ms = self.clock.now_ms();
        *self.wants_open.borrow()
            && self.world().outages.mode_at(now_ms) != Some(OutageMode::Refuse)
    }
}

/// Holds the port of 127.0.0.1 without listening on it: connections are refused, and nobody else
/// gets the port.
fn reserve(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))?;
    Ok(socket)
}

pub(crate) fn listen(port: u16) -> io::Result<TcpListener> {
    reserve(port)?.listen(BACKLOG)
}

async fn patiently<T>(port: u16, take: fn(u16) -> io::Result<T>) -> Option<T> {
    for _ in 0..REOPEN_TRIES {
        match take(port) {
            Ok(taken) => return Some(taken),
            Err(error) => tracing::debug!(%error, port, "the port is not free yet"),
        }
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
    tracing::error!(port, "the port was lost to another program");
    None
}

/// Accepts until the task is aborted by the handle; connection tasks end with it.
pub(crate) async fn accept(shared: Arc<Shared>, mut listener: Option<TcpListener>, port: u16) {
    let mut connections = JoinSet::new();
    let mut replan = shared.replan.subscribe();
    let mut wants_open = shared.wants_open.subscribe();
    // Held while the port is closed; dropped to listen again.
    let mut reserved = None;
    loop {
        replan.borrow_and_update();
        wants_open.borrow_and_update();
        if shared.should_be_open() != listener.is_some() {
            if listener.take().is_some() {
                reserved = patiently(port, reserve).await;
            } else {
                drop(reserved.take());
                listener = patiently(port, listen).await;
            }
            if listener.is_none() && reserved.is_none() {
                return;
            }
            shared.is_open.send_replace(listener.is_some());
        }
        let now_ms = shared.clock.now_ms();
        let next_change_ms = shared.world().outages.next_change_ms(now_ms);
        tokio::select! {
            accepted = next_connection(listener.as_ref()) => {
                admit(&shared, accepted, &mut connections).await;
            }
            () = until(&shared.clock, next_change_ms) => {}
            _ = replan.changed() => {}
            _ = wants_open.changed() => {}
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn next_connection(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn until(clock: &Clock, at_ms: Option<i64>) {
    match at_ms {
        Some(at_ms) => clock.sleep_until(at_ms).await,
        None => std::future::pending().await,
    }
}

async fn admit(
    shared: &Arc<Shared>,
    accepted: io::Result<(TcpStream, SocketAddr)>,
    connections: &mut JoinSet<()>,
) {
    let (stream, peer) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            // Out of file descriptors, mostly: accepting again at once would spin.
            tokio::time::sleep(REOPEN_PAUSE).await;
            return;
        }
    };
    let is_full = {
        let mut world = shared.world();
        let is_full = connections.len() >= world.scenario.limits.connections;
        world.stats.connections += 1;
        world.stats.connections_refused += u64::from(is_full);
        is_full
    };
    if is_full {
        tracing::warn!(open = connections.len(), "too many connections");
        wire::arm_reset(&stream);
        return;
    }
    // Ends with its connection, with the port's closing, or with the acceptor that owns the set.
    connections.spawn(converse(Arc::clone(shared), stream, peer.ip()));
}

async fn converse(shared: Arc<Shared>, stream: TcpStream, peer: IpAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let doom = Doom::default();
    let mut is_open = shared.is_open.subscribe();
    let service = service_fn(|request| treat(Arc::clone(&shared), peer, doom.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(Wire::new(stream, doom.clone()), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        // Connections that a closing port leaves behind are closed once they are idle.
        () = closing(&mut is_open) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection ended badly, as scripted or by its client");
    }
}

async fn closing(is_open: &mut watch::Receiver<bool>) {
    // An error means that the simulator is gone, which ends this connection as well.
    drop(is_open.wait_for(|is_open| !is_open).await);
}

async fn treat(
    shared: Arc<Shared>,
    peer: IpAddr,
    doom: Doom,
    request: Request<Incoming>,
) -> io::Result<Response<ReplyBody>> {
    let body_bytes = shared.world().scenario.limits.body_bytes;
    let ask = read(request, peer, body_bytes).await?;
    let is_admin = ask.path.starts_with("/admin/") && shared.world().scenario.admin;
    let reply = if is_admin {
        admin::reply(&shared, &ask)
    } else {
        let reply = shared.world().answer(&ask);
        Shared::bump(&shared.pulse);
        // A submit may have started the countdown of an outage.
        Shared::bump(&shared.replan);
        reply
    };
    send(&shared, reply, &doom).await
}

async fn read(request: Request<Incoming>, peer: IpAddr, most: usize) -> io::Result<Ask> {
    let (head, body) = request.into_parts();
    let mut path = head.uri.path().to_owned();
    while path.starts_with("//") {
        path.remove(0);
    }
    let verb = head.method.as_str().to_owned();
    let is_known_verb = matches!(head.method, Method::GET | Method::POST);
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, most).collect()).await?;
    let (params, defect) = match body {
        Ok(body) if family::is_path(&path) => match family::read(&path, &body.to_bytes()) {
            Ok(params) => (params, (!is_known_verb).then_some((405, "POST"))),
            Err(malformed) => (Params::default(), Some((400, malformed.0))),
        },
        Ok(body) => match Params::read(head.uri.query(), content_type, &body.to_bytes()) {
            Ok(params) => (params, (!is_known_verb).then_some((405, "GET or POST"))),
            Err(malformed) => (Params::default(), Some((400, malformed.0))),
        },
        Err(error) if error.is::<LengthLimitError>() => {
            (Params::default(), Some((413, "the body is too large")))
        }
        Err(error) => return Err(io::Error::other(error)),
    };
    Ok(Ask { verb, path, params, peer, defect })
}

async fn send(shared: &Shared, reply: Reply, doom: &Doom) -> io::Result<Response<ReplyBody>> {
    let len = reply.body.len();
    let body = match reply.manner {
        Manner::Reset => return Err(reset(doom)),
        Manner::Hang => {
            // hyper drops this future when the client goes away.
            tokio::time::sleep(LONGEST_HANG).await;
            return Err(reset(doom));
        }
        Manner::Delay { by_ms } => {
            let clock = &shared.clock;
            clock.sleep_until(clock.now_ms().saturating_add_unsigned(by_ms)).await;
            wire::whole(reply.body)
        }
        Manner::Whole => wire::whole(reply.body),
        Manner::Cut => wire::cut(reply.body),
        Manner::Drip { gap_ms } => wire::drip(reply.body, gap_ms, Arc::clone(&shared.clock)),
    };
    let mut response = Response::builder()
        .status(reply.status)
        .header(CONTENT_TYPE, reply.content_type)
        .header(CONTENT_LENGTH, len);
    if let Some(seconds) = reply.retry_after_s {
        response = response.header(RETRY_AFTER, seconds);
    }
    response.body(body).map_err(io::Error::other)
}

/// Dooms the connection; the error makes hyper drop it.
fn reset(doom: &Doom) -> io::Error {
    doom.seal();
    io::Error::new(io::ErrorKind::ConnectionReset, "reset by the scenario")
}
