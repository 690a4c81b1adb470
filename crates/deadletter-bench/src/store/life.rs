//! Whole lives of tasks, so many in flight at once, each step durable before the next.
//!
//! ```text
//! each of 256: insert its task ──▶ dispatcher: claim as many as wait ──▶ accepted ──▶ solved ──▶ next
//! ```

use super::{Sizes, open, rate::Timing};
use crate::{
    line::{Line, Reach, Unit},
    output::{data, say},
    sample::{Samples, account, answer, token, upstream_id, worker},
};
use anyhow::{Context as _, Result, ensure};
use deadletter_core::{
    Attempt, Context, Happened, Lane, NewTask, Policy, Task, TaskId, Terms, WorkerId, decide,
};
use deadletter_store::{Claim, Claimed, Committed, Store};
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

/// Tasks under way at once.
const IN_FLIGHT: usize = 256;

pub(super) async fn measure(sizes: &Sizes, directory: &Path) -> Result<Vec<Line>> {
    let sqlite = open(&directory.join("life.db")).await?;
    let store: Arc<dyn Store> = sqlite.clone();
    store.register(&worker(), "bench").await?;
    let mut samples = Samples::new();
    let mut lived = live(&store, &worker(), samples.due(sizes.lives / 10), 0).await?.1;
    let mut rates = Vec::with_capacity(sizes.rounds);
    for n in 1..=sizes.rounds {
        let (rate, more) = live(&store, &worker(), samples.due(sizes.lives), lived).await?;
        lived += more;
        say(&format!("  round {n}: {rate:.0} lives/s"));
        rates.push(rate);
    }
    let totals = store.totals().await?;
    ensure!(totals.solved == i64::try_from(lived)?, "{lived} lived, and {totals:?}");
    store.close().await?;
    let work = "full life cycle (insert, claim with intent, accepted, solved), 256 in flight";
    let written = sqlite.written();
    let shared = written.requests as f64 / written.transactions.max(1) as f64;
    let note = format!("{shared:.0} calls share a flush");
    Ok(vec![Line::new(work, Unit::PerSecond, Reach::AtLeast(10_000.0), rates, note)])
}

/// Lives until it is killed, and says each time that so many have lived.
pub(super) async fn churn(path: &Path, at_once: usize) -> Result<()> {
    let store: Arc<dyn Store> = open(path).await?;
    let worker = WorkerId::new(format!("churn-{}", std::process::id()))?;
    store.register(&worker, "bench").await?;
    let (mut samples, mut lived) = (Samples::new(), 0);
    loop {
        lived += live(&store, &worker, samples.due(at_once), lived).await?.1;
        data(&lived.to_string())?;
    }
}

/// Lets all of `tasks` live; answers how many a second, and how many.
pub(crate) async fn live(
    store: &Arc<dyn Store>,
    worker: &WorkerId,
    tasks: Vec<NewTask>,
    lived: u64,
) -> Result<(f64, u64)> {
    let n = tasks.len();
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let desk = Arc::new(Lives {
        store: Arc::clone(store),
        worker: worker.clone(),
        waiting: Mutex::default(),
        left: Mutex::new(tasks),
    });
    let timing = Timing::start(n);
    // It ends when the last life has.
    let dispatcher = tokio::spawn(dispatch(Arc::clone(&desk), receiver, lived));
    let mut lives = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        lives.spawn(live_on(Arc::clone(&desk), sender.clone()));
    }
    drop(sender);
    while let Some(ended) = lives.join_next().await {
        ended??;
    }
    dispatcher.await??;
    Ok((timing.end().0, u64::try_from(n)?))
}

/// What the lives share.
struct Lives {
    store: Arc<dyn Store>,
    worker: WorkerId,
    /// Guards who waits for the claim of which task.
    waiting: Mutex<HashMap<TaskId, oneshot::Sender<Claimed>>>,
    /// Guards the tasks that have not begun.
    left: Mutex<Vec<NewTask>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One life after the other, until no task is left.
async fn live_on(lives: Arc<Lives>, dispatcher: mpsc::Sender<()>) -> Result<()> {
    loop {
        let Some(new) = lock(&lives.left).pop() else { return Ok(()) };
        let (reply, claimed) = oneshot::channel();
        lock(&lives.waiting).insert(new.task.id, reply);
        lives.store.insert(vec![new]).await?;
        dispatcher.send(()).await.context("the dispatcher is gone")?;
        let Claimed { task, attempt, .. } = claimed.await.context("the dispatcher gave up")?;
        let accepted = Happened::Accepted(upstream_id(&attempt));
        let task = report(&lives.store, &task, &attempt, &accepted).await?;
        let now = lives.store.clock().now();
        let answered = Happened::Answered(Box::new(answer(&attempt, now)));
        report(&lives.store, &task, &attempt, &answered).await?;
    }
}

/// Makes durable what follows from what happened; answers the row as it is then.
async fn report(
    store: &Arc<dyn Store>,
    task: &Task,
    attempt: &Attempt,
    happened: &Happened,
) -> Result<Task> {
    let (policy, terms, now) = (&Policy::default(), &Terms::default(), store.clock().now());
    let context = Context { policy, terms, attempt: Some(attempt), now, random: 0.5 };
    let change = decide(task, happened, context).change;
    let after = change.row.as_ref().context("nothing follows")?.after.clone();
    let committed = store.commit(vec![change]).await?;
    ensure!(committed == [Committed::Applied], "task {} was changed by another", task.id);
    Ok(after)
}

/// Claims as many tasks as wait, for as long as any may come.
async fn dispatch(lives: Arc<Lives>, mut woken: mpsc::Receiver<()>, lived: u64) -> Result<()> {
    let (mut tokens, mut wakes) = (lived, Vec::new());
    while woken.recv_many(&mut wakes, IN_FLIGHT).await > 0 {
        let mut due = wakes.len();
        wakes.clear();
        while due > 0 {
            let claim = Claim {
                account: account(),
                worker: lives.worker.clone(),
                lane: Lane::First,
                tokens: (0..due as u64).map(|n| token(tokens + n + 1)).collect(),
                // Lives that were killed have left their permits behind.
                threads: u32::MAX,
                now: lives.store.clock().now(),
            };
            tokens += due as u64;
            let claimed = lives.store.claim(claim).await?;
            due -= claimed.len();
            let mut waiting = lock(&lives.waiting);
            for claimed in claimed {
                let reply = waiting.remove(&claimed.task.id).context("a task that is not ours")?;
                reply.send(claimed).ok();
            }
        }
    }
    Ok(())
}
