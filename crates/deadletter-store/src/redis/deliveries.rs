//! Deliveries: made with the change that they tell of, taken when due, settled.
//!
//! A delivery is a line of its task, whose mark fences it. Those that wait stand in a set of
//! their place by due time, and each place stands in one set by its first.

use super::{
    RedisStore,
    apply::Apply,
    failure::{Failure, Outcome},
    json::{self, misfit},
    keys::Keys,
    server::{Call, Work},
    tasks::row,
};
use crate::{Among, Deliveries, DeliveryCounts, Due, NextDelivery, Result};
use async_trait::async_trait;
use deadletter_core::{Delivery, DeliveryState, Settlement, TaskId, UnixMs};
use redis::Cmd;
use std::collections::{BTreeMap, BTreeSet};

/// Deliveries, and the tasks of which they are lines.
struct Loaded {
    tasks: row::Tasks,
    deliveries: BTreeMap<(TaskId, u64), Delivery>,
}

/// Notes when new deliveries are due, and counts them; they are written with their tasks.
pub(super) fn made(apply: &mut Apply, keys: &Keys, deliveries: &[Delivery]) {
    for delivery in deliveries {
        note(apply, keys, delivery);
        count(apply, keys, delivery.state, 1);
    }
    first_of(apply, keys, deliveries);
}

/// Takes the deliveries of tasks that go as a whole out of the sets and the counts.
pub(super) fn dropped(apply: &mut Apply, keys: &Keys, deliveries: &[Delivery]) {
    for delivery in deliveries {
        apply.remove(keys.deliveries_at(&delivery.place), member(delivery));
        count(apply, keys, delivery.state, -1);
    }
    first_of(apply, keys, deliveries);
}

/// Notes when a delivery is due.
fn note(apply: &mut Apply, keys: &Keys, delivery: &Delivery) {
    let waiting = keys.deliveries_at(&delivery.place);
    match delivery.due_at {
        Some(due_at) => apply.add(waiting, due_at.0, member(delivery)),
        None => apply.remove(waiting, member(delivery)),
    }
}

/// Notes anew which of what waits for these places is due first.
fn first_of<'a>(
    apply: &mut Apply,
    keys: &Keys,
    deliveries: impl IntoIterator<Item = &'a Delivery>,
) {
    let places: BTreeSet<&str> = deliveries.into_iter().map(|it| it.place.as_str()).collect();
    for place in places {
        apply.first(keys.deliveries_at(place), keys.places(), place);
    }
}

fn count(apply: &mut Apply, keys: &Keys, state: DeliveryState, n: i64) {
    apply.count(keys.delivery_counts(), state.label(), n);
}

/// A delivery among those that wait: by task and version, where they are due at the same time.
fn member(delivery: &Delivery) -> String {
    format!("{:016}:{:020}", delivery.task.get(), delivery.version)
}

fn named(member: &str) -> Outcome<(TaskId, u64)> {
    let parts = member
        .split_once(':')
        .and_then(|(task, version)| Some((task.parse().ok()?, version.parse().ok()?)));
    parts.ok_or_else(|| misfit("a delivery's name"))
}

impl Loaded {
    async fn load(call: &Call, names: &BTreeSet<(TaskId, u64)>) -> Outcome<Self> {
        let tasks = row::load(call, &names.iter().map(|(task, _)| *task).collect()).await?;
        // One that is gone was purged with its task.
        let deliveries = names.iter().filter_map(|(task, version)| {
            let delivery = tasks.get(task)?.deliveries.iter().find(|it| it.version == *version)?;
            Some(((*task, *version), delivery.clone()))
        });
        let deliveries = deliveries.collect();
        Ok(Self { tasks, deliveries })
    }

    /// Writes all of them, where their tasks stand as they were loaded.
    fn write(self, call: &Call) -> Apply {
        let (mut apply, keys) = (Apply::default(), call.keys());
        self.deliveries.values().for_each(|delivery| note(&mut apply, keys, delivery));
        first_of(&mut apply, keys, self.deliveries.values());
        for before in self.tasks.values() {
            let mut after = row::Loaded { mark: call.mark(), ..row::Loaded::clone(before) };
            for delivery in &mut after.deliveries {
                if let Some(new) = self.deliveries.get(&(delivery.task, delivery.version)) {
                    delivery.clone_from(new);
                }
            }
            row::write(&mut apply, keys, Some(before), after);
        }
        apply
    }
}

async fn take(call: Call, due: &Due) -> Outcome<Work<Vec<Delivery>>> {
    let waiting = call.keys().deliveries_at(&due.place);
    let limit = isize::try_from(due.limit).unwrap_or(isize::MAX);
    let waiting = Cmd::zrangebyscore_limit(waiting, "-inf", due.now.0, 0, limit);
    let names: Vec<String> = call.ask_one(waiting).await?;
    let names = names.iter().map(|name| named(name)).collect::<Outcome<Vec<_>>>()?;
    let mut loaded = Loaded::load(&call, &names.iter().copied().collect()).await?;
    // Somebody took them between the two questions: others may wait behind them.
    if !loaded.deliveries.values().all(|it| it.due_at.is_some_and(|at| at <= due.now)) {
        return Err(Failure::Met);
    }
    let mut taken = Vec::new();
    for name in names {
        if let Some(delivery) = loaded.deliveries.get_mut(&name) {
            *delivery = delivery.clone().taken(due.until);
            taken.push(delivery.clone());
        }
    }
    Ok(Work::of(taken, loaded.write(&call)))
}

async fn settle(call: Call, settled: &[Settlement]) -> Outcome<Work<Vec<bool>>> {
    let names = settled.iter().map(|it| (it.task, it.version)).collect();
    let mut loaded = Loaded::load(&call, &names).await?;
    let mut states = Vec::new();
    let mut answers = Vec::with_capacity(settled.len());
    for settlement in settled {
        let delivery = loaded.deliveries.get_mut(&(settlement.task, settlement.version));
        answers.push(delivery.is_some_and(|delivery| {
            let before = delivery.state;
            let is_settled = delivery.settle(settlement);
            states.push((before, delivery.state));
            is_settled
        }));
    }
    if !answers.contains(&true) {
        return Ok(Work::of(answers, Apply::default()));
    }
    let mut apply = loaded.write(&call);
    for (before, after) in states {
        count(&mut apply, call.keys(), before, -1);
        count(&mut apply, call.keys(), after, 1);
    }
    Ok(Work::of(answers, apply))
}

async fn next(call: Call, among: &Among) -> Outcome<Option<NextDelivery>> {
    let places = call.keys().places();
    let firsts: Vec<(String, i64)> = match among {
        // Of one place more than are busy, one is not.
        Among::AllBut(busy) => {
            let last = isize::try_from(busy.len()).unwrap_or(isize::MAX);
            let firsts: Vec<(String, i64)> =
                call.ask_one(Cmd::zrange_withscores(places, 0, last)).await?;
            firsts.into_iter().filter(|(place, _)| !busy.contains(place)).collect()
        }
        Among::These(wanted) => {
            let firsts = wanted.iter().map(|place| Cmd::zscore(&places, place));
            let firsts: Vec<Option<i64>> = call.ask(firsts).await?;
            wanted.iter().cloned().zip(firsts).filter_map(|(it, at)| Some((it, at?))).collect()
        }
    };
    let next = firsts.into_iter().min_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    Ok(next.map(|(place, due_at)| NextDelivery { place, due_at: UnixMs(due_at) }))
}

/// The deliveries of a task, newest first.
async fn of_task(call: Call, task: TaskId) -> Outcome<Vec<Delivery>> {
    let loaded = row::load(&call, &[task].into()).await?.remove(&task);
    let mut deliveries = loaded.map(|task| task.deliveries.clone()).unwrap_or_default();
    deliveries.sort_by_key(|it| std::cmp::Reverse(it.version));
    Ok(deliveries)
}

#[async_trait]
impl Deliveries for RedisStore {
    async fn take_deliveries(&self, due: &Due) -> Result<Vec<Delivery>> {
        self.transact("take deliveries", |call| take(call, due)).await
    }

    async fn settle_deliveries(&self, settled: &[Settlement]) -> Result<Vec<bool>> {
        self.transact("settle deliveries", |call| settle(call, settled)).await
    }

    async fn next_delivery(&self, among: &Among) -> Result<Option<NextDelivery>> {
        self.look("find the next delivery", |call| next(call, among)).await
    }

    async fn deliveries(&self, task: TaskId, limit: u32) -> Result<Vec<Delivery>> {
        let mut all = self.look("get deliveries", |call| of_task(call, task)).await?;
        all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(all)
    }

    async fn count_deliveries(&self) -> Result<DeliveryCounts> {
        self.look("count deliveries", |call| async move {
            let counted: Vec<(String, i64)> =
                call.ask_one(Cmd::hgetall(call.keys().delivery_counts())).await?;
            let mut counts = DeliveryCounts::default();
            for (state, n) in counted {
                *counts.of(json::word(&state)?) = n;
            }
            Ok(counts)
        })
        .await
    }
}
