//! What a server has lost and somebody still holds, put back into what stands.

use super::Stage;
use deadletter_core::{Attempt, Held, Task, UnixMs, counts::Deltas};

impl Stage {
    /// Puts back what is held of a task that was loaded with all its attempts, none of which begun
    /// at or after `since` was known to the holder; answers whether anything of it was lost.
    pub(crate) fn put_back(
        &mut self,
        task: &Task,
        held: &Held,
        since: UnixMs,
        now: UnixMs,
    ) -> bool {
        let attempts: Vec<Attempt> = self.attempts.of(task.id).cloned().collect();
        let back = held.against(task, &attempts, since, now);
        // One that stands already stays; the row may have come back without, by whoever had it alone.
        self.writes.answers.extend(held.answers.iter().cloned());
        let is_news = back.row.is_some() || !back.begun.is_empty() || !back.learned.is_empty();
        if !is_news {
            return false;
        }
        for attempt in back.learned {
            let (task, token) = (attempt.task, attempt.token);
            if let Some(before) = self.attempts.get(task, token).cloned() {
                self.writes.counts.add(Deltas::of_attempt(&before, &attempt, now));
            }
            self.attempts.change(task, token, |stored| {
                *stored = attempt;
                true
            });
        }
        self.writes.begun.extend(back.begun);
        if let Some(row) = back.row {
            let winner = row.after.answered_by.filter(|_| row.event().is_some());
            let won = winner.and_then(|token| held.answers.iter().find(|it| it.token == token));
            if let Some(answer) = won {
                self.writes.counts.add(Deltas::of_answer(answer, row.after.updated_at));
            }
            self.write(&row);
        }
        true
    }
}
