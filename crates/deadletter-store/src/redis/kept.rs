//! What this handle wrote last of each task of late: its next change of one need not load it, and a
//! server that has lost one gets it back.
//!
//! In memory, for an hour and within limits; what was written longest ago is forgotten first: a server
//! that takes over is behind by moments. Nothing here is believed: a call that goes by it checks that
//! its task still bears the mark that it was written under.

use super::{
    failure::Outcome,
    tasks::{answer, row::Loaded},
};
use deadletter_core::{Attempt, AttemptToken, Held, Payload, TaskId, UnixMs};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How long anything is kept: longer than a server is behind that others would let take over.
const KEPT_MS: i64 = 3_600_000;
/// Bytes that are kept at most, about: the last half a minute of a thousand tasks a second.
const BYTES: usize = 64 << 20;
/// What a task costs beside its texts, and what a write costs beside its task.
const OF_A_TASK: usize = 1_024;
const OF_A_WRITE: usize = 32;

/// What of a task was written.
pub(super) enum Piece {
    /// The task, with the length of its text and the attempts that have changed.
    Task { task: Arc<Loaded>, text: usize, attempts: Vec<AttemptToken> },
    /// An attempt of which it is only known that it was written.
    Attempt(Box<Attempt>),
    /// What it asks for; written before, where it is claimed.
    Request(TaskId, Arc<str>),
    /// Answers, as they are stored.
    Answers(TaskId, Arc<str>),
    /// It was deleted.
    Deleted(TaskId),
}

/// What is kept.
#[derive(Default)]
pub(super) struct Kept(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    tasks: HashMap<TaskId, Entry>,
    /// Writes in their order; of a task, the last one counts.
    order: VecDeque<Written>,
    bytes: usize,
    /// The highest number among what was forgotten.
    forgotten: u64,
}

#[derive(Default)]
struct Entry {
    seq: u64,
    /// None where only attempts are known.
    task: Option<Arc<Loaded>>,
    /// The length of its text.
    text: usize,
    /// Attempts that stand apart from it.
    attempts: Vec<Attempt>,
    request: Option<Arc<str>>,
    answers: Vec<Arc<str>>,
}

impl Entry {
    fn bytes(&self) -> usize {
        let request = self.request.as_deref().map_or(0, str::len);
        let answers: usize = self.answers.iter().map(|answer| answer.len()).sum();
        OF_A_TASK * (1 + self.attempts.len()) + self.text + request + answers
    }
}

#[derive(Clone, Copy)]
struct Written {
    seq: u64,
    at: UnixMs,
    task: TaskId,
}

/// A task as it is kept, to be put back.
pub(super) struct KeptTask {
    pub(super) id: TaskId,
    pub(super) held: Held,
    pub(super) request: Option<Payload>,
}

impl Kept {
    /// What a call has written, behind which the store stood at `seq`.
    pub(super) fn note(&self, pieces: Vec<Piece>, seq: u64, at: UnixMs) {
        let inner = &mut *self.inner();
        for piece in pieces {
            match piece {
                Piece::Task { task, text, .. } => {
                    inner.keep(Written { seq, at, task: task.task.id }, |entry| {
                        (entry.task, entry.text) = (Some(task), text);
                    });
                }
                Piece::Attempt(attempt) => {
                    inner.keep(Written { seq, at, task: attempt.task }, |entry| {
                        entry.attempts.retain(|known| known.token != attempt.token);
                        entry.attempts.push(*attempt);
                    });
                }
                Piece::Request(task, request) => {
                    inner.edit(task, |entry| entry.request = Some(request));
                }
                Piece::Answers(task, answers) => {
                    inner.edit(task, |entry| entry.answers.push(answers));
                }
                Piece::Deleted(task) => inner.forget(task),
            }
        }
        inner.forget_old(at);
    }

    /// Those of some tasks that are kept, with what they ask for as far as that is known.
    pub(super) fn of<'i>(
        &self,
        ids: impl IntoIterator<Item = &'i TaskId>,
    ) -> Vec<(Arc<Loaded>, Option<Arc<str>>)> {
        let inner = self.inner();
        let kept = ids.into_iter().filter_map(|id| inner.tasks.get(id));
        kept.filter_map(|entry| Some((entry.task.clone()?, entry.request.clone()))).collect()
    }

    /// Tasks that were written behind that number, in the order of their ids; and whether that is
    /// all that there were.
    pub(super) fn behind(&self, seq: u64) -> (Vec<TaskId>, bool) {
        let inner = self.inner();
        let lost = inner.tasks.iter().filter(|(_, entry)| entry.seq > seq);
        let mut lost: Vec<TaskId> = lost.map(|(id, _)| *id).collect();
        lost.sort_unstable();
        (lost, inner.forgotten <= seq)
    }

    /// A task, where it is kept.
    pub(super) fn get(&self, id: TaskId) -> Outcome<Option<KeptTask>> {
        let inner = self.inner();
        let Some(entry) = inner.tasks.get(&id) else { return Ok(None) };
        let task = entry.task.as_ref().map(|it| it.task.clone());
        let mut attempts = entry.task.as_ref().map(|it| it.attempts.clone()).unwrap_or_default();
        let is_known = |it: &Attempt| attempts.iter().any(|known| known.token == it.token);
        let apart: Vec<Attempt> =
            entry.attempts.iter().filter(|it| !is_known(it)).cloned().collect();
        attempts.extend(apart);
        let request = entry.request.as_deref().and_then(|it| Payload::from_stored(it).ok());
        let answers = answer::read(&entry.answers.concat())?;
        Ok(Some(KeptTask { id, held: Held { task, attempts, answers }, request }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn keep(&mut self, written: Written, edit: impl FnOnce(&mut Entry)) {
        let entry = self.tasks.entry(written.task).or_insert_with(|| {
            let entry = Entry::default();
            self.bytes += entry.bytes();
            entry
        });
        if entry.seq != written.seq {
            entry.seq = written.seq;
            self.order.push_back(written);
            self.bytes += OF_A_WRITE;
        }
        self.edit(written.task, edit);
    }

    fn edit(&mut self, task: TaskId, edit: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.tasks.get_mut(&task) {
            let before = entry.bytes();
            edit(entry);
            self.bytes = self.bytes - before + entry.bytes();
        }
    }

    fn forget(&mut self, task: TaskId) {
        if let Some(entry) = self.tasks.remove(&task) {
            self.bytes -= entry.bytes();
        }
    }

    fn forget_old(&mut self, now: UnixMs) {
        while let Some(first) = self.order.front().copied() {
            if self.bytes <= BYTES && now.since(first.at) <= KEPT_MS {
                return;
            }
            self.order.pop_front();
            self.bytes -= OF_A_WRITE;
            if self.tasks.get(&first.task).is_some_and(|entry| entry.seq == first.seq) {
                self.forgotten = self.forgotten.max(first.seq);
                self.forget(first.task);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter_core::{AccountName, Policy, Task};

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn id(n: u64) -> TaskId {
        TaskId::try_from(n).unwrap()
    }

    fn piece(n: u64, bytes: usize) -> Vec<Piece> {
        let account = AccountName::new("main").unwrap();
        let task = Task::queued(id(n), account, &Policy::default(), NOW);
        let task = Arc::new(Loaded::new(Arc::from("1.1"), task));
        vec![Piece::Task { task, text: bytes, attempts: Vec::new() }]
    }

    #[test]
    fn what_was_written_behind_a_number_is_known_until_it_is_deleted() {
        let kept = Kept::default();
        for n in [1, 2, 3] {
            kept.note(piece(n, 1), n, NOW);
        }
        assert_eq!(kept.behind(1), (vec![id(2), id(3)], true));
        kept.note(vec![Piece::Deleted(id(3))], 4, NOW);
        kept.note(piece(1, 1), 5, NOW);
        assert_eq!(kept.behind(1), (vec![id(1), id(2)], true));
        assert!(kept.get(id(3)).unwrap().is_none());
    }

    #[test]
    fn what_is_old_or_too_much_is_forgotten_and_that_is_known() {
        let kept = Kept::default();
        kept.note(piece(1, 1), 1, NOW);
        kept.note(piece(1, 1), 2, NOW);
        kept.note(piece(2, 1), 3, NOW.plus(KEPT_MS));
        assert_eq!(kept.behind(0), (vec![id(1), id(2)], true));
        kept.note(piece(2, 1), 4, NOW.plus(KEPT_MS + 1));
        assert_eq!(kept.behind(0), (vec![id(2)], false));
        assert_eq!(kept.behind(2), (vec![id(2)], true));
        kept.note(piece(3, BYTES), 5, NOW.plus(KEPT_MS + 1));
        assert_eq!(kept.behind(4), (Vec::new(), false));
        let inner = kept.inner();
        assert_eq!((inner.bytes, inner.tasks.len(), inner.order.len()), (0, 0, 0));
    }
}
