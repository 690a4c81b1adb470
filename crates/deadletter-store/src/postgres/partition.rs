//! Past attempts in partitions, one for each day on which the ids of their tasks were chosen.
//!
//! A purge leaves an older task's past attempts where they are, and nobody sees them any more (the view
//! `attempts`). When no task of a day stands, its partition is dropped whole; when few do, theirs are
//! carried into a new one first. So what is purged costs no work row by row, and dead letters may
//! stand as long as they like.
//!
//! Partitions are made for today and the days after it by whoever opens the store or forgets. What fits
//! none of them lies in two that stay: `before`, of days before the store was made, and `other`.

use super::{
    columns::Columns,
    failure::Outcome,
    server::Server,
    statement::Statement,
    transaction::{Transaction, Work},
};
use crate::Error;
use deadletter_core::{TaskId, UnixMs};
use std::collections::BTreeMap;

const DAY_MS: i64 = 86_400_000;
/// Partitions are made for so many days beyond today: one day that nobody opens the store or forgets
/// in is no gap.
const AHEAD: i64 = 2;
/// The past attempts of a task whose id is younger are deleted with it: its id may come again at once.
const LEFT_AFTER_MS: i64 = 2 * 3_600_000;
/// ...and ids that are older than this are looked for among what was left. The hour between is for
/// clocks that disagree.
const LOOKED_FOR_AFTER_MS: i64 = 3_600_000;
/// Days that one round looks at: it takes a few of them each hour, so all have their turn.
const DAYS: usize = 32;
/// Tasks whose past attempts are carried over at once: a second's work.
const FEW: i64 = 20_000;
/// What is written anew must be at most this part of what lies there.
const PART: i64 = 4;

/// A lock that others hold for longer is not waited for: who wants to write comes behind us.
const LIMIT: &str = "SET LOCAL lock_timeout = 100";
/// One at a time makes and drops partitions.
const TURN: &str = "SELECT pg_try_advisory_xact_lock( \
     hashtextextended(current_schema() || '/past_attempts', 0))";
/// Partitions by where they end; the last one ends nowhere.
const PARTITIONS: &str = "SELECT c.relname::text, substring( \
       pg_get_expr(c.relpartbound, c.oid) from $$TO \\(''?([0-9]+)$$)::bigint, c.reltuples::bigint \
     FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid \
     WHERE i.inhparent = 'past_attempts'::regclass";
const BEFORE: &str = "past_attempts_before";
const OTHER: &str = "past_attempts_other";
/// Whoever reads or writes past attempts has the lock of the whole first.
const LOCK_ALL: &str = "LOCK TABLE ONLY past_attempts IN ACCESS EXCLUSIVE MODE";

/// Tasks of a day, as far as it matters how many there are.
const STANDING: &str = "SELECT count(*) FROM (SELECT 1 FROM tasks \
     WHERE id >= $1 AND id < $2 LIMIT $3) AS standing";

/// A day of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Day {
    /// The first id of the day.
    from: i64,
    /// The first id behind it.
    to: i64,
    /// Days since 2026 began.
    n: i64,
}

impl Day {
    fn of(now: UnixMs) -> Self {
        let zero = TaskId::try_from(0_u64).map_or(now, TaskId::chosen_at);
        let n = now.since(zero).max(0) / DAY_MS;
        let first_id = |n: i64| TaskId::at(zero.plus(n * DAY_MS), 0).as_i64();
        Self { from: first_id(n), to: first_id(n + 1), n }
    }

    fn name(self) -> String {
        format!("past_attempts_{}", self.n)
    }
}

/// A partition of a day.
struct Standing {
    name: String,
    /// About how many rows are in it; less than 0 where nobody has counted.
    rows: i64,
}

/// The partitions that stand.
#[derive(Default)]
struct Partitions {
    /// Where that of the days before the store was made ends.
    first: Option<i64>,
    /// Those of days, by where they end.
    days: BTreeMap<i64, Standing>,
}

impl Partitions {
    /// The days that are to be there at `now` and are not.
    fn missing(&self, now: UnixMs) -> Vec<Day> {
        let days = (0..=AHEAD).map(|n| Day::of(now.plus(n * DAY_MS)));
        let lacks = |day: &Day| {
            self.first.is_none_or(|first| day.to > first) && !self.days.contains_key(&day.to)
        };
        days.filter(lacks).collect()
    }
}

/// True where a purge may have left attempts of an earlier task with that id.
pub(super) fn may_be_left(id: TaskId, now: UnixMs) -> bool {
    now.since(id.chosen_at()) > LOOKED_FOR_AFTER_MS
}

/// Deletes what purges have left under ids that are given anew.
pub(super) fn forget(ids: Vec<TaskId>) -> Option<Statement> {
    let sql = "DELETE FROM past_attempts WHERE task = ANY($1)";
    (!ids.is_empty()).then(|| Statement::new(sql).put(numbers(&ids)))
}

/// Deletes the past attempts of purged tasks that no drop of a partition takes along.
pub(super) fn purged(tasks: &[TaskId], now: UnixMs) -> Vec<Statement> {
    let is_old = |id: &TaskId| now.since(id.chosen_at()) > LEFT_AFTER_MS;
    let (old, young): (Vec<TaskId>, Vec<TaskId>) = tasks.iter().copied().partition(is_old);
    let mut all = Vec::from_iter(forget(young));
    if !old.is_empty() {
        for table in [BEFORE, OTHER] {
            let sql = format!("DELETE FROM {table} WHERE task = ANY($1)");
            all.push(Statement::new(sql).put(numbers(&old)));
        }
    }
    all
}

fn numbers(ids: &[TaskId]) -> Vec<i64> {
    ids.iter().map(|id| id.as_i64()).collect()
}

/// Makes partitions for the coming days, where they are missing. That it cannot be done now hinders
/// nobody: the rows lie elsewhere then.
pub(super) async fn make(server: &Server) {
    let now = server.clock.now();
    let made = async {
        let found = server.look("look at partitions", |tx| async move { partitions(&tx).await });
        if found.await?.missing(now).is_empty() {
            return Ok(());
        }
        server.transact("make partitions", |tx| make_missing(tx, now)).await
    };
    if let Err(error) = made.await {
        tracing::debug!(%error, "partitions are made another time");
    }
}

/// Drops and thins out partitions of days of which no task stands, or few.
pub(super) async fn tend(server: &Server) {
    make(server).await;
    let now = server.clock.now();
    let tended = async {
        let found = server.look("look at partitions", |tx| async move { partitions(&tx).await });
        let found = found.await?;
        // A day has ended for all clocks when the next one has.
        let ended = found.days.range(..=Day::of(now.plus(-DAY_MS)).from);
        let ended: Vec<(Day, &Standing)> = ended.map(|(to, it)| (day_before(*to), it)).collect();
        let start = usize::try_from(now.0 / 3_600_000).unwrap_or(0) * DAYS;
        let turn = start.checked_rem(ended.len()).unwrap_or(0);
        for (day, standing) in ended.iter().cycle().skip(turn).take(DAYS.min(ended.len())) {
            server.transact("tend partitions", |tx| tend_day(tx, *day, standing)).await?;
        }
        Ok::<(), Error>(())
    };
    if let Err(error) = tended.await {
        tracing::debug!(%error, "partitions are tended another time");
    }
}

fn day_before(to: i64) -> Day {
    let first_behind = TaskId::try_from(to).map_or(UnixMs(i64::MIN), TaskId::chosen_at);
    Day::of(first_behind.plus(-1))
}

async fn partitions(tx: &Transaction) -> Outcome<Partitions> {
    let mut found = Partitions::default();
    for row in tx.read(&Statement::new(PARTITIONS)).await? {
        let columns = &mut Columns::of(&row);
        let (name, to): (String, Option<i64>) = (columns.take()?, columns.take()?);
        let rows = columns.take()?;
        match to {
            Some(to) if name == BEFORE => found.first = Some(to),
            Some(to) => drop(found.days.insert(to, Standing { name, rows })),
            None => {}
        }
    }
    Ok(found)
}

async fn make_missing(tx: Transaction, now: UnixMs) -> Outcome<Work<()>> {
    if !begin(&tx).await? {
        return Ok(Work::quiet(()));
    }
    let found = partitions(&tx).await?;
    if found.first.is_none() {
        attach(&tx, BEFORE, &format!("FROM (MINVALUE) TO ({})", Day::of(now).from)).await?;
    }
    for day in found.missing(now) {
        // A table of its own first, and then a part of the whole, which takes a weak lock there.
        create(&tx, &day.name()).await?;
        attach(&tx, &day.name(), &format!("FROM ({}) TO ({})", day.from, day.to)).await?;
    }
    Ok(Work::quiet(()))
}

async fn create(tx: &Transaction, name: &str) -> Outcome<()> {
    let sql = format!("CREATE TABLE {name} (LIKE past_attempts INCLUDING ALL)");
    tx.read(&Statement::new(sql)).await.map(drop)
}

async fn attach(tx: &Transaction, name: &str, range: &str) -> Outcome<()> {
    let sql = format!("ALTER TABLE past_attempts ATTACH PARTITION {name} FOR VALUES {range}");
    tx.read(&Statement::new(sql)).await.map(drop)
}

/// True where it is our turn.
async fn begin(tx: &Transaction) -> Outcome<bool> {
    tx.read(&Statement::new(LIMIT)).await?;
    let rows = tx.read(&Statement::new(TURN)).await?;
    rows.first().map_or(Ok(false), |row| Columns::of(row).take())
}

async fn count(tx: &Transaction, day: Day, limit: i64) -> Outcome<i64> {
    let asked = Statement::new(STANDING).put(day.from).put(day.to).put(limit);
    let rows = tx.read(&asked).await?;
    rows.first().map_or(Ok(0), |row| Columns::of(row).take())
}

async fn tend_day(tx: Transaction, day: Day, standing: &Standing) -> Outcome<Work<()>> {
    let few = (standing.rows / PART).clamp(0, FEW);
    match count(&tx, day, few + 1).await? {
        0 if begin(&tx).await? => {
            tx.read(&Statement::new(LOCK_ALL)).await?;
            // Who has brought a task of that day since then has waited for us, or is seen now.
            if count(&tx, day, 1).await? == 0 {
                let sql = format!("DROP TABLE {}", standing.name);
                tx.read(&Statement::new(sql)).await?;
            }
        }
        n if n > 0 && n <= few && begin(&tx).await? => thin(&tx, day, &standing.name).await?,
        _ => {}
    }
    Ok(Work::quiet(()))
}

/// Writes what belongs to tasks that stand anew, and drops the rest. Nobody writes there meanwhile.
async fn thin(tx: &Transaction, day: Day, name: &str) -> Outcome<()> {
    let (Day { from, to, .. }, new) = (day, format!("{name}_new"));
    tx.read(&Statement::new(format!("LOCK TABLE {name} IN SHARE MODE"))).await?;
    create(tx, &new).await?;
    for sql in [
        format!(
            "INSERT INTO {new} SELECT a.* FROM tasks AS t JOIN {name} AS a ON a.task = t.id \
             WHERE t.id >= {from} AND t.id < {to}"
        ),
        format!("ANALYZE {new}"),
        LOCK_ALL.to_owned(),
        format!("DROP TABLE {name}"),
        format!("ALTER TABLE {new} RENAME TO {name}"),
    ] {
        tx.read(&Statement::new(sql)).await?;
    }
    attach(tx, name, &format!("FROM ({from}) TO ({to})")).await
}
