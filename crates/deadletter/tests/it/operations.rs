//! Redrives: what is frozen, what holds them up, what survives a death.

use crate::{
    crash::{Victim, block_on, bury_workers},
    record::audited,
    rig::{
        account, all_rest, all_solved, engine, jobs, memory, moved, other, pass_time, soon, sound,
        submit,
    },
};
use deadletter::{
    AccountConfig, Deadletter, Operation, OperationState, RedriveOptions, Skip,
    core::{
        Class, Filter, OperationId, StateKind, Task, TaskId, Terms,
        breaker::{BreakerRules, Forced, Phase},
        decide::Eligibility,
    },
    provider::{
        Polled, Sent,
        scripted::{ScriptedProvider, answer, failed, line_failed},
    },
    store::{Call, Faulty, Store, faulty::Fault},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

/// An upstream that refuses everything for good until it is healed.
pub(crate) fn sick(class: Class) -> (Arc<ScriptedProvider>, Arc<AtomicBool>) {
    let healed = Arc::new(AtomicBool::new(false));
    let is_healed = Arc::clone(&healed);
    let provider = ScriptedProvider::default().on_poll(move |call| {
        let is_healed = is_healed.load(SeqCst);
        async move {
            if is_healed {
                Ok(answer(&format!("for-{}", call.id)))
            } else {
                Err(failed("ERROR_CAPTCHA_UNSOLVABLE", class))
            }
        }
    });
    (Arc::new(provider), healed)
}

pub(crate) async fn dead_letters(engine: &Deadletter, n: usize) -> Vec<TaskId> {
    let ids = submit(engine, jobs(n)).await;
    all_rest(engine, &ids).await;
    ids
}

pub(crate) async fn redrive(engine: &Deadletter, options: RedriveOptions) -> OperationId {
    engine.desk().redrive(&Filter::default(), options).await.expect("begun")
}

/// Waits until the operation rests, and answers it with its items: pending, done, skipped.
pub(crate) async fn settled(engine: &Deadletter, id: &OperationId) -> (Operation, [u64; 3]) {
    soon(async {
        loop {
            let found = engine.desk().operation(id).await.expect("read").expect("there");
            if !found.0.state.is_active() {
                return found;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[test]
fn a_redrive_survives_its_engine_and_takes_nothing_twice() {
    let store = memory();
    let (first, healed) = sick(Class::Unsolvable);
    let victim = Victim::start(&store, &first);
    let (dl, inner) = (Arc::clone(&victim.engine), Arc::clone(&store));
    let is_healed = Arc::clone(&healed);
    let (ids, operation) = victim.run(async move {
        let ids = dead_letters(&dl, 60).await;
        is_healed.store(true, SeqCst);
        let operation = redrive(&dl, RedriveOptions { rate: 20.0, ..Default::default() }).await;
        // Some are done, not all: then the blow.
        while inner.tally_items(&operation).await.expect("counted")[1] < 10 {
            tokio::task::yield_now().await;
        }
        (ids, operation)
    });
    victim.kill();
    block_on(async {
        bury_workers(&store).await;
        let (second, healed) = sick(Class::Unsolvable);
        healed.store(true, SeqCst);
        let dl = engine(&store, account(second)).await;
        let (found, items) = settled(&dl, &operation).await;
        assert_eq!((found.state, items), (OperationState::Done, [0, 60, 0]));
        assert_eq!(found.frozen, 60);
        all_solved(&dl, &ids).await;
        for task in sound(store.as_ref(), &ids).await {
            assert_eq!(task.counters.redrives, 1, "{task:?}");
        }
        assert_eq!(audited(store.as_ref()).await, 2, "begun, done");
    });
}

#[tokio::test]
async fn a_redrive_waits_for_the_breaker_and_probes_where_nothing_else_can() {
    let store = memory();
    let down = Arc::new(AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    let provider = Arc::new(ScriptedProvider::default().on_submit(move |call| {
        let is_down = is_down.load(SeqCst);
        async move {
            if is_down {
                return Err(line_failed(Sent::No));
            }
            Ok(deadletter::provider::scripted::id(call.n))
        }
    }));
    let breaker = BreakerRules { open_ms: 5_000, open_cap_ms: 5_000, ..BreakerRules::default() };
    let config = AccountConfig { breaker, ..account(Arc::clone(&provider)) };
    let dl = engine(&store, config).await;
    let ids = dead_letters(&dl, 8).await;
    let spent = *provider.submits().borrow();
    let mut notices = dl.notices();
    let operation = redrive(&dl, RedriveOptions::default()).await;
    for _ in 0..3 {
        moved(&mut notices, Phase::Open).await;
    }
    let [pending, done, _] = store.tally_items(&operation).await.expect("counted");
    assert!((1..=4).contains(&done) && pending == 8 - done, "{done} of 8 went into the outage");
    assert!(*provider.submits().borrow() - spent <= 5, "each was a probe");
    down.store(false, SeqCst);
    let (found, [pending, _, skipped]) = settled(&dl, &operation).await;
    assert_eq!((found.state, pending, skipped), (OperationState::Done, 0, 0));
    all_rest(&dl, &ids).await;
    let tasks = sound(store.as_ref(), &ids).await;
    let solved = tasks.iter().filter(|task| task.kind() == StateKind::Solved).count();
    assert!(solved >= 4, "only the probes may have died again");
}

#[tokio::test]
async fn a_limit_is_kept_and_the_rate_too() {
    let store = memory();
    let (provider, healed) = sick(Class::Unsolvable);
    let dl = engine(&store, account(provider)).await;
    let ids = dead_letters(&dl, 50).await;
    healed.store(true, SeqCst);
    // A second engine must not go at a rate of its own.
    let (second, is_healed) = sick(Class::Unsolvable);
    is_healed.store(true, SeqCst);
    let _second = engine(&store, account(second)).await;
    let options = RedriveOptions { limit: Some(30), rate: 0.5, ..Default::default() };
    let operation = redrive(&dl, options).await;
    let (found, items) = settled(&dl, &operation).await;
    assert_eq!((found.state, items), (OperationState::Done, [0, 30, 0]));
    let took_ms = found.finished_at.expect("over").since(found.created_at);
    // Five at once, and then one in two seconds.
    assert!(took_ms >= 48_000, "30 in {took_ms} ms");
    let tasks = sound(store.as_ref(), &ids).await;
    assert_eq!(tasks.iter().filter(|task| task.counters.redrives == 1).count(), 30);
}

#[tokio::test]
async fn what_has_changed_since_the_freeze_is_skipped() {
    let store = memory();
    let (provider, healed) = sick(Class::Unsolvable);
    let config = account(provider);
    let name = config.name.clone();
    let dl = engine(&store, config).await;
    let ids = dead_letters(&dl, 10).await;
    healed.store(true, SeqCst);
    dl.desk().force_breaker(&name, Forced::Open, "ada", "to look first").await.expect("forced");
    let operation = redrive(&dl, RedriveOptions::default()).await;
    soon(async {
        while store.tally_items(&operation).await.expect("counted")[0] < 10 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for id in &ids[..3] {
        assert!(dl.desk().bury(*id).await.expect("buried"));
    }
    dl.desk().reset_breaker(&name, "ada", "it is over").await.expect("reset");
    let (found, items) = settled(&dl, &operation).await;
    assert_eq!((found.state, items), (OperationState::Done, [0, 7, 3]));
    assert_eq!(found.skips.into_iter().collect::<Vec<_>>(), [(Skip::Changed, 3)]);
    all_solved(&dl, &ids[3..]).await;
    let tasks = sound(store.as_ref(), &ids).await;
    assert!(tasks[..3].iter().all(|task| task.kind() == StateKind::Buried));
}

#[tokio::test]
async fn the_hopeless_are_redriven_by_force_alone() {
    let store = memory();
    let (provider, healed) = sick(Class::Permanent);
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let ids = dead_letters(&dl, 6).await;
    healed.store(true, SeqCst);
    let options = RedriveOptions::default();
    let plan = dl.desk().plan_redrive(&Filter::default(), &options).await.expect("planned");
    assert_eq!((plan.count, plan.eligible), (6, 0));
    let operation = redrive(&dl, options).await;
    let (found, items) = settled(&dl, &operation).await;
    assert_eq!(items, [0, 0, 6]);
    assert_eq!(found.skips.into_iter().collect::<Vec<_>>(), [(Skip::Hopeless, 6)]);
    assert_eq!(*provider.submits().borrow(), 6);
    let forced = RedriveOptions { force: true, ..Default::default() };
    let plan = dl.desk().plan_redrive(&Filter::default(), &forced).await.expect("planned");
    assert_eq!((plan.count, plan.eligible), (6, 6));
    let operation = redrive(&dl, forced).await;
    assert_eq!(settled(&dl, &operation).await.1, [0, 6, 0]);
    all_solved(&dl, &ids).await;
    assert_eq!(audited(store.as_ref()).await, 4, "two begun, two ended");
}

#[tokio::test]
async fn a_resumed_id_is_asked_by_whoever_redrives_it_and_nothing_is_paid() {
    let faulty = Arc::new(Faulty::new(memory()));
    let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
    let ready = Arc::new(AtomicBool::new(false));
    let is_ready = Arc::clone(&ready);
    // Nobody gives up on the id but for the deadline, and soon after it nobody asks any more.
    let (day_ms, hold_ms) = (86_400_000, 20_000);
    let terms = Terms { fresh_ms: None, timeout_ms: day_ms, hold_ms, ..Terms::default() };
    let provider = ScriptedProvider::default().on_poll(move |call| {
        let is_ready = is_ready.load(SeqCst);
        async move { Ok(if is_ready { answer(call.id.as_str()) } else { Polled::NotReady }) }
    });
    let provider = Arc::new(provider.with_terms(terms));
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let patient = jobs(10).into_iter().map(|job| job.deadline_ms(60_000)).collect();
    let ids = submit(&dl, patient).await;
    all_rest(&dl, &ids).await;
    let spent = *provider.submits().borrow();
    soon(async {
        while dl.status().polling > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The first of them is written, and nobody is told.
    faulty.script(Call::Commit, [Some(Fault::DoubtWritten); 3]);
    let operation = redrive(&dl, RedriveOptions::default()).await;
    settled(&dl, &operation).await;
    ready.store(true, SeqCst);
    all_solved(&dl, &ids).await;
    assert_eq!(*provider.submits().borrow(), spent);
    sound(store.as_ref(), &ids).await;
}

#[tokio::test]
async fn a_freeze_and_a_redrive_in_doubt_keep_the_limit_and_take_nothing_twice() {
    let faulty = Arc::new(Faulty::new(memory()));
    let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
    let (provider, healed) = sick(Class::Unsolvable);
    let dl = engine(&store, account(provider)).await;
    let ids = dead_letters(&dl, 20).await;
    healed.store(true, SeqCst);
    faulty.script(Call::Freeze, [Some(Fault::DoubtWritten)]);
    faulty.script(Call::Commit, [Some(Fault::DoubtWritten); 3]);
    let options = RedriveOptions { limit: Some(7), ..Default::default() };
    let operation = redrive(&dl, options).await;
    let (found, items) = settled(&dl, &operation).await;
    assert_eq!((found.state, found.frozen, items), (OperationState::Done, 7, [0, 7, 0]));
    all_solved(&dl, &ids[..7]).await;
    let tasks = sound(store.as_ref(), &ids).await;
    let redrives: Vec<_> = tasks.iter().map(|task| task.counters.redrives).collect();
    assert_eq!(redrives, [vec![1; 7], vec![0; 13]].concat());
}

#[tokio::test]
async fn an_engine_that_stops_gives_its_operations_back() {
    let store = memory();
    let (provider, healed) = sick(Class::Unsolvable);
    let dl = engine(&store, account(provider)).await;
    dead_letters(&dl, 20).await;
    healed.store(true, SeqCst);
    let operation = redrive(&dl, RedriveOptions { rate: 0.001, ..Default::default() }).await;
    soon(async {
        while store.tally_items(&operation).await.expect("counted")[1] < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let stands = async || dl.desk().operation(&operation).await.expect("read").expect("known").0;
    assert!(stands().await.lease.is_some(), "it runs, and would take hours");
    dl.stop().await.expect("stopped");
    assert_eq!(stands().await.lease, None, "another engine goes on at once");
}

#[tokio::test]
async fn an_operation_is_run_by_one_engine_at_a_time() {
    let store = memory();
    let (provider, healed) = sick(Class::Unsolvable);
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    dead_letters(&dl, 20).await;
    healed.store(true, SeqCst);
    let timer = other(Arc::new(ScriptedProvider::default()));
    let builder = Deadletter::builder().store(Arc::clone(&store)).account(account(provider));
    let second = builder.account(timer).start().await.expect("the engine starts");
    let operation = redrive(&dl, RedriveOptions { rate: 0.001, ..Default::default() }).await;
    soon(async {
        while store.tally_items(&operation).await.expect("counted")[1] < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Time for another canary, if the second engine had one.
    pass_time(&second, 2).await;
    assert_eq!(store.tally_items(&operation).await.expect("counted"), [15, 5, 0]);
}

#[tokio::test]
async fn letters_of_an_account_that_is_not_configured_are_left_and_told_and_hinder_nobody() {
    let store = memory();
    let (provider, healed) = sick(Class::Unsolvable);
    let first = engine(&store, other(Arc::clone(&provider))).await;
    let strange = dead_letters(&first, 3).await;
    first.stop().await.expect("stopped");
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let ids = dead_letters(&dl, 4).await;
    healed.store(true, SeqCst);
    let options = RedriveOptions::default();
    let plan = dl.desk().plan_redrive(&Filter::default(), &options).await.expect("planned");
    assert_eq!((plan.count, plan.eligible), (7, 4));
    assert_eq!(plan.by_eligibility.get(&Eligibility::NoAccount), Some(&3));
    let operation = redrive(&dl, options).await;
    let (found, items) = settled(&dl, &operation).await;
    assert_eq!((found.state, items), (OperationState::Done, [0, 4, 3]));
    assert_eq!(found.skips.into_iter().collect::<Vec<_>>(), [(Skip::NoAccount, 3)]);
    all_solved(&dl, &ids).await;
    let desk = dl.desk();
    assert!(desk.bury(strange[0]).await.expect("buried"), "giving up needs no account");
    assert!(desk.exhume(strange[0], 1).await.expect("exhumed"));
    assert!(desk.cancel(strange[0]).await.expect("cancelled"));
    assert!(!desk.cancel(strange[0]).await.expect("asked"), "it is cancelled already");
    let kinds: Vec<_> = sound(store.as_ref(), &strange).await.iter().map(Task::kind).collect();
    assert_eq!(kinds, [StateKind::Cancelled, StateKind::Dead, StateKind::Dead]);
}
