//! One request, from its parameters to its reply: who asks, and what for.

use crate::{
    askers::{Asker, Askers, KeysError, Stranger},
    createtask,
    guesses::Guesses,
    load::Load,
    metrics::Metrics,
    params::{Malformed, Params},
    question,
    quotas::Quotas,
    refusals::Refusals,
    scrape,
    settings::Settings,
    submit,
    unused::Unused,
    wording::{Word, reply},
    words,
};
use bytes::Bytes;
use deadletter::{Deadletter, store::Store};
use hyper::{
    Method, Response, StatusCode,
    header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, HeaderValue},
};
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The keys and the open tasks are looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A balance is a courtesy: it is asked for as seldom as threads are, and again where it was not told.
const ASK_EVERY: Duration = Duration::from_secs(300);
const ASK_AGAIN: Duration = Duration::from_secs(20);
/// Methods of in.php and res.php.
const FORMS: &str = "GET, POST, HEAD, OPTIONS";
const PLAIN: &str = "text/plain; charset=utf-8";

/// What every request works with.
pub struct Gateway {
    pub(crate) engine: Arc<Deadletter>,
    pub(crate) askers: Askers,
    pub(crate) settings: Settings,
    pub(crate) load: Load,
    pub(crate) metrics: Metrics,
    pub(crate) quotas: Quotas,
    pub(crate) refusals: Refusals,
    pub(crate) unused: Unused,
    guesses: Guesses,
    /// Guards the balance that upstream told last.
    balance: Mutex<Option<f64>>,
}

/// A request whose body has been read.
pub(crate) struct Incoming {
    /// Whose connection it is.
    pub(crate) peer: IpAddr,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) content_type: Option<String>,
    /// The header of that name, for clients that retry.
    pub(crate) idempotency_key: Option<String>,
    pub(crate) body: Bytes,
}

impl Gateway {
    /// A gateway to a running engine.
    #[must_use]
    pub fn new(engine: Arc<Deadletter>, askers: Askers, settings: Settings) -> Self {
        let unused = Unused::since(engine.store().clock().now());
        Self {
            engine,
            unused,
            askers,
            settings,
            load: Load::default(),
            metrics: Metrics::default(),
            quotas: Quotas::default(),
            refusals: Refusals::default(),
            guesses: Guesses::default(),
            balance: Mutex::default(),
        }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.engine.store()
    }

    /// Looks at what others change: keys, counts, the balance. Ends when it is dropped.
    pub(crate) async fn look_after(&self) {
        tokio::join!(self.look_at_store(), self.look_at_account());
    }

    /// The balance in the account's currency; none where upstream has told none yet.
    pub(crate) fn balance(&self) -> Option<f64> {
        *self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clients ask for the balance as often as they like: upstream is asked beside them.
    async fn look_at_account(&self) {
        loop {
            let told = match self.engine.ask_account().await {
                Ok(state) => state.balance,
                Err(error) => {
                    tracing::debug!(%error, "upstream did not tell the balance");
                    None
                }
            };
            if told.is_some() {
                *self.balance.lock().unwrap_or_else(PoisonError::into_inner) = told;
            }
            let wait = if told.is_some() { ASK_EVERY } else { ASK_AGAIN };
            tokio::time::sleep(wait).await;
        }
    }

    async fn look_at_store(&self) {
        loop {
            if let Err(error) = self.load.refresh(self.store()).await {
                self.engine.store_could_not("count the open tasks", &error);
            }
            match self.askers.refresh(self.store()).await {
                Ok(true) => tracing::warn!(
                    "a key was issued: from now on the account's own key is not accepted here"
                ),
                Ok(false) => {}
                Err(KeysError::Store(error)) => {
                    self.engine.store_could_not("read the issued keys; the last ones stay", &error);
                }
                Err(error) => tracing::warn!(%error, "the last keys stay"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) async fn answer(&self, incoming: Incoming) -> Response<Bytes> {
        // Clients with a base URL that ends in a slash ask for //in.php.
        let path = format!("/{}", incoming.path.trim_start_matches('/'));
        match (path.as_str(), &incoming.method) {
            ("/in.php" | "/res.php", &Method::OPTIONS) => allowed(FORMS),
            ("/in.php" | "/res.php", &Method::GET | &Method::POST | &Method::HEAD) => {
                self.protocol(&path, incoming).await
            }
            ("/in.php" | "/res.php", _) => refused(FORMS),
            (path, method) if createtask::is_ours(path) => match *method {
                Method::OPTIONS => allowed("POST, OPTIONS"),
                Method::POST => createtask::answer(self, path, incoming).await,
                _ => refused("POST, OPTIONS"),
            },
            ("/healthz", _) => reply(StatusCode::OK, PLAIN, "ok\n"),
            ("/readyz", _) => self.ready().await,
            ("/metrics", _) => {
                reply(StatusCode::OK, scrape::CONTENT_TYPE, scrape::page(self).await)
            }
            _ => reply(
                StatusCode::NOT_FOUND,
                PLAIN,
                "deadletter speaks in.php and res.php here, createTask and getTaskResult too; point a client's base URL at this address\n",
            ),
        }
    }

    async fn protocol(&self, path: &str, incoming: Incoming) -> Response<Bytes> {
        let Incoming { peer, query, content_type, body, idempotency_key, .. } = incoming;
        let params = match Params::read(query.as_deref(), content_type.as_deref(), body).await {
            Ok(params) => params,
            Err(Malformed(why)) => {
                tracing::debug!(why, "a request cannot be read");
                // What form its answer should have cannot be told; a body that was JSON tells.
                let is_json = content_type.is_some_and(|it| it.contains("json"));
                return Word::error(words::BAD_PARAMETERS).reply(is_json);
            }
        };
        let is_json = params.is_on("json");
        let wants_cors = self.settings.header_acao && params.is_on("header_acao");
        let word = match self.who(params.text("key").as_deref(), peer).await {
            Ok(asker) if path == "/in.php" => {
                submit::answer(self, &asker, params, idempotency_key).await
            }
            Ok(asker) => question::answer(self, &asker, &params).await,
            Err(word) => word,
        };
        let mut reply = word.reply(is_json);
        if wants_cors {
            let any = HeaderValue::from_static("*");
            reply.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, any);
        }
        reply
    }

    /// Who asks, by that key; a stranger is told so, and later the more keys it tries.
    pub(crate) async fn who(&self, key: Option<&str>, peer: IpAddr) -> Result<Asker, Word> {
        match self.askers.who(key) {
            Ok(asker) => Ok(asker),
            Err(stranger) => {
                let said = match stranger {
                    Stranger::Malformed => words::WRONG_KEY,
                    Stranger::Unknown => words::NO_SUCH_KEY,
                };
                tracing::info!(said, %peer, "a key is not accepted");
                tokio::time::sleep(self.guesses.wrong(peer)).await;
                Err(Word::error(said))
            }
        }
    }

    /// Ready where the store takes what is written; upstream may be away.
    async fn ready(&self) -> Response<Bytes> {
        match self.store().totals().await {
            Ok(_) => reply(StatusCode::OK, PLAIN, "ready\n"),
            Err(error) => {
                self.engine.store_could_not("be ready", &error);
                reply(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "the store does not answer\n")
            }
        }
    }
}

/// True where a task of `owner` is the asker's to see.
pub(crate) fn is_theirs(owner: Option<&str>, asker: &Asker) -> bool {
    owner == asker.owner.as_deref()
}

fn allowed(methods: &'static str) -> Response<Bytes> {
    let mut response = reply(StatusCode::OK, PLAIN, "");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn refused(methods: &'static str) -> Response<Bytes> {
    let mut refused = allowed(methods);
    *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    refused
}
