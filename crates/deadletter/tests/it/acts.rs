//! Bury, exhume, cancel, purge: what is frozen, what is skipped and why, what is written down.

use crate::{
    operations::{dead_letters, sick},
    record::audited,
    rig::{account, all_rest, engine, job, jobs, memory, soon, sound, submit},
};
use deadletter::{
    Act, ActOptions, Deadletter, Operation, OperationState, RedriveOptions, Skip,
    core::{Class, Filter, OperationId, Policy, StateKind, TaskId, Terms},
    provider::{
        Polled,
        scripted::{ScriptedProvider, answer, failed},
    },
    store::{
        Call, Faulty, Store,
        faulty::{Fault, Hook, Moment},
    },
};
use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

fn asked() -> ActOptions {
    ActOptions { limit: None, by: "ada".to_owned(), why: Some("the page is gone".to_owned()) }
}

pub(crate) async fn prepare(engine: &Deadletter, act: Act, filter: &str) -> OperationId {
    let filter: Filter = filter.parse().expect("a filter");
    engine.desk().prepare(act, &filter, asked()).await.expect("frozen")
}

/// Lets it go, works it off, and answers it with its items: pending, done, skipped.
pub(crate) async fn carry_out(engine: &Deadletter, id: &OperationId) -> (Operation, [u64; 3]) {
    let desk = engine.desk();
    assert!(desk.release(id).await.expect("released"));
    soon(async { while desk.advance(id).await.expect("the store works") {} }).await;
    desk.operation(id).await.expect("read").expect("there")
}

/// Waits until a worker has worked it off.
async fn ended(worker: &Deadletter, id: &OperationId) {
    soon(async {
        let state = async || {
            let found = worker.desk().operation(id).await.expect("read");
            found.expect("there").0.state
        };
        while state().await != OperationState::Done {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn states(store: &dyn Store) -> [i64; 4] {
    let totals = store.totals().await.expect("counted");
    assert!(totals.is_conserved(), "{totals:?}");
    [totals.dead, totals.buried, totals.cancelled, totals.purged]
}

#[tokio::test]
async fn what_was_frozen_is_acted_on_and_nothing_else() {
    let store = memory();
    let (provider, _) = sick(Class::Unsolvable);
    let dl = engine(&store, account(provider)).await;
    let mut ids = dead_letters(&dl, 12).await;
    let id = prepare(&dl, Act::Bury, "").await;
    ids.extend(dead_letters(&dl, 3).await);
    let plan = dl.desk().plan_prepared(&id).await.expect("planned");
    assert_eq!((plan.count, plan.fit, plan.by_cause.len()), (12, 12, 1));
    assert_eq!(states(store.as_ref()).await, [15, 0, 0, 0], "nothing happens before the release");
    assert!(!dl.desk().advance(&id).await.expect("asked"));
    let (found, items) = carry_out(&dl, &id).await;
    assert_eq!((found.state, items), (OperationState::Done, [0, 12, 0]));
    assert_eq!(states(store.as_ref()).await, [3, 12, 0, 0]);
    assert!(!dl.desk().release(&id).await.expect("asked"), "once is enough");
    sound(store.as_ref(), &ids).await;
    assert_eq!(audited(store.as_ref()).await, 2, "begun, done");
    let body = &store.audit_log(None, 1).await.expect("read")[0].body;
    for part in ["\"bury\"", "\"ada\"", "\"the page is gone\"", "\"done\":12"] {
        assert!(body.contains(part), "{part} in {body}");
    }
}

#[tokio::test]
async fn what_has_changed_and_what_does_not_fit_is_skipped_and_told_apart() {
    let store = memory();
    let (provider, _) = sick(Class::Unsolvable);
    let dl = engine(&store, account(provider)).await;
    let ids = dead_letters(&dl, 6).await;
    assert!(dl.desk().cancel(ids[0]).await.expect("cancelled"));
    let list = ids.iter().map(TaskId::to_string).collect::<Vec<_>>().join(",");
    let id = prepare(&dl, Act::Bury, &format!("id:{list}")).await;
    let plan = dl.desk().plan_prepared(&id).await.expect("planned");
    assert_eq!((plan.count, plan.fit), (6, 5));
    assert!(dl.desk().cancel(ids[1]).await.expect("cancelled"));
    let (found, items) = carry_out(&dl, &id).await;
    assert_eq!(items, [0, 4, 2]);
    let told: Vec<_> = found.skips.into_iter().collect();
    assert_eq!(told, [(Skip::Changed, 1), (Skip::Unfit, 1)]);
    assert_eq!(states(store.as_ref()).await, [0, 4, 2, 0]);
    sound(store.as_ref(), &ids).await;
}

#[tokio::test]
async fn exhumed_with_room_a_task_can_be_redriven_again() {
    let store = memory();
    let (provider, healed) = sick(Class::Unsolvable);
    let mut config = account(provider);
    config.policy = Policy { first_submits: 3, max_submits: 3, ..Policy::default() };
    let dl = engine(&store, config).await;
    let ids = dead_letters(&dl, 4).await;
    assert_eq!(states(store.as_ref()).await, [0, 4, 0, 0], "K is reached");
    let without = Act::Exhume { more_submits: 0 };
    let plan = dl.desk().plan_act(without, &Filter::all(), None).await.expect("planned");
    assert_eq!((plan.fit, plan.without_room), (4, 4));
    let id = prepare(&dl, Act::Exhume { more_submits: 2 }, "state:buried").await;
    assert_eq!(carry_out(&dl, &id).await.1, [0, 4, 0]);
    for task in sound(store.as_ref(), &ids).await {
        assert_eq!((task.kind(), task.max_submits), (StateKind::Dead, 5));
    }
    healed.store(true, SeqCst);
    dl.desk().redrive(&Filter::all(), RedriveOptions::default()).await.expect("begun");
    soon(async {
        while store.totals().await.expect("counted").solved < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_cancelled_is_not_submitted_any_more() {
    let store = memory();
    // Nothing is ever ready, and there are ten threads: most of them wait.
    let provider =
        Arc::new(ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) }));
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let ids = submit(&dl, jobs(40)).await;
    soon(provider.submits().wait_for(|n| *n == 10)).await.expect("counted");
    let id = prepare(&dl, Act::Cancel, "state:queued").await;
    let (_, [pending, done, skipped]) = carry_out(&dl, &id).await;
    assert_eq!((pending, done, skipped), (0, 30, 0));
    assert_eq!(states(store.as_ref()).await[2], 30);
    assert_eq!(*provider.submits().borrow(), 10);
    sound(store.as_ref(), &ids).await;
}

#[tokio::test]
async fn a_purge_deletes_what_rests_keeps_the_sum_and_says_what_stands() {
    let store = memory();
    // The first id is never ready, and may still be answered for a day; the others fail.
    let terms = Terms { timeout_ms: 15_000, hold_ms: 86_400_000, ..Terms::default() };
    let provider = ScriptedProvider::default().on_poll(|call| async move {
        match call.id.as_str() {
            "1" => Ok(Polled::NotReady),
            _ => Err(failed("ERROR_CAPTCHA_UNSOLVABLE", Class::Unsolvable)),
        }
    });
    let mut config = account(Arc::new(provider.with_terms(terms)));
    config.policy.first_submits = 1;
    let dl = engine(&store, config).await;
    let open = submit(&dl, vec![job("open")]).await;
    all_rest(&dl, &open).await;
    let ids = dead_letters(&dl, 9).await;
    let id = prepare(&dl, Act::Purge, "*").await;
    let (found, items) = carry_out(&dl, &id).await;
    assert_eq!((found.frozen, items), (10, [0, 9, 1]));
    assert_eq!(found.skips.into_iter().collect::<Vec<_>>(), [(Skip::Open, 1)]);
    assert_eq!(states(store.as_ref()).await, [1, 0, 0, 9]);
    let left = store.get(&ids).await.expect("read");
    assert!(left.iter().all(Option::is_none), "{left:?}");
    assert!(store.payload(ids[0]).await.expect("read").is_none());
    sound(store.as_ref(), &open).await;
}

#[tokio::test]
async fn an_act_that_its_beginner_left_is_finished_by_whoever_works() {
    let store = memory();
    let (provider, _) = sick(Class::Unsolvable);
    let config = || account(Arc::clone(&provider));
    let first = engine(&store, config()).await;
    let ids = dead_letters(&first, 8).await;
    first.stop().await.expect("stopped");
    let builder = Deadletter::builder().store(Arc::clone(&store)).account(config());
    let desk = builder.desk_only().await.expect("a desk");
    let (left, dropped) =
        (prepare(&desk, Act::Purge, "").await, prepare(&desk, Act::Bury, "").await);
    assert!(desk.desk().release(&left).await.expect("released"));
    drop(desk);
    let second = engine(&store, config()).await;
    soon(async {
        while store.totals().await.expect("counted").purged < 8 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    ended(&second, &left).await;
    let (found, _) = second.desk().operation(&dropped).await.expect("read").expect("there");
    assert_eq!(found.state, OperationState::Prepared, "nobody released it");
    assert_eq!(states(store.as_ref()).await, [0, 0, 0, 8]);
    assert!(store.get(&ids).await.expect("read").iter().all(Option::is_none));
}

#[tokio::test]
async fn acts_on_single_tasks_are_on_the_record_where_they_fit() {
    let store = memory();
    let (provider, _) = sick(Class::Unsolvable);
    let dl = engine(&store, account(provider)).await;
    let id = dead_letters(&dl, 1).await[0];
    let desk = dl.desk();
    assert!(desk.bury(id).await.expect("buried"));
    assert!(!desk.bury(id).await.expect("asked"), "it is buried already");
    assert!(desk.exhume(id, 1).await.expect("exhumed"));
    assert!(desk.cancel(id).await.expect("cancelled"));
    assert_eq!(audited(store.as_ref()).await, 3);
    let log = store.audit_log(None, 10).await.expect("read");
    for (entry, kind) in log.iter().rev().zip(["bury", "exhume", "cancel"]) {
        let body: serde_json::Value = serde_json::from_str(&entry.body).expect("JSON");
        assert_eq!((&body["kind"], &body["count"]), (&kind.into(), &1.into()));
        assert_eq!(body["task"], serde_json::json!(id));
    }
}

/// What happens in between.
pub(crate) type Deed = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A store in front of `inner`, and the place of a deed that is done once, when the next call of
/// that kind is at that moment.
pub(crate) fn interrupted(
    inner: &Arc<dyn Store>,
    call: Call,
    moment: Moment,
) -> (Arc<dyn Store>, Arc<OnceLock<Deed>>) {
    let deed = Arc::new(OnceLock::<Deed>::new());
    let (known, is_done) = (Arc::clone(&deed), Arc::new(AtomicBool::new(false)));
    let hook: Hook = Arc::new(move |met, when| {
        let is_now = (met, when) == (call, moment) && known.get().is_some();
        let (known, is_now) = (Arc::clone(&known), is_now && !is_done.swap(true, SeqCst));
        Box::pin(async move {
            match known.get() {
                Some(deed) if is_now => deed().await,
                _ => {}
            }
        })
    });
    (Arc::new(Faulty::new(Arc::clone(inner)).with_hook(hook)), deed)
}

async fn desk_only(store: &Arc<dyn Store>) -> Deadletter {
    let (provider, _) = sick(Class::Unsolvable);
    let builder = Deadletter::builder().store(Arc::clone(store)).account(account(provider));
    builder.desk_only().await.expect("a desk")
}

#[tokio::test]
async fn what_another_process_ends_between_a_look_and_the_lease_goes_no_further() {
    for is_stopped in [true, false] {
        let store = memory();
        let (provider, _) = sick(Class::Unsolvable);
        let dl = engine(&store, account(provider)).await;
        dead_letters(&dl, 6).await;
        dl.stop().await.expect("stopped");
        let (seen, deed) = interrupted(&store, Call::Document, Moment::After);
        let (ours, theirs) = (desk_only(&seen).await, Arc::new(desk_only(&store).await));
        let id = prepare(&ours, Act::Purge, "").await;
        assert!(ours.desk().release(&id).await.expect("released"));
        let wanted = id.clone();
        let is_set = deed.set(Box::new(move || {
            let (theirs, id) = (Arc::clone(&theirs), wanted.clone());
            Box::pin(async move {
                let desk = theirs.desk();
                if is_stopped {
                    assert!(desk.stop_operation(&id, "bob", None).await.expect("stopped"));
                } else {
                    while desk.advance(&id).await.expect("the store works") {}
                }
            })
        }));
        assert!(is_set.is_ok());
        while ours.desk().advance(&id).await.expect("the store works") {}
        let (state, purged) =
            if is_stopped { (OperationState::Stopped, 0) } else { (OperationState::Done, 6) };
        let (found, _) = ours.desk().operation(&id).await.expect("read").expect("there");
        assert_eq!(found.state, state);
        assert_eq!(states(store.as_ref()).await, [6 - purged, 0, 0, purged]);
        assert_eq!(audited(store.as_ref()).await, 2, "released, ended");
    }
}

#[tokio::test]
async fn a_release_that_breaks_off_leaves_the_act_waiting_on_the_record_and_can_be_repeated() {
    // It breaks off at the record, at the operation itself.
    for (n, call) in [Call::Audit, Call::PutDocument].into_iter().enumerate() {
        let store = memory();
        let (provider, _) = sick(Class::Unsolvable);
        let dl = engine(&store, account(provider)).await;
        dead_letters(&dl, 3).await;
        dl.stop().await.expect("stopped");
        let faulty = Arc::new(Faulty::new(Arc::clone(&store)));
        let desk = desk_only(&(Arc::clone(&faulty) as Arc<dyn Store>)).await;
        let id = prepare(&desk, Act::Bury, "").await;
        faulty.script(call, [Some(Fault::Unavailable)]);
        assert!(desk.desk().release(&id).await.is_err(), "{call}");
        let (found, _) = desk.desk().operation(&id).await.expect("read").expect("there");
        assert_eq!(found.state, OperationState::Prepared, "{call}");
        assert_eq!(audited(store.as_ref()).await, usize::from(n > 0), "{call}");
        assert_eq!(carry_out(&desk, &id).await.1, [0, 3, 0], "{call}");
    }
}

#[tokio::test]
async fn what_is_released_is_worked_off_whoever_looked_before_it_was_written() {
    let store = memory();
    let (provider, _) = sick(Class::Unsolvable);
    let worker = Arc::new(engine(&store, account(provider)).await);
    dead_letters(&worker, 3).await;
    // After it was listed, before it is written: a worker takes it off the list.
    let listed = Arc::new(AtomicBool::new(false));
    let (is_listed, looking) = (Arc::clone(&listed), Arc::clone(&worker));
    let hook: Hook = Arc::new(move |call, moment| {
        let is_put = (call, moment) == (Call::PutDocument, Moment::After);
        let is_now = is_put && is_listed.swap(false, SeqCst);
        let worker = Arc::clone(&looking);
        Box::pin(async move {
            if is_now {
                let nothing: Filter = "sitekey:nowhere".parse().expect("a filter");
                let other = worker.desk().redrive(&nothing, RedriveOptions::default()).await;
                ended(&worker, &other.expect("begun")).await;
            }
        })
    });
    let seen: Arc<dyn Store> = Arc::new(Faulty::new(Arc::clone(&store)).with_hook(hook));
    let desk = desk_only(&seen).await;
    listed.store(true, SeqCst);
    let id = prepare(&desk, Act::Bury, "").await;
    assert!(desk.desk().release(&id).await.expect("released"));
    assert!(!listed.load(SeqCst), "the worker has looked");
    ended(&worker, &id).await;
    assert_eq!(states(store.as_ref()).await, [0, 3, 0, 0]);
}

#[tokio::test]
async fn a_purge_counts_what_it_deleted_itself_and_a_doubt_hides_nothing() {
    for (theirs, fates) in [(2, vec![]), (0, vec![Some(Fault::DoubtWritten)])] {
        let faulty = Arc::new(Faulty::new(memory()));
        let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
        let (provider, _) = sick(Class::Unsolvable);
        let dl = engine(&store, account(provider)).await;
        let ids = dead_letters(&dl, 6).await;
        dl.stop().await.expect("stopped");
        let desk = desk_only(&store).await;
        let id = prepare(&desk, Act::Purge, "").await;
        let tasks = store.get(&ids[..theirs]).await.expect("read");
        let versions: Vec<_> = tasks.into_iter().flatten().map(|it| (it.id, it.version)).collect();
        assert_eq!(store.purge(&versions).await.expect("purged"), theirs as u64);
        faulty.script(Call::Purge, fates);
        let (found, items) = carry_out(&desk, &id).await;
        assert_eq!((found.frozen, items), (6, [0, 6 - theirs as u64, 0]));
        assert_eq!(states(store.as_ref()).await, [0, 0, 0, 6]);
        let body = &store.audit_log(None, 1).await.expect("read")[0].body;
        assert!(body.contains(&format!("\"done\":{}", 6 - theirs)), "{body}");
    }
}

#[tokio::test]
async fn what_may_still_be_answered_is_left_out_before_anything_is_copied() {
    let store = memory();
    let ready = Arc::new(AtomicBool::new(false));
    let is_ready = Arc::clone(&ready);
    let terms = Terms { hold_ms: 86_400_000, ..Terms::default() };
    let provider = ScriptedProvider::default().on_poll(move |_| {
        let is_ready = is_ready.load(SeqCst);
        async move { Ok(if is_ready { answer("late") } else { Polled::NotReady }) }
    });
    let dl = engine(&store, account(Arc::new(provider.with_terms(terms)))).await;
    let open = submit(&dl, vec![job("open")]).await[0];
    soon(async {
        while store.totals().await.expect("counted").polling < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(dl.desk().cancel(open).await.expect("cancelled"));
    let id = prepare(&dl, Act::Purge, "*").await;
    assert_eq!(dl.desk().leave_out_open(&id).await.expect("left out"), 1);
    assert!(dl.desk().frozen(&id, None, 10).await.expect("read").is_empty());
    // It is answered between the copy and the purge, and its version stays what it was.
    ready.store(true, SeqCst);
    soon(async {
        while store.answer(open).await.expect("read").is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (found, items) = carry_out(&dl, &id).await;
    assert_eq!((items, found.skips.get(&Skip::Open)), ([0, 0, 1], Some(&1)));
    assert!(store.answer(open).await.expect("read").is_some(), "the answer is kept");
    let again = prepare(&dl, Act::Purge, "*").await;
    assert_eq!(dl.desk().leave_out_open(&again).await.expect("asked"), 0);
    assert_eq!(carry_out(&dl, &again).await.1, [0, 1, 0]);
}
