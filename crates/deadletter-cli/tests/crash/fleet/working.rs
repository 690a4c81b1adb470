//! The fleet at work: its clients and their answers, and what the store says of its workers.

use super::client::{Client, Door, Solved};
use super::gateway::Gateway;
use super::pace::Pace;
use super::table::{After, Table};
use deadletter::core::{Filter, StateKind, Task};
use deadletter::store::clock::Stopwatch;
use deadletter::store::{Query, Store};
use deadletter::worker_label;
use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Clients: more than threads, so that jobs wait too.
const CLIENTS: u32 = 72;
/// Answers after each blow that prove that work goes on: more than were under way.
pub(super) const ANSWERS: usize = 64;
/// Answers that tell the pace of a fleet that nothing is done to.
const UNDISTURBED: usize = 400;
/// The first of them comes well before a client gives up.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(90);
/// A pace that is not back by then is not waited for.
const LONGEST_UNEVEN_US: u64 = 30_000_000;

/// What is at work, and what came of it so far.
pub(super) struct Fleet {
    store: Arc<dyn Store>,
    clients: Vec<JoinHandle<Result<(), String>>>,
    is_over: Arc<AtomicBool>,
    answers: Receiver<Solved>,
    solved: Vec<Solved>,
    clock: Stopwatch,
    /// Where it is measured.
    pace: Option<Pace>,
    /// When the last blow fell, and until when a worker was declared dead because of it.
    struck_us: u64,
    declared_us: Option<u64>,
    table: Table,
}

impl Fleet {
    /// Lets clients work through those gateways.
    pub(super) fn start(gateways: &[&Gateway<'_>], store: Arc<dyn Store>) -> Self {
        let (sender, answers) = channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let clock = Stopwatch::start();
        let clients = (0..CLIENTS).map(|number| {
            let doors = gateways.iter().map(|it| Door::to(&it.address)).collect();
            let (is_over, solved) = (Arc::clone(&is_over), sender.clone());
            let client = Client { number, doors, is_over, clock, solved };
            std::thread::spawn(move || client.work())
        });
        let clients = clients.collect();
        Self {
            store,
            clients,
            is_over,
            answers,
            solved: Vec::new(),
            clock,
            pace: None,
            struck_us: 0,
            declared_us: None,
            table: Table::default(),
        }
    }

    /// Takes the pace of a fleet that nothing has been done to.
    pub(super) fn takes_its_pace(&mut self) {
        self.waits_for(ANSWERS, "the start");
        let from = self.solved.len();
        self.waits_for(UNDISTURBED, "the start");
        let answers: Vec<_> = self.solved.iter().skip(from).map(|it| it.at_us).collect();
        let pace = Pace::of(&answers).expect("some time has passed");
        println!("undisturbed: {:.1} answers a second", pace.per_second());
        self.pace = Some(pace);
    }

    /// A blow falls now.
    pub(super) fn is_struck(&mut self) {
        // What was answered before is no sign of life.
        self.solved.extend(self.answers.try_iter());
        self.struck_us = self.clock.elapsed_us();
        self.declared_us = None;
    }

    /// Waits for answers, and notes how long the first of them took, and all to come as before.
    pub(super) fn goes_on_after(&mut self, blow: &str) {
        let from = self.solved.len();
        self.waits_for(ANSWERS, blow);
        let mut back = None;
        if let Some(pace) = self.pace {
            while self.clock.elapsed_us() < self.struck_us + LONGEST_UNEVEN_US {
                self.waits_for(1, blow);
                let answers: Vec<_> = self.solved.iter().skip(from).map(|it| it.at_us).collect();
                back = pace.is_back_since(self.struck_us, &answers);
                if back.is_some() {
                    break;
                }
            }
        }
        let since = |at: u64| at.saturating_sub(self.struck_us);
        let first = self.solved.iter().skip(from).map(|it| it.at_us).min().map(since);
        let after = After {
            blow: blow.to_owned(),
            declared: self.declared_us.map(since),
            first: first.expect("waited for"),
            back: back.map(since),
        };
        println!("{after}");
        self.table.push(after);
        self.is_struck();
    }

    /// Waits for so many answers.
    pub(super) fn waits_for(&mut self, answers: usize, blow: &str) {
        for _ in 0..answers {
            match self.answers.recv_timeout(LONGEST_WAIT) {
                Ok(solved) => self.solved.push(solved),
                Err(RecvTimeoutError::Timeout) => panic!("after {blow}: no answer any more"),
                Err(RecvTimeoutError::Disconnected) => {
                    let ends = self.clients.drain(..).map(|client| client.join());
                    panic!("after {blow}: no client works any more: {:?}", ends.collect::<Vec<_>>())
                }
            }
        }
    }

    /// Waits until the store takes nobody of that gateway for alive. Answers the tokens of the attempts
    /// that it had in hand then, and that the store knew no id of: what was on its way when it was
    /// struck has arrived by then.
    pub(super) fn sees_the_death_of(
        &mut self,
        runtime: &Runtime,
        gateway: &Gateway<'_>,
    ) -> HashSet<String> {
        let label = worker_label(gateway.process());
        let mut in_hand = HashMap::new();
        loop {
            let workers = runtime.block_on(self.store.workers(1_000)).expect("the server answers");
            let own: Vec<_> = workers.iter().filter(|worker| worker.label == label).collect();
            assert!(!own.is_empty(), "nobody is called {label}");
            for task in runtime.block_on(self.open_tasks()) {
                if own.iter().any(|worker| task.worker.as_ref() == Some(&worker.id)) {
                    in_hand.insert(task.attempt.expect("it is open").to_string(), task.kind());
                }
            }
            if own.iter().all(|worker| worker.dead_at.is_some()) {
                break;
            }
            let waited = self.clock.elapsed_us() - self.struck_us;
            assert!(u128::from(waited) < LONGEST_WAIT.as_micros(), "it was not declared dead");
            // tidy: allow sleep, because a store tells of a death only when it is asked.
            std::thread::sleep(Duration::from_millis(100));
        }
        self.declared_us = Some(self.clock.elapsed_us());
        let without_id = in_hand.into_iter().filter(|(_, kind)| *kind == StateKind::Submitting);
        without_id.map(|(token, _)| token).collect()
    }

    async fn open_tasks(&self) -> Vec<Task> {
        let query = Query {
            filter: Filter::states(&[StateKind::Submitting, StateKind::Polling]),
            now: self.store.clock().now(),
            newest_first: false,
            after: None,
            limit: 1_000,
            scan_limit: 1_000,
        };
        let page = self.store.page(&query).await.expect("the server answers");
        assert_eq!(page.next, None, "all that is open fits in a page");
        page.tasks
    }

    /// Lets the clients finish what they have, ends the gateways, and answers all that was answered.
    pub(super) fn stands_down(self, gateways: Vec<Gateway<'_>>) -> (Vec<Solved>, Table) {
        let Self { clients, is_over, answers, mut solved, table, pace, .. } = self;
        is_over.store(true, Ordering::SeqCst);
        for client in clients {
            let worked = client.join().expect("no client panics");
            worked.unwrap_or_else(|why| panic!("a client has no answer: {why}"));
        }
        solved.extend(answers.try_iter());
        for mut gateway in gateways {
            gateway.signal("-INT");
            assert_eq!(gateway.ended(), Some(0), "a gateway did not end well");
        }
        (solved, table.of_pace(pace))
    }
}
