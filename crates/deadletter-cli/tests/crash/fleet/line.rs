//! The line between a gateway and the server, which can be cut and mended.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Passes on what comes to its port, while it is whole.
pub(super) struct Line {
    pub(super) port: u16,
    is_cut: watch::Sender<bool>,
}

impl Line {
    /// A line to a port of this machine; it ends with the runtime.
    pub(super) fn to(runtime: &Runtime, port: u16) -> Self {
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a free port");
        let own = listener.local_addr().expect("bound").port();
        let (is_cut, seen) = watch::channel(false);
        runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(pass(near, port, seen.clone()));
            }
        });
        Self { port: own, is_cut }
    }

    /// Cuts it: what is under way is lost, and nobody gets through.
    pub(super) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Mends it.
    pub(super) fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn pass(mut near: TcpStream, port: u16, mut is_cut: watch::Receiver<bool>) {
    if *is_cut.borrow_and_update() {
        return;
    }
    // Where the server is away, the caller is hung up on, as by a server that is.
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = is_cut.wait_for(|is_cut| *is_cut) => {}
    }
}
