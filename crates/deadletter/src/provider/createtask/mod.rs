//! The createTask family: anti-captcha, 2captcha's second API, CapMonster, CapSolver.
//!
//! ```text
//! submit  POST createTask     clientKey, task{type, ..}  -> taskId
//! poll    POST getTaskResult  clientKey, taskId          -> processing, or ready with a solution
//! account POST getBalance     clientKey                  -> balance
//! report  POST reportCorrect, and what it is called elsewhere (`reports`)
//! ```
//!
//! What the family calls a task is our payload in other words. One table (`kinds`) holds both, and
//! serves clients that speak the family's words and upstreams that do. Threads are no word of the
//! family: an account has as many as its settings say.

mod kinds;
mod read;
mod reports;
mod solution;
mod task;
mod told;
mod written;

pub use super::settings::InvalidSettings;
pub use reports::{REPORTS, Says};
pub use solution::{DIALECT, solution};
pub use task::{NotATask, payload};
pub use told::{Told, refused, told};
pub use written::{Unwritable, task};

use super::clean::Cleaner;
use super::codes::{Codes, ExtraCode};
use super::dimensions::{self, proxy_in_turn};
use super::settings::{check_key, credential, endpoint};
use super::transport::{Body, Endpoint, Outgoing, Received, Transport};
use super::verdict::Reader;
use super::{
    AccountState, CouldNotAsk, Explanation, JobFailed, NO_REPORTS, PollError, Polled, Provider,
    Submission, SubmitError,
};
use async_trait::async_trait;
use deadletter_core::{Class, Dimensions, Failure, Payload, UpstreamId};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// Largest submit that is sent: an image in base64 with room to spare.
const SUBMIT_LIMIT: usize = 16 << 20;

/// Ids up to this many digits fit an integer, which is what services with digits for ids want.
const INTEGER_DIGITS: usize = 18;

/// What a service answers to a report of a kind that it does not take.
const NO_SUCH_PATH: [u16; 2] = [404, 405];

/// Where and how to reach one account.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address below which `createTask` and the others are, such as `https://api.2captcha.com`.
    pub endpoint: String,
    /// The account's key: visible ASCII without `*`.
    pub key: SecretString,
    /// For name look-up, TCP and TLS together.
    pub connect_timeout: Duration,
    /// For a whole submit, connecting included.
    pub submit_timeout: Duration,
    /// For a whole poll, or question about the account.
    pub poll_timeout: Duration,
    /// Requests at a time; more wait.
    pub connections: usize,
    /// Codes that upstream has and the table does not, or that mean something else there.
    pub codes: BTreeMap<String, ExtraCode>,
}

impl Settings {
    /// The service at that address, with the usual time-outs.
    #[must_use]
    pub fn new(endpoint: impl Into<String>, key: SecretString) -> Self {
        Self {
            endpoint: endpoint.into(),
            key,
            connect_timeout: Duration::from_secs(5),
            submit_timeout: Duration::from_secs(15),
            poll_timeout: Duration::from_secs(15),
            connections: 64,
            codes: BTreeMap::new(),
        }
    }
}

/// One account at a service of the family.
pub struct CreateTask {
    transport: Transport,
    create: Endpoint,
    result: Endpoint,
    balance: Endpoint,
    /// Without a slash at its end.
    base: String,
    key: SecretString,
    submit_timeout: Duration,
    poll_timeout: Duration,
    reader: Reader,
}

impl CreateTask {
    /// A provider for one account; nothing is sent yet.
    pub fn new(settings: Settings) -> Result<Self, InvalidSettings> {
        check_key(&settings.key)?;
        let base = settings.endpoint.trim_end_matches('/').to_owned();
        let below = |name| endpoint("task", &format!("{base}/{name}"));
        // Paid by the answer, the family means what it says: no balance is no capacity to wait for.
        let no_money = ExtraCode { class: Class::Account, retry_after_ms: None };
        let mut codes = BTreeMap::from([("ERROR_ZERO_BALANCE".to_owned(), no_money)]);
        codes.extend(settings.codes);
        Ok(Self {
            transport: Transport::new(settings.connect_timeout, settings.connections),
            create: below("createTask")?,
            result: below("getTaskResult")?,
            balance: below("getBalance")?,
            base: base.clone(),
            submit_timeout: settings.submit_timeout,
            poll_timeout: settings.poll_timeout,
            reader: Reader {
                codes: Codes::with(codes),
                cleaner: Cleaner::new(&settings.key),
                on_submit: read::submitted,
                on_poll: read::polled,
                on_report: read::reported,
            },
            key: settings.key,
        })
    }

    /// What is sent for a submission; a failure where the family has no words for it.
    fn request(&self, submission: Submission<'_>) -> Result<String, JobFailed> {
        let payload = submission.payload;
        let label = dimensions::method(payload);
        let proxy = proxy_in_turn(payload, submission.proxies_failed);
        let failed =
            |code, why: String| JobFailed(Failure::new(code, Class::Permanent).with_detail(why));
        let task = task(&label, payload, proxy).map_err(|why| match why {
            Unwritable::NotSupported => failed("ERROR_TASK_NOT_SUPPORTED", why.to_string()),
            Unwritable::Proxy => failed("ERROR_PROXY_FORMAT", why.to_string()),
        })?;
        let body = json!({"clientKey": self.key.expose_secret(), "task": task}).to_string();
        if body.len() > SUBMIT_LIMIT {
            let why = format!("{} bytes, the limit is {SUBMIT_LIMIT}", body.len());
            return Err(failed("REQUEST_TOO_LARGE", why));
        }
        Ok(body)
    }

    async fn ask(
        &self,
        to: &Endpoint,
        body: String,
        timeout: Duration,
    ) -> Result<Received, CouldNotAsk> {
        let outgoing = Outgoing { to, query: None, body: Some(Body::Json(body)), timeout };
        self.transport.send(outgoing).await.map_err(|error| self.reader.line(&error))
    }
}

/// An id as upstream gave it: digits as an integer, anything else as text.
fn task_id(id: &UpstreamId) -> Value {
    let id = id.as_str();
    let is_integer = id.len() <= INTEGER_DIGITS && !(id.starts_with('0') && id.len() > 1);
    id.parse::<u64>().ok().filter(|_| is_integer).map_or_else(|| Value::from(id), Value::from)
}

#[async_trait]
impl Provider for CreateTask {
    fn name(&self) -> &str {
        "createtask"
    }

    fn credential(&self) -> Option<String> {
        Some(credential(&self.key))
    }

    fn dimensions(&self, payload: &Payload) -> Dimensions {
        dimensions::dimensions(payload, &self.reader.cleaner)
    }

    async fn submit(&self, submission: Submission<'_>) -> Result<UpstreamId, SubmitError> {
        let body = self.request(submission)?;
        let received = self.ask(&self.create, body, self.submit_timeout).await?;
        self.reader.submit(&received)
    }

    async fn poll(&self, id: &UpstreamId) -> Result<Polled, PollError> {
        let question = json!({"clientKey": self.key.expose_secret(), "taskId": task_id(id)});
        let received = self.ask(&self.result, question.to_string(), self.poll_timeout).await?;
        self.reader.poll(&received)
    }

    async fn account(&self) -> Result<AccountState, PollError> {
        let question = json!({"clientKey": self.key.expose_secret()});
        let received = self.ask(&self.balance, question.to_string(), self.poll_timeout).await?;
        let balance =
            read::balance(&received.body).ok_or_else(|| self.reader.no_account(&received))?;
        Ok(AccountState { balance: Some(balance), ..AccountState::default() })
    }

    async fn report(&self, id: &UpstreamId, method: &str, is_good: bool) -> Result<(), PollError> {
        let not_taken = || JobFailed(Failure::new(NO_REPORTS, Class::Permanent));
        let path = reports::path(&self.base, method, is_good).ok_or_else(not_taken)?;
        let to = endpoint("task", &format!("{}/{path}", self.base)).map_err(|_| not_taken())?;
        let (key, id) = (self.key.expose_secret(), task_id(id));
        let told = if path == reports::FEEDBACK {
            json!({"clientKey": key, "taskId": id, "result": {"invalid": !is_good}})
        } else {
            json!({"clientKey": key, "taskId": id})
        };
        let received = self.ask(&to, told.to_string(), self.poll_timeout).await?;
        if NO_SUCH_PATH.contains(&received.status) {
            return Err(not_taken().into());
        }
        self.reader.report(&received)
    }

    fn explain(&self, code: &str) -> Option<Explanation> {
        self.reader.codes.explain(code)
    }
}

impl std::fmt::Debug for CreateTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateTask").field("create", &self.create).finish()
    }
}
