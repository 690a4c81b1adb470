//! Bulk acts that send nothing: bury, exhume, cancel, hold, release, purge; whom they fit, and one
//! step of them.
//!
//! An item is settled in the transaction that changes its task, and a purge deletes both at once:
//! whoever dies in the middle, the next one goes on with what is pending.

use crate::{
    Error, Result,
    operation::{self, End, Operation, OperationState},
    patience::patiently,
    shared::{Shared, shared_error},
};
use deadletter_core::{
    Context, Happened, OperationId, Policy, StateKind, Task, TaskId, Terms, decide,
};
use deadletter_store::{Committed, Store};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

/// Tasks of one step: one transaction of the store, short enough for others to get in between.
const STEP: u32 = 500;
/// A task without a worker here is changed by few others, so a few tries are plenty.
const TRIES: u32 = 8;

/// What an operation does to its tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Brings dead letters back.
    #[default]
    Redrive,
    /// Gives dead letters up for good.
    Bury,
    /// Makes buried tasks dead letters again.
    Exhume {
        /// Submits that each may spend from now on, beyond what it has spent; 0 leaves K as it is.
        more_submits: u32,
    },
    /// Stops tasks; a late answer is kept, unused.
    Cancel,
    /// Keeps waiting tasks from being claimed, and dead letters from being redriven.
    Hold,
    /// Ends the holds that were set by hand.
    Release,
    /// Deletes tasks that are at rest.
    Purge,
}

impl Act {
    /// The word that is stored and shown.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Bury => "bury",
            Self::Exhume { .. } => "exhume",
            Self::Cancel => "cancel",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Purge => "purge",
        }
    }

    /// The states of the tasks that it fits.
    #[must_use]
    pub const fn fits(self) -> &'static [StateKind] {
        match self {
            Self::Redrive | Self::Bury => &[StateKind::Dead],
            Self::Exhume { .. } => &[StateKind::Buried],
            Self::Cancel => {
                &[StateKind::Queued, StateKind::Submitting, StateKind::Polling, StateKind::Dead]
            }
            Self::Hold | Self::Release => &[StateKind::Queued, StateKind::Dead],
            Self::Purge => {
                &[StateKind::Solved, StateKind::Dead, StateKind::Buried, StateKind::Cancelled]
            }
        }
    }

    /// True for a task that it would change.
    #[must_use]
    pub fn fits_task(self, task: &Task) -> bool {
        let fits_hold = match self {
            Self::Hold => task.may_be_held(),
            Self::Release => task.is_held_by_hand(),
            _ => true,
        };
        fits_hold && self.fits().contains(&task.kind())
    }

    /// What happens to each task, as the core knows it; nothing where that is not a change of it.
    const fn happened(self) -> Option<Happened> {
        match self {
            Self::Bury => Some(Happened::Buried),
            Self::Exhume { more_submits } => Some(Happened::Exhumed { more_submits }),
            Self::Cancel => Some(Happened::Cancelled),
            Self::Hold => Some(Happened::Held),
            Self::Release => Some(Happened::Released),
            Self::Redrive | Self::Purge => None,
        }
    }
}

/// Why a task of an operation was left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// It has changed since it was chosen: somebody else works on it, or it is gone.
    Changed,
    /// The act does not fit its state.
    Unfit,
    /// An attempt of it may still be answered, and counts against the account's threads.
    Open,
    /// Its account is not one of the worker's that ran the operation.
    NoAccount,
    /// It is held: it may not be sent as it stands, or not now.
    Held,
    /// All its submits are spent.
    Spent,
    /// Its reason says that the same request fails again.
    Hopeless,
    /// Nobody would get its answer.
    NobodyWaits,
}

impl Skip {
    /// The word that is stored and shown.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unfit => "unfit",
            Self::Open => "open",
            Self::NoAccount => "no_account",
            Self::Held => "held",
            Self::Spent => "spent",
            Self::Hopeless => "hopeless",
            Self::NobodyWaits => "nobody_waits",
        }
    }

    /// For people, after a number.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Changed => "changed since they were chosen",
            Self::Unfit => "in a state that it does not fit",
            Self::Open => "with an attempt that may still be answered; try again in a few minutes",
            Self::NoAccount => "of an account that was not configured there",
            Self::Held => "held: by hand (deadletter release), or since their secrets are masked",
            Self::Spent => "without a submit left (bury, then exhume --submits)",
            Self::Hopeless => "whose request fails again as it is (--force)",
            Self::NobodyWaits => "for whose answers nobody waits (--out, or --for-nobody)",
        }
    }
}

/// Acts on a batch of frozen tasks; ends the operation where none is left.
pub(crate) async fn step(shared: &Arc<Shared>, known: &Operation) -> Result<()> {
    let store = shared.store.as_ref();
    let items = patiently(&shared.health, || store.pending(&known.id, None, STEP)).await?;
    if items.is_empty() {
        operation::settle(shared, known, End::by_itself(OperationState::Done, None)).await?;
        return Ok(());
    }
    let ids: Vec<TaskId> = items.iter().map(|item| item.task).collect();
    let tasks = patiently(&shared.health, || store.get(&ids)).await?;
    let mut chosen = Vec::new();
    let mut skips = Vec::new();
    for (item, task) in items.into_iter().zip(tasks) {
        match task {
            Some(task) if task.version != item.version => skips.push((item.task, Skip::Changed)),
            Some(task) if !known.act.fits_task(&task) => skips.push((item.task, Skip::Unfit)),
            Some(task) => chosen.push(task),
            None => skips.push((item.task, Skip::Changed)),
        }
    }
    match known.act.happened() {
        Some(happened) => skips.extend(change(shared, known, chosen, &happened).await?),
        None => skips.extend(purge(shared, known, &chosen).await?),
    }
    skip(shared, known, &skips).await?;
    shared.events_written.notify_one();
    shared.wake_dispatchers();
    Ok(())
}

/// Lets it happen to each of them; answers who has changed in the meantime.
async fn change(
    shared: &Arc<Shared>,
    known: &Operation,
    tasks: Vec<Task>,
    happened: &Happened,
) -> Result<Vec<(TaskId, Skip)>> {
    let acts = tasks.iter().map(|task| change_one(shared, Some(&known.id), task, happened));
    Ok(try_join_all(acts).await?.into_iter().flatten().collect())
}

/// Lets it happen to a task of an account that is not configured here; false where it does not fit.
pub(crate) async fn change_stranger(
    shared: &Shared,
    mut task: Task,
    happened: &Happened,
) -> Result<bool> {
    for _ in 0..TRIES {
        match change_one(shared, None, &task, happened).await? {
            None => {
                shared.events_written.notify_one();
                return Ok(true);
            }
            Some((_, Skip::Changed)) => {}
            Some(_) => return Ok(false),
        }
        let found =
            patiently(&shared.health, || shared.store.get(std::slice::from_ref(&task.id))).await?;
        match found.into_iter().flatten().next() {
            Some(found) => task = found,
            None => return Ok(false),
        }
    }
    Err(Error::Contended(format!("task/{}", task.id)))
}

async fn change_one(
    shared: &Shared,
    settles: Option<&OperationId>,
    task: &Task,
    happened: &Happened,
) -> Result<Option<(TaskId, Skip)>> {
    let attempts = match task.attempt {
        Some(_) => shared.store.history(task.id).await?,
        None => Vec::new(),
    };
    let attempt = attempts.iter().find(|attempt| Some(attempt.token) == task.attempt);
    // Its account may be one of another configuration: giving up does not depend on it.
    let (policy, terms) = match shared.accounts.get(&task.account) {
        Some(account) => (account.policy.clone(), account.terms(&task.dimensions.method)),
        None => (Policy::default(), Terms::default()),
    };
    let (now, random) = (shared.now(), shared.random());
    let context = Context { policy: &policy, terms: &terms, attempt, now, random };
    let mut change = decide(task, happened, context).change;
    let Some(row) = change.row.as_mut() else { return Ok(Some((task.id, Skip::Unfit))) };
    row.settles = settles.cloned();
    let after = row.after.clone();
    let committed = shared.committer.commit(change).await.map_err(shared_error)?;
    if committed == Committed::Stale && !shared.stands(&after).await? {
        return Ok(Some((task.id, Skip::Changed)));
    }
    Ok(None)
}

/// Deletes them, and counts how many; answers who still stands.
async fn purge(shared: &Shared, known: &Operation, tasks: &[Task]) -> Result<Vec<(TaskId, Skip)>> {
    let store = shared.store.as_ref();
    let versions: Vec<_> = tasks.iter().map(|task| (task.id, task.version)).collect();
    let tries = AtomicU32::new(0);
    let purged = patiently(&shared.health, || {
        tries.fetch_add(1, Ordering::Relaxed);
        store.purge(&versions)
    })
    .await?;
    let all = tasks.len() as u64;
    if purged == all {
        count_purged(store, known, purged).await?;
        return Ok(Vec::new());
    }
    let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
    let found = patiently(&shared.health, || store.get(&ids)).await?;
    let standing = tasks.iter().zip(found).filter_map(|(task, found)| {
        let why = if found?.version == task.version { Skip::Open } else { Skip::Changed };
        Some((task.id, why))
    });
    let standing: Vec<_> = standing.collect();
    let is_certain = tries.into_inner() == 1;
    // A try before may have deleted what the last one did not find, and nobody was told.
    let purged = if is_certain { purged } else { all - standing.len() as u64 };
    count_purged(store, known, purged).await?;
    Ok(standing)
}

async fn count_purged(store: &dyn Store, known: &Operation, purged: u64) -> Result<()> {
    operation::update(store, known, |operation| operation.purged += purged).await?;
    Ok(())
}

/// Leaves them alone, and counts why.
pub(crate) async fn skip(
    shared: &Shared,
    known: &Operation,
    skips: &[(TaskId, Skip)],
) -> Result<()> {
    if skips.is_empty() {
        return Ok(());
    }
    let store = shared.store.as_ref();
    let ids: Vec<TaskId> = skips.iter().map(|(id, _)| *id).collect();
    patiently(&shared.health, || store.skip(&known.id, &ids)).await?;
    let mut counts = BTreeMap::<Skip, u64>::new();
    for (_, why) in skips {
        *counts.entry(*why).or_default() += 1;
    }
    operation::update(store, known, |operation| {
        for (why, n) in &counts {
            *operation.skips.entry(*why).or_default() += n;
        }
    })
    .await?;
    Ok(())
}
