//! Deliveries: made with the change that they tell of, taken when due, settled.

use super::{columns::Columns, failure::Outcome, writer::Session};
use crate::{Among, DeliveryCounts, Due, NextDelivery};
use deadletter_core::{AttemptToken, Delivery, DeliveryState, Settlement, TaskId};
use rusqlite::{Connection, OptionalExtension, Row};

/// The columns of a delivery, as [`read`] expects them.
macro_rules! columns {
    () => {
        "task, version, place, ended, cause, class, answered_by, made_at, state, due_at, tries, \
         settled_at, said"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO deliveries (",
    columns!(),
    ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
);

pub(super) const DUE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM deliveries INDEXED BY deliveries_due WHERE due_at IS NOT NULL AND place = ? \
     AND due_at <= ? ORDER BY due_at, task, version LIMIT ?"
);

/// The first of what waits for the place of a row `p`.
macro_rules! first_of_p {
    () => {
        "(SELECT due_at FROM deliveries INDEXED BY deliveries_due \
         WHERE due_at IS NOT NULL AND deliveries.place = p.place ORDER BY due_at LIMIT 1)"
    };
}

/// Steps from place to place through the index: what waits for one of them is not walked.
pub(super) const NEXT_OF_ALL: &str = concat!(
    "WITH RECURSIVE p (place) AS ( \
     SELECT (SELECT place FROM deliveries INDEXED BY deliveries_due \
     WHERE due_at IS NOT NULL ORDER BY place LIMIT 1) UNION ALL \
     SELECT (SELECT place FROM deliveries INDEXED BY deliveries_due \
     WHERE due_at IS NOT NULL AND deliveries.place > p.place ORDER BY place LIMIT 1) \
     FROM p WHERE p.place IS NOT NULL) SELECT place, ",
    first_of_p!(),
    " AS first_at FROM p WHERE place IS NOT NULL \
     AND place NOT IN (SELECT value FROM json_each(?)) ORDER BY first_at LIMIT 1"
);

pub(super) const NEXT_OF_THESE: &str = concat!(
    "SELECT place, ",
    first_of_p!(),
    " AS first_at FROM (SELECT value AS place FROM json_each(?)) AS p \
     WHERE first_at IS NOT NULL ORDER BY first_at LIMIT 1"
);

pub(super) const GET: &str =
    concat!("SELECT ", columns!(), " FROM deliveries WHERE task = ? AND version = ?");

pub(super) const OF_TASK: &str =
    concat!("SELECT ", columns!(), " FROM deliveries WHERE task = ? ORDER BY version DESC LIMIT ?");

pub(super) const UPDATE: &str = "UPDATE deliveries SET state = ?, due_at = ?, tries = ?, \
     settled_at = ?, said = ? WHERE task = ? AND version = ?";

/// Writes a new delivery.
pub(super) fn insert(session: &mut Session<'_, '_>, delivery: &Delivery) -> Outcome<()> {
    session.counts.deliveries(delivery.state, 1);
    session.statements.get(INSERT)?.execute((
        delivery.task.as_i64(),
        delivery.version.cast_signed(),
        &delivery.place,
        delivery.ended.label(),
        delivery.cause.as_ref().map(|cause| cause.as_str()),
        delivery.class.map(|class| class.label()),
        delivery.answered_by.map(AttemptToken::get),
        delivery.made_at.0,
        delivery.state.label(),
        delivery.due_at.map(|at| at.0),
        delivery.tries,
        delivery.settled_at.map(|at| at.0),
        &delivery.said,
    ))?;
    Ok(())
}

/// Takes what is due, as the contract of `Deliveries::take_deliveries` says.
pub(super) fn take(session: &mut Session<'_, '_>, due: &Due) -> Outcome<Vec<Delivery>> {
    let mut taken = {
        let mut statement = session.statements.get(DUE)?;
        let rows = statement.query_map((&due.place, due.now.0, due.limit), read)?;
        rows.collect::<rusqlite::Result<Vec<Delivery>>>()?
    };
    for delivery in &mut taken {
        *delivery = delivery.clone().taken(due.until);
        update(session, delivery)?;
    }
    Ok(taken)
}

/// Writes what came of tries, one answer each.
pub(super) fn settle(session: &mut Session<'_, '_>, settled: &[Settlement]) -> Outcome<Vec<bool>> {
    settled.iter().map(|settled| settle_one(session, settled)).collect()
}

fn settle_one(session: &mut Session<'_, '_>, settled: &Settlement) -> Outcome<bool> {
    let key = (settled.task.as_i64(), settled.version.cast_signed());
    let found = session.statements.get(GET)?.query_row(key, read).optional()?;
    let Some(mut delivery) = found else { return Ok(false) };
    let before = delivery.state;
    if !delivery.settle(settled) {
        return Ok(false);
    }
    session.counts.deliveries(before, -1);
    session.counts.deliveries(delivery.state, 1);
    update(session, &delivery)?;
    Ok(true)
}

fn update(session: &Session<'_, '_>, delivery: &Delivery) -> Outcome<()> {
    session.statements.get(UPDATE)?.execute((
        delivery.state.label(),
        delivery.due_at.map(|at| at.0),
        delivery.tries,
        delivery.settled_at.map(|at| at.0),
        &delivery.said,
        delivery.task.as_i64(),
        delivery.version.cast_signed(),
    ))?;
    Ok(())
}

/// Deletes a task's deliveries.
pub(super) fn delete(session: &mut Session<'_, '_>, task: TaskId) -> Outcome<()> {
    for delivery in of(session.conn, task, u32::MAX)? {
        session.counts.deliveries(delivery.state, -1);
    }
    let mut statement = session.conn.prepare_cached("DELETE FROM deliveries WHERE task = ?")?;
    statement.execute([task.as_i64()])?;
    Ok(())
}

/// The place whose first waiting delivery is due first.
pub(super) fn next_due(conn: &Connection, among: &Among) -> Outcome<Option<NextDelivery>> {
    let (sql, places) = match among {
        Among::AllBut(busy) => (NEXT_OF_ALL, busy),
        Among::These(places) => (NEXT_OF_THESE, places),
    };
    let mut statement = conn.prepare_cached(sql)?;
    let next = statement.query_row([list(places)], |row| {
        let columns = &mut Columns::of(row);
        Ok(NextDelivery { place: columns.take()?, due_at: columns.instant()? })
    });
    Ok(next.optional()?)
}

/// The deliveries of a task, newest first.
pub(super) fn of(conn: &Connection, task: TaskId, limit: u32) -> Outcome<Vec<Delivery>> {
    let mut statement = conn.prepare_cached(OF_TASK)?;
    let rows = statement.query_map((task.as_i64(), limit), read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How many stand, from the counts.
pub(super) fn count(conn: &Connection) -> Outcome<DeliveryCounts> {
    let mut statement = conn.prepare_cached("SELECT state, n FROM delivery_counts")?;
    let mut rows = statement.query([])?;
    let mut counts = DeliveryCounts::default();
    while let Some(row) = rows.next()? {
        let columns = &mut Columns::of(row);
        let state: DeliveryState = columns.text()?;
        *counts.of(state) = columns.take()?;
    }
    Ok(counts)
}

fn list(places: &[String]) -> String {
    serde_json::Value::from(places).to_string()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let columns = &mut Columns::of(row);
    Ok(Delivery {
        task: columns.number()?,
        version: columns.number()?,
        place: columns.take()?,
        ended: columns.text()?,
        cause: columns.text_opt()?,
        class: columns.text_opt()?,
        answered_by: columns.token_opt()?,
        made_at: columns.instant()?,
        state: columns.text()?,
        due_at: columns.instant_opt()?,
        tries: columns.take()?,
        settled_at: columns.instant_opt()?,
        said: columns.take()?,
    })
}
