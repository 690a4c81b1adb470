//! New tasks.

use super::{keys, write};
use crate::{
    Inserted,
    postgres::{
        columns::Columns,
        failure::Outcome,
        statement::Statement,
        transaction::{Transaction, Work},
    },
    stage::{Key, Stage, key_of},
};
use deadletter_core::NewTask;
use std::collections::BTreeSet;

/// Which ids stand; a purge that is under way is waited for.
const STAND: &str = "SELECT id, version FROM tasks WHERE id = ANY($1) ORDER BY id FOR KEY SHARE";

/// Stores tasks, as the contract of `Tasks::insert` says.
pub(super) async fn insert(tx: &Transaction, tasks: &[NewTask]) -> Outcome<Work<Vec<Inserted>>> {
    let ids: Vec<i64> = tasks.iter().map(|new| new.task.id.as_i64()).collect();
    let wanted: BTreeSet<Key> = tasks.iter().filter_map(|new| key_of(&new.task)).collect();
    let mut asked = vec![Statement::new(STAND).put(ids)];
    if !wanted.is_empty() {
        asked.extend(keys::load(&wanted));
    }
    let found = tx.read_all(&asked).await?;
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
