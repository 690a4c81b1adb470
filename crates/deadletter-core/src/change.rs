//! What a decision asks the store to write, and what the store derives from it mechanically.

use crate::{
    Answer, Attempt, AttemptToken, Cause, Class, DeadReason, Fact, Learned, Next, OperationId,
    StateKind, Step, Task, TaskId, UnixMs, WorkerId, label::labels, next,
};
use serde::{Deserialize, Serialize};

labels! {
    /// What to do with an item of an operation when its change is applied.
    pub enum ItemState {
        /// Frozen, not yet acted on.
        Pending = "pending",
        /// The act was applied.
        Done = "done",
        /// The task had changed since the freeze, or may not be acted on.
        Skipped = "skipped",
    }
}

/// One unit of writing: facts of attempts, fenced by token, and at most one new row for a task,
/// fenced by version. Facts are taken even where the row is stale, but for those that are no news
/// from upstream ([`Change::facts_taken`]).
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Facts, in order.
    pub facts: Vec<Fact>,
    /// The task's new row.
    pub row: Option<Box<RowChange>>,
}

/// A task's new row.
#[derive(Clone, Debug)]
pub struct RowChange {
    /// The version that was read; anything else in the store makes the change stale.
    pub expects: u64,
    /// What was read, as far as counts need it.
    pub from: Counted,
    /// The row to write; its `version` is `expects + 1`.
    pub after: Task,
    /// What else of the row differs from what was read; a store need not write the rest.
    pub differs: Differs,
    /// The operation whose item this settles, in the same transaction.
    pub settles: Option<OperationId>,
}

/// Which of the columns that few changes touch differ from what was read. Columns of the state,
/// of counters and of the last failure are not told apart: most changes touch them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Differs {
    /// The lease: worker and attempt.
    pub lease: bool,
    /// That its verdict was told: a task that leaves one has another to tell.
    pub reading: bool,
    /// Anything else: account, priority, turn, hold, deadline, owner, limits, parent.
    pub place: bool,
}

impl Differs {
    /// How `after` differs from `before`.
    #[must_use]
    pub fn between(before: &Task, after: &Task) -> Self {
        Self {
            lease: before.attempt != after.attempt || before.worker != after.worker,
            reading: before.verdict_read_at != after.verdict_read_at
                || has_left_a_verdict(before, after),
            place: before.account != after.account
                || before.priority != after.priority
                || before.turn != after.turn
                || before.hold != after.hold
                || before.deadline_at != after.deadline_at
                || before.owner != after.owner
                || before.max_submits != after.max_submits
                || before.proxies != after.proxies
                || before.parent != after.parent,
        }
    }
}

fn has_left_a_verdict(before: &Task, after: &Task) -> bool {
    before.kind().is_terminal() && before.kind() != after.kind()
}

/// What counts know of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its state.
    pub state: StateKind,
    /// Its submits so far.
    pub submits: u32,
    /// Its failures so far.
    pub failures: u32,
    /// Its cause.
    pub cause: Option<Cause>,
    /// Its class.
    pub class: Option<Class>,
}

impl Counted {
    /// What counts know of `task`.
    #[must_use]
    pub fn of(task: &Task) -> Self {
        Self {
            state: task.kind(),
            submits: task.counters.submits,
            failures: task.counters.failures,
            cause: task.cause.clone(),
            class: task.class,
        }
    }
}

/// A terminal change, as it is appended to `events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The task.
    pub task: TaskId,
    /// When.
    pub at: UnixMs,
    /// The terminal state that it entered.
    pub state: StateKind,
    /// Why, for dead and buried.
    pub reason: Option<DeadReason>,
    /// The last failure's code.
    pub cause: Option<Cause>,
    /// The attempt whose answer won.
    pub answered_by: Option<AttemptToken>,
}

impl Change {
    /// A change of facts alone.
    #[must_use]
    pub const fn of_facts(facts: Vec<Fact>) -> Self {
        Self { facts, row: None }
    }

    /// The facts to take in, in order, given whether the row was written (or there was none).
    ///
    /// What was learned from upstream is true whatever became of the row. That a task waits for an
    /// attempt again, or waits no longer, is true only with its row: otherwise the attempt would be
    /// opened for nobody and its thread lost for good, or lapse under the one who polls it.
    pub fn facts_taken(&self, row_written: bool) -> impl Iterator<Item = &Fact> {
        let is_of_the_row =
            |fact: &Fact| matches!(fact.learned, Learned::Resumed | Learned::Abandoned { .. });
        self.facts.iter().filter(move |fact| row_written || !is_of_the_row(fact))
    }

    /// The facts by which an attempt would be asked for under an upstream id: only one task at a
    /// time may have an open attempt with that id in an account ([`Attempt::keeps_its_id_from`]).
    pub fn naming(&self) -> impl Iterator<Item = &Fact> {
        self.facts.iter().filter(|f| matches!(f.learned, Learned::Accepted(_) | Learned::Resumed))
    }

    /// True where there is nothing to write.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.row.is_none()
    }

    /// The answer that its row is solved by, and when, where it enters that state.
    #[must_use]
    pub fn wins_by(&self) -> Option<(&Answer, UnixMs)> {
        let row = self.row.as_ref()?;
        let is_new = row.after.kind() == StateKind::Solved && row.from.state != StateKind::Solved;
        let winner = row.after.answered_by.filter(|_| is_new)?;
        self.facts.iter().find_map(|fact| match &fact.learned {
            Learned::Answered(answer) if fact.token == winner => {
                Some((answer.as_ref(), row.after.updated_at))
            }
            _ => None,
        })
    }

    /// The task that the row belongs to.
    #[must_use]
    pub fn task(&self) -> Option<TaskId> {
        self.row.as_ref().map(|row| row.after.id).or_else(|| self.facts.first().map(|f| f.task))
    }
}

impl RowChange {
    /// The change of `task` by `step` at `now`; `None` where the table has no such step.
    ///
    /// `edit` sets counters and the like on the new row.
    #[must_use]
    pub fn by(task: &Task, step: &Step, now: UnixMs, edit: impl FnOnce(&mut Task)) -> Option<Self> {
        let Next::State(state) = next(&task.state, step)? else { return None };
        let mut after = Task { state, ..task.clone() };
        if !after.kind().is_leased() {
            after.worker = None;
            after.attempt = None;
        }
        edit(&mut after);
        Some(Self::to(task, after, now))
    }

    /// The change from `task` to `after` at `now`, without a step (a lease, a counter, a hold).
    #[must_use]
    pub fn to(task: &Task, mut after: Task, now: UnixMs) -> Self {
        after.version = task.version + 1;
        after.updated_at = now;
        if has_left_a_verdict(task, &after) {
            after.verdict_read_at = None;
        }
        let (from, differs) = (Counted::of(task), Differs::between(task, &after));
        Self { expects: task.version, from, after, differs, settles: None }
    }

    /// The same change, its lease held by `worker`.
    pub fn lease_to(&mut self, worker: WorkerId) {
        self.after.worker = Some(worker);
        self.differs.lease = true;
    }

    /// A worker claims `task`: the lease and the intent, in one row. `None` where it is not queued,
    /// or where one more submit would exceed what the round or K allows.
    #[must_use]
    pub fn claim(
        task: &Task,
        worker: &WorkerId,
        token: AttemptToken,
        now: UnixMs,
    ) -> Option<(Self, Attempt)> {
        if !task.may_submit() {
            return None;
        }
        let row = Self::by(task, &Step::Claim, now, |after| {
            after.worker = Some(worker.clone());
            after.attempt = Some(token);
            after.counters.attempts = after.counters.attempts.saturating_add(1);
            after.counters.submits = after.counters.submits.saturating_add(1);
        })?;
        let n = row.after.counters.attempts;
        let account = task.account.clone();
        Some((row, Attempt::intended(token, task.id, n, account, worker.clone(), now)))
    }

    /// `worker` takes over the lease of `task`.
    #[must_use]
    pub fn adopt(task: &Task, worker: &WorkerId, now: UnixMs) -> Self {
        Self::to(task, Task { worker: Some(worker.clone()), ..task.clone() }, now)
    }

    /// The event that this change is, where it enters a terminal state.
    #[must_use]
    pub fn event(&self) -> Option<Event> {
        let state = self.after.kind();
        (state.is_terminal() && state != self.from.state).then(|| Event {
            task: self.after.id,
            at: self.after.updated_at,
            state,
            reason: self.after.reason(),
            cause: self.after.cause.clone(),
            answered_by: self.after.answered_by,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Learned, Round, State, UpstreamId,
        samples::{THEN, task},
    };

    #[test]
    fn a_claim_never_exceeds_the_round_or_k() {
        let worker = WorkerId::new("w").expect("valid");
        let claim =
            |task: &Task| RowChange::claim(task, &worker, AttemptToken::from_random(2), THEN);
        assert!(claim(&task()).is_some());
        assert!(claim(&Task { round: Round::default(), ..task() }).is_none());
        assert!(claim(&Task { max_submits: 0, ..task() }).is_none());
        let polling = State::Polling { upstream_id: UpstreamId::new("u").expect("valid") };
        assert!(claim(&Task { state: polling, ..task() }).is_none());
    }

    const NOTHING: Differs = Differs { lease: false, reading: false, place: false };

    #[test]
    fn a_task_that_leaves_a_verdict_has_another_one_to_tell() {
        let state = State::Dead { reason: DeadReason::Unknown };
        let dead = Task { state, verdict_read_at: Some(THEN), ..task() };
        let held = RowChange::to(&dead, Task { hold: Some("x".to_owned()), ..dead.clone() }, THEN);
        assert_eq!((held.after.verdict_read_at, held.differs.reading), (Some(THEN), false));
        // Whoever read the row before the verdict was told writes it all the same.
        for read_at in [Some(THEN), None] {
            let dead = Task { verdict_read_at: read_at, ..dead.clone() };
            let row = RowChange::to(&dead, Task { state: State::Solved, ..dead.clone() }, THEN);
            assert_eq!((row.after.verdict_read_at, row.differs.reading), (None, true));
        }
    }

    #[test]
    fn a_change_knows_what_differs_besides_the_state() {
        let differs = |after| RowChange::to(&task(), after, THEN).differs;
        assert_eq!(differs(task()), NOTHING);
        let step = Task { cause: Some(Cause::new("X")), state: State::Submitting, ..task() };
        assert_eq!(differs(step), NOTHING);
        let held = Task { hold: Some("x".to_owned()), ..task() };
        assert_eq!(differs(held), Differs { place: true, ..NOTHING });
        let mut leased = RowChange::to(&task(), task(), THEN);
        leased.lease_to(WorkerId::new("w").expect("valid"));
        assert_eq!(leased.differs, Differs { lease: true, ..NOTHING });
    }

    #[test]
    fn only_a_resumption_falls_with_its_row() {
        let fact = |learned| Fact {
            task: task().id,
            token: AttemptToken::from_random(2),
            at: THEN,
            learned,
        };
        let accepted = Learned::Accepted(UpstreamId::new("u").expect("valid"));
        let change = Change::of_facts(vec![fact(accepted), fact(Learned::Resumed)]);
        assert_eq!(change.facts_taken(true).count(), 2);
        let left: Vec<_> = change.facts_taken(false).map(|fact| &fact.learned).collect();
        assert!(matches!(left.as_slice(), [Learned::Accepted(_)]));
    }
}
