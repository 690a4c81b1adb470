//! Hold and release: what waits by hand, and goes on.

use crate::{
    acts::{carry_out, prepare},
    operations::{dead_letters, redrive, settled, sick},
    rig::{account, all_rest, engine, job, jobs, memory, soon, sound, submit},
};
use deadletter::{
    Act, Deadletter, RedriveOptions, Skip,
    core::{Class, Filter, WorkerId},
    provider::{
        Polled,
        scripted::{ScriptedProvider, answer},
    },
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

#[tokio::test]
async fn what_is_held_waits_until_it_is_released() {
    let store = memory();
    let (provider, healed) = sick(Class::Unsolvable);
    let dl = engine(&store, account(provider)).await;
    let ids = dead_letters(&dl, 5).await;
    let held = format!("id:{},{}", ids[0], ids[1]);
    let id = prepare(&dl, Act::Hold, &held).await;
    assert_eq!(carry_out(&dl, &id).await.1, [0, 2, 0]);

    healed.store(true, SeqCst);
    let id = redrive(&dl, RedriveOptions::default()).await;
    let (found, items) = settled(&dl, &id).await;
    assert_eq!((items, found.skips.get(&Skip::Held)), ([0, 3, 2], Some(&2)));
    let again = prepare(&dl, Act::Hold, "").await;
    assert_eq!(dl.desk().plan_prepared(&again).await.expect("planned").count, 0, "held already");

    let id = prepare(&dl, Act::Release, "").await;
    assert_eq!(carry_out(&dl, &id).await.1, [0, 2, 0]);
    let id = redrive(&dl, RedriveOptions::default()).await;
    assert_eq!(settled(&dl, &id).await.1, [0, 2, 0]);
    all_rest(&dl, &ids).await;
    assert_eq!(store.totals().await.expect("counted").solved, 5);
    sound(store.as_ref(), &ids).await;
}

#[tokio::test]
async fn a_held_task_is_not_submitted_and_a_released_one_is() {
    let store = memory();
    let is_ready = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_ready);
    // There are ten threads: two of twelve wait.
    let provider = Arc::new(ScriptedProvider::default().on_poll(move |_| {
        let is_ready = seen.load(SeqCst);
        async move { Ok(if is_ready { answer("token") } else { Polled::NotReady }) }
    }));
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let ids = submit(&dl, jobs(12)).await;
    soon(provider.submits().wait_for(|n| *n == 10)).await.expect("counted");
    let id = prepare(&dl, Act::Hold, "state:queued").await;
    assert_eq!(carry_out(&dl, &id).await.1, [0, 2, 0]);
    is_ready.store(true, SeqCst);
    // Whoever comes later passes them.
    let later = submit(&dl, jobs(5)).await;
    all_rest(&dl, &later).await;
    soon(provider.submits().wait_for(|n| *n == 15)).await.expect("counted");
    assert_eq!(store.totals().await.expect("counted").queued, 2);

    let id = prepare(&dl, Act::Release, "").await;
    assert_eq!(carry_out(&dl, &id).await.1, [0, 2, 0]);
    all_rest(&dl, &ids).await;
    assert_eq!(store.totals().await.expect("counted").solved, 17);
    sound(store.as_ref(), &ids).await;
}

/// Waits until so many tasks are held.
async fn held(dl: &Deadletter, n: usize) {
    soon(async {
        let filter: Filter = "held:yes".parse().expect("a filter");
        while dl.desk().page(&filter, None, 100).await.expect("read").tasks.len() != n {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_standing_hold_holds_what_any_process_stores_until_it_ends() {
    let store = memory();
    let solver = || account(Arc::new(ScriptedProvider::default()));
    let (one, other) = (engine(&store, solver()).await, engine(&store, solver()).await);
    let filter: Filter = "sitekey:held".parse().expect("a filter");
    let desk = one.desk();
    desk.hold_what_comes(&filter, desk.now(), "ada", Some("it is down")).await.expect("stored");
    // Whoever begins later knows it from its first task on; this process does since it asked for it.
    let third = engine(&store, solver()).await;
    let mut ids = submit(&third, vec![job("held"), job("free")]).await;
    ids.extend(submit(&one, vec![job("held"), job("free")]).await);
    held(&one, 2).await;
    all_rest(&one, &[ids[1], ids[3]]).await;
    assert_eq!(desk.standing_holds().await.expect("read").len(), 1);

    let ended = other.desk().end_hold(&filter, "ada").await.expect("stored").expect("it stood");
    assert_eq!((ended.by.as_str(), ended.why.as_deref()), ("ada", Some("it is down")));
    assert!(other.desk().end_hold(&filter, "ada").await.expect("read").is_none());
    // They were stored within the last minute: whoever ends it lets them go.
    all_rest(&one, &ids).await;
    let later = submit(&other, vec![job("held")]).await;
    all_rest(&other, &later).await;
    sound(store.as_ref(), &ids).await;
}

#[tokio::test]
async fn a_task_that_is_stored_before_its_process_has_noticed_a_hold_is_held_all_the_same() {
    let store = memory();
    // Nothing is ever answered, and there are ten threads: what comes behind them waits.
    let provider =
        Arc::new(ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) }));
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    submit(&dl, jobs(10)).await;
    soon(provider.submits().wait_for(|n| *n == 10)).await.expect("counted");
    let before = submit(&dl, vec![job("held")]).await;
    let filter: Filter = "sitekey:held".parse().expect("a filter");
    // Another process has written the document, and this one has not looked yet.
    let hold = serde_json::json!({ "standing": [{
        "filter": filter.to_string(), "by": "ada", "why": null, "at": dl.desk().now(),
    }] });
    store.put_document("holds", 0, &hold.to_string()).await.expect("stored").expect("it is new");
    let ids = submit(&dl, vec![job("held"), job("free")]).await;
    held(&dl, 2).await;
    let tasks = store.get(&[before[0], ids[0], ids[1]]).await.expect("read");
    let held: Vec<_> = tasks.iter().flatten().map(|task| task.is_held_by_hand()).collect();
    assert_eq!(held, [true, true, false]);
}

#[tokio::test]
async fn who_waits_for_a_hold_to_be_heeded_sees_nothing_pass_behind_it() {
    let store = memory();
    let provider = Arc::new(ScriptedProvider::default());
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let other = Deadletter::builder().store(Arc::clone(&store) as _);
    let other = other.account(account(Arc::new(ScriptedProvider::default())));
    let desk = other.desk_only().await.expect("a desk").desk();
    let filter: Filter = "sitekey:held".parse().expect("a filter");
    let heeding = desk.hold_what_comes(&filter, desk.now(), "ada", None).await.expect("stored");
    assert!(desk.heeded(heeding).await.expect("read").is_empty());
    let ids = submit(&dl, vec![job("held"); 50]).await;
    let tasks = store.get(&ids).await.expect("read");
    assert!(tasks.iter().flatten().all(|task| task.is_held_by_hand() && task.version == 1));
    assert_eq!(*provider.submits().borrow(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_notice_a_hold_is_named_and_waited_for_no_longer() {
    let store = memory();
    let dl = engine(&store, account(Arc::new(ScriptedProvider::default()))).await;
    let [deaf, gone] = ["deaf", "gone"].map(|id| WorkerId::new(id).expect("an id"));
    for worker in [&deaf, &gone] {
        store.register(worker, "elsewhere").await.expect("new");
    }
    let filter: Filter = "sitekey:held".parse().expect("a filter");
    let desk = dl.desk();
    let heeding = desk.hold_what_comes(&filter, desk.now(), "ada", None).await.expect("stored");
    store.leave(&gone).await.expect("known");
    let unheard = desk.heeded(heeding).await.expect("read");
    assert_eq!(unheard.iter().map(|it| &it.id).collect::<Vec<_>>(), [&deaf]);
}
