//! A store that fails: no task is lost, nothing is paid for that was not counted.

use crate::rig::{
    account, all_rest, all_solved, clock, engine, job, jobs, memory, soon, sound, submit, unsolved,
};
use deadletter::{
    core::{
        AttemptToken, Cause, Change, Class, DeadReason, RowChange, Task, TaskId, Terms, UpstreamId,
        Verdict,
    },
    provider::{
        PollError, Polled, Sent, SubmitError,
        scripted::{PollCall, ScriptedProvider, SubmitCall, answer, failed, id, line_failed},
    },
    store::{Call, Faulty, MemoryStore, Store, faulty::Fault},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

type Sent_ = Arc<Mutex<HashMap<String, u32>>>;

/// An upstream of moods: most of what it says is said by the number of the call.
fn moody(sent: &Sent_) -> Arc<ScriptedProvider> {
    let sent = Arc::clone(sent);
    let submit = move |call: SubmitCall| {
        let sitekey = call.payload.text("sitekey").expect("it has one").into_owned();
        // What never left is on no wire.
        if call.n % 11 != 5 {
            *sent.lock().unwrap().entry(sitekey).or_default() += 1;
        }
        async move {
            let said: Result<UpstreamId, SubmitError> = match call.n % 11 {
                3 => Err(line_failed(Sent::Maybe)),
                5 => Err(line_failed(Sent::No)),
                7 => Err(failed("ERROR_SERVER_ERROR", Class::Transient)),
                _ => Ok(id(call.n)),
            };
            said
        }
    };
    let poll = |call: PollCall| async move {
        let said: Result<Polled, PollError> = match call.n % 7 {
            0 | 2 => Ok(Polled::NotReady),
            3 => Err(line_failed(Sent::Maybe)),
            5 if call.n.is_multiple_of(3) => {
                Err(failed("ERROR_CAPTCHA_UNSOLVABLE", Class::Unsolvable))
            }
            _ => Ok(answer(&format!("for-{}", call.id))),
        };
        said
    };
    Arc::new(ScriptedProvider::default().on_submit(submit).on_poll(poll))
}

async fn at_rest(store: &dyn Store) {
    soon(async {
        loop {
            let totals = store.totals().await.expect("counted");
            if totals.queued + totals.submitting + totals.polling == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn survives(seed: u64) {
    let inner = Arc::new(MemoryStore::new(clock(500.0)));
    let faulty = Arc::new(Faulty::new(Arc::clone(&inner)));
    let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
    let sent = Sent_::default();
    let dl = engine(&store, account(moody(&sent))).await;
    let ids = submit(&dl, jobs(60)).await;
    faulty.at_random(seed, 100);
    at_rest(inner.as_ref()).await;
    assert!(faulty.met() > 20, "{} calls met a fault", faulty.met());
    faulty.heal();
    soon(dl.stop()).await.expect("it stops");
    let tasks = sound(inner.as_ref(), &ids).await;
    let sent = sent.lock().unwrap();
    for task in tasks {
        let sitekey = task.dimensions.sitekey.clone().expect("it has one");
        let wire = sent.get(&sitekey).copied().unwrap_or(0);
        let intents = task.counters.submits;
        assert!(wire <= intents, "{wire} on the wire of {intents} intents: {task:?}");
    }
}

#[tokio::test]
async fn a_store_that_fails_at_random_loses_nothing_first_seed() {
    survives(1).await;
}

#[tokio::test]
async fn a_store_that_fails_at_random_loses_nothing_second_seed() {
    survives(2).await;
}

#[tokio::test]
async fn a_store_that_fails_at_random_loses_nothing_third_seed() {
    survives(3).await;
}

struct Rig {
    faulty: Arc<Faulty<dyn Store>>,
    store: Arc<dyn Store>,
}

fn rig() -> Rig {
    let faulty = Arc::new(Faulty::new(memory()));
    let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
    Rig { faulty, store }
}

async fn submits_of(store: &dyn Store, ids: &[TaskId]) -> Vec<u32> {
    sound(store, ids).await.iter().map(|task| task.counters.submits).collect()
}

#[tokio::test]
async fn a_claim_in_doubt_is_found_again_and_gives_its_intents_back() {
    let Rig { faulty, store } = rig();
    let provider = Arc::new(ScriptedProvider::default());
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    // A task that is solved first lets the others be claimed together.
    let first = submit(&dl, vec![job("first")]).await;
    all_solved(&dl, &first).await;
    // A round claims retries first: they pass, so that the doubt meets the new tasks.
    let fates = [None, Some(Fault::DoubtWritten)];
    faulty.script(Call::Claim, fates.into_iter().cycle().take(8));
    let ids = submit(&dl, jobs(5)).await;
    all_solved(&dl, &ids).await;
    assert_eq!(submits_of(store.as_ref(), &ids).await, [1; 5]);
    let history = store.history(ids[0]).await.expect("read");
    let verdicts: Vec<_> = history.iter().filter_map(|attempt| attempt.verdict).collect();
    assert!(verdicts.contains(&Verdict::Withheld), "{verdicts:?}");
    assert_eq!(*provider.submits().borrow(), 6);
}

#[tokio::test]
async fn an_id_and_an_answer_are_kept_while_the_store_is_away() {
    let Rig { faulty, store } = rig();
    let provider = Arc::new(ScriptedProvider::default());
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let away = [Fault::Unavailable, Fault::DoubtLost, Fault::Full, Fault::DoubtWritten];
    faulty.script(Call::Commit, away.map(Some).into_iter().chain([None]).chain(away.map(Some)));
    let ids = submit(&dl, vec![job("a")]).await;
    all_solved(&dl, &ids).await;
    assert_eq!((*provider.submits().borrow(), *provider.polls().borrow()), (1, 1));
    assert_eq!(submits_of(store.as_ref(), &ids).await, [1]);
}

#[tokio::test]
async fn a_take_over_in_doubt_is_found_again() {
    let Rig { faulty, store } = rig();
    let never = ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) });
    let first = engine(&store, account(Arc::new(never))).await;
    let ids = submit(&first, jobs(5)).await;
    soon(async {
        while store.totals().await.expect("counted").polling < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let second = Arc::new(ScriptedProvider::default());
    let dl = engine(&store, account(Arc::clone(&second))).await;
    // One may meet a sweep that finds nothing yet; the other then meets what is left behind.
    faulty.script(Call::TakeOver, [Some(Fault::DoubtWritten); 2]);
    soon(first.stop()).await.expect("it stops");
    all_solved(&dl, &ids).await;
    assert_eq!(*second.submits().borrow(), 0, "what was taken over is asked for");
}

#[tokio::test]
async fn abandoned_ids_of_a_take_over_in_doubt_are_asked_for() {
    let Rig { faulty, store } = rig();
    let day_ms = 86_400_000;
    let terms = Terms { timeout_ms: day_ms, hold_ms: day_ms, ..Terms::default() };
    let never = ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) });
    let first = engine(&store, account(Arc::new(never.with_terms(terms)))).await;
    let impatient = jobs(5).into_iter().map(|job| job.deadline_ms(30_000)).collect();
    let ids = submit(&first, impatient).await;
    all_rest(&first, &ids).await;
    let second = Arc::new(ScriptedProvider::default().with_terms(terms));
    let dl = engine(&store, account(Arc::clone(&second))).await;
    faulty.script(Call::TakeOver, [Some(Fault::DoubtWritten); 2]);
    soon(first.stop()).await.expect("it stops");
    soon(async {
        while store.totals().await.expect("counted").solved < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    all_solved(&dl, &ids).await;
    assert_eq!(*second.submits().borrow(), 0, "they answer late, and nothing is paid again");
}

#[tokio::test]
async fn what_was_written_without_a_word_is_known_as_ones_own() {
    let Rig { faulty, store } = rig();
    let never = ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) });
    let patient = Terms { timeout_ms: i64::MAX, ..Terms::default() };
    let dl = engine(&store, account(Arc::new(never.with_terms(patient)))).await;
    let ids = submit(&dl, jobs(1)).await;
    soon(async {
        while store.totals().await.expect("counted").polling < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    faulty.script(Call::Commit, [Some(Fault::DoubtWritten)]);
    assert!(dl.desk().cancel(ids[0]).await.expect("written"), "it was this call that did it");
    assert!(!dl.desk().cancel(ids[0]).await.expect("asked"), "it is cancelled already");
}

#[tokio::test]
async fn a_task_whose_attempt_the_store_has_lost_dies_and_hinders_no_other() {
    let store = memory();
    let never = ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) });
    let patient = Terms { timeout_ms: i64::MAX, ..Terms::default() };
    let first = engine(&store, account(Arc::new(never.with_terms(patient)))).await;
    let ids = submit(&first, jobs(5)).await;
    soon(async {
        while store.totals().await.expect("counted").polling < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon(first.stop()).await.expect("it stops");
    let bad = store.get(&ids[..1]).await.expect("read").remove(0).expect("there");
    let lost = Task { attempt: Some(AttemptToken::from_random(2)), ..bad.clone() };
    let row = RowChange::to(&bad, lost, store.clock().now());
    let damage = Change { facts: Vec::new(), row: Some(Box::new(row)) };
    store.commit(vec![damage]).await.expect("written");
    let second = Arc::new(ScriptedProvider::default());
    let dl = engine(&store, account(Arc::clone(&second))).await;
    all_solved(&dl, &ids[1..]).await;
    let dead = unsolved(soon(dl.task(ids[0]).wait()).await.expect("the store works"));
    assert_eq!(dead.reason(), Some(DeadReason::InDoubt));
    assert_eq!(dead.cause, Some(Cause::new(Cause::ATTEMPT_MISSING)));
    assert_eq!(*second.submits().borrow(), 0, "it may be paid for: a person decides");
}

#[tokio::test]
async fn a_waiter_outlives_a_store_that_is_away() {
    let Rig { faulty, store } = rig();
    let dl = engine(&store, account(Arc::default())).await;
    let handle = dl.submit(job("a")).await.expect("stored");
    faulty.script(Call::Get, [Some(Fault::Unavailable); 3]);
    all_solved(&dl, &[handle.id]).await;
}
