//! What a PostgreSQL server does to answer us, counted in index entries and never in time: the same
//! whatever it believes of its tables.

use crate::{
    harness::{self, Harness, answered, upstream_id},
    server::{Here, Schema, client},
};
use deadletter_core::{Change, Happened, Task, WorkerId};
use deadletter_store::{Claimed, Committed};

/// Tasks that are open together.
const OPEN: usize = 200;
/// ...and those of one call.
const AT_ONCE: usize = 10;
/// Tables that are empty now and then.
const TABLES: [&str; 2] = ["open_attempts", "idempotency"];

async fn number(sql: &str) -> i64 {
    client().await.query_one(sql, &[]).await.unwrap().get(0)
}

/// Lets as many tasks live as are open together.
async fn live(h: &Harness, worker: &WorkerId) {
    for _ in 0..OPEN / AT_ONCE {
        let has_key = |_, task: &mut Task| task.idempotency_key = Some(format!("k-{}", task.id));
        h.insert_many(AT_ONCE, has_key).await;
    }
    let claimed = h.claim(worker, OPEN).await;
    assert_eq!(claimed.len(), OPEN);
    let mut polled = Vec::new();
    for some in claimed.chunks(AT_ONCE) {
        let accept = |it: &Claimed| {
            let id = Happened::Accepted(upstream_id(&format!("u-{}", it.task.id)));
            h.decide(&it.task, Some(&it.attempt), &id)
        };
        polled.extend(commit(h, some.iter().map(accept).collect()).await);
    }
    for (some, tasks) in claimed.chunks(AT_ONCE).zip(polled.chunks(AT_ONCE)) {
        let solve = |(it, task): (&Claimed, &Task)| {
            h.decide(task, Some(&it.attempt), &answered(&it.attempt, "token"))
        };
        commit(h, some.iter().zip(tasks).map(solve).collect()).await;
    }
}

/// Answers the rows as they are then.
async fn commit(h: &Harness, changes: Vec<Change>) -> Vec<Task> {
    let after = |change: &Change| change.row.as_ref().map(|row| row.after.clone()).unwrap();
    let tasks = changes.iter().map(after).collect();
    let committed = h.store.commit(changes).await.unwrap();
    assert!(committed.iter().all(|it| *it == Committed::Applied), "{committed:?}");
    tasks
}

/// Index entries of open attempts and of idempotency keys that were read by connections that have ended.
async fn entries_read(schema: &str) -> [i64; 2] {
    let open = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{schema}'");
    while number(&open).await > 0 {
        tokio::task::yield_now().await;
    }
    let of = async |table: &str| {
        let sql = format!(
            "SELECT sum(idx_tup_read)::bigint FROM pg_stat_all_indexes \
             WHERE schemaname = '{schema}' AND relname = '{table}'"
        );
        number(&sql).await
    };
    [of(TABLES[0]).await, of(TABLES[1]).await]
}

#[tokio::test]
async fn a_life_reads_its_own_rows_alone_where_the_server_takes_their_tables_for_empty() {
    let mut schema = Schema::new();
    let name = schema.name.clone();
    schema.url.push_str(&format!("&application_name={name}"));
    harness::run(Here(schema), async |h: &mut Harness| {
        let worker = h.worker("w").await;
        live(h, &worker).await;
        // As if the server had cleaned up at a moment at which nothing was open.
        client().await.batch_execute(&format!("DELETE FROM {name}.idempotency")).await.unwrap();
        for table in TABLES.map(|table| format!("{name}.{table}")) {
            for sql in [
                format!("ALTER TABLE {table} SET (autovacuum_enabled = off)"),
                format!("VACUUM (TRUNCATE off, ANALYZE) {table}"),
            ] {
                client().await.batch_execute(&sql).await.unwrap();
            }
            let believed = format!(
                "SELECT (reltuples / greatest(relpages, 1))::bigint FROM pg_class \
                 WHERE oid = '{table}'::regclass AND relpages > 0"
            );
            assert_eq!(number(&believed).await, 0);
        }
        h.store.close().await.unwrap();
        let before = entries_read(&name).await;
        h.store = h.another_handle().await;
        live(h, &worker).await;
        h.store.close().await.unwrap();
        let after = entries_read(&name).await;
        let read = [after[0] - before[0], after[1] - before[1]];
        assert!(read[0] <= 10 * OPEN as i64, "{} entries of open attempts", read[0]);
        assert!(read[1] <= 2 * OPEN as i64, "{} entries of keys", read[1]);
    })
    .await;
}

#[tokio::test]
async fn no_question_starts_processes_on_the_server() {
    let mut schema = Schema::new();
    let name = schema.name.clone();
    // It has been called otherwise since version 16.
    let version = "SELECT current_setting('server_version_num')::bigint";
    let forced = if number(version).await < 160_000 { "force" } else { "debug" };
    let always = if forced == "force" { "force_parallel_mode" } else { "debug_parallel_query" };
    schema.url.push_str(&format!("&options=-c%20{always}%3Don"));
    harness::run(Here(schema), async |h: &mut Harness| {
        let worker = h.worker("w").await;
        let view = format!("SELECT pg_get_viewdef('{name}.attempts')");
        let view: String = client().await.query_one(&view, &[]).await.unwrap().get(0);
        let sql = format!(
            "SET search_path = {name}; \
             CREATE FUNCTION is_asked_here() RETURNS boolean LANGUAGE plpgsql PARALLEL SAFE AS $$BEGIN \
               IF EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = pg_backend_pid() \
                          AND backend_type <> 'client backend') \
               THEN RAISE 'another process was asked'; END IF; \
               RETURN true; END$$; \
             CREATE OR REPLACE VIEW attempts AS SELECT * FROM ({}) AS all_of_them \
               WHERE is_asked_here()",
            view.trim_end_matches(';')
        );
        client().await.batch_execute(&sql).await.unwrap();
        let task = h.solved(&worker, |_| ()).await;
        assert_eq!(h.store.history(task.id).await.unwrap().len(), 1);
    })
    .await;
}
