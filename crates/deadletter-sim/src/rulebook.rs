//! The rules of a running simulator, with their counts: which fault befalls this request.

use std::collections::HashMap;

use crate::dice::Dice;
use crate::fault::{Fault, Stage};
use crate::rule::{Per, Phase, Rule, is_like};

/// Separate counts (per page, per job) that one rule keeps. Past it, new pages and jobs are left
/// unharmed and a warning is written: memory is bounded, and nothing is hit without being counted.
const MOST_COUNTS: usize = 200_000;

/// What rules look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) phase: Phase,
    pub(crate) method: &'a str,
    pub(crate) sitekey: &'a str,
    pub(crate) pageurl: &'a str,
    /// The job's id, for polls.
    pub(crate) job: Option<&'a str>,
    /// How many requests of this phase the page (on submit) or the job (on poll) had before.
    pub(crate) nth: u64,
    /// Stable over runs whose requests come in another order: the page, and for a poll the job's
    /// number within its page.
    pub(crate) lot: u64,
}

#[derive(Debug)]
pub(crate) struct Rulebook {
    rules: Vec<Counted>,
}

#[derive(Debug)]
struct Counted {
    rule: Rule,
    /// Matching requests so far, by what the rule counts ("" for the whole rule).
    seen: HashMap<String, u64>,
    is_full: bool,
}

impl Rulebook {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        let counted = |rule| Counted { rule, seen: HashMap::new(), is_full: false };
        Self { rules: rules.into_iter().map(counted).collect() }
    }

    pub(crate) fn add(&mut self, rule: Rule) {
        self.rules.push(Counted { rule, seen: HashMap::new(), is_full: false });
    }

    /// Removes every rule and its counts.
    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// The first rule of this stage that hits.
    pub(crate) fn first(
        &mut self,
        stage: Stage,
        target: Target<'_>,
        now_ms: i64,
        dice: Dice,
    ) -> Option<Fault> {
        self.at(stage, target, now_ms, dice, 1).pop()
    }

    /// Every rule of this stage that hits.
    pub(crate) fn all(
        &mut self,
        stage: Stage,
        target: Target<'_>,
        now_ms: i64,
        dice: Dice,
    ) -> Vec<Fault> {
        self.at(stage, target, now_ms, dice, usize::MAX)
    }

    fn at(
        &mut self,
        stage: Stage,
        target: Target<'_>,
        now_ms: i64,
        dice: Dice,
        most: usize,
    ) -> Vec<Fault> {
        let fits = |counted: &Counted| {
            counted.rule.wants(target.phase)
                && counted.rule.fault.stage(target.phase, counted.rule.creates_job) == stage
        };
        let hits = self.rules.iter_mut().enumerate().filter(|(_, counted)| fits(counted));
        hits.filter_map(|(index, counted)| counted.hits(index, target, now_ms, dice))
            .take(most)
            .collect()
    }
}

impl Counted {
    fn hits(&mut self, index: usize, target: Target<'_>, now_ms: i64, dice: Dice) -> Option<Fault> {
        let rule = &self.rule;
        let is_in_window = now_ms >= rule.from_ms as i64
            && rule.until_ms.is_none_or(|until_ms| now_ms < until_ms as i64);
        let is_meant = [
            (&rule.method, target.method),
            (&rule.sitekey, target.sitekey),
            (&rule.pageurl, target.pageurl),
        ]
        .into_iter()
        .all(|(pattern, text)| pattern.as_ref().is_none_or(|pattern| is_like(pattern, text)));
        if !is_in_window || !is_meant || !self.is_drawn(index, target, dice) {
            return None;
        }
        let seen = self.count(target)?;
        let rule = &self.rule;
        let is_due = seen >= rule.skip && rule.times.is_none_or(|times| seen - rule.skip < times);
        is_due.then(|| rule.fault.clone())
    }

    fn is_drawn(&self, index: usize, target: Target<'_>, dice: Dice) -> bool {
        let parts = [target.phase.label(), &index.to_string(), &target.lot.to_string()];
        self.rule.rate >= 1.0 || dice.share("rate", &parts, target.nth) < self.rule.rate
    }

    /// How many matching requests came before this one; counts it.
    fn count(&mut self, target: Target<'_>) -> Option<u64> {
        if self.rule.skip == 0 && self.rule.times.is_none() {
            return Some(0);
        }
        let key = match self.rule.per {
            Per::Rule => "",
            Per::Page => target.pageurl,
            Per::Job => target.job?,
        };
        if let Some(seen) = self.seen.get_mut(key) {
            *seen += 1;
            return Some(*seen - 1);
        }
        if self.seen.len() >= MOST_COUNTS {
            if !self.is_full {
                self.is_full = true;
                tracing::warn!(fault = self.rule.fault.label(), "a rule counts no further");
            }
            return None;
        }
        self.seen.insert(key.to_owned(), 1);
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submit(pageurl: &str, nth: u64) -> Target<'_> {
        let (phase, method, sitekey) = (Phase::Submit, "turnstile", "0x4AAA");
        let lot = pageurl.len() as u64;
        Target { phase, method, sitekey, pageurl, job: None, nth, lot }
    }

    fn hit(book: &mut Rulebook, target: Target<'_>, now_ms: i64) -> bool {
        book.first(Stage::Door, target, now_ms, Dice::new(1)).is_some()
    }

    #[test]
    fn skip_and_times_count_for_the_rule_or_for_each_page() {
        let mut book = Rulebook::new(vec![Rule::new(Fault::NoSlot).skip(1).times(1)]);
        let hits: Vec<_> = (0..4).map(|n| hit(&mut book, submit("a", n), 0)).collect();
        assert_eq!(hits, [false, true, false, false]);

        let mut book = Rulebook::new(vec![Rule::new(Fault::NoSlot).times(1).per_page()]);
        let hits: Vec<_> =
            ["a", "b", "a", "b"].iter().map(|page| hit(&mut book, submit(page, 0), 0)).collect();
        assert_eq!(hits, [true, true, false, false]);
    }

    #[test]
    fn a_window_holds_from_its_start_to_before_its_end() {
        let mut book = Rulebook::new(vec![Rule::new(Fault::NoSlot).between(10, 20)]);
        let hits: Vec<_> =
            [9, 10, 19, 20].iter().map(|at| hit(&mut book, submit("a", 0), *at)).collect();
        assert_eq!(hits, [false, true, true, false]);
    }

    #[test]
    fn a_rate_hits_its_share_and_the_same_requests_again() {
        let draw = || {
            let mut book = Rulebook::new(vec![Rule::new(Fault::NoSlot).rate(0.25)]);
            (0..2_000).map(|n| hit(&mut book, submit("a", n), 0)).collect::<Vec<_>>()
        };
        let hits = draw();
        let count = hits.iter().filter(|hit| **hit).count();
        assert!((430..570).contains(&count), "{count} of 2,000 at a rate of 0.25");
        assert_eq!(hits, draw());
    }

    #[test]
    fn a_rule_counts_only_what_it_matches() {
        let rule = Rule::new(Fault::NoSlot).pageurl("b*").times(1);
        let mut book = Rulebook::new(vec![rule]);
        assert!(!hit(&mut book, submit("a", 0), 0));
        assert!(hit(&mut book, submit("bb", 0), 0));
        assert!(!hit(&mut book, submit("bb", 1), 0));
    }
}
