//! Acceptance: what an insert stores, and what it refuses.

use crate::harness::{Harness, account, answered, operation, payload, upstream_id};
use deadletter_core::{
    Attempt, Counters, Happened, NewTask, Past, State, TaskId, Verdict, WorkerId,
};
use deadletter_store::{Freeze, Inserted, migrate};

pub(crate) async fn a_new_task_is_stored_as_it_was_given(h: &mut Harness) {
    let new = h.new_task_with(|task| {
        task.owner = Some("ci".to_owned());
        task.priority = 3;
        task.turn = -7;
        task.deadline_at = Some(h.now().plus(9));
        task.parent = Some(TaskId::try_from(77_u64).unwrap());
        task.dimensions.batch = Some("nightly".to_owned());
        task.dimensions.tags = vec!["a".to_owned(), "b c,d".to_owned()];
    });
    let (task, payload) = (new.task.clone(), new.payload.clone());
    assert_eq!(h.store.insert(vec![new]).await.unwrap(), [Inserted::New(task.id)]);
    assert_eq!(h.task(task.id).await, task);
    assert_eq!(h.store.payload(task.id).await.unwrap(), Some(payload));
    assert!(h.store.history(task.id).await.unwrap().is_empty());
    assert!(h.store.answer(task.id).await.unwrap().is_none());
    assert_eq!(h.store.totals().await.unwrap().queued, 1);
}

pub(crate) async fn an_id_that_stands_is_not_given_twice(h: &mut Harness) {
    let old = h.insert(|task| task.priority = 3).await;
    let new = h.new_task_with(|task| task.id = old.id);
    assert_eq!(h.store.insert(vec![new]).await.unwrap(), [Inserted::IdTaken(old.id)]);
    assert_eq!(h.task(old.id).await, old);
}

pub(crate) async fn of_two_equal_ids_in_a_batch_the_first_wins(h: &mut Harness) {
    let first = h.new_task();
    let second = h.new_task_with(|task| (task.id, task.priority) = (first.task.id, 3));
    let id = first.task.id;
    let inserted = h.store.insert(vec![first, second]).await.unwrap();
    assert_eq!(inserted, [Inserted::New(id), Inserted::IdTaken(id)]);
    assert_eq!(h.task(id).await.priority, 1);
}

pub(crate) async fn one_refused_task_does_not_keep_the_others_of_its_batch_out(h: &mut Harness) {
    let old = h.insert(|_| ()).await;
    let (before, after) = (h.new_task(), h.new_task());
    let taken = h.new_task_with(|task| task.id = old.id);
    let (a, b) = (before.task.id, after.task.id);
    let inserted = h.store.insert(vec![before, taken, after]).await.unwrap();
    assert_eq!(inserted, [Inserted::New(a), Inserted::IdTaken(old.id), Inserted::New(b)]);
    assert_eq!(h.store.totals().await.unwrap().accepted, 3);
}

pub(crate) async fn an_empty_batch_is_no_error(h: &mut Harness) {
    assert!(h.store.insert(Vec::new()).await.unwrap().is_empty());
    assert!(h.store.commit(Vec::new()).await.unwrap().is_empty());
    assert!(h.store.get(&[]).await.unwrap().is_empty());
}

pub(crate) async fn a_thousand_tasks_go_in_at_once(h: &mut Harness) {
    let ids = h.insert_many(1_000, |_, _| ()).await;
    assert_eq!(h.store.totals().await.unwrap().queued, 1_000);
    let rows = h.store.get(&ids).await.unwrap();
    assert!(rows.iter().zip(&ids).all(|(row, id)| row.as_ref().unwrap().id == *id));
}

pub(crate) async fn rows_come_back_in_the_order_asked_for(h: &mut Harness) {
    let ids = h.insert_many(3, |_, _| ()).await;
    let unknown = TaskId::try_from(1_u64).unwrap();
    let asked = [ids[2], unknown, ids[0], ids[2]];
    let rows = h.store.get(&asked).await.unwrap();
    let got: Vec<_> = rows.into_iter().map(|row| row.map(|task| task.id)).collect();
    assert_eq!(got, [Some(ids[2]), None, Some(ids[0]), Some(ids[2])]);
    assert!(h.store.payload(unknown).await.unwrap().is_none());
    assert!(h.store.history(unknown).await.unwrap().is_empty());
    assert!(h.store.answer(unknown).await.unwrap().is_none());
}

pub(crate) async fn any_text_and_two_hundred_kilobytes_come_back_unchanged(h: &mut Harness) {
    let odd = "Ünïcödé 验证码 🧩 \u{0} \u{1b}[31m \"quoted\" back\\slash \r\n%_'; drop table tasks";
    let large = "A".repeat(200_000);
    let NewTask { mut task, .. } = h.new_task();
    task.dimensions.sitekey = Some(odd.to_owned());
    task.dimensions.tags = vec![odd.to_owned(), String::new()];
    task.owner = Some("владелец".to_owned());
    let payload = payload(&[("body", &large), ("odd", odd), (odd, "")]);
    let new = NewTask { task: task.clone(), payload: payload.clone(), ..h.new_task() };
    h.store.insert(vec![new]).await.unwrap();
    assert_eq!(h.task(task.id).await, task);
    assert_eq!(h.store.payload(task.id).await.unwrap(), Some(payload));
}

pub(crate) async fn the_largest_id_that_there_is_can_be_stored(h: &mut Harness) {
    let largest = TaskId::try_from((1_u64 << 53) - 1).unwrap();
    let task = h.insert(|task| task.id = largest).await;
    assert_eq!(task.id, largest);
}

pub(crate) async fn attempts_that_a_task_brings_along_become_its_history(h: &mut Harness) {
    let mut new = h.new_task_with(|task| {
        task.counters = Counters { attempts: 2, submits: 2, failures: 2, ..Counters::default() };
    });
    let worker = WorkerId::new("elsewhere").unwrap();
    for (token, n) in h.tokens(2).into_iter().zip(1..) {
        let (id, account) = (new.task.id, new.task.account.clone());
        let mut attempt = Attempt::intended(token, id, n, account, worker.clone(), h.now());
        attempt.closed_at = Some(h.now().plus(5));
        attempt.verdict = Some(Verdict::TimedOut);
        attempt.permit = false;
        new.past.attempts.push(attempt);
    }
    h.store.insert(vec![new.clone()]).await.unwrap();
    assert_eq!(h.store.history(new.task.id).await.unwrap(), new.past.attempts);
    let permits = h.store.permits(&new.task.account, h.now()).await.unwrap();
    assert_eq!(permits, 0);
}

/// All that a store keeps of a task.
async fn whole(h: &Harness, id: TaskId) -> NewTask {
    migrate::whole(h.store.as_ref(), h.task(id).await).await.unwrap()
}

pub(crate) async fn a_whole_life_can_be_brought_along(h: &mut Harness) {
    let worker = h.worker("w").await;
    // Dead, redriven and solved by an answer that came late; told twice; an item of two operations.
    let (dead, attempt) = h
        .polling(&worker, |task| {
            task.round.allowance = 1;
            task.place = Some("a.example:443".to_owned());
        })
        .await;
    h.clock.advance(120_000);
    let silence = Happened::NotReady { elapsed_ms: 120_000 };
    h.happens(dead.id, Some(&attempt), silence).await;
    for name in ["one", "two"] {
        let query = h.everything();
        h.store.freeze(&Freeze { operation: operation(name), query }).await.unwrap();
    }
    h.store.skip(&operation("two"), &[dead.id]).await.unwrap();
    h.redrive(dead.id, None).await;
    let claimed = h.claim(&worker, 1).await.remove(0);
    h.happens(dead.id, Some(&claimed.attempt), Happened::Accepted(upstream_id("other"))).await;
    let late = h.decide(&h.task(dead.id).await, Some(&attempt), &answered(&attempt, "late"));
    h.commit(late).await;
    let before = whole(h, dead.id).await;
    assert_eq!((before.past.attempts.len(), before.past.answers.len()), (2, 1));
    assert_eq!((before.past.events.len(), before.past.items.len()), (2, 2));
    assert_eq!(before.past.deliveries.len(), 2);

    // Its permits lapse with time: until then nobody may purge it.
    h.clock.advance(86_400_000);
    h.claim(&worker, 0).await;
    let ended = whole(h, dead.id).await;
    assert_eq!(h.store.purge(&[(dead.id, ended.task.version)]).await.unwrap(), 1);
    let answer = h.store.insert(vec![before.clone()]).await.unwrap();
    assert_eq!(answer, [Inserted::New(dead.id)]);
    let after = whole(h, dead.id).await;
    assert_eq!((&after.task, &after.payload), (&before.task, &before.payload));
    // The events of a purged task stay, and those that it brings come behind them.
    let events = [ended.past.events, before.past.events.clone()].concat();
    assert_eq!(after.past, Past { events, ..before.past });
    assert_eq!(h.store.tally_items(&operation("one")).await.unwrap(), [1, 0, 0]);
    assert_eq!(h.store.tally_items(&operation("two")).await.unwrap(), [0, 0, 1]);
}

pub(crate) async fn what_is_under_way_is_brought_along_with_its_permits(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (polling, _) = h.polling(&worker, |_| {}).await;
    let mut copy = whole(h, polling.id).await;
    // The same life under another name, and of a worker that this store has never seen.
    let gone = Some(WorkerId::new("elsewhere").unwrap());
    copy.task.id = TaskId::try_from(polling.id.get() + 1_000).unwrap();
    copy.task.worker.clone_from(&gone);
    for attempt in &mut copy.past.attempts {
        (attempt.task, attempt.upstream_id) = (copy.task.id, Some(upstream_id("of another")));
        attempt.worker.clone_from(&gone);
    }
    copy.task.state = State::Polling { upstream_id: upstream_id("of another") };
    h.store.insert(vec![copy.clone()]).await.unwrap();
    assert_eq!(h.store.permits(&account("main"), h.now()).await.unwrap(), 2);
    let taken = h.take_over(&worker).await;
    let ids: Vec<_> = taken.tasks.iter().map(|(task, _)| task.id).collect();
    assert_eq!(ids, [copy.task.id], "nobody here holds it");
}
