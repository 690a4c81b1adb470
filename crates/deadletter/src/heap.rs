//! The upstream ids that are asked for, in one heap of due times.
//!
//! One entry per attempt: what is added twice replaces the older entry, and an entry that was
//! taken out to be asked is put back only where no newer one has come. Ids that were taken over
//! from other workers are remembered apart until each has been looked at once, whatever entry
//! stands for it then: nothing new is submitted before.

use deadletter_core::{AccountName, Attempt, AttemptToken, Cause, StateKind, Task, UnixMs};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// The longest time between upstream's "not ready" and our writing it down: a request's time-out.
pub(crate) const ROUND_TRIP_MS: i64 = 15_000;

/// An attempt that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) task: Task,
    pub(crate) attempt: Attempt,
    /// The last readable "not ready": an answer is younger than it.
    pub(crate) not_ready_at: Option<UnixMs>,
}

impl Entry {
    pub(crate) fn new(task: Task, attempt: Attempt) -> Self {
        // Only a readable "not ready" ends an attempt by time-out: its answer is younger than that.
        let is_timed_out = attempt.cause.as_ref().is_some_and(|c| c.as_str() == Cause::TIMEOUT);
        let not_ready_at =
            attempt.abandoned_at.filter(|_| is_timed_out).map(|at| at.plus(-ROUND_TRIP_MS));
        Self { task, attempt, not_ready_at }
    }

    /// An attempt for which its task waits again.
    pub(crate) fn resumed(task: Task, attempt: Attempt, now: UnixMs) -> Self {
        let mut entry = Self::new(task, attempt);
        entry.attempt.resumed_at = Some(now);
        entry.attempt.abandoned_at = None;
        entry.attempt.permit_until = None;
        entry
    }

    /// True while the task waits for this attempt.
    pub(crate) fn is_current(&self) -> bool {
        self.task.kind() == StateKind::Polling && self.task.attempt == Some(self.attempt.token)
    }

    /// When upstream took the job.
    pub(crate) fn accepted_at(&self) -> UnixMs {
        self.attempt.accepted_at.unwrap_or(self.attempt.intent_at)
    }

    /// Since when its task has been waiting for it.
    pub(crate) fn awaited_since(&self) -> UnixMs {
        self.attempt.resumed_at.unwrap_or_else(|| self.accepted_at())
    }
}

/// The heap, and who waits for it.
#[derive(Default)]
pub(crate) struct Poller {
    /// Guards the heap; held for pushes and pops only.
    heap: Mutex<Heap>,
    pub(crate) wake: Notify,
}

#[derive(Default)]
struct Heap {
    /// May name what has been replaced: only what `entries` names with the same time is due.
    due: BinaryHeap<Reverse<(UnixMs, AttemptToken)>>,
    entries: HashMap<AttemptToken, (UnixMs, Box<Entry>)>,
    /// How often each is being asked for at this moment.
    asked: HashMap<AttemptToken, u32>,
    /// Attempts per account, those that are being asked for among them.
    live: HashMap<AccountName, usize>,
    /// Taken over from other workers, and not looked at yet.
    recovering: HashSet<AttemptToken>,
}

impl Heap {
    fn is_known(&self, token: AttemptToken) -> bool {
        self.entries.contains_key(&token) || self.asked.contains_key(&token)
    }

    fn put(&mut self, entry: Box<Entry>, due_at: UnixMs) {
        let token = entry.attempt.token;
        self.due.push(Reverse((due_at, token)));
        self.entries.insert(token, (due_at, entry));
    }
}

impl Poller {
    fn heap(&self) -> MutexGuard<'_, Heap> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, entry: Entry, due_at: UnixMs) {
        self.add_to(self.heap(), entry, due_at);
    }

    /// Adds what was taken over: it is looked at before anything new is submitted.
    pub(crate) fn recover(&self, entry: Entry, due_at: UnixMs) {
        let mut heap = self.heap();
        heap.recovering.insert(entry.attempt.token);
        self.add_to(heap, entry, due_at);
    }

    /// True while something that was taken over has not been looked at.
    pub(crate) fn is_recovering(&self) -> bool {
        !self.heap().recovering.is_empty()
    }

    fn add_to(&self, mut heap: MutexGuard<'_, Heap>, entry: Entry, due_at: UnixMs) {
        if !heap.is_known(entry.attempt.token) {
            *heap.live.entry(entry.task.account.clone()).or_default() += 1;
        }
        heap.put(Box::new(entry), due_at);
        drop(heap);
        self.wake.notify_one();
    }

    /// Puts back what was taken out; not where a newer entry has come, or all was forgotten.
    pub(crate) fn put_back(&self, entry: Box<Entry>, due_at: UnixMs) {
        let token = entry.attempt.token;
        let mut heap = self.heap();
        if heap.asked.contains_key(&token) && !heap.entries.contains_key(&token) {
            heap.put(entry, due_at);
            drop(heap);
            self.wake.notify_one();
        }
    }

    /// Everything becomes due so much earlier.
    pub(crate) fn bring_forward(&self, ms: i64) {
        let mut heap = self.heap();
        let Heap { due, entries, .. } = &mut *heap;
        for (due_at, _) in entries.values_mut() {
            *due_at = due_at.plus(-ms);
        }
        *due = entries.iter().map(|(token, (due_at, _))| Reverse((*due_at, *token))).collect();
    }

    /// Forgets everything: this worker was declared dead, and another one has it all.
    pub(crate) fn clear(&self) {
        *self.heap() = Heap::default();
    }

    /// How many tasks of the account wait for an id that is asked for here.
    pub(crate) fn live(&self, account: &AccountName) -> usize {
        self.heap().live.get(account).copied().unwrap_or(0)
    }

    /// True where the account has an id that can be asked for.
    pub(crate) fn has_live(&self, account: &AccountName) -> bool {
        self.heap().live.get(account).is_some_and(|n| *n > 0)
    }

    /// True where the attempt is asked for.
    pub(crate) fn has(&self, token: AttemptToken) -> bool {
        self.heap().is_known(token)
    }

    /// Ids that are asked for: those that their tasks wait for, and those that may answer late. One
    /// that is on the wire just now counts as waited for.
    pub(crate) fn asked_for(&self) -> (usize, usize) {
        let heap = self.heap();
        let all: usize = heap.live.values().sum();
        let late = heap.entries.values().filter(|(_, entry)| !entry.is_current()).count();
        (all.saturating_sub(late), late)
    }

    /// Takes out an entry that is due; `looked_at` must follow.
    pub(crate) fn pop_due(&self, now: UnixMs) -> Option<Box<Entry>> {
        let mut heap = self.heap();
        loop {
            let Reverse((due_at, token)) = *heap.due.peek()?;
            if due_at > now {
                return None;
            }
            heap.due.pop();
            if heap.entries.get(&token).is_some_and(|(at, _)| *at == due_at) {
                *heap.asked.entry(token).or_default() += 1;
                return heap.entries.remove(&token).map(|(_, entry)| entry);
            }
        }
    }

    /// An entry that was taken out has been looked at; where there is more to ask it was put back.
    /// True where it was the last one that had been taken over.
    pub(crate) fn looked_at(&self, account: &AccountName, token: AttemptToken) -> bool {
        let mut heap = self.heap();
        let was_last = heap.recovering.remove(&token) && heap.recovering.is_empty();
        let Some(asked) = heap.asked.get_mut(&token) else { return was_last };
        *asked -= 1;
        if *asked == 0 {
            heap.asked.remove(&token);
        }
        if !heap.is_known(token)
            && let Some(live) = heap.live.get_mut(account)
        {
            *live = live.saturating_sub(1);
        }
        was_last
    }

    pub(crate) fn next_due(&self) -> Option<UnixMs> {
        self.heap().due.peek().map(|Reverse((due_at, _))| *due_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter_core::{Policy, State, TaskId, UpstreamId, WorkerId};

    fn account() -> AccountName {
        AccountName::new("main").expect("a name")
    }

    fn entry(n: u64) -> Entry {
        let id = TaskId::try_from(n).expect("small");
        let token = AttemptToken::from_random(n * 2);
        let worker = WorkerId::new("w").expect("a name");
        let task = Task {
            state: State::Submitting,
            version: 2,
            worker: Some(worker.clone()),
            attempt: Some(token),
            ..Task::queued(id, account(), &Policy::default(), UnixMs(0))
        };
        let attempt = Attempt::intended(token, id, 1, account(), worker, UnixMs(0));
        Entry::new(task, attempt)
    }

    #[test]
    fn an_answer_after_a_time_out_is_younger_than_the_last_not_ready() {
        let mut late = entry(1);
        late.attempt.abandoned_at = Some(UnixMs(200_000));
        late.attempt.cause = Some(Cause::new(Cause::TIMEOUT));
        let resumed = Entry::resumed(late.task.clone(), late.attempt.clone(), UnixMs(300_000));
        assert_eq!(resumed.not_ready_at, Some(UnixMs(185_000)));
        // A deadline says nothing of what upstream said last.
        late.attempt.cause = Some(Cause::new(Cause::DEADLINE));
        assert_eq!(Entry::new(late.task, late.attempt).not_ready_at, None);
    }

    #[test]
    fn ids_that_their_tasks_gave_up_are_told_apart_from_those_that_are_waited_for() {
        let poller = Poller::default();
        let mut waited_for = entry(1);
        let upstream_id = UpstreamId::new("1").expect("valid");
        waited_for.task.state = State::Polling { upstream_id };
        poller.add(waited_for, UnixMs(5));
        poller.add(entry(2), UnixMs(6));
        assert_eq!(poller.asked_for(), (1, 1));
    }

    #[test]
    fn a_recovered_id_counts_as_looked_at_whichever_entry_stands_for_it() {
        let poller = Poller::default();
        poller.recover(entry(1), UnixMs(5));
        poller.recover(entry(2), UnixMs(6));
        // A redrive resumes the first one before it was its turn.
        poller.add(entry(1), UnixMs(7));
        assert_eq!(poller.live(&account()), 2);
        let second = poller.pop_due(UnixMs(6)).expect("due");
        assert!(!poller.looked_at(&account(), second.attempt.token));
        assert!(poller.is_recovering(), "the first has not been looked at");
        let first = poller.pop_due(UnixMs(7)).expect("due");
        assert!(poller.looked_at(&account(), first.attempt.token));
        assert!(!poller.is_recovering() && poller.live(&account()) == 0);
    }

    #[test]
    fn what_is_brought_forward_keeps_its_order() {
        let poller = Poller::default();
        poller.add(entry(1), UnixMs(7_000));
        poller.add(entry(2), UnixMs(6_000));
        // Replaced: its older place in the heap names nothing any more.
        poller.add(entry(1), UnixMs(9_000));
        poller.bring_forward(5_000);
        assert_eq!(poller.next_due(), Some(UnixMs(1_000)));
        let due = |now| poller.pop_due(UnixMs(now)).map(|entry| entry.attempt.token);
        assert_eq!(due(3_999), Some(entry(2).attempt.token));
        assert_eq!(due(3_999), None);
        assert_eq!(due(4_000), Some(entry(1).attempt.token));
        assert_eq!(due(90_000), None);
    }

    #[test]
    fn what_was_forgotten_is_waited_for_no_longer() {
        let poller = Poller::default();
        poller.recover(entry(1), UnixMs(5));
        let taken = poller.pop_due(UnixMs(5)).expect("due");
        poller.clear();
        assert!(!poller.is_recovering());
        poller.recover(entry(2), UnixMs(5));
        assert!(!poller.looked_at(&account(), taken.attempt.token), "it is of the life before");
        poller.put_back(taken, UnixMs(5));
        assert!(poller.is_recovering() && poller.live(&account()) == 1);
    }

    #[test]
    fn a_newer_entry_is_not_overwritten_by_one_that_was_taken_out() {
        let poller = Poller::default();
        poller.add(entry(1), UnixMs(5));
        let mut old = poller.pop_due(UnixMs(5)).expect("due");
        old.not_ready_at = Some(UnixMs(4));
        let token = old.attempt.token;
        poller.add(entry(1), UnixMs(9));
        poller.put_back(old, UnixMs(6));
        poller.looked_at(&account(), token);
        assert!(poller.pop_due(UnixMs(8)).is_none(), "the old one was put back");
        assert_eq!(poller.pop_due(UnixMs(9)).expect("due").not_ready_at, None);
    }
}
