//! The blows, one after the other: work must go on after each.

use super::client::Solved;
use super::gateway::Gateway;
use super::line::{Line, State};
use super::server::Server;
use super::site::Site;
use super::table::Table;
use super::working::Fleet;
use std::collections::HashSet;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How often connections are ended, one time right after the other.
const ENDINGS: u32 = 30;
/// How often gateways that no client knows are killed, one after the other.
const KILLINGS: usize = 8;
/// Answers between two of those.
const BETWEEN_KILLINGS: usize = 16;
/// How long nobody of ours is let in: shorter than the silence after which a worker is dead.
const STARVED: Duration = Duration::from_secs(3);

/// A fleet and its server.
pub(super) struct Scene<'a> {
    runtime: &'a Runtime,
    server: &'a dyn Server,
    fleet: Fleet,
    /// Two that clients know: the second has its server by way of the line.
    near: Gateway<'a>,
    far: Gateway<'a>,
    line: Line,
    /// Two that only work.
    hands: [Gateway<'a>; 2],
    /// Tokens of what nobody heard of; see `forgive`.
    unheard: HashSet<String>,
}

impl<'a> Scene<'a> {
    /// Starts everybody.
    pub(super) fn begin(site: &'a Site, server: &'a dyn Server) -> Self {
        let line = Line::to(&site.runtime, server.port());
        let url = server.url(server.port());
        let gateway = |url: &str| Gateway::start(site.dir.path(), site.variables(url));
        let (near, far) = (gateway(&url), gateway(&server.url(line.port)));
        Self {
            runtime: &site.runtime,
            server,
            fleet: Fleet::start(&[&near, &far], site.store(&url)),
            near,
            far,
            line,
            hands: [gateway(&url), gateway(&url)],
            unheard: HashSet::new(),
        }
    }

    /// All blows; what came after each, what clients were answered, and what nobody heard of.
    pub(super) fn plays(mut self, is_measured: bool) -> (Table, Vec<Solved>, HashSet<String>) {
        match is_measured {
            true => self.fleet.takes_its_pace(),
            false => self.fleet.waits_for(1, "the start"),
        }
        let server = self.server;
        let commit = server.leaves_a_transaction_open();
        if commit.is_some() {
            self.fleet.is_struck();
            self.fleet.goes_on_after("a stranger's transaction was left open");
        }
        self.kills_gateways();
        self.freezes_one();
        self.ends_connections();
        if let Some(commit) = commit {
            commit();
        }
        self.ends_the_server();
        self.cuts_one_off();
        let [one, other] = self.hands;
        let (solved, table) = self.fleet.stands_down(vec![self.near, self.far, one, other]);
        (table, solved, self.unheard)
    }

    fn kills_gateways(&mut self) {
        self.fleet.is_struck();
        self.near.signal("-KILL");
        // What it had sent is counted as in doubt, and its ids are lost with it.
        self.fleet.sees_the_death_of(self.runtime, &self.near);
        self.near.ended();
        self.fleet.goes_on_after("a gateway was killed");
        self.near.begin();
        self.fleet.goes_on_after("it was started again");
        for hand in [0, 1].into_iter().cycle().take(KILLINGS) {
            let blow = "workers were killed";
            self.fleet.waits_for(BETWEEN_KILLINGS, blow);
            self.hands[hand].kill();
            self.hands[hand].begin();
        }
        self.fleet.is_struck();
        self.fleet.goes_on_after(&format!("workers were killed {KILLINGS} times in turn"));
    }

    fn freezes_one(&mut self) {
        self.fleet.is_struck();
        self.far.signal("-STOP");
        self.unheard.extend(self.fleet.sees_the_death_of(self.runtime, &self.far));
        self.fleet.goes_on_after("a gateway was frozen past its lease");
        self.far.signal("-CONT");
        self.fleet.goes_on_after("it woke");
    }

    fn ends_connections(&mut self) {
        self.fleet.is_struck();
        let ended: u32 = (0..ENDINGS).map(|_| self.server.end_connections()).sum();
        assert!(ended > self.server.least_ended(ENDINGS), "{ended} connections were ended");
        self.fleet.goes_on_after(&format!("all connections were ended {ENDINGS} times"));
        let let_in = self.server.lets_nobody_in();
        // tidy: allow sleep, because nobody is let in for a while.
        std::thread::sleep(STARVED);
        self.fleet.is_struck();
        let_in();
        self.fleet.goes_on_after("no connection was to be had for 3 s");
    }

    fn ends_the_server(&mut self) {
        self.fleet.is_struck();
        self.server.stop();
        self.server.begin();
        self.fleet.goes_on_after("the server was restarted");
        self.server.kill();
        self.server.begin();
        self.fleet.goes_on_after("the server was killed");
    }

    fn cuts_one_off(&mut self) {
        for (state, blow) in [(State::Cut, "was cut off"), (State::Silent, "heard nothing more")] {
            self.fleet.is_struck();
            self.line.becomes(state);
            self.unheard.extend(self.fleet.sees_the_death_of(self.runtime, &self.far));
            self.fleet.goes_on_after(&format!("a gateway {blow}"));
            self.line.becomes(State::Whole);
            self.fleet.goes_on_after(&format!("its line was mended, after it {blow}"));
        }
    }
}
