//! Workers: those that live stand in a set of their own, by their last beat.
//!
//! Whoever claims or takes over has its script look whether its worker stands there, so nobody is
//! declared dead in the middle of a call. A row says what its last change knew; of those that live,
//! the set knows the beat.

use super::{
    apply::Apply,
    failure::Outcome,
    json,
    keys::Keys,
    server::{Call, Work},
};
use crate::{Beat, Error, Worker};
use deadletter_core::{UnixMs, WorkerId};
use redis::Cmd;

/// Deaths that one call declares: a whole fleet, and few enough for one script.
const DEATHS: isize = 1_000;

pub(super) async fn register(call: Call, id: &WorkerId, label: &str) -> Outcome<Work<Beat>> {
    let keys = call.keys();
    let known = Cmd::hexists(keys.workers(), id.as_str());
    let (is_known, living): (bool, u32) =
        call.ask([known.clone(), Cmd::zcard(keys.living())]).await?;
    if is_known {
        return Err(Error::DeclaredDead(id.clone()).into());
    }
    let worker = Worker {
        id: id.clone(),
        started_at: call.now,
        beat_at: call.now,
        dead_at: None,
        left_at: None,
        label: label.to_owned(),
    };
    let mut apply = Apply::default();
    apply.equals(&known, "0");
    write(&mut apply, keys, &worker);
    apply.then(&Cmd::zadd(keys.living(), id.as_str(), call.now.0));
    apply.then(&Cmd::zadd(keys.workers_by_start(), id.as_str(), call.now.0));
    Ok(Work::of(Beat { now: call.now, workers: living.saturating_add(1) }, apply))
}

pub(super) async fn beat(call: Call, id: &WorkerId) -> Outcome<Work<Beat>> {
    let keys = call.keys();
    let alive = beat_of(keys, id);
    let (beat_at, workers): (Option<i64>, u32) =
        call.ask([alive.clone(), Cmd::zcard(keys.living())]).await?;
    if beat_at.is_none() {
        return Err(Error::DeclaredDead(id.clone()).into());
    }
    let mut apply = Apply::default();
    apply.is_there(&alive);
    apply.then(&Cmd::zadd(keys.living(), id.as_str(), call.now.0));
    Ok(Work::quiet(Beat { now: call.now, workers }, apply))
}

pub(super) async fn leave(call: Call, id: &WorkerId) -> Outcome<Work<()>> {
    let keys = call.keys();
    let row = Cmd::hget(keys.workers(), id.as_str());
    let (beat_at, row): (Option<i64>, Option<String>) = call.ask([beat_of(keys, id), row]).await?;
    let mut apply = Apply::default();
    if let (Some(beat_at), Some(row)) = (beat_at, row) {
        let (beat_at, left_at) = (UnixMs(beat_at), Some(call.now));
        end(&mut apply, &call, &Worker { beat_at, left_at, ..json::read(&row)? });
    }
    Ok(Work::of((), apply))
}

pub(super) async fn declare_dead(call: Call, before: UnixMs) -> Outcome<Work<Vec<WorkerId>>> {
    let before = format!("({}", before.0);
    let living = call.keys().living();
    let silent = Cmd::zrangebyscore_limit_withscores(living, "-inf", before, 0, DEATHS);
    let silent: Vec<(String, i64)> = call.ask_one(silent).await?;
    let rows = rows(&call, &silent).await?;
    let mut apply = Apply::default();
    let mut declared = Vec::new();
    for ((_, beat_at), row) in silent.into_iter().zip(rows) {
        let Some(row) = row else { continue };
        let (beat_at, dead_at) = (UnixMs(beat_at), Some(call.now));
        let worker = Worker { beat_at, dead_at, ..json::read(&row)? };
        end(&mut apply, &call, &worker);
        declared.push(worker.id);
    }
    Ok(Work::of(declared, apply))
}

pub(super) async fn newest(call: Call, limit: u32) -> Outcome<Vec<Worker>> {
    let keys = call.keys();
    if limit == 0 {
        return Ok(Vec::new());
    }
    let last = isize::try_from(limit - 1).unwrap_or(isize::MAX);
    let started = Cmd::zrevrange_withscores(keys.workers_by_start(), 0, last);
    let started: Vec<(String, i64)> = call.ask_one(started).await?;
    let beats = started.iter().map(|(id, _)| Cmd::zscore(keys.living(), id));
    let beats: Vec<Option<i64>> = call.ask(beats).await?;
    let rows = rows(&call, &started).await?;
    let workers = rows.into_iter().zip(beats).filter_map(|(row, beat_at)| Some((row?, beat_at)));
    let workers = workers.map(|(row, beat_at)| {
        let worker: Worker = json::read(&row)?;
        let beat_at = beat_at.map_or(worker.beat_at, UnixMs);
        Ok(Worker { beat_at, ..worker })
    });
    workers.collect()
}

/// A worker that was alive a moment ago, at that beat, is gone.
fn end(apply: &mut Apply, call: &Call, worker: &Worker) {
    let (keys, id) = (call.keys(), worker.id.as_str());
    apply.equals(&beat_of(keys, &worker.id), worker.beat_at.0);
    write(apply, keys, worker);
    apply.then(&Cmd::zrem(keys.living(), id));
    apply.then(&Cmd::zadd(keys.workers_by_end(), id, call.now.0));
}

fn write(apply: &mut Apply, keys: &Keys, worker: &Worker) {
    apply.then(&Cmd::hset(keys.workers(), worker.id.as_str(), json::written(worker)));
}

/// When a worker that lives has beaten last.
fn beat_of(keys: &Keys, id: &WorkerId) -> Cmd {
    Cmd::zscore(keys.living(), id.as_str())
}

async fn rows(call: &Call, ids: &[(String, i64)]) -> Outcome<Vec<Option<String>>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = ids.iter().map(|(id, _)| id.as_str()).collect();
    call.ask_one(Cmd::hmget(call.keys().workers(), ids)).await
}
