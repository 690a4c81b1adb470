//! Changes: facts under an attempt's token, rows under a version.

use super::{
    bearers::{Bearers, Name},
    row::{self, Tasks},
    write,
};
use crate::{
    Committed, Result,
    gather::Batch,
    redis::{
        failure::{Failure, Outcome},
        server::{Call, Server, Work},
    },
};
use async_trait::async_trait;
use deadletter_core::{Change, Fact, Learned, Reading, TaskId};
use secrecy::ExposeSecret;
use std::{collections::BTreeSet, sync::Arc};

/// Commits of many callers, as the contract of `Tasks::commit` says.
pub(in crate::redis) struct Commits;

#[async_trait]
impl Batch for Commits {
    type Item = Change;
    type Answer = Committed;
    type Server = Server;

    fn bytes(change: &Change) -> usize {
        let answer = |fact: &Fact| match &fact.learned {
            Learned::Answered(answer) => answer.raw.expose_secret().len(),
            _ => 0,
        };
        change.facts.iter().map(answer).sum()
    }

    async fn run(server: &Arc<Server>, changes: &[Change]) -> Result<Vec<Committed>> {
        server.transact("commit changes", |call| async move { commit(&call, changes).await }).await
    }
}

async fn commit(call: &Call, changes: &[Change]) -> Outcome<Work<Vec<Committed>>> {
    let (loaded, bearers) =
        if call.is_first { expected(call, changes).await? } else { found(call, changes).await? };
    let mut stage = row::stage(&loaded);
    let committed = stage.commit(changes);
    let mut apply = write::write(stage.into_writes(), &loaded, bearers, call);
    // What was decided by these is right only while they stand so.
    for (id, loaded) in &loaded {
        row::stands(&mut apply, call.keys(), *id, Some(loaded));
    }
    let is_plain = committed.iter().all(|it| *it == Committed::Applied) && !apply.is_empty();
    if call.is_first && !is_plain {
        // Nobody is told so by what is only remembered, or guessed.
        return Err(Failure::Met);
    }
    Ok(Work::of(committed, apply))
}

fn ids_of(changes: &[Change]) -> BTreeSet<TaskId> {
    let rows = changes.iter().filter_map(|change| Some(change.row.as_ref()?.after.id));
    let facts = changes.iter().flat_map(|change| change.facts.iter().map(|fact| fact.task));
    rows.chain(facts).collect()
}

/// What the changes concern as it is if nobody else has changed it: tasks as this handle wrote them,
/// and names that nobody else bears.
async fn expected(call: &Call, changes: &[Change]) -> Outcome<(Tasks, Bearers)> {
    let mut missing = ids_of(changes);
    let kept = call.kept().of(&missing).into_iter();
    let mut loaded: Tasks = kept.map(|(task, _)| (task.task.id, task)).collect();
    missing.retain(|id| !loaded.contains_key(id));
    loaded.append(&mut row::load(call, &missing).await?);
    let bearers = Bearers::guess(named(changes, &loaded), loaded.values().map(Arc::as_ref));
    Ok((loaded, bearers))
}

/// What the changes concern, as it stands.
async fn found(call: &Call, changes: &[Change]) -> Outcome<(Tasks, Bearers)> {
    let mut loaded = row::load(call, &ids_of(changes)).await?;
    let bearers = Bearers::load(call, named(changes, &loaded)).await?;
    let theirs = bearers.tasks().into_iter().filter(|task| !loaded.contains_key(task)).collect();
    loaded.append(&mut row::load(call, &theirs).await?);
    Ok((loaded, bearers))
}

/// The names by which attempts would be asked for from now on.
fn named(changes: &[Change], loaded: &Tasks) -> BTreeSet<Name> {
    let naming = changes.iter().flat_map(Change::naming);
    let names = naming.filter_map(|fact| {
        let attempts = &loaded.get(&fact.task)?.attempts;
        let attempt = attempts.iter().find(|attempt| attempt.token == fact.token)?;
        let id = match &fact.learned {
            Learned::Accepted(id) => Some(id),
            _ => attempt.upstream_id.as_ref(),
        };
        Some((attempt.account.clone(), id?.clone()))
    });
    names.collect()
}

/// Notes which verdicts were told; answers how many of them were news.
pub(super) async fn mark_read(call: &Call, readings: &[Reading]) -> Outcome<Work<u64>> {
    let loaded = row::load(call, &readings.iter().map(|reading| reading.task).collect()).await?;
    let mut stage = row::stage(&loaded);
    let mut news = 0;
    for reading in readings {
        let task = loaded.get(&reading.task);
        news += u64::from(task.is_some_and(|it| stage.mark_read(&it.task, reading)));
    }
    let apply = write::write(stage.into_writes(), &loaded, Bearers::default(), call);
    Ok(Work::of(news, apply))
}
