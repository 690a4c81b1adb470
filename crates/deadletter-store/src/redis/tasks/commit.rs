//! Changes: facts under an attempt's token, rows under a version.

use super::{
    index::{attempt_of, bearers_of},
    row::{self, Tasks},
    write,
};
use crate::{
    Committed, Result,
    gather::Batch,
    redis::{
        failure::Outcome,
        keys::Keys,
        server::{Call, Server, Work},
    },
};
use async_trait::async_trait;
use deadletter_core::{
    AccountName, AttemptToken, Change, Fact, Learned, Reading, TaskId, UpstreamId,
};
use redis::Cmd;
use secrecy::ExposeSecret;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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

/// A name in an account, and who has it or had it.
type Bearers = BTreeMap<(AccountName, UpstreamId), Vec<(TaskId, AttemptToken)>>;

async fn commit(call: &Call, changes: &[Change]) -> Outcome<Work<Vec<Committed>>> {
    let rows = changes.iter().filter_map(|change| Some(change.row.as_ref()?.after.id));
    let facts = changes.iter().flat_map(|change| change.facts.iter().map(|fact| fact.task));
    let mut loaded = row::load(call, &rows.chain(facts).collect()).await?;
    let bearers = bearers(call, &named(changes, &loaded)).await?;
    let theirs: BTreeSet<TaskId> = bearers.values().flatten().map(|(task, _)| *task).collect();
    let more = theirs.iter().filter(|task| !loaded.contains_key(task)).copied().collect();
    loaded.append(&mut row::load(call, &more).await?);
    let mut stage = row::stage(&loaded);
    let committed = stage.commit(changes);
    let mut apply = write::write(stage.into_writes(), &loaded, call.keys(), call.now);
    // Whoever bears a name now bears it still, and nobody else does.
    for task in &theirs {
        write::stands(&mut apply, call.keys(), *task, loaded.get(task));
    }
    for ((account, id), bearers) in &bearers {
        apply.equals(&count(call.keys(), account, id), bearers.len());
    }
    Ok(Work::of(committed, apply))
}

/// The names by which attempts would be asked for from now on.
fn named(changes: &[Change], loaded: &Tasks) -> BTreeSet<(AccountName, UpstreamId)> {
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

async fn bearers(call: &Call, names: &BTreeSet<(AccountName, UpstreamId)>) -> Outcome<Bearers> {
    let questions = names.iter().map(|(account, id)| {
        let [from, to] = bearers_of(id);
        Cmd::zrangebylex(call.keys().upstream_ids(account), from, to)
    });
    let found: Vec<Vec<String>> = call.ask(questions).await?;
    let found =
        found.iter().map(|members| members.iter().filter_map(|it| attempt_of(it)).collect());
    Ok(names.iter().cloned().zip(found).collect())
}

/// Asks how many attempts bear a name.
pub(super) fn count(keys: &Keys, account: &AccountName, id: &UpstreamId) -> Cmd {
    let [from, to] = bearers_of(id);
    Cmd::zlexcount(keys.upstream_ids(account), from, to)
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
    Ok(Work::of(news, write::write(stage.into_writes(), &loaded, call.keys(), call.now)))
}
