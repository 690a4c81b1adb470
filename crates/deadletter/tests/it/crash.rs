//! What survives a worker: its tasks, its threads, its ids, its operations.

use crate::rig::{SPEED, account, engine, job, memory, notice, other, pass_time, soon};
use deadletter::{
    Deadletter, Notice, Outcome, RedriveOptions,
    core::{Cause, Filter, NewTask, Payload, StateKind, Task, TaskId, Terms, UnixMs, Verdict},
    provider::{
        Polled,
        scripted::{ScriptedProvider, answer, id},
    },
    store::Store,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{runtime::Runtime, sync::watch};

/// An engine in a runtime of its own, so that it can vanish in the middle of everything.
pub(crate) struct Victim {
    runtime: Option<Runtime>,
    pub(crate) engine: Arc<Deadletter>,
}

impl Victim {
    pub(crate) fn start(store: &Arc<dyn Store>, provider: &Arc<ScriptedProvider>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let engine = runtime.block_on(engine(store, account(Arc::clone(provider))));
        Self { runtime: Some(runtime), engine: Arc::new(engine) }
    }

    pub(crate) fn run<T: Send + 'static>(
        &self,
        act: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let runtime = self.runtime.as_ref().expect("alive");
        runtime.block_on(soon(act))
    }

    /// As `kill -9`: nothing runs any more, nothing is said.
    pub(crate) fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Declares every worker dead that has not beaten in the last real second.
pub(crate) async fn bury_workers(store: &Arc<dyn Store>) {
    soon(async {
        let silent_since = || store.clock().now().plus(-(SPEED as i64) * 1_000);
        while store.declare_dead(silent_since()).await.expect("the store works").is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn never_ready() -> Arc<ScriptedProvider> {
    Arc::new(ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) }))
}

fn patient(provider: ScriptedProvider) -> Arc<ScriptedProvider> {
    let day_ms = 86_400_000;
    let terms = Terms { timeout_ms: day_ms, hold_ms: day_ms, ..Terms::default() };
    Arc::new(provider.with_terms(terms))
}

pub(crate) fn block_on<T>(act: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(act)
}

#[test]
fn recovered_ids_are_asked_before_anything_new_is_submitted_and_never_paid_again() {
    let store = memory();
    let first = patient(ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) }));
    let victim = Victim::start(&store, &first);
    let (engine_a, mut submits) = (Arc::clone(&victim.engine), first.submits());
    let ids = victim.run(async move {
        let jobs = (0..5).map(|n| job(&format!("old-{n}"))).collect();
        let submitted = engine_a.submit_all(jobs).await.expect("stored");
        submits.wait_for(|n| *n == 5).await.expect("counted");
        submitted
    });
    // All five must be durable with their ids before the blow, or they are merely in doubt.
    block_on(soon(async {
        while store.totals().await.expect("counted").polling < 5 {
            tokio::task::yield_now().await;
        }
    }));
    victim.kill();
    block_on(async {
        bury_workers(&store).await;
        let (submitted, looked_at) = (watch::Sender::new(0_u32), Arc::new(AtomicU32::new(0)));
        let (too_early, counted) = (submitted.subscribe(), Arc::clone(&looked_at));
        let second = Arc::new(
            ScriptedProvider::default()
                .on_submit(move |call| {
                    submitted.send_modify(|n| *n += 1);
                    let looked_at = looked_at.load(SeqCst);
                    async move {
                        assert_eq!(looked_at, 5, "something new before all the ids");
                        Ok(id(call.n + 1_000))
                    }
                })
                .on_poll(move |call| {
                    let (mut too_early, counted) = (too_early.clone(), Arc::clone(&counted));
                    async move {
                        // Nobody submits in the meantime: this waits in vain.
                        let submit = too_early.wait_for(|n| *n > 0);
                        tokio::time::timeout(Duration::from_millis(300), submit).await.ok();
                        counted.fetch_add(1, SeqCst);
                        Ok(answer(&format!("for-{}", call.id)))
                    }
                }),
        );
        let asked = second.polls();
        let dl = engine(&store, account(Arc::clone(&second))).await;
        let new = dl.submit(job("new")).await.expect("stored");
        for one in &ids {
            let outcome = soon(dl.task(one.id).wait()).await.expect("the store works");
            assert!(matches!(outcome, Outcome::Solved(_)), "{outcome:?}");
        }
        assert!(*asked.borrow() >= 5);
        soon(new.wait()).await.expect("the store works");
        assert_eq!(*second.submits().borrow(), 1, "only the new job is submitted");
    });
}

#[test]
fn threads_that_a_dead_worker_holds_still_count() {
    let store = memory();
    let first = patient(ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) }));
    let victim = Victim::start(&store, &first);
    let (engine_a, mut submits) = (Arc::clone(&victim.engine), first.submits());
    victim.run(async move {
        let jobs = (0..15).map(|n| job(&format!("old-{n}"))).collect();
        engine_a.submit_all(jobs).await.expect("stored");
        submits.wait_for(|n| *n == 10).await.expect("counted");
    });
    block_on(soon(async {
        while store.totals().await.expect("counted").polling < 10 {
            tokio::task::yield_now().await;
        }
    }));
    victim.kill();
    block_on(async {
        bury_workers(&store).await;
        let second =
            patient(ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) }));
        let mut polls = second.polls();
        let dl = engine(&store, account(Arc::clone(&second))).await;
        // Every recovered id has been asked several times; still no thread is free.
        soon(polls.wait_for(|n| *n >= 100)).await.expect("counted");
        assert_eq!(*second.submits().borrow(), 0);
        assert_eq!(dl.status().polling, 10);
    });
}

#[test]
fn a_submit_under_way_when_its_worker_dies_is_in_doubt_and_spends_its_intent() {
    let store = memory();
    let hangs = Arc::new(ScriptedProvider::default().on_submit(|_| std::future::pending()));
    let victim = Victim::start(&store, &hangs);
    let (engine_a, mut submits) = (Arc::clone(&victim.engine), hangs.submits());
    let task = victim.run(async move {
        let handle = engine_a.submit(job("a")).await.expect("stored");
        submits.wait_for(|n| *n == 1).await.expect("counted");
        handle.id
    });
    victim.kill();
    block_on(async {
        bury_workers(&store).await;
        let dl = engine(&store, account(Arc::new(ScriptedProvider::default()))).await;
        let outcome = soon(dl.task(task).wait()).await.expect("the store works");
        assert!(matches!(outcome, Outcome::Solved(_)), "{outcome:?}");
        let file = dl.desk().open(task).await.expect("kept");
        assert_eq!((file.task.counters.submits, file.task.counters.deaths), (2, 1));
        assert_eq!(file.attempts[0].verdict, Some(Verdict::InDoubt));
        assert_eq!(file.attempts[0].cause, Some(Cause::new(Cause::WORKER_DIED)));
    });
}

#[tokio::test]
async fn a_stopped_engine_leaves_its_ids_to_the_next_one_at_once() {
    let store = memory();
    let first = never_ready();
    let dl = engine(&store, account(Arc::clone(&first))).await;
    let handle = dl.submit(job("a")).await.expect("stored");
    soon(async {
        while store.totals().await.expect("counted").polling < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon(dl.stop()).await.expect("it stops");
    assert!(dl.submit(job("b")).await.is_err(), "intake has ended");
    let second = Arc::new(ScriptedProvider::default());
    let next = engine(&store, account(Arc::clone(&second))).await;
    let outcome = soon(next.task(handle.id).wait()).await.expect("the store works");
    assert!(matches!(outcome, Outcome::Solved(_)), "{outcome:?}");
    assert_eq!(*second.submits().borrow(), 0);
}

#[tokio::test]
async fn a_worker_that_was_declared_dead_begins_anew_and_loses_nothing() {
    let store = memory();
    let provider = patient(ScriptedProvider::default().on_poll(|call| async move {
        if call.n < 60 { Ok(Polled::NotReady) } else { Ok(answer("there")) }
    }));
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let handle = dl.submit(job("a")).await.expect("stored");
    let dead = store.declare_dead(UnixMs(i64::MAX)).await.expect("the store works");
    assert_eq!(dead.len(), 1);
    let outcome = soon(handle.wait()).await.expect("the store works");
    assert!(matches!(outcome, Outcome::Solved(_)), "{outcome:?}");
    assert_eq!(*provider.submits().borrow(), 1);
    assert_eq!(store.workers(10).await.expect("listed").len(), 2);
}

#[tokio::test]
async fn a_redrive_asks_for_the_paid_id_before_it_pays_again() {
    let store = memory();
    let day_ms = 86_400_000;
    let terms = Terms { fresh_ms: None, timeout_ms: day_ms, hold_ms: day_ms, ..Terms::default() };
    let ready = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_ready = Arc::clone(&ready);
    let provider = Arc::new(
        ScriptedProvider::default()
            .on_poll(move |call| {
                let is_ready = is_ready.load(std::sync::atomic::Ordering::SeqCst);
                async move {
                    if is_ready {
                        Ok(answer(&format!("a{}", call.id)))
                    } else {
                        Ok(Polled::NotReady)
                    }
                }
            })
            .with_terms(terms),
    );
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let mut notices = dl.notices();
    let handle = dl.submit(job("a").deadline_ms(60_000)).await.expect("stored");
    notice(&mut notices, |n| match n {
        Notice::Event(event) if event.state == StateKind::Dead => Some(()),
        _ => None,
    })
    .await;
    let submits = *provider.submits().borrow();
    dl.desk().redrive(&Filter::default(), RedriveOptions::default()).await.expect("begun");
    notice(&mut notices, |n| matches!(n, Notice::Operation { .. }).then_some(())).await;
    ready.store(true, std::sync::atomic::Ordering::SeqCst);
    let outcome = soon(handle.wait()).await.expect("the store works");
    assert!(matches!(outcome, Outcome::Solved(_)), "{outcome:?}");
    assert_eq!(*provider.submits().borrow(), submits, "the id was paid for already");
}

#[tokio::test]
async fn a_task_that_was_there_when_two_workers_died_is_submitted_alone() {
    let store = memory();
    let release = watch::Sender::new(false);
    let (held, together) = (release.subscribe(), Arc::new(AtomicU32::new(0)));
    let most = Arc::clone(&together);
    let provider = ScriptedProvider::default().on_submit(move |call| {
        let (mut held, most) = (held.clone(), Arc::clone(&most));
        async move {
            if call.payload.text("sitekey").as_deref() == Some("suspect") {
                held.wait_for(|go| *go).await.expect("the test is there");
            } else if !*held.borrow() {
                most.fetch_add(1, SeqCst);
            }
            Ok(id(call.n))
        }
    });
    let provider = Arc::new(provider);
    let mut submits = provider.submits();
    let timer = other(Arc::new(ScriptedProvider::default()));
    let config = account(provider);
    let (name, policy) = (config.name.clone(), config.policy.clone());
    let builder = Deadletter::builder().store(Arc::clone(&store)).account(config);
    let dl = builder.account(timer).start().await.expect("the engine starts");
    // Upstream has taken the key: it is not for that reason that the others will wait.
    soon(dl.solve(job("first"))).await.expect("the store works");
    together.store(0, SeqCst);
    let suspect = TaskId::try_from(1_u64).expect("small");
    let mut task = Task::queued(suspect, name, &policy, store.clock().now());
    task.counters.deaths = 2;
    let payload = Payload::new([("sitekey".to_owned(), "suspect".into())].into_iter().collect());
    let new = NewTask::new(task, payload).expect("small");
    store.insert(vec![new]).await.expect("stored");
    soon(submits.wait_for(|n| *n == 2)).await.expect("counted");
    let others = dl.submit_all((0..3).map(|n| job(&format!("key-{n}"))).collect()).await;
    pass_time(&dl, 2).await;
    assert_eq!(together.load(SeqCst), 0, "the others wait until it is known what comes of it");
    release.send_replace(true);
    for one in others.expect("stored") {
        soon(dl.task(one.id).wait()).await.expect("the store works");
    }
    soon(dl.task(suspect).wait()).await.expect("the store works");
}
