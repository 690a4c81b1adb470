//! Letters into the store: each inserted where nobody may claim it, then laid to rest.

use super::Tally;
use crate::{
    fault::{Fault, Result},
    letter::{HOLD, Restored},
    shelf::{Shelf, fault},
};
use deadletter::{
    core::{Change, Task, TaskId, UnixMs},
    store::Inserted,
};

/// Tries to find an id that is free.
const ID_TRIES: u32 = 64;

/// Inserts one batch, and lays it to rest.
pub(super) async fn insert(
    shelf: &Shelf,
    batch: Vec<Restored>,
    ids: &mut Ids,
    tally: &mut Tally,
) -> Result<()> {
    let mut open = batch;
    let mut resting: Vec<(Restored, TaskId, bool)> = Vec::new();
    for _ in 0..ID_TRIES {
        let tasks: std::result::Result<_, _> = open.iter().map(Restored::to_insert).collect();
        // The check has put aside what is larger.
        let tasks = tasks.map_err(|error| Fault::failed("a letter is too large").because(error))?;
        let inserted = shelf.store.insert(tasks).await.map_err(fault)?;
        let mut taken = Vec::new();
        for (restored, outcome) in open.into_iter().zip(inserted) {
            match outcome {
                Inserted::New(id) => resting.push((restored, id, true)),
                Inserted::Existing(id) => resting.push((restored, id, false)),
                Inserted::IdTaken(id) => {
                    if is_same(&restored.rests, task(shelf, id).await?.as_ref()) {
                        resting.push((restored, id, false));
                    } else {
                        taken.push(restored.with_id(ids.spare()));
                    }
                }
            }
        }
        if taken.is_empty() {
            return rest(shelf, resting, tally).await;
        }
        open = taken;
    }
    Err(Fault::failed(format!("no free task id was found in {ID_TRIES} tries"))
        .fix("is the clock right? What was imported stays; import the file again"))
}

async fn rest(
    shelf: &Shelf,
    resting: Vec<(Restored, TaskId, bool)>,
    tally: &mut Tally,
) -> Result<()> {
    let ids: Vec<TaskId> = resting.iter().map(|(_, id, _)| *id).collect();
    let rows = shelf.store.get(&ids).await.map_err(fault)?;
    let mut changes = Vec::new();
    for ((restored, _, is_new), row) in resting.iter().zip(rows) {
        // A row that is still held by an import was left there by one that did not end.
        let unfinished = row.filter(|row| row.hold.as_deref() == Some(HOLD));
        let change = unfinished.and_then(|row| restored.to_rest(&row));
        tally.imported += u64::from(*is_new || change.is_some());
        tally.duplicates += u64::from(!is_new && change.is_none());
        tally.masked += u64::from(restored.is_masked && change.is_some());
        changes.extend(change.map(|row| Change { facts: Vec::new(), row: Some(Box::new(row)) }));
    }
    // Stale means that somebody else was faster with the same step.
    shelf.store.commit(changes).await.map_err(fault)?;
    Ok(())
}

async fn task(shelf: &Shelf, id: TaskId) -> Result<Option<Task>> {
    Ok(shelf.store.get(&[id]).await.map_err(fault)?.pop().flatten())
}

/// True where a stored task is the one that a letter tells of.
fn is_same(letter: &Task, stored: Option<&Task>) -> bool {
    stored.is_some_and(|stored| {
        stored.created_at == letter.created_at && stored.dimensions == letter.dimensions
    })
}

/// Ids for letters that bring none.
pub(super) struct Ids {
    now: UnixMs,
    next: u64,
}

impl Ids {
    /// From `now` downwards.
    pub(super) const fn from(now: UnixMs) -> Self {
        Self { now, next: 0 }
    }

    /// One that nobody else has, with near certainty.
    pub(super) fn spare(&mut self) -> TaskId {
        self.next += 1;
        // 4,096 ids fit a millisecond; older ones are free with near certainty.
        let back = i64::try_from(self.next / 4_096).unwrap_or(0);
        TaskId::at(self.now.plus(-back), self.next)
    }
}
