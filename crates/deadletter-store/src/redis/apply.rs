//! What one call checks and writes, as the arguments of the script that does it (`apply.lua`).
//!
//! All checks are made before anything is written. What is written are plain commands, which cannot
//! fail on keys that only this program writes. A command has its price for the server, whatever it
//! does, so all that can be asked or written by one is gathered into one: strings, members of a set,
//! fields of a hash.

use super::{
    kept::Piece,
    keys::{Key, Keys},
};
use deadletter_core::Event;
use redis::{Arg, Cmd, ToRedisArgs};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

/// The script.
pub(super) const SCRIPT: &str = include_str!("apply.lua");
/// Values of one command: a script can hand no more than 8,000 on at once.
const VALUES: usize = 2_000;

/// What the script calls to note the call itself.
const NOTING: [&str; 3] = ["HSET", "HINCRBY", "PEXPIRE"];

/// Values as the script reads them, in one piece of memory.
type Values = Cmd;

/// Checks and writes, none so far.
#[derive(Default)]
pub(super) struct Apply {
    strings: BTreeMap<Key, Text>,
    /// Fields, and what they are answered with.
    fields: BTreeMap<Key, Values>,
    checks: Vec<Entry>,
    writes: Vec<Entry>,
    removed: BTreeMap<Key, Values>,
    /// Scores and members.
    added: BTreeMap<Key, Values>,
    names: BTreeMap<Key, BTreeSet<String>>,
    /// Fields and values.
    put: BTreeMap<Key, Values>,
    dropped: BTreeMap<Key, Values>,
    counts: BTreeMap<Key, BTreeMap<String, i64>>,
    /// Tasks and events.
    events: Values,
    firsts: Vec<(Key, Key, String)>,
    kept: Vec<Piece>,
}

/// A string: what it must begin with, or that it must not be there; what it shall be.
#[derive(Default)]
struct Text {
    begins: Option<String>,
    becomes: Option<Vec<u8>>,
}

/// A command, and what is done with it.
struct Entry {
    kind: &'static str,
    command: Cmd,
}

impl Apply {
    /// Checks that a string begins so; with an empty text, that none stands there.
    pub(super) fn begins(&mut self, key: Key, with: String) {
        self.strings.entry(key).or_default().begins = Some(with);
    }

    /// Writes a string.
    pub(super) fn set(&mut self, key: Key, value: impl Into<Vec<u8>>) {
        self.strings.entry(key).or_default().becomes = Some(value.into());
    }

    /// Checks that a field of a hash holds this; with an empty text, that there is none.
    pub(super) fn holds(&mut self, hash: Key, field: impl ToRedisArgs, value: impl ToRedisArgs) {
        self.fields.entry(hash).or_default().arg(field).arg(value);
    }

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

    /// Writes. Whatever is written so comes before what is gathered, but for strings.
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

    /// Writes a field of a hash.
    pub(super) fn put(&mut self, hash: Key, field: impl ToRedisArgs, value: impl ToRedisArgs) {
        self.put.entry(hash).or_default().arg(field).arg(value);
    }

    /// Takes a field out of a hash, if it is there.
    pub(super) fn drop(&mut self, hash: Key, field: impl ToRedisArgs) {
        self.dropped.entry(hash).or_default().arg(field);
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

    /// Keeps what is written of a task, once it is.
    pub(super) fn keep(&mut self, piece: Piece) {
        self.kept.push(piece);
    }

    /// What is to be kept once it is written.
    pub(super) fn take_kept(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.kept)
    }

    /// True where nothing is to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.strings.values().all(|text| text.becomes.is_none())
            && self.writes.is_empty()
            && self.removed.is_empty()
            && self.added.is_empty()
            && self.names.is_empty()
            && self.put.is_empty()
            && self.dropped.is_empty()
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
        let strings = script.strings(self.strings);
        script.begins(&strings);
        for (hash, values) in self.fields {
            script.values("f", "", hash, &values);
        }
        self.checks.iter().for_each(|entry| script.command_of(entry));
        script.becomes(&strings);
        self.writes.iter().for_each(|entry| script.command_of(entry));
        for (command, gathered) in [
            ("ZREM", self.removed),
            ("ZADD", self.added),
            ("HDEL", self.dropped),
            ("HSET", self.put),
        ] {
            for (key, values) in gathered {
                script.values("+", command, key, &values);
            }
        }
        for (set, names) in self.names {
            let mut values = Values::new();
            values.arg(names);
            script.values("+", "SADD", set, &values);
        }
        for (hash, fields) in self.counts {
            let mut values = Values::new();
            for (field, n) in fields.into_iter().filter(|(_, n)| *n != 0) {
                values.arg(field).arg(n);
            }
            script.values("#", "", hash, &values);
        }
        script.values("e", "", keys.events(), &self.events);
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
    /// Commands that are called once something is written: a script that is refused one of these
    /// leaves half of it behind.
    late: BTreeSet<String>,
    args: Values,
}

/// Keys that come before those of the entries: what the store knows of itself, and the last calls.
const OWN_KEYS: usize = 2;

/// Strings whose keys follow each other from a number on: what is checked, what is written.
struct Strings {
    begins: (usize, Vec<String>),
    becomes: (usize, Vec<Vec<u8>>),
}

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

    /// Gives strings their keys: those that are only checked, those that are written as well, those
    /// that are only written.
    fn strings(&mut self, strings: BTreeMap<Key, Text>) -> Strings {
        let first = self.keys.len() + OWN_KEYS + 1;
        let mut strings: Vec<(Key, Text)> = strings.into_iter().collect();
        strings.sort_by_key(|(_, text)| (text.begins.is_none(), text.becomes.is_some()));
        let checked = strings.iter().take_while(|(_, text)| text.becomes.is_none()).count();
        let mut ours =
            Strings { begins: (first, Vec::new()), becomes: (first + checked, Vec::new()) };
        for (key, text) in strings {
            // No other entry names these keys by number.
            self.keys.push(key);
            ours.begins.1.extend(text.begins);
            ours.becomes.1.extend(text.becomes);
        }
        ours
    }

    fn begins(&mut self, strings: &Strings) {
        self.texts("s", &strings.begins);
    }

    fn becomes(&mut self, strings: &Strings) {
        if !strings.becomes.1.is_empty() {
            self.late.insert("MSET".to_owned());
        }
        self.texts("S", &strings.becomes);
    }

    fn texts<T: ToRedisArgs>(&mut self, kind: &str, (first, texts): &(usize, Vec<T>)) {
        for (n, texts) in texts.chunks(VALUES).enumerate() {
            self.args.arg(kind).arg("").arg(first + n * VALUES).arg(texts.len()).arg(texts);
        }
    }

    /// What it is, for which key, and how many values follow.
    fn begin(&mut self, kind: &str, command: &[u8], key: Key, values: usize) {
        let key = self.key(key);
        self.args.arg(kind).arg(command).arg(key).arg(values);
        let (one, others): (_, &[_]) = match kind {
            "+" => (Some(String::from_utf8_lossy(command)), &[]),
            "#" => (None, &["HMGET", "HSET", "HDEL"]),
            "e" => (None, &["ZADD"]),
            "1" => (None, &["ZRANGE", "ZADD", "ZREM"]),
            _ => (None, &[]),
        };
        let late = one.into_iter().map(Cow::into_owned);
        self.late.extend(late.chain(others.iter().map(|it| (*it).to_owned())));
    }

    /// A command: its name, its key, and the rest.
    fn command_of(&mut self, entry: &Entry) {
        let mut words = entry.command.args_iter().map(bytes);
        let (name, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        self.begin(entry.kind, name, String::from_utf8_lossy(key).into_owned(), words.len());
        words.for_each(|word| {
            self.args.arg(word);
        });
    }

    /// Values of one key, in as few entries as they fit into; pairs stay together.
    fn values(&mut self, kind: &str, command: &str, key: Key, values: &Values) {
        let (mut values, mut left) = (values.args_iter().map(bytes), values.args_iter().len());
        while left > 0 {
            let taken = left.min(VALUES);
            self.begin(kind, command.as_bytes(), key.clone(), taken);
            for value in values.by_ref().take(taken) {
                self.args.arg(value);
            }
            left -= taken;
        }
    }

    /// The command that runs it.
    pub(super) fn command(&self, sha: &str, own: [Key; OWN_KEYS], call: &[String]) -> Cmd {
        let args = self.args.args_iter();
        let (keys, late) = (self.keys.len() + OWN_KEYS, NOTING.len() + self.late.len());
        let mut command =
            Cmd::with_capacity(keys + late + args.len() + 16, 64 * (keys + args.len()));
        command.arg("EVALSHA").arg(sha).arg(keys).arg(&own).arg(&self.keys).arg(call);
        command.arg(late).arg(&NOTING).arg(&self.late);
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
    fn checks_come_first_and_what_is_written_to_one_key_goes_together() {
        let mut apply = Apply::default();
        apply.add("z".to_owned(), 1, "a");
        apply.then(&Cmd::del("k"));
        apply.add("z".to_owned(), 2, "b");
        apply.remove("z".to_owned(), "c");
        apply.equals(&Cmd::hget("h", "f"), "1");
        apply.put("h".to_owned(), "g", 2);
        apply.holds("h".to_owned(), "g", "1");
        apply.holds("h".to_owned(), "i", "");
        apply.name("s".to_owned(), "n".to_owned());
        apply.name("s".to_owned(), "n".to_owned());
        let said = said(apply).join(" ");
        // Keys by number, behind the store's own and those of events: h, k, z, s.
        let wanted = "f  5 4 g 1 i  = HGET 5 2 f 1 + DEL 6 0 + ZREM 7 1 c + ZADD 7 4 1 a 2 b \
                      + HSET 5 2 g 2 + SADD 8 1 n";
        assert_eq!(said, wanted);
    }

    #[test]
    fn strings_are_checked_by_one_command_and_written_by_another() {
        let mut apply = Apply::default();
        apply.set("a".to_owned(), "new".to_owned());
        for key in ["b", "c"] {
            apply.begins(key.to_owned(), key.to_owned());
        }
        apply.set("c".to_owned(), "C".to_owned());
        let script = apply.into_script(&Keys::under("x"));
        // Only checked, both, only written.
        assert_eq!(script.keys.get(2..).unwrap(), ["b", "c", "a"]);
        let words: Vec<_> = script.args.args_iter().map(bytes).collect();
        let words = String::from_utf8(words.join(&b' ')).unwrap();
        assert_eq!(words, "s  5 2 b c S  6 2 C new");
    }

    #[test]
    fn no_command_has_more_values_than_a_script_can_hand_on() {
        let mut apply = Apply::default();
        (0..VALUES).for_each(|n| apply.add("z".to_owned(), n, n));
        (0..=VALUES).for_each(|n| apply.set(format!("{n:04}"), String::new()));
        let said = said(apply);
        let commands = |name: &str| said.iter().filter(|word| *word == name).count();
        assert_eq!((commands("ZADD"), commands("S")), (2, 2));
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
