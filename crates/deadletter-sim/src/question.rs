//! res.php: polls, account data and reports.

use crate::answer::Answer;
use crate::fault::{Fault, Stage};
use crate::record::{Entry, kept_text};
use crate::reply::Reply;
use crate::rule::Phase;
use crate::rulebook::Target;
use crate::world::{Ask, World};

/// Ids that one `ids=` question may name.
const MOST_IDS: usize = 1_000;

impl World {
    pub(crate) fn poll(&mut self, ask: &Ask, now_ms: i64, entry: &mut Entry) -> Reply {
        let id = ask.params.get("id").unwrap_or_default();
        if let Some(job) = self.jobs.get_mut(id) {
            job.polls += 1;
            entry.pageurl = Some(kept_text(&job.pageurl));
            entry.sitekey = Some(kept_text(&job.sitekey));
            entry.method = Some(kept_text(&job.method));
        }
        if let Some(fault) = self.poll_fault(Stage::Door, id, now_ms) {
            entry.fault = Some(fault.label().to_owned());
            return self.spoilt_poll(&fault, id, ask);
        }
        if let Err(code) = self.accounts.enter(ask.key(), ask.peer, now_ms) {
            return Reply::protocol(&Answer::error(code), ask.form());
        }
        let answer = match ask.params.get("ids") {
            Some(ids) => self.verdicts(ids, ask.key(), now_ms),
            None => self.verdict(id, ask, now_ms),
        };
        entry.delivered = matches!(answer, Answer::Solved(_) | Answer::Priced(_));
        let spoiling = self.poll_fault(Stage::Answer, id, now_ms);
        if entry.delivered && self.jobs.get(id).is_some_and(|job| job.forgets) {
            self.jobs.remove(id);
        }
        match spoiling {
            None => Reply::protocol(&answer, ask.form()),
            Some(fault) => {
                entry.fault = Some(fault.label().to_owned());
                fault.spoil(&answer, ask.form())
            }
        }
    }

    fn poll_fault(&mut self, stage: Stage, id: &str, now_ms: i64) -> Option<Fault> {
        let job = self.jobs.get(id);
        let target = Target {
            phase: Phase::Poll,
            method: job.map_or("", |job| &job.method),
            sitekey: job.map_or("", |job| &job.sitekey),
            pageurl: job.map_or("", |job| &job.pageurl),
            job: job.map(|_| id),
            nth: job.map_or(0, |job| job.polls),
            lot: job.map_or(0, |job| job.lot),
        };
        self.rules.first(stage, target, now_ms, self.dice)
    }

    fn spoilt_poll(&mut self, fault: &Fault, id: &str, ask: &Ask) -> Reply {
        if let (Fault::Unsolvable, Some(job)) = (fault, self.jobs.get_mut(id)) {
            job.solution = None;
        }
        fault.spoil(&Answer::Pending, ask.form())
    }

    fn verdict(&mut self, id: &str, ask: &Ask, now_ms: i64) -> Answer {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Answer::error("ERROR_WRONG_ID_FORMAT");
        }
        match self.peek(id, ask.key(), now_ms) {
            Answer::Solved(solution) if ask.params.get("action") == Some("get2") => {
                Answer::Priced(solution)
            }
            answer => answer,
        }
    }

    /// 2captcha's form for many ids: answers joined by `|`, without `OK`.
    fn verdicts(&mut self, ids: &str, key: &str, now_ms: i64) -> Answer {
        let texts = ids.split(',').take(MOST_IDS).map(|id| match self.peek(id, key, now_ms) {
            Answer::Solved(solution) => solution.text(),
            other => other.label(),
        });
        Answer::Word(texts.collect::<Vec<_>>().join("|"))
    }

    fn peek(&self, id: &str, key: &str, now_ms: i64) -> Answer {
        let Some(job) = self.jobs.get(id).filter(|job| job.key == key) else {
            return Answer::error("ERROR_WRONG_CAPTCHA_ID");
        };
        if self.is_forgotten(job.ready_at_ms, now_ms) {
            return Answer::error("ERROR_WRONG_CAPTCHA_ID");
        }
        match &job.solution {
            _ if now_ms < job.ready_at_ms => Answer::Pending,
            Some(solution) => Answer::Solved(solution.clone()),
            None => Answer::error("ERROR_CAPTCHA_UNSOLVABLE"),
        }
    }

    fn is_forgotten(&self, ready_at_ms: i64, now_ms: i64) -> bool {
        self.scenario
            .keep_answers_ms
            .is_some_and(|kept_ms| now_ms >= ready_at_ms.saturating_add_unsigned(kept_ms))
    }

    /// Makes room in the job table by what nobody may ask for any more.
    pub(crate) fn forget_old_jobs(&mut self, now_ms: i64) {
        let kept_ms = self.scenario.keep_answers_ms;
        self.jobs.retain(|_, job| {
            kept_ms.is_none_or(|ms| now_ms < job.ready_at_ms.saturating_add_unsigned(ms))
        });
    }

    pub(crate) fn account(&mut self, ask: &Ask, now_ms: i64, entry: &mut Entry) -> Reply {
        if let Some(reply) = self.fault_without_job(Phase::Account, ask, now_ms, entry) {
            return reply;
        }
        let threads = self.scenario.threads;
        let answer = match self.accounts.enter(ask.key(), ask.peer, now_ms) {
            Err(code) => Answer::error(code),
            Ok(_) if ask.params.get("action") == Some("getbalance") => {
                Answer::Word(self.scenario.balance.clone())
            }
            Ok(account) => Answer::Threads { threads, working: account.open(now_ms).min(threads) },
        };
        Reply::protocol(&answer, ask.form())
    }

    pub(crate) fn report(&mut self, ask: &Ask, now_ms: i64, entry: &mut Entry) -> Reply {
        if let Some(reply) = self.fault_without_job(Phase::Report, ask, now_ms, entry) {
            return reply;
        }
        let id = ask.params.get("id").unwrap_or_default();
        let answer = match self.accounts.enter(ask.key(), ask.peer, now_ms) {
            Err(code) => Answer::error(code),
            Ok(_) => self.recorded(id, ask.key(), now_ms),
        };
        Reply::protocol(&answer, ask.form())
    }

    fn recorded(&mut self, id: &str, key: &str, now_ms: i64) -> Answer {
        match self.jobs.get_mut(id).filter(|job| job.key == key) {
            None => Answer::error("ERROR_WRONG_CAPTCHA_ID"),
            Some(job) if now_ms < job.ready_at_ms => Answer::error("ERROR_REPORT_NOT_RECORDED"),
            Some(job) if job.is_reported => Answer::error("ERROR_DUPLICATE_REPORT"),
            Some(job) => {
                job.is_reported = true;
                Answer::Word("OK_REPORT_RECORDED".to_owned())
            }
        }
    }

    /// A fault on a question that concerns no job: every kind replaces the answer.
    fn fault_without_job(
        &mut self,
        phase: Phase,
        ask: &Ask,
        now_ms: i64,
        entry: &mut Entry,
    ) -> Option<Reply> {
        let (nth, lot) = (self.stats.requests, 0);
        let target = Target { phase, method: "", sitekey: "", pageurl: "", job: None, nth, lot };
        let door = self.rules.first(Stage::Door, target, now_ms, self.dice);
        let fault = door.or_else(|| self.rules.first(Stage::Answer, target, now_ms, self.dice))?;
        entry.fault = Some(fault.label().to_owned());
        Some(fault.spoil(&Answer::Word(self.scenario.balance.clone()), ask.form()))
    }
}
