//! Deletes what is past its time: tallies, events of purged tasks, workers that are gone.

use super::{columns::Columns, failure::Outcome, writer::Session};
use crate::{Forget, Forgotten};
use deadletter_core::{UnixMs, counts::Dim};

pub(super) const TALLIES: &str = "DELETE FROM tallies WHERE (dim, minute, tallied, cause, value) \
     IN (SELECT dim, minute, tallied, cause, value FROM tallies \
         WHERE dim = ? AND minute < ? ORDER BY minute LIMIT ?)";

/// The newest event is not among them: its number is where the sequence goes on.
pub(super) const EVENTS: &str = "SELECT seq, at, \
     EXISTS (SELECT 1 FROM tasks WHERE tasks.id = events.task) FROM events \
     WHERE seq > ? AND seq < (SELECT max(seq) FROM events) ORDER BY seq LIMIT ?";

const WORKERS: &str = "DELETE FROM workers WHERE id IN \
     (SELECT id FROM workers WHERE dead_at < ?1 OR left_at < ?1 LIMIT ?2)";

/// One step, as the contract of `Desk::forget` says.
pub(super) fn forget(session: &mut Session<'_, '_>, forget: &Forget) -> Outcome<Forgotten> {
    let (events, next_event) = forget_events(session, forget)?;
    let mut forgotten = Forgotten { events, next_event, ..Forgotten::default() };
    let mut tallies = session.conn.prepare_cached(TALLIES)?;
    for dim in Dim::ALL {
        let deleted = tallies.execute((dim.label(), forget.tallies_before.0, forget.limit))?;
        forgotten.tallies += u64::try_from(deleted).unwrap_or(u64::MAX);
    }
    let workers =
        session.conn.prepare_cached(WORKERS)?.execute((forget.workers_before.0, forget.limit))?;
    forgotten.workers = u64::try_from(workers).unwrap_or(u64::MAX);
    Ok(forgotten)
}

fn forget_events(session: &Session<'_, '_>, forget: &Forget) -> Outcome<(u64, Option<u64>)> {
    let after = i64::try_from(forget.events_after).unwrap_or(i64::MAX);
    let mut statement = session.conn.prepare_cached(EVENTS)?;
    let rows = statement.query_map((after, forget.limit), |row| {
        let columns = &mut Columns::of(row);
        Ok((columns.number::<u64>()?, columns.instant()?, columns.take::<bool>()?))
    })?;
    let rows = rows.collect::<rusqlite::Result<Vec<(u64, UnixMs, bool)>>>()?;
    let old = rows.iter().take_while(|(_, at, _)| *at < forget.events_before);
    let old: Vec<_> = old.collect();
    let is_full = old.len() == usize::try_from(forget.limit).unwrap_or(usize::MAX);
    let next = old.last().filter(|_| is_full).map(|(seq, ..)| *seq);
    let mut delete = session.conn.prepare_cached("DELETE FROM events WHERE seq = ?")?;
    let mut deleted = 0;
    for (seq, ..) in old.iter().filter(|(.., stands)| !stands) {
        delete.execute([seq.cast_signed()])?;
        deleted += 1;
    }
    Ok((deleted, next))
}
