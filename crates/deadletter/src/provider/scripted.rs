//! A provider that says what a test tells it to, and counts what it was asked.

use super::{
    AccountState, CouldNotAsk, Explanation, JobFailed, PollError, Polled, Provider, Reply, Sent,
    Submission, SubmitError,
};
use async_trait::async_trait;
use deadletter_core::{Cause, Class, Dimensions, Failure, Payload, Terms, UpstreamId};
use secrecy::SecretString;
use std::future::Future;
use std::pin::Pin;
use tokio::sync::watch;

type Saying<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type OnSubmit = Box<dyn Fn(SubmitCall) -> Saying<Result<UpstreamId, SubmitError>> + Send + Sync>;
type OnPoll = Box<dyn Fn(PollCall) -> Saying<Result<Polled, PollError>> + Send + Sync>;
type OnReport = Box<dyn Fn(ReportCall) -> Saying<Result<(), PollError>> + Send + Sync>;
type OnAccount = Box<dyn Fn(u64) -> Saying<Result<AccountState, PollError>> + Send + Sync>;

/// One submit as the script sees it.
#[derive(Clone, Debug)]
pub struct SubmitCall {
    /// Which submit this is, over all tasks, from 1.
    pub n: u64,
    /// What was to be sent.
    pub payload: Payload,
    /// How many of its proxies had failed.
    pub proxies_failed: u32,
}

/// One poll as the script sees it.
#[derive(Clone, Debug)]
pub struct PollCall {
    /// Which poll this is, over all ids, from 1.
    pub n: u64,
    /// The id that was asked for.
    pub id: UpstreamId,
}

/// One report as the script sees it.
#[derive(Clone, Debug)]
pub struct ReportCall {
    /// Which report this is, over all ids, from 1.
    pub n: u64,
    /// Whose answer it is about.
    pub id: UpstreamId,
    /// The method that it was solved by.
    pub method: String,
    /// What is said of it.
    pub is_good: bool,
}

/// A provider without a line: every answer comes from a closure that returns a future, so that a
/// script can wait for a signal, never answer, or panic.
///
/// Without a script it solves everything: submits get the ids `1`, `2`, ...; a poll of id `n`
/// answers `answer-n`. Its method is the payload's `method`, its site key the payload's `sitekey`.
pub struct ScriptedProvider {
    on_submit: OnSubmit,
    on_poll: OnPoll,
    on_account: OnAccount,
    on_report: OnReport,
    terms: Terms,
    credential: Option<String>,
    submits: watch::Sender<u64>,
    polls: watch::Sender<u64>,
    accounts: watch::Sender<u64>,
    reports: watch::Sender<u64>,
}

impl Default for ScriptedProvider {
    fn default() -> Self {
        Self {
            on_submit: Box::new(|call| Box::pin(async move { Ok(id(call.n)) })),
            on_poll: Box::new(|call| {
                Box::pin(async move { Ok(answer(&format!("answer-{}", call.id))) })
            }),
            on_account: Box::new(|_| Box::pin(async { Ok(AccountState::default()) })),
            on_report: Box::new(|_| Box::pin(async { Ok(()) })),
            terms: Terms::default(),
            credential: None,
            submits: watch::Sender::new(0),
            polls: watch::Sender::new(0),
            accounts: watch::Sender::new(0),
            reports: watch::Sender::new(0),
        }
    }
}

impl ScriptedProvider {
    /// What each submit gets.
    #[must_use]
    pub fn on_submit<F>(mut self, script: impl Fn(SubmitCall) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<UpstreamId, SubmitError>> + Send + 'static,
    {
        self.on_submit = Box::new(move |call| Box::pin(script(call)));
        self
    }

    /// What each poll gets.
    #[must_use]
    pub fn on_poll<F>(mut self, script: impl Fn(PollCall) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Polled, PollError>> + Send + 'static,
    {
        self.on_poll = Box::new(move |call| Box::pin(script(call)));
        self
    }

    /// What each question about the account gets; the argument counts them, from 1.
    #[must_use]
    pub fn on_account<F>(mut self, script: impl Fn(u64) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<AccountState, PollError>> + Send + 'static,
    {
        self.on_account = Box::new(move |n| Box::pin(script(n)));
        self
    }

    /// What each report gets.
    #[must_use]
    pub fn on_report<F>(mut self, script: impl Fn(ReportCall) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), PollError>> + Send + 'static,
    {
        self.on_report = Box::new(move |call| Box::pin(script(call)));
        self
    }

    /// The terms of every method.
    #[must_use]
    pub const fn with_terms(mut self, terms: Terms) -> Self {
        self.terms = terms;
        self
    }

    /// The mark of its key.
    #[must_use]
    pub fn with_credential(mut self, mark: &str) -> Self {
        self.credential = Some(mark.to_owned());
        self
    }

    /// Submits so far; a receiver can also wait: `wait_for(|n| *n >= 3)`.
    #[must_use]
    pub fn submits(&self) -> watch::Receiver<u64> {
        self.submits.subscribe()
    }

    /// Polls so far.
    #[must_use]
    pub fn polls(&self) -> watch::Receiver<u64> {
        self.polls.subscribe()
    }

    /// Reports so far.
    #[must_use]
    pub fn reports(&self) -> watch::Receiver<u64> {
        self.reports.subscribe()
    }

    /// Questions about the account so far.
    #[must_use]
    pub fn accounts(&self) -> watch::Receiver<u64> {
        self.accounts.subscribe()
    }
}

/// Counts one call and returns its number; a script runs after its call is counted.
fn count(calls: &watch::Sender<u64>) -> u64 {
    let mut n = 0;
    calls.send_modify(|calls| {
        *calls += 1;
        n = *calls;
    });
    n
}

#[async_trait]
impl Provider for ScriptedProvider {
    fn name(&self) -> &str {
        "scripted"
    }

    fn credential(&self) -> Option<String> {
        self.credential.clone()
    }

    fn dimensions(&self, payload: &Payload) -> Dimensions {
        Dimensions {
            method: payload.text("method").unwrap_or_default().into_owned(),
            sitekey: payload.text("sitekey").map(Into::into),
            ..Dimensions::default()
        }
    }

    fn proxies(&self, payload: &Payload) -> u32 {
        let listed = payload.text("proxy").map_or(0, |list| list.split_whitespace().count());
        u32::try_from(listed).unwrap_or(u32::MAX)
    }

    fn terms(&self, _method: &str) -> Terms {
        self.terms
    }

    async fn submit(&self, submission: Submission<'_>) -> Result<UpstreamId, SubmitError> {
        let call = SubmitCall {
            n: count(&self.submits),
            payload: submission.payload.clone(),
            proxies_failed: submission.proxies_failed,
        };
        (self.on_submit)(call).await
    }

    async fn poll(&self, id: &UpstreamId) -> Result<Polled, PollError> {
        (self.on_poll)(PollCall { n: count(&self.polls), id: id.clone() }).await
    }

    async fn account(&self) -> Result<AccountState, PollError> {
        (self.on_account)(count(&self.accounts)).await
    }

    async fn report(&self, id: &UpstreamId, method: &str, is_good: bool) -> Result<(), PollError> {
        let (id, method) = (id.clone(), method.to_owned());
        let call = ReportCall { n: count(&self.reports), id, method, is_good };
        (self.on_report)(call).await
    }

    fn explain(&self, _code: &str) -> Option<Explanation> {
        None
    }
}

/// The upstream id `n`.
#[must_use]
pub fn id(n: u64) -> UpstreamId {
    UpstreamId::new(n.to_string()).expect("digits are an id")
}

/// A poll that answers `text`.
#[must_use]
pub fn answer(text: &str) -> Polled {
    Polled::Answer(Reply {
        dialect: "res.php/text",
        raw: SecretString::from(format!("OK|{text}")),
        text: SecretString::from(text),
        user_agent: None,
    })
}

/// Upstream's word that the job failed: for a submit and for a poll.
#[must_use]
pub fn failed<E: From<JobFailed>>(code: &str, class: Class) -> E {
    JobFailed(Failure::new(code, class)).into()
}

/// A line that failed: for a submit and for a poll.
#[must_use]
pub fn line_failed<E: From<CouldNotAsk>>(sent: Sent) -> E {
    CouldNotAsk { sent, failure: Failure::new(Cause::NETWORK, Class::Transient) }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_script_decides_and_its_calls_are_counted() {
        let provider = ScriptedProvider::default()
            .on_poll(|call| async move {
                match call.n {
                    1 => Ok(Polled::NotReady),
                    2 => Err(failed("ERROR_CAPTCHA_UNSOLVABLE", Class::Unsolvable)),
                    _ => Err(line_failed(Sent::Maybe)),
                }
            })
            .on_submit(|call| async move { Ok(id(call.n + 100)) });
        let payload = Payload::new(serde_json::Map::new());
        let submission = Submission { payload: &payload, proxies_failed: 0 };
        assert_eq!(provider.submit(submission).await, Ok(id(101)));
        assert!(matches!(provider.poll(&id(101)).await, Ok(Polled::NotReady)));
        assert!(matches!(provider.poll(&id(101)).await, Err(PollError::Failed(_))));
        assert!(matches!(provider.poll(&id(101)).await, Err(PollError::CouldNotAsk(_))));
        assert_eq!((*provider.submits().borrow(), *provider.polls().borrow()), (1, 3));
    }
}
