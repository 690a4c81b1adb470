//! The connection under hyper, and bodies that go wrong on their way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::clock::Clock;

pub(crate) type ReplyBody = UnsyncBoxBody<Bytes, io::Error>;

/// A connection that ends in a reset (RST) instead of an orderly end when it is doomed.
#[derive(Debug)]
pub(crate) struct Wire {
    io: TokioIo<TcpStream>,
    doom: Doom,
}

/// Shared by a connection and the requests on it; once set it is never taken back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doom(Arc<AtomicBool>);

impl Doom {
    pub(crate) fn seal(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, doom: Doom) -> Self {
        Self { io: TokioIo::new(stream), doom }
    }
}

/// Makes the close of this stream a reset.
pub(crate) fn arm_reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a connection could not be made to reset");
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.doom.0.load(Ordering::Relaxed) {
            arm_reset(self.io.inner());
        }
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The body as it should be.
pub(crate) fn whole(text: String) -> ReplyBody {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

/// The first half of the body, then an error, at which hyper closes the connection.
pub(crate) fn cut(text: String) -> ReplyBody {
    let mut bytes = Bytes::from(text);
    let half = bytes.split_to(bytes.len() / 2);
    let frames = stream::unfold(Some(half), |half| async move {
        if let Some(half) = half.filter(|half| !half.is_empty()) {
            return Some((Ok(Frame::data(half)), Some(Bytes::new())));
        }
        // Gives hyper a turn in which it flushes the half, before the error makes it stop.
        tokio::task::yield_now().await;
        Some((Err(io::Error::other("cut by the scenario")), None))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// One byte at a time, with a gap of virtual time before each.
pub(crate) fn drip(text: String, gap_ms: u64, clock: Arc<Clock>) -> ReplyBody {
    let frames = stream::unfold((Bytes::from(text), clock), move |(mut left, clock)| async move {
        if left.is_empty() {
            return None;
        }
        clock.sleep_until(clock.now_ms().saturating_add_unsigned(gap_ms)).await;
        let byte = left.split_to(1);
        Some((Ok(Frame::data(byte)), (left, clock)))
    });
    StreamBody::new(frames).boxed_unsync()
}
