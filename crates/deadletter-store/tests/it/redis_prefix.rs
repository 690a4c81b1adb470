//! The private Redis servers that `scripts/servers` has started, and a prefix of theirs for each
//! test.

use crate::server::variable;
use std::{
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

/// Prefixes of this process so far.
static PREFIXES: AtomicU32 = AtomicU32::new(0);

/// Deletes all keys of a server that match.
const DELETE: &str = "local at = '0' repeat \
     local found = redis.call('SCAN', at, 'MATCH', ARGV[1], 'COUNT', 5000) \
     for _, key in ipairs(found[2]) do redis.call('UNLINK', key) end \
     at = found[1] until at == '0'";

/// A prefix that nobody else has. Where a test fails its keys stay until the server ends.
pub(crate) struct Prefix {
    pub(crate) name: String,
    /// The store under it.
    pub(crate) url: String,
    /// Every server that may have its keys.
    pub(crate) nodes: Vec<String>,
}

impl Prefix {
    /// On the single server, for a guest.
    pub(crate) fn new() -> Self {
        Self::of_a_guest(&variable("DLQ_TEST_REDIS"))
    }

    /// On the cluster of three, for a guest.
    pub(crate) fn on_a_cluster() -> Self {
        Self::of_a_guest(&variable("DLQ_TEST_REDIS_CLUSTER"))
    }

    /// For a user who may do with its keys what is documented, and no more.
    fn of_a_guest(server: &str) -> Self {
        let mut prefix = Self::on(server);
        let words = guest_of(&prefix.name);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        for node in &prefix.nodes {
            say(node, &words);
        }
        let (_, place) = server.rsplit_once('@').unwrap();
        prefix.url = format!("redis://{0}:guest@{place}?prefix={0}", prefix.name);
        prefix
    }

    /// On the server with this URL, for its user.
    pub(crate) fn on(server: &str) -> Self {
        let n = PREFIXES.fetch_add(1, Ordering::Relaxed);
        let name = format!("t-{}-{n}", std::process::id());
        Self { url: format!("{server}?prefix={name}"), name, nodes: nodes(server) }
    }

    /// Deletes every key under it, and its guest.
    pub(crate) fn end(&self) {
        let pattern = format!("{{{}}}:*", self.name);
        for node in &self.nodes {
            say(node, &["EVAL", DELETE, "0", &pattern]);
            say(node, &["ACL", "DELUSER", &self.name]);
        }
    }
}

/// The documented words that make a user, for one of that name whose keys begin with it.
fn guest_of(name: &str) -> Vec<String> {
    let docs = include_str!("../../../../docs/redis.md");
    let line = docs.lines().find(|line| line.starts_with("ACL SETUSER deadletter")).unwrap();
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    words[2] = name.to_owned();
    for word in &mut words {
        *word = word.replace("{deadletter}", &format!("{{{name}}}")).replace("PASSWORD", "guest");
    }
    words
}

/// Tells a server something behind the store's back; what it says.
pub(crate) fn say(server: &str, words: &[&str]) -> String {
    let (_, place) = server.split_once("://").unwrap();
    let (user, address) = place.rsplit_once('@').unwrap();
    let (host, port) = address.rsplit_once(':').unwrap();
    let (name, password) = user.split_once(':').unwrap();
    let said = Command::new("redis-cli")
        .env("REDISCLI_AUTH", password)
        .args(["--user", name, "-e", "-h", host, "-p", port])
        .args(words)
        .output()
        .unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{words:?}: {text}");
    text
}

/// The server itself, or each of its cluster.
fn nodes(server: &str) -> Vec<String> {
    if !say(server, &["INFO", "cluster"]).contains("cluster_enabled:1") {
        return vec![server.to_owned()];
    }
    let (user, _) = server.rsplit_once('@').unwrap();
    let address = |node: &str| Some(node.split_whitespace().nth(1)?.split_once('@')?.0.to_owned());
    let nodes = say(server, &["CLUSTER", "NODES"]);
    nodes.lines().filter_map(address).map(|address| format!("{user}@{address}")).collect()
}
