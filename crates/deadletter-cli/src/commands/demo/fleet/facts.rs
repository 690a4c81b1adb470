//! The figures of the demo with workers.

use super::worker::Worker;
use crate::{app::App, fault::Result, render::Table, shelf::fault};
use deadletter::{
    core::{Attempt, TaskId, Verdict, WorkerId},
    store::{Store, Totals},
};
use deadletter_sim::Stats;
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc};

/// What was measured.
pub(super) struct Facts {
    totals: Totals,
    parts: Vec<Part>,
    /// Submits that upstream took.
    paid: u64,
    /// Attempts whose outcome nobody knew, or that came to nothing: their tasks were submitted again.
    again: u64,
    /// Tasks that were submitted again although an attempt of theirs was well under way.
    twice: usize,
    peak_threads: u32,
    threads: u32,
}

/// What one worker did.
struct Part {
    pid: u32,
    end: &'static str,
    solved: usize,
    held: usize,
    /// Of these, solved by another worker.
    taken_over: usize,
}

impl Facts {
    /// Looks at the store and at upstream, when all is over.
    pub(super) async fn gather(
        store: &Arc<dyn Store>,
        workers: &[Worker],
        tasks: impl Iterator<Item = &TaskId>,
        stats: &Stats,
        threads: u32,
    ) -> Result<Self> {
        let (mut solvers, mut again, mut twice) = (HashMap::new(), 0, 0);
        for id in tasks {
            let attempts = store.history(*id).await.map_err(fault)?;
            let well = attempts.iter().filter(|attempt| is_well(attempt)).count();
            again += (attempts.len() - well) as u64;
            twice += usize::from(well > 1);
            let solved = attempts.into_iter().find(|it| it.verdict == Some(Verdict::Solved));
            solvers.extend(solved.and_then(|attempt| Some((*id, attempt.worker?))));
        }
        Ok(Self {
            totals: store.totals().await.map_err(fault)?,
            parts: workers.iter().map(|worker| Part::of(worker, &solvers)).collect(),
            paid: stats.paid,
            again,
            twice,
            peak_threads: u32::try_from(stats.peak_threads).unwrap_or(u32::MAX),
            threads,
        })
    }

    fn lost(&self) -> i64 {
        self.totals.accepted - self.totals.solved
    }

    /// True where every promise of the demo was kept.
    pub(super) fn is_sound(&self) -> bool {
        let taken_over = self.parts.iter().all(|part| part.taken_over == part.held);
        self.totals.is_conserved()
            && self.lost() == 0
            && self.twice == 0
            && self.paid <= self.totals.solved.unsigned_abs() + self.again
            && self.peak_threads <= self.threads
            && taken_over
    }

    /// Prints them.
    pub(super) fn show(&self, app: &App) -> Result<()> {
        if app.global.json {
            return app.out.json(&self.as_json());
        }
        let mut table = Table::new(&["process", "at the end", "solved", "held then", "taken over"]);
        for part in &self.parts {
            let n = |n: usize| if part.held == 0 { "-".to_owned() } else { n.to_string() };
            table.row([
                part.pid.to_string(),
                part.end.to_owned(),
                part.solved.to_string(),
                n(part.held),
                n(part.taken_over),
            ]);
        }
        let mut lines = vec![
            String::new(),
            table.draw(app.out.width, app.out.glyphs),
            String::new(),
            format!("accepted       {}", self.totals.accepted),
            format!("solved         {}", self.totals.solved),
            format!("lost           {}", self.lost()),
            format!(
                "submits        {} paid for; {} tasks paid for twice without a doubt, {} submits again \
                 after one that was in doubt or failed",
                self.paid, self.twice, self.again
            ),
            format!("threads        {} used at most, of {}", self.peak_threads, self.threads),
        ];
        if !self.is_sound() {
            lines.push(
                "\nsomething in these figures is not as promised: please report it".to_owned(),
            );
        }
        app.out.picture(&lines.join("\n"))
    }

    fn as_json(&self) -> Value {
        let part = |part: &Part| {
            json!({
                "process": part.pid, "end": part.end, "solved": part.solved,
                "held": part.held, "taken_over": part.taken_over,
            })
        };
        json!({
            "totals": self.totals,
            "is_conserved": self.totals.is_conserved(),
            "workers": self.parts.iter().map(part).collect::<Vec<_>>(),
            "lost": self.lost(),
            "submits_paid": self.paid,
            "submits_again": self.again,
            "paid_twice": self.twice,
            "threads": self.threads,
            "peak_threads": self.peak_threads,
            "is_sound": self.is_sound(),
        })
    }
}

impl Part {
    fn of(worker: &Worker, solvers: &HashMap<TaskId, WorkerId>) -> Self {
        let solved = solvers.values().filter(|solver| worker.ids.contains(*solver)).count();
        let taken_over = worker.held.iter().filter(|id| {
            // Where it has woken again, it may have solved some of them itself.
            solvers.contains_key(*id)
        });
        Self {
            pid: worker.pid,
            end: worker.end.map_or("at work", super::worker::End::label),
            solved,
            held: worker.held.len(),
            taken_over: taken_over.count(),
        }
    }
}

/// An attempt that gives nobody a reason to submit its task again.
fn is_well(attempt: &Attempt) -> bool {
    attempt.abandoned_at.is_none() && matches!(attempt.verdict, None | Some(Verdict::Solved))
}
