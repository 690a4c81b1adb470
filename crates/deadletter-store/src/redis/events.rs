//! Events in their sequence, and what is on record of one task.

use super::{
    failure::Outcome,
    json::{self, misfit},
    server::Call,
    tasks::row,
};
use crate::{Seen, Sequenced, Trail};
use deadletter_core::TaskId;
use redis::Cmd;

/// Digits of a number, within the members of both sets.
const DIGITS: usize = 16;

/// The number of the newest event; 0 where there is none.
pub(super) async fn last(call: &Call) -> Outcome<u64> {
    let last: Option<u64> = call.ask_one(Cmd::hget(call.keys().meta(), "events")).await?;
    Ok(last.unwrap_or(0))
}

pub(super) async fn after(call: &Call, after: u64, limit: u32) -> Outcome<Vec<Sequenced>> {
    let limit = isize::try_from(limit).unwrap_or(isize::MAX);
    let newer =
        Cmd::zrangebyscore_limit(call.keys().events(), format!("({after}"), "+inf", 0, limit);
    let newer: Vec<String> = call.ask_one(newer).await?;
    newer.iter().map(|event| read(event)).collect()
}

/// What is on record of a task beside its attempts.
pub(super) async fn trail(call: &Call, id: TaskId, seen: &Seen, limit: u32) -> Outcome<Trail> {
    let keys = call.keys();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // Members of one score cannot be asked for from one of them on: numbers are small, and all come.
    let numbers = Cmd::zrangebyscore(keys.events_of(), id.get(), id.get());
    let numbers: Vec<u64> = call.ask_one(numbers).await?;
    let page = numbers.iter().filter(|n| **n > seen.event).take(limit);
    let events: Vec<Vec<String>> =
        call.ask(page.map(|n| Cmd::zrangebyscore(keys.events(), n, n))).await?;
    let events = events.iter().flatten().map(|event| read(event)).collect::<Outcome<_>>()?;
    let task = row::load(call, &[id].into()).await?.remove(&id);
    let items = task.map(|task| task.items.clone()).unwrap_or_default().into_iter();
    let items = items.filter(|(operation, _)| Some(operation) > seen.operation.as_ref());
    Ok(Trail { events, items: items.take(limit).collect() })
}

/// An event among those of all tasks.
pub(super) fn member(n: u64) -> String {
    format!("{n:0DIGITS$}")
}

fn read(stored: &str) -> Outcome<Sequenced> {
    let (n, event) = stored.split_at_checked(DIGITS).ok_or_else(|| misfit("an event"))?;
    Ok((json::word(n)?, json::read(event)?))
}
