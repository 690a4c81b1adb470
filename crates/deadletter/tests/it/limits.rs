//! What limits submits: capacity, the retry budget, a stopped account, deadlines.

use crate::rig::{
    account, all_rest, all_solved, engine, job, jobs, memory, notice, other, pass_time, soon,
    sound, submit, unsolved,
};
use deadletter::{
    AccountConfig, Deadletter, Notice, Outcome,
    core::{
        Cause, Class, DeadReason, Failure, State, StateKind, Terms, Why,
        breaker::{BreakerRules, Forced},
        budget::BudgetRules,
    },
    provider::{
        AccountState, JobFailed, Polled, Sent,
        scripted::{ScriptedProvider, answer, failed, id, line_failed},
    },
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};

/// A breaker that never opens by itself.
fn unbreakable() -> BreakerRules {
    BreakerRules { run: u32::MAX, outage_percent: 101, ..BreakerRules::default() }
}

#[tokio::test]
async fn a_refusal_for_capacity_gives_the_intent_back_and_shrinks_the_window() {
    let store = memory();
    let provider = Arc::new(ScriptedProvider::default().on_submit(|call| async move {
        if call.n <= 12 {
            Err(failed("ERROR_NO_SLOT_AVAILABLE", Class::Capacity))
        } else {
            Ok(id(call.n))
        }
    }));
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let mut notices = dl.notices();
    let ids = submit(&dl, jobs(4)).await;
    notice(&mut notices, |notice| match notice {
        Notice::Waiting(task) => match task.state {
            State::Queued { why: Why::Capacity, .. } => Some(()),
            _ => None,
        },
        _ => None,
    })
    .await;
    assert!(dl.status().accounts[0].limit < 10, "the window has shrunk");
    all_solved(&dl, &ids).await;
    let tasks = sound(store.as_ref(), &ids).await;
    assert!(tasks.iter().all(|t| (t.counters.submits, t.counters.failures) == (1, 0)));
    assert_eq!(tasks.iter().map(|t| t.counters.refusals).sum::<u32>(), 12);
    assert_eq!(*provider.submits().borrow(), 16);
}

#[tokio::test]
async fn what_is_in_doubt_narrows_no_window() {
    let store = memory();
    let hold_ms = 600_000;
    let terms = Terms { timeout_ms: hold_ms, hold_ms, ..Terms::default() };
    let scripted = ScriptedProvider::default().with_terms(terms);
    let provider = scripted.on_submit(|call| async move {
        match call.n {
            1 | 2 => Err(line_failed(Sent::Maybe)),
            3 => Err(failed("ERROR_NO_SLOT_AVAILABLE", Class::Capacity)),
            n => Ok(id(n)),
        }
    });
    let provider = Arc::new(provider.on_poll(|_| async { Ok(Polled::NotReady) }));
    let config = AccountConfig { breaker: unbreakable(), ..account(Arc::clone(&provider)) };
    let dl = engine(&store, config.threads(Some(4))).await;
    let began_at = store.clock().now();
    submit(&dl, jobs(3)).await;
    // Half of four threads are in doubt, and the window is the other half.
    soon(provider.submits().wait_for(|n| *n == 5)).await.expect("counted");
    let waited_ms = store.clock().now().since(began_at);
    assert!(waited_ms < hold_ms, "they have waited until the doubts were over: {waited_ms}");
}

#[tokio::test]
async fn an_outage_is_retried_within_the_budget_only() {
    let store = memory();
    let down =
        Arc::new(ScriptedProvider::default().on_submit(|_| async { Err(line_failed(Sent::No)) }));
    let budget = BudgetRules { share_permille: 0, floor_per_s: 0, capacity: 2, workers: 1 };
    let config = AccountConfig { breaker: unbreakable(), budget, ..account(Arc::clone(&down)) };
    let builder = Deadletter::builder().store(Arc::clone(&store)).seed(Some(7)).account(config);
    let dl = builder.account(other(Arc::default())).start().await.expect("started");
    let ids = submit(&dl, jobs(20)).await;
    soon(down.submits().wait_for(|n| *n == 22)).await.expect("counted");
    pass_time(&dl, 20).await;
    assert_eq!(*down.submits().borrow(), 22, "twenty firsts and two retries");
    let tasks = sound(store.as_ref(), &ids).await;
    assert!(tasks.iter().all(|task| task.kind() == StateKind::Queued), "none is given up");
}

#[tokio::test]
async fn a_stopped_account_stops_the_clock_of_its_ids_and_is_probed_by_one_engine_at_a_time() {
    let store = memory();
    let clock = store.clock();
    let probes = Arc::new(Mutex::new(Vec::new()));
    let resumed = Arc::new(AtomicBool::new(false));
    let is_banned = Arc::new(AtomicBool::new(false));
    let provider = |probes: &Arc<Mutex<Vec<_>>>, resumed: &Arc<AtomicBool>| {
        let (probes, resumed, is_resumed) =
            (Arc::clone(probes), Arc::clone(resumed), Arc::clone(resumed));
        let is_banned = Arc::clone(&is_banned);
        let clock = Arc::clone(&clock);
        let asked = Arc::new(Mutex::new(0));
        let terms = Terms { timeout_ms: 600_000, hold_ms: 600_000, ..Terms::default() };
        let scripted = ScriptedProvider::default()
            .on_submit(move |call| {
                let is_second = call.payload.text("sitekey").as_deref() == Some("second");
                // Once, whichever engine submits it.
                let is_refused = is_second && !is_banned.swap(true, SeqCst);
                async move {
                    if is_refused {
                        return Err(failed("ERROR_IP_BANNED", Class::Account));
                    }
                    Ok(id(call.n))
                }
            })
            .on_poll(move |call| {
                // Ready at the third question after the stop.
                let mut asked = asked.lock().unwrap();
                *asked += u32::from(is_resumed.load(SeqCst));
                let is_ready = *asked >= 3 || call.id.as_str() != "1";
                async move { Ok(if is_ready { answer("there") } else { Polled::NotReady }) }
            })
            .on_account(move |_| {
                let mut probes = probes.lock().unwrap();
                probes.push(clock.now());
                let is_over = probes.len() >= 3;
                resumed.store(is_over, SeqCst);
                async move {
                    if is_over {
                        Ok(AccountState::default())
                    } else {
                        Err(failed("ERROR_IP_BANNED", Class::Account))
                    }
                }
            });
        Arc::new(scripted.with_terms(terms))
    };
    let (a, b) = (provider(&probes, &resumed), provider(&probes, &resumed));
    let first = engine(&store, account(Arc::clone(&a))).await;
    let mut notices = first.notices();
    let patient = submit(&first, vec![job("first")]).await;
    soon(a.polls().wait_for(|n| *n >= 1)).await.expect("asked");
    let refused = submit(&first, vec![job("second")]).await;
    notice(&mut notices, |n| matches!(n, Notice::AccountStopped { .. }).then_some(())).await;
    let second = engine(&store, account(Arc::clone(&b))).await;
    let more = submit(&second, jobs(5)).await;
    notice(&mut notices, |n| matches!(n, Notice::AccountResumed { .. }).then_some(())).await;
    all_solved(&first, &patient).await;
    all_solved(&first, &refused).await;
    all_solved(&first, &more).await;
    let probes = probes.lock().unwrap().clone();
    assert_eq!(probes.len(), 3);
    assert!(probes.windows(2).all(|two| two[1].since(two[0]) >= 300_000), "{probes:?}");
    let tasks = sound(store.as_ref(), &[patient, refused].concat()).await;
    assert!(tasks.iter().all(|t| (t.counters.submits, t.counters.failures) == (1, 0)), "{tasks:?}");
    assert_eq!(*a.submits().borrow() + *b.submits().borrow(), 8, "one was refused, none doubled");
}

#[tokio::test]
async fn a_probe_that_panics_or_is_not_answered_leaves_the_account_stopped() {
    let store = memory();
    let provider = Arc::new(
        ScriptedProvider::default()
            .on_submit(|call| async move {
                match call.n {
                    1 => Err(failed("ERROR_WRONG_USER_KEY", Class::Account)),
                    n => Ok(id(n)),
                }
            })
            .on_account(|n| async move {
                match n {
                    1 => panic!("the provider's own mistake"),
                    2 => Err(line_failed(Sent::Maybe)),
                    3 => Err(failed("ERROR_INTERNAL_SERVER_ERROR", Class::Transient)),
                    _ => Ok(AccountState::default()),
                }
            }),
    );
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let ids = submit(&dl, jobs(1)).await;
    soon(provider.accounts().wait_for(|n| *n == 3)).await.expect("probed again each time");
    assert_eq!(*provider.submits().borrow(), 1);
    all_solved(&dl, &ids).await;
}

#[tokio::test]
async fn a_queued_task_dies_of_its_deadline_without_a_submit() {
    let store = memory();
    let day_ms = 86_400_000;
    let terms = Terms { timeout_ms: day_ms, hold_ms: day_ms, ..Terms::default() };
    let busy = ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) });
    let busy = Arc::new(busy.with_terms(terms));
    let config = account(Arc::clone(&busy)).threads(Some(1));
    let dl = engine(&store, config).await;
    submit(&dl, vec![job("busy")]).await;
    soon(busy.submits().wait_for(|n| *n == 1)).await.expect("counted");
    // More than one batch of the sweeper's.
    let jobs = (0..1_200).map(|n| job(&format!("k{n}")).deadline_ms(30_000)).collect();
    let ids = submit(&dl, jobs).await;
    all_rest(&dl, &ids).await;
    for task in sound(store.as_ref(), &ids).await {
        assert_eq!((task.reason(), task.counters.submits), (Some(DeadReason::Deadline), 0));
        assert_eq!(task.cause, Some(Cause::new(Cause::DEADLINE)));
    }
    assert_eq!(*busy.submits().borrow(), 1);
}

#[tokio::test]
async fn an_answer_after_the_deadline_still_solves() {
    let store = memory();
    let dead = Arc::new(AtomicBool::new(false));
    let is_dead = Arc::clone(&dead);
    let provider = Arc::new(ScriptedProvider::default().on_poll(move |_| {
        let is_dead = is_dead.load(SeqCst);
        async move { Ok(if is_dead { answer("late") } else { Polled::NotReady }) }
    }));
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let mut notices = dl.notices();
    let handle = dl.submit(job("a").deadline_ms(60_000)).await.expect("stored");
    let task = unsolved(soon(handle.wait()).await.expect("the store works"));
    assert_eq!(task.reason(), Some(DeadReason::Deadline));
    dead.store(true, SeqCst);
    notice(&mut notices, |n| match n {
        Notice::Event(event) => (event.state == StateKind::Solved).then_some(()),
        _ => None,
    })
    .await;
    let outcome = soon(handle.wait()).await.expect("the store works");
    assert!(matches!(outcome, Outcome::Solved(_)));
    assert_eq!(*provider.submits().borrow(), 1);
    sound(store.as_ref(), &[handle.id]).await;
}

#[tokio::test]
async fn a_retry_that_would_come_after_the_deadline_is_not_waited_for() {
    let store = memory();
    let provider = Arc::new(ScriptedProvider::default().on_submit(|_| async {
        let failure = Failure::new("ERROR_SERVER_ERROR", Class::Transient);
        Err(JobFailed(failure.with_retry_after_ms(Some(3_000_000))).into())
    }));
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let job = job("a").deadline_ms(2_000_000);
    let task = unsolved(soon(dl.solve(job)).await.expect("the store works"));
    assert_eq!(task.reason(), Some(DeadReason::Deadline));
    assert_eq!(task.cause, Some(Cause::new("ERROR_SERVER_ERROR")));
    assert!(task.updated_at < task.deadline_at.expect("it has one"), "it died at once");
    assert_eq!(*provider.submits().borrow(), 1);
}

#[tokio::test]
async fn tasks_of_an_account_that_is_not_configured_hide_nobodys_deadline_and_are_told_of() {
    let store = memory();
    let provider = Arc::new(ScriptedProvider::default());
    let gone = other(Arc::clone(&provider));
    let stranger = gone.name.clone();
    let desk = Deadletter::builder().store(Arc::clone(&store)).account(gone).desk_only().await;
    // More than a sweep looks at in one step.
    let lost = jobs(600).into_iter().map(|job| job.deadline_ms(1)).collect();
    let lost = submit(&desk.expect("a desk"), lost).await;
    let config = account(Arc::clone(&provider));
    let name = config.name.clone();
    let dl = engine(&store, config).await;
    let mut notices = dl.notices();
    dl.desk().force_breaker(&name, Forced::Open, "ada", "to let it wait").await.expect("forced");
    let ours = dl.submit(job("ours").deadline_ms(60_000)).await.expect("stored");
    let dead = unsolved(soon(ours.wait()).await.expect("the store works"));
    assert_eq!(dead.reason(), Some(DeadReason::Deadline));
    let told = notice(&mut notices, |notice| match notice {
        Notice::NotConfigured { account, tasks } => Some((account.clone(), *tasks)),
        _ => None,
    });
    assert_eq!(told.await, (stranger, 600));
    let waiting = sound(store.as_ref(), &lost).await;
    assert!(waiting.iter().all(|task| task.kind() == StateKind::Queued), "another may have it");
}
