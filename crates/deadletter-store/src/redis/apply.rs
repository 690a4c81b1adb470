//! What one call checks and writes, as the arguments of the script that does it (`apply.lua`).
//!
//! All checks are made before anything is written. What is written are plain commands, which cannot
//! fail on keys that only this program writes; entries of one set are gathered into few commands.

use super::{
    kept::{Field, Piece},
    keys::{Key, Keys},
    rights,
};
use deadletter_core::{Event, TaskId};
use redis::{Arg, Cmd, ToRedisArgs};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The script, but for the commands whose rights it looks at.
const SCRIPT: &str = include_str!("apply.lua");
/// Values of one command: a script can hand no more than 8,000 on at once.
const VALUES: usize = 2_000;

/// The script.
pub(super) fn script() -> String {
    let quoted = rights::tried().into_iter().map(|command| format!("'{command}'"));
    let quoted: Vec<String> = quoted.collect();
    SCRIPT.replace("--[[all that rights.lua tries]]", &quoted.join(", "))
}

/// Values as the script reads them, in one piece of memory.
type Values = Cmd;

/// Checks and writes, none so far.
#[derive(Default)]
pub(super) struct Apply {
    checks: Vec<Entry>,
    writes: Vec<Entry>,
    removed: BTreeMap<Key, Values>,
    /// Scores and members.
    added: BTreeMap<Key, Values>,
    names: BTreeMap<Key, BTreeSet<String>>,
    counts: BTreeMap<Key, BTreeMap<String, i64>>,
    /// Tasks and events.
    events: Values,
    firsts: Vec<(Key, Key, String)>,
    kept: Vec<Piece>,
}

/// A command, and what is done with it.
struct Entry {
    kind: &'static str,
    command: Cmd,
}

impl Apply {
    /// Checks that the question is answered so; with an empty text where nothing stands.
    pub(super) fn equals(&mut self, question: &Cmd, answer: impl ToRedisArgs) {
        let mut command = question.clone();
        command.arg(answer);
        self.checks.push(Entry { kind: "=", command });
    }

    /// Checks that the question is answered with at most this number.
    pub(super) fn at_most(&mut self, question: &Cmd, n: usize) {
        let mut command = question.clone();
        command.arg(n);
        self.checks.push(Entry { kind: "<", command });
    }

    /// Checks that something stands there.
    pub(super) fn is_there(&mut self, question: &Cmd) {
        self.checks.push(Entry { kind: "?", command: question.clone() });
    }

    /// Writes. Whatever is written so comes before what [`Apply::add`] and [`Apply::remove`] gather.
    pub(super) fn then(&mut self, command: &Cmd) {
        self.writes.push(Entry { kind: "+", command: command.clone() });
    }

    /// Puts a member into a sorted set. Members are removed before others are added.
    pub(super) fn add(&mut self, set: Key, score: impl ToRedisArgs, member: impl ToRedisArgs) {
        self.added.entry(set).or_default().arg(score).arg(member);
    }

    /// Takes a member out of a sorted set, if it is there.
    pub(super) fn remove(&mut self, set: Key, member: impl ToRedisArgs) {
        self.removed.entry(set).or_default().arg(member);
    }

    /// Puts a name into a set.
    pub(super) fn name(&mut self, set: Key, name: String) {
        self.names.entry(set).or_default().insert(name);
    }

    /// Adds to a field of a hash; one that comes to 0 goes.
    pub(super) fn count(&mut self, hash: Key, field: &str, n: i64) {
        let fields = self.counts.entry(hash).or_default();
        *fields.entry(field.to_owned()).or_default() += n;
    }

    /// Appends an event under the next number.
    pub(super) fn event(&mut self, event: &Event) {
        let body = serde_json::to_vec(event).expect("an event has words and numbers alone");
        self.events.arg(event.task.get()).arg(body);
    }

    /// Behind all else, notes in `places` the first score of `waiting` under `place`, or that nothing
    /// is there.
    pub(super) fn first(&mut self, waiting: Key, places: Key, place: &str) {
        let first = (waiting, places, place.to_owned());
        if !self.firsts.contains(&first) {
            self.firsts.push(first);
        }
    }

    /// Keeps what is written of a task, so that it can be put back.
    pub(super) fn keep(&mut self, task: TaskId, field: Field, value: String) {
        self.kept.push(Piece { task, field: Some((field, value.into_bytes())) });
    }

    /// The task is deleted: nothing of it is put back.
    pub(super) fn forget(&mut self, task: TaskId) {
        self.kept.push(Piece { task, field: None });
    }

    /// What is to be kept once it is written.
    pub(super) fn take_kept(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.kept)
    }

    /// True where nothing is to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
            && self.removed.is_empty()
            && self.added.is_empty()
            && self.names.is_empty()
            && self.counts.is_empty()
            && self.events.args_iter().len() == 0
            && self.firsts.is_empty()
    }

    /// Everything in the order in which it is done.
    pub(super) fn into_script(self, keys: &Keys) -> Script {
        let mut script = Script::default();
        for key in [keys.events(), keys.events_of()] {
            script.key(key);
        }
        for entry in self.checks.iter().chain(&self.writes) {
            script.command_of(entry);
        }
        for (command, sets) in [("ZREM", self.removed), ("ZADD", self.added)] {
            for (set, values) in sets {
                script.members(command, set, &values.args_iter().map(bytes).collect::<Vec<_>>());
            }
        }
        for (set, names) in self.names {
            let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
            script.members("SADD", set, &names);
        }
        for (hash, fields) in self.counts {
            let fields: Vec<_> = fields.into_iter().filter(|(_, n)| *n != 0).collect();
            script.begin("#", b"", hash, 2 * fields.len());
            for (field, n) in fields {
                script.args.arg(field).arg(n);
            }
        }
        let events = self.events.args_iter();
        if events.len() > 0 {
            script.begin("e", b"", keys.events(), events.len());
            events.for_each(|value| script.value(bytes(value)));
        }
        for (waiting, places, place) in self.firsts {
            let places = script.key(places);
            script.begin("1", b"", waiting, 2);
            script.args.arg(places).arg(place);
        }
        script
    }
}

/// A value of ours as it goes out.
fn bytes(value: Arg<&[u8]>) -> &[u8] {
    match value {
        Arg::Simple(bytes) => bytes,
        // The place of a cursor, which no command here has.
        _ => &[],
    }
}

/// Keys and arguments of a call of the script, but for those that say which call it is.
#[derive(Default)]
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

    fn value(&mut self, value: &[u8]) {
        self.args.arg(value);
    }

    /// What it is, for which key, and how many values follow.
    fn begin(&mut self, kind: &'static str, command: &[u8], key: Key, values: usize) {
        let key = self.key(key);
        self.args.arg(kind).arg(command).arg(key).arg(values);
    }

    /// A command: its name, its key, and the rest.
    fn command_of(&mut self, entry: &Entry) {
        let mut words = entry.command.args_iter().map(bytes);
        let (name, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        self.begin(entry.kind, name, String::from_utf8_lossy(key).into_owned(), words.len());
        words.for_each(|word| self.value(word));
    }

    fn members(&mut self, command: &str, set: Key, values: &[&[u8]]) {
        for values in values.chunks(VALUES) {
            self.begin("+", command.as_bytes(), set.clone(), values.len());
            values.iter().for_each(|value| self.value(value));
        }
    }

    /// The command that runs it.
    pub(super) fn command(&self, sha: &str, own: [Key; OWN_KEYS], call: &[String]) -> Cmd {
        let args = self.args.args_iter();
        let keys = self.keys.len() + OWN_KEYS;
        let mut command = Cmd::with_capacity(keys + args.len() + 16, 64 * (keys + args.len()));
        command.arg("EVALSHA").arg(sha).arg(keys).arg(&own).arg(&self.keys).arg(call);
        for arg in args {
            command.arg(bytes(arg));
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes out, without keys.
    fn said(apply: Apply) -> Vec<String> {
        let script = apply.into_script(&Keys::under("x"));
        let text = |value| String::from_utf8_lossy(bytes(value)).into_owned();
        script.args.args_iter().map(text).collect()
    }

    #[test]
    fn checks_come_first_and_members_of_a_set_go_together() {
        let mut apply = Apply::default();
        apply.add("z".to_owned(), 1, "a");
        apply.then(&Cmd::set("k", "v"));
        apply.add("z".to_owned(), 2, "b");
        apply.remove("z".to_owned(), "c");
        apply.equals(&Cmd::hget("h", "f"), "1");
        apply.name("s".to_owned(), "n".to_owned());
        apply.name("s".to_owned(), "n".to_owned());
        let said = said(apply).join(" ");
        // Keys by number, behind the store's own and those of events: h, k, z, s.
        let wanted = "= HGET 5 2 f 1 + SET 6 1 v + ZREM 7 1 c + ZADD 7 4 1 a 2 b + SADD 8 1 n";
        assert_eq!(said, wanted);
    }

    #[test]
    fn no_command_has_more_values_than_a_script_can_hand_on() {
        let mut apply = Apply::default();
        (0..VALUES).for_each(|n| apply.add("z".to_owned(), n, n));
        let commands = said(apply).into_iter().filter(|word| word == "ZADD").count();
        assert_eq!(commands, 2);
    }

    #[test]
    fn counts_that_come_to_nothing_are_not_sent() {
        let mut apply = Apply::default();
        assert!(apply.is_empty());
        apply.count("c".to_owned(), "a", 2);
        apply.count("c".to_owned(), "a", -2);
        apply.count("c".to_owned(), "b", 1);
        assert_eq!(said(apply), ["#", "", "5", "2", "b", "1"]);
    }
}
