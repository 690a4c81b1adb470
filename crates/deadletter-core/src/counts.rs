//! Counts without scanning: the deltas that each write adds to `standing` and `tallies`.
//!
//! Stores add these numbers up in the transaction of the write that they belong to; they know
//! nothing of their meaning.

use crate::{
    Answer, Attempt, Cause, Class, Dimensions, Reading, RowChange, StateKind, Task, UnixMs,
    Verdict, change::Counted, label::labels,
};
use serde::{Deserialize, Serialize};

/// Length of the time slots of `tallies`.
pub const TALLY_MS: i64 = 60_000;

labels! {
    /// Where a task stands: its state, or one of the two totals that the states must add up to.
    pub enum Place {
        /// Total ever accepted.
        Accepted = "accepted",
        /// Total ever purged.
        Purged = "purged",
        /// See [`StateKind::Queued`].
        Queued = "queued",
        /// See [`StateKind::Submitting`].
        Submitting = "submitting",
        /// See [`StateKind::Polling`].
        Polling = "polling",
        /// See [`StateKind::Solved`].
        Solved = "solved",
        /// See [`StateKind::Dead`].
        Dead = "dead",
        /// See [`StateKind::Buried`].
        Buried = "buried",
        /// See [`StateKind::Cancelled`].
        Cancelled = "cancelled",
    }
}

impl From<StateKind> for Place {
    fn from(state: StateKind) -> Self {
        match state {
            StateKind::Queued => Self::Queued,
            StateKind::Submitting => Self::Submitting,
            StateKind::Polling => Self::Polling,
            StateKind::Solved => Self::Solved,
            StateKind::Dead => Self::Dead,
            StateKind::Buried => Self::Buried,
            StateKind::Cancelled => Self::Cancelled,
        }
    }
}

labels! {
    /// What tasks are counted by.
    pub enum Dim {
        /// Everything, once.
        All = "all",
        /// By kind of job.
        Method = "method",
        /// By site key.
        Sitekey = "sitekey",
        /// By host of the page.
        Host = "host",
        /// By proxy.
        Proxy = "proxy",
        /// By batch.
        Batch = "batch",
        /// By account.
        Account = "account",
    }
}

labels! {
    /// What a tally counts.
    pub enum Tallied {
        /// Tasks solved.
        Solved = "solved",
        /// Failures of attempts.
        Failed = "failed",
        /// Tasks that became dead letters or were buried by a failure.
        Dead = "dead",
        /// Submits: intents, less those that were given back.
        Submitted = "submitted",
        /// Submits that came to be in doubt.
        InDoubt = "in_doubt",
        /// Answers that expired before they were asked for, by the minute in which they expire, which
        /// may lie ahead, or in which they are stored where that is later: less those that are told
        /// before. Their life is counted from the earliest moment at which they can have been solved,
        /// so that one that was told a little later may have been of use.
        Unused = "unused",
    }
}

/// A row of `standing`: how many tasks stand here now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Standing {
    /// Where.
    pub place: Place,
    /// Their cause; only dead and buried tasks are counted by it.
    pub cause: Option<Cause>,
    /// Their class; only for dead and buried tasks.
    pub class: Option<Class>,
    /// Counted by what.
    pub dim: Dim,
    /// Its value; empty for [`Dim::All`].
    pub value: String,
}

/// A row of `tallies`: how often this happened in that minute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tally {
    /// Start of the minute.
    pub minute: UnixMs,
    /// What happened.
    pub tallied: Tallied,
    /// The code, for failures and deaths.
    pub cause: Option<Cause>,
    /// Counted by what.
    pub dim: Dim,
    /// Its value; empty for [`Dim::All`].
    pub value: String,
}

/// What one write adds to the counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deltas {
    /// To `standing`.
    pub standing: Vec<(Standing, i64)>,
    /// To `tallies`.
    pub tallies: Vec<(Tally, i64)>,
}

impl Deltas {
    /// Of an insert.
    #[must_use]
    pub fn of_insert(task: &Task) -> Self {
        let mut deltas = Self::default();
        deltas.total(Place::Accepted);
        deltas.stand(&Counted::of(task), task, 1);
        deltas
    }

    /// Of a purge.
    #[must_use]
    pub fn of_purge(task: &Task) -> Self {
        let mut deltas = Self::default();
        deltas.total(Place::Purged);
        deltas.stand(&Counted::of(task), task, -1);
        deltas
    }

    /// Of a change of a row.
    #[must_use]
    pub fn of_row(row: &RowChange) -> Self {
        let (from, to) = (&row.from, Counted::of(&row.after));
        let mut deltas = Self::default();
        if (from.state, &from.cause, from.class) != (to.state, &to.cause, to.class) {
            deltas.stand(from, &row.after, -1);
            deltas.stand(&to, &row.after, 1);
        }
        if to.failures > from.failures {
            deltas.tally(Tallied::Failed, &row.after);
        }
        if to.state == StateKind::Solved && from.state != StateKind::Solved {
            deltas.tally(Tallied::Solved, &row.after);
        }
        if is_at_rest(to.state) && !is_at_rest(from.state) {
            deltas.tally(Tallied::Dead, &row.after);
        }
        let submits = i64::from(to.submits) - i64::from(from.submits);
        if submits != 0 {
            deltas.tally_all(Tallied::Submitted, row.after.updated_at, None, submits);
        }
        deltas
    }

    /// Of an answer that a task was solved by at `at`: one that had expired by then, as that of a
    /// resumed attempt may have, counts in the minute in which it comes. Minutes that are over are
    /// added up already.
    #[must_use]
    pub fn of_answer(answer: &Answer, at: UnixMs) -> Self {
        let mut deltas = Self::default();
        if let Some(expires_at) = answer.expires_at {
            deltas.tally_all(Tallied::Unused, expires_at.max(at), None, 1);
        }
        deltas
    }

    /// Of a verdict that was told.
    #[must_use]
    pub fn of_reading(task: &Task, reading: &Reading) -> Self {
        let mut deltas = Self::default();
        if let Some(at) = reading.saves(task) {
            deltas.tally_all(Tallied::Unused, at, None, -1);
        }
        deltas
    }

    /// Of what was learned of an attempt at `at`.
    #[must_use]
    pub fn of_attempt(before: &Attempt, after: &Attempt, at: UnixMs) -> Self {
        let mut deltas = Self::default();
        let is_in_doubt = |attempt: &Attempt| attempt.verdict == Some(Verdict::InDoubt);
        if is_in_doubt(after) && !is_in_doubt(before) {
            deltas.tally_all(Tallied::InDoubt, at, after.cause.clone(), 1);
        }
        deltas
    }

    fn total(&mut self, place: Place) {
        let row = Standing { place, cause: None, class: None, dim: Dim::All, value: String::new() };
        self.standing.push((row, 1));
    }

    fn stand(&mut self, counted: &Counted, task: &Task, n: i64) {
        let at_rest = is_at_rest(counted.state);
        for (dim, value) in dimensions(task, at_rest) {
            let row = Standing {
                place: counted.state.into(),
                cause: counted.cause.clone().filter(|_| at_rest),
                class: counted.class.filter(|_| at_rest),
                dim,
                value,
            };
            self.standing.push((row, n));
        }
    }

    /// What is not counted by dimensions: it is asked for as a whole.
    fn tally_all(&mut self, tallied: Tallied, at: UnixMs, cause: Option<Cause>, n: i64) {
        let row =
            Tally { minute: minute_of(at), tallied, cause, dim: Dim::All, value: String::new() };
        self.tallies.push((row, n));
    }

    fn tally(&mut self, tallied: Tallied, task: &Task) {
        let minute = minute_of(task.updated_at);
        let cause = task.cause.clone().filter(|_| tallied != Tallied::Solved);
        for (dim, value) in dimensions(task, true) {
            let row = Tally { minute, tallied, cause: cause.clone(), dim, value };
            self.tallies.push((row, 1));
        }
    }
}

/// How many answers expired unused (before they were asked for) in whole minutes that began at or after `since`.
#[must_use]
pub fn expired_unused(tallies: &[(Tally, i64)], since: UnixMs, now: UnixMs) -> u64 {
    let is_over = |tally: &Tally| {
        tally.tallied == Tallied::Unused
            && tally.dim == Dim::All
            && tally.minute >= since
            && tally.minute.plus(TALLY_MS) <= now
    };
    let sum: i64 = tallies.iter().filter(|(tally, _)| is_over(tally)).map(|(_, n)| n).sum();
    u64::try_from(sum).unwrap_or_default()
}

const fn minute_of(at: UnixMs) -> UnixMs {
    UnixMs(at.0 - at.0.rem_euclid(TALLY_MS))
}

/// Only dead and buried tasks are counted by every dimension: live ones change too often.
const fn is_at_rest(state: StateKind) -> bool {
    matches!(state, StateKind::Dead | StateKind::Buried)
}

fn dimensions(task: &Task, detailed: bool) -> impl Iterator<Item = (Dim, String)> + use<> {
    let Dimensions { method, sitekey, host, proxy, batch, tags: _ } = &task.dimensions;
    let details = if detailed {
        vec![
            (Dim::Method, Some(method.clone())),
            (Dim::Sitekey, sitekey.clone()),
            (Dim::Host, host.clone()),
            (Dim::Proxy, proxy.clone()),
            (Dim::Batch, batch.clone()),
            (Dim::Account, Some(task.account.as_str().to_owned())),
        ]
    } else {
        Vec::new()
    };
    std::iter::once((Dim::All, String::new()))
        .chain(details.into_iter().filter_map(|(dim, value)| Some((dim, value?))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Counters, DeadReason, State,
        samples::{THEN, task},
    };

    #[test]
    fn a_dead_letter_with_a_new_cause_stands_under_it() {
        let state = State::Dead { reason: DeadReason::Unknown };
        let dead = Task { state, cause: Some(Cause::new("A")), ..task() };
        let after = Task { cause: Some(Cause::new("B")), ..dead.clone() };
        let deltas = Deltas::of_row(&RowChange::to(&dead, after, THEN));
        let of = |cause: &str| {
            let rows = deltas.standing.iter().filter(|(row, _)| row.dim == Dim::All);
            rows.filter(|(row, _)| row.cause == Some(Cause::new(cause)))
                .map(|(_, n)| n)
                .sum::<i64>()
        };
        assert_eq!((of("A"), of("B"), deltas.tallies.len()), (-1, 1, 0));
    }

    #[test]
    fn a_submit_is_counted_at_its_claim_until_it_is_given_back() {
        let spent =
            |submits| Task { counters: Counters { submits, ..Counters::default() }, ..task() };
        let tallied = |from, to| {
            let tallies = Deltas::of_row(&RowChange::to(&spent(from), spent(to), THEN)).tallies;
            tallies.into_iter().map(|(row, n)| (row.tallied, n)).collect::<Vec<_>>()
        };
        assert_eq!(tallied(1, 2), [(Tallied::Submitted, 1)]);
        assert_eq!(tallied(2, 1), [(Tallied::Submitted, -1)]);
        assert!(tallied(2, 2).is_empty());
    }

    #[test]
    fn a_doubt_is_counted_once() {
        let worker = crate::WorkerId::new("w").expect("valid");
        let token = crate::AttemptToken::from_random(2);
        let sure = Attempt::intended(token, task().id, 1, task().account, worker, THEN);
        let doubtful = Attempt { verdict: Some(Verdict::InDoubt), ..sure.clone() };
        assert_eq!(Deltas::of_attempt(&sure, &doubtful, THEN).tallies.len(), 1);
        assert_eq!(Deltas::of_attempt(&doubtful, &doubtful, THEN).tallies.len(), 0);
        assert_eq!(Deltas::of_attempt(&sure, &sure, THEN).tallies.len(), 0);
    }

    #[test]
    fn a_tally_belongs_to_the_minute_of_its_change() {
        let solved = Task { state: State::Solved, ..task() };
        let deltas = Deltas::of_row(&RowChange::to(&task(), solved, THEN.plus(TALLY_MS + 59_999)));
        let minutes: Vec<UnixMs> = deltas.tallies.iter().map(|(row, _)| row.minute).collect();
        assert!(!minutes.is_empty() && minutes.iter().all(|minute| *minute == THEN.plus(TALLY_MS)));
    }

    #[test]
    fn an_answer_that_comes_expired_counts_in_the_minute_in_which_it_comes() {
        let answer = |expires_at| Answer { expires_at, ..crate::samples::answer() };
        let minutes = |expires_at| {
            let tallies = Deltas::of_answer(&answer(expires_at), THEN).tallies;
            tallies.into_iter().map(|(row, n)| (row.minute, n)).collect::<Vec<_>>()
        };
        assert_eq!(minutes(Some(THEN.plus(-3 * TALLY_MS))), [(minute_of(THEN), 1)]);
        assert_eq!(
            minutes(Some(THEN.plus(3 * TALLY_MS))),
            [(minute_of(THEN.plus(3 * TALLY_MS)), 1)]
        );
        assert_eq!(minutes(None), []);
    }
}
