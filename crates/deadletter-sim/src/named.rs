//! The scenarios that come with the simulator; the text files say what each shows.

use crate::error::{Error, Result};
use crate::scenario::Scenario;

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

impl Scenario {
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
    fn an_unknown_name_is_answered_with_all_names() {
        let text = Scenario::named("hapy").unwrap_err().to_string();
        assert!(text.contains("hapy") && text.contains("happy, flaky"), "{text}");
    }
}
