//! Rows as they are stored: JSON with short names, without what is as it mostly is.
//!
//! A row goes through the server's script as a whole with each change, and each byte of it has its
//! price there, in the server's log and here. What is left out is read as what it is without.

use crate::redis::failure::Outcome;
use deadletter_core::{
    AccountName, Attempt, AttemptToken, Cause, Class, Counters, Dimensions, Round, State, Task,
    TaskId, UnixMs, UpstreamId, Verdict, WorkerId, task::NORMAL_PRIORITY,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::de::StrRead;

/// Appends a task's row.
pub(super) fn write_task(task: &Task, to: &mut Vec<u8>) {
    Row::serialize(task, &mut serde_json::Serializer::new(to)).expect(NO_MAPS);
}

/// Appends an attempt.
pub(super) fn write_attempt(attempt: &Attempt, to: &mut Vec<u8>) {
    AttemptRow::serialize(attempt, &mut serde_json::Serializer::new(to)).expect(NO_MAPS);
}

const NO_MAPS: &str = "rows have no maps but with texts for keys";

/// The task that was written so.
pub(super) fn read_task(stored: &str) -> Outcome<Task> {
    Ok(Row::deserialize(&mut serde_json::Deserializer::new(StrRead::new(stored)))?)
}

/// The attempt that was written so.
pub(super) fn read_attempt(stored: &str) -> Outcome<Attempt> {
    Ok(AttemptRow::deserialize(&mut serde_json::Deserializer::new(StrRead::new(stored)))?)
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Task")]
struct Row {
    #[serde(rename = "i")]
    id: TaskId,
    #[serde(rename = "s")]
    state: State,
    #[serde(rename = "v")]
    version: u64,
    #[serde(rename = "a")]
    account: AccountName,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    worker: Option<WorkerId>,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    attempt: Option<AttemptToken>,
    #[serde(rename = "p", default = "normal", skip_serializing_if = "is_normal")]
    priority: u8,
    #[serde(rename = "u", default, skip_serializing_if = "is_usual")]
    turn: i64,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    hold: Option<String>,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    deadline_at: Option<UnixMs>,
    #[serde(rename = "c", default, skip_serializing_if = "is_usual", with = "counters")]
    counters: Counters,
    #[serde(rename = "r", default, skip_serializing_if = "is_usual", with = "round")]
    round: Round,
    #[serde(rename = "k")]
    max_submits: u32,
    #[serde(rename = "x", default, skip_serializing_if = "is_usual")]
    proxies: u32,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    class: Option<Class>,
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    idempotency_expires_at: Option<UnixMs>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    parent: Option<TaskId>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    answered_by: Option<AttemptToken>,
    #[serde(rename = "j", default, skip_serializing_if = "Option::is_none")]
    verdict_read_at: Option<UnixMs>,
    #[serde(rename = "m")]
    created_at: UnixMs,
    #[serde(rename = "d")]
    updated_at: UnixMs,
    #[serde(rename = "D", with = "DimensionsRow")]
    dimensions: Dimensions,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Dimensions")]
struct DimensionsRow {
    #[serde(rename = "m")]
    method: String,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    sitekey: Option<String>,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    proxy: Option<String>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    batch: Option<String>,
    #[serde(rename = "t", default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Attempt")]
struct AttemptRow {
    #[serde(rename = "t")]
    token: AttemptToken,
    #[serde(rename = "i")]
    task: TaskId,
    n: u32,
    #[serde(rename = "a")]
    account: AccountName,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    worker: Option<WorkerId>,
    #[serde(rename = "m")]
    intent_at: UnixMs,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    upstream_id: Option<UpstreamId>,
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    accepted_at: Option<UnixMs>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    resumed_at: Option<UnixMs>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    abandoned_at: Option<UnixMs>,
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    closed_at: Option<UnixMs>,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    class: Option<Class>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(rename = "p", default, skip_serializing_if = "is_usual")]
    permit: bool,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    permit_until: Option<UnixMs>,
}

fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

const fn normal() -> u8 {
    NORMAL_PRIORITY
}

// Serde hands on a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_normal(priority: &u8) -> bool {
    *priority == NORMAL_PRIORITY
}

/// Counters as a list, in the order of their fields.
mod counters {
    use super::{Counters, Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(it: &Counters, to: S) -> Result<S::Ok, S::Error> {
        let Counters { attempts, submits, failures, refusals, panics, redrives, deaths } = *it;
        [attempts, submits, failures, refusals, panics, redrives, deaths].serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Counters, D::Error> {
        let [attempts, submits, failures, refusals, panics, redrives, deaths] =
            Deserialize::deserialize(from)?;
        Ok(Counters { attempts, submits, failures, refusals, panics, redrives, deaths })
    }
}

/// A round as a list, in the order of its fields.
mod round {
    use super::{Deserialize, Deserializer, Round, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(it: &Round, to: S) -> Result<S::Ok, S::Error> {
        let Round { allowance, failures, unsolvable, lost, refusals, proxies_failed } = *it;
        [allowance, failures, unsolvable, lost, refusals, proxies_failed].serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Round, D::Error> {
        let [allowance, failures, unsolvable, lost, refusals, proxies_failed] =
            Deserialize::deserialize(from)?;
        Ok(Round { allowance, failures, unsolvable, lost, refusals, proxies_failed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter_core::{Policy, Why};

    fn id(n: u64) -> TaskId {
        TaskId::try_from(n).unwrap()
    }

    fn account() -> AccountName {
        AccountName::new("main").unwrap()
    }

    /// A task of which nothing is as it mostly is.
    fn unusual() -> Task {
        let word = |word: &str| Some(word.to_owned());
        Task {
            id: id(7),
            state: State::Queued { due_at: UnixMs(-3), why: Why::Retry },
            version: 9,
            account: account(),
            worker: WorkerId::new("w").ok(),
            attempt: Some(AttemptToken::from_random(2)),
            priority: 0,
            turn: -4,
            hold: word("by_hand"),
            deadline_at: Some(UnixMs(11)),
            counters: Counters {
                attempts: 1,
                submits: 2,
                failures: 3,
                refusals: 4,
                panics: 5,
                redrives: 6,
                deaths: 7,
            },
            round: Round {
                allowance: 1,
                failures: 2,
                unsolvable: 3,
                lost: 4,
                refusals: 5,
                proxies_failed: 6,
            },
            max_submits: 12,
            proxies: 3,
            cause: Some(Cause::new(Cause::TIMEOUT)),
            class: Some(Class::Proxy),
            fingerprint: word("0123456789abcdef"),
            owner: word("owner"),
            idempotency_key: word("two\nlines"),
            idempotency_expires_at: Some(UnixMs(12)),
            place: word("host:1"),
            parent: Some(id(8)),
            answered_by: Some(AttemptToken::from_random(4)),
            verdict_read_at: Some(UnixMs(13)),
            created_at: UnixMs(14),
            updated_at: UnixMs(15),
            dimensions: Dimensions {
                method: "userrecaptcha".to_owned(),
                sitekey: word("key"),
                host: word("host"),
                proxy: word("proxy:1"),
                batch: word("nightly"),
                tags: vec!["a".to_owned(), "b".to_owned()],
            },
        }
    }

    fn written_and_read(task: &Task) -> (usize, Task) {
        let mut text = Vec::new();
        write_task(task, &mut text);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), 1);
        (text.len(), read_task(&text).unwrap())
    }

    #[test]
    fn a_row_is_read_as_it_was_written_whatever_is_unusual_in_it() {
        let plain = Task::queued(id(1), account(), &Policy::default(), UnixMs(0));
        for task in [plain, unusual()] {
            assert_eq!(written_and_read(&task).1, task);
        }
    }

    #[test]
    fn what_is_usual_takes_no_room() {
        let now = UnixMs(1_795_493_330_567);
        let plain = Task::queued(id(115_769_839_154_561), account(), &Policy::default(), now);
        let (length, _) = written_and_read(&plain);
        assert!(length < 200, "{length} bytes");
    }

    #[test]
    fn an_attempt_is_read_as_it_was_written_whatever_is_unusual_in_it() {
        let token = AttemptToken::from_random(2);
        let worker = WorkerId::new("w").unwrap();
        let intended = Attempt::intended(token, id(1), 1, account(), worker, UnixMs(6));
        let unusual = Attempt {
            worker: None,
            upstream_id: UpstreamId::new("77").ok(),
            accepted_at: Some(UnixMs(1)),
            resumed_at: Some(UnixMs(2)),
            abandoned_at: Some(UnixMs(3)),
            closed_at: Some(UnixMs(4)),
            verdict: Some(Verdict::TimedOut),
            cause: Some(Cause::new(Cause::TIMEOUT)),
            class: Some(Class::Proxy),
            detail: Some("two\nlines".to_owned()),
            permit: false,
            permit_until: Some(UnixMs(5)),
            ..intended.clone()
        };
        for attempt in [intended, unusual] {
            let mut text = Vec::new();
            write_attempt(&attempt, &mut text);
            let text = String::from_utf8(text).unwrap();
            assert_eq!(text.lines().count(), 1);
            assert_eq!(read_attempt(&text).unwrap(), attempt);
        }
    }
}
