//! Rows by id, with their index: no row changes behind the index's back.

use super::{
    index::{Index, Queue},
    row::Row,
};
use deadletter_core::{TaskId, UnixMs, filter::Range};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::atomic::{AtomicU64, Ordering},
};

/// All rows.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: BTreeMap<TaskId, Row>,
    index: Index,
    /// Rows looked at so far: the cost that tests watch.
    looked_at: AtomicU64,
}

impl Rows {
    pub(super) const fn index(&self) -> &Index {
        &self.index
    }

    /// Makes tasks of a queue claimable that are due.
    pub(super) fn wake(&mut self, queue: &Queue, now: UnixMs) {
        self.index.wake(queue, now);
    }

    pub(super) fn get(&self, id: TaskId) -> Option<&Row> {
        self.look(1);
        self.rows.get(&id)
    }

    /// Every row: for checks alone.
    pub(super) fn all(&self) -> impl Iterator<Item = &Row> {
        self.look(self.rows.len() as u64);
        self.rows.values()
    }

    /// Adds a row under an id that no row has.
    pub(super) fn add(&mut self, row: Row) {
        self.look(1);
        self.index.file(&row, true);
        self.rows.insert(row.task.id, row);
    }

    /// Changes a row, if it stands: out of the index, changed, back in.
    pub(super) fn change<T>(&mut self, id: TaskId, edit: impl FnOnce(&mut Row) -> T) -> Option<T> {
        self.look(1);
        let row = self.rows.get_mut(&id)?;
        self.index.file(row, false);
        let edited = edit(row);
        self.index.file(row, true);
        Some(edited)
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Row> {
        self.look(1);
        let row = self.rows.remove(&id)?;
        self.index.file(&row, false);
        Some(row)
    }

    /// The next `n` tasks, by id, that an index cannot tell apart from what `range` wants.
    pub(super) fn candidates(
        &self,
        range: &Range,
        after: Option<TaskId>,
        newest_first: bool,
        n: usize,
    ) -> Vec<TaskId> {
        let bounds = match after {
            None => (Bound::Unbounded, Bound::Unbounded),
            Some(id) if newest_first => (Bound::Unbounded, Bound::Excluded(id)),
            Some(id) => (Bound::Excluded(id), Bound::Unbounded),
        };
        let mut ids: Vec<TaskId> = if let Some(named) = &range.ids {
            let named: BTreeSet<TaskId> = named.iter().copied().collect();
            first(named.range(bounds).copied(), newest_first, n).collect()
        } else if let Some(sets) = self.index.narrowest(range) {
            sets.iter().flat_map(|set| first(set.range(bounds).copied(), newest_first, n)).collect()
        } else {
            first(self.rows.range(bounds).map(|(id, _)| *id), newest_first, n).collect()
        };
        ids.sort_unstable();
        if newest_first {
            ids.reverse();
        }
        ids.truncate(n);
        ids
    }

    pub(super) fn looked_at(&self) -> u64 {
        self.looked_at.load(Ordering::Relaxed)
    }

    fn look(&self, rows: u64) {
        self.looked_at.fetch_add(rows, Ordering::Relaxed);
    }
}

/// The first `n` from the wanted end.
fn first(
    ids: impl DoubleEndedIterator<Item = TaskId>,
    from_the_end: bool,
    n: usize,
) -> impl Iterator<Item = TaskId> {
    let mut ids = ids;
    std::iter::from_fn(move || if from_the_end { ids.next_back() } else { ids.next() }).take(n)
}
