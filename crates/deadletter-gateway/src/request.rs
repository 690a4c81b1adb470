//! One request on its connection: whether its `Host` is ours, its body within limits, its reply.

use crate::{
    gateway::Incoming,
    server::{PIECE, Shared},
    wording::reply,
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Incoming as RequestBody},
    header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue},
};
use std::{net::IpAddr, sync::Arc};
use tokio::time::timeout;

pub(crate) const PLAIN: &str = "text/plain; charset=utf-8";
/// The header by which clients name a submit that they may repeat.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Answers one request.
pub(crate) async fn treat(
    shared: &Shared,
    peer: IpAddr,
    request: Request<RequestBody>,
) -> Response<Bytes> {
    let (head, body) = request.into_parts();
    if !is_allowed(shared, &head.headers) {
        return reply(
            StatusCode::MISDIRECTED_REQUEST,
            PLAIN,
            "this host name is not served here; `serve --allow-host NAME` allows one\n",
        );
    }
    let body = match timeout(shared.limits.body, read(shared, body)).await {
        Ok(Ok(body)) => body,
        Ok(Err(status)) => return last(reply(status, PLAIN, "the body was not taken\n")),
        Err(_) => {
            return last(reply(StatusCode::REQUEST_TIMEOUT, PLAIN, "the body took too long\n"));
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
    shared.gateway.answer(incoming).await
}

/// The last reply on its connection: what is left of the request is not read.
pub(crate) fn last(mut reply: Response<Bytes>) -> Response<Bytes> {
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}

/// True where the `Host` is ours: a page of a browser that was led here by a name of its own
/// (DNS rebinding) has another. Clients that send none are no browsers.
fn is_allowed(shared: &Shared, headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
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

/// Reads a body; what all bodies hold at a time is bounded.
async fn read(shared: &Shared, mut body: RequestBody) -> Result<Bytes, StatusCode> {
    let most = shared.limits.body_bytes;
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > most {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let (mut whole, mut held) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > most {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let pieces = u32::try_from(data.len() / PIECE + 1).unwrap_or(u32::MAX);
        let more = Arc::clone(&shared.pieces).acquire_many_owned(pieces).await;
        let more = more.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        match &mut held {
            None => held = Some(more),
            Some(held) => held.merge(more),
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
