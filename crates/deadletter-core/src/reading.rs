//! That an owner was told how a task ended: noted beside the task, since it changes nothing of it.

use crate::{Answer, StateKind, Task, TaskId, UnixMs};

/// A verdict that was told for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Of this task.
    pub task: TaskId,
    /// As it stood at this version.
    pub version: u64,
    /// When.
    pub at: UnixMs,
    /// When the answer stops being of use, where it is one that expires.
    pub expires_at: Option<UnixMs>,
}

impl Reading {
    /// Of the verdict of `task`, with its answer where it is solved; none where there is no verdict
    /// yet, or where it was told before.
    #[must_use]
    pub fn of(task: &Task, answer: Option<&Answer>, at: UnixMs) -> Option<Self> {
        let expires_at = answer.and_then(|answer| answer.expires_at);
        let reading = Self { task: task.id, version: task.version, at, expires_at };
        reading.is_news_to(task).then_some(reading)
    }

    /// True where it is this very verdict, and nobody was told of it yet: a task that has gone on
    /// has another one to tell.
    #[must_use]
    pub fn is_news_to(&self, task: &Task) -> bool {
        task.version == self.version && task.kind().is_terminal() && task.verdict_read_at.is_none()
    }

    /// When the answer would have expired unused, had it not been told in time.
    #[must_use]
    pub fn saves(&self, task: &Task) -> Option<UnixMs> {
        self.expires_at.filter(|at| task.kind() == StateKind::Solved && *at > self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        State, Why,
        samples::{THEN, task},
    };

    #[test]
    fn a_verdict_is_told_for_the_first_time_once() {
        let solved = Task { state: State::Solved, ..task() };
        let reading = Reading::of(&solved, None, THEN).expect("news");
        assert!(reading.is_news_to(&solved));
        let told = Task { verdict_read_at: Some(THEN), ..solved.clone() };
        assert!(!reading.is_news_to(&told) && Reading::of(&told, None, THEN).is_none());
        let later = Task { version: solved.version + 1, ..solved };
        assert!(!reading.is_news_to(&later));
        let queued = State::Queued { due_at: THEN, why: Why::New };
        assert!(Reading::of(&Task { state: queued, ..task() }, None, THEN).is_none());
    }

    #[test]
    fn only_an_answer_that_lives_is_saved_from_expiring_unused() {
        let solved = Task { state: State::Solved, ..task() };
        let dead = Task { state: State::Cancelled, ..task() };
        let reading = |expires_at| Reading { task: solved.id, version: 1, at: THEN, expires_at };
        let soon = Some(THEN.plus(1));
        assert_eq!(reading(soon).saves(&solved), soon);
        assert_eq!(reading(Some(THEN)).saves(&solved), None);
        assert_eq!(reading(None).saves(&solved), None);
        assert_eq!(reading(soon).saves(&dead), None);
    }
}
