//! What an index can answer of a filter: bounds that every chosen task lies within.

use super::{
    Filter, Key,
    term::{Term, Values},
};
use crate::{Cause, StateKind, TaskId};

/// The part of a filter that an index can answer; the rest is left to [`Filter::matches`].
///
/// Every set field narrows: a task outside the range never matches the filter. An empty list
/// means that no task matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Only these tasks, in rising order.
    pub ids: Option<Vec<TaskId>>,
    /// Only these states.
    pub states: Option<Vec<StateKind>>,
    /// Only this cause, exactly.
    pub cause: Option<Cause>,
    /// Only this site key, exactly.
    pub sitekey: Option<String>,
    /// Only this batch, exactly.
    pub batch: Option<String>,
}

impl Filter {
    /// What an index can answer.
    #[must_use]
    pub fn range(&self) -> Range {
        let mut range = Range::default();
        for term in &self.terms {
            range.narrow(term);
        }
        range
    }
}

impl Range {
    fn narrow(&mut self, term: &Term) {
        match (&term.values, term.negated) {
            (Values::States(states), negated) => {
                self.keep_states(|state| states.contains(&state) != negated);
            }
            // Only the dead and the buried have a reason, only the queued wait for something.
            (Values::Reasons(_), false) => {
                self.keep_states(|state| matches!(state, StateKind::Dead | StateKind::Buried));
            }
            (Values::Whys(_), false) => self.keep_states(|state| state == StateKind::Queued),
            (Values::Ids(ids), false) => match &mut self.ids {
                Some(kept) => kept.retain(|id| ids.binary_search(id).is_ok()),
                None => self.ids = Some(ids.clone()),
            },
            (Values::Texts(patterns), false) => {
                let [only] = patterns.as_slice() else { return };
                let Some(text) = only.exact() else { return };
                match term.key {
                    Key::Cause => self.cause = Some(Cause::new(text)),
                    Key::Sitekey => self.sitekey = Some(text.to_owned()),
                    Key::Batch => self.batch = Some(text.to_owned()),
                    _ => (),
                }
            }
            _ => (),
        }
    }

    fn keep_states(&mut self, keep: impl Fn(StateKind) -> bool) {
        self.states.get_or_insert_with(|| StateKind::ALL.to_vec()).retain(|state| keep(*state));
    }
}
