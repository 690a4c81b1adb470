//! What a run has done so far: a line of progress per batch, and the closing table.

use super::beside::Side;
use super::check::Evidence;
use super::life::{End, Fate};
use deadletter::core::{StateKind, Verdict};
use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// Counts over all batches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Lives that were ended from outside or at a point, by where.
    deaths: BTreeMap<&'static str, u32>,
    /// Lives that ended by themselves.
    finished: u32,
    batches: u32,
    tasks: BTreeMap<StateKind, u32>,
    attempts: u32,
    in_doubt: u32,
    submits: u32,
    paid: u32,
    polls: u32,
    looks: u32,
    /// Side jobs that ended by themselves.
    sides: BTreeMap<&'static str, u32>,
    killed_sides: u32,
    purged: i64,
}

impl Tally {
    /// Deaths so far.
    pub(crate) fn kills(&self) -> u32 {
        self.deaths.values().sum()
    }

    /// Lives so far.
    pub(crate) fn lives(&self) -> u32 {
        self.kills() + self.finished
    }

    pub(crate) fn count_life(&mut self, fate: &Fate, end: &End) {
        let place = match (end, fate) {
            (End::Exit(_), _) => {
                self.finished += 1;
                return;
            }
            (End::AtPoint(name), _) => name,
            (End::Killed, Fate::Point { .. }) => "waiting for a point",
            (End::Killed, _) => "instant",
        };
        *self.deaths.entry(place).or_default() += 1;
    }

    pub(crate) fn count_side(&mut self, side: Side, end: &End) {
        match end {
            End::Exit(_) => *self.sides.entry(side.label()).or_default() += 1,
            End::Killed | End::AtPoint(_) => self.killed_sides += 1,
        }
    }

    pub(crate) fn count_look(&mut self) {
        self.looks += 1;
    }

    pub(crate) fn count_batch(&mut self, evidence: &Evidence) {
        self.batches += 1;
        self.purged += evidence.ledger.totals.purged;
        for task in evidence.ledger.tasks.values() {
            *self.tasks.entry(task.state).or_default() += 1;
            let in_doubt = |verdict| verdict == Some(Verdict::InDoubt);
            for attempt in &task.attempts {
                self.attempts += 1;
                self.in_doubt += u32::from(in_doubt(attempt.verdict));
            }
        }
        for line in evidence.wire.lines() {
            self.submits += u32::from(line.phase == "submit");
            self.paid += u32::from(line.paid);
            self.polls += u32::from(line.phase == "poll");
        }
    }

    /// One line.
    pub(crate) fn progress(&self, wanted: u32) -> String {
        let Self { batches, submits, .. } = self;
        let tasks = Counted(&self.tasks);
        let (kills, lives) = (self.kills(), self.lives());
        format!(
            "batch {batches}: {kills}/{wanted} kills, {lives} lives, {tasks}, {submits} submits"
        )
    }
}

/// `label n` pairs, joined by commas.
struct Counted<'a, K>(&'a BTreeMap<K, u32>);

impl<K: Display> Display for Counted<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (label, n)) in self.0.iter().enumerate() {
            write!(f, "{}{n} {label}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  kills     {:>7}  {}", self.kills(), Counted(&self.deaths))?;
        writeln!(f, "  lives     {:>7}  {} ended by themselves", self.lives(), self.finished)?;
        writeln!(f, "  looks     {:>7}  into the store between lives", self.looks)?;
        let (killed, purged) = (self.killed_sides, self.purged);
        let sides = killed + self.sides.values().sum::<u32>();
        writeln!(
            f,
            "  sides     {sides:>7}  {killed} killed, {}; {purged} letters purged",
            Counted(&self.sides)
        )?;
        let tasks: u32 = self.tasks.values().sum();
        writeln!(f, "  tasks     {tasks:>7}  {}", Counted(&self.tasks))?;
        writeln!(f, "  attempts  {:>7}  {} in doubt", self.attempts, self.in_doubt)?;
        write!(f, "  submits   {:>7}  {} paid, {} polls", self.submits, self.paid, self.polls)
    }
}
