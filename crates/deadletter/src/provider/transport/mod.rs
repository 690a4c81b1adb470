//! A small HTTP/1.1 client that says of each failure whether bytes may have left.
//!
//! One call is one request on one connection. There are no retries, no redirects, no
//! decompression, no proxies from the environment: a submit may cost money, and a client that
//! helps in silence makes two of one. Errors hold the host and port, never a path, query or body.
//!
//! Idle connections are kept for a short while, and are looked at before they are used again: one
//! that the peer has closed is dropped before the request is handed to it.

pub(crate) mod link;

use super::Sent;
use bytes::Bytes;
use deadletter_core::Cause;
use deadletter_core::backoff::RETRY_AFTER_MAX_MS;
use hyper::{Method, Request, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use link::Link;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;
use url::Url;

/// Below the shortest idle time that common servers keep (5 s: Node, Apache), so that a reused
/// connection is rarely one that is being closed.
const IDLE_FOR: Duration = Duration::from_secs(4);

/// Idle connections that are kept; more than that only cost file descriptors.
const IDLE_LIMIT: usize = 32;

/// Largest body that is read. Answers are at most some kilobytes; the rest is somebody's mistake.
const BODY_LIMIT: usize = 4 << 20;

/// Sent with each request.
const USER_AGENT: &str = concat!("deadletter/", env!("CARGO_PKG_VERSION"));

/// Connections to any number of endpoints.
pub(crate) struct Transport {
    connector: HttpsConnector<HttpConnector>,
    connect_timeout: Duration,
    /// Requests under way, and so connections in use; waiting here counts as not sent.
    permits: Semaphore,
    /// Guards the list of idle links; never held over an await.
    idle: Mutex<Vec<Parked>>,
}

struct Parked {
    origin: Arc<str>,
    until: Instant,
    link: Link,
}

/// Where requests go: an `http` or `https` address without credentials, query and fragment.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    origin: Arc<str>,
    /// The value of the `Host` header.
    authority: String,
    /// `host:port`, for errors.
    place: String,
    path: String,
}

/// One request. Query and body hold keys: neither is ever printed.
pub(crate) struct Outgoing<'a> {
    pub(crate) to: &'a Endpoint,
    /// Urlencoded.
    pub(crate) query: Option<String>,
    /// A request with a body is a POST, one without is a GET.
    pub(crate) body: Option<Body>,
    /// For the whole request: waiting for a connection, connecting, sending, reading.
    pub(crate) timeout: Duration,
}

/// The body of a request.
pub(crate) enum Body {
    /// Urlencoded.
    Form(String),
    Json(String),
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) retry_after_ms: Option<i64>,
    pub(crate) body: Bytes,
}

/// Why nothing, or nothing whole, came back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct LineError {
    pub(crate) sent: Sent,
    /// [`Cause::NETWORK`], or [`Cause::UNREADABLE`] where bytes came that are no HTTP answer.
    pub(crate) cause: &'static str,
    pub(crate) what: String,
}

impl LineError {
    fn unsent(what: String) -> Self {
        Self { sent: Sent::No, cause: Cause::NETWORK, what }
    }
}

impl Endpoint {
    /// Reads an address; the error says what is wrong with it.
    pub(crate) fn parse(address: &str) -> Result<Self, &'static str> {
        let url = Url::parse(address).map_err(|_| "is not an address")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("does not begin with http:// or https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds credentials");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("holds a query or fragment");
        }
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err("names no host");
        };
        let place = format!("{host}:{port}");
        let authority = if url.port().is_some() { place.clone() } else { host.to_owned() };
        let origin = format!("{}://{place}", url.scheme()).into();
        Ok(Self { origin, authority, place, path: url.path().to_owned() })
    }
}

impl Transport {
    /// A client for at most `connections` requests at a time.
    pub(crate) fn new(connect_timeout: Duration, connections: usize) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector = https_or_http(http);
        let permits = Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS));
        Self { connector, connect_timeout, permits, idle: Mutex::new(Vec::new()) }
    }

    /// Sends one request, once.
    pub(crate) async fn send(&self, outgoing: Outgoing<'_>) -> Result<Received, LineError> {
        let (to, timeout) = (outgoing.to, outgoing.timeout);
        let deadline = Instant::now() + timeout;
        let request = outgoing.into_request()?;
        let _permit = timeout_at(deadline, self.permits.acquire())
            .await
            .map_err(|_| LineError::unsent(format!("no free connection within {timeout:?}")))?
            .expect("the semaphore is never closed");
        let mut link = self.link_to(to, deadline).await?;
        let answer = timeout_at(deadline, link.exchange(request, BODY_LIMIT)).await;
        let sent = link.sent();
        match answer {
            Ok(Ok((parts, body))) => {
                if link.is_usable().await {
                    self.park(to, link);
                }
                Ok(Received::new(&parts, body))
            }
            Ok(Err(error)) => Err(error.at(&to.place, sent)),
            Err(_) => Err(LineError {
                sent,
                cause: Cause::NETWORK,
                what: format!("no whole answer from {} within {timeout:?}", to.place),
            }),
        }
    }

    async fn link_to(&self, to: &Endpoint, deadline: Instant) -> Result<Link, LineError> {
        while let Some(mut link) = self.unpark(to) {
            if link.is_usable().await {
                return Ok(link);
            }
        }
        self.connect(to, deadline).await
    }

    /// Name look-up, TCP and TLS; whatever fails here, no byte of the request has left.
    async fn connect(&self, to: &Endpoint, deadline: Instant) -> Result<Link, LineError> {
        let unreachable =
            |why: &str| LineError::unsent(format!("could not connect to {}: {why}", to.place));
        let uri = Uri::try_from(to.origin.as_ref()).map_err(|_| unreachable("bad address"))?;
        let until = deadline.min(Instant::now() + self.connect_timeout);
        let mut connector = self.connector.clone();
        let connecting = async {
            std::future::poll_fn(|cx| connector.poll_ready(cx)).await?;
            connector.call(uri).await
        };
        let stream = timeout_at(until, connecting)
            .await
            .map_err(|_| unreachable("time-out"))?
            .map_err(|error| unreachable(&innermost(error.as_ref())))?;
        Link::over(stream).await.map_err(|error| unreachable(&innermost(&error)))
    }

    fn unpark(&self, to: &Endpoint) -> Option<Link> {
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|parked| parked.until > now);
        let newest = idle.iter().rposition(|parked| parked.origin == to.origin)?;
        Some(idle.remove(newest).link)
    }

    fn park(&self, to: &Endpoint, link: Link) {
        let until = Instant::now() + IDLE_FOR;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= IDLE_LIMIT {
            idle.remove(0);
        }
        idle.push(Parked { origin: Arc::clone(&to.origin), until, link });
    }
}

impl Outgoing<'_> {
    fn into_request(self) -> Result<Request<http_body_util::Full<Bytes>>, LineError> {
        let target = match self.query {
            Some(query) => format!("{}?{query}", self.to.path),
            None => self.to.path.clone(),
        };
        let mut request = Request::builder()
            .uri(target)
            .header(header::HOST, &self.to.authority)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "*/*")
            .header(header::ACCEPT_ENCODING, "identity");
        let (kind, body) = match self.body {
            Some(Body::Form(form)) => (Some("application/x-www-form-urlencoded"), form),
            Some(Body::Json(json)) => (Some("application/json"), json),
            None => (None, String::new()),
        };
        if let Some(kind) = kind {
            request = request.method(Method::POST).header(header::CONTENT_TYPE, kind);
        }
        // The error would name the target, and the target holds the key.
        let bad = |_| LineError::unsent("the request cannot be written as HTTP".to_owned());
        request.body(http_body_util::Full::new(body.into())).map_err(bad)
    }
}

impl Received {
    fn new(parts: &hyper::http::response::Parts, body: Bytes) -> Self {
        let text = |name| parts.headers.get(name)?.to_str().ok();
        Self {
            status: parts.status.as_u16(),
            content_type: text(header::CONTENT_TYPE).map(str::to_owned),
            retry_after_ms: text(header::RETRY_AFTER).and_then(retry_after_ms),
            body,
        }
    }
}

/// TLS over what `plain` connects, where an address begins with `https`; with the roots that
/// browsers trust, whatever the machine trusts besides.
pub(crate) fn https_or_http<C>(plain: C) -> HttpsConnector<C> {
    HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
        .expect("ring has the default protocol versions")
        .https_or_http()
        .enable_http1()
        .wrap_connector(plain)
}

/// `Retry-After` in seconds; the form with a date is left to the code's own time.
fn retry_after_ms(text: &str) -> Option<i64> {
    let seconds: i64 = text.trim().parse().ok()?;
    (seconds >= 0).then(|| seconds.saturating_mul(1_000).min(RETRY_AFTER_MAX_MS))
}

/// The last error of a chain: the one that says what happened (`Connection refused`).
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    // A chain is a handful of errors; the bound is for one that refers to itself.
    const CHAIN_LIMIT: usize = 16;
    std::iter::successors(Some(error), |error| (*error).source())
        .take(CHAIN_LIMIT)
        .last()
        .map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_http_without_credentials_or_query() {
        for (bad, why) in [
            ("", "address"),
            ("ocr.example", "address"),
            ("ftp://ocr.example/in.php", "http"),
            ("https://u:p@ocr.example/in.php", "credentials"),
            ("https://ocr.example/in.php?key=1", "query"),
        ] {
            let error = Endpoint::parse(bad).map(|_| ()).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
        let endpoint = Endpoint::parse("https://OCR.example/in.php").unwrap();
        assert_eq!(endpoint.place, "ocr.example:443");
        assert_eq!(endpoint.authority, "ocr.example");
        assert_eq!(endpoint.path, "/in.php");
        let endpoint = Endpoint::parse("http://127.0.0.1:8080/x/res.php").unwrap();
        assert_eq!(endpoint.authority, "127.0.0.1:8080");
    }

    #[test]
    fn a_retry_after_is_seconds_within_an_hour() {
        assert_eq!(retry_after_ms(" 7 "), Some(7_000));
        assert_eq!(retry_after_ms("99999999"), Some(3_600_000));
        for bad in ["-1", "Wed, 21 Oct 2026 07:28:00 GMT", "", "99999999999999999999"] {
            assert_eq!(retry_after_ms(bad), None);
        }
    }
}
