//! New tasks.

use super::{
    bearers::{self, Bearers},
    row, write,
};
use crate::{
    Inserted, Result,
    gather::Batch,
    redis::{
        failure::Outcome,
        json,
        server::{Call, Server, Work},
    },
    stage::{Holder, Key, Passed, Stage, key_of},
};
use async_trait::async_trait;
use deadletter_core::{NewTask, TaskId, UnixMs};
use redis::Cmd;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Inserts of many callers, as the contract of `Tasks::insert` says.
pub(in crate::redis) struct Inserts;

#[async_trait]
impl Batch for Inserts {
    type Item = NewTask;
    type Answer = Inserted;
    type Server = Server;

    fn bytes(new: &NewTask) -> usize {
        new.payload.stored_bytes()
    }

    async fn run(server: &Arc<Server>, tasks: &[NewTask]) -> Result<Vec<Inserted>> {
        let call = |call| async move { insert(&call, tasks).await };
        server.transact_with_others("insert tasks", call).await
    }
}

pub(super) async fn insert(call: &Call, tasks: &[NewTask]) -> Outcome<Work<Vec<Inserted>>> {
    let keys = call.keys();
    let wanted: BTreeSet<Key> = tasks.iter().filter_map(|new| key_of(&new.task)).collect();
    let ids: BTreeSet<TaskId> = tasks.iter().map(|new| new.task.id).collect();
    let past = tasks.iter().flat_map(|new| bearers::names_of(&new.past.attempts)).collect();
    let bearers = Bearers::load(call, past).await?;
    let mut stage = Stage::default();
    // An id is chosen anew for each task: that it stands is found by the check, but for once.
    if !call.is_first {
        for id in row::load(call, &ids).await?.into_keys() {
            stage.load(id, 0, None);
        }
    }
    let lead = leads_to(call, &wanted).await?;
    let lead = wanted.iter().cloned().zip(lead).filter_map(|(key, id)| Some((key, id?)));
    let lead: BTreeMap<Key, TaskId> = lead.collect();
    let holders = row::load(call, &lead.values().copied().collect()).await?;
    for (key, id) in &lead {
        // A key whose task is gone keeps nobody out.
        let gone = Holder { task: *id, expires_at: Some(UnixMs(i64::MIN)), is_open: false };
        let holder = holders.get(id).map_or(gone, |holder| Holder::of(&holder.task));
        stage.load_key(key.clone(), holder);
    }
    let inserted = stage.insert(tasks);
    let writes = stage.into_writes();
    let passed: Vec<(Key, Passed)> = writes.keys.clone().into_iter().collect();
    // What stands by now was refused: all that is written is new.
    let mut apply = write::write(writes, &row::Tasks::new(), bearers, call);
    for (key, Passed { to, was }) in passed {
        let was_to = was.map_or_else(String::new, |id| id.to_string());
        apply.holds(keys.idempotency(), field(&key), was_to);
        if let Some(was) = was {
            row::stands(&mut apply, keys, was, holders.get(&was).map(Arc::as_ref));
        }
        apply.put(keys.idempotency(), field(&key), to.task.get());
    }
    Ok(Work::of(inserted, apply))
}

/// The field of an idempotency key: owner and key, which may hold anything.
pub(super) fn field(key: &Key) -> String {
    json::written(key)
}

/// To which tasks idempotency keys lead, one answer each.
pub(super) async fn leads_to<'k>(
    call: &Call,
    wanted: impl IntoIterator<Item = &'k Key>,
) -> Outcome<Vec<Option<TaskId>>> {
    let fields: Vec<String> = wanted.into_iter().map(field).collect();
    if fields.is_empty() {
        return Ok(Vec::new());
    }
    let question = Cmd::hmget(call.keys().idempotency(), fields);
    let found: Vec<Option<String>> = call.ask_one(question).await?;
    found.into_iter().map(|id| id.map(|id| json::word(&id)).transpose()).collect()
}
