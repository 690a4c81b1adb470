//! What a call has decided, as checks and writes.

use super::{
    answer, counts,
    index::Entries,
    row::{self, Loaded, Tasks},
};
use crate::{
    Item,
    redis::{apply::Apply, deliveries, items, json, kept::Field, keys::Keys},
    stage::Writes,
};
use deadletter_core::{Attempt, AttemptToken, ItemState, OperationId, Task, TaskId, UnixMs};
use redis::Cmd;
use std::collections::BTreeMap;

/// What is written of one task.
#[derive(Default)]
struct Written {
    row: Option<Task>,
    attempts: BTreeMap<AttemptToken, Attempt>,
    items: Vec<(OperationId, Item)>,
}

/// Everything but purges, given what was loaded.
pub(super) fn write(writes: Writes, loaded: &Tasks, keys: &Keys, now: UnixMs) -> Apply {
    let mut apply = Apply::default();
    let mut written: BTreeMap<TaskId, Written> = BTreeMap::new();
    for (task, body) in writes.inserted {
        apply.then(&Cmd::set(keys.request(task.id), &body));
        apply.keep(task.id, Field::Request, body);
        let id = task.id;
        written.entry(id).or_default().row = Some(task);
    }
    for (id, row) in writes.rows {
        written.entry(id).or_default().row = Some(row.after);
    }
    for (id, at) in writes.readings {
        let task = loaded.get(&id).map(|it| it.task.clone());
        let told = task.map(|task| Task { verdict_read_at: Some(at), ..task });
        written.entry(id).or_default().row = told;
    }
    for attempt in writes.begun.into_iter().chain(writes.learned.into_iter().map(|it| it.attempt)) {
        let attempts = &mut written.entry(attempt.task).or_default().attempts;
        attempts.insert(attempt.token, attempt);
    }
    for (operation, item) in writes.items {
        written.entry(item.task).or_default().items.push((operation, item));
    }
    for ((operation, id), state) in writes.settled {
        let item = loaded.get(&id).and_then(|it| it.items.get(&operation));
        if let Some(item) = item.filter(|item| item.state == ItemState::Pending) {
            let settled = Item { state, ..*item };
            written.entry(id).or_default().items.push((operation, settled));
        }
    }
    for (id, task) in written {
        task.write(id, loaded.get(&id), keys, now, &mut apply);
    }
    for answer in &writes.answers {
        // The first of an attempt stays.
        let (key, token) = (keys.answers(answer.task), answer.token.to_string());
        let body = answer::stored(answer);
        apply.then(&Cmd::hset_nx(key, token, &body));
        apply.keep(answer.task, Field::Answer(answer.token), body);
    }
    deliveries::made(&mut apply, keys, &writes.deliveries);
    counts::add(&writes.counts, keys, &mut apply);
    writes.events.iter().for_each(|event| apply.event(event));
    apply
}

impl Written {
    fn write(
        self,
        id: TaskId,
        before: Option<&Loaded>,
        keys: &Keys,
        now: UnixMs,
        apply: &mut Apply,
    ) {
        let Some(after) = self.row.as_ref().or(before.map(|before| &before.task)) else { return };
        stands(apply, keys, id, before);
        let attempts = before.map_or(&[][..], |before| &before.attempts);
        let left = attempts.iter().filter(|attempt| !self.attempts.contains_key(&attempt.token));
        let entries = Entries::of(keys, after, left.chain(self.attempts.values()));
        let entries_before =
            before.map_or_else(Entries::default, |it| Entries::of(keys, &it.task, &it.attempts));
        entries.replace(&entries_before, keys, now, apply);
        let revision = before.map_or(1, |before| before.revision + 1);
        let mut fields = vec![(row::REVISION.to_owned(), revision.to_string().into_bytes())];
        if let Some(row) = &self.row {
            let row = json::written(row);
            apply.keep(id, Field::Row, row.clone());
            fields.push((row::ROW.to_owned(), row.into_bytes()));
        }
        for (token, attempt) in &self.attempts {
            let attempt = json::written(attempt);
            apply.keep(id, Field::Attempt(*token), attempt.clone());
            fields.push((row::attempt_field(*token), attempt.into_bytes()));
        }
        for (operation, item) in &self.items {
            let was = before.and_then(|before| before.items.get(operation));
            count_item(apply, keys, operation, was, Some(item));
            fields.push((items::field(operation), items::written(item).into_bytes()));
        }
        apply.then(&Cmd::hset_multiple(keys.task(id), &fields));
    }
}

/// Checks that a task stands as it was loaded, or does not.
pub(super) fn stands(apply: &mut Apply, keys: &Keys, id: TaskId, loaded: Option<&Loaded>) {
    let revision = loaded.map_or_else(String::new, |loaded| loaded.revision.to_string());
    apply.equals(&Cmd::hget(keys.task(id), row::REVISION), revision);
}

/// An item that was something, or nothing, becomes something else: where it is found, and how many
/// there are.
pub(super) fn count_item(
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
            apply.remove(keys.pending(operation), items::member(was));
        }
    }
    if let Some(item) = item {
        apply.count(counts(), item.state.label(), 1);
        if item.state == ItemState::Pending {
            apply.add(keys.pending(operation), item.task.get(), items::member(item));
        }
    }
}
