//! Stopping in the middle of work: what is on the wire is awaited, nothing new is sent, nothing
//! is paid for twice.

use crate::rig::{account, all_solved, engine, job, jobs, memory, notice, soon, sound, submit};
use deadletter::{
    Deadletter, Notice,
    core::{Class, Failure, State, StateKind, Why},
    provider::{
        JobFailed, Polled,
        scripted::{ScriptedProvider, failed, id},
    },
    store::{
        Call, Faulty, Store,
        faulty::{Fault, Moment},
    },
};
use std::sync::Arc;
use tokio::sync::watch;

/// Submits that hang until they are let go, after the first one.
fn held(release: &watch::Sender<bool>) -> Arc<ScriptedProvider> {
    let held = release.subscribe();
    Arc::new(
        ScriptedProvider::default()
            .on_submit(move |call| {
                let mut held = held.clone();
                async move {
                    if call.n > 1 {
                        held.wait_for(|go| *go).await.expect("the test is there");
                    }
                    Ok(id(call.n))
                }
            })
            .on_poll(|_| async { Ok(Polled::NotReady) }),
    )
}

#[tokio::test]
async fn what_is_on_the_wire_is_awaited_and_polled_by_the_next_engine() {
    let store = memory();
    let release = watch::Sender::new(false);
    let first = held(&release);
    let dl = Arc::new(engine(&store, account(Arc::clone(&first))).await);
    let ids = submit(&dl, jobs(40)).await;
    soon(first.submits().wait_for(|n| *n == 10)).await.expect("counted");
    let stopping = tokio::spawn({
        let dl = Arc::clone(&dl);
        async move { dl.stop().await }
    });
    // Stopping has begun once intake has ended.
    soon(async {
        while dl.submit_all(Vec::new()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!stopping.is_finished(), "submits are on the wire");
    release.send_replace(true);
    soon(stopping).await.expect("no panic").expect("it stops");
    assert_eq!(*first.submits().borrow(), 10, "nothing was submitted while it stopped");
    let polling = sound(store.as_ref(), &ids).await;
    assert_eq!(polling.iter().filter(|task| task.kind() == StateKind::Polling).count(), 10);
    let second = Arc::new(
        ScriptedProvider::default().on_submit(|call| async move { Ok(id(call.n + 1_000)) }),
    );
    let next = engine(&store, account(Arc::clone(&second))).await;
    all_solved(&next, &ids).await;
    assert_eq!(*first.submits().borrow(), 10);
    assert_eq!(*second.submits().borrow(), 30, "ids that were stored are not paid for again");
}

#[tokio::test]
async fn a_stopping_engine_seems_alive_while_a_submit_is_on_the_wire() {
    let beats = watch::Sender::new(0_u32);
    let beaten = beats.subscribe();
    let hook = move |call: Call, moment: Moment| {
        if call == Call::Beat && moment == Moment::After {
            beats.send_modify(|n| *n += 1);
        }
        Box::pin(std::future::ready(())) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
    };
    let store: Arc<dyn Store> = Arc::new(Faulty::new(memory()).with_hook(Arc::new(hook)));
    let release = watch::Sender::new(false);
    let first = held(&release);
    let dl = Arc::new(engine(&store, account(Arc::clone(&first))).await);
    submit(&dl, jobs(2)).await;
    soon(first.submits().wait_for(|n| *n == 2)).await.expect("counted");
    let mut beaten = beaten;
    let stopping = tokio::spawn({
        let dl = Arc::clone(&dl);
        async move { dl.stop().await }
    });
    // Three beats missed are a death: others would take the submit over, and pay again.
    let before = *beaten.borrow_and_update();
    soon(beaten.wait_for(|n| *n >= before + 2)).await.expect("it beats on");
    assert!(!stopping.is_finished());
    release.send_replace(true);
    soon(stopping).await.expect("no panic").expect("it stops");
    let worker = store.workers(1).await.expect("listed").remove(0);
    assert!(worker.left_at.is_some() && worker.dead_at.is_none(), "{worker:?}");
}

#[tokio::test(start_paused = true)]
async fn it_stops_while_the_store_is_away() {
    let faulty = Arc::new(Faulty::new(memory()));
    let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
    let release = watch::Sender::new(false);
    let first = held(&release);
    let dl = engine(&store, account(Arc::clone(&first))).await;
    submit(&dl, jobs(5)).await;
    soon(first.submits().wait_for(|n| *n == 5)).await.expect("counted");
    faulty.at_random(1, 1_000);
    release.send_replace(true);
    // It cannot say good-bye, and says so; it ends all the same.
    let stopped = tokio::time::timeout(std::time::Duration::from_secs(55), dl.stop());
    assert!(stopped.await.expect("it ends").is_err());
}

#[tokio::test]
async fn what_was_claimed_when_the_account_stops_is_given_back_unsent() {
    // The claim of the second job is written, and answered when the account has stopped.
    let (claimed, go_on) = (watch::Sender::new(false), watch::Sender::new(false));
    let (mut is_claimed, may_go) = (claimed.subscribe(), go_on.subscribe());
    let inner = memory();
    let watched = Arc::clone(&inner);
    let hook = move |call: Call, moment: Moment| {
        let (claimed, mut may_go) = (claimed.clone(), may_go.clone());
        let store = Arc::clone(&watched);
        let wait = async move {
            if call != Call::Claim || moment != Moment::After || *claimed.borrow() {
                return;
            }
            let totals = store.totals().await.expect("counted");
            if totals.polling == 1 && totals.submitting == 1 {
                claimed.send_replace(true);
                may_go.wait_for(|go| *go).await.expect("the test is there");
            }
        };
        Box::pin(wait) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
    };
    let store: Arc<dyn Store> = Arc::new(Faulty::new(inner).with_hook(Arc::new(hook)));
    let (polls, banned) = (is_claimed.clone(), Class::Account);
    let provider = ScriptedProvider::default()
        .on_poll(move |_| {
            let is_claimed = *polls.borrow();
            async move {
                match is_claimed {
                    true => Err(JobFailed(Failure::new("ERROR_KEY_DOES_NOT_EXIST", banned)).into()),
                    false => Ok(Polled::NotReady),
                }
            }
        })
        .on_account(|_| async { Err(failed("ERROR_KEY_DOES_NOT_EXIST", Class::Account)) });
    let provider = Arc::new(provider);
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let mut notices = dl.notices();
    submit(&dl, jobs(1)).await;
    soon(async {
        while store.totals().await.expect("counted").polling < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let second = submit(&dl, vec![job("second")]).await[0];
    soon(is_claimed.wait_for(|is_claimed| *is_claimed)).await.expect("claimed");
    notice(&mut notices, |n| matches!(n, Notice::AccountStopped { .. }).then_some(())).await;
    go_on.send_replace(true);
    let waiting = notice(&mut notices, |notice| match notice {
        Notice::Waiting(task) if task.id == second => Some(task.clone()),
        _ => None,
    });
    let waiting = waiting.await;
    assert!(matches!(waiting.state, State::Queued { why: Why::Account, .. }), "{waiting:?}");
    assert_eq!(waiting.counters.submits, 0, "the intent is given back");
    assert_eq!(*provider.submits().borrow(), 1);
}

#[tokio::test]
async fn a_stop_that_nobody_waits_for_is_a_stop_and_another_call_waits_for_its_end() {
    let store = memory();
    let release = watch::Sender::new(false);
    let provider = held(&release);
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    submit(&dl, jobs(4)).await;
    soon(provider.submits().wait_for(|n| *n >= 2)).await.expect("counted");
    let impatient = tokio::time::timeout(std::time::Duration::ZERO, dl.stop());
    assert!(impatient.await.is_err(), "something is on the wire");
    assert!(dl.submit(job("late")).await.is_err(), "it stops all the same");
    let left_at = async || store.workers(9).await.expect("read")[0].left_at;
    assert_eq!(left_at().await, None);
    release.send_replace(true);
    soon(dl.stop()).await.expect("it stops");
    assert!(left_at().await.is_some(), "it was waited for to the end");
    soon(dl.stop()).await.expect("once is enough");
}

#[tokio::test]
async fn a_start_that_fails_keeps_nothing_from_the_next_one() {
    let faulty = Arc::new(Faulty::new(memory()));
    let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
    let never = || ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) });
    let first = engine(&store, account(Arc::new(never()))).await;
    submit(&first, jobs(5)).await;
    soon(async {
        while store.totals().await.expect("counted").polling < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon(first.stop()).await.expect("it stops");
    faulty.script(Call::TakeOver, [Some(Fault::DoubtWritten)]);
    let start = || {
        let builder = Deadletter::builder().store(Arc::clone(&store));
        builder.account(account(Arc::new(never()))).start()
    };
    assert!(start().await.is_err(), "nobody knows what it has taken over");
    let next = start().await.expect("the engine starts");
    assert_eq!(next.status().polling, 5, "all of them are asked for at once");
}
