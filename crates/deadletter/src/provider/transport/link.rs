//! One connection, driven by the request that uses it, and whether bytes were written to it.
//!
//! No background task: whoever waits for the answer polls the connection too. So a request that is
//! given up takes its socket with it, and nothing is left to end.

use super::{LineError, innermost};
use crate::provider::Sent;
use bytes::Bytes;
use deadletter_core::Cause;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::http::response::Parts;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Response, body::Incoming};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// Upstream's headers are a few hundred bytes; hyper's own default is 400 kB a connection.
const BUFFER_LIMIT: usize = 64 << 10;

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// An HTTP/1.1 connection that carries one request at a time.
pub(crate) struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// Gone once the connection has ended.
    driver: Option<Driver>,
    written: Arc<AtomicBool>,
}

/// Why an exchange failed.
pub(crate) enum Broken {
    Line(hyper::Error),
    Body(Box<dyn std::error::Error + Send + Sync>),
}

impl Link {
    /// A connection over a stream that stands.
    pub(crate) async fn over<T>(stream: T) -> hyper::Result<Self>
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let written = Arc::new(AtomicBool::new(false));
        let watched = Watched { stream, written: Arc::clone(&written) };
        let (sender, connection) =
            Builder::new().max_buf_size(BUFFER_LIMIT).handshake(watched).await?;
        Ok(Self { sender, driver: Some(Box::pin(connection)), written })
    }

    /// Whether bytes of the last request may have left.
    pub(crate) fn sent(&self) -> Sent {
        if self.written.load(Ordering::Relaxed) { Sent::Maybe } else { Sent::No }
    }

    /// Looks once whether the peer still keeps the connection, without waiting.
    pub(crate) async fn is_usable(&mut self) -> bool {
        let Self { sender, driver, .. } = self;
        let look = poll_fn(|cx| Poll::Ready(sender.poll_ready(cx)));
        matches!(drive(driver, look).await, Poll::Ready(Ok(()))) && driver.is_some()
    }

    /// Sends a request and reads its answer, the body up to `limit` bytes.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<(Parts, Bytes), Broken> {
        let (parts, body) = self.head(request).await?;
        Ok((parts, self.read(body, limit).await?))
    }

    /// Sends a request and reads the head of its answer.
    pub(crate) async fn head(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Parts, Incoming), Broken> {
        self.written.store(false, Ordering::Relaxed);
        let Self { sender, driver, .. } = self;
        let work = async {
            sender.ready().await.map_err(Broken::Line)?;
            let response: Response<Incoming> =
                sender.send_request(request).await.map_err(Broken::Line)?;
            Ok(response.into_parts())
        };
        drive(driver, work).await
    }

    /// Reads the body of an answer, up to `limit` bytes.
    pub(crate) async fn read(&mut self, body: Incoming, limit: usize) -> Result<Bytes, Broken> {
        let work = Limited::new(body, limit).collect();
        let body = drive(&mut self.driver, work).await.map_err(Broken::Body)?;
        Ok(body.to_bytes())
    }
}

/// Polls the connection and the work that waits for it, in this order, until the work is done.
async fn drive<T>(driver: &mut Option<Driver>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Some(connection) = driver
            && connection.as_mut().poll(cx).is_ready()
        {
            // Its error, if any, reaches the work over hyper's channel; so does its end.
            *driver = None;
        }
        work.as_mut().poll(cx)
    })
    .await
}

impl Broken {
    /// The same in the words that are kept.
    pub(crate) fn at(self, place: &str, sent: Sent) -> LineError {
        let (cause, what) = match &self {
            Self::Line(error) if error.is_parse() => {
                (Cause::UNREADABLE, format!("{place} did not answer in HTTP: {}", innermost(error)))
            }
            Self::Line(error) => {
                (Cause::NETWORK, format!("the line to {place} broke: {}", innermost(error)))
            }
            Self::Body(error) if error.is::<LengthLimitError>() => {
                (Cause::UNREADABLE, format!("{place} sent more than an answer can be"))
            }
            Self::Body(error) => (
                Cause::NETWORK,
                format!("the answer of {place} was cut: {}", innermost(error.as_ref())),
            ),
        };
        LineError { sent, cause, what }
    }
}

/// A stream that remembers that something was written.
///
/// A try counts, whatever it returned: a TLS stream may report an error after part of a record
/// has left.
struct Watched<T> {
    stream: T,
    written: Arc<AtomicBool>,
}

impl<T: Read + Unpin> Read for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<T: Write + Unpin> Write for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}
