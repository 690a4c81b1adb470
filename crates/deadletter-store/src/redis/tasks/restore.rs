//! What the server has lost and this handle has kept, put back: a task that is gone as a new one
//! with all that is known of it, into one that stands what it does not have.

use super::{bearers::Bearers, insert, row, write};
use crate::{
    Inserted,
    redis::{
        failure::Outcome,
        kept::KeptTask,
        server::{Call, Work},
    },
};
use deadletter_core::{NewTask, TaskId, UnixMs};
use std::collections::BTreeSet;

/// Puts back tasks that are gone; answers which of them.
pub(in crate::redis) async fn gone(call: &Call, kept: &[KeptTask]) -> Outcome<Work<Vec<TaskId>>> {
    let standing = row::load(call, &ids(kept)).await?;
    let gone = kept.iter().filter(|kept| !standing.contains_key(&kept.id));
    let new = gone.filter_map(|kept| {
        let ((task, past), payload) = (kept.held.as_new()?, kept.request.clone()?);
        Some(NewTask { task, payload, past, is_folded: false })
    });
    let inserted = insert::insert(call, &new.collect::<Vec<_>>()).await?;
    let back = |inserted: Vec<Inserted>| {
        let new = inserted.into_iter().filter_map(|it| match it {
            Inserted::New(id) => Some(id),
            Inserted::Existing(_) | Inserted::IdTaken(_) => None,
        });
        new.collect()
    };
    Ok(inserted.map(back))
}

/// Puts back what tasks that stand do not have; answers which of them stand, and which of these had
/// lost anything.
pub(in crate::redis) async fn behind(
    call: &Call,
    kept: &[KeptTask],
    since: UnixMs,
) -> Outcome<Work<(Vec<TaskId>, Vec<TaskId>)>> {
    let loaded = row::load(call, &ids(kept)).await?;
    let mut stage = row::stage(&loaded);
    let (mut standing, mut behind) = (Vec::new(), Vec::new());
    for kept in kept {
        let Some(stands) = loaded.get(&kept.id) else { continue };
        standing.push(kept.id);
        if stage.put_back(&stands.task, &kept.held, since, call.now) {
            behind.push(kept.id);
        }
    }
    let apply = write::write(stage.into_writes(), &loaded, Bearers::default(), call);
    Ok(Work::of((standing, behind), apply))
}

fn ids(kept: &[KeptTask]) -> BTreeSet<TaskId> {
    kept.iter().map(|kept| kept.id).collect()
}
