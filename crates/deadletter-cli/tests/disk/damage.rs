//! Files that are cut off, flipped, emptied, or not ours.

use crate::scene::{Scene, lines};
use std::fs;

/// What is done to a file's bytes.
type Change = fn(&mut Vec<u8>);

/// Letters in the store that is damaged.
const LETTERS: usize = 400;

/// A store with letters, all of them in the file.
fn filled() -> Scene {
    let scene = Scene::new();
    scene.good(&["import", &scene.letters("letters", LETTERS)]);
    let conn = rusqlite::Connection::open(scene.store("")).expect("a database");
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("emptied");
    scene
}

/// Changes the file's bytes; no log and no index of one lies beside it afterwards.
fn damage(scene: &Scene, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(scene.store(suffix)).unwrap_or_default();
    }
    let mut bytes = fs::read(scene.store("")).expect("it stands");
    change(&mut bytes);
    fs::write(scene.store(""), &bytes).expect("written");
    bytes
}

/// Commands that work are refused with advice, the check tells, and the file stays as it is.
fn assert_told(scene: &Scene, bytes: &[u8], word: &str) {
    let letters = scene.letters("more", 3);
    scene.run(&["import", &letters]).assert_told(1, word);
    let check = scene.run(&["store", "check"]);
    assert_eq!(check.code, 1, "{}\n{}", check.stdout, check.stderr);
    assert!(check.stderr.contains("fix: "), "{}", check.stderr);
    assert!(fs::read(scene.store("")).expect("it stands") == bytes, "{word}: it was overwritten");
}

#[test]
fn a_file_that_is_not_a_whole_store_is_told_and_never_overwritten() {
    let scene = filled();
    let whole = fs::read(scene.store("")).expect("it stands");
    let cases: [(&str, u64, Change); 5] = [
        ("not an SQLite database", 0, |bytes| *bytes = b"{\"tasks\": []}\n".repeat(1_000)),
        ("not an SQLite database", LETTERS as u64, |bytes| bytes[3] ^= 1),
        ("is empty", 0, Vec::clear),
        ("is cut off", 20, |bytes| bytes.truncate(bytes.len() / 2)),
        ("is cut off", 0, |bytes| bytes.truncate(700)),
    ];
    for (word, least, change) in cases {
        let bytes = damage(&scene, change);
        assert_told(&scene, &bytes, word);
        let rescued = rescue(&scene);
        assert!(rescued.imported >= least, "{word}: {}", rescued.stderr);
        let is_all = rescued.imported == LETTERS as u64;
        assert_eq!(rescued.code == 0, is_all, "{word}: {}", rescued.stderr);
        damage(&scene, |bytes| bytes.clone_from(&whole));
    }
    assert_eq!(scene.standing(), 400, "the whole file is a store again");
}

#[test]
fn a_page_that_is_flipped_is_told_where_it_is() {
    let scene = filled();
    let conn = rusqlite::Connection::open(scene.store("")).expect("a database");
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'tasks'";
    let root: u32 = conn.query_row(sql, [], |row| row.get(0)).expect("a page");
    drop(conn);
    let bytes = damage(&scene, |bytes| {
        let start = (root as usize - 1) * 4_096;
        for byte in &mut bytes[start..start + 16] {
            *byte ^= 0x40;
        }
    });
    assert_told(&scene, &bytes, "damaged");
    let findings = lines(&scene.run(&["store", "check"]))[0]["findings"].clone();
    assert!(findings.to_string().contains("tasks"), "{findings}");
}

/// What a salvage brings out, and how many of that a new store takes in.
struct Rescued {
    code: i32,
    stderr: String,
    /// What a check of the new store finds is asserted to be nothing.
    imported: u64,
}

fn rescue(scene: &Scene) -> Rescued {
    let before = fs::read(scene.store("")).expect("it stands");
    let log = fs::read(scene.store("-wal")).ok();
    let out = scene.path("rescued.jsonl").display().to_string();
    fs::remove_file(&out).unwrap_or_default();
    let told = scene.run(&["export", "--salvage", "--with-secrets", "--out", &out]);
    assert!(fs::read(scene.store("")).expect("it stands") == before, "the file was written");
    assert!(fs::read(scene.store("-wal")).ok() == log, "the log was written");
    let new = format!("sqlite:{}", scene.path("new.db").display());
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(scene.path(&format!("new.db{suffix}"))).unwrap_or_default();
    }
    let taken = scene.run(&["import", &out, "--store", &new]);
    // What lost its request is in the file, and cannot be a task again.
    let left_out = lines(&taken)[0]["without_request"].as_u64().expect("a number");
    assert_eq!(taken.code == 0, left_out == 0, "{}", taken.stderr);
    let check = scene.run(&["store", "check", "--store", &new]);
    assert_eq!(check.code, 0, "{}", check.stdout);
    let imported = lines(&taken)[0]["imported"].as_u64().expect("a number");
    let letters = fs::read_to_string(&out).expect("it stands").lines().count() as u64 - 2;
    assert_eq!(letters, imported + left_out, "{}", told.stderr);
    Rescued { code: told.code, stderr: told.stderr, imported }
}

/// Pages of the file that begin with this byte: 13 for leaves of tables, 5 for what leads to them.
fn pages_of_kind(bytes: &[u8], kind: u8) -> Vec<usize> {
    (1..bytes.len() / 4_096).filter(|page| bytes[page * 4_096] == kind).collect()
}

fn wipe(bytes: &mut [u8], page: usize) {
    bytes[page * 4_096..(page + 1) * 4_096].fill(0xa5);
}

#[test]
fn a_salvage_of_a_whole_store_brings_out_everything() {
    let scene = filled();
    let rescued = rescue(&scene);
    assert_eq!((rescued.code, rescued.imported), (0, LETTERS as u64), "{}", rescued.stderr);
}

#[test]
fn what_leads_to_rows_is_not_needed_to_bring_them_out() {
    let scene = filled();
    let bytes = fs::read(scene.store("")).expect("it stands");
    let inner = pages_of_kind(&bytes, 5);
    assert!(!inner.is_empty(), "the store is too small for this test");
    damage(&scene, |bytes| inner.iter().for_each(|page| wipe(bytes, *page)));
    let rescued = rescue(&scene);
    assert_eq!(rescued.imported, LETTERS as u64, "{}", rescued.stderr);
    // The first page, and with it the schema and the list of free pages.
    damage(&scene, |bytes| wipe(bytes, 0));
    let rescued = rescue(&scene);
    assert_eq!(rescued.imported, LETTERS as u64, "{}", rescued.stderr);
    assert!(rescued.stderr.contains("what was purged may be"), "{}", rescued.stderr);
}

#[test]
fn a_page_of_rows_costs_its_rows_and_nothing_else() {
    let scene = filled();
    let bytes = fs::read(scene.store("")).expect("it stands");
    let leaves = pages_of_kind(&bytes, 13);
    let mut least = LETTERS as u64;
    for page in leaves.iter().step_by(leaves.len() / 8 + 1) {
        damage(&scene, |bytes| wipe(bytes, *page));
        let rescued = rescue(&scene);
        least = least.min(rescued.imported);
        // A page holds a dozen rows of tasks, or some forty requests.
        assert!(rescued.imported + 60 >= LETTERS as u64, "{}", rescued.stderr);
        damage(&scene, |whole| whole.clone_from(&bytes));
    }
    assert!(least < LETTERS as u64, "no page held anything");
}

#[test]
fn a_task_whose_request_is_lost_comes_out_with_its_history() {
    let scene = Scene::new();
    scene.rows(20);
    scene.good(&["run", "tasks.csv"]);
    let conn = rusqlite::Connection::open(scene.store("")).expect("a database");
    conn.execute("DELETE FROM requests WHERE task IN (SELECT id FROM tasks LIMIT 3)", [])
        .expect("deleted");
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("emptied");
    drop(conn);
    let salvage = ["export", "state:solved", "--salvage"];
    let told = scene.run(&salvage);
    assert_eq!(told.code, 1, "{}", told.stderr);
    assert!(told.stderr.contains("3 tasks have lost their request"), "{}", told.stderr);
    assert!(!told.stderr.contains("secrets"), "none has any: {}", told.stderr);
    let letters = lines(&told);
    let lost: Vec<_> = letters.iter().filter(|letter| letter["request"].is_null()).collect();
    let lost: Vec<_> = lost.into_iter().filter(|letter| letter["task"].is_object()).collect();
    assert_eq!(lost.len(), 3, "{}", told.stdout);
    for letter in lost {
        assert_eq!(letter["attempts"].as_array().map(Vec::len), Some(1), "{letter}");
    }
    assert_eq!(letters.len(), 20 + 2, "all of them, a header and a footer");
}

#[test]
fn half_a_file_gives_its_half() {
    let scene = filled();
    damage(&scene, |bytes| bytes.truncate(bytes.len() / 2));
    let rescued = rescue(&scene);
    assert_eq!(rescued.code, 1);
    assert!(rescued.imported > 20 && rescued.imported < LETTERS as u64, "{}", rescued.imported);
    assert!(rescued.stderr.contains("lost: "), "{}", rescued.stderr);
}

#[test]
fn what_was_purged_stays_so_and_what_was_under_way_comes_out_as_a_dead_letter() {
    let scene = filled();
    killed(&scene, 3);
    scene.good(&["purge", "--where", "state:dead", "--confirm", "400"]);
    let rescued = rescue(&scene);
    assert_eq!(rescued.imported, 3, "{}", rescued.stderr);
}

/// A store whose process was killed: what it wrote last stands in the log alone.
fn killed(scene: &Scene, rows: usize) {
    scene.rows(rows);
    let running = scene.start(scene.command(&["run", "tasks.csv"]));
    scene.until_paid(3);
    let id = running.id().to_string();
    assert!(std::process::Command::new("kill").args(["-9", &id]).status().expect("kill").success());
    running.wait_with_output().expect("it ends");
    assert!(fs::metadata(scene.store("-wal")).is_ok_and(|log| log.len() > 0));
    fs::remove_file(scene.store("-shm")).unwrap_or_default();
}

#[test]
fn a_log_without_its_file_gives_what_it_holds() {
    let scene = Scene::new();
    killed(&scene, 30);
    fs::write(scene.store(""), b"").expect("written");
    let rescued = rescue(&scene);
    assert_eq!(rescued.imported, 30, "{}", rescued.stderr);
}

#[test]
fn a_log_that_hides_acknowledged_commits_is_told_and_not_written_over() {
    for at in [8, 20, 32 + 24 + 2_000, 32 + 2 * 4_120 + 4] {
        let scene = Scene::new();
        killed(&scene, 30);
        let mut log = fs::read(scene.store("-wal")).expect("a log");
        log[at] ^= 0x10;
        fs::write(scene.store("-wal"), &log).expect("written");
        scene.run(&["import", &scene.letters("more", 3)]).assert_told(1, "acknowledged");
        let check = scene.run(&["store", "check"]);
        assert!(check.code == 1 && check.stdout.contains("acknowledged"), "{at}: {}", check.stdout);
        assert!(fs::read(scene.store("-wal")).expect("a log") == log, "{at}: it was written over");
        let rescued = rescue(&scene);
        assert!(rescued.imported >= 15, "{at}: {} of 30: {}", rescued.imported, rescued.stderr);
    }
}

#[test]
fn garbage_in_a_log_is_told_unless_it_lies_behind_all_that_was_acknowledged() {
    let cases: [(bool, Change); 5] = [
        (true, |log| log.fill(0xa5)),
        (true, |log| *log = b"not a log of anything, but some text\n".repeat(2_000)),
        (true, |log| log[32 + 3 * 4_120..][..2 * 4_120].fill(0)),
        (true, |log| (0..).zip(&mut log[32..][..6 * 4_120]).for_each(|(i, byte)| *byte ^= i as u8)),
        (false, |log| log.extend(std::iter::repeat_n(0xa5, 40_000))),
    ];
    for (n, (is_told, change)) in cases.into_iter().enumerate() {
        let scene = Scene::new();
        killed(&scene, 30);
        let mut log = fs::read(scene.store("-wal")).expect("a log");
        change(&mut log);
        fs::write(scene.store("-wal"), &log).expect("written");
        let letters = scene.letters("more", 3);
        if is_told {
            scene.run(&["import", &letters]).assert_told(1, "acknowledged");
            assert_eq!(scene.run(&["store", "check"]).code, 1, "{n}");
            assert!(fs::read(scene.store("-wal")).expect("a log") == log, "{n}: written over");
            rescue(&scene);
        } else {
            assert_eq!(rescue(&scene).imported, 30, "{n}");
            scene.good(&["import", &letters]);
            assert_eq!(scene.standing(), 33, "{n}");
            scene.assert_whole();
        }
    }
}

#[test]
fn a_log_whose_end_a_crash_cut_off_is_a_store_as_it_was_before_its_last_commits() {
    for cut in [1, 5_000, 20_000] {
        let scene = Scene::new();
        killed(&scene, 30);
        let log = fs::read(scene.store("-wal")).expect("a log");
        fs::write(scene.store("-wal"), &log[..log.len() - cut]).expect("written");
        assert_eq!(scene.run(&["store", "check"]).code, 0, "{cut}");
        scene.good(&["run", "tasks.csv", "--resume"]);
        assert_eq!(scene.standing(), 30, "{cut}");
    }
}

#[test]
fn an_empty_file_beside_a_log_is_not_taken_for_a_new_store() {
    let scene = Scene::new();
    killed(&scene, 10);
    let log = fs::read(scene.store("-wal")).expect("a log");
    fs::write(scene.store(""), b"").expect("written");
    scene.run(&["import", &scene.letters("more", 3)]).assert_told(1, "its log (-wal) stands");
    assert_eq!(scene.run(&["store", "check"]).code, 1);
    assert!(fs::read(scene.store("-wal")).expect("it stands") == log, "the log was written");
    assert_eq!(fs::metadata(scene.store("")).expect("it stands").len(), 0);
}
