//! One request on its connection: whether its `Host` is ours, its body within limits, its reply.

use crate::{
    gateway::Incoming,
    metrics::{Class, Metrics},
    server::{PIECE, Shared},
    wording::reply,
};
use bytes::{Bytes, BytesMut};
use deadletter::store::clock::Stopwatch;
use http_body_util::BodyExt;
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Incoming as RequestBody},
    header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue},
};
use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

pub(crate) const PLAIN: &str = "text/plain; charset=utf-8";
/// The header by which clients name a submit that they may repeat.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Answers one request, and counts it.
pub(crate) async fn treat(
    shared: &Shared,
    peer: IpAddr,
    request: Request<RequestBody>,
) -> Response<Bytes> {
    let (watch, path) = (Stopwatch::start(), request.uri().path().to_owned());
    let reply = answer(shared, peer, request).await;
    let (class, took_us) = (Class::of(&reply), watch.elapsed_us());
    shared.gateway.metrics.count(&path, class, took_us);
    // Its path is a client's word, and its query has keys: neither is logged.
    let (status, said) = (reply.status().as_u16(), class.label());
    tracing::debug!(path = Metrics::known(&path), status, said, took_us, "answered");
    reply
}

async fn answer(shared: &Shared, peer: IpAddr, request: Request<RequestBody>) -> Response<Bytes> {
    let (head, body) = request.into_parts();
    if !is_allowed(shared, head.uri.host(), &head.headers) {
        return reply(
            StatusCode::MISDIRECTED_REQUEST,
            PLAIN,
            "this host name is not served here; `serve --allow-host NAME` allows one\n",
        );
    }
    // What the body holds is held until its reply stands.
    let (body, held) = match timeout(shared.limits.body, read(shared, body)).await {
        Ok(Ok(read)) => read,
        refused => {
            shared.gateway.metrics.bodies_refused.fetch_add(1, Relaxed);
            return last(match refused {
                Ok(Err(status)) => reply(status, PLAIN, "the body was not taken\n"),
                _ => reply(StatusCode::REQUEST_TIMEOUT, PLAIN, "the body took too long\n"),
            });
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
    let reply = shared.gateway.answer(incoming).await;
    drop(held);
    if Class::of(&reply) == Class::Refused {
        shared.gateway.refusals.turn(shared.stopping.clone()).await;
    }
    reply
}

/// The last reply on its connection: what is left of the request is not read.
pub(crate) fn last(mut reply: Response<Bytes>) -> Response<Bytes> {
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}

/// True where the `Host` is ours: a page of a browser that was led here by a name of its own
/// (DNS rebinding) has another. Clients that send none are no browsers. What stands in the target
/// must be ours as well, and two `Host`s are read one way here and another way elsewhere.
fn is_allowed(shared: &Shared, of_target: Option<&str>, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let is_ours = |host: &HeaderValue| host.to_str().is_ok_and(|host| is_our_name(shared, host));
    hosts.next().is_none_or(is_ours)
        && hosts.next().is_none()
        && of_target.is_none_or(|host| is_our_name(shared, host))
}

/// True for a name or address of ours, with or without a port.
fn is_our_name(shared: &Shared, host: &str) -> bool {
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

/// Pieces of what all bodies may hold; none for a small one.
type Held = Option<OwnedSemaphorePermit>;

/// Reads a body; what all bodies hold at a time is bounded. The first piece of each is free, bounded
/// by the connections, so that small ones never wait for large ones. A large one takes all that it
/// may need at once: two that wait for each other's pieces would wait for ever.
async fn read(shared: &Shared, mut body: RequestBody) -> Result<(Bytes, Held), StatusCode> {
    let most = shared.limits.body_bytes;
    let told = body.size_hint();
    let is_too_large = told.lower() > u64::try_from(most).unwrap_or(u64::MAX);
    if is_too_large {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let needed = told.exact().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(most);
    let (mut whole, mut held) = (BytesMut::new(), Held::None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Ok(data) = frame.into_data() else { continue };
        let bytes = whole.len() + data.len();
        if bytes > most {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        if bytes > PIECE && held.is_none() {
            let pieces = u32::try_from(needed.div_ceil(PIECE)).unwrap_or(u32::MAX);
            let all = Arc::clone(&shared.pieces).acquire_many_owned(pieces).await;
            held = Some(all.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?);
        }
        whole.extend_from_slice(&data);
    }
    Ok((whole.freeze(), held))
}
