//! Scenarios as text: reading a file with complaints that name the line, and the files that come
//! with the simulator.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use crate::error::{Error, Result};
use crate::scenario::{Place, Scenario};

const NAMED: [(&str, &str); 11] = [
    ("happy", include_str!("../scenarios/happy.toml")),
    ("flaky", include_str!("../scenarios/flaky.toml")),
    ("slow", include_str!("../scenarios/slow.toml")),
    ("outage", include_str!("../scenarios/outage.toml")),
    ("no-slot", include_str!("../scenarios/no-slot.toml")),
    ("unsolvable-sitekey", include_str!("../scenarios/unsolvable-sitekey.toml")),
    ("timeout-cluster", include_str!("../scenarios/timeout-cluster.toml")),
    ("bad-key", include_str!("../scenarios/bad-key.toml")),
    ("banned", include_str!("../scenarios/banned.toml")),
    ("malformed", include_str!("../scenarios/malformed.toml")),
    ("disconnects", include_str!("../scenarios/disconnects.toml")),
];

/// Where the parts of a scenario file stand, to name the line of a complaint.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Layout {
    speed: Option<Spanned<IgnoredAny>>,
    threads: Option<Spanned<IgnoredAny>>,
    rules: Vec<Spanned<IgnoredAny>>,
    solve: BTreeMap<String, Spanned<IgnoredAny>>,
}

/// The line of a place, counted from 1.
fn line_of(text: &str, place: &Place) -> Option<usize> {
    let layout: Layout = toml::from_str(text).ok()?;
    let spanned = match place {
        Place::Speed => layout.speed.as_ref(),
        Place::Threads => layout.threads.as_ref(),
        Place::Rule(index) => layout.rules.get(*index),
        Place::Solve(name) => layout.solve.get(name),
    };
    let before = text.get(..spanned?.span().start)?;
    Some(before.matches('\n').count() + 1)
}

impl Scenario {
    /// Reads a scenario file. Errors name line and key.
    pub fn from_toml(text: &str) -> Result<Self> {
        let scenario: Self =
            toml::from_str(text).map_err(|error| Error::Unreadable(Box::new(error)))?;
        match scenario.defect() {
            None => Ok(scenario),
            Some(defect) => Err(Error::Impossible(match line_of(text, &defect.place) {
                Some(line) => format!("line {line}: {defect}"),
                None => defect.to_string(),
            })),
        }
    }

    /// The scenario of this name.
    pub fn named(name: &str) -> Result<Self> {
        let text = NAMED.iter().find(|(known, _)| *known == name).map(|(_, text)| text);
        text.map_or_else(
            || {
                let known: Vec<_> = Self::names().collect();
                Err(Error::UnknownScenario { name: name.to_owned(), known: known.join(", ") })
            },
            |text| Self::from_toml(text),
        )
    }

    /// All names, the plainest scenario first.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_scenario_can_be_read_and_says_what_it_shows() {
        for name in Scenario::names() {
            let scenario = Scenario::named(name).unwrap();
            assert!(!scenario.about.is_empty(), "{name} has no `about`");
        }
    }

    #[test]
    fn what_types_cannot_forbid_is_refused_with_line_and_place() {
        for (text, line, place) in [
            ("seed = 1\nspeed = -1.0\n", "line 2", "speed"),
            ("threads = 1000000\n", "line 1", "threads"),
            (
                "[[rules]]\nfault = \"hang\"\n\n[[rules]]\nfault = \"not_ready\"\non = \"submit\"\n",
                "line 4",
                "rule 2 (not_ready)",
            ),
            ("\n[solve.recaptcha]\nmedian_ms = 1\n", "line 2", "solve.recaptcha"),
        ] {
            let complaint = Scenario::from_toml(text).unwrap_err().to_string();
            assert!(complaint.contains(line) && complaint.contains(place), "{complaint}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_all_names() {
        let text = Scenario::named("hapy").unwrap_err().to_string();
        assert!(text.contains("hapy") && text.contains("happy, flaky"), "{text}");
    }
}
