//! What a PostgreSQL server and the line to it may do to a store.

use crate::{
    harness::{self, Harness},
    line::{Line, Way},
    server::{Here, Schema, client, password, port, server, variable},
};
use deadletter_core::{Task, UnixMs, WorkerId};
use deadletter_store::{
    Ailment, Durability, Error, ManualClock, PostgresStore, Registry, Result, Store,
};
use futures_util::future::join_all;
use std::{net::TcpListener, sync::Arc};
use tokio_postgres::NoTls;

async fn open(url: &str) -> Result<PostgresStore> {
    PostgresStore::open(url, Arc::new(ManualClock::at(UnixMs(1_800_000_000_000)))).await
}

/// The error of an open that must fail, with all that is behind it.
async fn refused(url: &str) -> (Error, String) {
    let error = open(url).await.expect_err("it opened");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(why) = source {
        text.push_str(&format!(": {why}"));
        source = why.source();
    }
    assert!(!text.contains(&password()) && !text.contains("hunter2"), "{text}");
    (error, text)
}

#[tokio::test]
async fn two_that_open_an_empty_schema_at_once_make_its_tables_once() {
    let schema = Schema::new();
    let opened = join_all((0..4).map(|_| open(&schema.url))).await;
    let stores: Vec<PostgresStore> = opened.into_iter().map(|store| store.unwrap()).collect();
    assert_eq!(stores[0].put_document("a", 0, "{}").await.unwrap(), Some(1));
    assert_eq!(stores[3].put_document("a", 0, "{}").await.unwrap(), None);
    assert_eq!(stores[2].document("a").await.unwrap().unwrap().version, 1);
    let w = WorkerId::new("w").unwrap();
    stores[0].register(&w, "a\0b").await.unwrap();
    assert_eq!(stores[1].workers(9).await.unwrap()[0].label, "a\0b");
    schema.end().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_stays_as_it_is() {
    let schema = Schema::new();
    open(&schema.url).await.unwrap();
    let behind = client().await;
    let sql = format!("UPDATE {}.schema_version SET n = 99", schema.name);
    behind.batch_execute(&sql).await.unwrap();
    let (error, text) = refused(&schema.url).await;
    assert!(matches!(error, Error::TooNew { found: 99, .. }), "{text}");
    let sql = format!("SELECT n FROM {}.schema_version", schema.name);
    assert_eq!(behind.query_one(&sql, &[]).await.unwrap().get::<_, i32>(0), 99);
    schema.end().await;
}

#[tokio::test]
async fn a_schema_that_holds_something_else_is_left_alone() {
    let schema = Schema::new();
    let sql = format!("CREATE SCHEMA {0}; CREATE TABLE {0}.workers (wages int)", schema.name);
    client().await.batch_execute(&sql).await.unwrap();
    let (error, text) = refused(&schema.url).await;
    assert!(matches!(error, Error::Refused(_)) && text.contains(&schema.name), "{text}");
    let sql = format!("SELECT count(*) FROM {}.workers WHERE wages IS NULL", schema.name);
    client().await.batch_execute(&sql).await.unwrap();
    schema.end().await;
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why_and_no_secret() {
    let right = password();
    let (error, text) = refused(&server().replace(&right, "hunter2")).await;
    assert!(matches!(error, Error::Denied { .. }), "{text}");
    assert!(
        text.contains("password authentication failed") && text.contains("127.0.0.1"),
        "{text}"
    );
    let (error, text) = refused(&server().replace("/postgres?", "/nowhere?")).await;
    assert!(matches!(error, Error::Denied { .. }) && text.contains("nowhere"), "{text}");
    // A port that nobody listens on: it was given to us, and let go.
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let gone = free.local_addr().unwrap().port();
    drop(free);
    let (error, text) =
        refused(&server().replace(&format!(":{}", port()), &format!(":{gone}"))).await;
    assert!(matches!(error, Error::Unavailable { .. }), "{text}");
    assert!(text.contains(&gone.to_string()) && text.contains("refused"), "{text}");
}

#[tokio::test]
async fn a_role_that_may_not_make_a_schema_is_told_who_may() {
    let schema = Schema::new();
    let role = format!("{}_guest", schema.name);
    let sql = format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter2'");
    client().await.batch_execute(&sql).await.unwrap();
    let url = schema.url.replace(&format!("deadletter:{}", password()), &format!("{role}:hunter2"));
    let (error, text) = refused(&url).await;
    assert!(matches!(error, Error::ReadOnly { .. }), "{text}");
    assert!(text.contains("CREATE SCHEMA"), "{text}");
    client().await.batch_execute(&format!("DROP ROLE {role}")).await.unwrap();
    schema.end().await;
}

#[tokio::test]
async fn tls_is_spoken_as_the_url_says() {
    let schema = Schema::new();
    let with = |mode: &str| schema.url.replace("sslmode=disable", mode);
    let root = variable("DLQ_TEST_POSTGRES_CERTIFICATE");
    for mode in [
        "sslmode=allow",
        "sslmode=prefer",
        "sslmode=require",
        // A password that is proven to this very server, which nobody can pass on.
        "sslmode=require&channel_binding=require",
        &format!("sslmode=verify-ca&sslrootcert={root}"),
        &format!("sslmode=verify-full&sslrootcert={root}"),
    ] {
        open(&with(mode)).await.unwrap_or_else(|error| panic!("{mode}: {error:?}"));
    }
    let (error, text) = refused(&with("sslmode=verify-full")).await;
    assert!(matches!(error, Error::Untrusted { .. }) && text.contains("certificate"), "{text}");
    let elsewhere =
        |mode: &str| with(mode).replace("@127.0.0.1", "@elsewhere.test") + "&hostaddr=127.0.0.1";
    open(&elsewhere(&format!("sslmode=verify-ca&sslrootcert={root}"))).await.unwrap();
    let foreign = root.replace("ca.pem", "server.pem");
    for (mode, said) in [
        (elsewhere(&format!("sslmode=verify-full&sslrootcert={root}")), "not valid for name"),
        (with(&format!("sslmode=verify-ca&sslrootcert={foreign}")), "certificate"),
        (with("sslmode=disable&channel_binding=require"), "channel binding"),
    ] {
        let (error, text) = refused(&mode).await;
        let is_untrusted = matches!(error, Error::Untrusted { .. });
        assert!(is_untrusted || matches!(error, Error::Unavailable { .. }), "{text}");
        assert!(is_untrusted != said.contains("channel") && text.contains(said), "{text}");
    }
    // PgBouncer has no certificate here.
    let plain = variable("DLQ_TEST_PGBOUNCER").replace("sslmode=disable", "sslmode=require");
    let (error, text) = refused(&plain).await;
    assert!(matches!(error, Error::NoTls { .. }) && text.contains("TLS"), "{text}");
    schema.end().await;
}

#[tokio::test]
async fn what_a_commit_survives_is_read_from_the_server() {
    let schema = Schema::new();
    assert_eq!(open(&schema.url).await.unwrap().durability(), Durability::D2);
    for (setting, class) in [("off", Durability::D1), ("local", Durability::D2)] {
        let url = format!("{}&options=-c%20synchronous_commit%3D{setting}", schema.url);
        assert_eq!(open(&url).await.unwrap().durability(), class, "{setting}");
    }
    schema.end().await;
}

/// Cuts the line at every byte of a commit and its answer. What was answered stands, and once.
async fn cut_a_commit_everywhere(way: Way) {
    let (schema, line) = (Schema::new(), Line::to(port()).await);
    let url = schema.url.replace(&format!(":{}", port()), &format!(":{}", line.port));
    let store = open(&url).await.unwrap();
    let watcher = open(&schema.url).await.unwrap();
    let mut at = 0;
    loop {
        let key = format!("cut/{at}");
        line.cut(way, at, "INSERT INTO pulses");
        assert_eq!(store.put_document(&key, 0, "{}").await.unwrap(), Some(1), "{way:?} {at}");
        let document = watcher.document(&key).await.unwrap();
        assert_eq!(document.map(|it| it.version), Some(1), "{way:?} {at}");
        if !line.was_cut() {
            break;
        }
        at += 1;
    }
    assert!(at > 50, "the exchange has more bytes than {at}");
    schema.end().await;
}

#[tokio::test]
async fn a_commit_that_is_cut_on_its_way_there_is_written_once() {
    cut_a_commit_everywhere(Way::There).await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_cut_is_written_once() {
    cut_a_commit_everywhere(Way::Back).await;
}

/// Loses a write on its way to a server that has lost its last moments: the number of its transaction
/// has been given to another since, which is committed, or to nobody yet.
async fn lose_a_write_that_goes_by(number: impl Fn(i64) -> i64) {
    let (schema, line) = (Schema::new(), Line::to(port()).await);
    let url = schema.url.replace(&format!(":{}", port()), &format!(":{}", line.port));
    let store = open(&url).await.unwrap();
    let committed = client().await.query_one("SELECT txid_current()", &[]).await.unwrap().get(0);
    line.tells(number(committed));
    line.cut(Way::There, 0, "INSERT INTO marks");
    assert_eq!(store.put_document("key", 0, "{}").await.unwrap(), Some(1));
    assert!(line.was_cut());
    let document = open(&schema.url).await.unwrap().document("key").await.unwrap();
    assert_eq!(document.map(|it| it.version), Some(1), "what was answered stands");
    schema.end().await;
}

#[tokio::test]
async fn a_commit_of_another_that_has_its_number_is_not_taken_for_it() {
    lose_a_write_that_goes_by(|committed| committed).await;
}

#[tokio::test]
async fn a_commit_whose_number_nobody_has_any_more_is_made_again() {
    lose_a_write_that_goes_by(|committed| committed + 1_000_000).await;
}

#[tokio::test]
async fn a_worker_whose_calls_all_wait_for_a_lock_beats_on() {
    let schema = Schema::new();
    let store = open(&schema.url).await.unwrap();
    let w = WorkerId::new("w").unwrap();
    store.register(&w, "w").await.unwrap();
    let holder = client().await;
    let sql = format!("BEGIN; LOCK TABLE {}.documents IN EXCLUSIVE MODE", schema.name);
    holder.batch_execute(&sql).await.unwrap();
    let keys: Vec<String> = (0..8).map(|n| format!("waits/{n}")).collect();
    let mut waiting = std::pin::pin!(join_all(keys.iter().map(|k| store.put_document(k, 0, "{}"))));
    let beats = async {
        let held_up = "SELECT count(*) FROM pg_locks WHERE NOT granted \
             AND relation = $1::text::regclass";
        let table = format!("{}.documents", schema.name);
        // Three of the four connections that the URL allows: the last one is for beats.
        while holder.query_one(held_up, &[&table]).await.unwrap().get::<_, i64>(0) < 3 {}
        for _ in 0..3 {
            assert_eq!(store.beat(&w).await.unwrap().workers, 1);
        }
    };
    tokio::select! {
        put = &mut waiting => panic!("a call did not wait: {put:?}"),
        () = beats => {}
    }
    holder.batch_execute("ROLLBACK").await.unwrap();
    for put in waiting.await {
        assert_eq!(put.unwrap(), Some(1));
    }
    schema.end().await;
}

#[tokio::test]
async fn counts_of_what_was_purged_and_old_marks_leave_no_rows() {
    let schema = Schema::new();
    let name = schema.name.clone();
    harness::run(Here(schema), async |h: &mut Harness| {
        let worker = h.worker("w").await;
        let others = h.another_handle().await;
        let mut purged = Vec::new();
        for n in 0..6 {
            let gone = |task: &mut Task| task.dimensions.sitekey = Some(format!("gone-{n}"));
            let task = h.dead(&worker, "ERROR_BAD", gone).await;
            h.dead(&worker, "ERROR_BAD", |task| task.dimensions.sitekey = Some("kept".to_owned()))
                .await;
            purged.push((task.id, task.version));
        }
        // Another connection writes other slots.
        assert_eq!(others.purge(&purged).await.unwrap(), 6);
        let before = h.store.totals().await.unwrap();
        let client = client().await;
        let sql = format!("SELECT count(*) FROM {name}.standing WHERE value LIKE $1");
        let rows =
            async |value: &str| client.query_one(&sql, &[&value]).await.unwrap().get::<_, i64>(0);
        let kept = rows("kept%").await;
        assert!(rows("gone-%").await > 0 && kept > 0);
        let mark = format!("INSERT INTO {name}.marks VALUES (7, 1, {})", h.now().0 - 1);
        client.batch_execute(&mark).await.unwrap();
        h.store.forget(&h.forget_before(h.now())).await.unwrap();
        assert_eq!((rows("gone-%").await, rows("kept%").await > 0), (0, true));
        let old = format!("SELECT count(*) FROM {name}.marks WHERE connection = 7");
        assert_eq!(client.query_one(&old, &[]).await.unwrap().get::<_, i64>(0), 0);
        assert_eq!(h.store.totals().await.unwrap(), before);
    })
    .await;
}

#[tokio::test]
async fn where_strangers_have_taken_all_connections_it_says_so_and_goes_on_when_they_leave() {
    let schema = Schema::new();
    let (name, role) = (&schema.name, format!("{}_few", schema.name));
    let behind = client().await;
    let sql = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'hunter2' CONNECTION LIMIT 3; \
         CREATE SCHEMA {name} AUTHORIZATION {role}"
    );
    behind.batch_execute(&sql).await.unwrap();
    let login = format!("{role}:hunter2");
    let url = schema.url.replace(&format!("deadletter:{}", password()), &login);
    let store = open(&url.replace("connections=4", "connections=2")).await.unwrap();
    store.put_document("a", 0, "{}").await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1";
    let stranger = server().replace(&format!("deadletter:{}", password()), &login);
    let mut strangers = Vec::new();
    while strangers.len() < 3 {
        // Ours end a moment after they are told to.
        behind.execute(end, &[&role]).await.unwrap();
        strangers.clear();
        while let Ok((client, line)) = tokio_postgres::connect(&stranger, NoTls).await {
            tokio::spawn(line);
            strangers.push(client);
        }
    }
    let error = store.document("a").await.expect_err("there is no room");
    assert!(matches!(error, Error::Unavailable { .. }) && error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("no connection left"), "{error}");
    strangers.clear();
    let found = loop {
        match store.document("a").await {
            Ok(found) => break found,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    };
    assert_eq!(found.unwrap().version, 1);
    store.close().await.unwrap();
    behind.execute(end, &[&role]).await.unwrap();
    schema.end().await;
    behind.batch_execute(&format!("DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_somebody_leaves_open_is_told_with_whose_it_is() {
    let schema = Schema::new();
    let store = open(&schema.url).await.unwrap();
    let guest = client().await;
    let name = format!("report of {}", schema.name);
    let begin = format!("SET application_name = '{name}'; BEGIN; SELECT txid_current()");
    guest.batch_execute(&begin).await.unwrap();
    let row = guest.query_one("SELECT pg_backend_pid()", &[]).await.unwrap();
    let pid: i32 = row.get(0);
    let of_guest = |found: &[Ailment]| {
        let is_his = |it: &&Ailment| {
            matches!(it, Ailment::OpenTransaction { application, process, .. }
                if *application == name && *process == pid)
        };
        found.iter().filter(is_his).count()
    };
    assert_eq!(of_guest(&store.transactions_open_for(-60_000).await.unwrap()), 1);
    assert_eq!(of_guest(&store.ailments().await.unwrap()), 0, "it has just begun");
    guest.batch_execute("COMMIT").await.unwrap();
    assert_eq!(of_guest(&store.transactions_open_for(-60_000).await.unwrap()), 0);
    schema.end().await;
}
