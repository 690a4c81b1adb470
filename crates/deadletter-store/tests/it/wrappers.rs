//! What the wrappers add to a store: faults that do what they say, and traces without secrets.

use crate::harness::{CANARY, Harness, answered, run};
use deadletter_core::TaskId;
use deadletter_store::{
    Call, Clock, Desk, Error, Faulty, Inserted, ManualClock, MemoryStore, Registry, Store, Tasks,
    Traced,
    faulty::{Fault, Moment},
};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// A case over a memory store that fails on request.
async fn over_faulty(case: impl AsyncFn(&mut Harness, &Faulty<dyn Store>)) {
    run(crate::backends::memory(), async |h: &mut Harness| {
        let faulty = Faulty::new(h.store.clone());
        case(h, &faulty).await;
    })
    .await;
}

#[tokio::test]
async fn each_fault_writes_what_it_says_and_answers_what_it_says() {
    over_faulty(async |h, faulty| {
        for (fault, is_written, is_retryable) in [
            (Fault::Unavailable, false, true),
            (Fault::Full, false, true),
            (Fault::Damaged, false, false),
            (Fault::DoubtLost, false, false),
            (Fault::DoubtWritten, true, false),
        ] {
            faulty.script(Call::Insert, [Some(fault)]);
            let new = h.new_task();
            let id = new.task.id;
            let error = faulty.insert(vec![new]).await.unwrap_err();
            assert_eq!(error.is_retryable(), is_retryable, "{fault:?}");
            let is_doubt = matches!(fault, Fault::DoubtLost | Fault::DoubtWritten);
            assert_eq!(matches!(error, Error::InDoubt { .. }), is_doubt, "{fault:?}");
            assert_eq!(h.find(id).await.is_some(), is_written, "{fault:?}");
        }
        assert_eq!(faulty.met(), 5);
    })
    .await;
}

#[tokio::test]
async fn a_call_that_only_reads_is_never_in_doubt() {
    over_faulty(async |h, faulty| {
        let task = h.insert(|_| ()).await;
        faulty.script(Call::Get, [Some(Fault::DoubtLost), Some(Fault::DoubtWritten)]);
        for _ in 0..2 {
            let error = faulty.get(&[task.id]).await.unwrap_err();
            assert!(matches!(error, Error::Unavailable { .. }));
        }
        assert_eq!(faulty.get(&[task.id]).await.unwrap(), [Some(task)]);
    })
    .await;
}

#[tokio::test]
async fn a_script_is_followed_in_order_for_its_own_call_until_healed() {
    over_faulty(async |h, faulty| {
        let id = h.insert(|_| ()).await.id;
        faulty.script(Call::Get, [None, Some(Fault::Unavailable)]);
        faulty.script(Call::Get, [Some(Fault::Unavailable); 5]);
        assert!(faulty.get(&[id]).await.is_ok());
        assert!(faulty.payload(id).await.is_ok());
        assert!(faulty.get(&[id]).await.is_err());
        faulty.heal();
        assert!(faulty.get(&[id]).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn the_stores_own_error_is_not_hidden_by_a_doubt() {
    over_faulty(async |h, faulty| {
        let unknown = deadletter_core::WorkerId::new("unknown").unwrap();
        faulty.script(Call::Claim, [Some(Fault::DoubtWritten)]);
        let error = faulty.claim(h.claim_of(&unknown, 1)).await.unwrap_err();
        assert!(matches!(error, Error::DeclaredDead(_)), "nothing was written");
    })
    .await;
}

/// Which of 1,000 reads fail.
async fn pattern(faulty: &Faulty<dyn Store>, seed: u64) -> Vec<bool> {
    faulty.at_random(seed, 100);
    let mut pattern = Vec::new();
    for _ in 0..1_000 {
        pattern.push(a_read_fails(faulty).await);
    }
    pattern
}

async fn a_read_fails(faulty: &Faulty<dyn Store>) -> bool {
    faulty.totals().await.is_err()
}

#[tokio::test]
async fn a_seed_determines_which_calls_fail() {
    over_faulty(async |_, faulty| {
        let one = pattern(faulty, 1).await;
        let failed = one.iter().filter(|failed| **failed).count();
        assert!((50..150).contains(&failed), "{failed} of 1,000 at 100 per mille");
        assert_eq!(pattern(faulty, 1).await, one);
        assert_ne!(pattern(faulty, 2).await, one);
        faulty.at_random(3, 1_000);
        assert!(a_read_fails(faulty).await);
        faulty.heal();
        assert!(!a_read_fails(faulty).await);
    })
    .await;
}

#[tokio::test]
async fn random_faults_of_a_write_are_of_every_kind() {
    over_faulty(async |h, faulty| {
        faulty.at_random(7, 1_000);
        let (mut retryable, mut lost, mut written) = (0, 0, 0);
        for _ in 0..100 {
            let new = h.new_task();
            let id = new.task.id;
            let error = faulty.insert(vec![new]).await.unwrap_err();
            let is_written = h.find(id).await.is_some();
            retryable += usize::from(error.is_retryable());
            lost += usize::from(!error.is_retryable() && !is_written);
            written += usize::from(!error.is_retryable() && is_written);
        }
        assert!(retryable > 20 && lost > 10 && written > 10, "{retryable} {lost} {written}");
    })
    .await;
}

#[tokio::test]
async fn a_hook_holds_a_call_back_before_and_after_it() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(deadletter_core::UnixMs(1)));
    let memory = Arc::new(MemoryStore::new(clock));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let go = Arc::new(Notify::new());
    let hook = {
        let go = go.clone();
        Arc::new(move |call, moment| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
            tell.send((call, moment)).unwrap();
            let go = go.clone();
            Box::pin(async move { go.notified().await })
        })
    };
    let faulty = Faulty::new(memory.clone()).with_hook(hook);
    let key = "breaker/main";
    let put = tokio::spawn(async move { faulty.put_document(key, 0, "{}").await });
    let document = async || memory.document(key).await.unwrap();

    assert_eq!(told.recv().await, Some((Call::PutDocument, Moment::Before)));
    assert!(document().await.is_none(), "held back before the write");
    go.notify_one();
    assert_eq!(told.recv().await, Some((Call::PutDocument, Moment::After)));
    assert!(document().await.is_some(), "written, and the answer held back");
    assert!(!put.is_finished());
    go.notify_one();
    assert_eq!(put.await.unwrap().unwrap(), Some(1));
    assert_eq!(told.recv().await, None);
}

#[tokio::test]
async fn an_insert_in_doubt_can_be_repeated_under_its_key() {
    over_faulty(async |h, faulty| {
        for fault in [Fault::DoubtLost, Fault::DoubtWritten] {
            let new = h.new_task_with(|task| task.idempotency_key = Some(format!("{fault:?}")));
            let id = new.task.id;
            faulty.script(Call::Insert, [Some(fault)]);
            assert!(faulty.insert(vec![new.clone()]).await.is_err());
            let again = faulty.insert(vec![new]).await.unwrap();
            let wanted =
                if fault == Fault::DoubtLost { Inserted::New(id) } else { Inserted::Existing(id) };
            assert_eq!(again, [wanted]);
        }
        assert_eq!(h.store.totals().await.unwrap().accepted, 2);
    })
    .await;
}

/// Takes what is traced as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_trace_tells_of_calls_and_errors_and_of_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // Where one subscriber lives alone, a place in the code that another test's thread passes first
    // asks that thread's, which is none, and is silent for good. Of two, all are asked.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    let guard = tracing::subscriber::set_default(subscriber);
    run(crate::backends::memory(), async |h: &mut Harness| {
        h.store = Arc::new(Traced::new(h.store.clone()));
        let worker = h.worker("w").await;
        let (task, attempt) = h.polling(&worker, |_| ()).await;
        h.happens(task.id, Some(&attempt), answered(&attempt, CANARY)).await;
        assert_eq!(h.store.answer(task.id).await.unwrap().unwrap().expose(), CANARY);
        h.store.payload(task.id).await.unwrap().unwrap();
        let unknown = TaskId::try_from(1_u64).unwrap();
        h.store.get(&[unknown, task.id, unknown]).await.unwrap();
        h.store.leave(&worker).await.unwrap();
        h.store.beat(&worker).await.unwrap_err();
    })
    .await;
    drop(guard);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains(CANARY), "{text}");
    for wanted in [
        r#"DEBUG store{call="insert" asked=1}: deadletter_store::traced: answered answered=1"#,
        r#"store{call="get" asked=3}: deadletter_store::traced: answered answered=3"#,
        r#"WARN store{call="beat" asked=1}: deadletter_store::traced: failed error=worker w was"#,
        "took_us=",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in:\n{text}");
    }
}
