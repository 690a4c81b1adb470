//! The scenes that every client goes through.

use crate::{client::Client, door::Way};
use deadletter_sim::{Fault, Outage, OutageMode, Phase, Rule, Scenario, WhenBusy};

/// Clients, simulator and gateway run so many times faster than the wall's clock: the patience of the
/// most impatient client is eight seconds, and what a busy machine takes for a request counts little.
pub(crate) const PACE: f64 = 15.0;

/// What a client is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// One solve by each method that it knows.
    EveryMethod,
    /// So many solves by its plain method, beginning so many milliseconds apart.
    Solves { count: u32, every_ms: u64 },
    /// What is left on the account.
    Balance,
    /// Two solves, the first reported good and the second bad.
    Reports,
}

/// One scene.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) ask: Ask,
    /// The client has a key that nobody knows.
    pub(crate) wrong_key: bool,
    /// The gateway is killed each time that upstream has taken so many jobs more, and started again.
    pub(crate) kill_after: Option<u64>,
    /// What upstream is like.
    pub(crate) scenario: fn(Scenario) -> Scenario,
}

/// The scenes in which upstream is bad, and what stands in between makes the difference.
pub(crate) const BAD: [&str; 4] = ["flaky", "full", "outage", "restart"];

/// Solves of a scene in which upstream is bad.
const SOME: u32 = 12;

const fn scene(name: &'static str, ask: Ask, scenario: fn(Scenario) -> Scenario) -> Scene {
    Scene { name, ask, wrong_key: false, kill_after: None, scenario }
}

const fn at_once(count: u32) -> Ask {
    Ask::Solves { count, every_ms: 0 }
}

/// One after the other for a minute, so that an outage meets submits and polls.
const SPREAD: Ask = Ask::Solves { count: SOME, every_ms: 5_000 };
/// As long as what is started in it can wait: the most impatient client polls for two minutes.
const OUTAGE_MS: u64 = 60_000;
/// An upstream that is started anew.
const RESTART_MS: u64 = 10_000;
/// Between two methods, so that forty of them are not one more crowd.
pub(crate) const METHODS_EVERY_MS: u64 = 500;

/// Every scene, in the order of the table.
pub(crate) static SCENES: [Scene; 12] = [
    scene("methods", Ask::EveryMethod, |healthy| healthy),
    scene("balance", Ask::Balance, |healthy| healthy),
    scene("report", Ask::Reports, |healthy| healthy.solve_ms(20_000)),
    scene("unsolvable", at_once(3), |healthy| {
        healthy.solve_ms(10_000).rule(Rule::new(Fault::Unsolvable))
    }),
    scene("slow", at_once(3), |healthy| healthy.solve_ms(100_000)),
    Scene { wrong_key: true, ..scene("wrong key", at_once(3), |healthy| healthy) },
    scene("fifty at once", at_once(50), |healthy| healthy.solve_ms(20_000)),
    scene("flaky", at_once(SOME), flaky),
    scene("full", at_once(SOME), |healthy| {
        healthy.solve_ms(20_000).threads(4).when_busy(WhenBusy::NoSlot)
    }),
    scene("outage", SPREAD, |healthy| away(healthy, OUTAGE_MS)),
    scene("restart", SPREAD, |healthy| away(healthy, RESTART_MS)),
    Scene { kill_after: Some(5), ..scene("killed", SPREAD, |healthy| healthy.solve_ms(20_000)) },
];

/// A fifth of all submits and polls: a page with status 502, or a reset before anything was done.
fn flaky(healthy: Scenario) -> Scenario {
    let on = |phase, fault| Rule::new(fault).on(phase).rate(0.106);
    healthy
        .solve_ms(20_000)
        .rule(on(Phase::Submit, Fault::Html502))
        .rule(on(Phase::Submit, Fault::ResetBefore))
        .rule(on(Phase::Poll, Fault::Html502))
        .rule(on(Phase::Poll, Fault::ResetBefore))
}

/// Half a minute later its port is closed for a time; jobs go on and nothing is forgotten.
fn away(healthy: Scenario, for_ms: u64) -> Scenario {
    let mode = OutageMode::Refuse;
    healthy.solve_ms(20_000).outage(Outage { mode, from_ms: 30_000, after_jobs: 1, for_ms })
}

impl Scene {
    /// Whether this client can play in it.
    pub(crate) fn suits(&self, client: &Client, way: Way) -> bool {
        // Directly, nothing of ours is there to be killed.
        if self.kill_after.is_some() && way == Way::Directly {
            return false;
        }
        match self.ask {
            Ask::Balance => client.asks_balance,
            Ask::Reports => client.reports,
            Ask::EveryMethod | Ask::Solves { .. } => true,
        }
    }

    /// The upstream of this scene. It has threads for all that are asked for at once, and knows
    /// this key alone: a program of another test that lost its upstream and found this one at the
    /// same port is not counted. Nor is it banned, which would ban this machine.
    pub(crate) fn upstream(&self, key: &str) -> Scenario {
        let healthy = Scenario::default().speed(PACE).threads(100).keys([key]);
        (self.scenario)(Scenario { bad_keys_before_ban: u32::MAX, ..healthy })
    }
}
