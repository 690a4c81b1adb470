//! What only a store in a file must prove: group commit, several handles, upgrades, refusals of
//! files that are not ours or not whole, and what survives a kill.

use crate::{
    backends::sqlite,
    harness::{Harness, ids_of, run},
};
use deadletter_core::{Change, NewTask, RowChange, TaskId, WorkerId};
use deadletter_store::{
    Claim, Committed, Desk, Error, Inserted, ManualClock, Registry, SqliteStore, Store, Tasks, open,
};
use rusqlite::Connection;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::task::JoinHandle;

/// The file of a test's store.
pub(crate) fn path_of(h: &Harness) -> PathBuf {
    PathBuf::from(h.store.url().strip_prefix("sqlite:").unwrap())
}

pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(crate) async fn open_at(h: &Harness, path: &Path) -> deadletter_store::Result<SqliteStore> {
    SqliteStore::open(path, h.clock.clone()).await
}

/// Another process that holds the file's write lock until it is told to let go.
fn lock_of_another(path: &Path) -> Connection {
    let other = Connection::open(path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

/// Lets everything that was spawned come as far as it can.
async fn let_them_wait() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn insert(store: &Arc<SqliteStore>, new: NewTask) -> JoinHandle<Vec<Inserted>> {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.insert(vec![new]).await.unwrap() })
}

#[tokio::test]
async fn many_who_wait_share_one_flush() {
    run(sqlite(), async |h: &mut Harness| {
        let store = Arc::new(open_at(h, &path_of(h)).await.unwrap());
        let busy = lock_of_another(&path_of(h));
        let waiting: Vec<_> = (0..64).map(|_| insert(&store, h.new_task())).collect();
        let_them_wait().await;
        busy.execute_batch("COMMIT").unwrap();
        for one in waiting {
            one.await.unwrap();
        }
        let written = store.written();
        assert_eq!(written.requests, 64);
        // The first may have been on its way before the others came.
        assert!(written.transactions <= 2, "{written:?}");
    })
    .await;
}

#[tokio::test]
async fn a_request_that_fails_undoes_nobody_elses_work_in_its_transaction() {
    run(sqlite(), async |h: &mut Harness| {
        let path = path_of(h);
        let worker = h.worker("w").await;
        let broken = h.insert(|task| task.priority = 0).await;
        let store = Arc::new(open_at(h, &path).await.unwrap());
        let other = Connection::open(&path).unwrap();
        let claim = h.claim_of(&worker, 10);
        // The intent of its claim stands already: the claim fails when its row is written.
        let intent = "INSERT INTO attempts (task, token, n, account, intent_at, closed_at, permit) \
                      VALUES (?, ?, 1, 'main', 0, 0, 0)";
        other.execute(intent, [broken.id.as_i64(), claim.tokens[0].get()]).unwrap();

        let busy = lock_of_another(&path);
        let first = insert(&store, h.new_task());
        let_them_wait().await;
        let claimer = Arc::clone(&store);
        let before = insert(&store, h.new_task());
        let claimed = tokio::spawn(async move { claimer.claim(claim).await });
        let after = insert(&store, h.new_task());
        let_them_wait().await;
        busy.execute_batch("COMMIT").unwrap();

        for one in [first, before, after] {
            assert!(matches!(one.await.unwrap().as_slice(), [Inserted::New(_)]));
        }
        let failed = claimed.await.unwrap();
        assert!(failed.is_err(), "{failed:?}");
        assert_eq!(h.task(broken.id).await, broken, "half a claim was written");
        assert!(store.written().transactions <= 2);
        // The check that ends the case wants sound tasks.
        other.execute("DELETE FROM attempts", []).unwrap();
    })
    .await;
}

#[tokio::test]
async fn permits_are_exact_among_claims_that_share_a_transaction() {
    run(sqlite(), async |h: &mut Harness| {
        let worker = h.worker("w").await;
        h.insert_many(9, |_, _| ()).await;
        let store = Arc::new(open_at(h, &path_of(h)).await.unwrap());
        let busy = lock_of_another(&path_of(h));
        let first = insert(&store, h.new_task());
        let_them_wait().await;
        let claims: Vec<_> = (0..3)
            .map(|_| {
                let claim = Claim { threads: 4, ..h.claim_of(&worker, 3) };
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.claim(claim).await.unwrap().len() })
            })
            .collect();
        let_them_wait().await;
        busy.execute_batch("COMMIT").unwrap();
        first.await.unwrap();
        let mut leased = Vec::new();
        for claim in claims {
            leased.push(claim.await.unwrap());
        }
        assert_eq!(leased, [3, 1, 0]);
        assert!(store.written().transactions <= 2);
    })
    .await;
}

#[tokio::test]
async fn two_handles_on_one_file_fence_each_other() {
    run(sqlite(), async |h: &mut Harness| {
        let other = open_at(h, &path_of(h)).await.unwrap();
        let task = h.insert(|_| ()).await;
        let row = |hold: &str| {
            let mut after = task.clone();
            after.hold = Some(hold.to_owned());
            let row = Some(Box::new(RowChange::to(&task, after, h.now())));
            vec![Change { facts: Vec::new(), row }]
        };
        assert_eq!(h.store.commit(row("ours")).await.unwrap(), [Committed::Applied]);
        assert_eq!(other.commit(row("theirs")).await.unwrap(), [Committed::Stale]);
        assert_eq!(h.task(task.id).await.hold.as_deref(), Some("ours"));
    })
    .await;
}

#[tokio::test]
async fn a_file_that_stays_locked_is_waited_for() {
    run(sqlite(), async |h: &mut Harness| {
        let store = Arc::new(open_at(h, &path_of(h)).await.unwrap());
        let busy = lock_of_another(&path_of(h));
        let waiting = insert(&store, h.new_task());
        let_them_wait().await;
        assert!(!waiting.is_finished());
        assert_eq!(store.totals().await.unwrap().accepted, 0, "a reader waited for a writer");
        busy.execute_batch("ROLLBACK").unwrap();
        waiting.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_was_answered_is_in_the_files_of_a_process_that_was_killed() {
    run(sqlite(), async |h: &mut Harness| {
        let ids = h.insert_many(50, |_, _| ()).await;
        // The bytes as they lie there now: nothing was closed, no checkpoint was asked for.
        let after = tempfile::tempdir().unwrap();
        let copy = after.path().join("copy.db");
        fs::copy(path_of(h), &copy).unwrap();
        fs::copy(beside(&path_of(h), "-wal"), beside(&copy, "-wal")).unwrap();

        let found = open_at(h, &copy).await.unwrap();
        let tasks = found.get(&ids).await.unwrap();
        assert_eq!(tasks, h.store.get(&ids).await.unwrap());
        assert!(tasks.iter().all(Option::is_some));
    })
    .await;
}

#[tokio::test]
async fn a_store_that_was_closed_leaves_one_file_and_opens_again() {
    run(sqlite(), async |h: &mut Harness| {
        let (path, id) = (path_of(h), h.insert(|_| ()).await.id);
        h.store.close().await.unwrap();
        assert!(!beside(&path, "-wal").exists(), "the log was left behind");
        let again = open_at(h, &path).await.unwrap();
        assert!(again.get(&[id]).await.unwrap()[0].is_some());
    })
    .await;
}

/// Inserts a megabyte; answers how long the log is then.
async fn log_after_a_megabyte(h: &Harness) -> u64 {
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let new = h.new_task();
        let long = crate::harness::payload(&[("body", &"x".repeat(200_000))]);
        tasks.push(NewTask { payload: long, ..new });
    }
    h.store.insert(tasks).await.unwrap();
    fs::metadata(beside(&path_of(h), "-wal")).unwrap().len()
}

#[tokio::test]
async fn the_log_stays_below_32_mb_under_load() {
    run(sqlite(), async |h: &mut Harness| {
        let mut largest = 0;
        for _ in 0..45 {
            largest = largest.max(log_after_a_megabyte(h).await);
        }
        assert!(largest < 32 << 20, "{largest} bytes for 45 MB");
    })
    .await;
}

#[tokio::test]
async fn a_log_that_a_long_look_lets_grow_is_cut_when_the_look_ends() {
    run(sqlite(), async |h: &mut Harness| {
        let look = Connection::open(path_of(h)).unwrap();
        look.execute_batch("BEGIN; SELECT count(*) FROM tasks").unwrap();
        let mut length = 0;
        for _ in 0..40 {
            length = log_after_a_megabyte(h).await;
        }
        assert!(length > 36 << 20, "{length} bytes: nothing held the log back");
        look.execute_batch("ROLLBACK").unwrap();
        for _ in 0..5 {
            length = log_after_a_megabyte(h).await;
        }
        assert!(length <= 32 << 20, "{length} bytes were left");
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn only_their_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    run(sqlite(), async |h: &mut Harness| {
        let path = path_of(h).with_file_name("new").join("deep").join("tasks.db");
        let store = open_at(h, &path).await.unwrap();
        store.insert(vec![h.new_task()]).await.unwrap();
        store.register(&WorkerId::new("w").unwrap(), "").await.unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let workers = beside(&path, ".workers");
        for file in [&path, &beside(&path, "-wal"), &beside(&path, "-shm"), &workers.join("w.lock")]
        {
            assert_eq!(mode(file), 0o600, "{}", file.display());
        }
        for directory in [path.parent().unwrap(), &workers] {
            assert_eq!(mode(directory), 0o700, "{}", directory.display());
        }
        let drafts = fs::read_dir(path.parent().unwrap()).unwrap();
        assert_eq!(drafts.count(), 4, "a draft was left behind");
    })
    .await;
}

#[tokio::test]
async fn an_older_schema_is_upgraded_and_a_newer_one_refused() {
    run(sqlite(), async |h: &mut Harness| {
        let path = path_of(h).with_file_name("older.db");
        let older = Connection::open(&path).unwrap();
        // Version 0: marked as ours, before the first migration.
        older.execute_batch("PRAGMA application_id = 0x646c7132; VACUUM").unwrap();
        drop(older);
        let store = open_at(h, &path).await.unwrap();
        store.insert(vec![h.new_task()]).await.unwrap();
        store.close().await.unwrap();

        let newer = Connection::open(&path).unwrap();
        let known: i64 = newer.pragma_query_value(None, "user_version", |r| r.get(0)).unwrap();
        assert!(known > 0);
        newer.pragma_update(None, "user_version", known + 1).unwrap();
        newer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(newer);
        let before = fs::read(&path).unwrap();
        let refused = open_at(h, &path).await;
        let Err(Error::TooNew { found, known: ours, .. }) = &refused else { panic!("{refused:?}") };
        assert_eq!((*found, *ours), (known + 1, known));
        assert_eq!(fs::read(&path).unwrap(), before);
    })
    .await;
}

/// A file that must be refused, with a word of what the person is told.
async fn is_refused_untouched(h: &Harness, name: &str, bytes: &[u8], told: &str) {
    let path = path_of(h).with_file_name(name);
    fs::write(&path, bytes).unwrap();
    let refused = open_at(h, &path).await;
    let Err(error @ (Error::Damaged { .. } | Error::Empty(_))) = &refused else {
        panic!("{name}: {refused:?}")
    };
    let what = error.to_string();
    assert!(what.contains(told) && what.contains(name), "{what}");
    assert!(fs::read(&path).unwrap() == bytes, "{name} was changed");
    assert!(!beside(&path, "-wal").exists(), "{name} was opened");
}

#[tokio::test]
async fn a_file_that_is_not_ours_or_not_whole_is_refused_and_left_as_it_is() {
    run(sqlite(), async |h: &mut Harness| {
        h.insert_many(100, |_, _| ()).await;
        let foreign = path_of(h).with_file_name("f.db");
        let conn = Connection::open(&foreign).unwrap();
        conn.execute_batch("CREATE TABLE tasks (id INTEGER); INSERT INTO tasks VALUES (1)")
            .unwrap();
        drop(conn);
        let foreign = fs::read(foreign).unwrap();
        is_refused_untouched(h, "foreign.db", &foreign, "another program").await;
        is_refused_untouched(h, "text.db", b"{\"tasks\": []}", "not an SQLite database").await;
        is_refused_untouched(h, "empty.db", b"", "is empty").await;

        let path = path_of(h);
        h.store.close().await.unwrap();
        let ours = fs::read(&path).unwrap();
        is_refused_untouched(h, "header.db", &ours[..60], "cut off").await;
        is_refused_untouched(h, "page.db", &ours[..300], "cut off").await;
        is_refused_untouched(h, "torn.db", &ours[..ours.len() / 2], "cut off").await;
        let mut flipped = ours.clone();
        flipped[3] ^= 1;
        is_refused_untouched(h, "flipped.db", &flipped, "not an SQLite database").await;
    })
    .await;
}

#[tokio::test]
async fn a_log_without_its_file_is_not_taken_for_a_new_store() {
    run(sqlite(), async |h: &mut Harness| {
        h.insert(|_| ()).await;
        let lost = path_of(h).with_file_name("lost.db");
        fs::copy(beside(&path_of(h), "-wal"), beside(&lost, "-wal")).unwrap();
        let refused = open_at(h, &lost).await;
        assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
        assert!(!lost.exists());
    })
    .await;
}

#[tokio::test]
async fn a_damaged_page_is_told_and_the_rest_goes_on() {
    run(sqlite(), async |h: &mut Harness| {
        let path = path_of(h).with_file_name("damaged.db");
        let store = open_at(h, &path).await.unwrap();
        let new = h.new_task();
        let task = new.task.id;
        store.insert(vec![new]).await.unwrap();
        store.put_document("a", 0, "{}").await.unwrap();
        let conn = Connection::open(&path).unwrap();
        let page: u32 = conn
            .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'tasks'", [], |r| r.get(0))
            .unwrap();
        drop(conn);
        store.close().await.unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let end = page as usize * 4_096;
        bytes[end - 4_096..end].fill(0x5a);
        fs::write(&path, &bytes).unwrap();

        let store = open_at(h, &path).await.unwrap();
        let read = store.get(&[task]).await;
        assert!(matches!(read, Err(Error::Damaged { .. })), "{read:?}");
        let written = store.insert(vec![h.new_task()]).await;
        assert!(matches!(written, Err(Error::Damaged { .. })), "{written:?}");
        assert_eq!(store.put_document("a", 1, "[]").await.unwrap(), Some(2));
    })
    .await;
}

#[tokio::test]
async fn two_who_create_one_store_get_the_same_one() {
    run(sqlite(), async |h: &mut Harness| {
        let path = path_of(h).with_file_name("both.db");
        let (one, two) = tokio::join!(open_at(h, &path), open_at(h, &path));
        let (one, two) = (one.unwrap(), two.unwrap());
        let new = h.new_task();
        let id: TaskId = new.task.id;
        one.insert(vec![new]).await.unwrap();
        assert!(two.get(&[id]).await.unwrap()[0].is_some());
    })
    .await;
}

#[tokio::test]
async fn a_store_is_opened_by_its_url() {
    run(sqlite(), async |h: &mut Harness| {
        let id = h.insert(|_| ()).await.id;
        let clock = Arc::new(ManualClock::at(h.now()));
        let again = open(&h.store.url(), clock.clone()).await.unwrap();
        assert!(again.get(&[id]).await.unwrap()[0].is_some());
        assert_eq!(open("memory:", clock.clone()).await.unwrap().url(), "memory:");
        assert!(matches!(open("oracle:x", clock).await, Err(Error::BadUrl(_))));
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_lost_keeps_no_other_task_from_being_claimed() {
    run(sqlite(), async |h: &mut Harness| {
        let worker = h.worker("w").await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(h.insert(|_| ()).await.id);
        }
        let other = Connection::open(path_of(h)).unwrap();
        let id = |n: usize| i64::try_from(ids[n].get()).unwrap();
        let set = "UPDATE requests SET body = CAST(?1 AS TEXT) WHERE task = ?2";
        assert_eq!(other.execute("DELETE FROM requests WHERE task = ?", [id(0)]).unwrap(), 1);
        assert_eq!(other.execute(set, (b"no JSON", id(1))).unwrap(), 1);
        assert_eq!(other.execute(set, (b"\xff\xfe", id(2))).unwrap(), 1);
        let claimed = h.claim(&worker, 9).await;
        assert_eq!(ids_of(&claimed), ids);
        let has: Vec<_> = claimed.iter().map(|claimed| claimed.payload.is_some()).collect();
        assert_eq!(has, [false, false, false, true]);
        // As they were, for the check that follows.
        let whole = "INSERT OR REPLACE INTO requests (task, body) VALUES (?, '{}')";
        for n in 0..3 {
            other.execute(whole, [id(n)]).unwrap();
        }
    })
    .await;
}
