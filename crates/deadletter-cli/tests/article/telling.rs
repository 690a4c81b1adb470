//! What is told of a failure: no key in it (A8), and the same words for the same cause (A9).

use crate::{
    port::{PythonDeque, Queue, Script, solve},
    rig::{
        account, account_with, clock, engine, job, memory, scenario, soon, sqlite, tasks, unsolved,
        upstream,
    },
    shell::deadletter,
};
use deadletter::{
    Deadletter,
    core::{Cause, StateKind, TaskId, UnixMs, counts::Dim},
    store::Store,
};
use deadletter_sim::{DEFAULT_KEY, Fault, Phase, Rule, Simulator};
use std::{
    collections::BTreeSet,
    fmt::Debug,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// The port's sleeps are so many times shorter.
const PACE: f64 = 10_000.0;
/// More rows than a test leaves in any table.
const MANY: u32 = 1_000;

/// An upstream whose port is closed.
async fn nobody() -> Simulator {
    let sim = upstream(scenario(0)).await;
    sim.close_port().await;
    sim
}

/// Upstreams that repeat what they were sent, as error pages and logs behind them do.
fn echoes() -> deadletter_sim::Scenario {
    let url = format!("http://upstream.example/res.php?key={DEFAULT_KEY}&action=get&id=77&json=1");
    let says = |code: String, page: &str, phase| {
        let rule = Rule::new(Fault::Error { code });
        rule.on(phase).pageurl(format!("https://a.example/{page}"))
    };
    scenario(3_000)
        .rule(says(format!("ERROR_IN_URL: {url}"), "url", Phase::Poll))
        .rule(says(format!("ERROR_{DEFAULT_KEY}"), "code", Phase::Poll))
        .rule(says(format!("ERROR_ECHO key={DEFAULT_KEY}"), "submit", Phase::Submit))
}

#[tokio::test]
async fn a08_no_byte_of_the_key_is_in_what_is_kept_or_told() {
    // The article: where res.php cannot be reached, the exception's text holds the poll's URL.
    let (sim, closed) = (upstream(scenario(3_000)).await, nobody().await);
    let port = Script::python(&sim.base_url(), DEFAULT_KEY, PACE);
    let script = Script { polls_at: format!("127.0.0.1:{}", closed.port()), ..port };
    let mut queue = PythonDeque::default();
    solve(&script, &mut queue, "6LeARTICLE", "https://a.example/", 0).await;
    assert!(queue.export_json().contains(DEFAULT_KEY), "{}", queue.export_json());

    // Ours, with every kind of failure that could carry it.
    let told = Told::default();
    let _log = tracing::subscriber::set_default(told.log());
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("tasks.db");
    let store = sqlite(&file, clock()).await;
    let sim = upstream(echoes()).await;
    let first = engine(&store, account(&sim.base_url())).await;
    let mut notices = first.notices();
    for page in ["url", "code", "submit"] {
        let job = job(&format!("https://a.example/{page}"));
        let id = first.submit(job).await.expect("stored").id;
        assert_eq!(unsolved(&first, id).await.kind(), StateKind::Dead);
        tell_all(&told, &first, id).await;
    }
    while let Ok(notice) = notices.try_recv() {
        told.debug(&notice);
    }
    soon(first.stop()).await.expect("it stops");
    let nowhere = account_with(&closed.base_url(), &closed.base_url(), DEFAULT_KEY);
    told.debug(&nowhere.provider.account().await);
    let second = engine(&store, nowhere).await;
    let job = job("https://a.example/").deadline_ms(20_000);
    let id = second.submit(job).await.expect("stored").id;
    assert_eq!(unsolved(&second, id).await.cause, Some(Cause::new(Cause::NETWORK)));
    tell_all(&told, &second, id).await;
    told.debug(&second.status());
    soon(second.stop()).await.expect("it stops");
    tell_tables(&told, store.as_ref()).await;
    store.close().await.expect("it closes");

    for args in [
        &["export", "*", "--with-secrets"][..],
        &["export", "*", "--format", "csv"],
        &["export", "*", "--format", "article"],
        &["list", "*"],
        &["stats"],
    ] {
        let ran = deadletter(directory.path(), args);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stdout.contains("ERROR_IN_URL"), "{args:?} tells of it: {ran:?}");
        told.debug(&ran);
    }
    told.lacks_key();
    assert!(!files(directory.path()).is_empty());
    for (name, bytes) in files(directory.path()) {
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        assert!(!text.contains(DEFAULT_KEY), "the key is in {name}");
    }
}

#[tokio::test]
async fn a09_time_outs_are_one_group_however_many_ids_they_name() {
    let pages: Vec<_> = (0..5).map(|n| format!("https://a.example/{n}")).collect();
    let never = || scenario(100_000_000);

    // The article: the id is part of the text, and the text is what is counted.
    let sim = upstream(never()).await;
    let script = Script::python(&sim.base_url(), DEFAULT_KEY, PACE);
    let mut queue = PythonDeque::default();
    for page in &pages {
        solve(&script, &mut queue, "6LeARTICLE", page, 1).await;
    }
    assert_eq!(queue.len(), 5);
    let groups: BTreeSet<_> = queue.peek_all().into_iter().map(|entry| entry.error).collect();
    assert!(groups.iter().all(|error| error.ends_with(" timed out")), "{groups:?}");
    assert_eq!(groups.len(), 5, "no two are counted together");

    // Ours: one cause, one group.
    let sim = upstream(never()).await;
    let store = memory();
    let engine = engine(&store, account(&sim.base_url())).await;
    let jobs = pages.iter().map(|page| job(page)).collect();
    for one in engine.submit_all(jobs).await.expect("stored") {
        unsolved(&engine, one.id).await;
    }
    let dead = tasks(&engine, "state:dead cause:TIMEOUT").await;
    assert_eq!(dead.len(), 5);
    let groups: BTreeSet<_> = dead.iter().map(|task| task.fingerprint.clone()).collect();
    assert_eq!(groups.len(), 1);
    assert!(!groups.contains(&None));
    let counted = store.census(&[StateKind::Dead], Dim::All, MANY).await.expect("counted");
    assert_eq!(counted.len(), 1, "{counted:?}");
    let (standing, n) = &counted[0];
    assert_eq!((standing.cause.clone(), *n), (Some(Cause::new(Cause::TIMEOUT)), 5));
    // The ids are not gone for that: they stand where they belong.
    let file = engine.desk().open(dead[0].id).await.expect("it is kept");
    let ids: BTreeSet<_> = file.attempts.iter().map(|a| a.upstream_id.clone()).collect();
    assert_eq!((ids.len(), ids.contains(&None)), (4, false));
    soon(engine.stop()).await.expect("it stops");
}

/// Everything that was said: by `Debug`, by the log, by the store.
#[derive(Clone, Default)]
struct Told {
    /// Guards the text.
    text: Arc<Mutex<Vec<u8>>>,
}

impl Told {
    fn debug(&self, what: &impl Debug) {
        let mut told = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        told.extend_from_slice(format!("{what:?}\n").as_bytes());
    }

    /// A log of everything.
    fn log(&self) -> impl tracing::Subscriber + Send + Sync + use<> {
        let told = self.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || told.clone())
            .finish()
    }

    fn read(&self) -> String {
        let told = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&told).into_owned()
    }

    fn lacks_key(&self) {
        let told = self.read().to_ascii_lowercase();
        if let Some(at) = told.find(DEFAULT_KEY) {
            panic!("the key is told: {}", &told[at.saturating_sub(300)..at + DEFAULT_KEY.len()]);
        }
    }
}

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All that is kept of one task, as it prints and as it is written.
async fn tell_all(told: &Told, engine: &Deadletter, id: TaskId) {
    let file = engine.desk().open(id).await.expect("it is kept");
    told.debug(&file);
    told.debug(&file.payload.as_ref().map(|payload| payload.to_stored()));
    told.debug(&serde_json::to_string(&file.task));
    told.debug(&serde_json::to_string(&file.attempts));
    told.debug(&engine.task(id).outcome().await);
}

/// The tables that belong to no single task.
async fn tell_tables(told: &Told, store: &dyn Store) {
    told.debug(&store.census(&[], Dim::All, MANY).await.expect("read"));
    for dim in Dim::ALL {
        told.debug(&store.tallies(*dim, UnixMs(0), MANY).await.expect("read"));
    }
    told.debug(&store.events(0, MANY).await.expect("read"));
    told.debug(&store.documents("", MANY).await.expect("read"));
    told.debug(&store.workers(MANY).await.expect("read"));
    told.debug(&store.audit_log(None, MANY).await.expect("read"));
    told.debug(&store.url());
}

/// The files below a directory, by name.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let name = path.display().to_string();
            found.push((name, std::fs::read(&path).expect("it can be read")));
        }
    }
    found
}
