//! Changes: facts under an attempt's token, rows under a version.

use super::{RowWrite, Stage, Stored};
use crate::Committed;
use deadletter_core::{
    Change, Delivery, Fact, ItemState, Learned, Reading, RowChange, Task, counts::Deltas,
};

impl Stage {
    /// Takes changes in, in order, one answer each.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> Vec<Committed> {
        changes.iter().map(|change| self.commit_one(change)).collect()
    }

    fn commit_one(&mut self, change: &Change) -> Committed {
        if change.naming().any(|fact| self.attempts.is_id_taken(fact)) {
            return Committed::IdTaken;
        }
        let written = change.row.as_ref().is_none_or(|row| self.write(row));
        if let Some((answer, at)) = change.wins_by().filter(|_| written) {
            self.writes.counts.add(Deltas::of_answer(answer, at));
        }
        for fact in change.facts_taken(written) {
            self.learn(fact);
        }
        if written { Committed::Applied } else { Committed::Stale }
    }

    /// Writes a row with all that follows from it, if its task still stands at the version that was
    /// read; answers whether it did.
    pub(super) fn write(&mut self, row: &RowChange) -> bool {
        let id = row.after.id;
        let Some(stored) = self.rows.get_mut(&id).filter(|it| it.version == row.expects) else {
            return false;
        };
        let read_at = if row.differs.reading { row.after.verdict_read_at } else { stored.read_at };
        *stored = Stored { version: row.after.version, read_at };
        let after = Task { verdict_read_at: read_at, ..row.after.clone() };
        let writes = &mut self.writes;
        let place = row.differs.place || writes.rows.get(&id).is_some_and(|earlier| earlier.place);
        writes.rows.insert(id, RowWrite { after, place });
        writes.counts.add(Deltas::of_row(row));
        writes.events.extend(row.event());
        writes.deliveries.extend(Delivery::of(row));
        if let Some(operation) = &row.settles {
            writes.settled.entry((operation.clone(), id)).or_insert(ItemState::Done);
        }
        true
    }

    fn learn(&mut self, fact: &Fact) {
        let Some(before) = self.attempts.get(fact.task, fact.token).cloned() else { return };
        let learned = self.attempts.change(fact.task, fact.token, |it| it.learn(fact));
        let Some(after) = learned else { return };
        self.writes.counts.add(Deltas::of_attempt(&before, &after, fact.at));
        if let Learned::Answered(answer) = &fact.learned {
            self.writes.answers.push((**answer).clone());
        }
    }

    /// Notes that the verdict of `task` was told; false where that is no news.
    pub(crate) fn mark_read(&mut self, task: &Task, reading: &Reading) -> bool {
        let is_news = reading.is_news_to(task) && !self.writes.readings.contains_key(&task.id);
        if is_news {
            self.writes.counts.add(Deltas::of_reading(task, reading));
            self.writes.readings.insert(task.id, reading.at);
        }
        is_news
    }
}
