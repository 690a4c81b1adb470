//! Where rows are found without looking at the others.
//!
//! Every entry follows from its row alone, so a change needs no rules here: the row is taken out,
//! changed, and put back. Only queued tasks move by themselves, from `waiting` to `ready` when
//! they are due. Dead letters have no entry in any set that a claim walks.

use super::{row::Row, sets::Sets};
use deadletter_core::{
    AccountName, Attempt, AttemptToken, Cause, Lane, StateKind, Task, TaskId, UnixMs, UpstreamId,
    WorkerId, filter::Range,
};
use std::collections::BTreeSet;

/// Where an attempt is found: its row, and its token there.
pub(super) type AttemptKey = (TaskId, AttemptToken);
/// Who works on something; nobody, where a lease was given back.
pub(super) type Holder = Option<WorkerId>;
/// Where claims look: each lane of each account apart.
pub(super) type Queue = (AccountName, Lane);
/// The order in which due tasks are claimed: priority, turn, due time, id.
type Turn = (u8, i64, UnixMs, TaskId);

/// What a filter can name exactly.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Facet {
    State(StateKind),
    Cause(Cause),
    Sitekey(String),
    Batch(String),
}

/// All the ways to find a row but by its id.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Queued, unheld tasks that were not due when last looked at.
    waiting: Sets<Queue, (UnixMs, Turn)>,
    /// Queued, unheld tasks that have become due.
    ready: Sets<Queue, Turn>,
    /// Both together, by due time.
    due: Sets<AccountName, (UnixMs, TaskId)>,
    /// Queued tasks with a deadline, held ones too.
    deadlines: Sets<AccountName, (UnixMs, TaskId)>,
    /// Tasks under way.
    leases: Sets<(Holder, AccountName, StateKind), TaskId>,
    /// Attempts that can still be polled though their task does not wait for them.
    abandoned: Sets<(Holder, AccountName), (UnixMs, AttemptKey)>,
    /// Attempts that count against an account's threads: never many more than it has.
    permits: Sets<AccountName, AttemptKey>,
    /// Attempts that will lapse, by when.
    lapsing: Sets<AccountName, (UnixMs, AttemptKey)>,
    /// Attempts by the provider's name for the job.
    upstream_ids: Sets<(AccountName, UpstreamId), AttemptKey>,
    /// Tasks by what a filter can name.
    facets: Sets<Facet, TaskId>,
}

impl Index {
    /// Puts a row's entries in, or takes them out.
    pub(super) fn file(&mut self, row: &Row, is_in: bool) {
        let task = &row.task;
        let account = || task.account.clone();
        if let Some(due_at) = task.due_at() {
            if task.hold.is_none() {
                let queue = (account(), task.lane());
                let turn = (task.priority, task.turn, due_at, task.id);
                self.ready.put(queue.clone(), turn, false);
                self.waiting.put(queue, (due_at, turn), is_in);
                self.due.put(account(), (due_at, task.id), is_in);
            }
            if let Some(at) = task.deadline_at {
                self.deadlines.put(account(), (at, task.id), is_in);
            }
        }
        if task.kind().is_leased() {
            self.leases.put((task.worker.clone(), account(), task.kind()), task.id, is_in);
        }
        for attempt in row.abandoned() {
            let entry = (attempt.intent_at, (task.id, attempt.token));
            self.abandoned.put((attempt.worker.clone(), attempt.account.clone()), entry, is_in);
        }
        for attempt in &row.attempts {
            self.file_attempt(attempt, is_in);
        }
        for facet in facets(task) {
            self.facets.put(facet, task.id, is_in);
        }
    }

    /// An attempt counts against its own account, wherever its task has gone.
    fn file_attempt(&mut self, attempt: &Attempt, is_in: bool) {
        let key = (attempt.task, attempt.token);
        let account = || attempt.account.clone();
        if attempt.permit {
            self.permits.put(account(), key, is_in);
        }
        if let Some(at) = attempt.lapses_at() {
            self.lapsing.put(account(), (at, key), is_in);
        }
        if let Some(id) = &attempt.upstream_id {
            self.upstream_ids.put((account(), id.clone()), key, is_in);
        }
    }

    /// Makes tasks of a queue claimable that are due at `now`.
    pub(super) fn wake(&mut self, queue: &Queue, now: UnixMs) {
        for (_, turn) in self.waiting.take_while(queue, |(due_at, _)| *due_at <= now) {
            self.ready.put(queue.clone(), turn, true);
        }
    }

    /// Tasks of a queue that have become due, in the order of claims.
    pub(super) fn ready(&self, queue: &Queue) -> impl Iterator<Item = TaskId> {
        self.ready.members(queue).map(|&(_, _, _, id)| id)
    }

    pub(super) fn next_due(&self, account: &AccountName) -> Option<UnixMs> {
        self.due.members(account).next().map(|&(due_at, _)| due_at)
    }

    /// Queued tasks of the account whose deadline has passed, oldest deadline first.
    pub(super) fn overdue(
        &self,
        account: &AccountName,
        now: UnixMs,
    ) -> impl Iterator<Item = TaskId> {
        let deadlines = self.deadlines.members(account);
        deadlines.take_while(move |(at, _)| *at <= now).map(|&(_, id)| id)
    }

    /// Attempts that hold a permit of the account.
    pub(super) fn permits(&self, account: &AccountName) -> impl Iterator<Item = AttemptKey> {
        self.permits.members(account).copied()
    }

    /// Attempts of the account that have lapsed.
    pub(super) fn lapsed(&self, account: &AccountName, now: UnixMs) -> Vec<AttemptKey> {
        let lapsing = self.lapsing.members(account);
        lapsing.take_while(|(at, _)| *at <= now).map(|&(_, key)| key).collect()
    }

    /// Attempts of the account that carry this upstream id.
    pub(super) fn bearers(
        &self,
        account: &AccountName,
        id: &UpstreamId,
    ) -> impl Iterator<Item = AttemptKey> {
        self.upstream_ids.members(&(account.clone(), id.clone())).copied()
    }

    /// Tasks of an account in a leased state that `holder` holds, by id.
    pub(super) fn leases(
        &self,
        holder: &Holder,
        account: &AccountName,
        state: StateKind,
    ) -> impl Iterator<Item = TaskId> {
        self.leases.members(&(holder.clone(), account.clone(), state)).copied()
    }

    /// Abandoned attempts of an account that `holder` polls, oldest intent first.
    pub(super) fn abandoned(
        &self,
        holder: &Holder,
        account: &AccountName,
    ) -> impl Iterator<Item = (UnixMs, AttemptKey)> {
        self.abandoned.members(&(holder.clone(), account.clone())).copied()
    }

    /// Everybody who holds a task or polls an abandoned attempt; `None` stands for nobody.
    pub(super) fn holders(&self) -> impl Iterator<Item = &Holder> {
        let leases = self.leases.keys().map(|(holder, _, _)| holder);
        leases.chain(self.abandoned.keys().map(|(holder, _)| holder))
    }

    /// The narrowest known sets that together hold every task of `range`; none where it names
    /// nothing that is indexed.
    pub(super) fn narrowest(&self, range: &Range) -> Option<Vec<&BTreeSet<TaskId>>> {
        let states = range.states.as_ref();
        let ways = [
            states.map(|states| states.iter().map(|state| Facet::State(*state)).collect()),
            range.cause.clone().map(|cause| vec![Facet::Cause(cause)]),
            range.sitekey.clone().map(|sitekey| vec![Facet::Sitekey(sitekey)]),
            range.batch.clone().map(|batch| vec![Facet::Batch(batch)]),
        ];
        ways.into_iter()
            .flatten()
            .map(|facets: Vec<Facet>| -> Vec<_> {
                facets.iter().filter_map(|facet| self.facets.get(facet)).collect()
            })
            .min_by_key(|sets| sets.iter().map(|set| set.len()).sum::<usize>())
    }
}

fn facets(task: &Task) -> impl Iterator<Item = Facet> {
    let dimensions = &task.dimensions;
    [
        Some(Facet::State(task.kind())),
        task.cause.clone().map(Facet::Cause),
        dimensions.sitekey.clone().map(Facet::Sitekey),
        dimensions.batch.clone().map(Facet::Batch),
    ]
    .into_iter()
    .flatten()
}
