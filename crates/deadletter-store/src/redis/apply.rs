//! What one call checks and writes, as the arguments of the script that does it (`apply.lua`).
//!
//! All checks are made before anything is written. What is written are plain commands, which cannot
//! fail on keys that only this program writes; entries of one set are gathered into few commands.

use super::keys::{Key, Keys};
use deadletter_core::Event;
use redis::{Arg, Cmd, ToRedisArgs};
use std::collections::{BTreeMap, HashMap};

/// The script.
pub(super) const SCRIPT: &str = include_str!("apply.lua");
/// Values of one command: a script can hand no more than 8,000 on at once.
const VALUES: usize = 2_000;

/// Values as the script reads them.
type Values = Vec<Vec<u8>>;

/// Checks and writes, none so far.
#[derive(Debug, Default)]
pub(super) struct Apply {
    checks: Vec<Entry>,
    writes: Vec<Entry>,
    removed: BTreeMap<Key, Values>,
    /// Scores and members.
    added: BTreeMap<Key, Values>,
    counts: BTreeMap<Key, BTreeMap<String, i64>>,
    /// Task and event.
    events: Values,
    firsts: Vec<(Key, Key, String)>,
}

#[derive(Debug)]
struct Entry {
    kind: &'static str,
    command: Vec<u8>,
    key: Key,
    values: Values,
}

impl Entry {
    /// What a command says: its name, its key, and the rest.
    fn of(kind: &'static str, command: &Cmd) -> Self {
        let mut words = command.args_iter().map(|word| match word {
            Arg::Simple(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        });
        let (command, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let key = String::from_utf8_lossy(&key).into_owned();
        Self { kind, command, key, values: words.collect() }
    }
}

impl Apply {
    /// Checks that the question is answered so; with an empty text where nothing stands.
    pub(super) fn equals(&mut self, question: &Cmd, answer: impl ToRedisArgs) {
        let mut entry = Entry::of("=", question);
        entry.values.extend(answer.to_redis_args());
        self.checks.push(entry);
    }

    /// Checks that the question is answered with at most this number.
    pub(super) fn at_most(&mut self, question: &Cmd, n: usize) {
        let mut entry = Entry::of("<", question);
        entry.values.extend(n.to_redis_args());
        self.checks.push(entry);
    }

    /// Checks that something stands there.
    pub(super) fn is_there(&mut self, question: &Cmd) {
        self.checks.push(Entry::of("?", question));
    }

    /// Writes. Whatever is written so comes before what [`Apply::add`] and [`Apply::remove`] gather.
    pub(super) fn then(&mut self, command: &Cmd) {
        self.writes.push(Entry::of("+", command));
    }

    /// Puts a member into a sorted set. Members are removed before others are added.
    pub(super) fn add(&mut self, set: Key, score: impl ToRedisArgs, member: impl ToRedisArgs) {
        let values = self.added.entry(set).or_default();
        values.extend(score.to_redis_args());
        values.extend(member.to_redis_args());
    }

    /// Takes a member out of a sorted set, if it is there.
    pub(super) fn remove(&mut self, set: Key, member: impl ToRedisArgs) {
        self.removed.entry(set).or_default().extend(member.to_redis_args());
    }

    /// Adds to a field of a hash; one that comes to 0 goes.
    pub(super) fn count(&mut self, hash: Key, field: &str, n: i64) {
        let fields = self.counts.entry(hash).or_default();
        *fields.entry(field.to_owned()).or_default() += n;
    }

    /// Appends an event under the next number.
    pub(super) fn event(&mut self, event: &Event) {
        let body = serde_json::to_vec(event).expect("an event has words and numbers alone");
        self.events.extend([event.task.get().to_string().into_bytes(), body]);
    }

    /// Behind all else, notes in `places` the first score of `waiting` under `place`, or that nothing
    /// is there.
    pub(super) fn first(&mut self, waiting: Key, places: Key, place: &str) {
        let first = (waiting, places, place.to_owned());
        if !self.firsts.contains(&first) {
            self.firsts.push(first);
        }
    }

    /// True where nothing is to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
            && self.removed.is_empty()
            && self.added.is_empty()
            && self.counts.is_empty()
            && self.events.is_empty()
            && self.firsts.is_empty()
    }

    /// Everything in the order in which it is done.
    pub(super) fn into_script(self, keys: &Keys) -> Script {
        let mut script = Script::default();
        for key in [keys.events(), keys.events_of()] {
            script.key(key);
        }
        for entry in self.checks.into_iter().chain(self.writes) {
            script.entry(entry.kind, &entry.command, entry.key, &entry.values);
        }
        for (command, sets) in [("ZREM", self.removed), ("ZADD", self.added)] {
            for (set, values) in sets {
                for values in values.chunks(VALUES) {
                    script.entry("+", command.as_bytes(), set.clone(), values);
                }
            }
        }
        for (hash, fields) in self.counts {
            let fields = fields.into_iter().filter(|(_, n)| *n != 0);
            let values: Values = fields
                .flat_map(|(field, n)| [field.into_bytes(), n.to_string().into_bytes()])
                .collect();
            script.entry("#", b"", hash, &values);
        }
        if !self.events.is_empty() {
            script.entry("e", b"", keys.events(), &self.events);
        }
        for (waiting, places, place) in self.firsts {
            let places = script.key(places);
            script.entry("1", b"", waiting, &[places.to_string().into_bytes(), place.into_bytes()]);
        }
        script
    }
}

/// Keys and arguments of a call of the script, but for those that say which call it is.
#[derive(Debug, Default)]
pub(super) struct Script {
    keys: Vec<Key>,
    numbers: HashMap<Key, usize>,
    args: Values,
}

/// Keys that come before those of the entries: what the store knows of itself, and the last calls.
const OWN_KEYS: usize = 2;

impl Script {
    fn key(&mut self, key: Key) -> usize {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        self.keys.push(key.clone());
        let number = self.keys.len() + OWN_KEYS;
        self.numbers.insert(key, number);
        number
    }

    fn entry(&mut self, kind: &'static str, command: &[u8], key: Key, values: &[Vec<u8>]) {
        let key = self.key(key);
        self.args.extend([kind.into(), command.to_vec(), key.to_string().into_bytes()]);
        self.args.push(values.len().to_string().into_bytes());
        self.args.extend_from_slice(values);
    }

    /// The command that runs it.
    pub(super) fn command(&self, sha: &str, own: [Key; OWN_KEYS], call: &[String]) -> Cmd {
        let mut command = Cmd::with_capacity(self.keys.len() + self.args.len() + 16, 1_024);
        command.arg("EVALSHA").arg(sha).arg(self.keys.len() + OWN_KEYS).arg(&own).arg(&self.keys);
        command.arg(call);
        for arg in &self.args {
            command.arg(arg.as_slice());
        }
        command
    }
}
