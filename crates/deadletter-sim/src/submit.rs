//! in.php: what happens to a submit.

use crate::answer::Answer;
use crate::fault::{Fault, Stage};
use crate::methods::{self, Kind};
use crate::record::Entry;
use crate::reply::Reply;
use crate::rule::Phase;
use crate::rulebook::Target;
use crate::scenario::{WhenBusy, tail};
use crate::world::{Ask, Job, SITE_KEY_NAMES, World};

/// Page URLs whose submits are counted apart; past it new pages share one count.
const MOST_PAGES: usize = 200_000;
/// The slowest and the fastest job, in medians: a log-normal's tail has no end of its own.
const SLOWEST: f64 = 6.0;
const FASTEST: f64 = 0.2;

impl World {
    pub(crate) fn submit(&mut self, ask: &Ask, now_ms: i64, entry: &mut Entry) -> Reply {
        let pageurl = ask.params.get("pageurl").unwrap_or_default();
        let nth = self.count_page(pageurl);
        let target = Target {
            phase: Phase::Submit,
            method: ask.params.get("method").unwrap_or_default(),
            sitekey: ask.params.first_of(&SITE_KEY_NAMES).unwrap_or_default(),
            pageurl,
            job: None,
            nth,
            lot: self.dice.bits("page", &[pageurl], 0),
        };
        if let Some(fault) = self.rules.first(Stage::Door, target, now_ms, self.dice) {
            entry.fault = Some(fault.label().to_owned());
            return fault.spoil(&Answer::Pending, ask.form());
        }
        let start_ms = match self.admit(ask, now_ms) {
            Ok(start_ms) => start_ms,
            Err(reply) => return reply,
        };
        let fates = self.rules.all(Stage::Job, target, now_ms, self.dice);
        let (id, as_number) = self.create_job(ask, target, start_ms, &fates);
        entry.paid = true;
        entry.id = Some(id.clone());
        entry.fault = fates.first().map(|fate| fate.label().to_owned());
        self.outages.notice_jobs(self.jobs_made, now_ms);
        let answer = Answer::Submitted { id, as_number };
        match self.rules.first(Stage::Answer, target, now_ms, self.dice) {
            None => Reply::protocol(&answer, ask.form()),
            Some(fault) => {
                entry.fault = Some(fault.label().to_owned());
                fault.spoil(&answer, ask.form())
            }
        }
    }

    /// When the job may start, or the refusal.
    fn admit(&mut self, ask: &Ask, now_ms: i64) -> Result<i64, Reply> {
        let refuse = |code: &str| Reply::protocol(&Answer::error(code), ask.form());
        let account = self.accounts.enter(ask.key(), ask.peer, now_ms).map_err(refuse)?;
        if let Some(code) = methods::refusal(&ask.params) {
            return Err(refuse(code));
        }
        let busy = self.scenario.when_busy;
        let start_ms = account.start_ms(now_ms, self.scenario.threads, busy);
        let start_ms = start_ms.ok_or_else(|| {
            refuse(if busy == WhenBusy::NoSlot {
                "ERROR_NO_SLOT_AVAILABLE"
            } else {
                "ERROR_ZERO_BALANCE"
            })
        })?;
        if self.jobs.len() >= self.scenario.limits.jobs {
            self.forget_old_jobs(now_ms);
        }
        if self.jobs.len() >= self.scenario.limits.jobs {
            tracing::warn!(jobs = self.jobs.len(), "the job table is full");
            return Err(Reply::plain(503, "simulator: the job table is full"));
        }
        Ok(start_ms)
    }

    fn create_job(
        &mut self,
        ask: &Ask,
        target: Target<'_>,
        start_ms: i64,
        fates: &[Fault],
    ) -> (String, bool) {
        let kind = methods::kind_of(&ask.params);
        self.jobs_made += 1;
        let id = self.next_id();
        let solve_ms = self.solve_ms(kind, target, fates);
        let ready_at_ms = start_ms.saturating_add(solve_ms);
        let is_solvable = !fates.contains(&Fault::Unsolvable);
        let token = self.token(&id, ask.key());
        let job = Job {
            key: ask.key().to_owned(),
            method: target.method.to_owned(),
            sitekey: target.sitekey.to_owned(),
            pageurl: target.pageurl.to_owned(),
            ready_at_ms,
            solution: is_solvable.then(|| methods::solution(kind, &id, &token)),
            forgets: fates.contains(&Fault::ForgetAfterDelivery),
            is_reported: false,
            polls: 0,
            lot: self.dice.bits("job", &[target.pageurl], target.nth),
        };
        self.jobs.insert(id.clone(), job);
        if let Some(account) = self.accounts.get(ask.key()) {
            account.add(ready_at_ms);
        }
        (id, kind.id_is_number)
    }

    /// Digits, different for each seed, counting up: never the same id twice in one simulator.
    fn next_id(&self) -> String {
        let base = 1_000_000_000 * (1 + self.dice.seed() % 80);
        (base + self.jobs_made).to_string()
    }

    fn token(&self, id: &str, key: &str) -> String {
        let draw = |n| self.dice.bits("token", &[id, tail(key)], n);
        format!("SIM-{}-{id}-{:016x}{:016x}", self.dice.seed(), draw(0), draw(1))
    }

    fn solve_ms(&self, kind: Kind, target: Target<'_>, fates: &[Fault]) -> i64 {
        let time = self.scenario.solve_time(kind.name, kind.median_ms);
        let median = time.median_ms as f64;
        let parts = ["solve", kind.name, target.pageurl];
        let drawn = self.dice.log_normal(median, time.spread, &parts, target.nth);
        let drawn_ms = drawn.clamp(median * FASTEST, median * SLOWEST) as i64;
        let late_ms = fates.iter().filter_map(|fate| match fate {
            Fault::Late { after_ms } => i64::try_from(*after_ms).ok(),
            _ => None,
        });
        late_ms.chain([drawn_ms]).max().unwrap_or(drawn_ms)
    }

    /// How many submits this page had before; counts this one.
    fn count_page(&mut self, pageurl: &str) -> u64 {
        let is_known = self.pages.contains_key(pageurl);
        let name = if is_known || self.pages.len() < MOST_PAGES { pageurl } else { "" };
        let count = self.pages.entry(name.to_owned()).or_default();
        *count += 1;
        *count - 1
    }
}
