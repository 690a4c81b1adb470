//! The line between a gateway and the server, which can be cut, fall silent, and be mended.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// How a line is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It passes on what comes.
    Whole,
    /// What comes waits, and nobody is told.
    Silent,
    /// What is under way is lost, and nobody gets through.
    Cut,
}

/// A line; it passes on what comes to its port.
pub(super) struct Line {
    pub(super) port: u16,
    state: watch::Sender<State>,
    /// Where whoever calls from now on is led.
    leads_to: Arc<AtomicU16>,
}

impl Line {
    /// A line to a port of this machine; it ends with the runtime.
    pub(super) fn to(runtime: &Runtime, port: u16) -> Self {
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a free port");
        let own = listener.local_addr().expect("bound").port();
        let (state, seen) = watch::channel(State::Whole);
        let leads_to = Arc::new(AtomicU16::new(port));
        let place = Arc::clone(&leads_to);
        runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(pass(near, place.load(Ordering::SeqCst), seen.clone()));
            }
        });
        Self { port: own, state, leads_to }
    }

    /// Makes it so.
    pub(super) fn becomes(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Another server has the address from now on.
    pub(super) fn now_leads_to(&self, port: u16) {
        self.leads_to.store(port, Ordering::SeqCst);
    }
}

async fn pass(mut near: TcpStream, port: u16, mut state: watch::Receiver<State>) {
    if *state.borrow_and_update() == State::Cut {
        return;
    }
    // Where the server is away, the caller is hung up on, as by a server that is.
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let passing = copy_bidirectional(&mut near, &mut far);
    tokio::pin!(passing);
    loop {
        // While nothing is passed on, nothing is lost either.
        let Ok(now) = state.wait_for(|state| *state != State::Silent).await.map(|now| *now) else {
            return;
        };
        if now == State::Cut {
            return;
        }
        tokio::select! {
            _ = &mut passing => return,
            changed = state.changed() => if changed.is_err() { return },
        }
    }
}
