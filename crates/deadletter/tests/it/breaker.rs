//! The breaker: what opens it, what passes while it is open, what closes it, who shares it.

use crate::rig::{
    account, all_rest, all_solved, engine, job, jobs, memory, moved, notice, other, pass_time,
    soon, sound, submit,
};
use deadletter::{
    AccountConfig, Deadletter, Notice,
    core::{
        AccountName, Class, Terms, UnixMs,
        breaker::{BreakerRules, Forced, Phase, Transition},
    },
    provider::{
        Polled, Sent,
        scripted::{ScriptedProvider, answer, failed, id, line_failed},
    },
    store::{Clock, Store},
};
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};
use tokio::sync::broadcast::Receiver;

/// Longer than any outage here: nobody gives up on an id.
const DAY_MS: i64 = 86_400_000;

/// What a provider saw when it was called: the phase that its own engine knew, and when.
#[derive(Clone, Default)]
struct Watch {
    engine: Arc<OnceLock<Arc<Deadletter>>>,
    submits: Arc<Mutex<Vec<(Phase, UnixMs)>>>,
    polls: Arc<Mutex<Vec<(Phase, UnixMs)>>>,
    down: Arc<AtomicBool>,
    /// Nothing is ready yet.
    slow: Arc<AtomicBool>,
}

impl Watch {
    fn phase(&self) -> Phase {
        let engine = self.engine.get().expect("started before anything is submitted");
        engine.status().accounts.iter().find(|a| a.name.as_str() == "main").expect("there").phase
    }

    fn provider(&self, clock: Arc<dyn Clock>) -> Arc<ScriptedProvider> {
        let (submit, poll) = (self.clone(), self.clone());
        let polled_at = Arc::clone(&clock);
        Arc::new(
            ScriptedProvider::default()
                .on_submit(move |call| {
                    submit.submits.lock().unwrap().push((submit.phase(), clock.now()));
                    let down = submit.down.load(SeqCst);
                    async move { if down { Err(line_failed(Sent::No)) } else { Ok(id(call.n)) } }
                })
                .on_poll(move |call| {
                    let phase = poll.phase();
                    poll.polls.lock().unwrap().push((phase, polled_at.now()));
                    let (down, slow) = (poll.down.load(SeqCst), poll.slow.load(SeqCst));
                    async move {
                        match phase {
                            _ if down => Err(line_failed(Sent::Maybe)),
                            Phase::Closed if !slow => Ok(answer(call.id.as_str())),
                            _ => Ok(Polled::NotReady),
                        }
                    }
                })
                .with_terms(Terms { timeout_ms: DAY_MS, hold_ms: DAY_MS, ..Terms::default() }),
        )
    }

    async fn start(&self, store: &Arc<dyn Store>, rules: BreakerRules) -> Arc<Deadletter> {
        let provider = self.provider(store.clock());
        let config = AccountConfig { breaker: rules, ..account(provider) };
        let engine = Arc::new(engine(store, config).await);
        self.engine.set(Arc::clone(&engine)).ok().expect("one engine each");
        engine
    }

    fn submits_in(&self, phase: Phase) -> usize {
        self.submits.lock().unwrap().iter().filter(|(at, _)| *at == phase).count()
    }
}

/// Every change of the breaker so far.
fn transitions(notices: &mut Receiver<Notice>) -> Vec<Transition> {
    let mut seen = Vec::new();
    while let Ok(notice) = notices.try_recv() {
        if let Notice::Breaker { transition, .. } = notice {
            seen.push(transition);
        }
    }
    seen
}

fn probes(transitions: &[Transition]) -> usize {
    transitions.iter().filter(|t| t.from == Phase::HalfOpen).count()
}

#[tokio::test]
async fn five_outages_open_it_and_only_probes_pass_until_one_is_answered() {
    let store = memory();
    let watch = Watch::default();
    watch.down.store(true, SeqCst);
    let dl = watch.start(&store, BreakerRules::default()).await;
    let (mut notices, mut all) = (dl.notices(), dl.notices());
    let ids = submit(&dl, jobs(20)).await;
    moved(&mut notices, Phase::Open).await;
    assert_eq!(watch.submits.lock().unwrap().len(), 5);
    for _ in 0..3 {
        moved(&mut notices, Phase::Open).await;
    }
    watch.down.store(false, SeqCst);
    moved(&mut notices, Phase::Closed).await;
    all_solved(&dl, &ids).await;
    assert_eq!(watch.submits_in(Phase::Open), 0, "nothing passes while it is open");
    let seen = transitions(&mut all);
    assert_eq!(watch.submits_in(Phase::HalfOpen), probes(&seen), "each probe is one submit");
    let waits: Vec<_> = seen
        .windows(2)
        .filter(|two| two[0].to == Phase::Open && two[1].to == Phase::HalfOpen)
        .map(|two| two[1].at.since(two[0].at))
        .collect();
    for (wait_ms, least_ms) in waits.iter().zip([10_000, 20_000, 40_000, 60_000]) {
        assert!(*wait_ms >= least_ms, "it stays open longer each time: {waits:?}");
    }
    sound(store.as_ref(), &ids).await;
}

#[tokio::test]
async fn live_ids_are_asked_at_probe_rate_and_close_it_without_a_submit() {
    let store = memory();
    let watch = Watch::default();
    watch.slow.store(true, SeqCst);
    let dl = watch.start(&store, BreakerRules::default()).await;
    let mut notices = dl.notices();
    let first = submit(&dl, jobs(5)).await;
    // Accepted, and then upstream falls silent before anything is answered.
    soon(async {
        while store.totals().await.expect("counted").polling < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    watch.down.store(true, SeqCst);
    watch.slow.store(false, SeqCst);
    moved(&mut notices, Phase::Open).await;
    let second = submit(&dl, (0..5).map(|n| job(&format!("later-{n}"))).collect()).await;
    moved(&mut notices, Phase::Open).await;
    watch.down.store(false, SeqCst);
    moved(&mut notices, Phase::Closed).await;
    all_solved(&dl, &first).await;
    all_solved(&dl, &second).await;
    let phases: Vec<_> = watch.submits.lock().unwrap().iter().map(|(phase, _)| *phase).collect();
    assert_eq!(phases, [Phase::Closed; 10], "every probe was a poll");
    let polls = watch.polls.lock().unwrap().clone();
    let open: Vec<_> = polls.iter().filter(|(phase, _)| *phase == Phase::Open).collect();
    assert!(!open.is_empty(), "live ids are asked for all the same");
    // By their number, not by each gap: a poll is seen here a moment after its leave was given.
    let span_ms = open.last().unwrap().1.since(open[0].1);
    assert!(i64::try_from(open.len()).unwrap() <= span_ms / 5_000 + 2, "{open:?}");
    for task in sound(store.as_ref(), &first).await {
        assert_eq!(task.counters.submits, 1, "silence never submits");
    }
}

#[tokio::test]
async fn what_upstream_says_of_puzzles_does_not_open_it() {
    let store = memory();
    let unsolvable = || async { Err(failed("ERROR_CAPTCHA_UNSOLVABLE", Class::Unsolvable)) };
    let provider = Arc::new(ScriptedProvider::default().on_poll(move |_| unsolvable()));
    let dl = engine(&store, account(Arc::clone(&provider))).await;
    let mut notices = dl.notices();
    let ids = submit(&dl, jobs(20)).await;
    all_rest(&dl, &ids).await;
    assert_eq!(*provider.submits().borrow(), 60);
    assert!(transitions(&mut notices).is_empty());
}

#[tokio::test]
async fn two_engines_share_it_and_have_one_prober() {
    let store = memory();
    let rules = BreakerRules { open_ms: 10_000, open_cap_ms: 10_000, ..BreakerRules::default() };
    let (a, b) = (Watch::default(), Watch::default());
    a.down.store(true, SeqCst);
    b.down.store(true, SeqCst);
    let first = a.start(&store, rules).await;
    let (mut notices, mut all_a) = (first.notices(), first.notices());
    let ids = submit(&first, jobs(20)).await;
    moved(&mut notices, Phase::Open).await;
    let second = b.start(&store, rules).await;
    let mut all_b = second.notices();
    // Each task has four submits: probes alone would need long to spend them.
    soon(async {
        while a.submits_in(Phase::HalfOpen) + b.submits_in(Phase::HalfOpen) < 8 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    a.down.store(false, SeqCst);
    b.down.store(false, SeqCst);
    all_solved(&first, &ids).await;
    let seen = [transitions(&mut all_a), transitions(&mut all_b)].concat();
    let sent = a.submits_in(Phase::HalfOpen) + b.submits_in(Phase::HalfOpen);
    assert_eq!(sent, probes(&seen), "every probe changes the phase: no two at once");
    assert_eq!(a.submits_in(Phase::Open) + b.submits_in(Phase::Open), 0);
    // Whoever did not close it hears of it.
    soon(async {
        let engines = [&first, &second];
        while !engines.iter().all(|engine| engine.status().accounts[0].phase == Phase::Closed) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn forced_open_nothing_passes_until_it_is_reset() {
    let store = memory();
    let provider = Arc::new(ScriptedProvider::default());
    let builder = Deadletter::builder().store(Arc::clone(&store)).seed(Some(7));
    let builder = builder.account(account(Arc::clone(&provider)));
    let dl = builder.account(other(Arc::default())).start().await.expect("started");
    let desk = dl.desk();
    let name = account(Arc::clone(&provider)).name;
    // One id is live: not even that is asked.
    let mut ids = submit(&dl, vec![job("live")]).await;
    soon(provider.submits().wait_for(|n| *n == 1)).await.expect("counted");
    desk.force_breaker(&name, Forced::Open, "ada", "their maintenance").await.expect("forced");
    ids.extend(submit(&dl, jobs(3)).await);
    pass_time(&dl, 10).await;
    assert_eq!((*provider.submits().borrow(), *provider.polls().borrow()), (1, 0));
    assert_eq!(dl.status().accounts[0].retry_after_ms, None);
    desk.reset_breaker(&name, "ada", "it is over").await.expect("reset");
    all_solved(&dl, &ids).await;
}

#[tokio::test]
async fn forced_closed_no_outage_opens_it() {
    let store = memory();
    let met = Mutex::new(HashSet::new());
    let provider = Arc::new(ScriptedProvider::default().on_submit(move |call| {
        // The first submit of each of them fails, so that none dies of it.
        let sitekey = call.payload.text("sitekey").expect("it has one").into_owned();
        let is_first = met.lock().unwrap().insert(sitekey);
        async move { if is_first { Err(line_failed(Sent::No)) } else { Ok(id(call.n)) } }
    }));
    let config = account(provider);
    let name = config.name.clone();
    let dl = engine(&store, config).await;
    dl.desk().force_breaker(&name, Forced::Closed, "ada", "I know better").await.expect("forced");
    let mut notices = dl.notices();
    let ids = submit(&dl, jobs(12)).await;
    all_solved(&dl, &ids).await;
    assert!(transitions(&mut notices).is_empty());
}

#[tokio::test]
async fn a_poll_in_flight_when_it_opens_says_nothing_of_the_next_generation() {
    let store = memory();
    let release = tokio::sync::watch::Sender::new(false);
    let (held, down) = (release.subscribe(), Arc::new(AtomicBool::new(false)));
    let is_down = Arc::clone(&down);
    let provider = Arc::new(
        ScriptedProvider::default()
            .on_submit(move |call| {
                let down = is_down.load(SeqCst);
                async move { if down { Err(line_failed(Sent::No)) } else { Ok(id(call.n)) } }
            })
            .on_poll(move |call| {
                let mut held = held.clone();
                async move {
                    if call.n == 1 {
                        held.wait_for(|go| *go).await.expect("released");
                        return Err(line_failed(Sent::Maybe));
                    }
                    Ok(answer("there"))
                }
            }),
    );
    let mut polls = provider.polls();
    let dl = engine(&store, account(provider)).await;
    let mut notices = dl.notices();
    let slow = submit(&dl, vec![job("slow")]).await;
    soon(polls.wait_for(|n| *n == 1)).await.expect("asked");
    down.store(true, SeqCst);
    let ids = submit(&dl, jobs(5)).await;
    moved(&mut notices, Phase::Open).await;
    down.store(false, SeqCst);
    release.send_replace(true);
    // The late outage must neither keep it open for longer nor count after it has closed.
    let next = notice(&mut notices, |notice| match notice {
        Notice::Breaker { transition, .. } if transition.to != Phase::HalfOpen => {
            Some(transition.to)
        }
        _ => None,
    })
    .await;
    assert_eq!(next, Phase::Closed);
    all_solved(&dl, &slow).await;
    all_solved(&dl, &ids).await;
}

#[tokio::test]
async fn a_hand_on_it_is_written_down_and_seen_by_another_engine() {
    let store = memory();
    let watch = Watch::default();
    let dl = watch.start(&store, BreakerRules::default()).await;
    let name = AccountName::new("main").expect("a name");
    let builder = Deadletter::builder().store(Arc::clone(&store));
    let desk = builder.account(account(Arc::default())).desk_only().await.expect("a desk");
    let minute_ms = 60_000;
    desk.desk().trip_breaker(&name, 2 * minute_ms, "ada", "to look first").await.expect("tripped");
    let status = desk.desk().breakers().await.expect("read").remove(0);
    assert!(status.phase == Phase::Open && status.is_forced && status.generation == 2);
    assert!(status.retry_after_ms.is_some_and(|ms| (1..=2 * minute_ms).contains(&ms)));
    let stranger = AccountName::new("nobody").expect("a name");
    assert!(desk.desk().reset_breaker(&stranger, "ada", "a slip").await.is_err());
    soon(async {
        while dl.status().accounts[0].phase == Phase::Closed {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let ids = submit(&dl, jobs(3)).await;
    all_solved(&dl, &ids).await;
    assert_eq!(watch.submits_in(Phase::Open), 0, "only when its time was over");
    desk.desk().reset_breaker(&name, "ada", "they are back").await.expect("reset");
    let status = desk.desk().breakers().await.expect("read").remove(0);
    let why = status.last.expect("it was reset").reason.to_string();
    assert_eq!((status.phase, why.as_str()), (Phase::Closed, "reset by ada: they are back"));
    let log = store.audit_log(None, 10).await.expect("read");
    assert_eq!(log.len(), 2, "what was refused is not written down");
    assert!(log[1].body.contains("\"trip\"") && log[1].body.contains("to look first"));
}
