//! Two workers against one, where each has a limit: what they share must not hold them up.

use super::Server;
use crate::{
    line::{Line, Reach, Unit, middle},
    output::say,
    sample::{Samples, account, answer, token, upstream_id},
    store::{Sizes, rate::Timing},
};
use anyhow::{Context as _, Result};
use deadletter_core::{
    Attempt, Change, Context, Happened, Lane, Policy, Task, Terms, WorkerId, decide,
};
use deadletter_store::{Claim, Store};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// Tasks that a worker has under way at once.
const LIMIT: usize = 50;
/// How long upstream takes for them: shorter than in life, long beside what the store takes.
const UPSTREAM: Duration = Duration::from_millis(400);
/// Lives of the other lines for each turn of a worker, in which it fills its limit once.
const LIVES_A_TURN: usize = 2_000;

pub(super) async fn measure(sizes: &Sizes, server: &dyn Server) -> Result<Line> {
    let mut samples = Samples::new();
    let (mut ratios, mut alone, mut both) = (Vec::new(), Vec::new(), Vec::new());
    let turns = (sizes.lives / LIVES_A_TURN).max(2);
    let mut tokens = 0;
    for n in 1..=sizes.rounds.min(3) {
        let one = round(server, &mut samples, (1, turns), &mut tokens).await?;
        let two = round(server, &mut samples, (2, turns), &mut tokens).await?;
        say(&format!("  round {n}: one {one:.0}/s, two {two:.0}/s"));
        ratios.push(two / one);
        alone.push(one);
        both.push(two);
    }
    let work = "2 workers against 1, each with a limit of its own";
    let note = format!("{:.0}/s, one {:.0}/s", middle(&both), middle(&alone));
    Ok(Line::new(work, Unit::Times, Reach::AtLeast(1.9), ratios, note))
}

/// Lets so many workers do their turns, each on a handle of its own; answers lives a second.
async fn round(
    server: &dyn Server,
    samples: &mut Samples,
    (workers, turns): (usize, usize),
    tokens: &mut u64,
) -> Result<f64> {
    let all = LIMIT * turns * workers;
    server.open("fleet").await?.insert(samples.due(all)).await?;
    let mut stores = Vec::new();
    for n in 0..workers {
        let store = server.open("fleet").await?;
        let worker = WorkerId::new(format!("fleet-{}-{n}", *tokens))?;
        store.register(&worker, "bench").await?;
        stores.push((store, worker));
    }
    let timing = Timing::start(all);
    let mut lives = JoinSet::new();
    for (store, worker) in stores {
        let first = *tokens;
        *tokens += (LIMIT * turns) as u64;
        lives.spawn(work(store, worker, first, turns as u64));
    }
    while let Some(ended) = lives.join_next().await {
        ended??;
    }
    Ok(timing.end().0)
}

/// Turns of one worker: as many tasks as it may have, at upstream all together.
async fn work(store: Arc<dyn Store>, worker: WorkerId, first: u64, turns: u64) -> Result<()> {
    for turn in 0..turns {
        let from = first + turn * LIMIT as u64;
        let claim = Claim {
            account: account(),
            worker: worker.clone(),
            lane: Lane::First,
            tokens: (0..LIMIT as u64).map(|n| token(from + n + 1)).collect(),
            threads: u32::MAX,
            now: store.clock().now(),
        };
        let claimed = store.claim(claim).await?;
        let accepted = claimed.iter().map(|it| {
            let id = upstream_id(&it.attempt);
            follow(&store, &it.task, &it.attempt, &Happened::Accepted(id))
        });
        let accepted: Vec<(Change, Task)> = accepted.collect::<Result<_>>()?;
        let (changes, tasks): (Vec<_>, Vec<_>) = accepted.into_iter().unzip();
        store.commit(changes).await?;
        tokio::time::sleep(UPSTREAM).await;
        let now = store.clock().now();
        let solved = claimed.iter().zip(&tasks).map(|(it, task)| {
            let answer = Happened::Answered(Box::new(answer(&it.attempt, now)));
            Ok(follow(&store, task, &it.attempt, &answer)?.0)
        });
        store.commit(solved.collect::<Result<_>>()?).await?;
    }
    store.leave(&worker).await?;
    Ok(store.close().await?)
}

/// What follows from what happened, and the row as it is then.
fn follow(
    store: &Arc<dyn Store>,
    task: &Task,
    attempt: &Attempt,
    happened: &Happened,
) -> Result<(Change, Task)> {
    let (policy, terms, now) = (&Policy::default(), &Terms::default(), store.clock().now());
    let context = Context { policy, terms, attempt: Some(attempt), now, random: 0.5 };
    let change = decide(task, happened, context).change;
    let after = change.row.as_ref().context("nothing follows")?.after.clone();
    Ok((change, after))
}
