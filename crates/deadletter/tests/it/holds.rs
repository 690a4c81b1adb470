//! Hold and release: what waits by hand, and goes on.

use crate::{
    acts::{carry_out, prepare},
    operations::{dead_letters, redrive, settled, sick},
    rig::{account, all_rest, engine, jobs, memory, soon, sound, submit},
};
use deadletter::{
    Act, RedriveOptions, Skip,
    core::Class,
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
