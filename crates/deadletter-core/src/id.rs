//! Names of things: one validated type for each kind of id.

use crate::UnixMs;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// 2026-01-01T00:00:00Z, the zero of the millisecond part of a task id.
const EPOCH_2026_MS: i64 = 1_767_225_600_000;
/// Ids stay below 2^53, the largest integer that every JSON reader keeps exact.
const ID_LIMIT: u64 = 1 << 53;
/// Bits below the milliseconds: 4,096 ids can be chosen per millisecond.
const LOW_BITS: u32 = 12;
/// Longest account, owner, worker or key name that is accepted, in bytes.
const NAME_LIMIT: usize = 200;
/// Longest upstream id that is kept; real ones are below 64 bytes.
const UPSTREAM_ID_LIMIT: usize = 512;

/// Why a text is not a valid id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {why}")]
pub struct InvalidId {
    what: &'static str,
    text: String,
    why: &'static str,
}

impl InvalidId {
    fn new(what: &'static str, text: &str, why: &'static str) -> Self {
        Self { what, text: text.chars().take(80).collect(), why }
    }
}

/// A task: an integer below 2^53, 41 bits of milliseconds since 2026 and 12 bits below them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct TaskId(u64);

impl TaskId {
    /// The id for the `low`-th task (modulo 4,096) chosen at `now`.
    #[must_use]
    pub fn at(now: UnixMs, low: u64) -> Self {
        let ms = now.since(UnixMs(EPOCH_2026_MS)).max(0).unsigned_abs();
        let low = low % (1 << LOW_BITS);
        Self(((ms << LOW_BITS) | low) % ID_LIMIT)
    }

    /// When it was chosen, by the clock of whoever chose it.
    #[must_use]
    pub const fn chosen_at(self) -> UnixMs {
        UnixMs(EPOCH_2026_MS + (self.0 >> LOW_BITS).cast_signed())
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The same number as the signed integer that SQL stores keep.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self.0.cast_signed()
    }
}

impl TryFrom<u64> for TaskId {
    type Error = InvalidId;
    fn try_from(n: u64) -> Result<Self, InvalidId> {
        if n < ID_LIMIT {
            Ok(Self(n))
        } else {
            Err(InvalidId::new("task id", &n.to_string(), "it must be below 2^53"))
        }
    }
}

impl TryFrom<i64> for TaskId {
    type Error = InvalidId;
    fn try_from(n: i64) -> Result<Self, InvalidId> {
        u64::try_from(n)
            .map_err(|_| InvalidId::new("task id", &n.to_string(), "it must not be negative"))?
            .try_into()
    }
}

impl From<TaskId> for u64 {
    fn from(id: TaskId) -> Self {
        id.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidId::new("task id", text, "it consists of digits only"));
        }
        text.parse::<u64>()
            .map_err(|_| InvalidId::new("task id", text, "it must be below 2^53"))?
            .try_into()
    }
}

/// The fence of one attempt: a random 63-bit number, chosen by the worker that claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptToken(i64);

impl AttemptToken {
    /// A token from a random number; the sign bit is dropped.
    #[must_use]
    pub const fn from_random(random: u64) -> Self {
        Self((random >> 1).cast_signed())
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for AttemptToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $limit:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            #[doc = concat!("A valid ", $what, ": not empty, bounded, no control characters.")]
            pub fn new(text: impl Into<Box<str>>) -> Result<Self, InvalidId> {
                let text = text.into();
                if text.is_empty() {
                    return Err(InvalidId::new($what, &text, "it is empty"));
                }
                if text.len() > $limit {
                    return Err(InvalidId::new($what, &text, "it is too long"));
                }
                if text.chars().any(char::is_control) {
                    return Err(InvalidId::new($what, &text, "it holds a control character"));
                }
                Ok(Self(text))
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// One key at one provider, by the name that the configuration gives it.
    AccountName, "account name", NAME_LIMIT
}
name! {
    /// One run of one process that works on tasks; never used twice.
    WorkerId, "worker id", NAME_LIMIT
}
name! {
    /// The provider's name for a job, kept as the text that came.
    UpstreamId, "upstream id", UPSTREAM_ID_LIMIT
}
name! {
    /// A bulk act over a frozen set of tasks.
    OperationId, "operation id", NAME_LIMIT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_with_time_and_stay_below_2_to_the_53() {
        let now = UnixMs(1_800_000_000_000);
        assert!(TaskId::at(now, 5) > TaskId::at(now, 4));
        assert!(TaskId::at(now.plus(1), 0) > TaskId::at(now, 4_095));
        assert!(TaskId::at(UnixMs(i64::MAX), u64::MAX).get() < ID_LIMIT);
        assert_eq!(TaskId::at(now, 4_095).chosen_at(), now);
    }

    #[test]
    fn an_id_is_read_from_digits_only() {
        assert_eq!("42".parse::<TaskId>().map(TaskId::get), Ok(42));
        for bad in ["", "-1", "+1", " 1", "9007199254740992", "99999999999999999999999", "0x1"] {
            assert!(bad.parse::<TaskId>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_name_is_never_empty_long_or_unprintable() {
        assert!(AccountName::new("main").is_ok());
        assert!(AccountName::new("").is_err());
        assert!(AccountName::new("a\nb").is_err());
        assert!(AccountName::new("x".repeat(NAME_LIMIT + 1)).is_err());
    }
}
