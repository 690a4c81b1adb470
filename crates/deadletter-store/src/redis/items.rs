//! Items of operations: lines of their tasks, whose marks fence them; those that are pending stand in
//! a set of their operation, too.

use super::{
    apply::Apply,
    failure::Outcome,
    json::{self, misfit},
    keys::Keys,
    server::{Call, Work},
    tasks::row::{self, Loaded},
};
use crate::Item;
use deadletter_core::{ItemState, OperationId, TaskId};
use redis::Cmd;
use std::collections::BTreeSet;

/// An item among those that are pending.
pub(super) fn member(item: &Item) -> String {
    format!("{}:{}", item.task, item.version)
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
    let loaded = row::load(&call, &tasks).await?;
    let (mut apply, keys) = (Apply::default(), call.keys());
    for before in loaded.values() {
        let Some(item) = before.items.get(operation) else { continue };
        if item.state == ItemState::Pending {
            let skipped = Item { state: ItemState::Skipped, ..*item };
            let mut after = Loaded { mark: call.mark(), ..Loaded::clone(before) };
            after.items.insert(operation.clone(), skipped);
            row::write(&mut apply, keys, Some(before), after);
            count(&mut apply, keys, operation, Some(item), Some(&skipped));
        }
    }
    Ok(Work::of((), apply))
}

/// An item that was something, or nothing, becomes something else: where it is found, and how many
/// there are.
pub(super) fn count(
    apply: &mut Apply,
    keys: &Keys,
    operation: &OperationId,
    was: Option<&Item>,
    item: Option<&Item>,
) {
    let counts = || keys.item_counts(operation);
    if let Some(was) = was {
        apply.count(counts(), was.state.label(), -1);
        if was.state == ItemState::Pending {
            apply.remove(keys.pending(operation), member(was));
        }
    }
    if let Some(item) = item {
        apply.count(counts(), item.state.label(), 1);
        if item.state == ItemState::Pending {
            apply.add(keys.pending(operation), item.task.get(), member(item));
        }
    }
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
