//! Changes: facts under an attempt's token, rows under a version.

use super::{attempt_row, deliveries, failure::Outcome, page, task_row, writer::Session};
use crate::Committed;
use deadletter_core::{
    AttemptToken, Change, DeadReason, Delivery, Event, Fact, ItemState, Learned, OperationId,
    Reading, RowChange, TaskId,
};

/// Writes changes in order, one answer each.
pub(super) fn commit(session: &mut Session<'_, '_>, changes: &[Change]) -> Outcome<Vec<Committed>> {
    changes.iter().map(|change| commit_one(session, change)).collect()
}

fn commit_one(session: &mut Session<'_, '_>, change: &Change) -> Outcome<Committed> {
    for fact in change.naming() {
        if attempt_row::is_id_taken(session.statements, fact)? {
            return Ok(Committed::IdTaken);
        }
    }
    let written = match &change.row {
        Some(row) => write_row(session, row)?,
        None => true,
    };
    if let Some((answer, at)) = change.wins_by().filter(|_| written) {
        session.counts.won(answer, at);
    }
    for fact in change.facts_taken(written) {
        learn(session, fact)?;
    }
    Ok(if written { Committed::Applied } else { Committed::Stale })
}

/// Notes which verdicts were told; answers how many of them were news.
pub(super) fn mark_read(session: &mut Session<'_, '_>, readings: &[Reading]) -> Outcome<u64> {
    let mut news = 0;
    for reading in readings {
        let task = page::get(session.conn, reading.task)?;
        let Some(task) = task.filter(|task| reading.is_news_to(task)) else { continue };
        task_row::mark_read(session.statements, reading)?;
        session.counts.read(&task, reading);
        news += 1;
    }
    Ok(news)
}

/// Takes a fact in, if the attempt exists and the core calls it news.
fn learn(session: &mut Session<'_, '_>, fact: &Fact) -> Outcome<()> {
    let Some(mut attempt) = attempt_row::get(session.statements, fact.task, fact.token)? else {
        return Ok(());
    };
    let before = attempt.clone();
    if !attempt.learn(fact) {
        return Ok(());
    }
    session.permits.update(session.statements, &before, &attempt)?;
    session.counts.learned(&before, &attempt, fact.at);
    if let Learned::Answered(answer) = &fact.learned {
        attempt_row::insert_answer(session.statements, answer)?;
    }
    Ok(())
}

/// Writes a row with its counts, its event, its delivery and its operation's item; false where it
/// is stale.
pub(super) fn write_row(session: &mut Session<'_, '_>, row: &RowChange) -> Outcome<bool> {
    if !task_row::update(session.statements, row, session.now)? {
        return Ok(false);
    }
    session.counts.changed(row);
    if let Some(event) = row.event() {
        append(session, &event)?;
    }
    if let Some(delivery) = Delivery::of(row) {
        deliveries::insert(session, &delivery)?;
    }
    if let Some(operation) = &row.settles {
        settle(session, operation, row.after.id, ItemState::Done)?;
    }
    Ok(true)
}

pub(super) fn append(session: &Session<'_, '_>, event: &Event) -> Outcome<()> {
    const SQL: &str = "INSERT INTO events (task, at, state, reason, cause, answered_by) \
         VALUES (?, ?, ?, ?, ?, ?)";
    session.statements.get(SQL)?.execute((
        event.task.as_i64(),
        event.at.0,
        event.state.label(),
        event.reason.map(DeadReason::label),
        event.cause.as_ref().map(|cause| cause.as_str()),
        event.answered_by.map(AttemptToken::get),
    ))?;
    Ok(())
}

/// Moves a pending item on; any other stays.
pub(super) fn settle(
    session: &mut Session<'_, '_>,
    operation: &OperationId,
    task: TaskId,
    state: ItemState,
) -> Outcome<()> {
    let settled = session
        .conn
        .prepare_cached(
            "UPDATE operation_items SET state = ? \
             WHERE operation = ? AND task = ? AND state = 'pending'",
        )?
        .execute((state.label(), operation.as_str(), task.as_i64()))?;
    if settled == 1 {
        session.counts.items(operation, ItemState::Pending, -1);
        session.counts.items(operation, state, 1);
    }
    Ok(())
}
