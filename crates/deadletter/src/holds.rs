//! Standing holds: a document says which tasks wait, and rows carry the mark.
//!
//! New rows get it at their insert, by the copy of the document that their process has; those that
//! stood before, by the operation that came with it. In between lies what a process inserts that has
//! not noticed the document yet. Nobody but that process knows when its copy was renewed, so it looks
//! after its own: an insert during which the copy changed marks its rows behind itself, and whoever
//! renews the copy walks over the young tasks, which all earlier inserts have written by then. For a
//! process that dies before it notices, everybody walks again for half a minute.
//!
//! Whoever begins a hold can wait for those who worked then: each of them notes in a second document that
//! its copy is renewed.

use crate::{Desk, Error, Result, act, document, shared::Shared, walk::Walk};
use deadletter_core::{Filter, Happened, Task, TaskId, UnixMs, WorkerId};
use deadletter_store::Worker;
use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The document's name.
const KEY: &str = "holds";
/// Standing holds at a time: each is asked of each new task.
const LIMIT: usize = 64;
/// The document in which workers note that they have noticed.
const NOTICED: &str = "holds_noticed";
/// Workers in it; those who noted it first are left out first.
const NOTICED_LIMIT: usize = 1_000;
/// Workers that are waited for: more have never been at one store.
const WORKERS: u32 = 10_000;
/// Between two looks for who has noticed.
const LOOK: Duration = Duration::from_millis(50);
/// So often: eight seconds, in which a worker that is silent is known to be dead.
const LOOKS: u32 = 160;
/// So long after a hold has begun it is looked for tasks that slipped through: far longer than a
/// process lives without noticing it.
const YOUNG_MS: i64 = 30_000;
/// Ids are chosen by clocks that may disagree by so much; and a process that ends a hold looks so far
/// back for tasks that were marked since.
const MARGIN_MS: i64 = 60_000;

/// A hold that stands until it is ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingHold {
    /// The filter, as text.
    pub filter: String,
    /// Who asked for it.
    pub by: String,
    /// Why, in their words.
    pub why: Option<String>,
    /// From when on tasks are held.
    pub at: UnixMs,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Holds {
    standing: Vec<StandingHold>,
}

/// Who has noticed which version of the document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Noticed {
    version: u64,
    workers: Vec<WorkerId>,
}

/// A hold that has begun, and who worked when it was written down.
#[derive(Debug)]
pub struct Heeding {
    version: u64,
    workers: Vec<Worker>,
}

/// What this process knows of the document.
#[derive(Default)]
pub(crate) struct Holding {
    /// Guards the copy; never held across an await.
    known: Mutex<Known>,
    /// The version that this worker has noted as noticed.
    noted: AtomicU64,
}

#[derive(Clone, Default)]
struct Known {
    version: u64,
    standing: Arc<[(StandingHold, Filter)]>,
}

/// The copy as an insert began with it.
pub(crate) struct Copy(Known);

impl Copy {
    /// Marks a new row that is to be held.
    pub(crate) fn mark(&self, task: &mut Task, now: UnixMs) {
        if self.0.standing.iter().any(|(_, filter)| filter.matches(task, now)) {
            task.hold = Some(Task::HELD_BY_HAND.to_owned());
        }
    }
}

impl Holding {
    pub(crate) fn copy(&self) -> Copy {
        Copy(self.known())
    }

    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads the document for the first time: this process has inserted nothing before.
pub(crate) async fn read_first(shared: &Shared) -> Result<()> {
    renew(shared).await.map(drop)
}

/// What a desk alone must know before it changes the document: it has inserted nothing either.
async fn know(shared: &Shared) -> Result<()> {
    if shared.is_watched() { Ok(()) } else { read_first(shared).await }
}

/// Reads the document where it has changed, and looks after what was inserted before that was noticed.
pub(crate) async fn read(shared: &Shared) -> Result<()> {
    if let Some((before, now)) = renew(shared).await? {
        look_behind(shared, &before, &now).await?;
    }
    note(shared).await
}

/// Notes that this worker goes by the newest copy.
async fn note(shared: &Shared) -> Result<()> {
    let version = shared.holds.known().version;
    let is_noted = shared.holds.noted.load(Ordering::Relaxed) >= version;
    if is_noted || !shared.has_joined.load(Ordering::Relaxed) {
        return Ok(());
    }
    let worker = shared.worker();
    let none = Noticed::default();
    let noted = document::update(shared.store.as_ref(), NOTICED, &none, |noticed| {
        if noticed.version < version {
            *noticed = Noticed { version, workers: Vec::new() };
        }
        // Of a newer version it notes when it has that.
        if noticed.version == version && !noticed.workers.contains(&worker) {
            let over = (noticed.workers.len() + 1).saturating_sub(NOTICED_LIMIT);
            noticed.workers.drain(..over);
            noticed.workers.push(worker.clone());
        }
    });
    noted.await?;
    shared.holds.noted.fetch_max(version, Ordering::Relaxed);
    Ok(())
}

/// Looks after what was inserted before the copy was renewed.
async fn look_behind(shared: &Shared, before: &Known, now: &Known) -> Result<()> {
    let is_in = |known: &Known, hold: &StandingHold| known.standing.iter().any(|it| it.0 == *hold);
    for (hold, filter) in now.standing.iter().filter(|it| !is_in(before, &it.0)) {
        hold_missed(shared, hold, filter).await?;
    }
    for (_, filter) in before.standing.iter().filter(|it| !is_in(now, &it.0)) {
        let from = shared.now().plus(-of_store(shared, MARGIN_MS));
        walk_over(shared, filter, "state:queued held:yes", from, &Happened::Released).await?;
    }
    Ok(())
}

/// Looks again for tasks that slipped through young holds.
pub(crate) async fn sweep(shared: &Shared) -> Result<()> {
    for (hold, filter) in shared.holds.known().standing.iter() {
        if (0..of_store(shared, YOUNG_MS)).contains(&shared.now().since(hold.at)) {
            hold_missed(shared, hold, filter).await?;
        }
    }
    Ok(())
}

/// Marks the rows of an insert behind it, where the copy has changed since it began.
pub(crate) async fn look_after(shared: &Shared, began: &Copy, ids: &[TaskId]) -> Result<()> {
    let Known { version, standing } = shared.holds.known();
    if version == began.0.version {
        return Ok(());
    }
    for task in shared.store.get(ids).await?.into_iter().flatten() {
        let is_meant = standing.iter().any(|(_, filter)| filter.matches(&task, shared.now()));
        let happened = if is_meant { Happened::Held } else { Happened::Released };
        // It does not fit where the row is so already.
        act::change_stranger(shared, task, &happened).await?;
    }
    Ok(())
}

/// The copy before and after, where it has changed.
async fn renew(shared: &Shared) -> Result<Option<(Known, Known)>> {
    let found = document::read::<Holds>(shared.store.as_ref(), KEY).await?;
    let (version, holds) = found.unwrap_or_default();
    let parse = |hold: StandingHold| {
        let filter: Filter = hold.filter.parse()?;
        Ok((hold, filter))
    };
    let standing = holds.standing.into_iter().map(parse).collect::<Result<_>>()?;
    let mut known = shared.holds.known.lock().unwrap_or_else(PoisonError::into_inner);
    if known.version >= version {
        return Ok(None);
    }
    let now = Known { version, standing };
    Ok(Some((std::mem::replace(&mut *known, now.clone()), now)))
}

/// Real milliseconds by the store's clock, which may run faster.
fn of_store(shared: &Shared, ms: i64) -> i64 {
    (ms as f64 * shared.clock.speed()) as i64
}

async fn hold_missed(shared: &Shared, hold: &StandingHold, filter: &Filter) -> Result<()> {
    let from = hold.at.plus(-of_store(shared, MARGIN_MS));
    walk_over(shared, filter, "state:queued held:no", from, &Happened::Held).await
}

async fn walk_over(
    shared: &Shared,
    filter: &Filter,
    also: &str,
    from: UnixMs,
    happened: &Happened,
) -> Result<()> {
    let mut walk = Walk::behind(TaskId::at(from, 0), filter.and(&also.parse()?)?);
    while let Some(tasks) = walk.next(shared).await? {
        for task in tasks {
            act::change_stranger(shared, task, happened).await?;
        }
    }
    Ok(())
}

impl Desk {
    /// Holds what is stored from `at` on and matches, until [`Desk::end_hold`]; what stands already is
    /// for an act. Every process heeds it within a fifth of a second; [`Desk::heeded`] waits for them.
    /// Errors: [`Error::TooManyHolds`], and the store's.
    pub async fn hold_what_comes(
        &self,
        filter: &Filter,
        at: UnixMs,
        by: &str,
        why: Option<&str>,
    ) -> Result<Heeding> {
        know(&self.shared).await?;
        // Who begins later reads it before anything is taken in.
        let workers = self.living().await?;
        let (filter, by, why) = (filter.to_string(), by.to_owned(), why.map(str::to_owned));
        let hold = StandingHold { filter, by, why, at };
        let none = Holds::default();
        let updated = document::update(self.store(), KEY, &none, |holds| {
            holds.standing.retain(|it| it.filter != hold.filter);
            if holds.standing.len() == LIMIT {
                return false;
            }
            holds.standing.push(hold.clone());
            true
        });
        let updated = updated.await?;
        if !updated.answer {
            return Err(Error::TooManyHolds(LIMIT));
        }
        self.write_down(&serde_json::json!({ "kind": "hold_what_comes", "hold": hold })).await?;
        read(&self.shared).await?;
        Ok(Heeding { version: updated.version, workers })
    }

    /// Waits until all who worked when the hold was written down heed it; answers who still lives
    /// after eight seconds, and does not. What these store is held a moment later.
    pub async fn heeded(&self, Heeding { version, mut workers }: Heeding) -> Result<Vec<Worker>> {
        for _ in 0..LOOKS {
            let found = document::read::<Noticed>(self.store(), NOTICED).await?;
            let (_, noticed) = found.unwrap_or_default();
            workers.retain(|it| noticed.version < version || !noticed.workers.contains(&it.id));
            if workers.is_empty() {
                return Ok(workers);
            }
            let living = self.living().await?;
            workers.retain(|worker| living.iter().any(|it| it.id == worker.id));
            tokio::time::sleep(LOOK).await;
        }
        Ok(workers)
    }

    async fn living(&self) -> Result<Vec<Worker>> {
        let clock = self.store().clock();
        let mut workers = self.store().workers(WORKERS).await?;
        workers.retain(|worker| worker.lives(clock.as_ref()));
        Ok(workers)
    }

    /// Ends the standing hold of that filter; none where there was none. What it has held stays so
    /// until it is released by an act, but for what was stored in the last minute.
    pub async fn end_hold(&self, filter: &Filter, by: &str) -> Result<Option<StandingHold>> {
        know(&self.shared).await?;
        let text = filter.to_string();
        let none = Holds::default();
        let updated = document::update(self.store(), KEY, &none, |holds| {
            let at = holds.standing.iter().position(|it| it.filter == text)?;
            Some(holds.standing.remove(at))
        });
        let ended = updated.await?.answer;
        if let Some(hold) = &ended {
            let said = serde_json::json!({ "kind": "end_hold", "by": by, "hold": hold });
            self.write_down(&said).await?;
            read(&self.shared).await?;
        }
        Ok(ended)
    }

    /// The holds that stand, oldest first.
    pub async fn standing_holds(&self) -> Result<Vec<StandingHold>> {
        let found = document::read::<Holds>(self.store(), KEY).await?;
        Ok(found.map(|(_, holds)| holds.standing).unwrap_or_default())
    }

    /// The store's time.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        self.shared.now()
    }
}
