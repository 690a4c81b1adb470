//! How much of the gateway a key may use, as it is written and read.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The fastest rate that says anything: beyond it the capacity is what binds.
const FASTEST: f64 = 100_000.0;
/// The slowest rate: a submit in about three hours. `per_day` says less than that better.
const SLOWEST: f64 = 0.000_1;

/// What a key may use; what is absent is bounded by the gateway's own capacity alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quota {
    /// Submits per second, of which one second's worth (at least one submit) may come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Tasks that wait or are under way at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// Tasks accepted per day of UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u32>,
}

/// Submits per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(f64);

impl Rate {
    /// Submits per second, above zero.
    #[must_use]
    pub const fn per_s(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// Not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rate is a number of submits per second, such as 5/s or 0.5/s")]
pub struct NoRate;

impl FromStr for Rate {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<Self, NoRate> {
        let number = text.strip_suffix("/s").ok_or(NoRate)?;
        let per_s: f64 = number.trim().parse().map_err(|_| NoRate)?;
        (SLOWEST..=FASTEST).contains(&per_s).then_some(Self(per_s)).ok_or(NoRate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_submits_per_second() {
        for (text, per_s) in [("5/s", 5.0), ("0.5/s", 0.5), ("100000/s", 100_000.0)] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.per_s(), rate.to_string().as_str()), (per_s, text));
        }
        for bad in ["", "5", "0/s", "-1/s", "NaN/s", "inf/s", "5/m", "1e9/s"] {
            assert_eq!(bad.parse::<Rate>(), Err(NoRate), "{bad}");
        }
    }
}
