//! The state of the simulated upstream, and the way of a request through it.
//!
//! Not here: sockets and HTTP (`server`, `wire`). One lock guards the whole world; it is held for
//! the work of one request and never over a wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::accounts::Accounts;
use crate::answer::{Answer, Form, Solution};
use crate::clock::Clock;
use crate::dice::Dice;
use crate::error::Result;
use crate::family;
use crate::outage::{OutageMode, OutagePlan};
use crate::params::Params;
use crate::record::{Entry, Log, kept_text};
use crate::reply::{Manner, Reply};
use crate::rule::Phase;
use crate::rulebook::Rulebook;
use crate::scenario::{Scenario, tail};
use crate::stats::Stats;

/// A request after its body was read.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) verb: String,
    pub(crate) path: String,
    pub(crate) params: Params,
    pub(crate) peer: IpAddr,
    /// What was wrong with reading it: answered with this status and text.
    pub(crate) defect: Option<(u16, &'static str)>,
}

impl Ask {
    pub(crate) fn form(&self) -> Form {
        let wants_json =
            self.params.get("json").is_some_and(|it| !matches!(it, "" | "0" | "false"));
        match self.path.as_str() {
            path if family::is_path(path) => Form::Task,
            _ if wants_json => Form::Json,
            _ => Form::Text,
        }
    }

    pub(crate) fn key(&self) -> &str {
        self.params.get("key").unwrap_or_default()
    }

    fn phase(&self) -> Phase {
        match (self.path.as_str(), self.params.get("action").unwrap_or_default()) {
            ("/in.php" | family::CREATE, _) => Phase::Submit,
            (family::RESULT, _) => Phase::Poll,
            (family::BALANCE, _) => Phase::Account,
            (path, _) if family::is_report(path) => Phase::Report,
            ("/res.php", "get" | "get2") => Phase::Poll,
            ("/res.php", "threadsinfo" | "getbalance") => Phase::Account,
            ("/res.php", "reportbad" | "reportgood") => Phase::Report,
            _ => Phase::Any,
        }
    }
}

/// One paid piece of work.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) key: String,
    pub(crate) method: String,
    pub(crate) sitekey: String,
    pub(crate) pageurl: String,
    pub(crate) ready_at_ms: i64,
    /// Absent when nobody could solve it.
    pub(crate) solution: Option<Solution>,
    pub(crate) forgets: bool,
    pub(crate) is_reported: bool,
    pub(crate) polls: u64,
    /// Stable over runs, see `Target::lot`.
    pub(crate) lot: u64,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) clock: Arc<Clock>,
    pub(crate) dice: Dice,
    pub(crate) accounts: Accounts,
    pub(crate) jobs: HashMap<String, Job>,
    pub(crate) jobs_made: u64,
    pub(crate) rules: Rulebook,
    pub(crate) outages: OutagePlan,
    /// Submits so far by page URL.
    pub(crate) pages: HashMap<String, u64>,
    pub(crate) log: Log,
    pub(crate) stats: Stats,
}

impl World {
    pub(crate) fn new(scenario: Scenario, clock: Arc<Clock>) -> Result<Self> {
        Ok(Self {
            clock,
            dice: Dice::new(scenario.seed),
            accounts: Accounts::new(&scenario.keys, scenario.bad_keys_before_ban, scenario.ban_ms),
            jobs: HashMap::new(),
            jobs_made: 0,
            rules: Rulebook::new(scenario.rules.clone()),
            outages: OutagePlan::new(&scenario.outages),
            pages: HashMap::new(),
            log: Log::open(scenario.limits.log_entries, scenario.log_file.as_deref())?,
            stats: Stats::default(),
            scenario,
        })
    }

    /// Treats a request, and writes it down before its reply can leave.
    pub(crate) fn answer(&mut self, ask: &Ask) -> Reply {
        self.clock.release();
        let now_ms = self.clock.now_ms();
        let mut entry = blank_entry(ask, now_ms);
        let reply = match self.outages.mode_at(now_ms) {
            Some(mode) => {
                entry.fault = Some(format!("outage_{}", mode.label()));
                during_outage(mode)
            }
            None => self.serve(ask, now_ms, &mut entry),
        };
        entry.answered = kept_text(&reply.label);
        entry.status = reply.status;
        entry.open_jobs = self.open_jobs_of(ask.key(), now_ms);
        self.stats.count(&entry);
        if let Err(error) = self.log.write(entry) {
            tracing::error!(%error, "the request log cannot be written");
            return Reply::plain(500, "simulator: the request log cannot be written");
        }
        reply
    }

    fn serve(&mut self, ask: &Ask, now_ms: i64, entry: &mut Entry) -> Reply {
        if let Some((status, text)) = ask.defect {
            return Reply::plain(status, text);
        }
        match ask.phase() {
            Phase::Submit => self.submit(ask, now_ms, entry),
            Phase::Poll => self.poll(ask, now_ms, entry),
            Phase::Account => self.account(ask, now_ms, entry),
            Phase::Report => self.report(ask, now_ms, entry),
            Phase::Any if ask.path == "/res.php" => {
                Reply::protocol(&Answer::error("ERROR_EMPTY_ACTION"), ask.form())
            }
            Phase::Any => Reply::html(404, "Not Found"),
        }
    }

    fn open_jobs_of(&mut self, key: &str, now_ms: i64) -> usize {
        self.accounts.get(key).map_or(0, |account| account.open(now_ms))
    }

    /// The totals at this moment.
    pub(crate) fn stats(&mut self) -> Stats {
        let now_ms = self.clock.now_ms();
        Stats {
            at_ms: now_ms,
            speed: self.clock.speed(),
            open_jobs: self.accounts.open(now_ms),
            jobs: self.jobs.len(),
            log_dropped: self.log.dropped(),
            outage: self.outages.mode_at(now_ms).map(OutageMode::label),
            ..self.stats.clone()
        }
    }
}

fn during_outage(mode: OutageMode) -> Reply {
    match mode {
        // A request on a connection from before: the port itself is closed by the server.
        OutageMode::Refuse | OutageMode::Reset => Reply::wordless(Manner::Reset),
        OutageMode::Html502 => Reply::html(502, "Bad Gateway"),
        OutageMode::Hang => Reply::wordless(Manner::Hang),
    }
}

fn blank_entry(ask: &Ask, now_ms: i64) -> Entry {
    let sent = |names: &[&str]| ask.params.first_of(names).map(kept_text);
    Entry {
        seq: 0,
        at_ms: now_ms,
        real_at_ms: Clock::wall_ms(),
        verb: ask.verb.clone(),
        path: kept_text(&ask.path),
        phase: ask.phase().label(),
        method: sent(&["method"]),
        action: sent(&["action"]).filter(|_| ask.phase() != Phase::Submit),
        pageurl: sent(&["pageurl"]),
        sitekey: sent(&SITE_KEY_NAMES),
        id: sent(&["id", "ids"]),
        key_tail: sent(&["key"]).map(|key| tail(&key).to_owned()),
        answered: String::new(),
        status: 0,
        fault: None,
        paid: false,
        delivered: false,
        open_jobs: 0,
    }
}

/// The parameters that hold a site key, by method.
pub(crate) const SITE_KEY_NAMES: [&str; 4] = ["googlekey", "sitekey", "gt", "captcha_id"];
