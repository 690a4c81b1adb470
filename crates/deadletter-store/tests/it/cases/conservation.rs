//! Conservation: whatever happens in whatever order, nothing is lost or doubled.

use crate::harness::{Harness, MANY, account, answered, upstream_id};
use deadletter_core::{Attempt, Came, Class, Failure, Happened, Lane, Task, Why, WorkerId};
use deadletter_store::{Claim, Query};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use std::collections::BTreeSet;

/// Threads of the accounts in the walks: few, so that claims are refused often.
const THREADS: u32 = 5;

/// What may happen to a task or one of its attempts, sensible or not.
fn anything(rng: &mut StdRng, h: &Harness, attempt: Option<&Attempt>) -> Happened {
    let class = *Class::ALL.choose(rng).unwrap();
    let failure = Failure::new(["ONE", "TWO", "NETWORK"].choose(rng).unwrap(), class);
    let due_at = h.now().plus(rng.random_range(-50..50));
    match (rng.random_range(0..18), attempt) {
        (0..=2, Some(attempt)) => Happened::Accepted(upstream_id(&attempt.token.to_string())),
        // Whatever else is contradicted here, only a job that was accepted can be answered.
        (3, Some(attempt)) if attempt.upstream_id.is_some() => answered(attempt, "token"),
        (5, _) => Happened::Refused(failure),
        (6, _) => Happened::InDoubt(failure),
        (7, _) => Happened::NotReady { elapsed_ms: 120_000 },
        (4 | 8, _) => Happened::Failed(failure),
        (9, _) => Happened::Withheld { why: Why::Breaker, due_at },
        (11, _) => Happened::Cancelled,
        (10 | 12 | 16 | 17, _) => Happened::Buried,
        (13, _) => Happened::Exhumed { more_submits: 1 },
        (14, _) => Happened::Panicked("boom".to_owned()),
        (_, attempt) => {
            let resume = attempt.filter(|a| a.upstream_id.is_some()).cloned().map(Box::new);
            Happened::Redriven { resume, due_at, keep_deadline: false, force: true }
        }
    }
}

async fn one_step(h: &Harness, rng: &mut StdRng, workers: &mut Vec<WorkerId>) {
    let worker = workers.choose(rng).unwrap().clone();
    let main = account("main");
    let all = Query { limit: 500, ..h.everything() };
    let tasks: Vec<Task> = h.store.page(&all).await.unwrap().tasks;
    match rng.random_range(0..20) {
        0 | 1 => {
            let n = rng.random_range(1..4);
            h.insert_many(n, |i, task| {
                task.priority = i as u8;
                task.hold = (i == 3).then(|| "night".to_owned());
                task.place = (i > 0).then(|| "a.example".to_owned());
            })
            .await;
        }
        2..=6 => {
            let lane = *Lane::ALL.choose(rng).unwrap();
            let claim = Claim { lane, threads: THREADS, ..h.claim_of(&worker, 3) };
            let lent = h.store.permits(&main, h.now()).await.unwrap();
            let got = h.store.claim(claim).await.unwrap().len() as u32;
            assert!(lent + got <= THREADS.max(lent), "{lent} lent and {got} more");
        }
        7 => {
            h.declare_dead(&worker).await;
            workers.retain(|other| *other != worker);
            workers.push(h.worker(&format!("w-{}", h.tokens(1)[0])).await);
            h.take_over(workers.last().unwrap()).await;
        }
        8 => {
            h.take_over(&worker).await;
            let settled = h.take_deliveries(&[], 3).await;
            let came = *[Came::Delivered, Came::Failed, Came::Over].choose(rng).unwrap();
            let settled: Vec<_> =
                settled.iter().map(|it| it.after(came, "", h.now(), rng.random())).collect();
            h.store.settle_deliveries(&settled).await.unwrap();
        }
        9 => drop(h.clock.advance(rng.random_range(0..60_000))),
        10 => {
            let doomed: Vec<_> = tasks.iter().map(|task| (task.id, task.version)).collect();
            let some = rng.random_range(0..=doomed.len() / 4);
            h.store.purge(&doomed[..some]).await.unwrap();
        }
        _ => {
            // Tasks that nobody has claimed yet have little to tell.
            let begun: Vec<_> = tasks.iter().filter(|t| t.counters.attempts > 0).collect();
            let Some(task) = begun.choose(rng) else { return };
            let attempts = h.store.history(task.id).await.unwrap();
            let attempt = if rng.random_bool(0.7) { attempts.last() } else { attempts.choose(rng) };
            let what = anything(rng, h, attempt);
            let change = h.decide(task, attempt, &what);
            // Twice: the second is stale, and its facts are no news.
            h.store.commit(vec![change.clone(), change]).await.unwrap();
        }
    }
}

/// Steps at random, determined by `seed`.
pub(crate) async fn walk(h: &Harness, seed: u64, steps: u32) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut workers = vec![h.worker(&format!("a{seed}")).await];
    workers.push(h.worker(&format!("b{seed}")).await);
    for _ in 0..steps {
        one_step(h, &mut rng, &mut workers).await;
    }
}

pub(crate) async fn a_random_walk_loses_and_doubles_nothing(h: &mut Harness) {
    for seed in 0..4 {
        walk(h, seed, 150).await;
        h.check().await;
    }
    let events = h.store.events(0, MANY).await.unwrap();
    let seen: BTreeSet<_> = events.iter().map(|(_, event)| event.state).collect();
    assert_eq!(seen.len(), 4, "a dull walk: {seen:?}");
    assert!(h.store.totals().await.unwrap().purged > 0, "a dull walk");
}
