//! One connection: TLS where it is spoken here, then HTTP/1.1, until one side ends it.

use crate::{
    request::{PLAIN, last, treat},
    server::{Shared, told},
    tls::Tls,
    wire::Wire,
    wording::reply,
};
use http_body_util::Full;
use hyper::{Request, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, net::IpAddr, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

/// Bytes of a request head: queries of 7 kB are seen.
const HEAD_BYTES: usize = 64 << 10;
/// Headers of a request.
const HEADERS: usize = 100;
/// The first byte of a client that speaks TLS: a record of its handshake.
const HANDSHAKE: u8 = 0x16;

/// Serves a connection to its end.
pub(crate) async fn converse(shared: Arc<Shared>, stream: TcpStream, peer: IpAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let Some(tls) = shared.gateway.settings.tls.clone() else {
        let wire = Wire::new(stream, shared.limits.write);
        return speak(shared, wire, peer, true).await;
    };
    let mut stopping = shared.stopping.clone();
    let greeting = tokio::select! {
        greeting = timeout(shared.limits.handshake, shake(&shared, &tls, stream)) => greeting,
        () = told(&mut stopping) => return,
    };
    match greeting {
        Ok(Ok(Greeting::Tls(stream))) => speak(shared, *stream, peer, true).await,
        Ok(Ok(Greeting::Plain(wire))) => speak(shared, wire, peer, false).await,
        Ok(Err(error)) => tracing::debug!(%error, "no TLS came about"),
        Err(_) => tracing::debug!("a handshake took too long"),
    }
}

/// How a client begins.
enum Greeting {
    Tls(Box<tokio_rustls::server::TlsStream<Wire>>),
    /// It speaks HTTP, and would wait for its answer for ever.
    Plain(Wire),
}

async fn shake(shared: &Shared, tls: &Tls, stream: TcpStream) -> io::Result<Greeting> {
    let mut first = [0];
    let is_open = stream.peek(&mut first).await? > 0;
    let wire = Wire::new(stream, shared.limits.write);
    if is_open && first != [HANDSHAKE] {
        return Ok(Greeting::Plain(wire));
    }
    Ok(Greeting::Tls(Box::new(tls.0.accept(wire).await?)))
}

/// Speaks HTTP/1.1; where it is not `safe`, to say that https is spoken here.
async fn speak<S>(shared: Arc<Shared>, stream: S, peer: IpAddr, safe: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            let reply = if safe {
                treat(&shared, peer, request).await
            } else {
                let why = "https is spoken here; begin the base URL with https://\n";
                last(reply(StatusCode::BAD_REQUEST, PLAIN, why))
            };
            Ok::<_, Infallible>(reply.map(Full::new))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.head)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
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
