//! A line to a server that can be cut at any byte.

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
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
    /// Guards what the next PostgreSQL transaction is told of its number.
    number: Mutex<Option<i64>>,
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

    /// Tells the next PostgreSQL transaction another number than its own.
    pub(crate) fn tells(&self, number: i64) {
        *self.shared.number.lock().unwrap() = Some(number);
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
            let told = self.told(way, &bytes[..passed]);
            if read == 0 || to.write_all(&told).await.is_err() {
                return;
            }
            if passed < read {
                self.was_cut.store(true, Ordering::SeqCst);
                return;
            }
        }
    }

    /// The same bytes, but for a number that is to be told.
    fn told<'b>(&self, way: Way, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let mut next = self.number.lock().unwrap();
        let Some(number) = next.filter(|_| way == Way::Back) else { return bytes.into() };
        let Some((from, to)) = number_in(bytes) else { return bytes.into() };
        *next = None;
        let digits = number.to_string();
        let length = u32::try_from(digits.len()).unwrap();
        let row = [b"D", &(length + 10).to_be_bytes()[..], b"\0\x01", &length.to_be_bytes()];
        [&bytes[..from], &row.concat(), digits.as_bytes(), &bytes[to..]].concat().into()
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

/// Where a row of PostgreSQL stands whose one value is a number in digits.
fn number_in(bytes: &[u8]) -> Option<(usize, usize)> {
    // 'D', how long the row is, one value, how long it is.
    let rows = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"D\0\0\0"));
    rows.filter_map(|at| {
        let (row, value) = (*bytes.get(at + 4)?, *bytes.get(at + 10)?);
        let end = at + 1 + usize::from(row);
        let digits = bytes.get(at + 11..end)?;
        let is_number = row == value + 10 && digits.iter().all(u8::is_ascii_digit);
        (is_number && !digits.is_empty()).then_some((at, end))
    })
    .next()
}
