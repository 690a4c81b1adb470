//! Due tasks become leases, each with the intent of its next attempt.

use super::{
    index::{Turn, attempt_of},
    row, write,
};
use crate::{
    Claim, Claimed, Error,
    redis::{
        failure::{Failure, Outcome},
        kept::Field,
        keys::Keys,
        ready,
        server::{Call, Work},
    },
};
use deadletter_core::{AccountName, Payload, TaskId, UnixMs, WorkerId};
use redis::{Cmd, Value};
use std::collections::BTreeSet;

/// Attempts that one call lets lapse at most: the next one goes on.
const LAPSE_LIMIT: isize = 1_000;
/// Ready tasks that are looked at beyond those that are wanted: some may be past their deadline, and
/// are passed over until they are swept.
const SPARE: usize = 16;
/// Looks for more, where all of them were.
const LOOKS: usize = 64;

/// What a claim has found.
struct Found {
    turns: Vec<Turn>,
    lapsed: BTreeSet<TaskId>,
}

/// Takes due tasks of one lane, as the contract of `Tasks::claim` says.
pub(super) async fn claim(call: &Call, claim: &Claim) -> Outcome<Work<Vec<Claimed>>> {
    let keys = call.keys();
    let Found { turns, lapsed } = find(call, claim).await?;
    let ids: BTreeSet<TaskId> =
        turns.iter().map(|turn| turn.id).chain(lapsed.iter().copied()).collect();
    if ids.is_empty() {
        return Ok(Work::of(Vec::new(), super::Apply::default()));
    }
    let questions = ids.iter().map(|id| row::question(keys, *id));
    let requests = turns.iter().map(|turn| Cmd::get(keys.request(turn.id)));
    let found: Vec<Value> = call.ask(questions.chain(requests)).await?;
    let mut hashes = found;
    let requests = hashes.split_off(ids.len());
    let loaded =
        row::read(hashes.into_iter().map(redis::from_redis_value).collect::<Result<_, _>>()?)?;
    let mut stage = row::stage(&loaded);
    stage.lapse(std::slice::from_ref(&claim.account), claim.now);
    let mut claimed = Vec::with_capacity(turns.len());
    let mut bodies = Vec::with_capacity(turns.len());
    for ((turn, request), token) in turns.iter().zip(requests).zip(&claim.tokens) {
        // A task whose row is lost keeps nobody else from being claimed.
        let Some(loaded) = loaded.get(&turn.id) else { continue };
        if loaded.task.due_at() != Some(turn.due_at) || loaded.task.hold.is_some() {
            // Somebody had it between the two questions: others may wait behind it.
            return Err(Failure::Met);
        }
        if let Some((task, attempt)) = stage.begin(&loaded.task, &claim.worker, *token, claim.now) {
            let body: Option<String> = redis::from_redis_value(request).unwrap_or_default();
            let payload = body.as_deref().and_then(|body| Payload::from_stored(body).ok());
            bodies.extend(body.map(|body| (turn.id, body)));
            claimed.push(Claimed { task, attempt, payload });
        }
    }
    let mut apply = write::write(stage.into_writes(), &loaded, keys, call.now);
    bodies.into_iter().for_each(|(id, body)| apply.keep(id, Field::Request, body));
    apply.is_there(&alive(keys, &claim.worker));
    let room = (claim.threads as usize).saturating_sub(claimed.len());
    apply.at_most(&lent(keys, &claim.account, claim.now), room);
    Ok(Work::of(claimed, apply))
}

async fn find(call: &Call, claim: &Claim) -> Outcome<Found> {
    let keys = call.keys();
    let (waiting, ready) =
        (keys.waiting(claim.lane, &claim.account), keys.ready(claim.lane, &claim.account));
    let wanted = claim.tokens.len().min(claim.threads as usize);
    let limit = isize::try_from(wanted + SPARE).unwrap_or(isize::MAX);
    let look = |from: &str| Cmd::zrangebylex_limit(&ready, from, "+", 0, limit);
    let asked = [
        ready::command(&call.line().scripts.ready, &waiting, &ready, claim.now),
        alive(keys, &claim.worker),
        lapsed(keys, &claim.account, claim.now),
        lent(keys, &claim.account, claim.now),
        look("-"),
    ];
    type Answers = (i64, Option<f64>, Vec<String>, usize, Vec<String>);
    let (_, beat, lapsed, lent, mut page): Answers = call.ask(asked).await?;
    must_be_alive(beat, &claim.worker)?;
    let room = (claim.threads as usize).saturating_sub(lent).min(claim.tokens.len());
    let mut turns = Vec::new();
    for _ in 0..LOOKS {
        let is_last = page.len() < wanted + SPARE;
        let claimable = page.iter().filter_map(|member| Turn::read(member));
        turns.extend(claimable.filter(|turn| turn.is_claimable(claim.now)));
        let Some(last) = page.last().filter(|_| !is_last && turns.len() < room) else { break };
        page = call.ask_one(look(&format!("({last}"))).await?;
    }
    turns.truncate(room);
    let lapsed = lapsed.iter().filter_map(|member| attempt_of(member)).map(|(id, _)| id).collect();
    Ok(Found { turns, lapsed })
}

/// Asks for the last beat of a worker that lives.
pub(super) fn alive(keys: &Keys, worker: &WorkerId) -> Cmd {
    Cmd::zscore(keys.living(), worker.as_str())
}

/// `DeclaredDead` where [`alive`] was answered with nothing.
pub(super) fn must_be_alive(beat: Option<f64>, worker: &WorkerId) -> Outcome<()> {
    match beat {
        Some(_) => Ok(()),
        None => Err(Failure::Store(Error::DeclaredDead(worker.clone()))),
    }
}

/// Asks for attempts of an account that have lapsed.
pub(super) fn lapsed(keys: &Keys, account: &AccountName, now: UnixMs) -> Cmd {
    Cmd::zrangebyscore_limit(keys.lapsing(account), "-inf", now.0, 0, LAPSE_LIMIT)
}

/// Asks how many permits of an account are lent, but for those that have lapsed.
fn lent(keys: &Keys, account: &AccountName, now: UnixMs) -> Cmd {
    Cmd::zcount(keys.permits(account), format!("({}", now.0), "+inf")
}
