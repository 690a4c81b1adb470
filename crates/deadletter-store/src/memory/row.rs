//! One task with everything that is its own: a purge drops it in one piece.

use deadletter_core::{
    Answer, Attempt, AttemptToken, Fact, Learned, NewTask, Payload, Task, counts::Deltas,
};
use std::collections::BTreeMap;

/// A stored task.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) task: Task,
    pub(super) payload: Payload,
    /// By number: an insert may bring some along, a claim appends, nothing else does.
    pub(super) attempts: Vec<Attempt>,
    /// Each attempt's first answer.
    pub(super) answers: BTreeMap<AttemptToken, Answer>,
}

impl Row {
    pub(super) fn new(new: NewTask) -> Self {
        let NewTask { task, payload, past, .. } = new;
        let answers = past.answers.into_iter().map(|answer| (answer.token, answer)).collect();
        Self { task, payload, attempts: past.attempts, answers }
    }

    pub(super) fn attempt(&self, token: AttemptToken) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.token == token)
    }

    pub(super) fn attempt_mut(&mut self, token: AttemptToken) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|attempt| attempt.token == token)
    }

    /// Open attempts with an upstream id that the task does not wait for: they may answer late.
    pub(super) fn abandoned(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|attempt| {
            attempt.is_open()
                && attempt.upstream_id.is_some()
                && self.task.attempt != Some(attempt.token)
        })
    }

    /// Takes a fact in, as the attempt that it names decides; answers what it adds to the counts.
    pub(super) fn learn(&mut self, fact: &Fact) -> Deltas {
        let Some(attempt) = self.attempt_mut(fact.token) else { return Deltas::default() };
        let before = attempt.clone();
        if !attempt.learn(fact) {
            return Deltas::default();
        }
        let deltas = Deltas::of_attempt(&before, attempt, fact.at);
        if let Learned::Answered(answer) = &fact.learned {
            self.answers.entry(fact.token).or_insert_with(|| (**answer).clone());
        }
        deltas
    }

    /// The answer that won; of a task that is not solved, any that came.
    pub(super) fn answer(&self) -> Option<&Answer> {
        match self.task.answered_by {
            Some(token) => self.answers.get(&token),
            None => self.answers.values().next(),
        }
    }
}
