//! What went wrong: the normalised code (cause), and what that means for the task (class).

use crate::label::labels;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Longest cause that is kept; upstream text is hostile input.
const CAUSE_LIMIT: usize = 64;

labels! {
    /// What a cause means for the task, the account and the next step (`decide` has the rules).
    pub enum Class {
        /// Upstream is full: nothing is spent, slow down.
        Capacity = "capacity",
        /// Try again later: network, 5xx, garbage, silence.
        Transient = "transient",
        /// Upstream tried and gave up: submit again, few times.
        Unsolvable = "unsolvable",
        /// This task can never work as it stands.
        Permanent = "permanent",
        /// Not with this proxy.
        Proxy = "proxy",
        /// The whole account is stopped; its tasks are kept.
        Account = "account",
        /// Upstream no longer knows the upstream id.
        Lost = "lost",
        /// The request needs fresh parameters.
        Stale = "stale",
        /// A code that no table knows: never retried blindly.
        Unknown = "unknown",
    }
}

/// A normalised error code such as `ERROR_CAPTCHA_UNSOLVABLE`, `TIMEOUT` or `NETWORK`.
///
/// At most 64 bytes of `A-Z 0-9 _ : . -`; anything else in the input becomes `_`, so that a cause
/// is always safe to print, to group by and to use in a file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Cause(Box<str>);

impl Cause {
    /// Still "not ready" when the attempt's time-out had passed.
    pub const TIMEOUT: &'static str = "TIMEOUT";
    /// The line dropped, or could not be opened.
    pub const NETWORK: &'static str = "NETWORK";
    /// An answer came, but nobody can read it (HTML, garbage, 5xx).
    pub const UNREADABLE: &'static str = "UNREADABLE";
    /// The caller's patience ended.
    pub const DEADLINE: &'static str = "DEADLINE";
    /// The task's own step panicked.
    pub const PANIC: &'static str = "PANIC";
    /// The worker died while a submit was under way.
    pub const WORKER_DIED: &'static str = "WORKER_DIED";
    /// The store has no row of the attempt that the task waited for.
    pub const ATTEMPT_MISSING: &'static str = "ATTEMPT_MISSING";
    /// The store has lost what the task asks for.
    pub const REQUEST_MISSING: &'static str = "REQUEST_MISSING";
    /// Upstream took the job under an id that another task's open attempt has.
    pub const ID_NOT_UNIQUE: &'static str = "ID_NOT_UNIQUE";

    /// The cause that `text` names, folded into the allowed characters.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut out: String = text.trim().chars().take(CAUSE_LIMIT).map(folded).collect();
        if out.is_empty() {
            out.push_str("UNKNOWN");
        }
        Self(out.into())
    }

    /// The code itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The character that stands for `c` in a cause.
pub(crate) const fn folded(c: char) -> char {
    match c.to_ascii_uppercase() {
        c @ ('A'..='Z' | '0'..='9' | '_' | ':' | '.' | '-') => c,
        _ => '_',
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Cause> for String {
    fn from(cause: Cause) -> Self {
        cause.0.into()
    }
}

impl FromStr for Cause {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_always_printable_and_bounded() {
        assert_eq!(Cause::new(" error_x\u{1b}[31m ").as_str(), "ERROR_X__31M");
        assert_eq!(Cause::new("").as_str(), "UNKNOWN");
        assert_eq!(Cause::new(&"A".repeat(500)).as_str().len(), CAUSE_LIMIT);
    }

    #[test]
    fn every_class_is_read_back_from_its_label() {
        for class in Class::ALL {
            assert_eq!(class.label().parse(), Ok(*class));
        }
        assert!("nonsense".parse::<Class>().is_err());
    }
}
