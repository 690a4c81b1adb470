//! Where the programs of a fleet run, upstream with them, and what came of it all.

use super::client::Solved;
use super::{SPEED, THREADS, TIMEOUT_MS};
use crate::check::{Evidence, violations};
use crate::place::Place;
use crate::wire::Wire;
use deadletter::core::UnixMs;
use deadletter::store::{Clock, Store, SystemClock, open_existing};
use deadletter_sim::{DEFAULT_KEY, Scenario, Simulator};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Where programs run, and upstream with them.
pub(super) struct Site {
    pub(super) runtime: Runtime,
    pub(super) dir: TempDir,
    simulator: Simulator,
    /// When the clocks began to run fast.
    pub(super) anchor: UnixMs,
}

impl Site {
    /// With upstream as the scenario says, but for its times.
    pub(super) fn new(scenario: Scenario) -> Self {
        let runtime = crate::runtime();
        let dir = tempfile::tempdir().expect("a folder");
        let scenario = scenario.speed(SPEED).threads(1_000).solve_ms(12_000);
        let scenario = scenario.log_file(dir.path().join("upstream.jsonl"));
        let simulator = runtime.block_on(Simulator::start(scenario)).expect("a free port");
        let toml = format!("[account]\nthreads = {THREADS}\n");
        std::fs::write(dir.path().join("deadletter.toml"), toml).expect("written");
        Self { runtime, dir, simulator, anchor: SystemClock.now() }
    }

    pub(super) fn variables(&self, store: &str) -> Vec<(&'static str, String)> {
        let base = self.simulator.base_url();
        vec![
            ("CAPTCHAAI_API_KEY", DEFAULT_KEY.to_owned()),
            ("CAPTCHAAI_SUBMIT_ENDPOINT", format!("{base}/in.php")),
            ("CAPTCHAAI_RESULT_ENDPOINT", format!("{base}/res.php")),
            ("DEADLETTER_STORE", store.to_owned()),
            ("XDG_DATA_HOME", self.dir.path().display().to_string()),
            ("DEADLETTER_TIME_SCALE", format!("{SPEED}@{}", self.anchor.0)),
        ]
    }

    pub(super) fn store(&self, url: &str) -> Arc<dyn Store> {
        let store = self.runtime.block_on(open_existing(url, Arc::new(SystemClock)));
        store.expect("a gateway has made it")
    }

    /// What came of it by the store, by upstream and by what clients were answered.
    pub(super) fn evidence(&self, url: &str, solved: &[Solved]) -> Evidence {
        let log = self.dir.path().join("upstream.jsonl");
        let log = std::fs::read_to_string(log).expect("upstream's log");
        let ledger = self.runtime.block_on(Place::server(url).read());
        Evidence {
            wire: Wire::parse(&log).expect("the simulator writes whole lines"),
            ledger: ledger.expect("the store can be read"),
            written: solved.iter().map(|it| (it.task, it.answer.clone())).collect(),
            pages: solved.iter().map(|it| it.page.clone()).collect(),
            threads: THREADS,
            timeout_ms: TIMEOUT_MS,
            is_finished: true,
        }
    }

    /// Panics where a promise is broken; what came of it, in short.
    pub(super) fn accepts(self, evidence: &Evidence) -> String {
        let broken = violations(evidence);
        if !broken.is_empty() {
            let ledger = format!("{:#?}", evidence.ledger);
            std::fs::write(self.dir.path().join("ledger.txt"), ledger).expect("written");
            panic!("{}", broken.join("\n  "));
        }
        let attempts = evidence.ledger.tasks.values().flat_map(|task| &task.attempts).count();
        let paid = evidence.wire.lines().iter().filter(|line| line.paid).count();
        let closing =
            format!("{} jobs answered, {attempts} attempts, {paid} paid.", evidence.written.len());
        println!("{closing}");
        closing
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.dir.disable_cleanup(true);
            println!("evidence in {}", self.dir.path().display());
        }
    }
}
