//! Moves everything from one store into another: copies what is missing there, and then compares
//! all of it. Whoever breaks off in the middle goes on with the same call.

use crate::{AuditEntry, Document, Error, Inserted, Query, Result, Seen, Store, Totals, Trail};
use deadletter_core::{Filter, NewTask, Past, Task, TaskId};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

/// The document of the target that tells where its tasks come from.
pub const MIGRATION: &str = "migration";
/// Tasks read, written and compared at once.
const PAGE: u32 = 100;
/// Documents read at once.
const DOCUMENTS: u32 = 500;
/// Lines of the audit log, and of a task's trail, read at once.
const LINES: u32 = 500;
/// Workers that are looked at: more have never been at one store.
const WORKERS: u32 = 10_000;

/// How far a migration has come: stands in the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The store that is moved, without secrets.
    pub from: String,
    /// True once all of it was compared: until then nobody may work on it.
    pub has_ended: bool,
}

/// What a migration is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Tasks are copied.
    Copying,
    /// Tasks are compared.
    Comparing,
}

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Tasks of the source, all of which stand in the target.
    pub tasks: u64,
    /// Of these, copied by this call; the others stood there already.
    pub copied: u64,
    /// Documents: breakers, operations, keys, solve times.
    pub documents: u64,
    /// Lines of the audit log.
    pub audit: u64,
}

/// What would be moved; nothing is written. A target that does not exist yet is none.
///
/// Errors: as [`migrate`].
pub async fn plan(from: &dyn Store, to: Option<&dyn Store>) -> Result<Totals> {
    refuse_at_work(from).await?;
    match to {
        Some(to) => plan_from_rest(from, to).await,
        None => from.totals().await,
    }
}

/// The same where nothing changes in the source.
async fn plan_from_rest(from: &dyn Store, to: &dyn Store) -> Result<Totals> {
    refuse_at_work(to).await?;
    let target = to.totals().await?;
    match begun(to).await? {
        Some((_, begun)) if begun.from != from.url() => {
            Err(Error::Occupied(format!("{} holds what was moved from {}", to.url(), begun.from)))
        }
        Some((_, begun)) if begun.has_ended => {
            Err(Error::AlreadyMoved { from: begun.from, to: to.url() })
        }
        None if target.accepted > 0 => Err(Error::Occupied(format!(
            "{} has tasks of its own ({} stand there): a migration goes into an empty store",
            to.url(),
            target.standing()
        ))),
        _ => from.totals().await,
    }
}

/// Moves everything: rows with their requests, attempts, answers, deliveries and items; terminal
/// events of tasks that stand; documents; the audit log. Tallies begin anew, and so does the count
/// of what was accepted and purged. The source is only read. `news` hears how many tasks are
/// through a phase.
///
/// Errors: `AtWork` where somebody works on either store, `Occupied` where the target holds other tasks,
/// `AlreadyMoved` where it holds all of these from an earlier migration, `Differs` where a request of the
/// source cannot be read, and where source and target differ; and the stores'.
pub async fn migrate(
    from: &dyn Store,
    to: &dyn Store,
    news: &(dyn Fn(Phase, u64) + Send + Sync),
) -> Result<Moved> {
    refuse_at_work(from).await?;
    let moved = copy_all(from, to, news).await?;
    refuse_at_work(from).await?;
    end(from, to).await?;
    Ok(moved)
}

/// The same from a source in which nothing changes, whoever works on the store that it shows.
pub(crate) async fn migrate_from_rest(
    from: &dyn Store,
    to: &dyn Store,
    news: &(dyn Fn(Phase, u64) + Send + Sync),
) -> Result<Moved> {
    let moved = copy_all(from, to, news).await?;
    end(from, to).await?;
    Ok(moved)
}

async fn copy_all(
    from: &dyn Store,
    to: &dyn Store,
    news: &(dyn Fn(Phase, u64) + Send + Sync),
) -> Result<Moved> {
    plan_from_rest(from, to).await?;
    note(to, &Migration { from: from.url(), has_ended: false }).await?;
    let mut moved = Moved::default();
    let mut after = None;
    while let Some(tasks) = page(from, &mut after).await? {
        moved.copied += copy(from, to, &tasks).await?;
        moved.tasks += tasks.len() as u64;
        news(Phase::Copying, moved.tasks);
    }
    moved.documents = copy_documents(from, to).await?;
    moved.audit = copy_audit(from, to).await?;
    compare(from, to, news).await?;
    Ok(moved)
}

/// From now on the target may be worked on.
async fn end(from: &dyn Store, to: &dyn Store) -> Result<()> {
    refuse_at_work(to).await?;
    note(to, &Migration { from: from.url(), has_ended: true }).await
}

/// The migration into this store that has not ended, if there is one: nobody may work on it.
pub async fn unfinished(store: &dyn Store) -> Result<Option<Migration>> {
    Ok(begun(store).await?.map(|(_, begun)| begun).filter(|begun| !begun.has_ended))
}

async fn begun(store: &dyn Store) -> Result<Option<(u64, Migration)>> {
    let Some(Document { version, body, .. }) = store.document(MIGRATION).await? else {
        return Ok(None);
    };
    let read = serde_json::from_str(&body).map_err(|error| Error::Damaged {
        what: format!("the document {MIGRATION:?}"),
        source: Some(error.into()),
    });
    read.map(|begun| Some((version, begun)))
}

async fn note(to: &dyn Store, migration: &Migration) -> Result<()> {
    let version = match begun(to).await? {
        Some((_, known)) if known == *migration => return Ok(()),
        Some((version, _)) => version,
        None => 0,
    };
    let body = serde_json::to_string(migration).map_err(|error| Error::Damaged {
        what: "a migration that is no JSON".to_owned(),
        source: Some(error.into()),
    })?;
    match to.put_document(MIGRATION, version, &body).await? {
        Some(_) => Ok(()),
        None => Err(Error::Occupied(format!("somebody else moves tasks into {}", to.url()))),
    }
}

/// Both would be paid for, or one would change under the other's eyes.
async fn refuse_at_work(store: &dyn Store) -> Result<()> {
    let clock = store.clock();
    let workers = store.workers(WORKERS).await?;
    match workers.iter().filter(|worker| worker.lives(clock.as_ref())).count() {
        0 => Ok(()),
        workers => Err(Error::AtWork { store: store.url(), workers }),
    }
}

/// The next tasks, by id; none at the end.
async fn page(store: &dyn Store, after: &mut Option<Option<TaskId>>) -> Result<Option<Vec<Task>>> {
    let behind = match after {
        None => None,
        Some(None) => return Ok(None),
        Some(behind) => *behind,
    };
    let query = Query {
        filter: Filter::default(),
        now: store.clock().now(),
        newest_first: false,
        after: behind,
        limit: PAGE,
        scan_limit: PAGE,
    };
    let page = store.page(&query).await?;
    *after = Some(page.next);
    Ok(Some(page.tasks))
}

/// Copies those of a page that are missing; answers how many.
async fn copy(from: &dyn Store, to: &dyn Store, tasks: &[Task]) -> Result<u64> {
    let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
    let standing = to.get(&ids).await?;
    let missing = tasks.iter().zip(standing).filter(|(_, known)| known.is_none());
    let missing = missing.map(|(task, _)| whole(from, task.clone()));
    let copied = try_join_all(missing).await?;
    let n = copied.len() as u64;
    if n == 0 {
        return Ok(0);
    }
    for inserted in to.insert(copied).await? {
        match inserted {
            Inserted::New(_) => {}
            Inserted::Existing(id) => {
                return Err(Error::Differs(format!(
                    "task {id}, which is not over, has the idempotency key of a later one: move the \
                     store when it has ended"
                )));
            }
            Inserted::IdTaken(id) => return Err(differs(id)),
        }
    }
    Ok(n)
}

/// A task with all that is its own, as another store takes it in.
///
/// Errors: `Differs` where its request cannot be read; and the store's.
pub async fn whole(store: &dyn Store, task: Task) -> Result<NewTask> {
    let id = task.id;
    let trail = whole_trail(store, id).await?;
    let items = trail.items.into_iter();
    let past = Past {
        attempts: store.history(id).await?,
        answers: store.answers(id).await?,
        events: trail.events.into_iter().map(|(_, event)| event).collect(),
        deliveries: store.deliveries(id, u32::MAX).await?,
        items: items.map(|(operation, item)| (operation, item.version, item.state)).collect(),
    };
    let payload = store.payload(id).await?.ok_or_else(|| {
        Error::Differs(format!(
            "the request of task {id} cannot be read in {}: `deadletter store check` tells more",
            store.url()
        ))
    })?;
    // An earlier task with its key has ended, or the key would not have passed to it.
    Ok(NewTask { task, payload, past, is_folded: true })
}

/// All that is on record of a task, read in pages.
async fn whole_trail(store: &dyn Store, id: TaskId) -> Result<Trail> {
    let (mut whole, mut seen) = (Trail::default(), Seen::default());
    loop {
        let page = store.trail(id, &seen, LINES).await?;
        let is_last = page.events.len().max(page.items.len()) < LINES as usize;
        seen = seen.with(&page);
        whole.events.extend(page.events);
        whole.items.extend(page.items);
        if is_last {
            return Ok(whole);
        }
    }
}

/// Appends what is missing of the audit log, in its order; answers how many lines there are.
async fn copy_audit(from: &dyn Store, to: &dyn Store) -> Result<u64> {
    let (mut ours, mut standing) = (Log::of(from), Log::of(to));
    let mut n = 0;
    while let Some(entry) = ours.next().await? {
        n += 1;
        // What an earlier call has appended stands in the same order, and others' lines between.
        let is_there = loop {
            match standing.next().await? {
                Some(known) if known == entry => break true,
                Some(_) => {}
                None => break false,
            }
        };
        if !is_there && !to.audit(&entry).await? {
            let AuditEntry { writer, seq, .. } = entry;
            return Err(Error::Differs(format!("line {seq} of {writer} differs in the audit log")));
        }
    }
    Ok(n)
}

/// The audit log of a store, read in pages.
struct Log<'s> {
    store: &'s dyn Store,
    page: std::vec::IntoIter<(u64, AuditEntry)>,
    after: u64,
    has_ended: bool,
}

impl<'s> Log<'s> {
    fn of(store: &'s dyn Store) -> Self {
        Self { store, page: Vec::new().into_iter(), after: 0, has_ended: false }
    }

    async fn next(&mut self) -> Result<Option<AuditEntry>> {
        if self.has_ended {
            return Ok(None);
        }
        if self.page.len() == 0 {
            self.page = self.store.audit_after(self.after, LINES).await?.into_iter();
        }
        let Some((n, entry)) = self.page.next() else {
            self.has_ended = true;
            return Ok(None);
        };
        self.after = n;
        Ok(Some(entry))
    }
}

async fn copy_documents(from: &dyn Store, to: &dyn Store) -> Result<u64> {
    let (mut n, mut after) = (0, String::new());
    loop {
        let documents = from.documents_after("", &after, DOCUMENTS).await?;
        let Some(last) = documents.last() else { return Ok(n) };
        after.clone_from(&last.key);
        for Document { key, body, .. } in documents.iter().filter(|it| it.key != MIGRATION) {
            n += 1;
            if to.put_document(key, 0, body).await?.is_none()
                && to.document(key).await?.is_none_or(|known| known.body != *body)
            {
                return Err(Error::Differs(format!(
                    "the document {key:?} differs: it has changed"
                )));
            }
        }
    }
}

/// Every task of the source stands in the target as it stands there, and no other does.
async fn compare(
    from: &dyn Store,
    to: &dyn Store,
    news: &(dyn Fn(Phase, u64) + Send + Sync),
) -> Result<()> {
    let (mut n, mut after) = (0, None);
    while let Some(tasks) = page(from, &mut after).await? {
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
        let copies = to.get(&ids).await?;
        n += tasks.len() as u64;
        let pairs = tasks.into_iter().zip(copies).map(|(task, copy)| async move {
            let id = task.id;
            let copy = copy.ok_or_else(|| differs(id))?;
            let (ours, theirs) = (whole(from, task).await?, whole(to, copy).await?);
            let is_same = (&ours.task, &ours.payload, &ours.past)
                == (&theirs.task, &theirs.payload, &theirs.past);
            if is_same { Ok(()) } else { Err(differs(id)) }
        });
        try_join_all(pairs).await?;
        news(Phase::Comparing, n);
    }
    let (ours, theirs) = (from.totals().await?, to.totals().await?);
    if ours.by_state() != theirs.by_state() || theirs != to.recount().await? {
        return Err(Error::Differs(format!("the counts differ: {ours:?} and {theirs:?}")));
    }
    Ok(())
}

fn differs(task: TaskId) -> Error {
    Error::Differs(format!(
        "task {task} differs in the two stores: somebody has worked on one of them meanwhile"
    ))
}
