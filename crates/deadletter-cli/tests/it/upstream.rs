//! A simulated upstream beside the binary, on a clock that runs as fast as the binary's.

use crate::bench::{Bench, Ran, ran};
use deadletter::store::{Clock, SystemClock};
use deadletter_sim::{Scenario, Simulator, Stats};
use serde_json::Value;
use std::process::Command;
use tokio::runtime::Runtime;

/// Both clocks run so many times faster than the wall's.
const SPEED: f64 = 60.0;
/// A page that is always solved.
pub(crate) const GOOD: &str = "6Le-good";

/// A bench with an upstream and a store.
pub(crate) struct Scene {
    pub(crate) bench: Bench,
    pub(crate) simulator: Simulator,
    runtime: Runtime,
    anchor: i64,
}

impl Scene {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let scenario = scenario.speed(SPEED);
        let simulator = runtime.block_on(Simulator::start(scenario)).expect("a free port");
        Self { bench: Bench::new(), simulator, runtime, anchor: SystemClock.now().0 }
    }

    /// Jobs take ten seconds each.
    pub(crate) fn happy() -> Self {
        Self::new(Scenario::default().solve_ms(10_000))
    }

    /// The binary, pointed at the upstream.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let base = self.simulator.base_url();
        let mut command = self.bench.command(args);
        command
            .env("CAPTCHAAI_API_KEY", crate::bench::KEY)
            .env("CAPTCHAAI_SUBMIT_ENDPOINT", format!("{base}/in.php"))
            .env("CAPTCHAAI_RESULT_ENDPOINT", format!("{base}/res.php"))
            .env("DEADLETTER_STORE", "sqlite:tasks.db")
            .env("DEADLETTER_TIME_SCALE", format!("{SPEED}@{}", self.anchor));
        command
    }

    /// The same, whose clock has fallen behind the store's by days.
    pub(crate) fn command_behind(&self, args: &[&str]) -> Command {
        let mut command = self.command(args);
        // A fast clock that agrees with the wall an hour later is behind one that did before.
        let scale = format!("{SPEED}@{}", self.anchor + 3_600_000);
        command.env("DEADLETTER_TIME_SCALE", scale);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        checked(ran(self.command(args)))
    }

    /// Waits until upstream has seen what is wanted.
    pub(crate) fn until(&self, is_reached: impl FnMut(&Stats) -> bool) {
        self.runtime.block_on(self.simulator.until(is_reached));
    }

    /// Runs what is async beside the simulator.
    pub(crate) fn block_on<T>(&self, act: impl Future<Output = T>) -> T {
        self.runtime.block_on(act)
    }

    pub(crate) fn paid(&self) -> u64 {
        self.simulator.stats().paid
    }

    /// A CSV file of `n` rows with this site key.
    pub(crate) fn rows(&self, name: &str, sitekey: &str, n: usize) {
        let rows = (0..n).map(|i| format!("{sitekey},https://{sitekey}.example/{i}\n"));
        let text: String = std::iter::once("sitekey,url\n".to_owned()).chain(rows).collect();
        self.bench.write(name, &text);
    }
}

/// What no run may ever show.
pub(crate) fn checked(ran: Ran) -> Ran {
    let key = crate::bench::KEY;
    assert!(!ran.stdout.contains(key) && !ran.stderr.contains(key), "the key is shown");
    ran
}

/// The JSON documents on standard output.
pub(crate) fn lines(ran: &Ran) -> Vec<Value> {
    json_lines(&ran.stdout)
}

pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("one JSON document a line")).collect()
}
