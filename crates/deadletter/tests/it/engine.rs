//! The engine end to end, on the memory store with a scripted upstream.

use crate::rig::{account, all_rest, engine, job, memory, notice, solved, soon, unsolved};
use deadletter::{
    Deadletter, Notice, OperationState, RedriveOptions,
    core::{Class, DeadReason, Filter, StateKind, Verdict},
    provider::{
        Polled, Sent,
        scripted::{ScriptedProvider, answer, failed, id, line_failed},
    },
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

#[tokio::test]
async fn a_job_is_submitted_polled_and_answered() {
    let store = memory();
    let provider = Arc::new(ScriptedProvider::default());
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let outcome = soon(dl.solve(job("a"))).await.expect("the store works");
    assert_eq!(solved(&outcome), "answer-1");
    assert_eq!(*provider.submits().borrow(), 1);
    soon(dl.stop()).await.expect("it stops");
}

#[tokio::test]
async fn an_unsolvable_job_is_submitted_three_times_and_then_dead() {
    let store = memory();
    let provider = Arc::new(
        ScriptedProvider::default()
            .on_poll(|_| async { Err(failed("ERROR_CAPTCHA_UNSOLVABLE", Class::Unsolvable)) }),
    );
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let task = unsolved(soon(dl.solve(job("a"))).await.expect("the store works"));
    assert_eq!(task.reason(), Some(DeadReason::AttemptsExhausted));
    assert_eq!(task.counters.submits, 3);
    assert_eq!(*provider.submits().borrow(), 3);
    let file = dl.desk().open(task.id).await.expect("it is kept");
    assert_eq!(file.attempts.len(), 3);
    assert!(file.attempts.iter().all(|attempt| attempt.verdict == Some(Verdict::Failed)));
}

#[tokio::test]
async fn a_network_error_while_polling_never_submits_again() {
    let store = memory();
    let provider = Arc::new(ScriptedProvider::default().on_poll(|call| async move {
        match call.n {
            1..=3 => Err(line_failed(Sent::Maybe)),
            _ => Ok(answer("late but there")),
        }
    }));
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let outcome = soon(dl.solve(job("a"))).await.expect("the store works");
    assert_eq!(solved(&outcome), "late but there");
    assert_eq!(*provider.submits().borrow(), 1);
}

#[tokio::test]
async fn a_late_answer_of_an_abandoned_attempt_wins() {
    let store = memory();
    let retried = Arc::new(AtomicBool::new(false));
    let is_retried = Arc::clone(&retried);
    let provider = Arc::new(
        ScriptedProvider::default()
            .on_submit(move |call| {
                retried.store(call.n > 1, Ordering::SeqCst);
                async move {
                    match call.n {
                        1 => Ok(id(1)),
                        // Retries meet a line that never opens.
                        _ => Err(line_failed(Sent::No)),
                    }
                }
            })
            .on_poll(move |_| {
                // Not ready until the attempt is abandoned; then it answers after all.
                let is_late = is_retried.load(Ordering::SeqCst);
                async move { if is_late { Ok(answer("late")) } else { Ok(Polled::NotReady) } }
            }),
    );
    let dl = engine(&store, account(provider)).await;
    let handle = dl.submit(job("a")).await.expect("stored");
    let mut notices = dl.notices();
    notice(&mut notices, |notice| match notice {
        Notice::Event(event) if event.state == StateKind::Solved => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(solved(&soon(handle.wait()).await.expect("the store works")), "late");
    let file = dl.desk().open(handle.id).await.expect("kept");
    assert_eq!(file.task.answered_by, Some(file.attempts[0].token));
}

#[tokio::test]
async fn dead_letters_are_redriven_with_their_history() {
    let store = memory();
    let healthy = Arc::new(AtomicUsize::new(0));
    let state = Arc::clone(&healthy);
    let provider = Arc::new(ScriptedProvider::default().on_poll(move |call| {
        let healthy = state.load(Ordering::SeqCst) > 0;
        async move {
            if healthy {
                Ok(answer(&format!("solved-{}", call.id)))
            } else {
                Err(failed("ERROR_CAPTCHA_UNSOLVABLE", Class::Unsolvable))
            }
        }
    }));
    let dl = engine(&store, account(provider)).await;
    let jobs = (0..20).map(|n| job(&format!("key-{n}"))).collect();
    let submitted = dl.submit_all(jobs).await.expect("stored");
    for one in &submitted {
        unsolved(soon(dl.task(one.id).wait()).await.expect("the store works"));
    }
    let filter: Filter = "cause:ERROR_CAPTCHA_UNSOLVABLE".parse().expect("a filter");
    let options = RedriveOptions::default();
    let plan = dl.desk().plan_redrive(&filter, &options).await.expect("planned");
    assert_eq!((plan.count, plan.eligible), (20, 20));
    healthy.store(1, Ordering::SeqCst);
    let mut notices = dl.notices();
    let operation = dl.desk().redrive(&filter, options).await.expect("begun");
    notice(&mut notices, |notice| match notice {
        Notice::Operation { id, state } if *id == operation => Some(*state),
        _ => None,
    })
    .await;
    for one in &submitted {
        let outcome = soon(dl.task(one.id).wait()).await.expect("the store works");
        assert!(solved(&outcome).starts_with("solved-"));
        let file = dl.desk().open(one.id).await.expect("kept");
        assert_eq!(file.attempts.len(), 4);
        assert_eq!((file.task.counters.submits, file.task.counters.redrives), (4, 1));
    }
    let (found, items) = dl.desk().operation(&operation).await.expect("read").expect("there");
    assert_eq!((found.state, items), (OperationState::Done, [0, 20, 0]));
    assert!(store.totals().await.expect("counted").is_conserved());
}

#[tokio::test]
async fn an_account_error_stops_the_account_and_keeps_its_tasks() {
    let store = memory();
    let provider = Arc::new(ScriptedProvider::default().on_submit(|call| async move {
        match call.n {
            1 => Err(failed("ERROR_KEY_DOES_NOT_EXIST", Class::Account)),
            n => Ok(id(n)),
        }
    }));
    let one = deadletter::AccountConfig { threads: Some(1), ..account(Arc::clone(&provider)) };
    let dl = engine(&store, one).await;
    let mut notices = dl.notices();
    let jobs = (0..5).map(|n| job(&format!("key-{n}"))).collect();
    let submitted = dl.submit_all(jobs).await.expect("stored");
    notice(&mut notices, |n| matches!(n, Notice::AccountStopped { .. }).then_some(())).await;
    assert!(dl.status().accounts[0].stopped.is_some());
    // The probe of the stopped account finds it well again; then all are solved.
    notice(&mut notices, |n| matches!(n, Notice::AccountResumed { .. }).then_some(())).await;
    for one in submitted {
        let outcome = soon(dl.task(one.id).wait()).await.expect("the store works");
        assert!(solved(&outcome).starts_with("answer-"));
    }
    assert_eq!(*provider.submits().borrow(), 6);
    assert_eq!(*provider.accounts().borrow(), 1);
}

#[tokio::test]
async fn another_key_ends_the_stop_of_the_one_before() {
    let store = memory();
    let bad = ScriptedProvider::default()
        .with_credential("bad")
        .on_submit(|_| async { Err(failed("ERROR_KEY_DOES_NOT_EXIST", Class::Account)) })
        .on_account(|_| async { Err(failed("ERROR_KEY_DOES_NOT_EXIST", Class::Account)) });
    let dl = engine(&store, account(Arc::new(bad))).await;
    let mut notices = dl.notices();
    let handle = dl.submit(job("a")).await.expect("stored");
    notice(&mut notices, |n| matches!(n, Notice::AccountStopped { .. }).then_some(())).await;
    soon(dl.stop()).await.expect("it stops");
    let good = Arc::new(ScriptedProvider::default().with_credential("good"));
    let asked = good.accounts();
    let next = engine(&store, account(good)).await;
    let outcome = soon(next.task(handle.id).wait()).await.expect("the store works");
    assert!(solved(&outcome).starts_with("answer-"));
    assert_eq!(*asked.borrow(), 0, "no probe was needed");
}

#[tokio::test]
async fn two_accounts_of_one_name_are_refused() {
    let provider = Arc::new(ScriptedProvider::default());
    let account = || account(Arc::clone(&provider));
    let builder = Deadletter::builder().store(memory()).account(account()).account(account());
    let refused = builder.start().await.err().expect("one would never be used");
    assert_eq!(refused.to_string(), "two accounts are named main; give each a name of its own");
}

#[tokio::test]
async fn what_is_larger_than_what_is_stored_is_refused_and_nothing_is_stored() {
    let store = memory();
    let engine = engine(&store, account(Arc::new(ScriptedProvider::default()))).await;
    let jobs = vec![job("a"), job("b").batch("x".repeat(1_000))];
    let refused = engine.submit_all(jobs).await.expect_err("the batch's name is too long");
    assert_eq!(refused.to_string(), "the batch has 1000 bytes; at most 256 are allowed");
    assert_eq!(store.totals().await.unwrap().accepted, 0);
}

#[tokio::test]
async fn whoever_waits_at_a_desk_sees_what_another_engine_does() {
    let store = memory();
    let builder = || {
        let account = account(Arc::new(ScriptedProvider::default()));
        Deadletter::builder().store(Arc::clone(&store)).account(account)
    };
    let desk = builder().desk_only().await.unwrap();
    let handle = desk.submit(job("key")).await.unwrap();
    let waiting = handle.wait();
    let working = async {
        // Polled after the other one has begun to wait.
        let engine = builder().start().await.unwrap();
        all_rest(&engine, &[handle.id]).await;
        engine
    };
    let (outcome, engine) = soon(async { tokio::join!(waiting, working) }).await;
    assert_eq!(solved(&outcome.unwrap()), "answer-1");
    engine.stop().await.unwrap();
}

#[tokio::test]
async fn a_panic_in_one_task_leaves_the_others_alone() {
    let store = memory();
    let provider = Arc::new(ScriptedProvider::default().on_submit(|call| async move {
        let sitekey = call.payload.text("sitekey").unwrap_or_default().into_owned();
        assert_ne!(sitekey, "poison", "this one panics");
        Ok(id(call.n))
    }));
    let dl = engine(&store, account(provider)).await;
    let poison = dl.submit(job("poison")).await.expect("stored");
    for n in 0..10 {
        let outcome = soon(dl.solve(job(&format!("key-{n}")))).await.expect("the store works");
        assert!(solved(&outcome).starts_with("answer-"));
    }
    let task = unsolved(soon(poison.wait()).await.expect("the store works"));
    assert_eq!((task.reason(), task.counters.panics), (Some(DeadReason::Panicked), 3));
}

#[tokio::test]
async fn open_attempts_never_exceed_the_threads() {
    let store = memory();
    let open = Arc::new(AtomicUsize::new(0));
    let peak = Arc::new(AtomicUsize::new(0));
    let (o, p) = (Arc::clone(&open), Arc::clone(&peak));
    let done = Arc::clone(&open);
    let provider = Arc::new(
        ScriptedProvider::default()
            .on_submit(move |call| {
                let now = o.fetch_add(1, Ordering::SeqCst) + 1;
                p.fetch_max(now, Ordering::SeqCst);
                async move { Ok(id(call.n)) }
            })
            .on_poll(move |call| {
                done.fetch_sub(1, Ordering::SeqCst);
                async move { Ok(answer(&format!("a{}", call.id))) }
            }),
    );
    let dl = engine(&store, account(provider)).await;
    let jobs = (0..100).map(|n| job(&format!("key-{n}"))).collect();
    for one in dl.submit_all(jobs).await.expect("stored") {
        soon(dl.task(one.id).wait()).await.expect("the store works");
    }
    let peak = peak.load(Ordering::SeqCst);
    assert!((2..=10).contains(&peak), "{peak} attempts were open at once, of 10 threads");
}
