//! What nobody alive holds any more goes to a worker that asks for it.

use super::{
    bearers::Bearers,
    claim,
    index::{self, attempt_of, unhex_id},
    row, write,
};
use crate::{
    Error, TakeOver, Taken,
    redis::{
        apply::Apply,
        failure::{Failure, Outcome},
        server::{Call, Work},
    },
    stage::Stage,
};
use deadletter_core::{AccountName, Attempt, AttemptToken, Task, TaskId, WorkerId};
use redis::Cmd;
use std::collections::{BTreeSet, HashSet};

/// An attempt within its task.
type AttemptKey = (TaskId, AttemptToken);

/// Somebody who is gone, or nobody, and an account of which they had something.
type Gone<'t> = (&'t AccountName, String);

/// What is free.
#[derive(Default)]
struct Free {
    /// Leased tasks, in the order in which they are taken over.
    tasks: Vec<TaskId>,
    /// Attempts that no task waits for, oldest first.
    attempts: Vec<AttemptKey>,
    /// Those who have nothing left, and will not come back.
    empty: Vec<(AccountName, String)>,
}

/// Takes over, as the contract of `Tasks::take_over` says.
pub(super) async fn take_over(call: &Call, take: &TakeOver) -> Outcome<Work<Taken>> {
    let (gone, lapsed) = gone(call, take).await?;
    let free = free(call, take, &gone, &lapsed).await?;
    let attempts = free.attempts.iter().map(|(id, _)| *id);
    let ids = free.tasks.iter().copied().chain(attempts).chain(lapsed.iter().map(|(id, _)| *id));
    let loaded = row::load(call, &ids.collect()).await?;
    if !is_still_free(&loaded, &free, &gone) {
        return Err(Failure::Met);
    }
    let mut stage = row::stage(&loaded);
    stage.lapse(&take.accounts, take.now);
    let tasks = free.tasks.iter().filter_map(|id| loaded.get(id)).map(|it| &it.task);
    let taken = adopt(&mut stage, take, tasks, &free.attempts);
    let mut apply = write::write(stage.into_writes(), &loaded, Bearers::default(), call);
    forget(call, &free.empty, &mut apply);
    if !apply.is_empty() {
        apply.is_there(&claim::alive(call.keys(), &take.worker));
    }
    Ok(Work::of(taken, apply))
}

/// True where nobody has taken any of it between the questions.
fn is_still_free(loaded: &row::Tasks, free: &Free, gone: &[Gone<'_>]) -> bool {
    let names: HashSet<&str> = gone.iter().map(|(_, holder)| holder.as_str()).collect();
    let is_gone = |worker: Option<&WorkerId>| names.contains(worker.map_or("", WorkerId::as_str));
    let tasks = free.tasks.iter().filter_map(|id| loaded.get(id)).map(|it| &it.task);
    let attempts = free.attempts.iter().filter_map(|(id, token)| {
        let task = loaded.get(id)?;
        Some((task, task.attempts.iter().find(|attempt| attempt.token == *token)?))
    });
    tasks.into_iter().all(|task| task.kind().is_leased() && is_gone(task.worker.as_ref()))
        && attempts.into_iter().all(|(task, attempt)| {
            task.task.attempt != Some(attempt.token) && is_gone(attempt.worker.as_ref())
        })
}

/// Who is gone and had something, and attempts that have lapsed.
async fn gone<'t>(
    call: &Call,
    take: &'t TakeOver,
) -> Outcome<(Vec<Gone<'t>>, HashSet<AttemptKey>)> {
    let keys = call.keys();
    let holders = take.accounts.iter().map(|account| Cmd::smembers(keys.holders(account)));
    let lapsed = take.accounts.iter().map(|account| claim::lapsed(keys, account, take.now));
    let questions = [Cmd::zrange(keys.living(), 0, -1)].into_iter().chain(holders).chain(lapsed);
    let mut found: Vec<Vec<String>> = call.ask(questions).await?;
    let lapsed = found.split_off(1 + take.accounts.len());
    let holders = found.split_off(1);
    let living: HashSet<String> = found.into_iter().flatten().collect();
    if !living.contains(take.worker.as_str()) {
        return Err(Failure::Store(Error::DeclaredDead(take.worker.clone())));
    }
    let gone = take.accounts.iter().zip(holders).flat_map(|(account, holders)| {
        let gone = holders.into_iter().filter(|holder| !living.contains(holder));
        gone.map(move |holder| (account, holder)).collect::<Vec<_>>()
    });
    let lapsed = lapsed.iter().flatten().filter_map(|member| attempt_of(member)).collect();
    Ok((gone.collect(), lapsed))
}

async fn free(
    call: &Call,
    take: &TakeOver,
    gone: &[Gone<'_>],
    lapsed: &HashSet<AttemptKey>,
) -> Outcome<Free> {
    let keys = call.keys();
    let limit = take.limit as usize;
    let most = |n: usize| isize::try_from(n).unwrap_or(isize::MAX);
    let questions = gone.iter().flat_map(|(account, holder)| {
        let head = index::head_of(holder);
        let leases = |turn| {
            let leases = keys.leases(account, holder);
            Cmd::zrangebyscore_limit(leases, turn, turn, 0, most(limit))
        };
        let [from, to] = index::range_of(&head);
        // Those that lapse with this call are in the way of others.
        let most = most(limit.saturating_add(lapsed.len()));
        let abandoned = Cmd::zrangebylex_limit(keys.abandoned(account), from, to, 0, most);
        [leases(index::POLLING), leases(index::SUBMITTING), abandoned]
    });
    let found: Vec<Vec<String>> = call.ask(questions).await?;
    let mut free = Free::default();
    let (mut polling, mut submitting) = (BTreeSet::new(), BTreeSet::new());
    let mut attempts = BTreeSet::new();
    for ((account, holder), found) in gone.iter().zip(found.chunks(3)) {
        let [polls, submits, abandoned] = found else { continue };
        polling.extend(polls.iter().filter_map(|member| unhex_id(member)));
        submitting.extend(submits.iter().filter_map(|member| unhex_id(member)));
        attempts.extend(abandoned.iter().map(|member| index::abandoned_order(member).to_owned()));
        if found.iter().all(Vec::is_empty) && !holder.is_empty() {
            free.empty.push(((*account).clone(), holder.clone()));
        }
    }
    free.tasks = polling.into_iter().chain(submitting).take(limit).collect();
    let attempts = attempts.iter().filter_map(|order| attempt_of(order));
    free.attempts = attempts.filter(|attempt| !lapsed.contains(attempt)).take(limit).collect();
    Ok(free)
}

fn adopt<'t>(
    stage: &mut Stage,
    take: &TakeOver,
    tasks: impl Iterator<Item = &'t Task>,
    attempts: &[AttemptKey],
) -> Taken {
    let mut taken = Taken::default();
    for task in tasks {
        match stage.adopt(task, &take.worker, take.now) {
            (task, Some(attempt)) => taken.tasks.push((task, attempt)),
            (task, None) => taken.damaged.push(task),
        }
    }
    for (task, token) in attempts {
        if stage.attempt(*task, *token).is_some_and(Attempt::is_open) {
            taken.abandoned.extend(stage.adopt_attempt(*task, *token, &take.worker));
        }
    }
    taken
}

/// Strikes off who is gone and has nothing left, if that is still so.
fn forget(call: &Call, empty: &[(AccountName, String)], apply: &mut Apply) {
    let keys = call.keys();
    for (account, holder) in empty {
        let [from, to] = index::range_of(&index::head_of(holder));
        apply.equals(&Cmd::zcard(keys.leases(account, holder)), 0);
        apply.equals(&Cmd::zlexcount(keys.abandoned(account), &from, &to), 0);
        apply.then(&Cmd::srem(keys.holders(account), holder));
    }
}
