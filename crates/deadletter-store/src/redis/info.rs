//! What a server says of itself (`INFO`), and what follows from it.

use crate::Durability;
use std::collections::HashMap;

/// Words by name.
#[derive(Debug, Default)]
pub(super) struct Info(HashMap<String, String>);

impl Info {
    /// Reads lines of `name:word`.
    pub(super) fn parse(text: &str) -> Self {
        let words = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        Self(words.map(|(name, word)| (name.to_owned(), word.to_owned())).collect())
    }

    /// A word; empty where the server does not say it.
    pub(super) fn word(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Which run of which server it is, and since it was last made the master.
    pub(super) fn run(&self) -> String {
        format!("{}.{}", self.word("run_id"), self.word("master_replid"))
    }

    /// The first two numbers of its version.
    pub(super) fn version(&self) -> (u32, u32) {
        let mut numbers = self.word("redis_version").split('.').map(|n| n.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.word("cluster_enabled") == "1"
    }

    /// True where keys are thrown away when memory is full.
    pub(super) fn evicts(&self) -> bool {
        let policy = self.word("maxmemory_policy");
        !matches!(self.word("maxmemory"), "" | "0") && !matches!(policy, "" | "noeviction")
    }

    /// What an answered call survives, given `appendfsync`, which some servers do not tell.
    ///
    /// <https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/>
    pub(super) fn durability(&self, fsync: Option<&str>) -> Durability {
        match (self.word("aof_enabled"), fsync) {
            ("1", Some("always")) => Durability::D2,
            ("1", _) => Durability::D1,
            _ => Durability::D0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(words: &[(&str, &str)]) -> Info {
        let lines: Vec<String> =
            words.iter().map(|(name, word)| format!("{name}:{word}")).collect();
        Info::parse(&format!("# Server\r\n{}\r\n", lines.join("\r\n")))
    }

    #[test]
    fn durability_follows_from_the_servers_settings() {
        for (aof, fsync, class) in [
            ("1", Some("always"), Durability::D2),
            ("1", Some("everysec"), Durability::D1),
            ("1", Some("no"), Durability::D1),
            ("1", None, Durability::D1),
            ("0", Some("always"), Durability::D0),
            ("0", None, Durability::D0),
        ] {
            assert_eq!(info(&[("aof_enabled", aof)]).durability(fsync), class, "{aof} {fsync:?}");
        }
    }

    #[test]
    fn a_server_that_throws_keys_away_is_known() {
        let of = |memory, policy| info(&[("maxmemory", memory), ("maxmemory_policy", policy)]);
        assert!(of("1000", "allkeys-lru").evicts() && of("1000", "volatile-ttl").evicts());
        assert!(!of("0", "allkeys-lru").evicts() && !of("1000", "noeviction").evicts());
        assert!(!Info::default().evicts());
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(info(&[("redis_version", "7.0.15")]).version() >= (7, 0));
        assert!(info(&[("redis_version", "10.1.0")]).version() >= (7, 0));
        assert!(info(&[("redis_version", "6.2.14")]).version() < (7, 0));
    }
}
