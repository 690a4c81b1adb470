//! Items of operations: fields of their tasks, whose revisions fence them; those that are pending
//! stand in a set of their operation, too.

use super::{
    apply::Apply,
    failure::Outcome,
    json::{self, misfit},
    keys::Keys,
    server::{Call, Work},
};
use crate::Item;
use deadletter_core::{ItemState, OperationId, TaskId};
use redis::Cmd;
use std::collections::BTreeSet;

/// The field of its task that holds an item.
pub(super) fn field(operation: &OperationId) -> String {
    format!("o:{operation}")
}

/// An item as it is stored.
pub(super) fn written(item: &Item) -> String {
    format!("{} {}", item.version, item.state)
}

/// The item that was stored so.
pub(super) fn read(task: TaskId, stored: &str) -> Outcome<Item> {
    let (version, state) = stored.split_once(' ').ok_or_else(|| misfit("an item"))?;
    Ok(Item { task, version: json::word(version)?, state: json::word(state)? })
}

/// An item among those that are pending.
pub(super) fn member(item: &Item) -> String {
    format!("{}:{}", item.task, item.version)
}

/// The items among the fields of a task, by operation.
pub(super) fn of_task(
    task: TaskId,
    fields: &[(String, String)],
) -> Outcome<Vec<(OperationId, Item)>> {
    let items = fields.iter().filter_map(|(field, item)| Some((field.strip_prefix("o:")?, item)));
    let items = items.map(|(operation, item)| Ok((json::word(operation)?, read(task, item)?)));
    let mut items = items.collect::<Outcome<Vec<(OperationId, Item)>>>()?;
    items.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(items)
}

/// Pending items by task id, those behind `after`.
pub(super) async fn pending(
    call: Call,
    operation: &OperationId,
    after: Option<TaskId>,
    limit: u32,
) -> Outcome<Vec<Item>> {
    let from = after.map_or_else(|| "-inf".to_owned(), |task| format!("({task}"));
    let limit = isize::try_from(limit).unwrap_or(isize::MAX);
    let pending = call.keys().pending(operation);
    let pending = Cmd::zrangebyscore_limit(pending, from, "+inf", 0, limit);
    let pending: Vec<String> = call.ask_one(pending).await?;
    let items = pending.iter().map(|member| {
        let (task, version) = member.split_once(':').ok_or_else(|| misfit("an item"))?;
        let (task, version) = (json::word(task)?, json::word(version)?);
        Ok(Item { task, version, state: ItemState::Pending })
    });
    items.collect()
}

/// Ends pending items; what is settled stays as it is.
pub(super) async fn skip(
    call: Call,
    operation: &OperationId,
    tasks: &[TaskId],
) -> Outcome<Work<()>> {
    let tasks: BTreeSet<TaskId> = tasks.iter().copied().collect();
    let rows = tasks
        .iter()
        .map(|task| Cmd::hmget(call.keys().task(*task), &["n".to_owned(), field(operation)]));
    let rows: Vec<(Option<u64>, Option<String>)> = call.ask(rows).await?;
    let mut apply = Apply::default();
    for (task, row) in tasks.iter().zip(rows) {
        let (Some(revision), Some(stored)) = row else { continue };
        let item = read(*task, &stored)?;
        if item.state == ItemState::Pending {
            let key = call.keys().task(*task);
            apply.equals(&Cmd::hget(&key, "n"), revision);
            apply.then(&Cmd::hset(&key, "n", revision + 1));
            settle(&mut apply, call.keys(), operation, &item, ItemState::Skipped);
        }
    }
    Ok(Work::of((), apply))
}

/// Ends a pending item of a task whose row is fenced already.
pub(super) fn settle(
    apply: &mut Apply,
    keys: &Keys,
    operation: &OperationId,
    pending: &Item,
    end: ItemState,
) {
    let ended = written(&Item { state: end, ..*pending });
    apply.then(&Cmd::hset(keys.task(pending.task), field(operation), ended));
    apply.remove(keys.pending(operation), member(pending));
    apply.count(keys.item_counts(operation), ItemState::Pending.label(), -1);
    apply.count(keys.item_counts(operation), end.label(), 1);
}

/// How many are pending, done, skipped.
pub(super) async fn tally(call: Call, operation: &OperationId) -> Outcome<[u64; 3]> {
    let states = [ItemState::Pending, ItemState::Done, ItemState::Skipped];
    let counts = call.keys().item_counts(operation);
    let counts = Cmd::hmget(counts, &states.map(|state| state.label()));
    let counts: Vec<Option<u64>> = call.ask_one(counts).await?;
    let mut tally = [0; 3];
    for (place, n) in tally.iter_mut().zip(counts) {
        *place = n.unwrap_or(0);
    }
    Ok(tally)
}
