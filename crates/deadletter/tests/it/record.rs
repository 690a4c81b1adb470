//! What is on the record of operations: who let them begin and end, and what nobody came back to.

use crate::{
    acts::interrupted,
    operations::{dead_letters, redrive, settled, sick},
    rig::{account, all_solved, clock, engine, memory, notice, soon, sound},
};
use deadletter::{
    Act, ActOptions, Deadletter, Notice, OperationState, RedriveOptions, TurnTaken, chained,
    core::{Class, Filter, UnixMs},
    store::{
        Call, Clock, Faulty, ManualClock, MemoryStore, Store,
        faulty::{Fault, Moment},
    },
};
use serde_json::Value;
use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

const HOUR_MS: i64 = 3_600_000;

/// Every writer's entries are numbered without gaps, and each is chained to the one before.
pub(crate) async fn audited(store: &dyn Store) -> usize {
    let mut log = store.audit_log(None, 1_000).await.expect("read");
    log.sort_by_key(|entry| (entry.writer.clone(), entry.seq));
    for writer in log.chunk_by(|a, b| a.writer == b.writer) {
        let mut before = String::new();
        for (n, entry) in writer.iter().enumerate() {
            assert_eq!(entry.seq, n as u64 + 1);
            assert_eq!(entry.hash, chained(&before, entry));
            before.clone_from(&entry.hash);
        }
    }
    log.len()
}

struct Rig {
    clock: Arc<ManualClock>,
    faulty: Arc<Faulty<MemoryStore>>,
    store: Arc<dyn Store>,
    desk: Deadletter,
}

/// A desk on a store whose clock stands; nothing works on it yet.
async fn rig() -> Rig {
    let clock = Arc::new(ManualClock::at(UnixMs(1_800_000_000_000)));
    let memory = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
    let faulty = Arc::new(Faulty::new(memory));
    let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
    let builder = Deadletter::builder().store(Arc::clone(&store)).account(account(Arc::default()));
    let desk = builder.desk_only().await.expect("a desk");
    Rig { clock, faulty, store, desk }
}

impl Rig {
    /// Something works on the store until its operator has looked at what is listed.
    async fn swept(&self) {
        let builder = Deadletter::builder().store(Arc::clone(&self.store));
        let worker = builder.account(account(Arc::default())).start().await.expect("started");
        // What is begun behind them is ended behind them.
        let options = RedriveOptions::default();
        let last = worker.desk().redrive(&Filter::default(), options).await.expect("begun");
        soon(async {
            while !worker.desk().operation(&last).await.unwrap().unwrap().0.state.is_over() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        worker.stop().await.expect("stopped");
    }

    /// States of the operations that were not begun by `swept`.
    async fn states(&self) -> Vec<String> {
        let documents = self.store.documents("operation/", 100).await.expect("read");
        let bodies = documents.iter().map(|document| serde_json::from_str(&document.body).unwrap());
        let asked = bodies.filter(|body: &Value| body["options"]["by"] == "ada");
        asked.map(|body| body["state"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// How many operations are on the list of those that are not finished.
    async fn listed(&self) -> usize {
        let listed = self.store.document("operations/active").await.expect("read");
        serde_json::from_str::<Vec<String>>(&listed.expect("written").body).unwrap().len()
    }

    /// What is on record of what ada asked for: state, who brought it there, why; oldest first.
    async fn told(&self) -> Vec<[String; 3]> {
        let log = self.store.audit_log(None, 100).await.expect("read");
        let bodies = log.iter().rev().map(|entry| serde_json::from_str(&entry.body).unwrap());
        let asked = bodies.filter(|body: &Value| body["asked_by"] == "ada");
        let words = ["state", "by", "why"];
        asked.map(|b| words.map(|word| b[word].as_str().unwrap_or("-").to_owned())).collect()
    }
}

fn by_ada() -> RedriveOptions {
    RedriveOptions { by: "ada".to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_redrive_that_breaks_off_before_it_begins_is_ended_on_the_record() {
    // It breaks off at the list, at the operation itself, at the record, at the beginning.
    let broken =
        [(Call::PutDocument, 0), (Call::PutDocument, 1), (Call::Audit, 0), (Call::PutDocument, 2)];
    for (n, (call, passed)) in broken.into_iter().enumerate() {
        let rig = rig().await;
        rig.faulty
            .script(call, [None].repeat(passed).into_iter().chain([Some(Fault::Unavailable)]));
        rig.desk.desk().redrive(&Filter::default(), by_ada()).await.expect_err("it breaks off");
        let stands: &[&str] = if n < 2 { &[] } else { &["preparing"] };
        assert_eq!(rig.states().await, stands, "{n}");
        rig.swept().await;
        assert_eq!(rig.states().await, stands, "{n}: whoever began it may be about to go on");
        assert_eq!(rig.listed().await, n.min(1), "{n}: and it would be found");
        rig.clock.advance(24 * HOUR_MS);
        rig.swept().await;
        let ended: &[&str] = if n < 2 { &[] } else { &["stopped"] };
        assert_eq!(rig.states().await, ended, "{n}");
        let told = rig.told().await;
        let mut wanted = Vec::new();
        wanted.extend((n == 3).then(|| ["freezing", "ada", "-"].map(str::to_owned)));
        wanted.extend((n >= 2).then(|| ["stopped", "deadletter", "-"].map(str::to_owned)));
        assert_eq!(told, wanted, "{n}");
        assert_eq!(rig.listed().await, 0, "{n}: nobody looks at it for ever");
        audited(rig.store.as_ref()).await;
    }
}

#[tokio::test]
async fn an_act_that_nobody_lets_begin_is_dropped_after_a_day() {
    let rig = rig().await;
    let desk = rig.desk.desk();
    let options = ActOptions { by: "ada".to_owned(), ..ActOptions::default() };
    let id = desk.prepare(Act::Purge, &Filter::default(), options).await.expect("frozen");
    rig.clock.advance(23 * HOUR_MS);
    rig.swept().await;
    assert_eq!(rig.states().await, ["prepared"], "its person may still answer");
    rig.clock.advance(HOUR_MS);
    rig.swept().await;
    assert_eq!(rig.states().await, ["stopped"]);
    assert!(!desk.release(&id).await.expect("asked"), "it is too late");
    let (found, _) = desk.operation(&id).await.expect("read").expect("there");
    assert_eq!(found.state, OperationState::Stopped);
    assert!(found.note.is_some_and(|note| note.contains("a day")));
    assert_eq!(rig.told().await, [["stopped", "deadletter", "-"].map(str::to_owned)]);
}

#[tokio::test]
async fn who_lets_an_act_begin_at_the_last_moment_is_faster_than_who_drops_it() {
    let rig = rig().await;
    let desk = Arc::new(rig.desk.desk());
    let options = ActOptions { by: "ada".to_owned(), ..ActOptions::default() };
    let id = desk.prepare(Act::Purge, &Filter::default(), options).await.expect("frozen");
    rig.clock.advance(24 * HOUR_MS);
    let (seen, deed) = interrupted(&rig.store, Call::Audit, Moment::After);
    let (releasing, wanted) = (Arc::clone(&desk), id.clone());
    let is_set = deed.set(Box::new(move || {
        let (desk, id) = (Arc::clone(&releasing), wanted.clone());
        Box::pin(async move { assert!(desk.release(&id).await.expect("released")) })
    }));
    assert!(is_set.is_ok());
    let builder = Deadletter::builder().store(seen).account(account(Arc::default()));
    let worker = builder.start().await.expect("started");
    soon(async {
        while !worker.desk().operation(&id).await.unwrap().unwrap().0.state.is_over() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (found, _) = desk.operation(&id).await.expect("read").expect("there");
    assert_eq!(found.state, OperationState::Done);
    let log = rig.store.audit_log(None, 100).await.expect("read");
    let bodies = log.iter().map(|entry| serde_json::from_str::<Value>(&entry.body).unwrap());
    let corrected = bodies.filter(|body| body["operation"] == id.as_str());
    let corrected = corrected.filter(|body| body["not_done"] == "stopped");
    let states: Vec<_> = corrected.map(|body| body["state"].clone()).collect();
    assert_eq!(states, ["running"], "what was written and did not come to pass is corrected");
}

#[tokio::test]
async fn whoever_stops_an_operation_is_on_the_record_and_not_who_asked_for_it() {
    let rig = rig().await;
    let desk = rig.desk.desk();
    let id = desk.redrive(&Filter::default(), by_ada()).await.expect("begun");
    assert!(desk.stop_operation(&id, "bob", Some("the page is gone")).await.expect("stopped"));
    assert!(!desk.stop_operation(&id, "eve", None).await.expect("asked"), "it is over");
    let wanted = [["freezing", "ada", "-"], ["stopped", "bob", "the page is gone"]];
    assert_eq!(rig.told().await, wanted.map(|words| words.map(str::to_owned)));
}

#[tokio::test]
async fn a_rate_that_is_no_number_is_kept_as_one() {
    let rig = rig().await;
    let desk = rig.desk.desk();
    for (rate, kept) in [(f64::INFINITY, 1e6), (f64::NAN, 50.0), (-1.0, 0.001)] {
        let options = RedriveOptions { rate, ..by_ada() };
        let id = desk.redrive(&Filter::default(), options).await.expect("begun");
        let (found, _) = desk.operation(&id).await.expect("it can be read").expect("there");
        assert!((found.options.rate - kept).abs() < 1e-9, "{rate}: {}", found.options.rate);
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_outlives_a_store_that_is_away_for_less_than_its_silence() {
    let rig = rig().await;
    let TurnTaken::Ours(turn) = rig.desk.desk().take_turn("drain", "test").await.expect("asked")
    else {
        panic!("nobody has it")
    };
    let kept = async || tokio::time::timeout(Duration::from_secs(30), turn.keep()).await;
    let away = |n: usize| rig.faulty.script(Call::Document, [Some(Fault::Unavailable)].repeat(n));
    away(4);
    assert!(kept().await.is_err(), "it is kept on");
    away(100);
    assert!(kept().await.is_err(), "by the store's clock no time has passed");
    let ends = async { tokio::join!(kept(), async { rig.clock.advance(15_000) }).0 };
    ends.await.expect("it ends").expect_err("by now it is free for others");
}

#[tokio::test]
async fn a_redrive_that_only_makes_dead_letters_pauses_itself_and_can_go_on() {
    // Slower than elsewhere: the caution at the beginning has an end by the store's clock.
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock(100.0)));
    let (provider, healed) = sick(Class::Unsolvable);
    let dl = engine(&store, account(provider)).await;
    let ids = dead_letters(&dl, 60).await;
    let operation = redrive(&dl, RedriveOptions { rate: 1_000.0, ..Default::default() }).await;
    let (found, [pending, done, skipped]) = settled(&dl, &operation).await;
    assert_eq!((found.state, skipped), (OperationState::Paused, 0));
    assert!(found.note.is_some());
    assert!(done <= 36 && pending == 60 - done, "{done} were redriven before it paused");
    healed.store(true, SeqCst);
    assert!(dl.desk().resume_operation(&operation, "bob", None).await.expect("resumed"));
    assert!(
        !dl.desk().resume_operation(&operation, "bob", None).await.expect("asked"),
        "it runs already"
    );
    let (found, [pending, _, _]) = settled(&dl, &operation).await;
    assert_eq!((found.state, pending), (OperationState::Done, 0));
    sound(store.as_ref(), &ids).await;
    assert_eq!(audited(store.as_ref()).await, 4, "begun, paused, resumed, done");
    let log = store.audit_log(None, 4).await.expect("read");
    let by = |body: &str| serde_json::from_str::<serde_json::Value>(body).unwrap()["by"].clone();
    let by: Vec<_> = log.iter().rev().map(|entry| by(&entry.body)).collect();
    assert_eq!(by, ["library", "library", "bob", "library"]);
}

#[tokio::test]
async fn an_operation_that_is_stopped_by_hand_goes_no_further() {
    let store = memory();
    let (provider, healed) = sick(Class::Unsolvable);
    let dl = engine(&store, account(provider)).await;
    let ids = dead_letters(&dl, 20).await;
    healed.store(true, SeqCst);
    let mut notices = dl.notices();
    let operation = redrive(&dl, RedriveOptions { rate: 0.001, ..Default::default() }).await;
    // The canary goes; the others would take hours.
    soon(async {
        while store.tally_items(&operation).await.expect("counted")[1] < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(
        dl.desk()
            .stop_operation(&operation, "bob", Some("the page is gone"))
            .await
            .expect("stopped")
    );
    let state = notice(&mut notices, |notice| match notice {
        Notice::Operation { id, state } if *id == operation => Some(*state),
        _ => None,
    })
    .await;
    assert_eq!(state, "stopped");
    assert!(
        !dl.desk()
            .stop_operation(&operation, "bob", Some("the page is gone"))
            .await
            .expect("asked"),
        "it is over"
    );
    let next = redrive(&dl, RedriveOptions::default()).await;
    assert_eq!(settled(&dl, &next).await.1, [0, 15, 0]);
    assert_eq!(store.tally_items(&operation).await.expect("counted"), [15, 5, 0]);
    all_solved(&dl, &ids).await;
    assert_eq!(audited(store.as_ref()).await, 4, "two begun, two ended");
}
