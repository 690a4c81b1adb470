//! The figures of the demo, and the pictures of them.

use crate::{app::App, fault::Result, render};
use deadletter::{
    core::{
        UnixMs,
        breaker::Transition,
        counts::{Standing, Tallied, Tally},
    },
    store::Totals,
};
use serde_json::json;

/// What was measured.
pub(super) struct Facts {
    pub(super) totals: Totals,
    pub(super) died: Vec<(Standing, i64)>,
    pub(super) failures: Vec<(Tally, i64)>,
    pub(super) again: u64,
    pub(super) intents: u64,
    pub(super) paid: u64,
    pub(super) peak_threads: u32,
    pub(super) threads: u32,
    pub(super) breaker: Vec<Transition>,
    pub(super) began_at: UnixMs,
    pub(super) ended_at: UnixMs,
}

impl Facts {
    /// True where every promise of the demo was kept: nothing lost, nothing paid for without an
    /// intent, no thread too many, and everything that could be redriven was solved.
    pub(super) fn is_sound(&self) -> bool {
        let totals = &self.totals;
        totals.is_conserved()
            && totals.queued + totals.submitting + totals.polling == 0
            && self.paid <= self.intents
            && self.peak_threads <= self.threads
            && self.breaker.len() >= 3
            && self.hopeless() == totals.dead
    }

    /// Dead letters that no redrive can help.
    fn hopeless(&self) -> i64 {
        let is_permanent =
            |row: &&(Standing, i64)| row.0.class == Some(deadletter::core::Class::Permanent);
        self.died.iter().filter(is_permanent).map(|(_, n)| n).sum()
    }

    fn causes(&self) -> Vec<(String, i64)> {
        let cause = |row: &Standing| row.cause.as_ref().map_or("-".to_owned(), ToString::to_string);
        self.died.iter().map(|(row, n)| (cause(row), *n)).collect()
    }

    /// Failures per minute of the story.
    fn by_minute(&self) -> Vec<i64> {
        let minutes = self.ended_at.since(self.began_at) / 60_000 + 1;
        let mut counts = vec![0; usize::try_from(minutes).unwrap_or(1)];
        for (row, n) in self.failures.iter().filter(|(row, _)| row.tallied == Tallied::Failed) {
            let minute = row.minute.since(self.began_at).max(0) / 60_000;
            if let Some(count) = usize::try_from(minute).ok().and_then(|at| counts.get_mut(at)) {
                *count += n;
            }
        }
        counts
    }
}

pub(super) fn show(app: &App, facts: &Facts) -> Result<()> {
    if app.global.json {
        return app.out.json(&as_json(facts));
    }
    let (width, glyphs) = (app.out.width, app.out.glyphs);
    let totals = &facts.totals;
    let minutes = facts.by_minute();
    let span = render::duration(facts.ended_at.since(facts.began_at));
    let mut parts = vec![
        String::new(),
        render::columns("failures of attempts, per minute", &minutes, ("0", &span), width, glyphs),
        String::new(),
        render::bars("what died before the redrive", &facts.causes(), width, glyphs),
        String::new(),
    ];
    let lines = [
        format!("accepted       {}", totals.accepted),
        format!(
            "solved         {}, {} of them brought back by a redrive",
            totals.solved, facts.again
        ),
        format!("dead           {} (a wrong site key: no retry can help)", totals.dead),
        "lost           0".to_owned(),
        format!(
            "submits        {} paid for, {} intents written before them",
            facts.paid, facts.intents
        ),
        format!("threads        {} used at most, of {}", facts.peak_threads, facts.threads),
        format!("breaker        {} changes of phase", facts.breaker.len()),
    ];
    parts.extend(lines);
    if !facts.is_sound() {
        parts.push("\nsomething in these figures is not as promised: please report it".to_owned());
    }
    app.out.picture(&parts.join("\n"))
}

fn as_json(facts: &Facts) -> serde_json::Value {
    let breaker: Vec<_> = facts
        .breaker
        .iter()
        .map(|t| json!({"at_ms": t.at.since(facts.began_at), "from": t.from, "to": t.to, "reason": t.reason.to_string()}))
        .collect();
    json!({
        "totals": facts.totals,
        "is_conserved": facts.totals.is_conserved(),
        "died": facts.causes(),
        "redriven": facts.again,
        "submits_paid": facts.paid,
        "intents": facts.intents,
        "threads": facts.threads,
        "peak_threads": facts.peak_threads,
        "breaker": breaker,
        "failures_per_minute": facts.by_minute(),
        "story_ms": facts.ended_at.since(facts.began_at),
        "is_sound": facts.is_sound(),
    })
}
