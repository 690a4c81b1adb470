//! Proof that cost does not grow with what stands: every statement of the hot paths walks an index
//! that knows only what it looks for, and 100,000 dead letters change nothing about the steps that
//! SQLite takes.

use super::{
    adopt, attempt_row, claim, connect, deliveries, desk, forget, insert, page, permits, schema,
    task_row,
};
use crate::Query;
use deadletter_core::{Cause, Filter, StateKind, TaskId, UnixMs, filter::Range};
use rusqlite::{Connection, StatementStatus, params_from_iter, types::Value};
use std::path::Path;

fn database() -> Connection {
    let conn = Connection::open_in_memory().expect("a database");
    connect::settle_plans(&conn).expect("settled plans");
    schema::upgrade(&conn, Path::new("x.db"), schema::STEPS).expect("our tables");
    conn
}

/// How SQLite will go about it, a line per step.
fn plan(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect(sql);
    let steps = statement.raw_query().mapped(|row| row.get(3));
    steps.collect::<rusqlite::Result<_>>().expect(sql)
}

/// Nothing is walked from end to end, and nothing is sorted.
fn assert_direct(conn: &Connection, sql: &str, index: &str) {
    let steps = plan(conn, sql);
    let scans = |step: &str| step.contains("SCAN") && !step.contains("json_each");
    let is_direct = !steps.iter().any(|step| scans(step) || step.contains("TEMP B-TREE"));
    assert!(is_direct && steps.iter().any(|step| step.contains(index)), "{sql}\n{steps:#?}");
}

#[test]
fn claim_knows_only_what_may_be_claimed() {
    let conn = database();
    assert_direct(&conn, &claim::READY, "tasks_ready (account=? AND lane=?");
    assert_direct(&conn, claim::PROMOTE, "tasks_waiting (account=? AND due_at<?)");
    assert_direct(&conn, permits::IN_USE, "attempts_open (account=?)");
    assert_direct(
        &conn,
        claim::LAPSED,
        "attempts_lapsing (account=? AND permit_until>? AND permit_until<?)",
    );
    assert_direct(&conn, claim::NEXT_WAITING, "tasks_waiting (account=?)");
}

#[test]
fn a_row_and_an_attempt_are_found_by_key() {
    let conn = database();
    // The first is of no column, and nobody asks for it.
    for update in task_row::UPDATES.iter().skip(1) {
        assert_direct(&conn, update, "PRIMARY KEY (rowid=?)");
    }
    assert_direct(&conn, &page::GET, "PRIMARY KEY (rowid=?)");
    assert_direct(&conn, attempt_row::GET, "PRIMARY KEY (task=? AND token=?)");
    assert_direct(&conn, attempt_row::UPDATE, "PRIMARY KEY (task=? AND token=?)");
    assert_direct(&conn, attempt_row::OF_TASK, "PRIMARY KEY (task=?)");
    assert_direct(&conn, attempt_row::BEARERS, "attempts_upstream (account=? AND upstream_id=?)");
    assert_direct(&conn, attempt_row::ID_TAKEN, "attempts_upstream (account=? AND upstream_id=?)");
    assert_direct(&conn, insert::HOLDER, "PRIMARY KEY (owner=? AND key=?)");
    assert_direct(&conn, insert::IS_OPEN, "PRIMARY KEY (rowid=?)");
}

#[test]
fn a_take_over_walks_what_is_held_and_nothing_else() {
    let conn = database();
    assert_direct(&conn, adopt::NEXT_OF_TASKS, "tasks_live (worker>?)");
    assert_direct(&conn, adopt::NEXT_OF_ATTEMPTS, "attempts_open (account=? AND worker>?)");
    assert_direct(&conn, &adopt::LEASES, "tasks_live (worker=?)");
    // Open attempts of the dead are few, and sorted by age.
    let steps = plan(&conn, &adopt::OPEN).join("\n");
    assert!(steps.contains("attempts_open (account=? AND worker=?)"), "{steps}");
}

#[test]
fn lists_for_sweepers_and_operations_walk_an_index_in_its_order() {
    let conn = database();
    let direct = "tasks_deadline (account=? AND deadline_at>? AND deadline_at<?)";
    assert_direct(&conn, &page::OVERDUE, direct);
    let events = plan(&conn, forget::EVENTS).join("\n");
    assert!(events.contains("events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"), "{events}");
    assert_direct(&conn, forget::TALLIES, "PRIMARY KEY (dim=? AND minute<?)");
    assert_direct(&conn, desk::PENDING, "operation_items_pending (operation=? AND task>?)");
    assert_direct(&conn, desk::EVENTS_OF, "events_task (task=? AND rowid>?)");
    assert_direct(&conn, desk::ITEMS_OF, "operation_items_task (task=? AND operation>?)");
}

#[test]
fn deliveries_are_found_by_key_and_those_that_wait_by_place_and_time() {
    let conn = database();
    assert_direct(&conn, deliveries::DUE, "deliveries_due (place=? AND due_at>? AND due_at<?)");
    assert_direct(&conn, deliveries::GET, "PRIMARY KEY (task=? AND version=?)");
    assert_direct(&conn, deliveries::UPDATE, "PRIMARY KEY (task=? AND version=?)");
    assert_direct(&conn, deliveries::OF_TASK, "PRIMARY KEY (task=?)");
}

/// Stores deliveries that wait for that place.
fn waiting(conn: &Connection, place: &str, n: u32) {
    conn.execute_batch(&format!(
        "WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < {n}) \
         INSERT INTO deliveries (task, version, state, place, ended, made_at, due_at, tries) \
         SELECT (SELECT ifnull(max(task), 0) FROM deliveries) + n, 1, 'waiting', '{place}', \
           'solved', 0, n, 0 FROM many"
    ))
    .expect("deliveries");
}

#[test]
fn what_waits_for_a_busy_place_does_not_add_a_step() {
    let list = |places: &str| vec![Value::from(places.to_owned())];
    let beside = |n| {
        let conn = database();
        for (place, n) in [("busy-1", n), ("free-1", 3), ("busy-2", n), ("free-2", 3)] {
            waiting(&conn, place, n);
        }
        [
            steps(&conn, deliveries::NEXT_OF_ALL, list(r#"["busy-1","busy-2"]"#)),
            steps(&conn, deliveries::NEXT_OF_ALL, list("[]")),
            steps(&conn, deliveries::NEXT_OF_THESE, list(r#"["free-1","busy-2"]"#)),
            steps(&conn, deliveries::DUE, vec!["free-2".to_owned().into(), 9.into(), 1.into()]),
        ]
    };
    assert_eq!(beside(10), beside(10_000));
}

fn query(newest_first: bool) -> Query {
    Query {
        filter: Filter::default(),
        now: UnixMs(0),
        newest_first,
        after: None,
        limit: 100,
        scan_limit: 1_000,
    }
}

fn range(states: &[StateKind], cause: bool, sitekey: bool) -> Range {
    Range {
        states: (!states.is_empty()).then(|| states.to_vec()),
        cause: cause.then(|| Cause::new(Cause::TIMEOUT)),
        sitekey: sitekey.then(|| "6Le-1".to_owned()),
        ..Range::default()
    }
}

#[test]
fn a_page_walks_the_narrowest_index_in_the_order_of_ids() {
    use StateKind::{Buried, Dead, Queued, Solved};
    let conn = database();
    let batch = Range { batch: Some("nightly".to_owned()), ..Range::default() };
    for newest_first in [true, false] {
        let id = if newest_first { "id<?" } else { "id>?" };
        let rowid = if newest_first { "rowid<?" } else { "rowid>?" };
        let cases = [
            (range(&[], false, false), format!("PRIMARY KEY ({rowid})")),
            (range(&[Solved], false, false), "tasks_state (state=?".to_owned()),
            (range(&[Queued, Dead, Buried], false, false), "tasks_state (state=?".to_owned()),
            (
                range(&[Dead], true, false),
                format!("tasks_dead_cause (at_rest=? AND cause=? AND {id})"),
            ),
            (range(&[Dead], false, true), "tasks_dead_sitekey (at_rest=? AND sitekey=?".to_owned()),
            (
                range(&[Dead, Buried], true, true),
                "tasks_dead_both (at_rest=? AND cause=? AND sitekey=?".to_owned(),
            ),
            (batch.clone(), "tasks_batch (batch=?".to_owned()),
        ];
        for (range, index) in cases {
            let walk = page::Walk::of(&range, &query(newest_first)).expect("a walk");
            assert_direct(&conn, &walk.sql, &index);
        }
    }
}

#[test]
fn a_statement_is_not_compiled_again_for_another_value() {
    let conn = database();
    for sql in [&**claim::READY, claim::PROMOTE, claim::LAPSED, permits::IN_USE] {
        let mut statement = conn.prepare(sql).expect(sql);
        for value in 1..4_i64 {
            for n in 1..=statement.parameter_count() {
                statement.raw_bind_parameter(n, value).expect(sql);
            }
            let mut rows = statement.raw_query();
            while rows.next().expect(sql).is_some() {}
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{sql}");
    }
}

/// Stores dead letters, of which every tenth has the cause TIMEOUT at the site key 6Le-1.
fn bury(conn: &Connection, n: u32) {
    conn.execute_batch(&format!(
        "WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < {n}) \
         INSERT INTO tasks (id, created_at, method, sitekey, state, at_rest, reason, lane, version, \
           account, priority, turn, attempts, submits, failures, refusals, panics, redrives, \
           deaths, round_allowance, round_failures, round_unsolvable, round_lost, \
           round_refusals, round_proxies_failed, max_submits, proxies, cause, updated_at) \
         SELECT n, 0, 'm', '6Le-' || (n % 10), 'dead', 'dead', 'unknown', 'first', 1, 'main', 1, 0, \
           0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 7, 0, \
           CASE n % 10 WHEN 1 THEN 'TIMEOUT' ELSE 'OTHER' END, 0 FROM many"
    ))
    .expect("dead letters");
}

/// Steps of SQLite's machine that one run takes: cost without a clock.
fn steps(conn: &Connection, sql: &str, params: Vec<Value>) -> i32 {
    let mut statement = conn.prepare(sql).expect(sql);
    let mut rows = statement.query(params_from_iter(params)).expect(sql);
    while rows.next().expect(sql).is_some() {}
    drop(rows);
    statement.get_status(StatementStatus::VmStep)
}

#[test]
fn a_hundred_thousand_dead_letters_do_not_add_a_step() {
    let conn = database();
    let main = || Value::from("main".to_owned());
    let after = Some(TaskId::try_from(2_000_u64).expect("an id"));
    let page = |conn: &Connection| {
        let query = Query { after, ..query(true) };
        let walk = page::Walk::of(&range(&[StateKind::Dead], true, true), &query).expect("a walk");
        steps(conn, &walk.sql, walk.params)
    };
    let cost = |conn: &Connection| {
        let ready = vec![main(), "first".to_owned().into(), 9.into(), 9.into(), 100.into()];
        [
            steps(conn, &claim::READY, ready),
            steps(conn, claim::PROMOTE, vec![main(), 9.into(), 1_000.into()]),
            steps(conn, permits::IN_USE, vec![main()]),
            steps(conn, &page::OVERDUE, vec![main(), 9.into(), 100.into()]),
            page(conn),
        ]
    };
    bury(&conn, 2_000);
    let few = cost(&conn);
    conn.execute("DELETE FROM tasks", []).expect("an empty table");
    bury(&conn, 100_000);
    assert_eq!(cost(&conn), few);
}
