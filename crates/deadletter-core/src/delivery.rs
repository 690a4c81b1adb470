//! A delivery: an end of a task that is to be told to whoever asked for it, at least once and under
//! one id.
//!
//! A store makes it of the change that ends the task, in the same write; what comes of each try, and
//! when the next one is due, is decided here.

use crate::{
    AttemptToken, Cause, Class, RowChange, StateKind, TaskId, UnixMs, backoff::Backoff,
    label::labels,
};
use serde::{Deserialize, Serialize};

/// Waits between the tries: from a second to ten minutes, so that a receiver that restarts hears at
/// once, and one that is away for a night is asked 100 times and not 100,000 times.
const WAITS: Backoff = Backoff { base_ms: 1_000, cap_ms: 600_000 };
/// A refused connection comes back within a millisecond: this is the least wait after it.
const LEAST_WAIT_MS: i64 = 1_000;
/// After a day nobody waits for the answer any more: it is as long as answers are kept.
pub const PATIENCE_MS: i64 = 86_400_000;

labels! {
    /// How far a delivery has come.
    pub enum DeliveryState {
        /// It is to be told, and was not taken yet by whom it is for.
        Waiting = "waiting",
        /// The receiver has taken it: it is never sent again.
        Delivered = "delivered",
        /// It is not sent any more: the receiver took it at no try, or something newer was to be told.
        GivenUp = "given_up",
    }
}

/// An end of a task that is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The task.
    pub task: TaskId,
    /// The version of its row at which it ended: with the task's id it names the delivery.
    pub version: u64,
    /// Where: host and port of the target, whose whole URL stands in the task's request alone.
    pub place: String,
    /// The terminal state that is told of.
    pub ended: StateKind,
    /// The last failure's code by then.
    pub cause: Option<Cause>,
    /// What that code means.
    pub class: Option<Class>,
    /// The attempt whose answer won.
    pub answered_by: Option<AttemptToken>,
    /// When the task ended.
    pub made_at: UnixMs,
    /// How far it has come.
    pub state: DeliveryState,
    /// Not sent before; a try that is under way counts as failed then. None once it is settled.
    pub due_at: Option<UnixMs>,
    /// How often it was sent, or may have been.
    pub tries: u32,
    /// When it was settled.
    pub settled_at: Option<UnixMs>,
    /// What came of the last try, in our words.
    pub said: Option<String>,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// The receiver took it.
    Delivered,
    /// It did not, and may take it later.
    Failed,
    /// It never will, or what was to be told is told by a newer delivery.
    Over,
}

/// What a try leads to, for a store to write: only while the delivery waits and this is its last try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The task.
    pub task: TaskId,
    /// The delivery's version.
    pub version: u64,
    /// The try.
    pub tries: u32,
    /// How far the delivery has come with it.
    pub state: DeliveryState,
    /// When it is tried again, where it waits.
    pub due_at: Option<UnixMs>,
    /// When this was known.
    pub at: UnixMs,
    /// What came of the try, in our words.
    pub said: String,
}

impl Delivery {
    /// The delivery that a change makes: where somebody is to be told of the task, and there is
    /// news, which is the end of a task that was under way, or an answer, whatever was told before.
    #[must_use]
    pub fn of(row: &RowChange) -> Option<Self> {
        let event = row.event()?;
        let place = row.after.place.clone()?;
        let is_news = !row.from.state.is_terminal() || event.state == StateKind::Solved;
        is_news.then_some(Self {
            task: event.task,
            version: row.after.version,
            place,
            ended: event.state,
            cause: event.cause,
            class: row.after.class,
            answered_by: event.answered_by,
            made_at: event.at,
            state: DeliveryState::Waiting,
            due_at: Some(event.at),
            tries: 0,
            settled_at: None,
            said: None,
        })
    }

    /// Its id: the same at every try, and never another delivery's.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}-{}", self.task, self.version)
    }

    /// The same delivery, taken for a try that nobody makes again before `until`.
    #[must_use]
    pub fn taken(mut self, until: UnixMs) -> Self {
        self.tries = self.tries.saturating_add(1);
        self.due_at = Some(until);
        self
    }

    /// What follows from the try that it was taken for. `random` is in `[0, 1)`.
    #[must_use]
    pub fn after(
        &self,
        came: Came,
        said: impl Into<String>,
        now: UnixMs,
        random: f64,
    ) -> Settlement {
        let wait_ms = WAITS.full_jitter(self.tries, LEAST_WAIT_MS, random);
        let next_at = now.plus(wait_ms);
        let is_in_time = next_at.since(self.made_at) < PATIENCE_MS;
        let (state, due_at) = match came {
            Came::Delivered => (DeliveryState::Delivered, None),
            Came::Failed if is_in_time => (DeliveryState::Waiting, Some(next_at)),
            Came::Failed | Came::Over => (DeliveryState::GivenUp, None),
        };
        self.settlement(state, due_at, said.into(), now)
    }

    /// Given back at once: the try was not made, or nobody knows what came of it.
    #[must_use]
    pub fn given_back(&self, said: impl Into<String>, now: UnixMs) -> Settlement {
        self.settlement(DeliveryState::Waiting, Some(now), said.into(), now)
    }

    fn settlement(
        &self,
        state: DeliveryState,
        due_at: Option<UnixMs>,
        said: String,
        at: UnixMs,
    ) -> Settlement {
        let Self { task, version, tries, .. } = *self;
        Settlement { task, version, tries, state, due_at, at, said }
    }

    /// Takes in what came of a try; false, and nothing changed, where it is over or was taken again.
    pub fn settle(&mut self, settled: &Settlement) -> bool {
        if self.state != DeliveryState::Waiting || self.tries != settled.tries {
            return false;
        }
        self.state = settled.state;
        self.due_at = settled.due_at;
        self.settled_at = (settled.state != DeliveryState::Waiting).then_some(settled.at);
        self.said = Some(settled.said.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        DeadReason, State, Task,
        samples::{THEN, states, task},
    };
    use proptest::prelude::*;

    fn change(from: State, to: State) -> RowChange {
        let before = Task { state: from, place: Some("a.example".into()), ..task() };
        let after = Task { state: to, ..before.clone() };
        RowChange::to(&before, after, THEN)
    }

    fn made() -> Delivery {
        Delivery::of(&change(State::Submitting, State::Solved)).expect("news")
    }

    #[test]
    fn a_delivery_is_named_by_its_task_and_the_version_at_which_it_ended() {
        let delivery = made();
        assert_eq!(delivery.id(), format!("{}-2", task().id));
        assert_eq!((delivery.due_at, delivery.tries), (Some(THEN), 0));
        assert_eq!(delivery.taken(THEN.plus(9)).id(), made().id());
    }

    proptest! {
        #[test]
        fn the_end_of_what_was_under_way_is_told_and_every_answer(from in states(), to in states()) {
            let row = change(from, to);
            let (from, to) = (row.from.state, row.after.kind());
            let is_news = to.is_terminal()
                && from != to
                && (!from.is_terminal() || to == StateKind::Solved);
            prop_assert_eq!(Delivery::of(&row).is_some(), is_news);
            let nobody = Task { place: None, ..row.after.clone() };
            let untold = RowChange { after: nobody, ..row };
            prop_assert!(Delivery::of(&untold).is_none());
        }

        #[test]
        fn tries_come_later_and_later_and_end_within_a_day(random in 0.0..1.0_f64) {
            let (mut delivery, mut now, mut tries) = (made(), THEN, 0);
            while delivery.state == DeliveryState::Waiting {
                delivery = delivery.taken(now.plus(60_000));
                let settled = delivery.after(Came::Failed, "away", now, random);
                prop_assert!(delivery.settle(&settled));
                if let Some(due_at) = delivery.due_at {
                    prop_assert!((1_000..=600_000).contains(&due_at.since(now)));
                    now = due_at;
                }
                tries += 1;
                prop_assert!(tries < 100_000);
            }
            prop_assert_eq!(delivery.state, DeliveryState::GivenUp);
            let lasted_ms = now.since(THEN);
            prop_assert!((PATIENCE_MS - 600_000..PATIENCE_MS).contains(&lasted_ms));
        }
    }

    #[test]
    fn a_try_settles_what_waits_for_it_and_nothing_else() {
        let first = made().taken(THEN.plus(30_000));
        let settled = first.after(Came::Delivered, "200", THEN, 0.5);
        let mut taken_again = first.clone().taken(THEN.plus(60_000));
        assert!(!taken_again.settle(&settled), "the lease was lost");
        let mut delivered = first.clone();
        assert!(delivered.settle(&settled));
        assert_eq!((delivered.state, delivered.due_at), (DeliveryState::Delivered, None));
        assert!(!delivered.settle(&first.given_back("stopped", THEN)), "it is over");
        let mut over = first.clone();
        assert!(over.settle(&first.after(Came::Over, "gone", THEN, 0.5)));
        assert_eq!((over.state, over.settled_at), (DeliveryState::GivenUp, Some(THEN)));
    }

    #[test]
    fn a_death_is_told_with_its_cause() {
        let dead = State::Dead { reason: DeadReason::Permanent };
        let mut row = change(State::Submitting, dead);
        (row.after.cause, row.after.class) = (Some(Cause::new("X")), Some(Class::Permanent));
        let delivery = Delivery::of(&row).expect("news");
        assert_eq!((delivery.ended, delivery.class), (StateKind::Dead, Some(Class::Permanent)));
        assert_eq!(delivery.cause, Some(Cause::new("X")));
    }
}
