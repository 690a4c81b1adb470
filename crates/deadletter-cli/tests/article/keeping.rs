//! What is kept: all of it (A2), complete (A5), in a file that is whole or refused (A7).

use crate::{
    port::{Entry, JsFile, PythonDeque, Queue, Script, solve},
    rig::{
        SPEED, account, clock, engine, job, memory, notice, redrive_all, scenario, solved, soon,
        sqlite, tasks, unsolved, upstream,
    },
    shell::deadletter,
    tap::Tap,
};
use deadletter::{
    Job, Notice,
    core::{StateKind, Verdict},
    store::{Clock, Error, FastClock, MemoryStore, SqliteStore, Store},
};
use deadletter_sim::{DEFAULT_KEY, Fault, Phase, Rule};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// The port's sleeps are so many times shorter.
const PACE: f64 = 10_000.0;

#[tokio::test]
async fn a02_the_1001st_dead_letter_pushes_no_other_out() {
    let pages: Vec<_> = (0..1_001).map(|n| format!("https://a.example/{n}")).collect();
    let refused = || {
        let code = "ERROR_WRONG_GOOGLEKEY".to_owned();
        scenario(3_000).rule(Rule::new(Fault::Error { code }).on(Phase::Submit))
    };

    // The article: the oldest falls out, and nobody hears of it.
    let sim = upstream(refused()).await;
    let script = Script::python(&sim.base_url(), DEFAULT_KEY, PACE);
    let mut queue = PythonDeque::default();
    for page in &pages {
        assert_eq!(solve(&script, &mut queue, "6LeARTICLE", page, 0).await, None);
    }
    assert_eq!(queue.len(), 1_000);
    assert!(queue.peek_all().iter().all(|entry| entry.page_url != pages[0]));

    // Ours keeps all of them, with what they asked for.
    let directory = tempfile::tempdir().expect("a directory");
    let store = sqlite(&directory.path().join("tasks.db"), clock()).await;
    let sim = upstream(refused()).await;
    let engine = engine(&store, account(&sim.base_url())).await;
    let jobs = pages.iter().map(|page| job(page)).collect();
    let submitted = engine.submit_all(jobs).await.expect("stored");
    for one in &submitted {
        unsolved(&engine, one.id).await;
    }
    assert_eq!(tasks(&engine, "state:dead cause:ERROR_WRONG_GOOGLEKEY").await.len(), 1_001);
    for (one, page) in submitted.iter().zip(&pages) {
        let payload = store.payload(one.id).await.expect("read").expect("kept");
        assert_eq!(payload.text("pageurl").as_deref(), Some(page.as_str()));
    }
    let totals = store.recount().await.expect("counted");
    assert_eq!((totals.accepted, totals.dead, totals.purged), (1_001, 1_001, 0));
    soon(engine.stop()).await.expect("it stops");
}

/// One job of each kind that needs more than a site key and a page.
fn jobs() -> Vec<(&'static str, Job)> {
    let v3 = Job::new("userrecaptcha")
        .param("version", "v3")
        .param("action", "log in & out")
        .param("min_score", 0.7)
        .param("googlekey", "6LeARTICLE-V3")
        .param("pageurl", "https://v3.example/?a=1&b=ü");
    let turnstile = Job::new("turnstile")
        .param("sitekey", "0x4AAA")
        .param("action", "managed")
        .param("data", "blob+/=")
        .param("pageurl", "https://turnstile.example/");
    let image = Job::new("base64")
        .param("body", "aGVsbG8+/w==".repeat(2_000))
        .param("numeric", 1)
        .param("min_len", 4)
        .param("max_len", 6)
        .param("textinstructions", "the red letters");
    vec![("v3", v3), ("turnstile", turnstile), ("image", image)]
}

/// A job as a form has it.
fn form_of(job: &Job, names: &[&str]) -> BTreeMap<String, String> {
    let text = |name: &&str| {
        let value = job.field(name).map(str::to_owned);
        ((*name).to_owned(), value.unwrap_or_default())
    };
    names.iter().map(text).collect()
}

#[tokio::test]
async fn a05_a_redrive_repeats_every_parameter_of_every_method() {
    // The article's entry has no room for them.
    let mut queue = PythonDeque::default();
    let text = String::new;
    queue.push(Entry { sitekey: text(), page_url: text(), error: text(), attempts: 4 });
    let exported: serde_json::Value =
        serde_json::from_str(&queue.export_json()).expect("it is JSON");
    assert!(exported[0].get("method").is_none() && exported[0]["task_id"].is_null());

    let code = "ERROR_NEW_AND_UNKNOWN".to_owned();
    let refusal = Rule::new(Fault::Error { code }).on(Phase::Submit);
    let sim = upstream(scenario(3_000).rule(refusal)).await;
    let tap = Tap::on(sim.port()).await.expect("it listens");
    let engine = engine(&memory(), account(&tap.base_url())).await;
    for (name, job) in jobs() {
        let before = tap.submits().len();
        let id = engine.submit(job.clone()).await.expect("stored").id;
        assert_eq!(unsolved(&engine, id).await.kind(), StateKind::Dead, "{name}");
        sim.clear_rules();
        redrive_all(&engine).await;
        solved(&engine, id).await;
        let submits = tap.submits();
        let [first, again] = &submits[before..] else {
            panic!("{name}: {} submits", submits.len())
        };
        assert_eq!(first, again, "{name}");
        let sent: BTreeMap<_, _> = again
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "key" | "json"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        assert_eq!(sent, wanted(name, &job), "{name}");
        let code = "ERROR_NEW_AND_UNKNOWN".to_owned();
        sim.add_rule(Rule::new(Fault::Error { code }).on(Phase::Submit)).expect("a rule");
    }
    soon(engine.stop()).await.expect("it stops");
}

/// What upstream has to be told of each of [`jobs`].
fn wanted(name: &str, job: &Job) -> BTreeMap<String, String> {
    let (texts, others): (&[&str], &[(&str, &str)]) = match name {
        "v3" => (&["method", "version", "action", "googlekey", "pageurl"], &[("min_score", "0.7")]),
        "turnstile" => (&["method", "sitekey", "action", "data", "pageurl"], &[]),
        _ => (
            &["method", "body", "textinstructions"],
            &[("numeric", "1"), ("min_len", "4"), ("max_len", "6")],
        ),
    };
    let mut form = form_of(job, texts);
    form.extend(others.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    form
}

#[tokio::test]
async fn a05_a_late_answer_of_a_job_that_was_given_up_is_picked_up() {
    let page = "https://late.example/";
    let solve_ms = 3_000;

    // The article: the id is not kept, so what it paid for is never asked for again.
    let sim = upstream(scenario(solve_ms).speed(0.0)).await;
    let script = Script::python(&sim.base_url(), DEFAULT_KEY, PACE);
    let mut queue = PythonDeque::default();
    assert_eq!(solve(&script, &mut queue, "6LeARTICLE", page, 0).await, None);
    sim.advance_ms(solve_ms);
    assert_eq!((queue.len(), sim.stats().paid, sim.stats().delivered), (1, 1, 0));

    // Ours: the first job's answer ends the task, although it had been given up by then. Upstream's
    // clock stands, so that nothing is solved before the test says so.
    let sim = upstream(scenario(solve_ms).speed(0.0)).await;
    let patient = FastClock::new(clock().now(), SPEED / 4.0);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(patient)));
    let engine = engine(&store, account(&sim.base_url())).await;
    let mut notices = engine.notices();
    let id = engine.submit(job(page)).await.expect("stored").id;
    soon(sim.until(|stats| stats.paid == 1)).await;
    sim.add_rule(Rule::new(Fault::Late { after_ms: 100_000_000 })).expect("a rule");
    let given_up = |n: &Notice| match n {
        Notice::Waiting(task) => task.cause.as_ref().map(|cause| cause.as_str() == "TIMEOUT"),
        _ => None,
    };
    assert!(notice(&mut notices, given_up).await);
    sim.advance_ms(solve_ms);
    let token = solved(&engine, id).await;
    let first_id = sim.log().paid_for(page)[0].id.clone().expect("it was created");
    assert!(token.contains(&first_id), "{token} is not of {first_id}");
    let file = engine.desk().open(id).await.expect("it is kept");
    assert_eq!(file.task.answered_by, Some(file.attempts[0].token));
    assert_eq!(file.attempts[0].verdict, Some(Verdict::Solved));
    assert!(file.attempts[0].abandoned_at.is_some());
    assert!(sim.log().paid_for(page).len() <= 2);
    soon(engine.stop()).await.expect("it stops");
}

#[tokio::test]
async fn a07_a_torn_file_is_told_left_as_it_is_and_never_taken_for_an_empty_one() {
    let directory = tempfile::tempdir().expect("a directory");
    the_article_takes_a_torn_file_for_an_empty_one(&directory.path().join("captcha-dlq.json"));
    our_import_takes_what_is_whole(directory.path());

    // So does our own store, whatever happened to its file.
    let file = directory.path().join("whole.db");
    let store = sqlite(&file, clock()).await;
    let sim = upstream(scenario(3_000).rule(Rule::new(Fault::Unsolvable))).await;
    let engine = engine(&store, account(&sim.base_url())).await;
    let id = engine.submit(job("https://a.example/")).await.expect("stored").id;
    unsolved(&engine, id).await;
    soon(engine.stop()).await.expect("it stops");
    store.close().await.expect("it closes");
    let whole = std::fs::read(&file).expect("it is there");
    let garbage = b"[\n  {\n    \"sitekey\": \"6LeART".to_vec();
    let mut scribbled = whole.clone();
    scribbled[..64].fill(b'x');
    for (what, torn) in
        [("cut", whole[..whole.len() / 2].to_vec()), ("garbage", garbage), ("scribbled", scribbled)]
    {
        let file = directory.path().join(format!("{what}.db"));
        std::fs::write(&file, &torn).expect("written");
        let opened = SqliteStore::open(&file, Arc::new(clock())).await;
        let error = opened.map(drop).expect_err(what);
        assert!(matches!(error, Error::Damaged { .. }), "{what}: {error:?}");
        assert_eq!(std::fs::read(&file).expect("it is there"), torn, "{what} was changed");
    }
}

fn entry(n: u32) -> Entry {
    Entry {
        sitekey: "6LeARTICLE".to_owned(),
        page_url: format!("https://a.example/{n}"),
        error: "ERROR_CAPTCHA_UNSOLVABLE".to_owned(),
        attempts: 4,
    }
}

fn our_import_takes_what_is_whole(directory: &Path) {
    let mut queue = JsFile::load(&directory.join("whole.json"));
    (0..10).for_each(|n| queue.push(entry(n)));
    let whole = std::fs::read(directory.join("whole.json")).expect("it is there");
    let mut taken = 0;
    for (len, letters) in
        [(0, 0), (1, 0), (whole.len() / 2, 5), (whole.len() - 30, 9), (whole.len() - 2, 10)]
    {
        std::fs::write(directory.join("torn.json"), &whole[..len]).expect("written");
        let ran = deadletter(directory, &["import", "torn.json"]);
        assert_eq!(ran.code, Some(1), "{len} bytes: {ran:?}");
        let left = std::fs::read(directory.join("torn.json")).expect("it is there");
        assert_eq!(left, whole[..len], "{len} bytes");
        if let Some(told) = ran.documents().first() {
            assert_eq!(
                (&told["imported"], &told["duplicates"]),
                (&(letters - taken).into(), &taken.into())
            );
            assert_eq!(told["torn"]["byte"], len);
        }
        taken = letters;
        assert_eq!(deadletter(directory, &["list", "*"]).documents().len(), taken);
    }
    let ran = deadletter(directory, &["import", "whole.json"]);
    assert_eq!((ran.code, &ran.documents()[0]["duplicates"]), (Some(0), &10.into()), "{ran:?}");
}

fn the_article_takes_a_torn_file_for_an_empty_one(path: &Path) {
    let mut queue = JsFile::load(path);
    (0..10).for_each(|n| queue.push(entry(n)));
    assert_eq!(JsFile::load(path).len(), 10);
    let whole = std::fs::read(path).expect("it is there");
    std::fs::write(path, &whole[..whole.len() - 30]).expect("written");
    let mut queue = JsFile::load(path);
    queue.push(entry(10));
    assert_eq!(JsFile::load(path).len(), 1, "ten entries are gone");
}

#[tokio::test]
async fn a11_both_spellings_and_both_units_of_time_are_imported_and_redriven() {
    let directory = tempfile::tempdir().expect("a directory");
    let sim = upstream(scenario(0).rule(Rule::new(Fault::Unsolvable).times(8))).await;
    let mut python = PythonDeque::default();
    let script = Script::python(&sim.base_url(), DEFAULT_KEY, PACE);
    solve(&script, &mut python, "6LeARTICLE", "https://python.example/", 3).await;
    std::fs::write(directory.path().join("python.json"), python.export_json()).expect("written");
    let mut js = JsFile::load(&directory.path().join("captcha-dlq.json"));
    let script = Script::javascript(&sim.base_url(), DEFAULT_KEY, PACE);
    solve(&script, &mut js, "6LeARTICLE", "https://javascript.example/", 3).await;
    assert_eq!((sim.stats().paid, python.len(), js.len()), (8, 1, 1));

    for name in ["python.json", "captcha-dlq.json"] {
        let ran = deadletter(directory.path(), &["import", name]);
        assert_eq!((ran.code, &ran.documents()[0]["imported"]), (Some(0), &1.into()), "{ran:?}");
        let again = deadletter(directory.path(), &["import", name]);
        assert_eq!(again.documents()[0]["duplicates"], 1, "{again:?}");
    }
    let store = sqlite(&directory.path().join("tasks.db"), clock()).await;
    let engine = engine(&store, account(&sim.base_url())).await;
    let imported = tasks(&engine, "state:dead cause:ERROR_CAPTCHA_UNSOLVABLE").await;
    let mut hosts: Vec<_> =
        imported.iter().filter_map(|task| task.dimensions.host.as_deref()).collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ["javascript.example", "python.example"]);
    for task in &imported {
        // Seconds in one file and milliseconds in the other: the same instant.
        assert_eq!(task.updated_at.0, 1_750_000_000_250);
        assert_eq!(task.counters.submits, 4);
    }

    redrive_all(&engine).await;
    for task in &imported {
        assert!(solved(&engine, task.id).await.starts_with("SIM-"));
    }
    assert_eq!(sim.log().paid_for("https://python.example/").len(), 5);
    assert_eq!(sim.log().paid_for("https://javascript.example/").len(), 5);
    soon(engine.stop()).await.expect("it stops");
}
