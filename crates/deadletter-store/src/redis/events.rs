//! Events in their sequence, and what is on record of one task.

use super::{
    failure::Outcome,
    items,
    json::{self, misfit},
    server::Call,
};
use crate::{Sequenced, Trail};
use deadletter_core::{Event, TaskId};
use redis::Cmd;

/// An entry of the stream: its id, and its one field with the event.
type Entry = (String, Vec<String>);

/// The number of the newest event; 0 where there is none.
pub(super) async fn last(call: &Call) -> Outcome<u64> {
    let last: Option<u64> = call.ask_one(Cmd::hget(call.keys().meta(), "events")).await?;
    Ok(last.unwrap_or(0))
}

pub(super) async fn after(call: &Call, after: u64, limit: u32) -> Outcome<Vec<Sequenced>> {
    let mut newer = redis::cmd("XRANGE");
    newer.arg(call.keys().events()).arg(format!("({after}-0")).arg("+").arg("COUNT").arg(limit);
    let newer: Vec<Entry> = call.ask_one(newer).await?;
    newer.into_iter().map(read).collect()
}

/// What is on record of a task beside its attempts.
pub(super) async fn trail(call: &Call, id: TaskId, limit: u32) -> Outcome<Trail> {
    let keys = call.keys();
    let limit = isize::try_from(limit).unwrap_or(isize::MAX);
    let numbers = Cmd::zrangebyscore_limit(keys.events_of(), id.get(), id.get(), 0, limit);
    let (numbers, fields): (Vec<u64>, Vec<(String, String)>) =
        call.ask([numbers, Cmd::hgetall(keys.task(id))]).await?;
    let events = numbers.iter().map(|n| {
        let mut one = redis::cmd("XRANGE");
        one.arg(keys.events()).arg(format!("{n}-0")).arg(format!("{n}-0")).take()
    });
    let events: Vec<Vec<Entry>> = call.ask(events).await?;
    let events = events.into_iter().flatten().map(read).collect::<Outcome<_>>()?;
    let mut items = items::of_task(id, &fields)?;
    items.truncate(limit.unsigned_abs());
    Ok(Trail { events, items })
}

/// An event among those of all tasks.
pub(super) fn member(n: u64) -> String {
    format!("{n:016}")
}

fn read((id, fields): Entry) -> Outcome<Sequenced> {
    let n = id.split_once('-').and_then(|(n, _)| n.parse().ok());
    let event: Option<Event> = fields.get(1).map(|event| json::read(event)).transpose()?;
    n.zip(event).ok_or_else(|| misfit("an event"))
}
