//! The memory store's side of [`crate::Desk`].

use super::{contents::Contents, operation::Operation};
use crate::{
    Forget, Forgotten, Freeze, Frozen, Item, Page, Query, Seen, Sequenced, Totals, Trail,
    document_of,
};
use deadletter_core::{ItemState, OperationId, StateKind, TaskId, UnixMs, counts::Deltas};
use std::ops::Bound;

impl Contents {
    pub(super) fn page(&self, query: &Query) -> Page {
        // A page that may look at nothing would never come to its end.
        let scan_limit = query.scan_limit.max(1) as usize;
        let range = query.filter.range();
        let ids = self.rows.candidates(&range, query.after, query.newest_first, scan_limit + 1);
        let mut page = Page::default();
        let mut last = None;
        for (looked_at, id) in ids.into_iter().enumerate() {
            if page.tasks.len() == query.limit as usize || looked_at == scan_limit {
                page.next = last;
                break;
            }
            last = Some(id);
            let task = self.rows.get(id).map(|row| &row.task);
            let chosen = task.filter(|task| query.filter.matches(task, query.now));
            page.tasks.extend(chosen.cloned());
        }
        page
    }

    /// What `totals` must agree with.
    pub(super) fn recount(&self) -> Totals {
        let mut totals = Totals { purged: self.counts.totals().purged, ..Totals::default() };
        for row in self.rows.all() {
            *match row.task.kind() {
                StateKind::Queued => &mut totals.queued,
                StateKind::Submitting => &mut totals.submitting,
                StateKind::Polling => &mut totals.polling,
                StateKind::Solved => &mut totals.solved,
                StateKind::Dead => &mut totals.dead,
                StateKind::Buried => &mut totals.buried,
                StateKind::Cancelled => &mut totals.cancelled,
            } += 1;
        }
        totals.accepted = totals.standing() + totals.purged;
        totals
    }

    pub(super) fn freeze(&mut self, freeze: &Freeze) -> Frozen {
        let page = self.page(&freeze.query);
        let operation = self.operations.entry(freeze.operation.clone()).or_default();
        let mut frozen = Frozen { added: 0, next: page.next };
        for task in page.tasks {
            frozen.added += u32::from(operation.freeze(task.id, task.version));
        }
        self.pulse += 1;
        frozen
    }

    pub(super) fn pending(
        &self,
        operation: &OperationId,
        after: Option<TaskId>,
        limit: u32,
    ) -> Vec<Item> {
        let operation = self.operations.get(operation);
        operation.map(|it| it.pending(after).take(limit as usize).collect()).unwrap_or_default()
    }

    pub(super) fn skip(&mut self, operation: &OperationId, tasks: &[TaskId]) {
        for task in tasks {
            self.settle(operation, *task, ItemState::Skipped);
        }
        self.pulse += 1;
    }

    pub(super) fn tally_items(&self, operation: &OperationId) -> [u64; 3] {
        self.operations.get(operation).map(Operation::tally).unwrap_or_default()
    }

    pub(super) fn purge(&mut self, tasks: &[(TaskId, u64)], now: UnixMs) -> u64 {
        tasks.iter().filter(|(id, version)| self.purge_one(*id, *version, now)).count() as u64
    }

    fn purge_one(&mut self, id: TaskId, version: u64, now: UnixMs) -> bool {
        let may_go = self.rows.get(id).is_some_and(|row| {
            row.task.version == version
                && row.task.kind().is_terminal()
                && !row.attempts.iter().any(|attempt| attempt.holds_permit(now))
        });
        let Some(row) = may_go.then(|| self.rows.remove(id)).flatten() else { return false };
        let task = row.task;
        let documents = document_of(id, "");
        let named = self.documents.range(documents.clone()..).map(|(key, _)| key.clone());
        for key in named.take_while(|key| key.starts_with(&documents)).collect::<Vec<_>>() {
            self.documents.remove(&key);
        }
        self.counts.add(Deltas::of_purge(&task));
        let key = task.idempotency_key.map(|key| (task.owner, key));
        if let Some(key) = key.filter(|key| self.keys.get(key) == Some(&id)) {
            self.keys.remove(&key);
        }
        for operation in self.operations.values_mut() {
            operation.forget(id);
        }
        self.outbox.forget(id);
        self.pulse += 1;
        true
    }

    pub(super) fn last_event(&self) -> u64 {
        self.events.last_key_value().map_or(0, |(n, _)| *n)
    }

    pub(super) fn events(&self, after: u64, limit: u32) -> Vec<Sequenced> {
        let newer = self.events.range((Bound::Excluded(after), Bound::Unbounded));
        newer.take(limit as usize).map(|(n, event)| (*n, event.clone())).collect()
    }

    pub(super) fn forget(&mut self, forget: &Forget) -> Forgotten {
        let limit = forget.limit as usize;
        let (events, next_event) = self.forget_events(forget);
        let is_over = |at: Option<UnixMs>| at.is_some_and(|at| at < forget.workers_before);
        let over = self.workers.values().filter(|it| is_over(it.dead_at) || is_over(it.left_at));
        let over: Vec<_> = over.take(limit).map(|worker| worker.id.clone()).collect();
        for worker in &over {
            self.workers.remove(worker);
        }
        let tallies = self.counts.forget(forget.tallies_before, limit);
        Forgotten { tallies, events, workers: over.len() as u64, next_event }
    }

    fn forget_events(&mut self, forget: &Forget) -> (u64, Option<u64>) {
        let (newest, limit) = (self.last_event(), forget.limit as usize);
        let old: Vec<(u64, TaskId)> = self
            .events
            .range((Bound::Excluded(forget.events_after), Bound::Excluded(newest.max(1))))
            .take_while(|(_, event)| event.at < forget.events_before)
            .take(limit)
            .map(|(n, event)| (*n, event.task))
            .collect();
        let next = old.last().filter(|_| old.len() == limit).map(|(n, _)| *n);
        let gone = old.iter().filter(|(_, task)| self.rows.get(*task).is_none());
        let gone: Vec<(u64, TaskId)> = gone.copied().collect();
        for (n, task) in &gone {
            self.events.remove(n);
            if let Some(numbers) = self.events_of.get_mut(task) {
                numbers.retain(|number| number != n);
            }
        }
        self.events_of.retain(|_, numbers| !numbers.is_empty());
        (gone.len() as u64, next)
    }

    pub(super) fn trail(&self, id: TaskId, seen: &Seen, limit: u32) -> Trail {
        let numbers = self.events_of.get(&id).into_iter().flatten().filter(|n| **n > seen.event);
        let event = |n: u64| Some((n, self.events.get(&n)?.clone()));
        let items = self.operations.iter();
        let items = items.filter(|(operation, _)| Some(*operation) > seen.operation.as_ref());
        let items = items.filter_map(|(operation, it)| Some((operation.clone(), it.item(id)?)));
        Trail {
            events: numbers.take(limit as usize).filter_map(|n| event(*n)).collect(),
            items: items.take(limit as usize).collect(),
        }
    }
}
