//! What a million dead letters cost those who work beside them: nothing, if the indexes are right.

use super::{Sizes, killed, open, rate::elapsed_ms};
use crate::{
    line::{Line, Reach, Unit, middle},
    output::say,
    sample::{Samples, account, answer, death_of, sitekey, token, upstream_id, worker},
};
use anyhow::{Result, ensure};
use deadletter_core::{Change, Fact, Lane, Learned, RowChange, StateKind, Step, counts::Dim};
use deadletter_store::{Claim, Claimed, Query, Store, clock::Stopwatch};
use std::{path::Path, sync::Arc};

/// Dead letters per insert while the store is filled.
const FILL_BATCH: usize = 2_000;
/// Tasks of one claim, and of one page.
const HUNDRED: usize = 100;
/// More rows than any count has.
const ALL_ROWS: u32 = 1_000_000;

/// A store with the samples that go into it.
pub(crate) struct Side {
    store: Arc<dyn Store>,
    samples: Samples,
    claimed: u64,
}

pub(super) async fn measure(sizes: &Sizes, directory: &Path) -> Result<Vec<Line>> {
    let path = directory.join("standing.db");
    let mut full = Side::of(open(&path).await?).await?;
    let mut empty = Side::of(open(&directory.join("empty.db")).await?).await?;
    full.fill(sizes.dead).await?;
    let mut lines = beside(sizes, &mut full, &mut empty).await?;
    lines.push(page(sizes, &full).await?);
    lines.extend(counts(sizes, &full, 30.0).await?);
    full.store.close().await?;
    empty.store.close().await?;
    lines.push(opened(sizes, &path).await?);
    lines.extend(killed::measure(sizes, &path).await?);
    Ok(lines)
}

impl Side {
    pub(crate) async fn of(store: Arc<dyn Store>) -> Result<Self> {
        store.register(&worker(), "bench").await?;
        Ok(Self { store, samples: Samples::new(), claimed: 0 })
    }

    /// Lets `n` dead letters stand in it.
    pub(crate) async fn fill(&mut self, n: usize) -> Result<()> {
        let watch = Stopwatch::start();
        let mut left = n;
        while left > 0 {
            let batch = left.min(FILL_BATCH);
            self.store.insert(self.samples.dead(batch)).await?;
            left -= batch;
        }
        say(&format!("  {n} dead letters stand, after {:.0} s", elapsed_ms(&watch) / 1e3));
        Ok(())
    }

    /// Inserts a hundred tasks, claims and solves them; answers how long insert and claim took.
    async fn round(&mut self) -> Result<(f64, f64)> {
        let tasks = self.samples.due(HUNDRED);
        let watch = Stopwatch::start();
        self.store.insert(tasks).await?;
        let insert_ms = elapsed_ms(&watch);
        let now = self.store.clock().now();
        let claim = Claim {
            account: account(),
            worker: worker(),
            lane: Lane::First,
            tokens: (1..=HUNDRED as u64).map(|n| token(self.claimed + n)).collect(),
            threads: ALL_ROWS,
            now,
        };
        self.claimed += HUNDRED as u64;
        let watch = Stopwatch::start();
        let claimed = self.store.claim(claim).await?;
        let claim_ms = elapsed_ms(&watch);
        ensure!(claimed.len() == HUNDRED, "only {} were claimed", claimed.len());
        self.store.commit(claimed.iter().flat_map(solve).collect()).await?;
        Ok((insert_ms, claim_ms))
    }
}

/// Solves what was claimed, so that each round begins alike.
fn solve(claimed: &Claimed) -> Vec<Change> {
    let Claimed { task, attempt, .. } = claimed;
    let at = task.updated_at;
    let fact = |learned| Fact { task: task.id, token: attempt.token, at, learned };
    let id = upstream_id(attempt);
    let facts = vec![
        fact(Learned::Accepted(id.clone())),
        fact(Learned::Answered(Box::new(answer(attempt, at)))),
    ];
    let polling = RowChange::by(task, &Step::Accept { upstream_id: id }, at, |_| {});
    let polled = polling.as_ref().map_or(task, |row| &row.after);
    let solved =
        RowChange::by(polled, &Step::Solve, at, |after| after.answered_by = Some(attempt.token));
    let row = |row: Option<RowChange>| row.map(Box::new);
    vec![Change { facts: Vec::new(), row: row(polling) }, Change { facts, row: row(solved) }]
}

/// Insert and claim beside the dead, against a store without them.
pub(crate) async fn beside(sizes: &Sizes, full: &mut Side, empty: &mut Side) -> Result<Vec<Line>> {
    let (mut inserts, mut claims) = (Vec::new(), Vec::new());
    let (mut full_ms, mut empty_ms) = (Vec::new(), Vec::new());
    for n in 0..sizes.looks {
        // In turn, so that neither always finds the disk as the other left it.
        let (one, other) = if n % 2 == 0 {
            let other = empty.round().await?;
            (full.round().await?, other)
        } else {
            let one = full.round().await?;
            (one, empty.round().await?)
        };
        inserts.push(one.0 / other.0);
        claims.push(one.1 / other.1);
        full_ms.push(one);
        empty_ms.push(other);
    }
    let ms = |of: fn(&(f64, f64)) -> f64| {
        let middle_of = |all: &[(f64, f64)]| middle(&all.iter().map(of).collect::<Vec<_>>());
        let shown = |n| Unit::Ms.show(n);
        format!("{}, empty {}", shown(middle_of(&full_ms)), shown(middle_of(&empty_ms)))
    };
    let reach = Reach::AtMost(1.2);
    Ok(vec![
        Line::new(
            "claim of 100 beside the dead, against an empty store",
            Unit::Times,
            reach,
            claims,
            ms(|both| both.1),
        ),
        Line::new(
            "insert of 100 beside the dead, against an empty store",
            Unit::Times,
            reach,
            inserts,
            ms(|both| both.0),
        ),
    ])
}

async fn page(sizes: &Sizes, full: &Side) -> Result<Line> {
    let mut rounds = Vec::with_capacity(sizes.looks);
    for n in 0..sizes.looks as u64 {
        // Far apart from each other.
        let one = 1 + n * 7_919 % sizes.dead as u64;
        let filter = format!("state:dead cause:{} sitekey:{}", death_of(one).0, sitekey(one));
        let query = Query {
            filter: filter.parse()?,
            now: full.store.clock().now(),
            newest_first: true,
            after: None,
            limit: u32::try_from(HUNDRED)?,
            scan_limit: 10_000,
        };
        let watch = Stopwatch::start();
        let page = full.store.page(&query).await?;
        rounds.push(elapsed_ms(&watch));
        ensure!(!page.tasks.is_empty(), "nothing matches {filter}");
    }
    let work = "page of 100 dead by cause and site key";
    Ok(Line::new(work, Unit::Ms, Reach::AtMost(2.0), rounds, dead(sizes)))
}

/// What is standing where, within so many milliseconds.
pub(crate) async fn counts(sizes: &Sizes, full: &Side, at_most_ms: f64) -> Result<Vec<Line>> {
    let (mut by_cause, mut by_both, mut rows) = (Vec::new(), Vec::new(), (0, 0));
    for _ in 0..sizes.looks {
        let watch = Stopwatch::start();
        rows.0 = full.store.census(&[StateKind::Dead], Dim::All, ALL_ROWS).await?.len();
        by_cause.push(elapsed_ms(&watch));
        let watch = Stopwatch::start();
        rows.1 = full.store.census(&[StateKind::Dead], Dim::Sitekey, ALL_ROWS).await?.len();
        by_both.push(elapsed_ms(&watch));
    }
    let line = |work, rounds, rows| {
        let note = format!("{rows} rows; {}", dead(sizes));
        Line::new(work, Unit::Ms, Reach::AtMost(at_most_ms), rounds, note)
    };
    Ok(vec![
        line("counts of the dead by cause", by_cause, rows.0),
        line("counts of the dead by site key and cause", by_both, rows.1),
    ])
}

async fn opened(sizes: &Sizes, path: &Path) -> Result<Line> {
    let mut rounds = Vec::with_capacity(sizes.looks);
    for _ in 0..sizes.looks {
        let watch = Stopwatch::start();
        let store = open(path).await?;
        rounds.push(elapsed_ms(&watch));
        store.close().await?;
    }
    Ok(Line::new("open beside the dead", Unit::Ms, Reach::AtMost(10.0), rounds, dead(sizes)))
}

fn dead(sizes: &Sizes) -> String {
    format!("{} dead", sizes.dead)
}
