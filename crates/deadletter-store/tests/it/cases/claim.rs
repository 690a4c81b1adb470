//! Claims: which tasks a worker gets, in which order, and what is written for each.

use crate::harness::{Harness, MANY, account, ids_of};
use deadletter_core::{Class, Failure, Happened, Lane, State, StateKind, Why, WorkerId};
use deadletter_store::{Claim, Error};

pub(crate) async fn a_claim_writes_the_lease_and_the_intent(h: &mut Harness) {
    let worker = h.worker("w").await;
    let task = h.insert(|_| ()).await;
    h.clock.advance(5);
    let claim = h.claim_of(&worker, 1);
    let token = claim.tokens[0];
    let claimed = h.store.claim(claim).await.unwrap().remove(0);

    let row = h.task(task.id).await;
    assert_eq!(claimed.task, row);
    assert_eq!((row.kind(), row.version), (StateKind::Submitting, 2));
    assert_eq!((row.worker.as_ref(), row.attempt), (Some(&worker), Some(token)));
    assert_eq!((row.counters.submits, row.counters.attempts, row.updated_at), (1, 1, h.now()));
    let attempt = claimed.attempt;
    assert_eq!(h.store.history(task.id).await.unwrap(), std::slice::from_ref(&attempt));
    assert_eq!((attempt.token, attempt.n, attempt.intent_at), (token, 1, h.now()));
    assert_eq!((attempt.worker, attempt.permit), (Some(worker), true));
    assert_eq!(claimed.payload, h.store.payload(task.id).await.unwrap());
}

pub(crate) async fn tasks_go_by_priority_then_turn_then_due_time_then_id(h: &mut Harness) {
    let worker = h.worker("w").await;
    let now = h.now();
    // Inserted in the reverse of the order in which they are to go.
    let orders =
        [(2, -9, -9), (1, 1, -9), (1, 0, -1), (1, 0, -1), (1, 0, -2), (1, -1, 0), (0, 9, 0)];
    let ids = h
        .insert_many(orders.len(), |i, task| {
            let (priority, turn, due_ms) = orders[i];
            (task.priority, task.turn) = (priority, turn);
            task.state = State::Queued { due_at: now.plus(due_ms), why: Why::New };
        })
        .await;
    let wanted = [ids[6], ids[5], ids[4], ids[2], ids[3], ids[1], ids[0]];
    assert_eq!(ids_of(&h.claim(&worker, 3).await), wanted[..3]);
    assert_eq!(ids_of(&h.claim(&worker, 9).await), wanted[3..]);
}

pub(crate) async fn the_number_of_tokens_is_the_limit(h: &mut Harness) {
    let worker = h.worker("w").await;
    h.insert_many(5, |_, _| ()).await;
    assert_eq!(h.claim(&worker, 0).await.len(), 0);
    assert_eq!(h.claim(&worker, 2).await.len(), 2);
    assert_eq!(h.claim(&worker, 9).await.len(), 3);
    assert_eq!(h.claim(&worker, 9).await.len(), 0);
}

pub(crate) async fn a_task_due_later_is_claimed_when_it_is_due(h: &mut Harness) {
    let worker = h.worker("w").await;
    let due_at = h.now().plus(1_000);
    let late = h.insert(|task| task.state = State::Queued { due_at, why: Why::New }).await;
    // A later one in front of it by priority does not keep it back.
    let due_at = h.now().plus(5_000);
    h.insert(|task| {
        task.priority = 0;
        task.state = State::Queued { due_at, why: Why::New };
    })
    .await;
    assert!(h.claim(&worker, 9).await.is_empty());
    h.clock.advance(999);
    assert!(h.claim(&worker, 9).await.is_empty());
    h.clock.advance(1);
    assert_eq!(ids_of(&h.claim(&worker, 9).await), [late.id]);
}

pub(crate) async fn a_claim_with_an_earlier_now_takes_nothing_that_is_not_due_then(
    h: &mut Harness,
) {
    let worker = h.worker("w").await;
    let due_at = h.now().plus(1_000);
    let ids =
        h.insert_many(2, |_, task| task.state = State::Queued { due_at, why: Why::New }).await;
    let earlier = h.now();
    h.clock.advance(1_000);
    assert_eq!(ids_of(&h.claim(&worker, 1).await), ids[..1]);
    let claim = Claim { now: earlier, ..h.claim_of(&worker, 9) };
    assert!(h.store.claim(claim).await.unwrap().is_empty());
    assert_eq!(ids_of(&h.claim(&worker, 9).await), ids[1..]);
}

pub(crate) async fn a_task_whose_deadline_has_passed_is_not_claimed(h: &mut Harness) {
    let worker = h.worker("w").await;
    let now = h.now();
    let ids = h
        .insert_many(3, |i, task| {
            task.deadline_at = [Some(now), Some(now.plus(1)), None][i];
        })
        .await;
    assert_eq!(ids_of(&h.claim(&worker, 9).await), ids[1..]);
}

pub(crate) async fn a_held_task_is_not_claimed_until_it_is_released(h: &mut Harness) {
    let worker = h.worker("w").await;
    let free = h.insert(|_| ()).await;
    let held = h.insert(|task| task.hold = Some("night".to_owned())).await;
    assert_eq!(ids_of(&h.claim(&worker, 9).await), [free.id]);
    h.edit(held.id, |task| task.hold = None).await;
    assert_eq!(ids_of(&h.claim(&worker, 9).await), [held.id]);
}

pub(crate) async fn a_hold_set_on_a_waiting_task_keeps_it_back(h: &mut Harness) {
    let worker = h.worker("w").await;
    let ids = h.insert_many(2, |_, _| ()).await;
    // One claim first, so that the store has seen the other as claimable.
    assert_eq!(ids_of(&h.claim(&worker, 1).await), ids[..1]);
    h.edit(ids[1], |task| task.hold = Some("night".to_owned())).await;
    assert!(h.claim(&worker, 9).await.is_empty());
}

pub(crate) async fn each_lane_of_each_account_is_claimed_apart(h: &mut Harness) {
    let worker = h.worker("w").await;
    let due_at = h.now();
    let first = h.insert(|_| ()).await;
    let retry = h.insert(|task| task.state = State::Queued { due_at, why: Why::Retry }).await;
    let suspect = h.insert(|task| task.counters.deaths = 2).await;
    let other = h.insert(|task| task.account = account("other")).await;
    for (lane, id) in
        [(Lane::Suspect, suspect.id), (Lane::Retry, retry.id), (Lane::First, first.id)]
    {
        let claim = Claim { lane, ..h.claim_of(&worker, 9) };
        assert_eq!(ids_of(&h.store.claim(claim).await.unwrap()), [id], "{lane}");
    }
    let claim = Claim { account: account("other"), ..h.claim_of(&worker, 9) };
    assert_eq!(ids_of(&h.store.claim(claim).await.unwrap()), [other.id]);
}

pub(crate) async fn nobody_gets_a_task_that_is_taken(h: &mut Harness) {
    let (one, two) = (h.worker("one").await, h.worker("two").await);
    let ids = h.insert_many(3, |_, _| ()).await;
    assert_eq!(ids_of(&h.claim(&one, 2).await), ids[..2]);
    assert_eq!(ids_of(&h.claim(&two, 9).await), ids[2..]);
    assert_eq!(h.task(ids[0]).await.worker, Some(one));
    assert_eq!(h.task(ids[2]).await.worker, Some(two));
}

pub(crate) async fn claims_at_the_same_time_share_the_tasks_out_without_overlap(h: &mut Harness) {
    let ids = h.insert_many(60, |_, _| ()).await;
    let mut claims = Vec::new();
    for n in 0..6 {
        let worker = h.worker(&format!("w{n}")).await;
        let (store, claim) = (h.store.clone(), h.claim_of(&worker, 10));
        claims.push(tokio::spawn(async move { store.claim(claim).await.unwrap() }));
    }
    let mut got = Vec::new();
    for claim in claims {
        got.extend(ids_of(&claim.await.unwrap()));
    }
    got.sort_unstable();
    assert_eq!(got, ids);
}

pub(crate) async fn a_worker_that_is_not_alive_is_refused_and_nothing_is_taken(h: &mut Harness) {
    let (dead, left) = (h.worker("dead").await, h.worker("left").await);
    let unknown = WorkerId::new("unknown").unwrap();
    h.declare_dead(&dead).await;
    h.store.leave(&left).await.unwrap();
    let task = h.insert(|_| ()).await;
    for worker in [dead, left, unknown] {
        let refused = h.store.claim(h.claim_of(&worker, 1)).await;
        assert!(matches!(refused, Err(Error::DeclaredDead(who)) if who == worker));
    }
    assert_eq!(h.task(task.id).await, task);
    assert_eq!(h.store.permits(&account("main"), h.now()).await.unwrap(), 0);
}

pub(crate) async fn the_next_due_time_is_that_of_the_first_unheld_task(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (main, now) = (account("main"), h.now());
    assert_eq!(h.store.next_due(&main).await.unwrap(), None);
    let dues = [500, 300, 100, 50];
    h.insert_many(4, |i, task| {
        task.state = State::Queued { due_at: now.plus(dues[i]), why: Why::New };
        task.hold = (i == 2).then(|| "night".to_owned());
        task.account = account(if i == 3 { "other" } else { "main" });
    })
    .await;
    assert_eq!(h.store.next_due(&main).await.unwrap(), Some(now.plus(300)));
    h.clock.advance(400);
    assert_eq!(h.store.next_due(&main).await.unwrap(), Some(now.plus(300)));
    assert_eq!(h.claim(&worker, 9).await.len(), 1);
    assert_eq!(h.store.next_due(&main).await.unwrap(), Some(now.plus(500)));
}

pub(crate) async fn a_retry_is_claimed_in_its_lane_with_the_next_number(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.submitting(&worker, |_| ()).await;
    let line = Failure::new("NETWORK", Class::Transient);
    h.happens(task.id, Some(&attempt), Happened::Refused(line)).await;
    h.clock.advance(60_000);
    assert!(h.claim(&worker, 9).await.is_empty());
    let claim = Claim { lane: Lane::Retry, ..h.claim_of(&worker, 9) };
    let claimed = h.store.claim(claim).await.unwrap();
    assert_eq!(claimed[0].attempt.n, 2);
    assert_eq!(h.store.history(task.id).await.unwrap().len(), 2);
}

pub(crate) async fn overdue_tasks_are_listed_by_deadline_held_ones_too(h: &mut Harness) {
    let worker = h.worker("w").await;
    let now = h.now();
    let (main, other) = (account("main"), account("other"));
    let (dead, _) = h.submitting(&worker, |task| task.deadline_at = Some(now.plus(1))).await;
    let stranger = h
        .insert(|task| {
            task.account = other.clone();
            task.deadline_at = Some(now.plus(5));
        })
        .await;
    let deadlines = [Some(30), Some(20), Some(10), None];
    let ids = h
        .insert_many(4, |i, task| {
            task.deadline_at = deadlines[i].map(|ms| now.plus(ms));
            task.hold = (i == 1).then(|| "night".to_owned());
        })
        .await;
    h.clock.advance(20);
    let overdue = h.store.overdue(&main, h.now(), MANY).await.unwrap();
    assert_eq!(overdue.iter().map(|task| task.id).collect::<Vec<_>>(), [ids[2], ids[1]]);
    assert_eq!(h.store.overdue(&other, h.now(), MANY).await.unwrap(), [stranger]);
    assert_eq!(h.store.overdue(&main, h.now(), 1).await.unwrap(), overdue[..1]);
    assert_eq!(h.task(dead.id).await.kind(), StateKind::Submitting);
    h.happens(ids[2], None, Happened::DeadlinePassed).await;
    assert_eq!(h.store.overdue(&main, h.now(), MANY).await.unwrap(), overdue[1..]);
}
