//! What an engine with nothing to do asks of its store: little, whatever the reason.

use crate::rig::{account, clock, engine, job, moved, notice, soon, submit};
use deadletter::{
    AccountConfig, Deadletter, Notice,
    core::{
        Class, Terms,
        breaker::{BreakerRules, Phase},
    },
    provider::{
        Polled, Sent,
        scripted::{ScriptedProvider, failed, line_failed},
    },
    store::{Call, Faulty, MemoryStore, Store, faulty::Moment},
};
use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::watch;

/// Store time passes this much faster.
const SPEED: f64 = 50.0;

struct Counted {
    store: Arc<dyn Store>,
    /// Calls that a tick of the watcher does not explain, and ticks.
    calls: watch::Receiver<(u64, u64)>,
}

fn counted() -> Counted {
    let (sender, calls) = watch::channel((0, 0));
    let hook = move |call: Call, moment: Moment| {
        if moment == Moment::Before {
            sender.send_modify(|(calls, ticks)| match call {
                Call::Pulse => *ticks += 1,
                Call::Events => {}
                _ => *calls += 1,
            });
        }
        Box::pin(std::future::ready(())) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
    };
    let inner = Arc::new(MemoryStore::new(clock(SPEED)));
    Counted { store: Arc::new(Faulty::new(inner).with_hook(Arc::new(hook))), calls }
}

impl Counted {
    /// Calls per second of the store's clock, while the watcher ticks fifteen times.
    async fn calls_per_s(&mut self) -> f64 {
        let clock = self.store.clock();
        let (before, ticks) = *self.calls.borrow_and_update();
        let from = clock.now();
        soon(self.calls.wait_for(|(_, now)| *now >= ticks + 15)).await.expect("it ticks");
        let (after, _) = *self.calls.borrow();
        (after - before) as f64 * 1_000.0 / clock.now().since(from) as f64
    }
}

async fn engine_of(counted: &Counted, provider: ScriptedProvider) -> Deadletter {
    let rules = BreakerRules { open_ms: 1_000, open_cap_ms: 1_000, ..BreakerRules::default() };
    let config = AccountConfig { breaker: rules, ..account(Arc::new(provider)) };
    engine(&counted.store, config.threads(Some(1))).await
}

#[tokio::test]
async fn an_idle_engine_hardly_asks() {
    let mut counted = counted();
    let _dl = engine_of(&counted, ScriptedProvider::default()).await;
    let rate = counted.calls_per_s().await;
    assert!(rate < 0.5, "{rate} calls a second");
}

#[tokio::test]
async fn an_engine_without_a_free_thread_asks_a_few_times_a_second() {
    let mut counted = counted();
    let day_ms = 86_400_000;
    let terms = Terms { timeout_ms: day_ms, hold_ms: day_ms, ..Terms::default() };
    let never = ScriptedProvider::default().on_poll(|_| async { Ok(Polled::NotReady) });
    let never = never.with_terms(terms);
    let mut polls = never.polls();
    let dl = engine_of(&counted, never).await;
    submit(&dl, vec![job("a"), job("b"), job("c")]).await;
    soon(polls.wait_for(|n| *n >= 2)).await.expect("asked");
    let rate = counted.calls_per_s().await;
    assert!(rate < 8.0, "{rate} calls a second");
}

#[tokio::test]
async fn a_half_open_breaker_with_nothing_to_send_costs_nothing() {
    let mut counted = counted();
    let down = ScriptedProvider::default().on_submit(|_| async { Err(line_failed(Sent::No)) });
    let dl = engine_of(&counted, down).await;
    let mut notices = dl.notices();
    let ids = submit(&dl, (0..3).map(|n| job(&format!("k{n}"))).collect()).await;
    moved(&mut notices, Phase::Open).await;
    crate::rig::all_rest(&dl, &ids).await;
    let rate = counted.calls_per_s().await;
    assert!(rate < 0.5, "{rate} calls a second");
}

#[tokio::test]
async fn a_stopped_account_is_quiet() {
    let mut counted = counted();
    let refuses = ScriptedProvider::default()
        .on_submit(|_| async { Err(failed("ERROR_WRONG_USER_KEY", Class::Account)) })
        .on_account(|_| async { Err(failed("ERROR_WRONG_USER_KEY", Class::Account)) });
    let dl = engine_of(&counted, refuses).await;
    let mut notices = dl.notices();
    submit(&dl, vec![job("a"), job("b")]).await;
    notice(&mut notices, |n| matches!(n, Notice::AccountStopped { .. }).then_some(())).await;
    let rate = counted.calls_per_s().await;
    assert!(rate < 3.0, "{rate} calls a second");
}

/// The lines of a log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_absence_of_the_store_is_told_once_with_its_reason_and_now_and_then_and_when_it_ends() {
    let lines = Lines::default();
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false);
    let written = lines.clone();
    let _guard =
        tracing::subscriber::set_default(log.with_writer(move || written.clone()).finish());
    let inner = Arc::new(MemoryStore::new(clock(SPEED)));
    let store = Arc::new(Faulty::new(inner));
    let shared = Arc::clone(&store) as Arc<dyn Store>;
    let _engine = engine(&shared, account(Arc::new(ScriptedProvider::default()))).await;
    store.at_random(1, 1_000);
    // tidy: allow sleep, because time is paused, and nothing tells of a loop that is quiet
    tokio::time::sleep(Duration::from_secs(100)).await;
    store.heal();
    // tidy: allow sleep, because time is paused
    tokio::time::sleep(Duration::from_secs(20)).await;
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let told: Vec<&str> = text.lines().collect();
    assert_eq!(told.len(), 3, "{text}");
    for (line, word) in told.iter().zip(["the store is away: ", "away for 60 s: ", "is back; "]) {
        assert!(line.contains(word), "{word:?} is not in {line:?}");
    }
    assert!(told[0].contains("deadletter doctor"), "{text}");
}
