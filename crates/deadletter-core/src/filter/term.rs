//! One term of a filter, and what it says of a task.

use super::{Key, compare::Compare, pattern::Pattern};
use crate::{Class, DeadReason, State, StateKind, Task, TaskId, UnixMs, Why};

/// A key, the values that it may have, and whether they are the ones to leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) negated: bool,
    pub(super) key: Key,
    pub(super) values: Values,
}

/// The values of a term, joined by OR; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Values {
    States(Vec<StateKind>),
    Reasons(Vec<DeadReason>),
    Classes(Vec<Class>),
    Whys(Vec<Why>),
    Held(Vec<bool>),
    /// Sorted, without duplicates.
    Ids(Vec<TaskId>),
    Texts(Vec<Pattern>),
    Numbers(Vec<Compare>),
    Ages(Vec<Compare>),
}

impl Term {
    /// A negated term chooses what the term alone would leave out, tasks without such a value
    /// included: `-batch:nightly` chooses tasks that came with no batch.
    pub(super) fn matches(&self, task: &Task, now: UnixMs) -> bool {
        self.names(task, now) != self.negated
    }

    fn names(&self, task: &Task, now: UnixMs) -> bool {
        match &self.values {
            Values::States(states) => states.contains(&task.kind()),
            Values::Reasons(reasons) => {
                task.reason().is_some_and(|reason| reasons.contains(&reason))
            }
            Values::Classes(classes) => task.class.is_some_and(|class| classes.contains(&class)),
            Values::Whys(whys) => match &task.state {
                State::Queued { why, .. } => whys.contains(why),
                _ => false,
            },
            Values::Held(answers) => answers.contains(&task.hold.is_some()),
            Values::Ids(ids) => ids.binary_search(&task.id).is_ok(),
            Values::Texts(patterns) => {
                self.key.texts(task).into_iter().any(|text| matches_any(patterns, self.key, text))
            }
            Values::Numbers(compares) => self
                .key
                .number(task)
                .is_some_and(|number| compares.iter().any(|compare| compare.holds(number))),
            Values::Ages(compares) => {
                let since = if self.key == Key::Idle { task.updated_at } else { task.created_at };
                compares.iter().any(|compare| compare.holds(now.since(since)))
            }
        }
    }
}

fn matches_any(patterns: &[Pattern], key: Key, text: &str) -> bool {
    // Host names have no case; patterns for them were lowered when they were read.
    let lowered = (key == Key::Host).then(|| text.to_ascii_lowercase());
    let text = lowered.as_deref().unwrap_or(text);
    patterns.iter().any(|pattern| pattern.matches(text))
}
