//! A line to a server that can be cut at any byte.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    There,
    Back,
}

/// Where a line is to be cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) way: Way,
    /// So many bytes that way still pass...
    pub(crate) after: usize,
    /// ...from the first bytes on, there, that hold this.
    pub(crate) from: &'static str,
    /// Set when these have been seen.
    is_begun: bool,
}

/// Passes on what comes to its port.
pub(crate) struct Line {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Guards the cut that is to be made next.
    cut: Mutex<Option<Cut>>,
    was_cut: AtomicBool,
}

impl Line {
    /// A line to a port of this machine, for as long as its runtime lives.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let line = Self { port: listener.local_addr().unwrap().port(), shared: Arc::default() };
        let shared = Arc::clone(&line.shared);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) =
                    (near.into_split(), far.into_split());
                let (there, back) = (Arc::clone(&shared), Arc::clone(&shared));
                tokio::spawn(async move {
                    // Whichever way ends first takes the other along.
                    tokio::select! {
                        () = there.pass(Way::There, near_in, far_out) => {}
                        () = back.pass(Way::Back, far_in, near_out) => {}
                    }
                });
            }
        });
        line
    }

    /// Cuts the next connection that sends `from`, so many bytes later.
    pub(crate) fn cut(&self, way: Way, after: usize, from: &'static str) {
        *self.shared.cut.lock().unwrap() = Some(Cut { way, after, from, is_begun: false });
        self.shared.was_cut.store(false, Ordering::SeqCst);
    }

    /// True where the cut was made.
    pub(crate) fn was_cut(&self) -> bool {
        self.shared.was_cut.load(Ordering::SeqCst)
    }
}

impl Shared {
    async fn pass(&self, way: Way, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let read = from.read(&mut bytes).await.unwrap_or(0);
            let passed = self.allowed(way, &bytes[..read]);
            if read == 0 || to.write_all(&bytes[..passed]).await.is_err() {
                return;
            }
            if passed < read {
                self.was_cut.store(true, Ordering::SeqCst);
                return;
            }
        }
    }

    /// How many of these bytes pass.
    fn allowed(&self, way: Way, bytes: &[u8]) -> usize {
        let mut cut = self.cut.lock().unwrap();
        let Some(next) = &mut *cut else { return bytes.len() };
        let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        next.is_begun |= way == Way::There && holds(next.from);
        if !next.is_begun || next.way != way {
            return bytes.len();
        }
        let passed = next.after.min(bytes.len());
        next.after -= passed;
        if passed < bytes.len() {
            *cut = None;
        }
        passed
    }
}
