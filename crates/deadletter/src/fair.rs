//! Fair turns between owners: whoever has thousands of tasks waiting does not keep another's one
//! task waiting behind them.
//!
//! Within a priority the store claims by turn. A new task's turn is the one that is claimed now, or
//! the one behind its owner's last task, whichever is later: owners that wait are served in turn,
//! one task each, and an owner that was idle saves up nothing. This is start-time fair queueing
//! (Goyal, Vin, Cheng 1996) with tasks of one size.
//!
//! Nothing of it is stored but the turns: a process reads from the queue where it stands, once,
//! before its first insert. Processes that share a store see each other's turns where they claim
//! them; until then an owner may be served twice in a round. A queue that is empty begins at the
//! store's time, so that what was queued before and comes back does not wait behind what is new.

use crate::{Result, shared::Shared, walk::walk};
use deadletter_core::{AccountName, Filter, Task};
use deadletter_store::Claimed;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::OnceCell;

/// Owners that are remembered: those beyond are served as if each task were their first.
const OWNERS: usize = 10_000;
/// Pages of the first look: what lies behind them keeps its turns, which are later ones.
const PAGES: u32 = 40;

/// The turns of an account.
#[derive(Default)]
pub(crate) struct Turns {
    read: OnceCell<()>,
    /// Guards the lines by priority; held for arithmetic only.
    lines: Mutex<BTreeMap<u8, Line>>,
}

/// The tasks of one priority.
#[derive(Default)]
struct Line {
    /// The latest turn that was claimed.
    now: i64,
    /// The turn of each owner's last task.
    last: HashMap<Option<String>, i64>,
}

impl Line {
    fn next(&mut self, owner: Option<&str>) -> i64 {
        let owner = owner.map(str::to_owned);
        let behind = self.last.get(&owner).map_or(self.now, |last| last.saturating_add(1));
        let turn = self.now.max(behind);
        if self.last.len() >= OWNERS && !self.last.contains_key(&owner) {
            // Their next task has the turn of a first one anyhow.
            self.last.retain(|_, last| *last >= turn);
        }
        if self.last.len() < OWNERS || self.last.contains_key(&owner) {
            self.last.insert(owner, turn);
        }
        turn
    }
}

impl Turns {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<u8, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn of a new task.
    pub(crate) fn next(&self, owner: Option<&str>, priority: u8) -> i64 {
        self.lines().entry(priority).or_default().next(owner)
    }

    /// First submits were claimed.
    pub(crate) fn claimed(&self, claimed: &[Claimed]) {
        let mut lines = self.lines();
        // What was redriven or given back has a turn of long ago.
        for Claimed { task, .. } in claimed.iter().filter(|it| it.task.counters.attempts <= 1) {
            let line = lines.entry(task.priority).or_default();
            line.now = line.now.max(task.turn);
        }
    }

    /// Reads where the queue stands, the first time that this is called.
    pub(crate) async fn read(&self, shared: &Shared, account: &AccountName) -> Result<()> {
        let read = || async {
            self.take_queue(&queued(shared, account).await?, shared.now().0);
            Ok(())
        };
        self.read.get_or_try_init(read).await.map(drop)
    }

    fn take_queue(&self, queued: &[Task], now: i64) {
        let mut lines = self.lines();
        for priority in 0..=crate::job::LOWEST {
            let of_line = || queued.iter().filter(move |task| task.priority == priority);
            let line = lines.entry(priority).or_default();
            line.now = line.now.max(of_line().map(|task| task.turn).min().unwrap_or(now));
            for task in of_line() {
                let last = line.last.entry(task.owner.clone()).or_insert(task.turn);
                *last = task.turn.max(*last);
            }
        }
    }
}

/// Tasks that wait for their first submit, the oldest first.
async fn queued(shared: &Shared, account: &AccountName) -> Result<Vec<Task>> {
    let filter: Filter = format!("state:queued why:new account:{account}").parse()?;
    let mut queued = Vec::new();
    walk(shared, filter, PAGES, |task| queued.push(task)).await?;
    Ok(queued)
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter_core::{Policy, TaskId, UnixMs};

    #[test]
    fn one_task_of_another_owner_comes_behind_one_of_each_and_not_behind_all() {
        let mut line = Line::default();
        let many: Vec<i64> = (0..1_000).map(|_| line.next(Some("many"))).collect();
        assert!(many.is_sorted() && many[999] == 999);
        line.now = many[10];
        assert_eq!(line.next(Some("one")), 10);
        assert_eq!((line.next(Some("one")), line.next(None)), (11, 10));
        // Who was idle saves up nothing.
        line.now = 500;
        assert_eq!((line.next(Some("one")), line.next(Some("many"))), (500, 1_000));
    }

    #[test]
    fn owners_are_remembered_up_to_a_bound() {
        let mut line = Line::default();
        for n in 0..2 * OWNERS {
            line.next(Some(&n.to_string()));
            line.now += i64::from(n % 2 == 0);
        }
        assert!(line.last.len() <= OWNERS);
    }

    #[test]
    fn a_new_process_goes_on_where_the_queue_stands() {
        let account = AccountName::new("main").unwrap();
        let task = |n: u16, owner: &str, turn| Task {
            owner: Some(owner.to_owned()),
            turn,
            ..Task::queued(
                TaskId::at(UnixMs(9), n.into()),
                account.clone(),
                &Policy::default(),
                UnixMs(9),
            )
        };
        let turns = Turns::default();
        turns.take_queue(&[task(1, "a", 70), task(2, "a", 71), task(3, "b", 70)], 1_000);
        let priority = deadletter_core::task::NORMAL_PRIORITY;
        assert_eq!(turns.next(Some("a"), priority), 72);
        assert_eq!(turns.next(Some("b"), priority), 71);
        assert_eq!(turns.next(Some("c"), priority), 70);
        assert_eq!(turns.next(Some("c"), 0), 1_000, "an empty line begins at the store's time");
    }

    #[tokio::test]
    async fn a_process_that_begins_serves_a_new_owner_before_the_rest_of_a_queue() {
        use crate::{AccountConfig, Deadletter, Job, provider::scripted::ScriptedProvider};
        use deadletter_core::UnixMs;
        use deadletter_store::{ManualClock, MemoryStore, Store};
        use std::sync::Arc;
        let clock = Arc::new(ManualClock::at(UnixMs(1_000)));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::clone(&clock) as _));
        let desk = async || {
            let provider = Arc::new(ScriptedProvider::default());
            let account = AccountConfig::new(AccountName::new("main").unwrap(), provider);
            let builder = Deadletter::builder().store(Arc::clone(&store)).account(account);
            builder.desk_only().await.unwrap()
        };
        let first = desk().await;
        let of_many = || Job::new("image").owner("many");
        let many = first.submit_all((0..9).map(|_| of_many()).collect()).await.unwrap();
        clock.advance(60_000);
        let one = desk().await.submit(Job::new("image").owner("one")).await.unwrap();
        let ids: Vec<_> = [one.id].into_iter().chain(many.iter().map(|it| it.id)).collect();
        let rows = store.get(&ids).await.unwrap();
        let turns: Vec<_> = rows.into_iter().flatten().map(|task| task.turn).collect();
        assert!(turns[0] < turns[2], "it waits behind what was there: {turns:?}");
    }
}
