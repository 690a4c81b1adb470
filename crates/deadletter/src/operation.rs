//! A bulk act over a frozen set of tasks, as its document keeps it.

use crate::{
    Error, Result,
    act::{Act, Skip},
    audit::{self, By},
    document::{self, Updated},
    notice::Notice,
    shared::Shared,
};
use deadletter_core::{Filter, OperationId, TaskId, UnixMs, WorkerId};
use deadletter_store::Store;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The document that names the operations which are not finished.
const ACTIVE: &str = "operations/active";
/// Redrives per second where the operator names no rate.
const DEFAULT_RATE: f64 = 50.0;
/// Slower, an operation would not end in anybody's time; faster, nobody would notice. A document
/// cannot hold what is no number.
const RATES: (f64, f64) = (0.001, 1_000_000.0);

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// It has not begun; where it waits to be released, its tasks are being frozen.
    Preparing,
    /// Its tasks are frozen; nothing happens until it is released.
    Prepared,
    /// Its tasks are being frozen.
    Freezing,
    /// Its tasks are being acted on.
    Running,
    /// It paused itself: too many of its tasks died again.
    Paused,
    /// Every item is done or skipped.
    Done,
    /// Stopped by hand.
    Stopped,
}

impl OperationState {
    /// The word that is stored and shown.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Prepared => "prepared",
            Self::Freezing => "freezing",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Stopped => "stopped",
        }
    }

    /// True while any worker that works has something to do for it.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Freezing | Self::Running)
    }

    /// True while it waits for whoever prepared it.
    pub(crate) const fn is_prepared(self) -> bool {
        matches!(self, Self::Preparing | Self::Prepared)
    }

    /// True where nothing will ever be done for it any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Stopped)
    }
}

/// How to redrive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RedriveOptions {
    /// Tasks per second at most; the operation ramps up to it. Held within 0.001 and 1,000,000, so
    /// infinity means "as fast as the ramp allows".
    pub rate: f64,
    /// Tasks at most.
    pub limit: Option<u64>,
    /// Also those whose reason says that the same request fails again.
    pub force: bool,
    /// Also those for whose answers nobody waits ([`deadletter_core::Task::nobody_waits`]), which a
    /// redrive that tells their answers to somebody has reason to take. The default.
    pub for_nobody: bool,
    /// Keep old deadlines; by default a redriven task has none.
    pub keep_deadline: bool,
    /// Who asked for it, for the audit log.
    pub by: String,
    /// Why, in their words.
    pub why: Option<String>,
}

impl Default for RedriveOptions {
    fn default() -> Self {
        Self {
            rate: DEFAULT_RATE,
            limit: None,
            force: false,
            for_nobody: true,
            keep_deadline: false,
            by: "library".to_owned(),
            why: None,
        }
    }
}

/// A bulk act over the tasks that matched a filter when it began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// What is done to its tasks.
    #[serde(default)]
    pub act: Act,
    /// The filter, as text.
    pub filter: String,
    /// How.
    pub options: RedriveOptions,
    /// Where it stands.
    pub state: OperationState,
    /// When it began.
    pub created_at: UnixMs,
    /// When its last item was settled.
    pub finished_at: Option<UnixMs>,
    /// Tasks frozen so far.
    pub frozen: u64,
    /// Where freezing goes on.
    pub cursor: Option<TaskId>,
    /// Why it paused, or stopped by itself.
    pub note: Option<String>,
    /// Tasks that were skipped, by why; what a worker that died had no time to count is missing.
    #[serde(default)]
    pub skips: BTreeMap<Skip, u64>,
    /// Tasks that a purge deleted; what a worker that died had no time to count is missing.
    #[serde(default)]
    pub purged: u64,
    /// Who runs it, and until when without a sign of life.
    pub lease: Option<(WorkerId, UnixMs)>,
}

impl RedriveOptions {
    /// The same with a rate that can be stored and kept.
    fn bounded(self) -> Self {
        let rate = if self.rate.is_nan() { DEFAULT_RATE } else { self.rate };
        Self { rate: rate.clamp(RATES.0, RATES.1), ..self }
    }
}

impl Operation {
    pub(crate) fn new(
        id: OperationId,
        act: Act,
        filter: &Filter,
        options: RedriveOptions,
        now: UnixMs,
    ) -> Self {
        Self {
            id,
            act,
            filter: filter.to_string(),
            options: options.bounded(),
            state: OperationState::Preparing,
            created_at: now,
            finished_at: None,
            frozen: 0,
            cursor: None,
            note: None,
            skips: BTreeMap::new(),
            purged: 0,
            lease: None,
        }
    }
}

fn key(id: &OperationId) -> String {
    format!("operation/{id}")
}

/// A new id: it tells what is done, and when it was chosen.
pub(crate) fn new_id(act: Act, number: TaskId) -> OperationId {
    OperationId::new(format!("{}-{number}", act.label())).expect("digits and letters, short")
}

/// When an id was chosen; the beginning of time where it does not tell.
pub(crate) fn chosen_at(id: &OperationId) -> UnixMs {
    let number = id.as_str().rsplit('-').next().and_then(|number| number.parse().ok());
    number.map_or(UnixMs(0), TaskId::chosen_at)
}

/// Stores a new operation that nobody works on yet.
async fn write_down(store: &dyn Store, operation: &Operation) -> Result<()> {
    let body = serde_json::to_string(operation)
        .map_err(|source| Error::BadDocument { key: key(&operation.id), source })?;
    if store.put_document(&key(&operation.id), 0, &body).await?.is_none() {
        return Err(Error::Contended(key(&operation.id)));
    }
    Ok(())
}

/// Stores a new operation that waits, and on the list, so that one that is left there is found.
///
/// The list first: what is listed and does not exist is taken off by whoever works, a day later.
pub(crate) async fn put(store: &dyn Store, operation: &Operation) -> Result<()> {
    list(store, &operation.id, true).await?;
    write_down(store, operation).await
}

/// Where an operation is brought, and by whom.
pub(crate) struct Move<'a> {
    pub(crate) from: OperationState,
    pub(crate) to: OperationState,
    pub(crate) by: By<'a>,
}

/// Lets an operation go on that waits; false where it does not wait as `from`.
///
/// Recorded and listed first: whoever dies in the middle leaves it waiting, and the next try lets
/// it run. Nothing runs without a record, and nothing that may run is off the list.
pub(crate) async fn let_run(shared: &Shared, known: &Operation, go: Move<'_>) -> Result<bool> {
    if known.state != go.from {
        return Ok(false);
    }
    let store = shared.store.as_ref();
    let running = Operation { state: go.to, note: None, ..known.clone() };
    audit::write(shared, &running, go.by).await?;
    list(store, &known.id, true).await?;
    let updated = update(store, known, |operation| {
        let waits = operation.state == go.from;
        if waits {
            operation.state = go.to;
            operation.note = None;
        }
        waits
    })
    .await?;
    if updated.answer {
        shared.operations_written.notify_one();
    } else {
        audit::correct(shared, &running, &updated.value, go.by).await?;
    }
    Ok(updated.answer)
}

/// How an operation ends or pauses.
pub(crate) struct End<'a> {
    pub(crate) state: OperationState,
    pub(crate) note: Option<String>,
    /// Only where it stands so; from anywhere where none is given.
    pub(crate) from: Option<OperationState>,
    /// Whoever asked for it, where nobody else is named.
    pub(crate) by: Option<By<'a>>,
}

impl<'a> End<'a> {
    /// By itself: there is nothing left to do, or something keeps it from going on.
    pub(crate) const fn by_itself(state: OperationState, note: Option<String>) -> Self {
        Self { state, note, from: None, by: None }
    }

    /// Stopped by a person or a program.
    pub(crate) const fn by_hand(by: By<'a>) -> Self {
        Self { state: OperationState::Stopped, note: None, from: None, by: Some(by) }
    }

    fn fits(&self, operation: &Operation) -> bool {
        !operation.state.is_over() && self.from.is_none_or(|from| operation.state == from)
    }
}

/// Ends or pauses an operation, on the record: the record first, so that nothing ends without one.
/// False where it was over already: nothing ends twice.
pub(crate) async fn settle(shared: &Shared, known: &Operation, end: End<'_>) -> Result<bool> {
    let now = shared.now();
    let store = shared.store.as_ref();
    let newest = read(store, &known.id).await?.unwrap_or_else(|| known.clone());
    if !end.fits(&newest) {
        return Ok(false);
    }
    let settled = Operation {
        state: end.state,
        finished_at: (end.state != OperationState::Paused).then_some(now),
        note: end.note.clone(),
        lease: None,
        ..newest
    };
    let by = end.by.unwrap_or_else(|| By::asker(&settled.options));
    audit::write(shared, &settled, by).await?;
    let updated = update(store, known, |operation| {
        let fits = end.fits(operation);
        if fits {
            operation.state = end.state;
            operation.finished_at = settled.finished_at;
            operation.note.clone_from(&settled.note);
            operation.lease = None;
        }
        fits
    })
    .await?;
    if !updated.answer {
        audit::correct(shared, &settled, &updated.value, by).await?;
    }
    if updated.value.state.is_over() {
        list(store, &known.id, false).await?;
    }
    if updated.answer {
        shared.notify(Notice::Operation { id: known.id.clone(), state: end.state.label() });
    }
    Ok(updated.answer)
}

/// Its items: pending, done, skipped.
///
/// A purge takes items along with their tasks, and so does everybody else's: what is missing of
/// its own items is not what it did.
pub(crate) async fn tally(store: &dyn Store, operation: &Operation) -> Result<[u64; 3]> {
    let [pending, done, skipped] = store.tally_items(&operation.id).await?;
    let done = match operation.act {
        Act::Purge => operation.purged,
        _ => done,
    };
    Ok([pending, done, skipped])
}

/// Puts an operation on the list of active ones, or takes it off.
pub(crate) async fn list(store: &dyn Store, id: &OperationId, is_active: bool) -> Result<()> {
    document::update(store, ACTIVE, &Vec::new(), |active: &mut Vec<OperationId>| {
        active.retain(|other| other != id);
        if is_active {
            active.push(id.clone());
        }
    })
    .await?;
    Ok(())
}

/// The operations that are not finished.
pub(crate) async fn active(store: &dyn Store) -> Result<Vec<OperationId>> {
    Ok(document::read(store, ACTIVE).await?.map(|(_, active)| active).unwrap_or_default())
}

/// An operation by id.
pub(crate) async fn read(store: &dyn Store, id: &OperationId) -> Result<Option<Operation>> {
    Ok(document::read(store, &key(id)).await?.map(|(_, operation)| operation))
}

/// Changes an operation.
pub(crate) async fn update<T: Send>(
    store: &dyn Store,
    known: &Operation,
    act: impl Fn(&mut Operation) -> T + Send + Sync,
) -> Result<Updated<Operation, T>> {
    document::update(store, &key(&known.id), known, act).await
}
