//! New tasks.

use super::{row, write};
use crate::{
    Inserted, Result,
    gather::Batch,
    redis::{
        failure::Outcome,
        json,
        keys::Keys,
        server::{Call, Server, Work},
    },
    stage::{Holder, Key, Passed, key_of},
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
    let stand = ids.iter().map(|id| Cmd::hget(keys.task(*id), row::REVISION));
    let lead = wanted.iter().map(|key| Cmd::hget(keys.idempotency(), field(key)));
    let found: Vec<Option<u64>> = call.ask(stand.chain(lead)).await?;
    let (stand, lead) = found.split_at_checked(ids.len()).unwrap_or_default();
    let mut stage = crate::stage::Stage::default();
    for (id, revision) in ids.iter().zip(stand) {
        if revision.is_some() {
            stage.load(*id, 0, None);
        }
    }
    let lead = wanted.iter().zip(lead).filter_map(|(key, id)| Some((key, (*id)?)));
    let lead = lead.map(|(key, id)| Ok((key.clone(), json::word(&id.to_string())?)));
    let lead = lead.collect::<Outcome<BTreeMap<Key, TaskId>>>()?;
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
    let mut apply = write::write(writes, &row::Tasks::new(), keys, call.now);
    for (key, Passed { to, was }) in passed {
        let question = Cmd::hget(keys.idempotency(), field(&key));
        apply.equals(&question, was.map_or_else(String::new, |id| id.to_string()));
        if let Some(was) = was {
            write::stands(&mut apply, keys, was, holders.get(&was));
        }
        apply.then(&Cmd::hset(keys.idempotency(), field(&key), to.task.get()));
    }
    Ok(Work::of(inserted, apply))
}

/// The field of an idempotency key: owner and key, which may hold anything.
pub(super) fn field(key: &Key) -> String {
    json::written(key)
}

/// Asks to which task an idempotency key leads.
pub(super) fn leads_to(keys: &Keys, key: &Key) -> Cmd {
    Cmd::hget(keys.idempotency(), field(key))
}
