//! Comparisons of numbers and ages: `>=4`, `<24h`.

use std::fmt;

/// How a value is compared. The longer signs stand first, so that `>=` is not read as `>`.
const SIGNS: [(&str, Op); 5] =
    [("<=", Op::AtMost), (">=", Op::AtLeast), ("<", Op::Below), (">", Op::Above), ("=", Op::Equal)];

/// Units of ages in milliseconds, largest first: an age is shown in the largest that divides it.
const UNITS: [(&str, i64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A sign of comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
}

impl Op {
    /// The sign that `text` begins with, and the rest.
    pub(super) fn split(text: &str) -> (Option<Self>, &str) {
        SIGNS
            .iter()
            .find_map(|(sign, op)| Some((Some(*op), text.strip_prefix(sign)?)))
            .unwrap_or((None, text))
    }

    fn sign(self) -> &'static str {
        SIGNS.iter().find(|(_, op)| *op == self).map_or("=", |(sign, _)| sign)
    }
}

/// A comparison with a number, or with an age in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compare {
    pub(super) op: Op,
    pub(super) with: i64,
}

impl Compare {
    pub(super) const fn holds(self, value: i64) -> bool {
        match self.op {
            Op::Below => value < self.with,
            Op::AtMost => value <= self.with,
            Op::Above => value > self.with,
            Op::AtLeast => value >= self.with,
            Op::Equal => value == self.with,
        }
    }

    /// As a number is written; equality needs no sign.
    pub(super) fn show_number(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.op == Op::Equal { "" } else { self.op.sign() };
        write!(f, "{sign}{}", self.with)
    }

    /// As an age is written.
    pub(super) fn show_age(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, unit_ms) =
            UNITS.into_iter().find(|(_, unit_ms)| self.with % unit_ms == 0).unwrap_or(("ms", 1));
        write!(f, "{}{}{unit}", self.op.sign(), self.with / unit_ms)
    }
}

/// A whole number that is not negative.
pub(super) fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A whole number and a unit, in milliseconds.
pub(super) fn age_ms(text: &str) -> Option<i64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(unit_at)?;
    let (_, unit_ms) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    number(digits)?.checked_mul(unit_ms)
}
