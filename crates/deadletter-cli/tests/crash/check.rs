//! The checks: from what upstream saw and what the store says to what was broken, one line each.
//!
//! Pure functions over evidence, so that falsified evidence shows that each of them can fail.

use super::beside::is_spare;
use super::ledger::{Kept, Ledger, Try};
use super::wire::{Line, Wire};
use deadletter::core::{StateKind, TaskId, Verdict};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Everything that is known when the checks run.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) wire: Wire,
    pub(crate) ledger: Ledger,
    /// Answers that the program has written out, by task, in their order.
    pub(crate) written: Vec<(TaskId, String)>,
    /// The pages of the batch: one task each.
    pub(crate) pages: BTreeSet<String>,
    /// Open jobs never exceed it.
    pub(crate) threads: u32,
    /// A "not ready" past this age lets an attempt be abandoned, in upstream's milliseconds.
    pub(crate) timeout_ms: i64,
    /// True where the program ended by itself: nothing is under way any more.
    pub(crate) is_finished: bool,
}

type Check = fn(&Evidence) -> Vec<String>;

/// Every check by the promise that it holds.
pub(crate) const CHECKS: [(&str, Check); 12] = [
    ("accepted = states + purged, and a recount agrees", conserved),
    ("every row is one task, and no accepted task is lost", one_task_per_row),
    ("wire submits never exceed intents", intents_cover_the_wire),
    ("accepted plus in doubt never exceeds K", never_above_k),
    ("an upstream id belongs to one task", ids_have_one_owner),
    ("a stored upstream id is asked before anything is submitted again", asked_before_resubmit),
    ("a stored upstream id is followed to its end", followed_to_the_end),
    ("an answer is kept, true, and goes to one task", answers_are_true),
    ("each answer is written out once", written_once),
    ("open jobs never exceed the threads", within_threads),
    ("each terminal change is one event", events_tell_the_states),
    ("the core's invariants hold for every task", |evidence| evidence.ledger.broken.clone()),
];

/// What is broken: the promise, and each case.
pub(crate) fn violations(evidence: &Evidence) -> Vec<String> {
    CHECKS
        .iter()
        .flat_map(|(promise, check)| {
            check(evidence).into_iter().map(move |case| format!("{promise}: {case}"))
        })
        .collect()
}

/// What can be said of a store by itself, without what upstream saw.
pub(crate) fn violations_alone(ledger: &Ledger) -> Vec<String> {
    let mut found = unsound(ledger);
    found.extend(ledger.broken.iter().cloned());
    found
}

/// What the store has forgotten or taken back between two looks.
pub(crate) fn regressions(before: &Ledger, after: &Ledger) -> Vec<String> {
    let mut found = Vec::new();
    for (id, old) in &before.tasks {
        match after.tasks.get(id) {
            None if is_spare(&old.page) => {}
            None => found.push(format!("task {id} is gone")),
            Some(new) => regression(*id, old, new, &mut found),
        }
    }
    // The events of a purged task go with it.
    let is_kept = |(id, _): &&(TaskId, StateKind)| {
        before.tasks.get(id).is_some_and(|task| !is_spare(&task.page))
    };
    let (old, new) = (before.events.iter().filter(is_kept), after.events.iter().filter(is_kept));
    if !new.take(old.clone().count()).eq(old) {
        found.push("events were changed or lost".to_owned());
    }
    found
}

fn regression(id: TaskId, old: &Kept, new: &Kept, found: &mut Vec<String>) {
    if new.version < old.version {
        found.push(format!("task {id} went back from version {} to {}", old.version, new.version));
    }
    if old.state == StateKind::Solved && (new.state, &new.answer) != (old.state, &old.answer) {
        found.push(format!("task {id} was solved and is {} or has another answer", new.state));
    }
    for attempt in &old.attempts {
        let same = new.attempts.iter().find(|other| other.token == attempt.token);
        match same {
            None => found.push(format!("task {id} lost the attempt {}", attempt.token)),
            Some(now)
                if attempt.upstream_id.is_some() && now.upstream_id != attempt.upstream_id =>
            {
                found.push(format!("task {id} lost the upstream id of {}", attempt.token));
            }
            Some(_) => {}
        }
    }
}

fn conserved(Evidence { ledger, .. }: &Evidence) -> Vec<String> {
    unsound(ledger)
}

fn unsound(ledger: &Ledger) -> Vec<String> {
    let mut found = Vec::new();
    if !ledger.totals.is_conserved() {
        found.push(format!("the counts do not add up: {:?}", ledger.totals));
    }
    if ledger.totals != ledger.recount {
        found.push(format!("counts {:?} but rows {:?}", ledger.totals, ledger.recount));
    }
    if i64::try_from(ledger.tasks.len()).ok() != Some(ledger.totals.standing()) {
        found.push(format!("{} rows are read back", ledger.tasks.len()));
    }
    found
}

fn one_task_per_row(evidence: &Evidence) -> Vec<String> {
    let mut tasks: BTreeMap<&str, u32> = BTreeMap::new();
    for task in evidence.ledger.tasks.values() {
        *tasks.entry(&task.page).or_default() += 1;
    }
    let mut found: Vec<String> = tasks
        .iter()
        .filter(|(page, n)| **n > 1 || !(evidence.pages.contains(**page) || is_spare(page)))
        .map(|(page, n)| format!("{page} has {n} tasks"))
        .collect();
    let missing = evidence.pages.iter().filter(|page| !tasks.contains_key(page.as_str()));
    if evidence.is_finished {
        found.extend(missing.map(|page| format!("{page} has no task")));
        found.extend(
            with_state(evidence, |state| !state.is_terminal())
                .map(|(id, task)| format!("task {id} is left {}", task.state)),
        );
    }
    found
}

fn intents_cover_the_wire(evidence: &Evidence) -> Vec<String> {
    let mut intents: HashMap<&str, usize> = HashMap::new();
    for task in evidence.ledger.tasks.values() {
        let sent = task.attempts.iter().filter(|a| a.verdict != Some(Verdict::Withheld)).count();
        *intents.entry(&task.page).or_default() += sent;
    }
    evidence
        .wire
        .pages()
        .filter_map(|page| {
            let (sent, intended) =
                (evidence.wire.submits_of(page).count(), intents.get(page).copied().unwrap_or(0));
            (sent > intended).then(|| format!("{page}: {sent} submits, {intended} intents"))
        })
        .collect()
}

fn never_above_k(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    for (id, task) in &evidence.ledger.tasks {
        let k = task.max_submits as usize;
        let counted = task.attempts.iter().filter(|attempt| may_be_paid(attempt)).count();
        let paid = evidence.wire.submits_of(&task.page).filter(|line| line.paid).count();
        if counted > k || paid > k {
            found.push(format!("task {id}: {counted} accepted or in doubt, {paid} paid, K is {k}"));
        }
        if paid > counted {
            found.push(format!("task {id}: {paid} paid, but {counted} accepted or in doubt"));
        }
        if counted > task.submits as usize {
            found.push(format!("task {id}: counts {} submits of {counted}", task.submits));
        }
    }
    found
}

/// An attempt that upstream took, or may have taken.
fn may_be_paid(attempt: &Try) -> bool {
    attempt.upstream_id.is_some()
        || !matches!(attempt.verdict, Some(Verdict::Withheld | Verdict::Refused))
}

fn ids_have_one_owner(evidence: &Evidence) -> Vec<String> {
    let mut owners: HashMap<&str, TaskId> = HashMap::new();
    let mut found = Vec::new();
    for (id, task, _, upstream_id) in stored_ids(evidence) {
        if let Some(other) = owners.insert(upstream_id, id) {
            found.push(format!("{upstream_id} stands in attempts of {other} and {id}"));
        }
        if evidence.wire.birth_of(&task.page, upstream_id).is_none() {
            found.push(format!("{upstream_id} of task {id} was never given to {}", task.page));
        }
    }
    found
}

/// Every attempt that knows its upstream id.
fn stored_ids(evidence: &Evidence) -> impl Iterator<Item = (TaskId, &Kept, &Try, &str)> {
    evidence.ledger.tasks.iter().flat_map(|(id, task)| {
        task.attempts.iter().filter_map(move |attempt| {
            attempt.upstream_id.as_deref().map(|upstream_id| (*id, task, attempt, upstream_id))
        })
    })
}

fn asked_before_resubmit(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    for (id, task, attempt, upstream_id) in stored_ids(evidence) {
        let Some(birth) = evidence.wire.birth_of(&task.page, upstream_id) else { continue };
        // An id that was read when its attempt had been given up already binds nobody.
        let was_known = |later: &&Try| later.intent_at >= attempt.accepted_at.unwrap_or(i64::MAX);
        let later = task.attempts.iter().filter(|other| other.intent_at > attempt.intent_at);
        if !later.clone().all(|later| was_known(&later)) {
            continue;
        }
        let late = may_arrive_late(evidence, task, attempt, birth);
        // A frozen process that wakes sends what it meant to before the others went on.
        let is_meant_earlier = |line: &&Line| {
            let earlier = task.attempts.iter().filter(|it| it.intent_at < attempt.intent_at);
            earlier.into_iter().any(|it| it.upstream_id.is_some() && it.upstream_id == line.id)
        };
        let after = evidence.wire.submits_of(&task.page).filter(|line| line.seq > birth.seq);
        let mut after = after.filter(|line| !is_meant_earlier(line));
        let again = after.nth(late);
        let release = evidence
            .wire
            .polls_of(upstream_id)
            .find(|poll| poll.gave_a_verdict() || is_overdue(evidence, birth, poll));
        if let Some(again) = again
            && release.is_none_or(|release| release.seq > again.seq)
        {
            found.push(format!("task {id} was submitted again while {upstream_id} was good"));
        }
    }
    found
}

/// Submits of earlier attempts, in doubt since their process was killed, that upstream had not read
/// yet when it took this one: what was on the wire is delivered after its sender's death.
fn may_arrive_late(evidence: &Evidence, task: &Kept, attempt: &Try, birth: &Line) -> usize {
    let in_doubt = task.attempts.iter().filter(|earlier| {
        earlier.intent_at < attempt.intent_at
            && earlier.upstream_id.is_none()
            && earlier.verdict == Some(Verdict::InDoubt)
    });
    let is_known = |line: &&Line| {
        task.attempts.iter().any(|it| it.upstream_id.is_some() && it.upstream_id == line.id)
    };
    let before = evidence.wire.submits_of(&task.page).filter(|line| line.seq < birth.seq);
    let arrived = before.filter(|line| !is_known(line)).count();
    in_doubt.count().saturating_sub(arrived)
}

/// A readable "not ready" past the attempt's time-out. A tenth of grace, for the age is measured
/// by upstream's clock here and by the program's own there.
fn is_overdue(evidence: &Evidence, birth: &Line, poll: &Line) -> bool {
    poll.answered == "CAPCHA_NOT_READY"
        && poll.at_ms - birth.at_ms >= evidence.timeout_ms - evidence.timeout_ms / 10
}

fn followed_to_the_end(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    for (id, task, attempt, upstream_id) in stored_ids(evidence) {
        let Some(birth) = evidence.wire.birth_of(&task.page, upstream_id) else { continue };
        let mut polls = evidence.wire.polls_of(upstream_id);
        let is_at_end = polls.any(|poll| {
            poll.gave_the_answer() || poll.gave_a_verdict() || is_overdue(evidence, birth, poll)
        });
        let is_over = evidence.is_finished && task.state != StateKind::Solved;
        if !is_at_end && (is_over || !attempt.is_open) {
            found.push(format!("{upstream_id} of task {id} was dropped without a verdict"));
        }
    }
    found
}

fn answers_are_true(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut winners: HashMap<&str, TaskId> = HashMap::new();
    for (id, task) in &evidence.ledger.tasks {
        let Some(won) = &task.answer else {
            if task.state == StateKind::Solved {
                found.push(format!("task {id} is solved without an answer"));
            }
            continue;
        };
        if let Some(other) = winners.insert(&won.text, *id) {
            found.push(format!("tasks {other} and {id} have the same answer"));
        }
        let attempt = task.attempts.iter().find(|attempt| attempt.token == won.token);
        let upstream_id = attempt.and_then(|attempt| attempt.upstream_id.as_deref());
        // The simulator writes the job's id into the token that it gives.
        let is_its_own = upstream_id.is_some_and(|id| {
            won.text.contains(&format!("-{id}-"))
                && evidence.wire.polls_of(id).any(Line::gave_the_answer)
        });
        if !is_its_own {
            found.push(format!("task {id} has an answer that its attempt was not given"));
        }
    }
    if evidence.is_finished {
        found.extend(answers_left_lying(evidence));
    }
    found
}

/// Answers that upstream gave for an attempt which is closed, but whose task is not solved.
fn answers_left_lying(evidence: &Evidence) -> impl Iterator<Item = String> {
    stored_ids(evidence).filter_map(|(id, task, attempt, upstream_id)| {
        let was_given = evidence.wire.polls_of(upstream_id).any(Line::gave_the_answer);
        let is_unused = !matches!(task.state, StateKind::Solved | StateKind::Cancelled);
        (was_given && is_unused && !attempt.is_open).then(|| {
            format!("the answer of {upstream_id} was read, and task {id} is {}", task.state)
        })
    })
}

fn written_once(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut written = BTreeSet::new();
    for (id, text) in &evidence.written {
        let task = evidence.ledger.tasks.get(id);
        let kept = task.and_then(|task| task.answer.as_ref()).map(|won| &won.text);
        if kept != Some(text) {
            found.push(format!("the answer of task {id} was written, and is not kept"));
        }
        if !written.insert(*id) {
            found.push(format!("the answer of task {id} was written twice"));
        }
    }
    if evidence.is_finished {
        found.extend(
            with_state(evidence, |state| state == StateKind::Solved)
                .filter(|(id, _)| !written.contains(id))
                .map(|(id, _)| format!("the answer of task {id} was never written")),
        );
    }
    found
}

fn within_threads(evidence: &Evidence) -> Vec<String> {
    let over = evidence.wire.lines().iter().find(|line| line.open_jobs > evidence.threads);
    over.map(|line| format!("{} jobs open at request {}", line.open_jobs, line.seq))
        .into_iter()
        .collect()
}

fn events_tell_the_states(evidence: &Evidence) -> Vec<String> {
    let mut last: HashMap<TaskId, StateKind> = HashMap::new();
    let mut found = Vec::new();
    for (id, state) in &evidence.ledger.events {
        if last.insert(*id, *state) == Some(StateKind::Solved) {
            found.push(format!("task {id} became {state} after it was solved"));
        }
    }
    found.extend(
        with_state(evidence, StateKind::is_terminal)
            .filter(|(id, task)| last.get(id) != Some(&task.state))
            .map(|(id, task)| {
                format!("task {id} is {}, its last event says otherwise", task.state)
            }),
    );
    found
}

fn with_state(
    evidence: &Evidence,
    wanted: impl Fn(StateKind) -> bool,
) -> impl Iterator<Item = (TaskId, &Kept)> {
    let tasks = evidence.ledger.tasks.iter();
    tasks.filter(move |(_, task)| wanted(task.state)).map(|(id, task)| (*id, task))
}

#[cfg(test)]
#[path = "teeth.rs"]
mod tests;
