//! Tasks deleted with all that is theirs, and tasks frozen as items of an operation.

use super::{
    counts,
    index::Entries,
    insert,
    row::{self, Loaded},
    write,
};
use crate::{
    Freeze, Frozen, Item,
    redis::{
        apply::Apply,
        deliveries,
        failure::Outcome,
        items,
        keys::Keys,
        page,
        server::{Call, Work},
    },
    requests::document_of,
    stage::key_of,
};
use deadletter_core::{ItemState, TaskId};
use redis::Cmd;
use std::collections::BTreeMap;

/// Deletes tasks, as the contract of `Desk::purge` says.
pub(in crate::redis) async fn purge(call: Call, tasks: &[(TaskId, u64)]) -> Outcome<Work<u64>> {
    let keys = call.keys();
    let versions: BTreeMap<TaskId, u64> = tasks.iter().copied().collect();
    let loaded = row::load(&call, &versions.keys().copied().collect()).await?;
    let mut stage = row::stage(&loaded);
    let mut purged = Vec::new();
    for (id, loaded) in &loaded {
        let version = versions.get(id).copied().unwrap_or_default();
        if stage.purge(&loaded.task, version, call.now) {
            purged.push(loaded);
        }
    }
    let named = purged.iter().map(|task| names_of(keys, task.task.id));
    let named: Vec<Vec<String>> = call.ask(named).await?;
    let keyed: Vec<_> = purged.iter().filter_map(|it| Some((it, key_of(&it.task)?))).collect();
    let leads = keyed.iter().map(|(_, key)| insert::leads_to(keys, key));
    let leads: Vec<Option<u64>> = call.ask(leads).await?;
    let mut apply = Apply::default();
    for (task, documents) in purged.iter().zip(named) {
        delete(&mut apply, keys, task, &documents);
    }
    for ((task, key), leads_to) in keyed.iter().zip(leads) {
        if leads_to == Some(task.task.id.get()) {
            apply.equals(&insert::leads_to(keys, key), task.task.id.get());
            apply.then(&Cmd::hdel(keys.idempotency(), insert::field(key)));
        }
    }
    counts::add(&stage.into_writes().counts, keys, &mut apply);
    Ok(Work::of(purged.len() as u64, apply))
}

/// Asks for the names of a task's documents.
fn names_of(keys: &Keys, id: TaskId) -> Cmd {
    let [from, to] = documents_of(id);
    Cmd::zrangebylex(keys.document_names(), from, to)
}

/// The names of a task's documents, as a range of texts: behind a slash comes a zero.
fn documents_of(id: TaskId) -> [String; 2] {
    let head = document_of(id, "");
    [format!("[{head}"), format!("({}0", head.trim_end_matches('/'))]
}

fn delete(apply: &mut Apply, keys: &Keys, gone: &Loaded, documents: &[String]) {
    let id = gone.task.id;
    write::stands(apply, keys, id, Some(gone));
    let before = Entries::of(keys, &gone.task, &gone.attempts);
    Entries::default().replace(&before, keys, gone.task.updated_at, apply);
    for (operation, item) in &gone.items {
        write::count_item(apply, keys, operation, Some(item), None);
    }
    deliveries::dropped(apply, keys, &gone.deliveries);
    for key in [keys.task(id), keys.request(id), keys.answers(id)] {
        apply.then(&Cmd::del(key));
    }
    apply.forget(id);
    let [from, to] = documents_of(id);
    apply.equals(&Cmd::zlexcount(keys.document_names(), from, to), documents.len());
    for name in documents {
        apply.then(&Cmd::hdel(keys.document_versions(), name));
        apply.then(&Cmd::hdel(keys.document_bodies(), name));
        apply.remove(keys.document_names(), name);
    }
}

/// Freezes the tasks of a page, at the versions at which they were seen.
pub(in crate::redis) async fn freeze(call: Call, freeze: &Freeze) -> Outcome<Work<Frozen>> {
    let keys = call.keys();
    let page = page::page(&call, &freeze.query).await?;
    let field = items::field(&freeze.operation);
    let rows = page
        .tasks
        .iter()
        .map(|task| Cmd::hmget(keys.task(task.id), &[row::REVISION.to_owned(), field.clone()]));
    let rows: Vec<(Option<u64>, Option<String>)> = call.ask(rows).await?;
    let mut apply = Apply::default();
    let mut frozen = Frozen { added: 0, next: page.next };
    for (task, row) in page.tasks.iter().zip(rows) {
        // A task that is an item already, or gone.
        let (Some(revision), None) = row else { continue };
        let item = Item { task: task.id, version: task.version, state: ItemState::Pending };
        let key = keys.task(task.id);
        apply.equals(&Cmd::hget(&key, row::REVISION), revision);
        let raised = (row::REVISION, (revision + 1).to_string());
        apply.then(&Cmd::hset_multiple(&key, &[raised, (&field, items::written(&item))]));
        write::count_item(&mut apply, keys, &freeze.operation, None, Some(&item));
        frozen.added += 1;
    }
    Ok(Work::of(frozen, apply))
}
