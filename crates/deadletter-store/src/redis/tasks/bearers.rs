//! Who bears which upstream id: a name leads to the attempts that have it or had it.

use super::{
    index::{attempt_member, attempt_of},
    row::Loaded,
};
use crate::redis::{apply::Apply, failure::Outcome, keys::Keys, server::Call};
use deadletter_core::{AccountName, TaskId, UpstreamId};
use redis::Cmd;
use std::collections::{BTreeMap, BTreeSet};

/// A name in an account.
pub(super) type Name = (AccountName, UpstreamId);

/// Stands between two attempts of one name.
const BETWEEN: &str = " ";

/// The bearers of some names, as they stand and as they will.
#[derive(Debug, Default)]
pub(super) struct Bearers(BTreeMap<Name, Borne>);

/// Who bears one name, as members.
#[derive(Debug, Default)]
pub(super) struct Borne {
    /// As it is stored; empty where nobody bears it.
    stored: String,
    bearers: BTreeSet<String>,
}

impl Borne {
    fn read(stored: String) -> Self {
        let bearers = stored.split_terminator(BETWEEN).map(str::to_owned).collect();
        Self { stored, bearers }
    }

    pub(super) fn add(&mut self, member: String) {
        self.bearers.insert(member);
    }

    pub(super) fn remove(&mut self, member: &str) {
        self.bearers.remove(member);
    }

    fn written(&self) -> String {
        self.bearers.iter().map(String::as_str).collect::<Vec<_>>().join(BETWEEN)
    }
}

impl Bearers {
    /// Asks who bears each name.
    pub(super) async fn load(call: &Call, names: BTreeSet<Name>) -> Outcome<Self> {
        let mut accounts: BTreeMap<AccountName, Vec<UpstreamId>> = BTreeMap::new();
        for (account, id) in names {
            accounts.entry(account).or_default().push(id);
        }
        let questions = accounts.iter().map(|(account, ids)| {
            let ids: Vec<&str> = ids.iter().map(UpstreamId::as_str).collect();
            Cmd::hmget(call.keys().upstream_ids(account), ids)
        });
        let found: Vec<Vec<Option<String>>> = call.ask(questions).await?;
        let mut bearers = Self::default();
        for ((account, ids), found) in accounts.into_iter().zip(found) {
            for (id, stored) in ids.into_iter().zip(found) {
                let borne = Borne::read(stored.unwrap_or_default());
                bearers.0.insert((account.clone(), id), borne);
            }
        }
        Ok(bearers)
    }

    /// As it is where nobody bears a name but those that are in sight.
    pub(super) fn guess<'l>(
        names: BTreeSet<Name>,
        tasks: impl IntoIterator<Item = &'l Loaded>,
    ) -> Self {
        let mut bearers: BTreeMap<Name, Borne> =
            names.into_iter().map(|name| (name, Borne::default())).collect();
        for attempt in tasks.into_iter().flat_map(|task| &task.attempts) {
            let Some(id) = &attempt.upstream_id else { continue };
            if let Some(borne) = bearers.get_mut(&(attempt.account.clone(), id.clone())) {
                borne.add(attempt_member(attempt.task, attempt.token));
            }
        }
        for borne in bearers.values_mut() {
            borne.stored = borne.written();
        }
        Self(bearers)
    }

    /// Who bears a name; nobody, where it was not asked for.
    pub(super) fn of(&mut self, account: &AccountName, id: &UpstreamId) -> &mut Borne {
        self.0.entry((account.clone(), id.clone())).or_default()
    }

    /// The tasks of all of them.
    pub(super) fn tasks(&self) -> BTreeSet<TaskId> {
        let members = self.0.values().flat_map(|borne| &borne.bearers);
        members.filter_map(|member| attempt_of(member)).map(|(task, _)| task).collect()
    }

    /// Checks that each name is borne as it was found, and writes what has changed.
    pub(super) fn write(self, keys: &Keys, apply: &mut Apply) {
        for ((account, id), borne) in self.0 {
            let (names, written) = (keys.upstream_ids(&account), borne.written());
            apply.holds(names.clone(), id.as_str(), borne.stored.as_str());
            if written.is_empty() && !borne.stored.is_empty() {
                apply.drop(names, id.as_str());
            } else if written != borne.stored {
                apply.put(names, id.as_str(), written);
            }
        }
    }
}

/// How many attempts bear a name.
pub(super) async fn count(call: &Call, account: &AccountName, id: &UpstreamId) -> Outcome<u32> {
    let question = Cmd::hget(call.keys().upstream_ids(account), id.as_str());
    let stored: Option<String> = call.ask_one(question).await?;
    let borne = Borne::read(stored.unwrap_or_default());
    Ok(u32::try_from(borne.bearers.len()).unwrap_or(u32::MAX))
}

/// The attempts of a task by their names.
pub(super) fn names_of(attempts: &[deadletter_core::Attempt]) -> impl Iterator<Item = Name> {
    attempts.iter().filter_map(|it| Some((it.account.clone(), it.upstream_id.clone()?)))
}
