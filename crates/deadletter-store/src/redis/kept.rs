//! What this handle wrote last of each task of late: a server that has lost it gets it back.
//!
//! As it was stored, field by field, in memory, for an hour and within limits. What was written
//! longest ago is forgotten first: a server that takes over is behind by moments.

use super::{failure::Outcome, json, tasks::answer};
use deadletter_core::{AttemptToken, Held, Payload, TaskId, UnixMs};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How long anything is kept: longer than a server is behind that others would let take over.
const KEPT_MS: i64 = 3_600_000;
/// Bytes that are kept at most, about: the last half a minute of a thousand tasks a second.
const BYTES: usize = 64 << 20;
/// What a task costs beside its fields, and what a write costs beside its task.
const OF_A_TASK: usize = 256;
const OF_A_WRITE: usize = 32;

/// What of a task was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Row,
    Request,
    Attempt(AttemptToken),
    Answer(AttemptToken),
}

/// A field of a task that was written; none where the task was deleted.
pub(super) struct Piece {
    pub(super) task: TaskId,
    pub(super) field: Option<(Field, Vec<u8>)>,
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

struct Entry {
    seq: u64,
    fields: Vec<(Field, Vec<u8>)>,
}

#[derive(Clone, Copy)]
struct Written {
    seq: u64,
    at: UnixMs,
    task: TaskId,
}

/// A task as it is kept.
pub(super) struct KeptTask {
    pub(super) id: TaskId,
    pub(super) held: Held,
    pub(super) request: Option<Payload>,
}

impl Kept {
    /// What a call has written, behind which the store stood at `seq`.
    pub(super) fn note(&self, pieces: Vec<Piece>, seq: u64, at: UnixMs) {
        let inner = &mut *self.inner();
        for Piece { task, field } in pieces {
            match field {
                Some((field, value)) => inner.keep(Written { seq, at, task }, field, value),
                None => inner.forget(task),
            }
        }
        inner.forget_old(at);
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
        let fields = self.inner().tasks.get(&id).map(|entry| entry.fields.clone());
        fields.map(|fields| read(id, fields)).transpose()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn keep(&mut self, written: Written, field: Field, value: Vec<u8>) {
        let entry = self.tasks.entry(written.task).or_insert_with(|| {
            self.bytes += OF_A_TASK;
            Entry { seq: 0, fields: Vec::new() }
        });
        if entry.seq != written.seq {
            entry.seq = written.seq;
            self.order.push_back(written);
            self.bytes += OF_A_WRITE;
        }
        self.bytes += value.len();
        match entry.fields.iter_mut().find(|(known, _)| *known == field) {
            // The first answer of an attempt stays.
            Some(_) if matches!(field, Field::Answer(_)) => self.bytes -= value.len(),
            Some((_, before)) => {
                self.bytes -= before.len();
                *before = value;
            }
            None => entry.fields.push((field, value)),
        }
    }

    fn forget(&mut self, task: TaskId) {
        if let Some(entry) = self.tasks.remove(&task) {
            let fields: usize = entry.fields.iter().map(|(_, value)| value.len()).sum();
            self.bytes -= fields + OF_A_TASK;
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

fn read(id: TaskId, fields: Vec<(Field, Vec<u8>)>) -> Outcome<KeptTask> {
    let mut task = KeptTask { id, held: Held::default(), request: None };
    for (field, value) in fields {
        let value = String::from_utf8_lossy(&value);
        match field {
            Field::Row => task.held.task = Some(json::read(&value)?),
            Field::Attempt(_) => task.held.attempts.push(json::read(&value)?),
            Field::Answer(_) => task.held.answers.push(answer::read(&value)?),
            Field::Request => task.request = Payload::from_stored(&value).ok(),
        }
    }
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn id(n: u64) -> TaskId {
        TaskId::try_from(n).unwrap()
    }

    fn piece(n: u64, bytes: usize) -> Vec<Piece> {
        vec![Piece { task: id(n), field: Some((Field::Request, vec![b'x'; bytes])) }]
    }

    #[test]
    fn what_was_written_behind_a_number_is_known_until_it_is_deleted() {
        let kept = Kept::default();
        for n in [1, 2, 3] {
            kept.note(piece(n, 1), n, NOW);
        }
        assert_eq!(kept.behind(1), (vec![id(2), id(3)], true));
        kept.note(vec![Piece { task: id(3), field: None }], 4, NOW);
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
