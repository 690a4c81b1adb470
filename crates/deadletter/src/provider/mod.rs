//! What the engine asks of an upstream, and the two ways in which asking can go wrong.
//!
//! A provider knows one kind of upstream: how to submit, how to ask, what its words mean. It does
//! not retry, wait, follow or cache: the engine decides, the provider reports. Two different facts
//! have two types: [`JobFailed`] (upstream's readable word about the job) and [`CouldNotAsk`] (the
//! line, or an answer that nobody can read).

pub mod captchaai;
pub mod clean;
pub mod codes;
pub mod createtask;
mod dimensions;
mod methods;
#[doc(hidden)]
pub mod scripted;
mod settings;
mod table;
pub(crate) mod transport;
mod verdict;
mod word;

use async_trait::async_trait;
use deadletter_core::{Class, Dimensions, Failure, Payload, Terms, UpstreamId};
use secrecy::SecretString;

/// The cause of a report to an upstream that takes none.
const NO_REPORTS: &str = "REPORTS_NOT_TAKEN";

/// One account's line to its upstream.
///
/// Each call must end by itself: the engine sets no time-outs, so a call that hangs holds a thread
/// of the account. A request's own 15 s are usual; a stopping engine waits 20 s for submits and 16 s
/// for polls, and then drops the future: a submit that was dropped is in doubt. A panic is caught,
/// and counts against the task.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// The provider's name, for people and logs.
    fn name(&self) -> &str;

    /// A mark that changes with the key, and from which the key cannot be told; none where the
    /// provider has no key. A stop for the sake of one key ends when another one is configured.
    fn credential(&self) -> Option<String> {
        None
    }

    /// What a payload is counted and filtered by; never secret (`batch` and `tags` stay empty).
    fn dimensions(&self, payload: &Payload) -> Dimensions;

    /// How many proxies the payload names; a retry after a proxy failure takes the next one. By
    /// default those in in.php's parameters, which payloads have whatever the provider speaks.
    fn proxies(&self, payload: &Payload) -> u32 {
        u32::try_from(dimensions::proxies(payload).len()).unwrap_or(u32::MAX)
    }

    /// Defaults of a method; unless a provider knows better, those of in.php's methods.
    fn terms(&self, method: &str) -> Terms {
        methods::terms(method)
    }

    /// Sends one submit, once: never a second request, whatever came of the first.
    ///
    /// The error decides whether the job may be paid for: [`JobFailed`] where upstream refused it in
    /// readable words, [`Sent::No`] only where not a byte can have left, [`Sent::Maybe`] for the rest.
    async fn submit(&self, submission: Submission<'_>) -> Result<UpstreamId, SubmitError>;

    /// Asks once for the result of `id`. What cannot be read is [`CouldNotAsk`], never a failed job:
    /// the id is paid for, and is asked again.
    async fn poll(&self, id: &UpstreamId) -> Result<Polled, PollError>;

    /// Asks for the account's threads (and balance, where the upstream has one): never a submit. It
    /// is asked at the start, every few minutes, and as the probe of an account that is stopped.
    async fn account(&self) -> Result<AccountState, PollError>;

    /// Tells upstream once that the answer of `id`, solved by that method, was good or bad. Upstream's
    /// readable no is [`JobFailed`]: it has answered, and is not told again where that class is final.
    async fn report(&self, id: &UpstreamId, method: &str, is_good: bool) -> Result<(), PollError> {
        let (_, _, _) = (id, method, is_good);
        Err(JobFailed(Failure::new(NO_REPORTS, Class::Permanent)).into())
    }

    /// What is known of a code: for `explain` and the error pages.
    fn explain(&self, code: &str) -> Option<Explanation>;
}

/// One submit.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// What to send.
    pub payload: &'a Payload,
    /// How many of its proxies have failed in this round: use the one after them.
    pub proxies_failed: u32,
}

/// What a poll found.
#[derive(Debug)]
pub enum Polled {
    /// A readable "not ready".
    NotReady,
    /// The answer.
    Answer(Reply),
}

/// An answer as upstream gave it.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The dialect of `raw`, such as `res.php/json`.
    pub dialect: &'static str,
    /// The body as it came.
    pub raw: SecretString,
    /// The answer itself; structured ones as JSON text.
    pub text: SecretString,
    /// The user agent that the answer is bound to.
    pub user_agent: Option<String>,
}

/// What upstream says of the account.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AccountState {
    /// Threads of the plan.
    pub threads: Option<u32>,
    /// Threads in use, by upstream's count.
    pub working: Option<u32>,
    /// Balance in the account's currency; says little on a thread plan.
    pub balance: Option<f64>,
}

/// The job failed: upstream said so, readably.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .0.cause, .0.detail)]
pub struct JobFailed(pub Failure);

/// We could not ask, or could not read what came back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .failure.cause, .failure.detail)]
pub struct CouldNotAsk {
    /// Whether upstream may have got the request.
    pub sent: Sent,
    /// In the words that are stored.
    pub failure: Failure,
}

/// Whether bytes of a request may have reached upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Proven: not one byte (refused, DNS, TLS).
    No,
    /// At least one byte was handed to the line.
    Maybe,
}

/// Why a submit did not give an upstream id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Upstream refused the job.
    #[error(transparent)]
    Refused(#[from] JobFailed),
    /// No verdict.
    #[error(transparent)]
    CouldNotAsk(#[from] CouldNotAsk),
}

/// Why a poll gave neither an answer nor "not ready".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// Upstream gave a verdict (on the job, or on the account).
    #[error(transparent)]
    Failed(#[from] JobFailed),
    /// No verdict.
    #[error(transparent)]
    CouldNotAsk(#[from] CouldNotAsk),
}

/// What a code means and what to do, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The code.
    pub code: String,
    /// Its class on submit.
    pub class: deadletter_core::Class,
    /// What happened.
    pub meaning: String,
    /// What the reader can do.
    pub advice: String,
}
