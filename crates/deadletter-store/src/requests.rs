//! What is asked of a store, and what it answers.

use crate::Clock;
use deadletter_core::{
    AccountName, Attempt, AttemptToken, DeliveryState, Event, Filter, ItemState, Lane, NewTask,
    OperationId, Payload, StateKind, Task, TaskId, UnixMs, WorkerId, counts::Place,
    label::UnknownLabel,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What survives what, once a call has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Durability {
    /// Memory: nothing survives the process.
    D0,
    /// Survives our crash; may lose the last seconds with the machine.
    D1,
    /// Survives crash and power loss.
    D2,
    /// Survives the loss of a machine.
    D3,
}

impl Durability {
    /// The word that is shown.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::D0 => "D0",
            Self::D1 => "D1",
            Self::D2 => "D2",
            Self::D3 => "D3",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for Durability {
    type Err = UnknownLabel;
    fn from_str(text: &str) -> Result<Self, UnknownLabel> {
        [Self::D0, Self::D1, Self::D2, Self::D3].into_iter().find(|d| d.label() == text).ok_or_else(
            || UnknownLabel {
                text: text.chars().take(80).collect(),
                expected: "D0, D1, D2, D3".to_owned(),
            },
        )
    }
}

/// What became of one task of an insert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored.
    New(TaskId),
    /// Its idempotency key belongs to this task already; nothing was written.
    Existing(TaskId),
    /// Its id is taken: choose another; nothing was written.
    IdTaken(TaskId),
}

/// Queued tasks that are due, with an intent for each: what a worker asks for.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Tasks of this account.
    pub account: AccountName,
    /// For this worker, which must be alive.
    pub worker: WorkerId,
    /// In this lane.
    pub lane: Lane,
    /// One token per task that may be claimed: their number is the limit.
    pub tokens: Vec<AttemptToken>,
    /// Permits of the account never exceed this number, over all workers.
    pub threads: u32,
    /// Store time.
    pub now: UnixMs,
}

/// A task with its lease, its intent durable, and what it asks for.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The row after the claim: `submitting`.
    pub task: Task,
    /// The attempt that the intent began.
    pub attempt: Attempt,
    /// What to send; none where the store has lost it: damage of one row, which hinders no other.
    pub payload: Option<Payload>,
}

/// Tasks and attempts that nobody works on.
#[derive(Clone, Debug)]
pub struct TakeOver {
    /// The worker that takes them, which must be alive.
    pub worker: WorkerId,
    /// Only of these accounts.
    pub accounts: Vec<AccountName>,
    /// At most this many tasks, and as many abandoned attempts.
    pub limit: u32,
    /// Store time.
    pub now: UnixMs,
}

/// What was taken over: `polling` tasks first.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Leased tasks of declared-dead workers, and `polling` tasks without a lease, each with its
    /// current attempt. The lease is ours now.
    pub tasks: Vec<(Task, Attempt)>,
    /// Such tasks whose current attempt is not in the store: damage. Their lease is ours too, and
    /// there is nothing to ask for.
    pub damaged: Vec<Task>,
    /// Open attempts with an upstream id that no task waits for, of dead workers or of none.
    pub abandoned: Vec<Attempt>,
}

/// What became of one change of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Facts taken in as far as they were news; the row, where there was one, is written.
    Applied,
    /// Facts as above; the row was not written, because the task is no longer at that version.
    Stale,
    /// Nothing was written: an attempt would be asked for under an upstream id that an open attempt
    /// of another task in that account has.
    IdTaken,
}

/// A page of tasks by filter, in the order of ids.
#[derive(Clone, Debug)]
pub struct Query {
    /// What to choose.
    pub filter: Filter,
    /// Store time, for ages.
    pub now: UnixMs,
    /// Newest first; oldest first where false.
    pub newest_first: bool,
    /// Go on after this task.
    pub after: Option<TaskId>,
    /// At most this many tasks.
    pub limit: u32,
    /// At most this many rows are looked at, so that no filter makes a page slow.
    pub scan_limit: u32,
}

/// A page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Where to go on; none at the end.
    pub next: Option<TaskId>,
}

/// One bounded step of freezing an operation's tasks.
#[derive(Clone, Debug)]
pub struct Freeze {
    /// The operation.
    pub operation: OperationId,
    /// What to freeze, one page.
    pub query: Query,
}

/// What a step of a freeze did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frozen {
    /// Items added; a task already frozen by this operation is not counted again.
    pub added: u32,
    /// Where to go on; none at the end.
    pub next: Option<TaskId>,
}

/// A task of an operation, at the version at which it was frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The task.
    pub task: TaskId,
    /// Its version when it was frozen; a task that has changed since is skipped.
    pub version: u64,
    /// What became of it.
    pub state: ItemState,
}

/// What is on record of one task beside its attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// Its events, in their order.
    pub events: Vec<Sequenced>,
    /// Its items, by operation.
    pub items: Vec<(OperationId, Item)>,
}

/// How far the trail of a task was read: the next page goes on behind it. By default, nothing was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The number of the last event; 0 where none was read.
    pub event: u64,
    /// The last item's operation.
    pub operation: Option<OperationId>,
}

impl Seen {
    /// What was read when `page` was read too.
    #[must_use]
    pub fn with(self, page: &Trail) -> Self {
        Self {
            event: page.events.last().map_or(self.event, |(n, _)| *n),
            operation: page.items.last().map(|(operation, _)| operation.clone()).or(self.operation),
        }
    }
}

/// What is past its time, one bounded step of it.
#[derive(Clone, Copy, Debug)]
pub struct Forget {
    /// Tallies of minutes that began before this instant.
    pub tallies_before: UnixMs,
    /// Events of before this instant whose tasks are purged.
    pub events_before: UnixMs,
    /// Look at events after this number of the sequence: where the last step ended, 0 at first.
    pub events_after: u64,
    /// Workers that died or left before this instant.
    pub workers_before: UnixMs,
    /// At most this many events and workers are looked at, and tallies of each dimension.
    pub limit: u32,
}

/// What a step deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Tallies.
    pub tallies: u64,
    /// Events.
    pub events: u64,
    /// Workers.
    pub workers: u64,
    /// Where the next step goes on among the events; none where all others are younger.
    pub next_event: Option<u64>,
}

/// Places whose deliveries are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Among {
    /// All but these: as much is under way there as may be.
    AllBut(Vec<String>),
    /// These and no other.
    These(Vec<String>),
}

/// The place whose turn is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextDelivery {
    /// Host and port.
    pub place: String,
    /// When its first delivery is due, in store time.
    pub due_at: UnixMs,
}

/// Deliveries to a place that are due: what a deliverer asks for.
#[derive(Clone, Debug)]
pub struct Due {
    /// Store time.
    pub now: UnixMs,
    /// Until when nobody else takes what is taken now.
    pub until: UnixMs,
    /// To this place.
    pub place: String,
    /// At most this many.
    pub limit: u32,
}

/// How many deliveries stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each field is the state of the same name")]
pub struct DeliveryCounts {
    pub waiting: i64,
    pub delivered: i64,
    pub given_up: i64,
}

impl DeliveryCounts {
    /// The count of a state.
    pub const fn of(&mut self, state: DeliveryState) -> &mut i64 {
        match state {
            DeliveryState::Waiting => &mut self.waiting,
            DeliveryState::Delivered => &mut self.delivered,
            DeliveryState::GivenUp => &mut self.given_up,
        }
    }
}

/// The numbers that must agree: accepted = sum over states + purged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each field is the place of the same name")]
pub struct Totals {
    pub accepted: i64,
    pub purged: i64,
    pub queued: i64,
    pub submitting: i64,
    pub polling: i64,
    pub solved: i64,
    pub dead: i64,
    pub buried: i64,
    pub cancelled: i64,
}

impl FromIterator<(Place, i64)> for Totals {
    fn from_iter<I: IntoIterator<Item = (Place, i64)>>(rows: I) -> Self {
        let mut totals = Self::default();
        for (place, n) in rows {
            *match place {
                Place::Accepted => &mut totals.accepted,
                Place::Purged => &mut totals.purged,
                Place::Queued => &mut totals.queued,
                Place::Submitting => &mut totals.submitting,
                Place::Polling => &mut totals.polling,
                Place::Solved => &mut totals.solved,
                Place::Dead => &mut totals.dead,
                Place::Buried => &mut totals.buried,
                Place::Cancelled => &mut totals.cancelled,
            } += n;
        }
        totals
    }
}

impl Totals {
    /// How many tasks stand in each state, in the order of their lives.
    #[must_use]
    pub const fn by_state(&self) -> [(StateKind, i64); 7] {
        [
            (StateKind::Queued, self.queued),
            (StateKind::Submitting, self.submitting),
            (StateKind::Polling, self.polling),
            (StateKind::Solved, self.solved),
            (StateKind::Dead, self.dead),
            (StateKind::Buried, self.buried),
            (StateKind::Cancelled, self.cancelled),
        ]
    }

    /// Tasks that stand in some state.
    #[must_use]
    pub fn standing(&self) -> i64 {
        self.by_state().iter().map(|(_, count)| count).sum()
    }

    /// True where nothing was lost or doubled.
    #[must_use]
    pub fn is_conserved(&self) -> bool {
        self.accepted == self.standing() + self.purged
    }
}

/// A worker as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// When it registered.
    pub started_at: UnixMs,
    /// Its last beat.
    pub beat_at: UnixMs,
    /// When it was declared dead, once and for good.
    pub dead_at: Option<UnixMs>,
    /// When it said good-bye.
    pub left_at: Option<UnixMs>,
    /// Host and process, for people.
    pub label: String,
}

/// What is wrong with a store's server, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ailment {
    /// A transaction is open for long, whoever began it: a PostgreSQL server keeps all rows that were
    /// replaced since, and tables grow.
    OpenTransaction {
        /// The server's process that serves it.
        process: i32,
        /// What its program calls itself; perhaps nothing.
        application: String,
        /// When it began, by the server's clock.
        began_at: UnixMs,
        /// How long ago that was, in milliseconds of the server's clock.
        open_ms: i64,
    },
    /// A Redis server came back without changes that it had answered.
    Lost {
        /// When that was noticed, by the store's clock.
        at: UnixMs,
        /// How many changes at least.
        changes: u64,
        /// Tasks that had lost anything, and that their programs have put back.
        put_back: u64,
    },
}

impl Worker {
    /// True where it has not ended, and was heard of lately by the store's `clock`.
    #[must_use]
    pub fn lives(&self, clock: &dyn Clock) -> bool {
        let has_ended = self.dead_at.is_some() || self.left_at.is_some();
        // A clock that runs fast has its workers silent for longer between two beats.
        let silent_ms = (SILENT_MS * clock.speed()) as i64;
        !has_ended && clock.now().since(self.beat_at) <= silent_ms
    }
}

/// A worker that has not been heard of for so long is declared dead, and does not work: three missed
/// beats of 2 s, in real milliseconds. A store's clock may run faster.
pub const SILENT_MS: f64 = 6_000.0;

/// The answer to a beat, and to a worker that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Store time.
    pub now: UnixMs,
    /// Workers that live, the one that beats among them.
    pub workers: u32,
}

/// The name of a document that is a task's: it is purged with its task.
#[must_use]
pub fn document_of(task: TaskId, name: &str) -> String {
    format!("task/{task}/{name}")
}

/// A small JSON document with a version: breakers, histograms, operations, keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name, `kind/name`.
    pub key: String,
    /// 1 at first; each put adds one.
    pub version: u64,
    /// Its JSON text; never a secret.
    pub body: String,
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Who wrote it: a worker or a command.
    pub writer: String,
    /// Its number within the writer, from 1.
    pub seq: u64,
    /// When.
    pub at: UnixMs,
    /// JSON text of what was done, by whom, on what filter, with what result.
    pub body: String,
    /// Hash over the previous entry's hash and this one, in hex.
    pub hash: String,
}

/// What an insert takes; an alias that reads well in signatures.
pub type NewTasks = Vec<NewTask>;

/// An event with its place in the sequence.
pub type Sequenced = (u64, Event);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    /// A clock at 100,000 that runs fifty times as fast.
    struct Fast;

    impl Clock for Fast {
        fn now(&self) -> UnixMs {
            UnixMs(100_000)
        }

        fn speed(&self) -> f64 {
            50.0
        }
    }

    #[test]
    fn a_worker_on_a_fast_clock_is_alive_as_long_as_it_beats() {
        let worker = Worker {
            id: WorkerId::new("w").unwrap(),
            label: String::new(),
            started_at: UnixMs(1),
            beat_at: UnixMs(10_000),
            dead_at: None,
            left_at: None,
        };
        assert!(worker.lives(&Fast), "it is silent for less than 2 s");
        assert!(!worker.lives(&ManualClock::at(UnixMs(100_000))));
        assert!(!Worker { left_at: Some(UnixMs(10_001)), ..worker }.lives(&Fast));
    }
}
