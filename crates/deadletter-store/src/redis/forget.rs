//! What is past its time: tallies, events of purged tasks, workers that are gone.

use super::{
    apply::Apply,
    census, events,
    failure::Outcome,
    server::{Call, Work},
    tasks::counts,
};
use crate::{Forget, Forgotten};
use deadletter_core::{Event, UnixMs, counts::Dim};
use redis::Cmd;

/// One step, as the contract of `Desk::forget` says.
pub(super) async fn forget(call: Call, forget: &Forget) -> Outcome<Work<Forgotten>> {
    let mut apply = Apply::default();
    let (events, next_event) = old_events(&call, forget, &mut apply).await?;
    let workers = old_workers(&call, forget, &mut apply).await?;
    let mut tallies = 0;
    for dim in Dim::ALL {
        tallies += old_tallies(&call, *dim, forget, &mut apply).await?;
    }
    Ok(Work::of(Forgotten { tallies, events, workers, next_event }, apply))
}

/// Events whose tasks are purged. The newest is not among them: its number is where the sequence
/// goes on.
async fn old_events(
    call: &Call,
    forget: &Forget,
    apply: &mut Apply,
) -> Outcome<(u64, Option<u64>)> {
    let (keys, newest) = (call.keys(), events::last(call).await?);
    let old = events::after(call, forget.events_after, forget.limit).await?;
    let is_old = |(n, event): &&(u64, _)| -> bool {
        let event: &Event = event;
        *n < newest && event.at < forget.events_before
    };
    let old: Vec<_> = old.iter().take_while(is_old).collect();
    let standing: Vec<bool> =
        call.ask(old.iter().map(|(_, event)| Cmd::exists(keys.task(event.task)))).await?;
    let gone = old.iter().zip(standing).filter(|(_, stands)| !stands);
    let mut n_gone = 0;
    for ((n, event), _) in gone {
        apply.then(&Cmd::zrembyscore(keys.events(), n, n));
        apply.remove(keys.events_of(), events::member(*n));
        // An id that is free may be given again: its new task's events are another's.
        apply.equals(&Cmd::exists(keys.task(event.task)), 0);
        n_gone += 1;
    }
    let is_full = old.len() == usize::try_from(forget.limit).unwrap_or(usize::MAX);
    let next_event = old.last().filter(|_| is_full).map(|(n, _)| *n);
    Ok((n_gone, next_event))
}

async fn old_workers(call: &Call, forget: &Forget, apply: &mut Apply) -> Outcome<u64> {
    let keys = call.keys();
    let before = format!("({}", forget.workers_before.0);
    let limit = isize::try_from(forget.limit).unwrap_or(isize::MAX);
    let over = Cmd::zrangebyscore_limit(keys.workers_by_end(), "-inf", before, 0, limit);
    let over: Vec<String> = call.ask_one(over).await?;
    for id in &over {
        apply.then(&Cmd::hdel(keys.workers(), id));
        apply.then(&Cmd::zrem(keys.workers_by_start(), id));
        apply.then(&Cmd::zrem(keys.workers_by_end(), id));
    }
    Ok(over.len() as u64)
}

/// Tallies of one dimension, the oldest first.
async fn old_tallies(call: &Call, dim: Dim, forget: &Forget, apply: &mut Apply) -> Outcome<u64> {
    let keys = call.keys();
    let limit = usize::try_from(forget.limit).unwrap_or(usize::MAX);
    let before = format!("({}", forget.tallies_before.0);
    let minutes = Cmd::zrangebyscore_limit(
        keys.minutes(dim),
        "-inf",
        before,
        0,
        limit.try_into().unwrap_or(isize::MAX),
    );
    let minutes: Vec<i64> = call.ask_one(minutes).await?;
    let mut forgotten = 0;
    for minute in minutes {
        let tallies = census::in_minutes(call, dim, &[minute]).await?;
        let left = limit - forgotten;
        if tallies.len() > left {
            let some = tallies.iter().take(left).map(|(tally, _)| counts::tally_field(tally));
            let key = keys.tallies(dim, UnixMs(minute));
            some.for_each(|field| apply.then(&Cmd::hdel(&key, field)));
            return Ok(limit as u64);
        }
        forgotten += tallies.len();
        apply.then(&Cmd::del(keys.tallies(dim, UnixMs(minute))));
        apply.then(&Cmd::zrem(keys.minutes(dim), minute));
    }
    Ok(forgotten as u64)
}
