//! A task as one text, and back: its row, and what is bound to it.
//!
//! ```text
//! HANDLE.7                    the mark of the call that wrote it
//! {"i":...}                   the row
//! a{"t":...}                  an attempt, one line each
//! o4 pending OPERATION        an item of an operation, at a version
//! d{"task":...}               a delivery
//! ```
//!
//! Whatever is written of a task is the whole text, under a new mark, and is written only where that
//! stands as it was read. So a row is decided with all its attempts and items in sight, and nobody
//! changes one in between. One text, because a server reads and writes many of those by one command.

use super::stored;
use crate::{
    Item,
    redis::{
        apply::Apply,
        failure::Outcome,
        json::{self, misfit},
        kept::Piece,
        keys::Keys,
        server::Call,
    },
    stage::Stage,
};
use deadletter_core::{Attempt, Delivery, OperationId, Task, TaskId};
use redis::Cmd;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What begins the lines of attempts, items and deliveries.
const ATTEMPT: u8 = b'a';
const ITEM: u8 = b'o';
const DELIVERY: u8 = b'd';
/// Bytes of most rows, and of most attempts, are fewer.
const TYPICAL: usize = 512;

/// A task as it stands.
#[derive(Clone, Debug)]
pub(in crate::redis) struct Loaded {
    pub(in crate::redis) mark: Arc<str>,
    pub(in crate::redis) task: Task,
    /// In no order.
    pub(in crate::redis) attempts: Vec<Attempt>,
    pub(in crate::redis) items: BTreeMap<OperationId, Item>,
    pub(in crate::redis) deliveries: Vec<Delivery>,
}

/// Tasks that stand, of those that were asked for.
pub(in crate::redis) type Tasks = BTreeMap<TaskId, Arc<Loaded>>;

impl Loaded {
    /// A new one, not written yet.
    pub(in crate::redis) fn new(mark: Arc<str>, task: Task) -> Self {
        let (attempts, items, deliveries) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { mark, task, attempts, items, deliveries }
    }

    fn written(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(TYPICAL * (1 + self.attempts.len()));
        text.extend_from_slice(self.mark.as_bytes());
        text.push(b'\n');
        stored::write_task(&self.task, &mut text);
        for attempt in &self.attempts {
            text.extend([b'\n', ATTEMPT]);
            stored::write_attempt(attempt, &mut text);
        }
        for (operation, Item { version, state, .. }) in &self.items {
            text.extend([b'\n', ITEM]);
            text.extend_from_slice(format!("{version} {state} {operation}").as_bytes());
        }
        for delivery in &self.deliveries {
            text.extend([b'\n', DELIVERY]);
            text.extend_from_slice(json::written(delivery).as_bytes());
        }
        text
    }

    fn read(text: &str) -> Outcome<Self> {
        let mut lines = text.split('\n');
        let mark = lines.next().unwrap_or_default();
        let row = lines.next().ok_or_else(|| misfit("a task without its row"))?;
        let mut loaded = Self::new(Arc::from(mark), stored::read_task(row)?);
        for line in lines {
            if let Some(attempt) = line.strip_prefix(char::from(ATTEMPT)) {
                loaded.attempts.push(stored::read_attempt(attempt)?);
            } else if let Some(item) = line.strip_prefix(char::from(ITEM)) {
                let (operation, item) = item_of(loaded.task.id, item)?;
                loaded.items.insert(operation, item);
            } else if let Some(delivery) = line.strip_prefix(char::from(DELIVERY)) {
                loaded.deliveries.push(json::read(delivery)?);
            }
        }
        Ok(loaded)
    }
}

fn item_of(task: TaskId, line: &str) -> Outcome<(OperationId, Item)> {
    let mut words = line.splitn(3, ' ');
    let mut word = || words.next().ok_or_else(|| misfit("an item"));
    let (version, state, operation) = (word()?, word()?, word()?);
    let item = Item { task, version: json::word(version)?, state: json::word(state)? };
    Ok((json::word(operation)?, item))
}

/// Asks for tasks, at least one; [`read`] takes the answer.
pub(super) fn question(keys: &Keys, ids: impl IntoIterator<Item = TaskId>) -> Cmd {
    let mut question = redis::cmd("MGET");
    ids.into_iter().for_each(|id| {
        question.arg(keys.task(id));
    });
    question
}

/// Loads tasks, in one round trip.
pub(in crate::redis) async fn load(call: &Call, ids: &BTreeSet<TaskId>) -> Outcome<Tasks> {
    read(texts(call, ids).await?)
}

/// Rows alone, in the order asked for.
pub(in crate::redis) async fn rows(call: &Call, ids: &[TaskId]) -> Outcome<Vec<Option<Task>>> {
    let texts = texts(call, ids).await?.into_iter();
    texts.map(|text| text.map(|text| row(&text)).transpose()).collect()
}

/// The row of a task's text.
pub(super) fn row(text: &str) -> Outcome<Task> {
    stored::read_task(text.split('\n').nth(1).unwrap_or_default())
}

async fn texts(
    call: &Call,
    ids: impl IntoIterator<Item = &TaskId>,
) -> Outcome<Vec<Option<String>>> {
    let mut ids = ids.into_iter().copied().peekable();
    if ids.peek().is_none() {
        return Ok(Vec::new());
    }
    call.ask_one(question(call.keys(), ids)).await
}

/// Reads what [`question`] was answered with.
pub(super) fn read(texts: Vec<Option<String>>) -> Outcome<Tasks> {
    let loaded = texts.iter().flatten().map(|text| {
        let loaded = Loaded::read(text)?;
        Ok((loaded.task.id, Arc::new(loaded)))
    });
    loaded.collect()
}

/// Hands what was loaded to the stage.
pub(super) fn stage(tasks: &Tasks) -> Stage {
    let mut stage = Stage::default();
    for loaded in tasks.values() {
        let Task { id, version, verdict_read_at, .. } = loaded.task;
        stage.load(id, version, verdict_read_at);
        loaded.attempts.iter().for_each(|attempt| stage.load_attempt(attempt.clone()));
    }
    stage
}

/// Checks that a task stands as it was loaded, or does not.
pub(in crate::redis) fn stands(
    apply: &mut Apply,
    keys: &Keys,
    id: TaskId,
    loaded: Option<&Loaded>,
) {
    apply.begins(keys.task(id), loaded.map_or_else(String::new, |it| format!("{}\n", it.mark)));
}

/// Writes a task, where it stands as it was loaded.
pub(in crate::redis) fn write(
    apply: &mut Apply,
    keys: &Keys,
    before: Option<&Loaded>,
    after: Loaded,
) {
    let id = after.task.id;
    stands(apply, keys, id, before);
    let text = after.written();
    let attempts_before = before.map_or(&[][..], |before| &before.attempts);
    let changed = after.attempts.iter().filter(|attempt| !attempts_before.contains(attempt));
    let attempts = changed.map(|attempt| attempt.token).collect();
    apply.keep(Piece::Task { task: Arc::new(after), text: text.len(), attempts });
    apply.set(keys.task(id), text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter_core::{AccountName, AttemptToken, ItemState, Policy, UnixMs, WorkerId};

    #[test]
    fn a_task_is_read_as_it_was_written() {
        let id = TaskId::try_from(7_u64).unwrap();
        let account = AccountName::new("main").unwrap();
        let mut task = Task::queued(id, account.clone(), &Policy::default(), UnixMs(5));
        task.dimensions.tags = vec!["two\nlines".to_owned()];
        let mut loaded = Loaded::new(Arc::from("1-2.3"), task);
        let (token, worker) = (AttemptToken::from_random(2), WorkerId::new("w").unwrap());
        loaded.attempts.push(Attempt::intended(token, id, 1, account, worker, UnixMs(6)));
        let operation = OperationId::new("an operation").unwrap();
        let item = Item { task: id, version: 4, state: ItemState::Pending };
        loaded.items.insert(operation, item);
        let text = String::from_utf8(loaded.written()).unwrap();
        assert_eq!(text.lines().count(), 4);
        let read = Loaded::read(&text).unwrap();
        assert_eq!((&read.mark, &read.task), (&loaded.mark, &loaded.task));
        assert_eq!((&read.attempts, &read.items), (&loaded.attempts, &loaded.items));
    }
}
