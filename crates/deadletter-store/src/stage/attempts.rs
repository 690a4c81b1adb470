//! Attempts that were loaded, and who among them has which upstream id.

use super::Written;
use deadletter_core::{AccountName, Attempt, AttemptToken, Fact, Learned, TaskId, UpstreamId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Where an attempt is found.
type AttemptKey = (TaskId, AttemptToken);

/// Attempts by task, and those that have changed.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    stored: BTreeMap<AttemptKey, Attempt>,
    changed: BTreeSet<AttemptKey>,
    /// Who has an upstream id; ids are given and never taken away.
    bearers: HashMap<(AccountName, UpstreamId), BTreeSet<AttemptKey>>,
}

impl Attempts {
    pub(super) fn load(&mut self, attempt: Attempt) {
        self.note_bearer(&attempt);
        self.stored.insert((attempt.task, attempt.token), attempt);
    }

    pub(super) fn get(&self, task: TaskId, token: AttemptToken) -> Option<&Attempt> {
        self.stored.get(&(task, token))
    }

    /// The keys of all that were loaded.
    pub(super) fn keys(&self) -> Vec<AttemptKey> {
        self.stored.keys().copied().collect()
    }

    /// The attempts of a task.
    pub(super) fn of(&self, task: TaskId) -> impl Iterator<Item = &Attempt> {
        self.stored
            .range((task, AttemptToken::from_random(0))..)
            .map_while(move |((owner, _), attempt)| (*owner == task).then_some(attempt))
    }

    /// Changes an attempt, if it stands; `edit` says whether it has.
    pub(super) fn change(
        &mut self,
        task: TaskId,
        token: AttemptToken,
        edit: impl FnOnce(&mut Attempt) -> bool,
    ) -> Option<Attempt> {
        let attempt = self.stored.get_mut(&(task, token))?;
        if !edit(attempt) {
            return None;
        }
        let attempt = attempt.clone();
        self.changed.insert((task, token));
        self.note_bearer(&attempt);
        Some(attempt)
    }

    /// True where the fact would name two tasks' open attempts of an account alike.
    pub(super) fn is_id_taken(&self, fact: &Fact) -> bool {
        let Some(attempt) = self.get(fact.task, fact.token) else { return false };
        let named = match &fact.learned {
            Learned::Accepted(id) => Some(id),
            _ => attempt.upstream_id.as_ref(),
        };
        let Some(id) = named else { return false };
        let bearers = self.bearers.get(&(attempt.account.clone(), id.clone()));
        let mut bearers = bearers.into_iter().flatten().filter_map(|key| self.stored.get(key));
        bearers.any(|bearer| bearer.keeps_its_id_from(fact.task))
    }

    /// Those that have changed.
    pub(super) fn into_written(self) -> Vec<Written> {
        let changed = self.changed.iter().filter_map(|key| self.stored.get(key));
        changed
            .map(|attempt| Written {
                attempt: attempt.clone(),
                has_namesake: self.has_namesake(attempt),
            })
            .collect()
    }

    /// True where an earlier attempt of the same task is open under the same upstream id.
    fn has_namesake(&self, attempt: &Attempt) -> bool {
        self.of(attempt.task).any(|other| {
            other.is_open()
                && other.n < attempt.n
                && other.upstream_id.is_some()
                && other.upstream_id == attempt.upstream_id
                && other.account == attempt.account
        })
    }

    fn note_bearer(&mut self, attempt: &Attempt) {
        if let Some(id) = &attempt.upstream_id {
            let bearers = self.bearers.entry((attempt.account.clone(), id.clone()));
            bearers.or_default().insert((attempt.task, attempt.token));
        }
    }
}
