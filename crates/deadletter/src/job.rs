//! What a caller asks for: a job, before it becomes a task.

use deadletter_core::{AccountName, Payload, UnixMs, task::NORMAL_PRIORITY};
use serde_json::{Map, Value};

/// A job to submit: the provider's parameters, and how to treat it. Parts that are larger than what
/// is stored (a payload of 16 MiB, a key, tags) are refused when it is submitted.
///
/// ```
/// let job = deadletter::Job::new("userrecaptcha")
///     .param("googlekey", "6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0DJwx_mJ-")
///     .param("pageurl", "https://example.com/login")
///     .deadline_ms(180_000);
/// assert_eq!(job.field("method"), Some("userrecaptcha"));
/// ```
#[derive(Clone, Debug)]
pub struct Job {
    pub(crate) payload: Payload,
    pub(crate) account: Option<AccountName>,
    pub(crate) priority: u8,
    pub(crate) deadline_ms: Option<i64>,
    pub(crate) idempotency: Option<(String, Option<i64>)>,
    /// For how long equal jobs are this one, in milliseconds, where it has no key of its own.
    pub(crate) folds_for_ms: Option<i64>,
    pub(crate) batch: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) owner: Option<String>,
    /// True where its target is to be told of its ends.
    pub(crate) is_told: bool,
}

/// The lowest priority: best effort.
pub(crate) const LOWEST: u8 = 3;

impl Job {
    /// A job of that method, without parameters yet.
    #[must_use]
    pub fn new(method: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("method".to_owned(), Value::from(method));
        Self::from_payload(Payload::new(fields))
    }

    /// A job from parameters that are complete, `method` among them.
    #[must_use]
    pub const fn from_payload(payload: Payload) -> Self {
        Self {
            payload,
            account: None,
            priority: NORMAL_PRIORITY,
            deadline_ms: None,
            idempotency: None,
            folds_for_ms: None,
            batch: None,
            tags: Vec::new(),
            owner: None,
            is_told: false,
        }
    }

    /// The same job with one more parameter, or with another value of one that it has.
    #[must_use]
    pub fn param(mut self, name: &str, value: impl Into<Value>) -> Self {
        let mut fields = self.payload.expose().clone();
        fields.insert(name.to_owned(), value.into());
        self.payload = Payload::new(fields);
        self
    }

    /// A text parameter.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.payload.expose().get(name)?.as_str()
    }

    /// For this account instead of the first one.
    #[must_use]
    pub fn account(mut self, account: AccountName) -> Self {
        self.account = Some(account);
        self
    }

    /// 0 (critical), 1 (high), 2 (normal, the default), 3 (best effort).
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority.min(LOWEST);
        self
    }

    /// How long the caller waits, in milliseconds from its submit: after it nothing new is submitted
    /// and the task dies of its deadline; what is open then may still answer late. None by default.
    #[must_use]
    pub const fn deadline_ms(mut self, ms: i64) -> Self {
        self.deadline_ms = Some(ms);
        self
    }

    /// Submitting the same key again, as the same owner, gives the same task, for `life_ms`
    /// milliseconds or as long as the task is kept.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>, life_ms: Option<i64>) -> Self {
        self.idempotency = Some((key.into(), life_ms));
        self
    }

    /// Submitting the very same parameters again, as the same owner and within `ms` milliseconds, gives
    /// the same task as long as that one has not ended: what a caller does that got no answer. A job
    /// with an idempotency key of its own goes by that.
    #[must_use]
    pub const fn fold_for(mut self, ms: i64) -> Self {
        self.folds_for_ms = Some(ms);
        self
    }

    /// Part of this batch.
    #[must_use]
    pub fn batch(mut self, batch: impl Into<String>) -> Self {
        self.batch = Some(batch.into());
        self
    }

    /// One more free word to find it by.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Owned by this key name: other owners do not see it.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    pub(crate) fn deadline_at(&self, now: UnixMs) -> Option<UnixMs> {
        self.deadline_ms.map(|ms| now.plus(ms))
    }
}
