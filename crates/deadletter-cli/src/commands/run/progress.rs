//! How far a run has come: a bar on a terminal, now and then a line elsewhere.

use crate::{app::App, commands::spent::Spent, exit::Exit, output::Bar, render};
use deadletter::{
    Deadletter,
    core::{Cause, StateKind, Task, TaskId},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    time::Duration,
};
use tokio::time::Instant;

/// Causes that are named at the end: `deadletter stats` has them all.
const CAUSES: usize = 5;
/// Without a terminal, a line this often.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// Counts of a run.
pub(crate) struct Progress {
    bar: Bar,
    began: Instant,
    said: Instant,
    total: usize,
    stored: usize,
    known: usize,
    /// Rows that were solved before, and are no tasks of this run.
    skipped: usize,
    /// Tasks solved.
    pub(crate) solved: usize,
    /// Tasks dead or buried.
    pub(crate) dead: usize,
    /// Those of them that are buried.
    buried: usize,
    cancelled: usize,
    /// What those with a verdict have cost.
    spent: Spent,
    /// Dead ones whose last failure was upstream's absence.
    unreached: usize,
    retrying: HashSet<TaskId>,
    /// What the dead died of.
    causes: BTreeMap<String, usize>,
}

impl Progress {
    /// Begins with nothing done of `total`.
    pub(crate) fn begin(app: &App, total: usize) -> Self {
        let now = Instant::now();
        Self {
            bar: app.out.bar(total),
            began: now,
            said: now,
            total,
            stored: 0,
            known: 0,
            skipped: 0,
            solved: 0,
            dead: 0,
            buried: 0,
            cancelled: 0,
            spent: Spent::default(),
            unreached: 0,
            retrying: HashSet::new(),
            causes: BTreeMap::new(),
        }
    }

    /// So many rows more are solved already.
    pub(crate) fn skipping(self, skipped: usize) -> Self {
        Self { skipped, ..self }
    }

    /// A row is a task now, or was one before.
    pub(crate) fn stored(&mut self, is_new: bool) {
        self.stored += 1;
        self.known += usize::from(!is_new);
    }

    /// All rows are tasks now.
    pub(crate) fn fed(&mut self, app: &App) {
        let (stored, known) = (self.stored, self.known);
        self.total = stored;
        self.bar.set_total(stored);
        let before =
            if known > 0 { format!("; {known} of them from before") } else { String::new() };
        let tasks = render::counted(stored, "task is stored", "tasks are stored");
        app.out.say(&format!("{tasks}{before}{}", self.skipped()));
    }

    /// A task waits for its next attempt.
    pub(crate) fn waits(&mut self, task: &Task) {
        if task.cause.is_some() {
            self.retrying.insert(task.id);
        }
    }

    /// A task has its verdict.
    pub(crate) fn settled(&mut self, task: &Task) {
        self.retrying.remove(&task.id);
        match task.kind() {
            StateKind::Solved => self.solved += 1,
            StateKind::Dead | StateKind::Buried => {
                self.dead += 1;
                self.buried += usize::from(task.kind() == StateKind::Buried);
                self.unreached += usize::from(is_unreached(task));
                let cause = task.cause.as_ref().map(ToString::to_string);
                *self.causes.entry(cause.unwrap_or_default()).or_default() += 1;
            }
            _ => self.cancelled += 1,
        }
    }

    /// A task that was dead has been answered after all.
    pub(crate) fn came_late(&mut self, died: &Task) {
        self.dead = self.dead.saturating_sub(1);
        let buried = usize::from(died.kind() == StateKind::Buried);
        self.buried = self.buried.saturating_sub(buried);
        self.unreached = self.unreached.saturating_sub(usize::from(is_unreached(died)));
        let cause = died.cause.as_ref().map(ToString::to_string).unwrap_or_default();
        if let Some(n) = self.causes.get_mut(&cause) {
            *n = n.saturating_sub(1);
        }
        self.solved += 1;
    }

    /// A task has cost this.
    pub(crate) const fn cost(&mut self, spent: Spent) {
        self.spent.add(spent);
    }

    /// The exit code: dead tasks, or an upstream that nobody could reach for any of them.
    pub(crate) const fn exit(&self) -> Exit {
        if self.dead == 0 {
            Exit::Good
        } else if self.solved == 0 && self.unreached == self.dead {
            Exit::Upstream
        } else {
            Exit::DeadTasks
        }
    }

    fn skipped(&self) -> String {
        let rows = match self.skipped {
            0 => return String::new(),
            n => render::counted(n, "row was", "rows were"),
        };
        format!("; {rows} skipped, whose answers --out has already")
    }

    const fn done(&self) -> usize {
        self.solved + self.dead + self.cancelled
    }

    /// Shows how far it has come.
    pub(crate) fn draw(&mut self, engine: &Deadletter, app: &App) {
        let now = Instant::now();
        let line = self.line(engine, now);
        self.bar.draw(self.done(), line.clone());
        if self.bar.is_hidden() && now - self.said >= LINE_EVERY {
            self.said = now;
            app.out.say(&format!("{} of {}: {line}", self.done(), self.total));
        }
    }

    fn line(&self, engine: &Deadletter, now: Instant) -> String {
        let status = engine.status();
        let in_flight = status.submitting + status.polling;
        let late = status.polling_late;
        let threads: u32 = status.accounts.iter().map(|account| account.threads).sum();
        let seconds = (now - self.began).as_secs_f64().max(0.001);
        let rate = self.done() as f64 / seconds;
        let left = self.total.saturating_sub(self.done());
        let (solved, dead, retrying) = (self.solved, self.dead, self.retrying.len());
        let mut line = format!("{rate:.1}/s");
        if self.done() > 0 && left > 0 {
            let ms = (left as f64 / rate * 1_000.0) as i64;
            line.push_str(&format!(", {} left", render::duration(ms)));
        }
        // What matters most comes first: a narrow terminal cuts the end.
        line.push_str(&format!(
            ", {solved} solved, {dead} dead, {retrying} retrying, {in_flight} of {threads} in flight"
        ));
        if late > 0 {
            line.push_str(&format!(", {late} may answer late"));
        }
        for account in &status.accounts {
            if account.phase != deadletter::core::breaker::Phase::Closed {
                line.push_str(&format!(", breaker {}", account.phase));
            }
        }
        line
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.clear();
    }

    /// Takes the bar away, and says how it ended.
    pub(crate) fn end(&self, app: &App, engine: &Deadletter) {
        self.bar.clear();
        let status = engine.status();
        let (solved, total, dead) = (self.solved, self.total, self.dead);
        let mut told = format!("{solved} of {total} solved, {} dead", dead - self.buried);
        let open = total.saturating_sub(self.done());
        for (n, word) in [(self.buried, "buried"), (self.cancelled, "cancelled"), (open, "open")] {
            if n > 0 {
                told.push_str(&format!(", {n} {word}"));
            }
        }
        app.out.say(&format!("{told}{}; {}", self.skipped(), self.spent.counted()));
        self.spent.tell_doubt(app);
        if dead > 0 {
            app.out.say("why they died: deadletter stats; again: deadletter redrive --where state:dead --dry-run");
        }
        if let Some(told) = died_of(&self.causes) {
            app.out.say(&told);
        }
        for account in status.accounts {
            if let Some(failure) = account.stopped {
                app.out.say(&format!("account {} is stopped: {}", account.name, failure.cause));
            }
        }
    }
}

/// What the dead died of, the most frequent cause first; none where nobody knows.
fn died_of(causes: &BTreeMap<String, usize>) -> Option<String> {
    let mut causes: Vec<_> =
        causes.iter().filter(|(cause, n)| !cause.is_empty() && **n > 0).collect();
    causes.sort_by_key(|(_, n)| Reverse(**n));
    let (first, most) = *causes.first()?;
    let others = causes.iter().take(CAUSES).skip(1).map(|(cause, n)| format!(", {n} of {cause}"));
    let mut told = format!("{most} died of {first}{}", others.collect::<String>());
    if causes.len() > CAUSES {
        told.push_str(&format!(", and of {} more causes", causes.len() - CAUSES));
    }
    Some(format!("{told}; what it means: deadletter explain {first}"))
}

/// True where upstream could not be reached, or not be understood, when the task died.
pub(crate) fn is_unreached(task: &Task) -> bool {
    let cause = task.cause.as_ref().map(|cause| cause.as_str());
    matches!(cause, Some(Cause::NETWORK | Cause::UNREADABLE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_are_told_by_cause_the_most_frequent_first() {
        let causes = |of: &[(&str, usize)]| {
            died_of(&of.iter().map(|(cause, n)| ((*cause).to_owned(), *n)).collect())
        };
        assert_eq!(causes(&[("", 2)]), None);
        assert_eq!(
            causes(&[("TIMEOUT", 1), ("", 9), ("ERROR_PAGEURL", 4)]).expect("known"),
            "4 died of ERROR_PAGEURL, 1 of TIMEOUT; what it means: deadletter explain ERROR_PAGEURL"
        );
        let many = ["A", "B", "C", "D", "E", "F", "G"].map(|cause| (cause, 1));
        assert!(causes(&many).expect("known").contains("1 of E, and of 2 more causes;"));
    }
}
