//! What a call has decided, as checks and writes.

use super::{
    answer,
    bearers::Bearers,
    counts,
    index::Entries,
    row::{self, Loaded, Tasks},
};
use crate::{
    Item,
    redis::{apply::Apply, deliveries, items, kept::Piece, keys::Keys, server::Call},
    stage::Writes,
};
use deadletter_core::{
    Answer, Attempt, AttemptToken, Delivery, ItemState, OperationId, Task, TaskId, Verdict,
};
use redis::Cmd;
use std::{collections::BTreeMap, sync::Arc};

/// What is written of one task.
#[derive(Default)]
struct Written {
    row: Option<Task>,
    /// As it is stored.
    request: Option<String>,
    attempts: BTreeMap<AttemptToken, Attempt>,
    answers: Vec<Answer>,
    items: Vec<(OperationId, Item)>,
    deliveries: Vec<Delivery>,
}

/// Everything but purges, given what was loaded. `bearers` are those of all names that change.
pub(super) fn write(writes: Writes, loaded: &Tasks, mut bearers: Bearers, call: &Call) -> Apply {
    let (mut apply, keys) = (Apply::default(), call.keys());
    deliveries::made(&mut apply, keys, &writes.deliveries);
    counts::add(&writes.counts, keys, &mut apply);
    writes.events.iter().for_each(|event| apply.event(event));
    for (id, written) in by_task(writes, loaded) {
        written.write(loaded.get(&id).map(Arc::as_ref), call, &mut bearers, &mut apply);
    }
    bearers.write(keys, &mut apply);
    apply
}

fn by_task(writes: Writes, loaded: &Tasks) -> BTreeMap<TaskId, Written> {
    let mut written: BTreeMap<TaskId, Written> = BTreeMap::new();
    for (task, body) in writes.inserted {
        let id = task.id;
        let new = Written { row: Some(task), request: Some(body), ..Written::default() };
        written.insert(id, new);
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
    for answer in writes.answers {
        written.entry(answer.task).or_default().answers.push(answer);
    }
    for delivery in writes.deliveries {
        written.entry(delivery.task).or_default().deliveries.push(delivery);
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
    written
}

impl Written {
    fn write(self, before: Option<&Loaded>, call: &Call, bearers: &mut Bearers, apply: &mut Apply) {
        let keys = call.keys();
        let Some(task) = self.row.or_else(|| before.map(|before| before.task.clone())) else {
            return;
        };
        let has_answers = before.is_some_and(has_answers);
        let mut after = Loaded::new(call.mark(), task);
        if let Some(before) = before {
            after.attempts.clone_from(&before.attempts);
            after.items.clone_from(&before.items);
            after.deliveries.clone_from(&before.deliveries);
        }
        after.attempts.retain(|attempt| !self.attempts.contains_key(&attempt.token));
        after.attempts.extend(self.attempts.into_values());
        for (operation, item) in self.items {
            let was = after.items.insert(operation.clone(), item);
            items::count(apply, keys, &operation, was.as_ref(), Some(&item));
        }
        after.deliveries.extend(self.deliveries);
        let entries = Entries::of(&after.task, &after.attempts);
        let entries_before =
            before.map_or_else(Entries::default, |it| Entries::of(&it.task, &it.attempts));
        entries.replace(&entries_before, keys, call.now, bearers, apply);
        let id = after.task.id;
        row::write(apply, keys, before, after);
        if let Some(request) = self.request {
            apply.keep(Piece::Request(id, Arc::from(request.as_str())));
            apply.set(keys.request(id), request);
        }
        if !self.answers.is_empty() {
            write_answers(id, &self.answers, has_answers, keys, apply);
        }
    }
}

/// True where answers of a task may stand.
fn has_answers(loaded: &Loaded) -> bool {
    let mut verdicts = loaded.attempts.iter().map(|attempt| attempt.verdict);
    loaded.task.answered_by.is_some() || verdicts.any(|it| it == Some(Verdict::Solved))
}

/// Writes answers, behind those that stand.
fn write_answers(id: TaskId, answers: &[Answer], stand: bool, keys: &Keys, apply: &mut Apply) {
    let (key, text) = (keys.answers(id), answer::stored(answers));
    apply.keep(Piece::Answers(id, Arc::from(text.as_str())));
    if stand {
        apply.then(&Cmd::append(key, text));
    } else {
        apply.set(key, text);
    }
}
