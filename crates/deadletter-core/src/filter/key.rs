//! The keys of the filter grammar: what each looks at, and what its values look like.

use crate::{Task, label::labels};

labels! {
    /// What a term looks at.
    pub enum Key {
        /// The state: queued, submitting, polling, solved, dead, buried, cancelled.
        State = "state",
        /// Why a task is dead or buried, such as attempts_exhausted or permanent.
        Reason = "reason",
        /// The last failure's code, such as TIMEOUT or ERROR_CAPTCHA_UNSOLVABLE.
        Cause = "cause",
        /// What that code means, such as transient, permanent or proxy.
        Class = "class",
        /// The site key.
        Sitekey = "sitekey",
        /// Host of the page, in any case of letters.
        Host = "host",
        /// The proxy, as host:port.
        Proxy = "proxy",
        /// The kind of job, such as userrecaptcha or turnstile.
        Method = "method",
        /// The batch that the task came with.
        Batch = "batch",
        /// Any of the task's tags.
        Tag = "tag",
        /// Name of the key that owns the task.
        Owner = "owner",
        /// The account that it is submitted to.
        Account = "account",
        /// The task's number.
        Id = "id",
        /// The group of equal failures (fingerprint).
        Group = "group",
        /// Why a queued task waits: new, retry, capacity, redrive, breaker, account, released.
        Why = "why",
        /// Time since it was accepted, such as <24h.
        Age = "age",
        /// Time since its row last changed, such as >30m.
        Idle = "idle",
        /// Attempts ever begun.
        Attempts = "attempts",
        /// Submits that may have been paid for.
        Submits = "submits",
        /// Failures of the job or of the line.
        Failures = "failures",
        /// Refusals because upstream was full.
        Refusals = "refusals",
        /// Times that an operation brought it back.
        Redrives = "redrives",
        /// 0 (first) to 3 (best effort).
        Priority = "priority",
        /// Whether a hold keeps it from being claimed: yes or no.
        Held = "held",
    }
}

/// Other names that users bring along: the article's field, and the row's own name of a group.
const ALIASES: [(&str, Key); 2] = [("googlekey", Key::Sitekey), ("fingerprint", Key::Group)];

impl Key {
    /// The key of that name or alias, in any case of letters.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, key)| *key);
        alias.or_else(|| name.parse().ok())
    }

    /// Every word that names a key.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|key| key.label()).chain(ALIASES.iter().map(|(alias, _)| *alias))
    }

    /// The texts of `task` that a textual key looks at; none for other keys.
    pub(super) fn texts(self, task: &Task) -> Vec<&str> {
        let dimensions = &task.dimensions;
        let text = match self {
            Self::Cause => task.cause.as_ref().map(crate::Cause::as_str),
            Self::Sitekey => dimensions.sitekey.as_deref(),
            Self::Host => dimensions.host.as_deref(),
            Self::Proxy => dimensions.proxy.as_deref(),
            Self::Method => Some(dimensions.method.as_str()),
            Self::Batch => dimensions.batch.as_deref(),
            Self::Tag => return dimensions.tags.iter().map(String::as_str).collect(),
            Self::Owner => task.owner.as_deref(),
            Self::Account => Some(task.account.as_str()),
            Self::Group => task.fingerprint.as_deref(),
            _ => None,
        };
        text.into_iter().collect()
    }

    /// The number of `task` that a numeric key looks at; none for other keys.
    pub(super) fn number(self, task: &Task) -> Option<i64> {
        let counters = &task.counters;
        Some(match self {
            Self::Attempts => counters.attempts.into(),
            Self::Submits => counters.submits.into(),
            Self::Failures => counters.failures.into(),
            Self::Refusals => counters.refusals.into(),
            Self::Redrives => counters.redrives.into(),
            Self::Priority => task.priority.into(),
            _ => return None,
        })
    }
}
