//! One instant: milliseconds since the Unix epoch, by the store's clock.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An instant in milliseconds since 1970-01-01T00:00:00Z.
///
/// Durations are plain `i64` milliseconds in fields and arguments whose names end in `_ms`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// The instant `ms` milliseconds later (earlier when negative); saturates.
    #[must_use]
    pub const fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`; negative when `earlier` lies later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The instant itself, or the one `longest_ms` after `now` where it lies further away: what was
    /// set before a clock was set back is over in bounded time.
    ///
    /// Only an instant that is kept so is reached; asked anew each time it moves on with `now`.
    #[must_use]
    pub fn within(self, now: Self, longest_ms: i64) -> Self {
        self.min(now.plus(longest_ms.max(0)))
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
