//! Tasks deleted with all that is theirs, and tasks frozen as items of an operation.

use super::{
    bearers::{self, Bearers},
    counts,
    index::Entries,
    insert,
    row::{self, Loaded},
};
use crate::{
    Freeze, Frozen, Item,
    redis::{
        apply::Apply,
        deliveries,
        failure::Outcome,
        items,
        kept::Piece,
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
    let leads = insert::leads_to(&call, keyed.iter().map(|(_, key)| key)).await?;
    let borne = purged.iter().flat_map(|task| bearers::names_of(&task.attempts)).collect();
    let mut bearers = Bearers::load(&call, borne).await?;
    let mut apply = Apply::default();
    for (task, documents) in purged.iter().zip(named) {
        delete(&mut apply, keys, task, &documents, &mut bearers);
    }
    bearers.write(keys, &mut apply);
    for ((task, key), leads_to) in keyed.iter().zip(leads) {
        if leads_to == Some(task.task.id) {
            apply.holds(keys.idempotency(), insert::field(key), task.task.id.get());
            apply.drop(keys.idempotency(), insert::field(key));
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

fn delete(
    apply: &mut Apply,
    keys: &Keys,
    gone: &Loaded,
    documents: &[String],
    bearers: &mut Bearers,
) {
    let id = gone.task.id;
    row::stands(apply, keys, id, Some(gone));
    let before = Entries::of(&gone.task, &gone.attempts);
    Entries::default().replace(&before, keys, gone.task.updated_at, bearers, apply);
    for (operation, item) in &gone.items {
        items::count(apply, keys, operation, Some(item), None);
    }
    deliveries::dropped(apply, keys, &gone.deliveries);
    for key in [keys.task(id), keys.request(id), keys.answers(id)] {
        apply.then(&Cmd::del(key));
    }
    apply.keep(Piece::Deleted(id));
    let [from, to] = documents_of(id);
    apply.equals(&Cmd::zlexcount(keys.document_names(), from, to), documents.len());
    for name in documents {
        apply.drop(keys.document_versions(), name);
        apply.drop(keys.document_bodies(), name);
        apply.remove(keys.document_names(), name);
    }
}

/// Freezes the tasks of a page, at the versions at which they were seen.
pub(in crate::redis) async fn freeze(call: Call, freeze: &Freeze) -> Outcome<Work<Frozen>> {
    let keys = call.keys();
    let page = page::page(&call, &freeze.query).await?;
    let loaded = row::load(&call, &page.tasks.iter().map(|task| task.id).collect()).await?;
    let mut apply = Apply::default();
    let mut frozen = Frozen { added: 0, next: page.next };
    for task in &page.tasks {
        // A task that is an item already, or gone.
        let Some(before) = loaded.get(&task.id) else { continue };
        if before.items.contains_key(&freeze.operation) {
            continue;
        }
        let item = Item { task: task.id, version: task.version, state: ItemState::Pending };
        let mut after = Loaded { mark: call.mark(), ..Loaded::clone(before) };
        after.items.insert(freeze.operation.clone(), item);
        row::write(&mut apply, keys, Some(before), after);
        items::count(&mut apply, keys, &freeze.operation, None, Some(&item));
        frozen.added += 1;
    }
    Ok(Work::of(frozen, apply))
}
