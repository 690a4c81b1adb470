//! CaptchaAI's in.php / res.php, and the relatives that speak it.
//!
//! ```text
//! submit  POST in.php   key, json=1, the payload              -> an upstream id
//! poll    GET  res.php  key, action=get, id, json=1           -> not ready, or the answer
//! account POST res.php  key, action=threadsinfo, json=1       -> threads (and getbalance)
//! report  GET  res.php  key, action=reportbad, id, json=1     -> a receipt
//! ```
//!
//! One call here is one request, and never a second try; which class an error has stands in one
//! table ([`codes::all`]). This provider reports, it does not wait, retry or follow.

mod account;
mod form;
mod read;

use super::clean::Cleaner;
pub use super::codes;
pub use super::settings::InvalidSettings;
use super::settings::{self, credential};
use super::transport::{Body, Endpoint, Outgoing, Transport};
use super::verdict::Reader;
use super::{
    AccountState, Explanation, JobFailed, PollError, Polled, Provider, Submission, SubmitError,
    dimensions,
};
use account::ZeroBalance;
use async_trait::async_trait;
use codes::{Codes, ExtraCode};
use deadletter_core::{Class, Dimensions, Failure, Payload, UpstreamId};
use read::read;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::time::Duration;

/// Largest submit that is sent: nine images in base64 with room to spare.
const SUBMIT_LIMIT: usize = 16 << 20;

/// ERROR_ZERO_BALANCE, the one code whose class depends on the account's threads.
const ZERO_BALANCE: &str = "ERROR_ZERO_BALANCE";

/// Where and how to reach one account.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of in.php.
    pub submit_endpoint: String,
    /// Address of res.php.
    pub result_endpoint: String,
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
    /// CaptchaAI itself, with the time-outs of its guides.
    #[must_use]
    pub fn new(key: SecretString) -> Self {
        Self {
            submit_endpoint: "https://ocr.captchaai.com/in.php".to_owned(),
            result_endpoint: "https://ocr.captchaai.com/res.php".to_owned(),
            key,
            connect_timeout: Duration::from_secs(5),
            submit_timeout: Duration::from_secs(15),
            poll_timeout: Duration::from_secs(15),
            connections: 64,
            codes: BTreeMap::new(),
        }
    }
}

/// One account at CaptchaAI or a relative.
pub struct CaptchaAi {
    transport: Transport,
    submit_endpoint: Endpoint,
    result_endpoint: Endpoint,
    key: SecretString,
    submit_timeout: Duration,
    poll_timeout: Duration,
    reader: Reader,
    zero_balance: ZeroBalance,
}

impl CaptchaAi {
    /// A provider for one account; nothing is sent yet.
    pub fn new(settings: Settings) -> Result<Self, InvalidSettings> {
        let endpoint = settings::endpoint;
        settings::check_key(&settings.key)?;
        let cleaner = Cleaner::new(&settings.key);
        Ok(Self {
            transport: Transport::new(settings.connect_timeout, settings.connections),
            submit_endpoint: endpoint("submit", &settings.submit_endpoint)?,
            result_endpoint: endpoint("result", &settings.result_endpoint)?,
            key: settings.key,
            submit_timeout: settings.submit_timeout,
            poll_timeout: settings.poll_timeout,
            reader: Reader {
                codes: Codes::with(settings.codes),
                cleaner,
                on_submit: read,
                on_poll: read,
                on_report: read,
            },
            zero_balance: ZeroBalance::default(),
        })
    }

    fn question(&self) -> Outgoing<'_> {
        Outgoing { to: &self.result_endpoint, query: None, body: None, timeout: self.poll_timeout }
    }

    async fn threads(&self) -> Result<AccountState, PollError> {
        let form = form::ask(&self.key, "threadsinfo", None);
        let sent =
            self.transport.send(Outgoing { body: Some(Body::Form(form)), ..self.question() }).await;
        let received = sent.map_err(|error| self.reader.line(&error))?;
        account::threads(&received.body).ok_or_else(|| self.reader.no_account(&received))
    }

    /// The balance is a courtesy: without one, the state is still good.
    async fn balance(&self) -> Option<f64> {
        let form = form::ask(&self.key, "getbalance", None);
        let sent =
            self.transport.send(Outgoing { body: Some(Body::Form(form)), ..self.question() }).await;
        account::balance(&sent.ok()?.body)
    }

    /// True for the code whose class the account's threads decide; not where the user has.
    fn is_zero_balance(&self, refused: &JobFailed) -> bool {
        refused.0.cause.as_str() == ZERO_BALANCE && self.reader.codes.meaning(ZERO_BALANCE).is_ours
    }

    async fn settle_zero_balance(&self, refused: JobFailed) -> JobFailed {
        let ask = async {
            self.threads().await.map_err(|error| match error {
                PollError::Failed(JobFailed(failure)) => failure.class,
                PollError::CouldNotAsk(_) => Class::Transient,
            })
        };
        let class = self.zero_balance.class(ask).await;
        JobFailed(Failure { class, ..refused.0 })
    }
}

#[async_trait]
impl Provider for CaptchaAi {
    fn name(&self) -> &str {
        "captchaai"
    }

    fn credential(&self) -> Option<String> {
        Some(credential(&self.key))
    }

    fn dimensions(&self, payload: &Payload) -> Dimensions {
        dimensions::dimensions(payload, &self.reader.cleaner)
    }

    async fn submit(&self, submission: Submission<'_>) -> Result<UpstreamId, SubmitError> {
        let form = form::submit(&self.key, submission);
        if form.len() > SUBMIT_LIMIT {
            let failure = Failure::new("REQUEST_TOO_LARGE", Class::Permanent)
                .with_detail(format!("{} bytes, the limit is {SUBMIT_LIMIT}", form.len()));
            return Err(JobFailed(failure).into());
        }
        let outgoing = Outgoing {
            to: &self.submit_endpoint,
            query: None,
            body: Some(Body::Form(form)),
            timeout: self.submit_timeout,
        };
        let sent = self.transport.send(outgoing).await;
        let verdict = match sent {
            Ok(received) => self.reader.submit(&received),
            Err(error) => Err(self.reader.line(&error).into()),
        };
        match verdict {
            Ok(id) => {
                self.zero_balance.accepted();
                Ok(id)
            }
            Err(SubmitError::Refused(refused)) if self.is_zero_balance(&refused) => {
                Err(self.settle_zero_balance(refused).await.into())
            }
            Err(error) => Err(error),
        }
    }

    async fn poll(&self, id: &UpstreamId) -> Result<Polled, PollError> {
        let query = form::ask(&self.key, "get", Some(id));
        let sent = self.transport.send(Outgoing { query: Some(query), ..self.question() }).await;
        let received = sent.map_err(|error| self.reader.line(&error))?;
        self.reader.poll(&received)
    }

    async fn account(&self) -> Result<AccountState, PollError> {
        let state = self.threads().await?;
        Ok(AccountState { balance: self.balance().await, ..state })
    }

    async fn report(&self, id: &UpstreamId, _: &str, is_good: bool) -> Result<(), PollError> {
        let action = if is_good { "reportgood" } else { "reportbad" };
        let query = form::ask(&self.key, action, Some(id));
        let sent = self.transport.send(Outgoing { query: Some(query), ..self.question() }).await;
        let received = sent.map_err(|error| self.reader.line(&error))?;
        self.reader.report(&received)
    }

    fn explain(&self, code: &str) -> Option<Explanation> {
        self.reader.codes.explain(code)
    }
}

impl std::fmt::Debug for CaptchaAi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptchaAi").field("submit_endpoint", &self.submit_endpoint).finish()
    }
}

/// What is known of a code without an account: the table alone.
#[must_use]
pub fn explain(code: &str) -> Option<Explanation> {
    Codes::default().explain(code)
}
