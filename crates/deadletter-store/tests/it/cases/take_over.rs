//! Taking over: what dead workers held and what nobody holds, each to exactly one new holder.

use crate::harness::{Harness, account, answered, upstream_id};
use deadletter_core::{
    Attempt, Change, Class, DeadReason, Failure, Happened, RowChange, StateKind, Task, TaskId,
    Terms,
};
use deadletter_store::{Committed, Error, TakeOver, Taken};

fn ids(taken: &Taken) -> Vec<TaskId> {
    taken.tasks.iter().map(|(task, _)| task.id).collect()
}

pub(crate) async fn tasks_of_a_dead_worker_go_to_the_one_who_asks(h: &mut Harness) {
    let (old, new) = (h.worker("old").await, h.worker("new").await);
    let (task, attempt) = h.polling(&old, |_| ()).await;
    h.declare_dead(&old).await;
    let taken = h.take_over(&new).await;
    let (row, adopted) = &taken.tasks[0];
    assert_eq!((row.id, row.version), (task.id, task.version + 1));
    assert_eq!((row.worker.as_ref(), row.attempt), (Some(&new), Some(attempt.token)));
    assert_eq!((adopted.token, adopted.worker.as_ref()), (attempt.token, Some(&new)));
    assert_eq!(h.task(task.id).await, *row);
    assert_eq!(h.attempt(task.id, 1).await, *adopted);
    assert!(taken.abandoned.is_empty());
}

pub(crate) async fn ids_to_poll_come_before_submits_in_doubt_each_by_id(h: &mut Harness) {
    let (old, new) = (h.worker("old").await, h.worker("new").await);
    let (submitting_1, _) = h.submitting(&old, |_| ()).await;
    let (polling_1, _) = h.polling(&old, |_| ()).await;
    let (submitting_2, _) = h.submitting(&old, |_| ()).await;
    let (polling_2, _) = h.polling(&old, |_| ()).await;
    h.declare_dead(&old).await;
    let take = TakeOver { limit: 3, ..h.take_of(&new) };
    let taken = h.store.take_over(take).await.unwrap();
    assert_eq!(ids(&taken), [polling_1.id, polling_2.id, submitting_1.id]);
    assert_eq!(ids(&h.take_over(&new).await), [submitting_2.id]);
    assert!(h.take_over(&new).await.tasks.is_empty());
}

pub(crate) async fn tasks_of_living_workers_are_left_alone(h: &mut Harness) {
    let (one, two) = (h.worker("one").await, h.worker("two").await);
    let (task, _) = h.polling(&one, |_| ()).await;
    h.submitting(&one, |_| ()).await;
    h.clock.advance(60_000);
    for worker in [&two, &one] {
        let taken = h.take_over(worker).await;
        assert!(taken.tasks.is_empty() && taken.abandoned.is_empty());
    }
    assert_eq!(h.task(task.id).await, task);
}

pub(crate) async fn what_was_taken_over_is_stale_for_its_old_worker(h: &mut Harness) {
    let (old, new) = (h.worker("old").await, h.worker("new").await);
    let (task, attempt) = h.submitting(&old, |_| ()).await;
    h.declare_dead(&old).await;
    h.take_over(&new).await;
    // The old worker comes back from a long pause with what it has read.
    let accepted = h.decide(&task, Some(&attempt), &Happened::Accepted(upstream_id("u-1")));
    assert_eq!(h.commit(accepted).await, Committed::Stale);
    let row = h.task(task.id).await;
    assert_eq!((row.kind(), row.worker), (StateKind::Submitting, Some(new)));
    // But what it learned of its own attempt is not lost.
    assert_eq!(h.attempt(task.id, 1).await.upstream_id, Some(upstream_id("u-1")));
}

pub(crate) async fn a_polled_task_given_back_is_taken_by_the_next(h: &mut Harness) {
    let (one, two) = (h.worker("one").await, h.worker("two").await);
    let (task, _) = h.polling(&one, |_| ()).await;
    let row = RowChange::to(&task, Task { worker: None, ..task.clone() }, h.now());
    h.commit(Change { facts: Vec::new(), row: Some(Box::new(row)) }).await;
    assert_eq!(h.task(task.id).await.worker, None);
    assert_eq!(ids(&h.take_over(&two).await), [task.id]);
}

pub(crate) async fn a_resumed_dead_letter_is_taken_by_whoever_asks_first(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.timed_out(&worker).await;
    h.redrive(task.id, Some(&attempt)).await;
    let taken = h.take_over(&worker).await;
    assert_eq!(ids(&taken), [task.id]);
    assert!(taken.abandoned.is_empty(), "its task waits for it again");
    let (_, attempt) = &taken.tasks[0];
    h.happens(task.id, Some(attempt), answered(attempt, "token")).await;
    assert_eq!(h.task(task.id).await.kind(), StateKind::Solved);
}

pub(crate) async fn a_worker_that_left_holds_nothing(h: &mut Harness) {
    let (one, two) = (h.worker("one").await, h.worker("two").await);
    let (task, _) = h.polling(&one, |_| ()).await;
    let (abandoned, _) = h.timed_out(&one).await;
    h.store.leave(&one).await.unwrap();
    let taken = h.take_over(&two).await;
    assert_eq!(ids(&taken), [task.id]);
    assert_eq!(taken.abandoned[0].task, abandoned.id);
}

pub(crate) async fn abandoned_attempts_are_adopted_oldest_first(h: &mut Harness) {
    let (old, new) = (h.worker("old").await, h.worker("new").await);
    let mut wanted = Vec::new();
    for _ in 0..3 {
        let (task, _) = h.polling(&old, |task| task.round.allowance = 1).await;
        wanted.push(task.id);
        h.clock.advance(10);
    }
    for id in wanted.iter().rev() {
        let attempt = h.attempt(*id, 1).await;
        h.happens(*id, Some(&attempt), Happened::NotReady { elapsed_ms: 120_000 }).await;
    }
    h.declare_dead(&old).await;
    let rows = h.store.get(&wanted).await.unwrap();
    let take = TakeOver { limit: 2, ..h.take_of(&new) };
    let taken = h.store.take_over(take).await.unwrap();
    assert!(taken.tasks.is_empty());
    let adopted: Vec<_> = taken.abandoned.iter().map(|attempt| attempt.task).collect();
    assert_eq!(adopted, wanted[..2]);
    assert!(taken.abandoned.iter().all(|attempt| attempt.worker.as_ref() == Some(&new)));
    assert_eq!(h.attempt(wanted[0], 1).await, taken.abandoned[0]);
    assert_eq!(h.take_over(&new).await.abandoned.len(), 1);
    assert!(h.take_over(&new).await.abandoned.is_empty());
    // Adoption is the attempt's affair: the tasks' rows have not changed.
    assert_eq!(h.store.get(&wanted).await.unwrap(), rows);
}

pub(crate) async fn abandoned_attempts_of_a_worker_are_found_by_it(h: &mut Harness) {
    let (mine, other) = (h.worker("mine").await, h.worker("other").await);
    let main = account("main");
    let found = async |after: Option<&Attempt>, limit| {
        h.store.abandoned(&mine, &main, after, limit).await.unwrap()
    };
    assert!(found(None, 9).await.is_empty());
    let mut wanted = Vec::new();
    for worker in [&mine, &mine, &other, &mine] {
        let (task, attempt) = h.polling(worker, |task| task.round.allowance = 1).await;
        let silence = Happened::NotReady { elapsed_ms: 120_000 };
        h.happens(task.id, Some(&attempt), silence).await;
        let attempt = h.attempt(task.id, 1).await;
        wanted.extend((worker == &mine).then_some(attempt));
        h.clock.advance(10);
    }
    h.polling(&mine, |_| ()).await;
    h.submitting(&mine, |_| ()).await;
    assert_eq!(found(None, 9).await, wanted);
    assert_eq!(found(None, 2).await, wanted[..2]);
    assert_eq!(found(Some(&wanted[1]), 2).await, wanted[2..]);
    let (last, first) = (wanted[2].clone(), wanted[0].clone());
    h.happens(last.task, Some(&last), answered(&last, "late")).await;
    h.redrive(first.task, Some(&first)).await;
    assert_eq!(found(None, 9).await, wanted[1..2], "one is answered, for one its task waits");
    assert!(h.store.abandoned(&mine, &account("b"), None, 9).await.unwrap().is_empty());
}

pub(crate) async fn an_attempt_without_upstream_id_cannot_be_polled(h: &mut Harness) {
    let (old, new) = (h.worker("old").await, h.worker("new").await);
    let (task, attempt) = h.submitting(&old, |_| ()).await;
    let doubt = Happened::InDoubt(Failure::new("NETWORK", Class::Transient));
    h.happens(task.id, Some(&attempt), doubt).await;
    h.happens(task.id, None, Happened::Cancelled).await;
    h.declare_dead(&old).await;
    assert!(h.take_over(&new).await.abandoned.is_empty());
    // Until the zombie says under which name it was accepted after all.
    h.happens(task.id, Some(&attempt), Happened::Accepted(upstream_id("u-1"))).await;
    assert_eq!(h.take_over(&new).await.abandoned[0].token, attempt.token);
}

pub(crate) async fn an_attempt_that_lapsed_is_polled_no_more(h: &mut Harness) {
    let (old, new) = (h.worker("old").await, h.worker("new").await);
    let (task, _) = h.timed_out(&old).await;
    h.declare_dead(&old).await;
    h.clock.advance(Terms::default().hold_ms);
    assert!(h.take_over(&new).await.abandoned.is_empty());
    assert!(!h.attempt(task.id, 1).await.is_open());
}

pub(crate) async fn an_attempt_that_its_task_waits_for_is_not_abandoned_by_a_stale_word(
    h: &mut Harness,
) {
    let (old, new) = (h.worker("old").await, h.worker("new").await);
    let (task, attempt) = h.polling(&old, |_| ()).await;
    h.declare_dead(&old).await;
    h.take_over(&new).await;
    let silence = Happened::NotReady { elapsed_ms: 120_000 };
    let stale = h.decide(&task, Some(&attempt), &silence);
    assert_eq!(h.commit(stale).await, Committed::Stale);
    h.declare_dead(&new).await;
    let third = h.worker("third").await;
    let taken = h.take_over(&third).await;
    assert_eq!(ids(&taken), [task.id]);
    assert!(taken.abandoned.is_empty(), "it would be polled twice");
}

pub(crate) async fn only_the_accounts_asked_for_are_taken(h: &mut Harness) {
    let (old, new) = (h.worker("old").await, h.worker("new").await);
    let named = |name: &'static str| move |task: &mut Task| task.account = account(name);
    let (a, _) = h.polling(&old, named("a")).await;
    let (b, _) = h.polling(&old, named("b")).await;
    let (c, _) = h.submitting(&old, named("c")).await;
    h.declare_dead(&old).await;
    let take = |accounts: &[&str]| TakeOver {
        accounts: accounts.iter().map(|name| account(name)).collect(),
        ..h.take_of(&new)
    };
    assert!(h.store.take_over(take(&[])).await.unwrap().tasks.is_empty());
    assert_eq!(ids(&h.store.take_over(take(&["b", "none"])).await.unwrap()), [b.id]);
    assert_eq!(ids(&h.store.take_over(take(&["c", "b", "a"])).await.unwrap()), [a.id, c.id]);
}

pub(crate) async fn a_worker_that_is_not_alive_takes_nothing(h: &mut Harness) {
    let (old, dead) = (h.worker("old").await, h.worker("dead").await);
    let (task, _) = h.polling(&old, |_| ()).await;
    h.store.leave(&old).await.unwrap();
    h.declare_dead(&dead).await;
    for worker in [dead, old] {
        let refused = h.store.take_over(h.take_of(&worker)).await;
        assert!(matches!(refused, Err(Error::DeclaredDead(who)) if who == worker));
    }
    assert_eq!(h.task(task.id).await, task);
}

pub(crate) async fn a_task_whose_attempt_is_missing_hinders_no_other(h: &mut Harness) {
    let (old, new) = (h.worker("old").await, h.worker("new").await);
    let (submitting, _) = h.submitting(&old, |_| ()).await;
    let (bad, _) = h.polling(&old, |_| ()).await;
    let (polling, _) = h.polling(&old, |_| ()).await;
    let (abandoned, _) = h.timed_out(&old).await;
    // A row that names an attempt which is not there, as damage would leave it.
    let token = h.tokens(1).pop();
    h.edit(bad.id, |task| task.attempt = token).await;
    h.declare_dead(&old).await;
    let taken = h.take_over(&new).await;
    assert_eq!(ids(&taken), [polling.id, submitting.id]);
    // The attempt that its row should name is one that no task waits for.
    let asked: Vec<_> = taken.abandoned.iter().map(|attempt| attempt.task).collect();
    assert_eq!(asked, [bad.id, abandoned.id]);
    assert_eq!(taken.damaged, [h.task(bad.id).await]);
    assert_eq!(taken.damaged[0].worker, Some(new.clone()));
    h.happens(bad.id, None, Happened::AttemptMissing).await;
    assert_eq!(h.task(bad.id).await.reason(), Some(DeadReason::InDoubt));
    let again = h.take_over(&new).await;
    assert!(again.tasks.is_empty() && again.damaged.is_empty());
    // Sound again for whoever looks at all rows after this.
    let attempt = h.attempt(bad.id, 1).await;
    h.happens(bad.id, Some(&attempt), answered(&attempt, "late")).await;
}

pub(crate) async fn two_who_ask_at_the_same_time_share_out_without_overlap(h: &mut Harness) {
    let old = h.worker("old").await;
    let mut wanted = Vec::new();
    for _ in 0..20 {
        wanted.push(h.polling(&old, |_| ()).await.0.id);
    }
    h.declare_dead(&old).await;
    let mut takes = Vec::new();
    for n in 0..4 {
        let worker = h.worker(&format!("new-{n}")).await;
        let (store, take) = (h.store.clone(), TakeOver { limit: 5, ..h.take_of(&worker) });
        takes.push(tokio::spawn(async move { store.take_over(take).await.unwrap() }));
    }
    let mut got = Vec::new();
    for take in takes {
        got.extend(ids(&take.await.unwrap()));
    }
    got.sort_unstable();
    assert_eq!(got, wanted);
}

pub(crate) async fn a_rescued_submit_goes_back_with_its_permit_held(h: &mut Harness) {
    let (old, new) = (h.worker("old").await, h.worker("new").await);
    let (task, _) = h.submitting(&old, |_| ()).await;
    h.declare_dead(&old).await;
    let taken = h.take_over(&new).await;
    let (row, attempt) = &taken.tasks[0];
    let died = h.decide(row, Some(attempt), &Happened::WorkerDied);
    assert_eq!(h.commit(died).await, Committed::Applied);
    let row = h.task(task.id).await;
    assert_eq!((row.kind(), row.counters.deaths), (StateKind::Queued, 1));
    assert_eq!(h.store.permits(&account("main"), h.now()).await.unwrap(), 1);
}
