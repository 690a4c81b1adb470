//! The handle of a running simulator.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::outage::OutageMode;
use crate::record::Records;
use crate::rule::Rule;
use crate::scenario::{ClockStart, Scenario};
use crate::server::{self, Shared};
use crate::stats::Stats;
use crate::world::World;

/// A running simulated upstream. Stops when it is dropped.
///
/// ```
/// # async fn show() -> deadletter_sim::Result<()> {
/// use deadletter_sim::{OutageMode, Scenario, Simulator};
/// let sim = Simulator::start(Scenario::default().speed(20.0)).await?;
/// println!("submit to {}/in.php", sim.base_url());
/// sim.outage(OutageMode::Html502);
/// sim.end_outage();
/// assert_eq!(sim.stats().paid, 0);
/// sim.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    port: u16,
    /// Ended by `stop` and by `Drop`; all connections end with it.
    acceptor: JoinHandle<()>,
}

impl Simulator {
    /// Starts on a free port of 127.0.0.1, in the current tokio runtime.
    pub async fn start(scenario: Scenario) -> Result<Self> {
        Self::start_on(scenario, 0).await
    }

    /// Starts on this port of 127.0.0.1; 0 takes a free one.
    pub async fn start_on(scenario: Scenario, port: u16) -> Result<Self> {
        scenario.check()?;
        let listener = server::listen(port).map_err(|source| Error::Listen { port, source })?;
        let address = listener.local_addr().map_err(|source| Error::Listen { port, source })?;
        let runs_at_once = scenario.clock == ClockStart::AtOnce;
        let clock = Arc::new(Clock::new(scenario.speed, runs_at_once));
        let shared = Arc::new(Shared::new(World::new(scenario, clock)?));
        let port = address.port();
        let acceptor = server::accept(Arc::clone(&shared), Some(listener), port);
        // Ended by `stop` or by `Drop`.
        let acceptor = tokio::spawn(acceptor);
        Ok(Self { shared, port, acceptor })
    }

    /// `http://127.0.0.1:PORT`, without a slash at its end.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Totals at this moment.
    pub fn stats(&self) -> Stats {
        self.shared.world().stats()
    }

    /// A copy of the request log as far as memory holds it.
    pub fn log(&self) -> Records {
        self.shared.world().log.copy()
    }

    /// Waits until the totals, looked at after each request, are as wanted.
    pub async fn until(&self, mut is_reached: impl FnMut(&Stats) -> bool) {
        let mut pulse = self.shared.pulse.subscribe();
        loop {
            pulse.borrow_and_update();
            if is_reached(&self.stats()) {
                return;
            }
            if pulse.changed().await.is_err() {
                return;
            }
        }
    }

    /// Begins an outage, until it is ended by hand.
    pub fn outage(&self, mode: OutageMode) {
        self.shared.begin_outage(mode, None);
    }

    /// Begins an outage of so many virtual milliseconds.
    pub fn outage_for(&self, mode: OutageMode, for_ms: u64) {
        self.shared.begin_outage(mode, Some(for_ms));
    }

    /// Ends the outage that is on, switched by hand or planned.
    pub fn end_outage(&self) {
        self.shared.end_outage();
    }

    /// Gives each key so many threads from now on; open jobs stay.
    pub fn set_threads(&self, threads: usize) {
        self.shared.set_threads(threads);
    }

    /// Changes the pace of virtual time; 0 freezes it. What is no pace (negative, not a number) is
    /// refused.
    pub fn set_speed(&self, speed: f64) -> Result<()> {
        self.shared.set_speed(speed).map_err(Error::Impossible)
    }

    /// Pushes virtual time forward.
    pub fn advance_ms(&self, ms: u64) {
        self.shared.clock.advance_ms(ms);
    }

    /// Virtual milliseconds since the clock's zero.
    pub fn now_ms(&self) -> i64 {
        self.shared.clock.now_ms()
    }

    /// Accepts this key too.
    pub fn add_key(&self, key: &str) {
        self.shared.world().accounts.add_key(key);
    }

    /// Accepts this key no more. Its jobs go on, and are there again when the key is.
    pub fn remove_key(&self, key: &str) {
        self.shared.world().accounts.remove_key(key);
    }

    /// Lifts every ban and forgets the bad keys that led there.
    pub fn lift_bans(&self) {
        self.shared.world().accounts.lift_bans();
    }

    /// Adds a fault at the end of the rules.
    pub fn add_rule(&self, rule: Rule) -> Result<()> {
        if let Some(defect) = rule.defect() {
            return Err(Error::Impossible(format!("rule ({}): {defect}", rule.fault.label())));
        }
        self.shared.world().rules.add(rule);
        Ok(())
    }

    /// Removes all rules.
    pub fn clear_rules(&self) {
        self.shared.world().rules.clear();
    }

    /// Closes the port, as an upstream that was stopped: connections are refused, jobs, keys and
    /// log stay. Returns when it is closed.
    pub async fn close_port(&self) {
        self.turn(false).await;
    }

    /// Opens the same port again. Returns when it is open, unless an outage keeps it closed.
    pub async fn open_port(&self) {
        self.turn(true).await;
    }

    async fn turn(&self, open: bool) {
        self.shared.wants_open.send_replace(open);
        let is_refusing = self.stats().outage == Some(OutageMode::Refuse.label());
        if (open && is_refusing) || self.acceptor.is_finished() {
            return;
        }
        self.until_port(open).await;
    }

    /// Waits until the port is open or closed, as an outage that refuses connections needs a
    /// moment to begin and to end.
    pub async fn until_port(&self, open: bool) {
        let mut is_open = self.shared.is_open.subscribe();
        if is_open.wait_for(|state| *state == open).await.is_err() {
            tracing::debug!("the simulator ended while its port was waited for");
        }
    }

    /// Stops: closes the port and every connection, and returns when that is done.
    pub async fn stop(mut self) {
        self.acceptor.abort();
        if let Err(error) = (&mut self.acceptor).await
            && error.is_panic()
        {
            tracing::error!(%error, "the acceptor panicked");
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}
