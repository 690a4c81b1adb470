//! A line of the table: what was measured in several rounds, and what it should reach.

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Everything that one run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Cores that the run could use.
    pub(crate) cores: usize,
    /// Small numbers: no statement about speed.
    pub(crate) quick: bool,
    pub(crate) lines: Vec<Line>,
}

impl Report {
    pub(crate) fn of(quick: bool, lines: Vec<Line>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { cores, quick, lines }
    }
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A ratio.
    Times,
    PerSecond,
    Ms,
    Mb,
    Bytes,
}

impl Unit {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Times => "x",
            Self::PerSecond => "/s",
            Self::Ms => "ms",
            Self::Mb => "MB",
            Self::Bytes => "bytes",
        }
    }

    /// A number with its unit, as exact as it deserves.
    pub(crate) fn show(self, n: f64) -> String {
        let label = self.label();
        match self {
            Self::Times => format!("{n:.2} {label}"),
            Self::PerSecond | Self::Bytes => format!("{n:.0} {label}"),
            Self::Ms | Self::Mb => format!("{n:.1} {label}"),
        }
    }
}

/// What a line should reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reach {
    AtLeast(f64),
    AtMost(f64),
}

/// A line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) work: &'static str,
    pub(crate) unit: Unit,
    pub(crate) reach: Reach,
    /// One number per round.
    rounds: Vec<f64>,
    /// The figures behind a ratio.
    pub(crate) note: String,
}

impl Line {
    /// A line over the numbers of its rounds, of which there is at least one.
    pub(crate) fn new(
        work: &'static str,
        unit: Unit,
        reach: Reach,
        mut rounds: Vec<f64>,
        note: String,
    ) -> Self {
        rounds.sort_by(f64::total_cmp);
        Self { work, unit, reach, rounds, note }
    }

    pub(crate) fn median(&self) -> f64 {
        median(&self.rounds)
    }

    pub(crate) fn min(&self) -> f64 {
        self.rounds.first().copied().unwrap_or_default()
    }

    pub(crate) fn max(&self) -> f64 {
        self.rounds.last().copied().unwrap_or_default()
    }

    /// Whether the median reaches what it should.
    pub(crate) fn is_met(&self) -> bool {
        match self.reach {
            Reach::AtLeast(reach) => self.median() >= reach,
            Reach::AtMost(reach) => self.median() <= reach,
        }
    }
}

/// The middle of sorted numbers; 0 where there are none.
fn median(sorted: &[f64]) -> f64 {
    let at = |n: usize| sorted.get(n).copied().unwrap_or_default();
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(at(half.saturating_sub(1)), at(half))
    } else {
        at(half)
    }
}

/// The middle of numbers in any order.
pub(crate) fn middle(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    median(&sorted)
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_struct("Line", 10)?;
        line.serialize_field("work", self.work)?;
        line.serialize_field("unit", self.unit.label())?;
        let (at_least, at_most) = match self.reach {
            Reach::AtLeast(reach) => (Some(reach), None),
            Reach::AtMost(reach) => (None, Some(reach)),
        };
        line.serialize_field("at_least", &at_least)?;
        line.serialize_field("at_most", &at_most)?;
        line.serialize_field("median", &self.median())?;
        line.serialize_field("min", &self.min())?;
        line.serialize_field("max", &self.max())?;
        line.serialize_field("rounds", &self.rounds.len())?;
        line.serialize_field("met", &self.is_met())?;
        line.serialize_field("note", &self.note)?;
        line.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(reach: Reach, rounds: &[f64]) -> Line {
        Line::new("x", Unit::Times, reach, rounds.to_vec(), String::new())
    }

    #[test]
    fn the_median_decides_and_the_extremes_are_kept() {
        let one = line(Reach::AtLeast(2.0), &[9.0, 1.0, 2.0]);
        assert_eq!((one.min(), one.median(), one.max()), (1.0, 2.0, 9.0));
        assert!(one.is_met());
        assert!(!line(Reach::AtLeast(2.0), &[1.0, 2.0]).is_met());
        assert!(line(Reach::AtMost(2.0), &[1.0, 2.0]).is_met());
    }
}
