//! One post of one body to one URL, and what became of it.

use super::{
    dial::{Dial, DialError, Names, SystemNames},
    guard::{Guard, Refused, place},
};
use crate::provider::{
    Sent,
    transport::{https_or_http, innermost, link::Link},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Uri, header};
use hyper_rustls::HttpsConnector;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;
use url::{Position, Url};

/// For the whole post: look-up, connection, sending, the answer's head. A receiver that works for
/// longer is to answer first.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Of an answer's body, nobody reads more; and that much only so that a receiver which still
/// writes when its connection ends is not cut short for a few words.
const BODY_LIMIT: usize = 8 << 10;

/// Sent with each post.
const USER_AGENT: &str = concat!("deadletter/", env!("CARGO_PKG_VERSION"));

/// The parcel's id, as Standard Webhooks spell it.
const ID: &str = "webhook-id";

/// Posts to addresses that its [`Guard`] allows. Each post has a connection of its own, so what was
/// allowed once is judged again at the next. No limit on posts at a time: that is the caller's.
pub struct Courier {
    pub(super) guard: Arc<Guard>,
    pub(super) connector: HttpsConnector<Dial>,
}

/// A body and its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parcel {
    /// Urlencoded.
    Form(String),
    /// JSON.
    Json(String),
}

/// What became of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handover {
    /// The receiver answered with a status of success (2xx).
    Delivered {
        /// The status.
        status: u16,
    },
    /// It answered with another one. A redirect is not followed, and is one of these.
    Answered {
        /// The status.
        status: u16,
    },
    /// Nothing was sent, because the address is not allowed.
    Refused(Refused),
    /// No answer came.
    Failed {
        /// Whether bytes of the post may have arrived.
        sent: Sent,
        /// Why; it names host and port, never a path, query or body.
        what: String,
    },
}

impl Courier {
    /// A courier that goes where `guard` allows it.
    #[must_use]
    pub fn new(guard: Guard) -> Self {
        Self::asking(guard, Arc::new(SystemNames))
    }

    pub(super) fn asking(guard: Guard, names: Arc<dyn Names>) -> Self {
        let guard = Arc::new(guard);
        let connector = https_or_http(Dial { guard: Arc::clone(&guard), names });
        Self { guard, connector }
    }

    /// What it goes by.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Posts once, within ten seconds, under an id by which the receiver knows a parcel that it has
    /// already. Dropped, the receiver may have it all the same.
    pub async fn post(&self, url: &str, id: &str, parcel: Parcel) -> Handover {
        let url = match self.guard.read(url) {
            Ok(url) => url,
            Err(refused) => return Handover::Refused(refused),
        };
        let place = place(&url);
        let unsent = |what: String| Handover::Failed { sent: Sent::No, what };
        let deadline = Instant::now() + TIMEOUT;
        let Some(request) = request(&url, id, parcel) else {
            return unsent(format!("the post to {place} cannot be written as HTTP"));
        };
        let mut link = match timeout_at(deadline, self.connect(&url)).await {
            Ok(Ok(link)) => link,
            Ok(Err(error)) => {
                return match error.downcast_ref::<DialError>() {
                    Some(DialError::Refused(refused)) => Handover::Refused(refused.clone()),
                    _ => unsent(format!(
                        "could not connect to {place}: {}",
                        innermost(error.as_ref())
                    )),
                };
            }
            Err(_) => return unsent(format!("no connection to {place} within {TIMEOUT:?}")),
        };
        match timeout_at(deadline, link.head(request)).await {
            Ok(Ok((parts, body))) => {
                // Its outcome is known; how its body ends changes nothing.
                drop(timeout_at(deadline, link.read(body, BODY_LIMIT)).await);
                let status = parts.status.as_u16();
                if parts.status.is_success() {
                    Handover::Delivered { status }
                } else {
                    Handover::Answered { status }
                }
            }
            Ok(Err(broken)) => {
                let error = broken.at(&place, link.sent());
                Handover::Failed { sent: error.sent, what: error.what }
            }
            Err(_) => Handover::Failed {
                sent: link.sent(),
                what: format!("no answer from {place} within {TIMEOUT:?}"),
            },
        }
    }

    /// Name, guard, TCP and TLS: whatever fails here, no byte of the post has left.
    async fn connect(&self, url: &Url) -> Result<Link, Box<dyn Error + Send + Sync>> {
        let mut connector = self.connector.clone();
        std::future::poll_fn(|cx| connector.poll_ready(cx)).await?;
        let stream = connector.call(Uri::try_from(&url[..Position::BeforePath])?).await?;
        Ok(Link::over(stream).await?)
    }
}

/// The post, as one request on a connection that ends with it; none where it cannot be written.
fn request(url: &Url, id: &str, parcel: Parcel) -> Option<Request<Full<Bytes>>> {
    let (kind, body) = match parcel {
        Parcel::Form(form) => ("application/x-www-form-urlencoded", form),
        Parcel::Json(json) => ("application/json", json),
    };
    Request::builder()
        .method(Method::POST)
        .uri(&url[Position::BeforePath..Position::AfterQuery])
        .header(header::HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::CONTENT_TYPE, kind)
        .header(ID, id)
        .header(header::CONNECTION, "close")
        .body(Full::new(body.into()))
        .ok()
}
