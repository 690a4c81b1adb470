//! Holds keys to their quotas: a token bucket, a count of open tasks, a count of the day's.
//!
//! - *Rate*: in memory. A gateway that starts anew begins with a full bucket: one second's worth.
//! - *In flight*: counted from the store when it is first asked for and every minute, in between by
//!   what this gateway accepts. Of several gateways on one store each may let in its own quota until
//!   the next count; so may tasks that an operator redrives.
//! - *Per day*: in a document of the store, taken in blocks of a hundredth of the quota (at most
//!   100) before they are used. Over all gateways no more is ever accepted; a gateway that ends
//!   leaves at most one block unused for the rest of that day.

use crate::{
    askers::Asker,
    quota::{Quota, Rate},
};
use deadletter::{
    Error, Result,
    core::{Filter, StateKind, TaskId, UnixMs},
    document,
    store::{Query, Store},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Where the counts of the day stand in the store, a document per key.
const DAY_PREFIX: &str = "gateway/day/";
const DAY_MS: i64 = 86_400_000;
/// Blocks that a day's quota is taken in, and the largest of them.
const BLOCKS: u32 = 100;
const BLOCK: u32 = 100;
/// A key at its quota makes the store be asked this often, however often it tries.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What others accept or redrive is seen after this time.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// Rows of one page of a count, and rows looked at for it.
const PAGE: u32 = 1_000;
const SCAN: u32 = 10_000;
/// Pages of one count: a key with more open tasks is beyond any quota.
const PAGES: u32 = 1_000;
/// Tasks that wait or are under way.
const OPEN: [StateKind; 3] = [StateKind::Queued, StateKind::Submitting, StateKind::Polling];

/// What the keys with a quota use, by their names: no more of them than there are issued keys.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    /// Guards all that is used; never held across an await.
    used: Mutex<HashMap<Arc<str>, Used>>,
}

#[derive(Debug, Default)]
struct Used {
    bucket: Option<Bucket>,
    open: HashSet<TaskId>,
    /// Submits that are being stored.
    pending: usize,
    looked_at: Option<Instant>,
    counted_at: Option<Instant>,
    day: i64,
    /// What is left of the block that was taken for `day`.
    left: u32,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

/// Why a submit is refused.
#[derive(Debug)]
pub(crate) enum Beyond {
    /// Too fast.
    Rate,
    /// Too many open, or no more today.
    Count,
    /// The store did not tell.
    Unknown(Error),
}

impl From<Error> for Beyond {
    fn from(error: Error) -> Self {
        Self::Unknown(error)
    }
}

/// The document of a day: what has been taken of the quota.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Day {
    day: i64,
    taken: u32,
}

/// Room for one task; what is not taken comes back, but for the day's count of a submit that
/// nobody knows the outcome of.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    quotas: &'a Quotas,
    /// Whose; none where nothing is counted.
    owner: Option<Arc<str>>,
    /// The day that it was drawn from, where days are counted.
    day: Option<i64>,
}

impl Room<'_> {
    /// The task has it.
    pub(crate) fn taken_by(self, task: TaskId) {
        if let Some(owner) = &self.owner {
            self.quotas.of(owner, |used| used.open.insert(task));
        }
    }

    /// No task came of it.
    pub(crate) fn give_back(self) {
        if let (Some(owner), Some(day)) = (&self.owner, self.day) {
            self.quotas.of(owner, |used| used.left += u32::from(used.day == day));
        }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if let Some(owner) = &self.owner {
            self.quotas.of(owner, |used| used.pending = used.pending.saturating_sub(1));
        }
    }
}

impl Quotas {
    fn used(&self) -> MutexGuard<'_, HashMap<Arc<str>, Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of<T>(&self, owner: &Arc<str>, act: impl FnOnce(&mut Used) -> T) -> T {
        act(self.used().entry(Arc::clone(owner)).or_default())
    }

    /// Room for one more task of the asker's.
    pub(crate) async fn room(&self, asker: &Asker, store: &dyn Store) -> Result<Room<'_>, Beyond> {
        let quota = asker.quota;
        let Some(owner) = asker.owner.as_ref().filter(|_| quota != Quota::default()) else {
            return Ok(Room { quotas: self, owner: None, day: None });
        };
        if let Some(rate) = quota.rate
            && !self.of(owner, |used| used.draw(rate, Instant::now()))
        {
            return Err(Beyond::Rate);
        }
        if let Some(most) = quota.in_flight {
            self.count(owner, Some(most), store).await?;
        }
        let has_room = self.of(owner, |used| {
            let is_room = quota.in_flight.is_none_or(|most| used.in_flight() < most as usize);
            used.pending += usize::from(is_room);
            is_room
        });
        if !has_room {
            return Err(Beyond::Count);
        }
        let mut room = Room { quotas: self, owner: Some(Arc::clone(owner)), day: None };
        if let Some(per_day) = quota.per_day {
            room.day = Some(self.draw_of_day(owner, per_day, store).await?);
        }
        Ok(room)
    }

    /// Tasks of the asker's that are open, where they are counted.
    pub(crate) async fn open(&self, asker: &Asker, store: &dyn Store) -> Result<Option<u32>> {
        let (Some(owner), Some(_)) = (&asker.owner, asker.quota.in_flight) else { return Ok(None) };
        self.count(owner, None, store).await?;
        let open = self.of(owner, |used| used.in_flight());
        Ok(Some(u32::try_from(open).unwrap_or(u32::MAX)))
    }

    /// The owner has heard that a task has ended.
    pub(crate) fn ended(&self, owner: Option<&str>, task: TaskId) {
        let mut used = self.used();
        if let Some(used) = owner.and_then(|owner| used.get_mut(owner)) {
            used.open.remove(&task);
        }
    }

    /// Counts the open tasks again, if it is time; where `most` is told, only where that many are
    /// open by the last count.
    async fn count(&self, owner: &Arc<str>, most: Option<u32>, store: &dyn Store) -> Result<()> {
        let now = Instant::now();
        let is_past = |at: Option<Instant>, gap| at.is_none_or(|at| now.duration_since(at) >= gap);
        let (ids, is_whole) = self.of(owner, |used| {
            let is_whole = is_past(used.counted_at, COUNT_EVERY);
            let is_full = most.is_none_or(|most| used.in_flight() >= most as usize);
            let is_due = is_whole || (is_full && is_past(used.looked_at, LOOK_EVERY));
            if is_due {
                used.looked_at = Some(now);
                used.counted_at = if is_whole { Some(now) } else { used.counted_at };
            }
            (is_due.then(|| used.open.iter().copied().collect::<Vec<_>>()), is_whole)
        });
        let Some(ids) = ids else { return Ok(()) };
        let tasks = store.get(&ids).await?;
        let stands = |kind| OPEN.contains(&kind);
        let ended = ids
            .iter()
            .zip(tasks)
            .filter(|(_, task)| task.as_ref().is_none_or(|task| !stands(task.kind())));
        let ended: Vec<TaskId> = ended.map(|(id, _)| *id).collect();
        let found = if is_whole { open_of(owner, store).await } else { Ok(Vec::new()) };
        self.of(owner, |used| {
            for id in ended {
                used.open.remove(&id);
            }
            match found {
                Ok(found) => used.open.extend(found),
                Err(error) => {
                    used.counted_at = None;
                    return Err(error);
                }
            }
            Ok(())
        })
    }

    /// Takes one task of the day's quota, from the block in hand or from the next one, and answers
    /// which day it is.
    async fn draw_of_day(
        &self,
        owner: &Arc<str>,
        per_day: u32,
        store: &dyn Store,
    ) -> Result<i64, Beyond> {
        let today = store.clock().now().0.div_euclid(DAY_MS);
        let is_drawn = self.of(owner, |used| {
            if used.day != today {
                (used.day, used.left) = (today, 0);
            }
            let is_left = used.left > 0;
            used.left -= u32::from(is_left);
            is_left
        });
        if is_drawn {
            return Ok(today);
        }
        let block = (per_day / BLOCKS).clamp(1, BLOCK);
        let key = format!("{DAY_PREFIX}{owner}");
        let fresh = Day::default();
        let taken = document::update(store, &key, &fresh, |day: &mut Day| {
            if day.day < today {
                *day = Day { day: today, taken: 0 };
            }
            let granted = block.min(per_day.saturating_sub(day.taken));
            day.taken += granted;
            granted
        });
        let granted = taken.await?.answer;
        let rest = granted.saturating_sub(1);
        self.of(owner, |used| used.left += if used.day == today { rest } else { 0 });
        if granted == 0 { Err(Beyond::Count) } else { Ok(today) }
    }
}

impl Used {
    fn in_flight(&self) -> usize {
        self.open.len() + self.pending
    }

    /// Takes one token, if there is one.
    fn draw(&mut self, rate: Rate, now: Instant) -> bool {
        let most = rate.per_s().max(1.0);
        let bucket = self.bucket.unwrap_or(Bucket { tokens: most, filled_at: now });
        let gained = now.duration_since(bucket.filled_at).as_secs_f64() * rate.per_s();
        let tokens = (bucket.tokens + gained).min(most);
        let is_there = tokens >= 1.0;
        let tokens = if is_there { tokens - 1.0 } else { tokens };
        self.bucket = Some(Bucket { tokens, filled_at: now });
        is_there
    }
}

/// The open tasks of an owner, by the store.
async fn open_of(owner: &str, store: &dyn Store) -> Result<Vec<TaskId>> {
    let filter = Filter::owner(owner)?.and(&Filter::states(&OPEN))?;
    let (mut found, mut after) = (Vec::new(), None);
    for _ in 0..PAGES {
        let query = Query {
            filter: filter.clone(),
            now: UnixMs(0),
            newest_first: false,
            after,
            limit: PAGE,
            scan_limit: SCAN,
        };
        let page = store.page(&query).await?;
        found.extend(page.tasks.iter().map(|task| task.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter::store::{ManualClock, MemoryStore};

    const NOON: i64 = 20_000 * DAY_MS + DAY_MS / 2;

    fn asker(quota: Quota) -> Asker {
        Asker { owner: Some("shop".into()), priority: None, quota }
    }

    async fn accepted(quotas: &Quotas, asker: &Asker, store: &dyn Store, tries: u32) -> u32 {
        let mut accepted = 0;
        for _ in 0..tries {
            accepted += u32::from(quotas.room(asker, store).await.is_ok());
        }
        accepted
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_lets_a_seconds_worth_in_at_once_and_then_as_time_goes() {
        let store = MemoryStore::new(Arc::new(ManualClock::at(UnixMs(NOON))));
        let asker = asker(Quota { rate: "2.5/s".parse().ok(), ..Quota::default() });
        let quotas = Quotas::default();
        assert_eq!(accepted(&quotas, &asker, &store, 10).await, 2);
        assert!(matches!(quotas.room(&asker, &store).await, Err(Beyond::Rate)));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(
            accepted(&quotas, &asker, &store, 10).await,
            2,
            "time fills no more than a second's"
        );
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(accepted(&quotas, &asker, &store, 10).await, 1);
    }

    #[tokio::test]
    async fn a_day_is_counted_over_restarts_and_gateways_and_never_beyond_its_quota() {
        let clock = Arc::new(ManualClock::at(UnixMs(NOON)));
        let store = MemoryStore::new(Arc::clone(&clock) as _);
        let asker = asker(Quota { per_day: Some(250), ..Quota::default() });
        let (one, other) = (Quotas::default(), Quotas::default());
        assert_eq!(accepted(&one, &asker, &store, 99).await, 99);
        let next = Quotas::default();
        let rest =
            accepted(&other, &asker, &store, 50).await + accepted(&next, &asker, &store, 300).await;
        // One block of two may be lost with the gateway that ended.
        assert!((250 - 2..=250).contains(&(99 + rest)), "{rest}");
        assert!(matches!(next.room(&asker, &store).await, Err(Beyond::Count)));
        clock.advance(DAY_MS / 2);
        assert_eq!(accepted(&next, &asker, &store, 300).await, 250, "a new day");
    }

    #[tokio::test]
    async fn what_came_to_nothing_does_not_count() {
        let store = MemoryStore::new(Arc::new(ManualClock::at(UnixMs(NOON))));
        let quota = Quota { per_day: Some(1), in_flight: Some(1), ..Quota::default() };
        let (asker, quotas) = (asker(quota), Quotas::default());
        for _ in 0..3 {
            quotas.room(&asker, &store).await.unwrap().give_back();
        }
        let room = quotas.room(&asker, &store).await.unwrap();
        assert!(matches!(quotas.room(&asker, &store).await, Err(Beyond::Count)), "it is pending");
        drop(room);
        assert_eq!(quotas.open(&asker, &store).await.unwrap(), Some(0));
    }
}
