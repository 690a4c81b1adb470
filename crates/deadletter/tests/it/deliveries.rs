//! Deliveries: each end is told to whoever asked for it, at least once and under one id.

use crate::{
    operations::{redrive, settled, sick},
    receiver::{Answer, Receiver},
    rig::{account, all_solved, job, memory, soon, unsolved},
};
use deadletter::{
    Deadletter, Error, Form, Job, RedriveOptions,
    core::{Class, Delivery, DeliveryState, TaskId, Terms, UnixMs},
    outbound::Guard,
    provider::scripted::ScriptedProvider,
    store::{Call, Faulty, ManualClock, MemoryStore, Store, faulty::Moment},
};
use std::sync::{Arc, atomic::Ordering::SeqCst};
use tokio::runtime::Runtime;

/// An engine that may post to this machine.
async fn engine(store: &Arc<dyn Store>, provider: &Arc<ScriptedProvider>) -> Deadletter {
    guarded(store, provider, "127.0.0.0/8").await
}

async fn guarded(
    store: &Arc<dyn Store>,
    provider: &Arc<ScriptedProvider>,
    allowed: &str,
) -> Deadletter {
    let guard: Guard = allowed.parse().expect("networks");
    let builder = Deadletter::builder().store(Arc::clone(store)).guard(guard);
    let builder = builder.account(account(Arc::clone(provider)));
    builder.start().await.expect("the engine starts")
}

fn solving() -> Arc<ScriptedProvider> {
    Arc::new(ScriptedProvider::default())
}

fn told(receiver: &Receiver) -> Job {
    job("key").told_to(&receiver.url("/done?secret=hunter2"), Form::Pingback)
}

/// The task's newest delivery, once it is over or has said something.
async fn until(
    store: &Arc<dyn Store>,
    task: TaskId,
    is_it: impl Fn(&Delivery) -> bool,
) -> Delivery {
    soon(async {
        loop {
            let newest = store.deliveries(task, 1).await.expect("read").pop();
            if let Some(newest) = newest.filter(|delivery| is_it(delivery)) {
                return newest;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn over(store: &Arc<dyn Store>, task: TaskId) -> Delivery {
    until(store, task, |delivery| delivery.state != DeliveryState::Waiting).await
}

#[tokio::test]
async fn an_answer_is_told_once_under_our_id() {
    let (store, receiver) = (memory(), Receiver::start(Answer::Status(204)).await);
    let dl = engine(&store, &solving()).await;
    let handle = dl.submit(told(&receiver)).await.expect("stored");
    let post = receiver.first(1).await.remove(0);
    assert_eq!(post.target, "/done?secret=hunter2");
    assert_eq!(post.content_type, "application/x-www-form-urlencoded");
    let id = handle.id.to_string();
    let form: Vec<_> = post.form().into_iter().collect();
    assert_eq!(form, [("code".into(), "answer-1".into()), ("id".into(), id)]);
    let delivery = over(&store, handle.id).await;
    assert_eq!((delivery.state, delivery.tries), (DeliveryState::Delivered, 1));
    assert_eq!(delivery.said.as_deref(), Some("answered with 204"));
    assert_eq!((post.id, &delivery.place), (delivery.id(), &receiver.place()));
    dl.stop().await.expect("stopped");
    assert_eq!((dl.tries().delivered, receiver.posts().len()), (1, 1));
}

#[tokio::test]
async fn what_a_receiver_took_counts_as_told_and_what_it_did_not_take_does_not() {
    for (answer, is_told) in [(Answer::Status(200), true), (Answer::Status(410), false)] {
        let (store, receiver) = (memory(), Receiver::start(answer).await);
        let dl = engine(&store, &solving()).await;
        let id = dl.submit(told(&receiver)).await.expect("stored").id;
        over(&store, id).await;
        dl.stop().await.expect("stopped");
        let row = store.get(&[id]).await.expect("read").pop().flatten().expect("it stands");
        assert_eq!(row.verdict_read_at.is_some(), is_told, "{row:?}");
    }
}

#[tokio::test]
async fn a_callback_is_the_familys_json_with_the_tasks_id() {
    let (store, receiver) = (memory(), Receiver::start(Answer::Status(200)).await);
    let dl = engine(&store, &solving()).await;
    let job = job("key").told_to(&receiver.url("/"), Form::Callback);
    let id = dl.submit(job).await.expect("stored").id;
    let post = receiver.first(1).await.remove(0);
    assert_eq!(post.content_type, "application/json");
    let body: serde_json::Value = serde_json::from_str(&post.body).expect("JSON");
    assert_eq!((&body["errorId"], &body["taskId"]), (&0.into(), &id.get().into()));
    assert_eq!((&body["status"], &body["solveCount"]), (&"ready".into(), &1.into()));
    assert_eq!(body["solution"]["gRecaptchaResponse"], "answer-1");
}

#[tokio::test]
async fn a_death_is_told_in_upstreams_words_and_the_answer_after_it_anew() {
    let (store, receiver) = (memory(), Receiver::start(Answer::Status(200)).await);
    let (provider, healed) = sick(Class::Unsolvable);
    let dl = engine(&store, &provider).await;
    let handle = dl.submit(told(&receiver)).await.expect("stored");
    unsolved(soon(handle.wait()).await.expect("the store works"));
    let death = receiver.first(1).await.remove(0);
    assert!(death.form()["code"].starts_with("ERROR_"), "{death:?}");
    over(&store, handle.id).await;
    healed.store(true, SeqCst);
    let operation = redrive(&dl, RedriveOptions::default()).await;
    settled(&dl, &operation).await;
    all_solved(&dl, &[handle.id]).await;
    let answer = receiver.first(2).await.remove(1);
    assert_eq!(answer.form()["id"], death.form()["id"]);
    assert!(answer.form()["code"].starts_with("for-"), "{answer:?}");
    assert_ne!(answer.id, death.id);
}

#[tokio::test]
async fn what_a_receiver_did_not_take_comes_again_under_the_same_id() {
    let (store, receiver) = (memory(), Receiver::start(Answer::Status(500)).await);
    let dl = engine(&store, &solving()).await;
    let id = dl.submit(told(&receiver)).await.expect("stored").id;
    let waiting = until(&store, id, |delivery| delivery.said.is_some()).await;
    assert_eq!(waiting.said.as_deref(), Some("answered with 500"));
    receiver.first(3).await;
    receiver.answers(Answer::Status(200));
    let delivery = over(&store, id).await;
    assert_eq!(delivery.state, DeliveryState::Delivered);
    let posts = receiver.posts();
    assert_eq!(posts.len(), delivery.tries as usize);
    assert!(posts.iter().all(|post| post.id == delivery.id() && post.body == posts[0].body));
    assert!(dl.tries().answered >= 3);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::start(Answer::Status(200)).await;
    let receiver = Receiver::start(Answer::Redirect(elsewhere.url("/"))).await;
    let store = memory();
    let dl = engine(&store, &solving()).await;
    let id = dl.submit(told(&receiver)).await.expect("stored").id;
    receiver.first(2).await;
    receiver.answers(Answer::Status(200));
    assert_eq!(over(&store, id).await.state, DeliveryState::Delivered);
    assert!(elsewhere.posts().is_empty(), "the redirect was followed");
}

#[tokio::test]
async fn who_is_gone_is_told_no_more() {
    let (store, receiver) = (memory(), Receiver::start(Answer::Status(410)).await);
    let dl = engine(&store, &solving()).await;
    let id = dl.submit(told(&receiver)).await.expect("stored").id;
    let delivery = over(&store, id).await;
    assert_eq!((delivery.state, delivery.tries), (DeliveryState::GivenUp, 1));
}

/// How many of these tasks are being told for the first time. Nothing else runs while this reads: a
/// store in memory does not wait, and the test has one thread.
async fn under_way(store: &Arc<dyn Store>, ids: &[TaskId]) -> usize {
    let mut under_way = 0;
    for id in ids {
        let newest = store.deliveries(*id, 1).await.expect("read").pop();
        under_way += usize::from(newest.is_some_and(|it| it.tries > 0 && it.said.is_none()));
    }
    under_way
}

async fn submitted(dl: &Deadletter, n: usize, receiver: &Receiver) -> Vec<TaskId> {
    let jobs = (0..n).map(|_| told(receiver)).collect();
    dl.submit_all(jobs).await.expect("stored").iter().map(|handle| handle.id).collect()
}

#[tokio::test]
async fn a_receiver_that_hangs_does_not_stop_the_others() {
    let hanging = Receiver::start(Answer::Hang).await;
    let receiver = Receiver::start(Answer::Status(200)).await;
    let store = memory();
    let dl = engine(&store, &solving()).await;
    // More than are under way at a time.
    let waiting = submitted(&dl, 40, &hanging).await;
    hanging.first(1).await;
    let ids = submitted(&dl, 40, &receiver).await;
    receiver.first(40).await;
    assert!(under_way(&store, &waiting).await <= 1, "it has never taken one");
    for id in ids {
        assert_eq!(over(&store, id).await.state, DeliveryState::Delivered);
    }
}

#[tokio::test]
async fn twenty_receivers_that_hang_do_not_stop_one_that_works() {
    let receiver = Receiver::start(Answer::Status(200)).await;
    let store = memory();
    let dl = engine(&store, &solving()).await;
    let known = submitted(&dl, 1, &receiver).await;
    over(&store, known[0]).await;
    let (mut hanging, mut waiting) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let one = Receiver::start(Answer::Hang).await;
        waiting.extend(submitted(&dl, 10, &one).await);
        hanging.push(one);
    }
    soon(async {
        while under_way(&store, &waiting).await < 8 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let ids = submitted(&dl, 40, &receiver).await;
    receiver.first(41).await;
    assert!(under_way(&store, &waiting).await <= 8, "half is for those that work");
    for id in ids {
        assert_eq!(over(&store, id).await.state, DeliveryState::Delivered);
    }
}

#[tokio::test]
async fn what_waits_when_an_engine_stops_is_told_by_the_next_at_once() {
    let (store, receiver) = (memory(), Receiver::start(Answer::Hang).await);
    let first = engine(&store, &solving()).await;
    let id = first.submit(told(&receiver)).await.expect("stored").id;
    let before = receiver.first(1).await.remove(0);
    first.stop().await.expect("stopped");
    let waiting = store.deliveries(id, 1).await.expect("read").remove(0);
    assert_eq!((waiting.state, waiting.tries), (DeliveryState::Waiting, 1));
    assert!(waiting.due_at <= Some(store.clock().now()), "its lease was kept");
    receiver.answers(Answer::Status(200));
    let _second = engine(&store, &solving()).await;
    let delivery = over(&store, id).await;
    assert_eq!((delivery.state, delivery.tries), (DeliveryState::Delivered, 2));
    assert_eq!(receiver.first(2).await[1].id, before.id);
}

/// Moves a clock fast, as long as it is not dropped.
struct Ticking(tokio::task::JoinHandle<()>);

impl Ticking {
    fn start(clock: &Arc<ManualClock>) -> Self {
        let clock = Arc::clone(clock);
        Self(tokio::spawn(async move {
            loop {
                // tidy: allow sleep, because it moves the store's clock along with the machine's.
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                clock.advance(100);
            }
        }))
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[test]
fn what_was_taken_and_not_written_down_is_told_once_more_under_the_same_id() {
    let clock = Arc::new(ManualClock::at(UnixMs(1_800_000_000_000)));
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
    // The process dies between the receiver's answer and its record.
    let faulty = Faulty::new(Arc::clone(&memory)).with_hook(Arc::new(|call, moment| {
        Box::pin(async move {
            if (call, moment) == (Call::SettleDeliveries, Moment::Before) {
                std::future::pending::<()>().await;
            }
        })
    }));
    let runtime = Runtime::new().expect("a runtime");
    let receiver = runtime.block_on(Receiver::start(Answer::Status(200)));
    let victim = Runtime::new().expect("a runtime");
    let id = victim.block_on(async {
        let faulty: Arc<dyn Store> = Arc::new(faulty);
        // Its answer is asked for at once: this clock makes nobody wait less.
        let terms = Terms { first_poll_ms: 1, ..Terms::default() };
        let provider = Arc::new(ScriptedProvider::default().with_terms(terms));
        let dl = Box::leak(Box::new(engine(&faulty, &provider).await));
        let ticking = Ticking::start(&clock);
        let id = dl.submit(told(&receiver)).await.expect("stored").id;
        receiver.first(1).await;
        drop(ticking);
        id
    });
    victim.shutdown_background();
    runtime.block_on(async {
        let second = engine(&memory, &solving()).await;
        let taken = memory.deliveries(id, 1).await.expect("read").remove(0);
        assert_eq!((taken.state, taken.tries), (DeliveryState::Waiting, 1));
        assert_eq!(receiver.posts().len(), 1, "its lease is not over");
        clock.advance(20_000);
        let delivery = over(&memory, id).await;
        assert_eq!((delivery.state, delivery.tries), (DeliveryState::Delivered, 2));
        let posts = receiver.first(2).await;
        assert_eq!((&posts[0].id, &posts[0].body), (&posts[1].id, &posts[1].body));
        second.stop().await.expect("stopped");
        assert_eq!(receiver.posts().len(), 2);
    });
}

/// A job that is submitted where it is allowed, to be done by somebody else.
async fn submitted_elsewhere(store: &Arc<dyn Store>, receiver: &Receiver) -> TaskId {
    let guard: Guard = "127.0.0.1".parse().expect("an address");
    let lax = Deadletter::builder().store(Arc::clone(store)).guard(guard);
    let lax = lax.account(account(solving())).desk_only().await.expect("a desk");
    lax.submit(told(receiver)).await.expect("stored").id
}

#[tokio::test]
async fn a_place_that_is_not_allowed_is_refused_at_the_submit_and_at_each_try() {
    let (store, receiver) = (memory(), Receiver::start(Answer::Status(200)).await);
    let strict = guarded(&store, &solving(), "").await;
    for url in [receiver.url("/"), "http://169.254.169.254/x".into(), "nonsense".into()] {
        let refused = strict.submit(job("key").told_to(&url, Form::Pingback)).await;
        assert!(matches!(refused, Err(Error::Target(_))), "{url}");
    }
    assert_eq!(store.totals().await.expect("counted").accepted, 0);
    strict.stop().await.expect("stopped");
    let id = submitted_elsewhere(&store, &receiver).await;
    let strict = guarded(&store, &solving(), "").await;
    let waiting = until(&store, id, |delivery| delivery.said.is_some()).await;
    let said = waiting.said.expect("said");
    assert!(said.starts_with("not sent: 127.0.0.1"), "{said}");
    assert_eq!(waiting.state, DeliveryState::Waiting);
    assert!(receiver.posts().is_empty() && strict.tries().refused > 0);
}

#[tokio::test]
async fn an_end_that_was_overtaken_is_not_told_any_more() {
    let (store, receiver) = (memory(), Receiver::start(Answer::Status(200)).await);
    let (provider, healed) = sick(Class::Unsolvable);
    let id = submitted_elsewhere(&store, &receiver).await;
    // Nothing is told as long as this one works.
    let strict = guarded(&store, &provider, "").await;
    unsolved(soon(strict.task(id).wait()).await.expect("the store works"));
    healed.store(true, SeqCst);
    let operation = redrive(&strict, RedriveOptions::default()).await;
    settled(&strict, &operation).await;
    all_solved(&strict, &[id]).await;
    strict.stop().await.expect("stopped");
    let lax = engine(&store, &provider).await;
    assert_eq!(over(&store, id).await.state, DeliveryState::Delivered);
    let death = soon(async {
        loop {
            let death = store.deliveries(id, 2).await.expect("read").pop().expect("two ends");
            if death.state != DeliveryState::Waiting {
                return death;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(death.state, DeliveryState::GivenUp);
    assert!(death.said.is_some_and(|said| said.contains("newer end")));
    lax.stop().await.expect("stopped");
    assert_eq!(receiver.posts().len(), 1);
}

#[tokio::test]
async fn who_asked_for_nothing_is_told_nothing() {
    let (store, receiver) = (memory(), Receiver::start(Answer::Status(200)).await);
    let dl = engine(&store, &solving()).await;
    let untold = job("key").param("pingback", receiver.url("/"));
    let ids = [dl.submit(untold).await.expect("stored").id];
    all_solved(&dl, &ids).await;
    // As many others as it takes to be behind it.
    let told = dl.submit(told(&receiver)).await.expect("stored").id;
    over(&store, told).await;
    assert_eq!(receiver.posts().len(), 1);
}
