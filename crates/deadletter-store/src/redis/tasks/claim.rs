//! Due tasks become leases, each with the intent of its next attempt.

use super::{
    bearers::Bearers,
    index::{Turn, attempt_of},
    row, write,
};
use crate::{
    Claim, Claimed, Error,
    redis::{
        failure::{Failure, Outcome},
        kept::Piece,
        keys::Keys,
        ready,
        server::{Call, Work},
    },
};
use deadletter_core::{AccountName, Payload, TaskId, UnixMs, WorkerId};
use redis::Cmd;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

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
    let Loaded { loaded, requests } = load(call, &turns, &ids).await?;
    let mut stage = row::stage(&loaded);
    stage.lapse(std::slice::from_ref(&claim.account), claim.now);
    let mut claimed = Vec::with_capacity(turns.len());
    for (turn, token) in turns.iter().zip(&claim.tokens) {
        // A task whose row is lost keeps nobody else from being claimed.
        let Some(loaded) = loaded.get(&turn.id) else { continue };
        if loaded.task.due_at() != Some(turn.due_at) || loaded.task.hold.is_some() {
            // Somebody had it between the two questions: others may wait behind it.
            return Err(Failure::Met);
        }
        if let Some((task, attempt)) = stage.begin(&loaded.task, &claim.worker, *token, claim.now) {
            let stored = requests.get(&turn.id);
            let payload = stored.and_then(|stored| Payload::from_stored(stored).ok());
            claimed.push(Claimed { task, attempt, payload });
        } else if call.is_first {
            // It may be another one than is remembered.
            return Err(Failure::Met);
        }
    }
    let mut apply = write::write(stage.into_writes(), &loaded, Bearers::default(), call);
    for (id, request) in requests {
        apply.keep(Piece::Request(id, request));
    }
    apply.is_there(&alive(keys, &claim.worker));
    let room = (claim.threads as usize).saturating_sub(claimed.len());
    apply.at_most(&lent(keys, &claim.account, claim.now), room);
    Ok(Work::of(claimed, apply))
}

/// Tasks, and what they ask for.
struct Loaded {
    loaded: row::Tasks,
    requests: HashMap<TaskId, Arc<str>>,
}

/// Loads what is not remembered; all of it, where that was of no use.
async fn load(call: &Call, turns: &[Turn], ids: &BTreeSet<TaskId>) -> Outcome<Loaded> {
    let keys = call.keys();
    let kept = if call.is_first { call.kept().of(ids) } else { Vec::new() };
    let (mut loaded, mut requests) = (row::Tasks::new(), HashMap::new());
    for (task, request) in kept {
        requests.extend(request.map(|request| (task.task.id, request)));
        loaded.insert(task.task.id, task);
    }
    let missing: Vec<TaskId> = ids.iter().filter(|id| !loaded.contains_key(id)).copied().collect();
    let asking = turns.iter().map(|turn| turn.id).filter(|id| !requests.contains_key(id));
    let asking: Vec<TaskId> = asking.collect();
    let tasks = (!missing.is_empty()).then(|| row::question(keys, missing));
    let bodies = (!asking.is_empty())
        .then(|| Cmd::mget(asking.iter().map(|id| keys.request(*id)).collect::<Vec<_>>()));
    let is_asked = tasks.is_some();
    let found: Vec<Vec<Option<String>>> = call.ask(tasks.into_iter().chain(bodies)).await?;
    let mut found = found.into_iter();
    if is_asked {
        loaded.append(&mut row::read(found.next().unwrap_or_default())?);
    }
    for (id, body) in asking.into_iter().zip(found.next().unwrap_or_default()) {
        requests.extend(body.map(|body| (id, Arc::from(body))));
    }
    Ok(Loaded { loaded, requests })
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
