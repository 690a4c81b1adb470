//! Migrations: from any store into any other, broken off and gone on with, compared in the end.

use crate::{
    backends::{Backend, memory, over, postgres, sqlite},
    cases::conservation,
    harness::{self, Harness, MANY},
    server::{Here, Schema, client},
};
use deadletter_store::{
    AuditEntry, Call, Desk, Error, Faulty, MemoryStore, Registry, SqliteStore,
    backup::Snapshot,
    faulty::Fault,
    migrate::{Moved, migrate, plan, unfinished},
};
use std::sync::Arc;

/// Lets tasks live at random, and everybody leave.
async fn filled(h: &Harness) {
    conservation::walk(h, 7, 300).await;
    let [documents, lines] = [3, 2];
    for n in 0..documents {
        h.store.put_document(&format!("times/main/{n}"), 0, "{}").await.unwrap();
    }
    for seq in 1..=lines {
        assert!(h.store.audit(&line(h, "ada", seq)).await.unwrap());
    }
    for worker in h.store.workers(MANY).await.unwrap() {
        h.store.leave(&worker.id).await.unwrap();
    }
}

/// A line of the audit log.
fn line(h: &Harness, writer: &str, seq: u64) -> AuditEntry {
    let (writer, hash) = (writer.to_owned(), seq.to_string());
    AuditEntry { writer, seq, at: h.now(), body: "{}".to_owned(), hash }
}

async fn moved(from: &Harness, to: &Harness) -> Moved {
    migrate(from.store.as_ref(), to.store.as_ref(), &|_, _| {}).await.unwrap()
}

/// From `backend` into every kind of store, and each is whole.
async fn into_all(backend: impl Backend + 'static) {
    harness::run(backend, async |from: &mut Harness| {
        filled(from).await;
        let n = from.store.totals().await.unwrap().standing().unsigned_abs();
        assert!(n > 20, "a dull walk: {n}");
        let targets: [Box<dyn Backend>; 3] =
            [Box::new(memory()), Box::new(sqlite()), Box::new(postgres())];
        for target in targets {
            let to = from.beside(target).await;
            let wanted = Moved { tasks: n, copied: n, documents: 3, audit: 2 };
            assert_eq!(moved(from, &to).await, wanted);
            to.check().await;
            assert_eq!(unfinished(to.store.as_ref()).await.unwrap(), None);
            let again = migrate(from.store.as_ref(), to.store.as_ref(), &|_, _| {}).await;
            assert!(
                matches!(again, Err(Error::AlreadyMoved { .. })),
                "it lives its own life by now"
            );
            assert_eq!(unfinished(to.store.as_ref()).await.unwrap(), None);
            to.end().await;
        }
    })
    .await;
}

#[tokio::test]
async fn everything_moves_from_memory_into_every_store() {
    into_all(memory()).await;
}

#[tokio::test]
async fn everything_moves_from_sqlite_into_every_store() {
    into_all(sqlite()).await;
}

#[tokio::test]
async fn everything_moves_from_postgres_into_every_store() {
    into_all(postgres()).await;
}

#[tokio::test]
async fn what_breaks_off_goes_on_and_nobody_works_there_meanwhile() {
    harness::run(memory(), async |from: &mut Harness| {
        filled(from).await;
        // More lines than are read at once; one of the target's own stands among them.
        for seq in 3..=1_200 {
            assert!(from.store.audit(&line(from, "ada", seq)).await.unwrap());
        }
        let to = Arc::new(MemoryStore::new(from.store.clock()));
        let faulty = Faulty::new(Arc::clone(&to));
        // At the first page of tasks, at a document, at the audit log, at the end.
        for (call, passed) in
            [(Call::Insert, 0), (Call::PutDocument, 1), (Call::Audit, 700), (Call::Recount, 0)]
        {
            let fates = [None].repeat(passed).into_iter().chain([Some(Fault::Unavailable)]);
            faulty.script(call, fates);
            let broken = migrate(from.store.as_ref(), &faulty, &|_, _| {}).await;
            assert!(matches!(broken, Err(Error::Unavailable { .. })), "{call}: {broken:?}");
            faulty.heal();
            let half = unfinished(to.as_ref()).await.unwrap().expect("it has not ended");
            assert_eq!(half.from, from.store.url());
            to.audit(&line(from, "bob", 1)).await.unwrap();
        }
        let moved = migrate(from.store.as_ref(), to.as_ref(), &|_, _| {}).await.unwrap();
        assert_eq!((moved.copied, moved.documents, moved.audit), (0, 3, 1_200));
        assert_eq!(to.audit_log(None, MANY).await.unwrap().len(), 1_201);
        assert_eq!(unfinished(to.as_ref()).await.unwrap(), None);
        drop(over(to));
    })
    .await;
}

#[tokio::test]
async fn a_task_that_was_worked_on_meanwhile_is_found() {
    harness::run(memory(), async |from: &mut Harness| {
        from.insert_many(3, |_, _| {}).await;
        let store = Arc::new(MemoryStore::new(from.store.clock()));
        let faulty = Faulty::new(Arc::clone(&store));
        faulty.script(Call::Recount, [Some(Fault::Unavailable)]);
        migrate(from.store.as_ref(), &faulty, &|_, _| {}).await.expect_err("it breaks off");
        let to = from.beside(Box::new(over(store))).await;
        let worker = to.worker("early").await;
        assert_eq!(to.claim(&worker, 1).await.len(), 1);
        to.store.leave(&worker).await.unwrap();
        let differs = migrate(from.store.as_ref(), to.store.as_ref(), &|_, _| {}).await;
        assert!(
            matches!(&differs, Err(Error::Differs(it)) if it.contains("differs")),
            "{differs:?}"
        );
        assert!(unfinished(to.store.as_ref()).await.unwrap().is_some(), "nobody works there");
    })
    .await;
}

#[tokio::test]
async fn what_must_not_be_moved_is_refused_and_nothing_is_written() {
    harness::run(memory(), async |from: &mut Harness| {
        from.insert_many(3, |_, _| {}).await;
        let refused = async |from: &Harness, to: &Harness, why: &str| {
            let refused = plan(from.store.as_ref(), Some(to.store.as_ref())).await;
            let refused = refused.expect_err("it is refused").to_string();
            assert!(refused.contains(why), "{refused}");
        };
        let to = from.beside(Box::new(memory())).await;
        let worker = from.worker("busy").await;
        refused(from, &to, "is at work (1 worker)").await;
        from.store.leave(&worker).await.unwrap();
        let worker = to.worker("busy").await;
        refused(from, &to, "is at work (1 worker)").await;
        to.store.leave(&worker).await.unwrap();
        to.insert_many(2, |_, _| {}).await;
        refused(from, &to, "2 stand there").await;
        assert_eq!(to.store.totals().await.unwrap().accepted, 2);
        // Somebody has worked on the target before all was compared.
        let store = Arc::new(MemoryStore::new(from.store.clock()));
        let faulty = Faulty::new(Arc::clone(&store));
        faulty.script(Call::Audit, [Some(Fault::Unavailable)]);
        let entry = line(from, "ada", 1);
        assert!(from.store.audit(&entry).await.unwrap());
        migrate(from.store.as_ref(), &faulty, &|_, _| {}).await.expect_err("it breaks off");
        let to = from.beside(Box::new(over(store))).await;
        let other = AuditEntry { hash: "b".to_owned(), ..entry };
        assert!(to.store.audit(&other).await.unwrap());
        let differs = async |to: &Harness, what: &str| {
            let differs = migrate(from.store.as_ref(), to.store.as_ref(), &|_, _| {}).await;
            assert!(
                matches!(&differs, Err(Error::Differs(it)) if it.contains(what)),
                "{differs:?}"
            );
        };
        differs(&to, "line 1 of ada differs").await;
        assert!(unfinished(to.store.as_ref()).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_server_is_copied_as_it_was_at_one_instant_while_others_work_on_it() {
    let schema = Schema::new();
    let url = schema.url.clone();
    harness::run(Here(schema), async |from: &mut Harness| {
        filled(from).await;
        from.insert_many(6, |_, _| {}).await;
        let busy = from.worker("busy").await;
        assert!(!from.claim(&busy, 3).await.is_empty());
        let totals = from.store.totals().await.unwrap();
        let n = totals.standing().unsigned_abs();
        let snapshot = Snapshot::open(&url, from.store.clock()).await.unwrap();
        from.insert_many(5, |_, _| {}).await;
        assert!(!from.claim(&busy, 3).await.is_empty());
        from.store.put_document("later", 0, "{}").await.unwrap();
        assert_ne!(from.store.totals().await.unwrap().by_state(), totals.by_state());

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("copy.db");
        let copied = snapshot.copy_to(&path, &|_, _| {}).await.unwrap();
        assert_eq!(copied.moved, Moved { tasks: n, copied: n, documents: 3, audit: 2 });
        let taken = snapshot.copy_to(&path, &|_, _| {}).await;
        assert!(matches!(taken, Err(Error::Exists(_))), "{taken:?}");
        let names = std::fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["copy.db"], "nothing is left beside it");
        let write = snapshot.store().put_document("x", 0, "{}").await;
        assert!(matches!(write, Err(Error::ReadOnly { .. })), "{write:?}");

        let copy = SqliteStore::open(&path, from.store.clock()).await.unwrap();
        assert_eq!(copy.totals().await.unwrap().by_state(), totals.by_state());
        let back = from.beside(Box::new(postgres())).await;
        let restored = migrate(&copy, back.store.as_ref(), &|_, _| {}).await.unwrap();
        assert_eq!(restored.copied, n);
        back.check().await;
        back.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_copy_whose_snapshot_is_lost_says_so_and_speaks_of_no_damage() {
    let schema = Schema::new();
    let url = format!("{}&application_name={}", schema.url, schema.name);
    harness::run(Here(schema), async |from: &mut Harness| {
        from.insert_many(3, |_, _| {}).await;
        let snapshot = Snapshot::open(&url, from.store.clock()).await.unwrap();
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE application_name = $1 AND state = 'idle in transaction'";
        let name = url.rsplit('=').next().unwrap().to_owned();
        let ended = client().await.query_one(end, &[&name]).await.unwrap();
        assert_eq!(ended.get::<_, i64>(0), 1);
        // It has ended a moment after it was told to.
        let lost = loop {
            if let Err(error) = snapshot.store().totals().await {
                break error;
            }
        };
        assert!(matches!(lost, Error::Unavailable { .. }), "{lost:?}");
        assert!(lost.to_string().contains("begin again"), "{lost}");
    })
    .await;
}
