//! From jobs to stored tasks: what a new row says, and an id that nobody else has.

use crate::{
    Error, Job, Result, Submitted, account::Account, delivery::Target, fold, holds, shared::Shared,
};
use deadletter_core::{NewTask, Task, TaskId};
use deadletter_store::Inserted;
use secrecy::ExposeSecret;
use std::sync::atomic::Ordering;

/// Tries to find ids that nobody else has chosen in the same millisecond.
const ID_TRIES: u32 = 16;

/// Inserts one batch; an id that is taken is chosen anew.
pub(crate) async fn insert(shared: &Shared, jobs: Vec<Job>) -> Result<Vec<Submitted>> {
    let mut tasks = Vec::with_capacity(jobs.len());
    let holds = shared.holds.copy();
    for job in jobs {
        let account = shared.account(job.account.as_ref().unwrap_or(&shared.first_account))?;
        account.turns.read(shared, &account.name).await?;
        let mut new = new_task(shared, account, job).await?;
        holds.mark(&mut new.task, shared.now());
        tasks.push(new);
    }
    let mut outcomes: Vec<Option<Submitted>> = vec![None; tasks.len()];
    let mut open: Vec<(usize, NewTask)> = tasks.into_iter().enumerate().collect();
    for _ in 0..ID_TRIES {
        let batch = open.iter().map(|(_, task)| task.clone()).collect();
        let inserted = shared.store.insert(batch).await?;
        let mut taken = Vec::new();
        for ((place, mut task), outcome) in open.into_iter().zip(inserted) {
            let submitted = match outcome {
                Inserted::New(id) => Submitted { id, is_new: true },
                Inserted::Existing(id) => Submitted { id, is_new: false },
                Inserted::IdTaken(_) => {
                    task.task.id = next_id(shared);
                    taken.push((place, task));
                    continue;
                }
            };
            if let Some(slot) = outcomes.get_mut(place) {
                *slot = Some(submitted);
            }
        }
        if taken.is_empty() {
            let submitted: Vec<Submitted> = outcomes.into_iter().flatten().collect();
            let new: Vec<TaskId> =
                submitted.iter().filter(|it| it.is_new).map(|it| it.id).collect();
            // They are stored: that is not undone where this fails.
            if let Err(error) = holds::look_after(shared, &holds, &new).await {
                tracing::warn!(%error, "new tasks may have slipped through a hold");
            }
            return Ok(submitted);
        }
        open = taken;
    }
    Err(Error::NoFreeId(ID_TRIES))
}

async fn new_task(shared: &Shared, account: &Account, job: Job) -> Result<NewTask> {
    let now = shared.now();
    let deadline_at = job.deadline_at(now);
    let folds_for_ms = job.folds_for_ms.filter(|_| job.idempotency.is_none());
    let (idempotency_key, life_ms) = match folds_for_ms {
        Some(ms) => (Some(fold::key(shared, &job.payload).await?), Some(Some(ms))),
        None => job.idempotency.unzip(),
    };
    let mut dimensions = account.provider.dimensions(&job.payload);
    dimensions.batch = job.batch;
    dimensions.tags = job.tags;
    let target = Target::of(&job.payload).filter(|_| job.is_told);
    let guard = shared.courier.guard();
    let place = target.map(|target| guard.place(target.url.expose_secret())).transpose()?;
    let task = Task {
        priority: job.priority,
        turn: account.turns.next(job.owner.as_deref(), job.priority),
        deadline_at,
        proxies: account.provider.proxies(&job.payload),
        owner: job.owner,
        idempotency_key,
        idempotency_expires_at: life_ms.flatten().map(|ms| now.plus(ms)),
        place,
        dimensions,
        ..Task::queued(next_id(shared), account.name.clone(), &account.policy, now)
    };
    Ok(NewTask { is_folded: folds_for_ms.is_some(), ..NewTask::new(task, job.payload)? })
}

/// Ids grow within a process; others' choices in the same millisecond are met by the insert.
fn next_id(shared: &Shared) -> TaskId {
    let wanted = TaskId::at(shared.now(), shared.random_u64());
    let grown = |last: u64| wanted.get().max(last + 1);
    let last = &shared.last_id;
    let before = last.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(grown(last)));
    TaskId::try_from(grown(before.unwrap_or_default())).unwrap_or(wanted)
}
