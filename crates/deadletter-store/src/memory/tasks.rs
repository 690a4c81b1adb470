//! The memory store's side of [`crate::Tasks`].

use super::{contents::Contents, index::Holder, row::Row};
use crate::{Claim, Claimed, Committed, Inserted, Result, TakeOver, Taken};
use deadletter_core::{
    AccountName, Attempt, AttemptToken, Change, Fact, Learned, NewTask, Reading, RowChange,
    StateKind, Task, TaskId, UnixMs, WorkerId, counts::Deltas,
};
use std::collections::BTreeSet;

impl Contents {
    pub(super) fn insert(&mut self, tasks: Vec<NewTask>) -> Vec<Inserted> {
        tasks.into_iter().map(|new| self.insert_one(new)).collect()
    }

    fn insert_one(&mut self, new: NewTask) -> Inserted {
        let task = &new.task;
        let key = task.idempotency_key.clone().map(|key| (task.owner.clone(), key));
        if let Some(id) = key.as_ref().and_then(|key| self.keys.get(key)) {
            let holder = self.rows.get(*id).map(|row| &row.task);
            if holder.is_some_and(|holder| holds_key(holder, &new)) {
                return Inserted::Existing(*id);
            }
        }
        if self.rows.get(task.id).is_some() {
            return Inserted::IdTaken(task.id);
        }
        let id = task.id;
        if let Some(key) = key {
            self.keys.insert(key, id);
        }
        self.counts.add(Deltas::of_insert(task));
        new.past.events.iter().for_each(|event| self.append(event.clone()));
        new.past.deliveries.iter().for_each(|delivery| self.outbox.put(delivery.clone()));
        for (operation, version, state) in &new.past.items {
            let operation = self.operations.entry(operation.clone()).or_default();
            operation.freeze(id, *version);
            operation.settle(id, *state);
        }
        self.rows.add(Row::new(new));
        self.pulse += 1;
        Inserted::New(id)
    }

    pub(super) fn claim(&mut self, claim: &Claim) -> Result<Vec<Claimed>> {
        self.must_be_alive(&claim.worker)?;
        self.lapse(&claim.account, claim.now);
        let lent = self.rows.index().permits(&claim.account).count();
        let room = (claim.threads as usize).saturating_sub(lent);
        let queue = (claim.account.clone(), claim.lane);
        self.rows.wake(&queue, claim.now);
        let chosen: Vec<Task> = self
            .rows
            .index()
            .ready(&queue)
            .filter_map(|id| Some(&self.rows.get(id)?.task))
            .filter(|task| is_claimable(task, claim.now))
            .take(room.min(claim.tokens.len()))
            .cloned()
            .collect();
        let intents = chosen.iter().zip(&claim.tokens);
        Ok(intents.filter_map(|(task, token)| self.begin(task, *token, claim)).collect())
    }

    /// Writes the lease and the intent of one task.
    fn begin(&mut self, task: &Task, token: AttemptToken, claim: &Claim) -> Option<Claimed> {
        let (row, attempt) = RowChange::claim(task, &claim.worker, token, claim.now)?;
        self.write(&row);
        self.rows.change(task.id, |stored| {
            stored.attempts.push(attempt.clone());
            Claimed { task: row.after, attempt, payload: Some(stored.payload.clone()) }
        })
    }

    pub(super) fn mark_read(&mut self, readings: &[Reading]) -> u64 {
        let mut news = 0;
        for reading in readings {
            let task = self.rows.get(reading.task).map(|row| &row.task);
            let Some(task) = task.filter(|task| reading.is_news_to(task)) else { continue };
            self.counts.add(Deltas::of_reading(task, reading));
            self.rows.change(reading.task, |row| row.task.verdict_read_at = Some(reading.at));
            news += 1;
        }
        news
    }

    /// Closes attempts of an account that have lapsed, and frees their permits.
    fn lapse(&mut self, account: &AccountName, now: UnixMs) {
        for (id, token) in self.rows.index().lapsed(account, now) {
            self.rows.change(id, |row| row.attempt_mut(token).is_some_and(|a| a.lapse(now)));
            self.pulse += 1;
        }
    }

    pub(super) fn commit(&mut self, changes: Vec<Change>) -> Vec<Committed> {
        changes.into_iter().map(|change| self.commit_one(&change)).collect()
    }

    fn commit_one(&mut self, change: &Change) -> Committed {
        if change.naming().any(|fact| self.is_id_taken(fact)) {
            return Committed::IdTaken;
        }
        let written = change.row.as_ref().is_none_or(|row| self.write(row));
        if let Some((answer, at)) = change.wins_by().filter(|_| written) {
            self.counts.add(Deltas::of_answer(answer, at));
        }
        for fact in change.facts_taken(written) {
            let deltas = self.rows.change(fact.task, |row| row.learn(fact));
            self.counts.add(deltas.unwrap_or_default());
            self.pulse += 1;
        }
        if written { Committed::Applied } else { Committed::Stale }
    }

    /// True where the fact would name two tasks' open attempts of an account alike.
    fn is_id_taken(&self, fact: &Fact) -> bool {
        let stored = self.rows.get(fact.task).and_then(|row| row.attempt(fact.token));
        let Some(attempt) = stored else { return false };
        let named = match &fact.learned {
            Learned::Accepted(id) => Some(id),
            _ => attempt.upstream_id.as_ref(),
        };
        let Some(id) = named else { return false };
        self.rows.index().bearers(&attempt.account, id).any(|(task, token)| {
            let bearer = self.rows.get(task).and_then(|row| row.attempt(token));
            bearer.is_some_and(|bearer| bearer.keeps_its_id_from(fact.task))
        })
    }

    pub(super) fn take_over(&mut self, take: &TakeOver) -> Result<Taken> {
        self.must_be_alive(&take.worker)?;
        for account in &take.accounts {
            self.lapse(account, take.now);
        }
        let free: BTreeSet<Holder> =
            self.rows.index().holders().filter(|h| self.is_gone(h.as_ref())).cloned().collect();
        let adoptions = self.free_tasks(&free, take);
        let abandoned = self.free_attempts(&free, take);
        let mut taken = Taken::default();
        for task in self.get(&adoptions).into_iter().flatten() {
            let row = RowChange::adopt(&task, &take.worker, take.now);
            self.write(&row);
            let token = row.after.attempt;
            match token.and_then(|token| self.adopt(task.id, token, &take.worker)) {
                Some(attempt) => taken.tasks.push((row.after, attempt)),
                None => taken.damaged.push(row.after),
            }
        }
        for (id, token) in abandoned {
            taken.abandoned.extend(self.adopt(id, token, &take.worker));
        }
        Ok(taken)
    }

    /// Leased tasks that nobody alive holds: `polling` ones first, each kind by id.
    fn free_tasks(&self, free: &BTreeSet<Holder>, take: &TakeOver) -> Vec<TaskId> {
        let limit = take.limit as usize;
        let mut all = Vec::new();
        for state in [StateKind::Polling, StateKind::Submitting] {
            let mut tasks = BTreeSet::new();
            for (holder, account) in pairs(free, &take.accounts) {
                tasks.extend(self.rows.index().leases(holder, account, state).take(limit));
            }
            all.extend(tasks);
        }
        all.truncate(limit);
        all
    }

    /// Abandoned attempts that nobody alive polls, oldest intent first.
    fn free_attempts(
        &self,
        free: &BTreeSet<Holder>,
        take: &TakeOver,
    ) -> Vec<(TaskId, AttemptToken)> {
        let limit = take.limit as usize;
        let mut attempts = BTreeSet::new();
        for (holder, account) in pairs(free, &take.accounts) {
            attempts.extend(self.rows.index().abandoned(holder, account).take(limit));
        }
        attempts.into_iter().map(|(_, key)| key).take(limit).collect()
    }

    pub(super) fn abandoned(
        &self,
        worker: &WorkerId,
        account: &AccountName,
        after: Option<&Attempt>,
        limit: u32,
    ) -> Vec<Attempt> {
        let holder = Some(worker.clone());
        let behind = after.map(|last| (last.intent_at, (last.task, last.token)));
        let entries = self.rows.index().abandoned(&holder, account);
        let entries = entries.filter(|entry| behind.is_none_or(|behind| *entry > behind));
        entries
            .filter_map(|(_, (id, token))| self.rows.get(id)?.attempt(token).cloned())
            .take(limit as usize)
            .collect()
    }

    fn adopt(&mut self, id: TaskId, token: AttemptToken, worker: &WorkerId) -> Option<Attempt> {
        self.pulse += 1;
        self.rows.change(id, |row| {
            let attempt = row.attempt_mut(token)?;
            attempt.worker = Some(worker.clone());
            Some(attempt.clone())
        })?
    }

    pub(super) fn overdue(&self, account: &AccountName, now: UnixMs, limit: u32) -> Vec<Task> {
        let ids = self.rows.index().overdue(account, now).take(limit as usize);
        ids.filter_map(|id| self.rows.get(id)).map(|row| row.task.clone()).collect()
    }

    pub(super) fn get(&self, ids: &[TaskId]) -> Vec<Option<Task>> {
        ids.iter().map(|id| self.rows.get(*id).map(|row| row.task.clone())).collect()
    }
}

fn pairs<'a>(
    holders: &'a BTreeSet<Holder>,
    accounts: &'a [AccountName],
) -> impl Iterator<Item = (&'a Holder, &'a AccountName)> {
    holders.iter().flat_map(move |holder| accounts.iter().map(move |account| (holder, account)))
}

/// True where the key of `new` leads to `holder`, which has it.
fn holds_key(holder: &Task, new: &NewTask) -> bool {
    let is_open =
        matches!(holder.kind(), StateKind::Queued | StateKind::Submitting | StateKind::Polling);
    holder.idempotency_expires_at.is_none_or(|at| at > new.task.created_at)
        && (is_open || !new.is_folded || holder.id == new.task.id)
}

/// A task that became ready under a later `now` than this claim's is not due yet.
fn is_claimable(task: &Task, now: UnixMs) -> bool {
    task.due_at().is_some_and(|at| at <= now) && task.deadline_at.is_none_or(|at| at > now)
}
