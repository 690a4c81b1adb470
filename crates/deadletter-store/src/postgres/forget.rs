//! Deletes what is past its time: tallies, events of purged tasks, workers that are gone.

use super::{
    columns::{Columns, bigint},
    failure::Outcome,
    registry::one,
    statement::Statement,
    transaction::{Transaction, Work},
};
use crate::{Forget, Forgotten};
use deadletter_core::{UnixMs, counts::Dim};

/// A tally is one, in however many slots it is kept.
const TALLIES: &str = "WITH old AS (SELECT DISTINCT dim, minute, tallied, cause, value \
       FROM tallies WHERE dim = $1 AND minute < $2 ORDER BY minute, tallied, cause, value LIMIT $3), \
     gone AS (DELETE FROM tallies AS t USING old WHERE t.dim = old.dim AND t.minute = old.minute \
       AND t.tallied = old.tallied AND t.cause = old.cause AND t.value = old.value) \
     SELECT count(*) FROM old";

/// The newest event is not among them: its number is where the sequence goes on.
const EVENTS: &str = "SELECT seq, at, \
     EXISTS (SELECT 1 FROM tasks WHERE tasks.id = events.task) FROM events \
     WHERE seq > $1 AND seq < (SELECT max(seq) FROM events) ORDER BY seq LIMIT $2";

const DROP_EVENTS: &str = "DELETE FROM events WHERE seq = ANY($1)";

const WORKERS: &str = "WITH gone AS (DELETE FROM workers WHERE id IN \
     (SELECT id FROM workers WHERE dead_at < $1 OR left_at < $1 ORDER BY id LIMIT $2) \
     RETURNING 1) SELECT count(*) FROM gone";

/// Marks of connections that are long gone. One that writes again meanwhile keeps its mark.
const MARKS: &str = "DELETE FROM marks WHERE at < $1 AND connection IN \
     (SELECT connection FROM marks WHERE at < $1 ORDER BY connection LIMIT $2)";

/// Counts of what nothing stands for any more: a value that was purged leaves a row in each slot, and
/// their sum is zero. Rows are locked before they are added up, so that what goes is zero whatever
/// others add meanwhile; a row that is in use is left out, and goes another time.
const FOLD: &str = "WITH zero AS (SELECT dim, place, cause, class, value FROM standing \
       GROUP BY dim, place, cause, class, value HAVING sum(n) = 0 \
       ORDER BY dim, place, cause, class, value LIMIT $1), \
     held AS MATERIALIZED (SELECT s.* FROM zero JOIN standing AS s \
       USING (dim, place, cause, class, value) \
       ORDER BY s.dim, s.place, s.cause, s.class, s.value, s.slot FOR UPDATE OF s SKIP LOCKED), \
     gone AS (SELECT dim, place, cause, class, value FROM held \
       GROUP BY dim, place, cause, class, value HAVING sum(n) = 0) \
     DELETE FROM standing AS s USING held, gone WHERE (gone.dim, gone.place, gone.cause, gone.class, \
       gone.value) = (held.dim, held.place, held.cause, held.class, held.value) \
       AND (s.dim, s.place, s.cause, s.class, s.value, s.slot) \
         = (held.dim, held.place, held.cause, held.class, held.value, held.slot)";

/// Deletes counts of nothing and old marks, in a transaction of its own: counts are locked before all
/// else that `forget` touches.
pub(super) async fn fold(tx: Transaction, forget: &Forget) -> Outcome<Work<()>> {
    let limit = i64::from(forget.limit);
    let counts = Statement::new(FOLD).put(limit);
    tx.read_all(&[counts, Statement::new(MARKS).put(forget.workers_before.0).put(limit)]).await?;
    Ok(Work::quiet(()))
}

/// One step, as the contract of `Desk::forget` says.
pub(super) async fn forget(tx: Transaction, forget: &Forget) -> Outcome<Work<Forgotten>> {
    let limit = i64::from(forget.limit);
    let mut questions = vec![
        Statement::new(EVENTS).put(bigint(forget.events_after)).put(limit),
        Statement::new(WORKERS).put(forget.workers_before.0).put(limit),
    ];
    questions.extend(Dim::ALL.iter().map(|dim| {
        Statement::new(TALLIES).text(dim.label()).put(forget.tallies_before.0).put(limit)
    }));
    let answers = tx.read_all(&questions).await?;
    let mut answers = answers.iter();
    let mut forgotten = Forgotten::default();
    let mut old = Vec::new();
    for row in answers.next().into_iter().flatten() {
        let columns = &mut Columns::of(row);
        let event = (columns.number::<u64>()?, columns.instant()?, columns.take::<bool>()?);
        if event.1 >= forget.events_before {
            break;
        }
        old.push(event);
    }
    if let Some(workers) = answers.next() {
        forgotten.workers = one(workers, |columns| columns.number())?;
    }
    for tallies in answers {
        forgotten.tallies += one(tallies, |columns| columns.number::<u64>())?;
    }
    forgotten.next_event = next_event(&old, forget.limit);
    let gone: Vec<i64> = old.iter().filter(|it| !it.2).map(|(seq, ..)| bigint(*seq)).collect();
    forgotten.events = u64::try_from(gone.len()).unwrap_or(u64::MAX);
    let is_news = forgotten.tallies + forgotten.workers > 0;
    let writes = match gone.is_empty() {
        true if is_news => return Ok(Work::done(forgotten)),
        true => Vec::new(),
        false => vec![Statement::new(DROP_EVENTS).put(gone)],
    };
    Ok(Work::of(forgotten, writes))
}

/// Where the next step goes on: behind a step that was full.
fn next_event(old: &[(u64, UnixMs, bool)], limit: u32) -> Option<u64> {
    let is_full = old.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    old.last().filter(|_| is_full).map(|(seq, ..)| *seq)
}
