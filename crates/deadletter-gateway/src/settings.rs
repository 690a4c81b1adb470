//! What a gateway is told: its address, its patience, its limits.

use crate::tls::Tls;
use std::{net::SocketAddr, time::Duration};

/// How to serve.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Names that a `Host` header may have besides the listening address and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// How long a client is thought to wait for its answer, in milliseconds: after it nothing new is
    /// submitted for it.
    pub deadline_ms: i64,
    /// How long in.php waits for upstream's verdict before it answers with the id; zero answers at
    /// once.
    pub submit_wait: Duration,
    /// For so long, in milliseconds, the same job of the same owner is the same task while that one has
    /// not ended: a client's own retry. None: two equal submits are two tasks.
    pub fold_ms: Option<i64>,
    /// Tasks under way and waiting that are accepted; beyond them in.php says that no slot is free.
    pub capacity: u64,
    /// Answer browsers of any origin that ask with `header_acao=1`.
    pub header_acao: bool,
    /// What one client may cost.
    pub limits: Limits,
    /// Speak TLS on the port, and nothing else; none speaks plain HTTP.
    pub tls: Option<Tls>,
}

/// The longest that in.php may wait for upstream: clients give up after five seconds.
pub const SUBMIT_WAIT_MAX: Duration = Duration::from_secs(4);

impl Settings {
    /// The usual settings at that address.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            allowed_hosts: Vec::new(),
            deadline_ms: 180_000,
            submit_wait: Duration::ZERO,
            fold_ms: None,
            capacity: 10_000,
            header_acao: false,
            limits: Limits::default(),
            tls: None,
        }
    }
}

/// What connections and requests may cost; what is beyond is refused.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; more wait to be accepted.
    pub connections: usize,
    /// Of them from one address; what is more is closed.
    pub connections_of_one: usize,
    /// For the handshake of TLS, from the first byte on.
    pub handshake: Duration,
    /// For a whole request head, and for the next one on an open connection.
    pub head: Duration,
    /// For a whole body.
    pub body: Duration,
    /// Bytes of one body.
    pub body_bytes: usize,
    /// Bytes of all bodies that are being read at a time.
    pub bodies_bytes: usize,
    /// For a client to take the next part of its reply.
    pub write: Duration,
    /// For what is under way when the gateway stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            // All scripts of a machine have one address: most of it, and never the rest.
            connections_of_one: 3_072,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(15),
            body: Duration::from_secs(30),
            // Nine images in base64 with room to spare.
            body_bytes: 17 << 20,
            bodies_bytes: 128 << 20,
            write: Duration::from_secs(15),
            drain: Duration::from_secs(10),
        }
    }
}
