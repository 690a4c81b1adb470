//! New tasks.

use super::{keys, write};
use crate::{
    Inserted, Result,
    gather::Batch,
    postgres::{
        columns::Columns,
        failure::Outcome,
        server::Server,
        statement::Statement,
        transaction::{Transaction, Work},
    },
    stage::{Key, Stage, key_of},
};
use async_trait::async_trait;
use deadletter_core::NewTask;
use std::{collections::BTreeSet, sync::Arc};

/// Which ids stand; a purge that is under way is waited for.
const STAND: &str = "SELECT id, version FROM tasks WHERE id = ANY($1) ORDER BY id FOR KEY SHARE";

/// Inserts of many callers, as the contract of `Tasks::insert` says.
pub(in crate::postgres) struct Inserts;

#[async_trait]
impl Batch for Inserts {
    type Item = NewTask;
    type Answer = Inserted;
    type Server = Server;

    fn bytes(new: &NewTask) -> usize {
        new.payload.stored_bytes()
    }

    async fn run(server: &Arc<Server>, tasks: &[NewTask]) -> Result<Vec<Inserted>> {
        server.transact("insert tasks", |tx| async move { insert(&tx, tasks).await }).await
    }
}

async fn insert(tx: &Transaction, tasks: &[NewTask]) -> Outcome<Work<Vec<Inserted>>> {
    let found = tx.read_all(&questions(tasks)).await?;
    let mut stage = Stage::default();
    for row in found.first().into_iter().flatten() {
        let columns = &mut Columns::of(row);
        stage.load(columns.number()?, columns.number()?, None);
    }
    for row in found.get(2).into_iter().flatten() {
        let (key, holder) = keys::read(row)?;
        stage.load_key(key, holder);
    }
    let inserted = stage.insert(tasks);
    Ok(Work::of(inserted, write::statements(stage.into_writes(), tx.slot, tx.now)))
}

/// Which ids stand, and who holds the keys.
fn questions(tasks: &[NewTask]) -> Vec<Statement> {
    let ids: Vec<i64> = tasks.iter().map(|new| new.task.id.as_i64()).collect();
    let wanted: BTreeSet<Key> = tasks.iter().filter_map(|new| key_of(&new.task)).collect();
    let mut asked = vec![Statement::new(STAND).put(ids)];
    if !wanted.is_empty() {
        asked.extend(keys::load(&wanted));
    }
    asked
}
