//! No secret leaves the places where it belongs: each is a word of its own here, and all that is
//! printed, logged at every level, told to clients, exported or stored is looked through for it: as
//! it is, URL-encoded, in base64 and in hexadecimal.

use crate::{
    bench::{KEY, first_line, interrupt, ran},
    keys::ask,
    upstream::{GOOD, Scene},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use deadletter_sim::{Fault, OutageMode, Phase, Rule, Scenario};
use rusqlite::{Connection, OpenFlags, types::ValueRef};
use std::{
    io::Read,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

const UPSTREAM_KEY: &str = "canaryUpstreamKey000000000000001";
const STRANGERS_KEY: &str = "canaryStrangersKey00000000000002";
/// With characters that URLs and JSON write in other ways.
const PROXY_PASSWORD: &str = "canaryProxy/+=&\"3";
const COOKIE: &str = "canaryCookie/+=;\"4";
const HOOK: &str = "canaryHook/+=&5";
/// Of the form of a code.
const TOKEN: &str = "CANARY_TOKEN_6";

/// Site keys with which something goes wrong; those that make an outage come last.
const BAD: [&str; 10] = [
    "6Le-echo",
    "6Le-plain",
    "6Le-code",
    "6Le-late-echo",
    "6Le-late-plain",
    "6Le-late-code",
    "6Le-unsolvable",
    "6Le-garbage",
    "6Le-page",
    "6Le-reset",
];

/// Questions about one id: its job ends within seconds.
const ASKS: usize = 100_000;

/// Where a secret was found, and which.
type Leak = (String, String);

/// What is looked for, and what is looked through.
#[derive(Default)]
struct Search {
    /// Each with its name, and the tables of the store in which it belongs.
    secrets: Vec<(&'static str, String, &'static [&'static str])>,
    leaks: Vec<Leak>,
}

impl Search {
    fn hide(&mut self, name: &'static str, secret: &str, tables: &'static [&'static str]) {
        self.secrets.push((name, secret.to_owned(), tables));
    }

    /// Looks through what came from a place that may hold what `allowed` says.
    fn through(&mut self, place: &str, text: &str, allowed: impl Fn(&[&str], &str) -> bool) {
        for (name, secret, tables) in &self.secrets {
            if !allowed(tables, name) && spellings(secret).iter().any(|it| text.contains(it)) {
                self.leaks.push((place.to_owned(), (*name).to_owned()));
            }
        }
    }

    fn through_all_of(&mut self, place: &str, text: &str) {
        self.through(place, text, |_, _| false);
    }
}

/// How a secret may be written.
fn spellings(secret: &str) -> Vec<String> {
    let mut all = vec![secret.to_owned()];
    all.push(form_urlencoded::byte_serialize(secret.as_bytes()).collect());
    all.push(serde_json::to_string(secret).expect("text").trim_matches('"').to_owned());
    all.push(secret.bytes().map(|byte| format!("{byte:02x}")).collect());
    // Within a longer text it begins at any of three places of a group.
    for before in 0..3 {
        let longer = [&b"000"[..before], secret.as_bytes()].concat();
        for base64 in [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
            let written = base64.encode(&longer);
            // Its ends are written together with what stands beside it.
            all.push(written[4..written.len() - 3].to_owned());
        }
    }
    all
}

fn command(scene: &Scene, args: &[&str]) -> Command {
    let mut command = scene.command(args);
    command.env("CAPTCHAAI_API_KEY", UPSTREAM_KEY).env("DEADLETTER_LOG", "trace");
    command
}

/// Every row of every table, by the table's name.
fn dump(path: &Path) -> Vec<(String, String)> {
    let conn =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("it opens");
    let mut tables =
        conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").expect("SQL");
    let names = tables.query_map([], |row| row.get(0)).expect("names");
    let names: Vec<String> = names.map(|name| name.expect("a name")).collect();
    let text = |name: &String| {
        let mut rows = conn.prepare(&format!("SELECT * FROM {name}")).expect("SQL");
        let columns = rows.column_count();
        let mut rows = rows.query([]).expect("rows");
        let mut text = String::new();
        while let Some(row) = rows.next().expect("a row") {
            for column in 0..columns {
                match row.get_ref(column).expect("a value") {
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                        text.push_str(&String::from_utf8_lossy(bytes));
                    }
                    other => text.push_str(&format!("{other:?}")),
                }
                text.push('\n');
            }
        }
        text
    };
    names.iter().map(|name| (name.clone(), text(name))).collect()
}

/// An upstream that says all that it was told in its errors, beside one that is well.
fn talkative() -> Scenario {
    let echo = format!("ERROR_{UPSTREAM_KEY} of {PROXY_PASSWORD} and {COOKIE}");
    let rule = |sitekey: &str, fault| Rule::new(fault).sitekey(sitekey);
    Scenario::default()
        .solve_ms(10_000)
        .keys([UPSTREAM_KEY])
        .rule(rule("6Le-echo", Fault::Error { code: echo.clone() }))
        .rule(rule("6Le-plain", Fault::PlainError { code: echo.clone() }))
        .rule(rule("6Le-code", Fault::Error { code: format!("ERROR_{TOKEN}") }))
        .rule(rule("6Le-late-echo", Fault::Error { code: echo.clone() }).on(Phase::Poll))
        .rule(rule("6Le-late-plain", Fault::PlainError { code: echo.clone() }).on(Phase::Poll))
        .rule(
            rule("6Le-late-code", Fault::Error { code: format!("ERROR_{TOKEN}") }).on(Phase::Poll),
        )
        .rule(rule("6Le-garbage", Fault::Garbage))
        .rule(rule("6Le-page", Fault::Html502))
        .rule(rule("6Le-reset", Fault::ResetBefore))
        .rule(rule("6Le-unsolvable", Fault::Unsolvable))
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Submits a job that is full of secrets; its id.
fn submitted(address: &str, key: &str, sitekey: &str, hook: &str) -> String {
    let proxy = encoded(&format!("bob:{PROXY_PASSWORD}@10.1.2.3:3128"));
    let cookies = encoded(&format!("session={COOKIE}"));
    let hook = encoded(hook);
    let taken = ask(
        address,
        &format!(
            "/in.php?key={key}&method=userrecaptcha&googlekey={sitekey}&pageurl=https://a.example/\
             &auth_token={TOKEN}&proxytype=HTTP&proxy={proxy}&cookies={cookies}&pingback={hook}"
        ),
    );
    taken.strip_prefix("OK|").unwrap_or_else(|| panic!("{taken}")).to_owned()
}

/// What its client is told in the end.
fn verdict(address: &str, key: &str, id: &str) -> String {
    let poll = format!("/res.php?key={key}&action=get&id={id}");
    for _ in 0..ASKS {
        match ask(address, &poll).as_str() {
            "CAPCHA_NOT_READY" => std::thread::yield_now(),
            told => return told.to_owned(),
        }
    }
    panic!("{id} has no verdict")
}

/// A gateway, which ends with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// All that commands print and log of these tasks.
fn through_commands(search: &mut Search, scene: &Scene, ids: &[String]) {
    let id = ids[0].as_str();
    for args in [
        &["list", "*"][..],
        &["show", id],
        &["show", &ids[2]],
        &["stats"],
        &["export", "*"],
        &["export", "*", "--format", "csv"],
        &["export", "*", "--format", "article"],
        &["export", "--salvage"],
        &["explain", id],
        &["breaker", "status"],
        &["doctor", "--offline"],
        &["config", "show"],
        &["key", "list"],
        &["store", "info"],
        &["store", "check"],
        &["query", "SELECT * FROM requests"],
        &["query", "SELECT * FROM answers"],
        &["query", "SELECT * FROM tasks JOIN attempts ON task = id"],
        &["redrive", "--where", "*", "--dry-run"],
        &["list", "--store", &format!("sqlite:/{UPSTREAM_KEY}/tasks.db"), "cause:"],
    ] {
        let ran = ran(command(scene, args));
        let place = args.join(" ");
        let is_named =
            |_: &[&str], name: &str| place.contains(UPSTREAM_KEY) && name == "the account's key";
        search.through(&place, &ran.stdout, is_named);
        search.through(&format!("the talk of {place}"), &ran.stderr, is_named);
    }
}

/// All that the store holds, row by row and as bytes.
fn through_store(search: &mut Search, scene: &Scene) {
    let path = scene.bench.path("tasks.db");
    for (table, rows) in dump(&path) {
        search.through(&table, &rows, |tables, _| tables.contains(&table.as_str()));
    }
    for name in ["tasks.db", "tasks.db-wal"] {
        let bytes = std::fs::read(scene.bench.path(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        search.through(name, &text, |tables, _| !tables.is_empty());
    }
}

#[test]
fn no_secret_is_found_where_it_does_not_belong() {
    let scene = Scene::new(talkative());
    let mut search = Search::default();
    search.hide("the account's key", UPSTREAM_KEY, &[]);
    search.hide("a stranger's key", STRANGERS_KEY, &[]);
    search.hide("a proxy's password", PROXY_PASSWORD, &["requests"]);
    search.hide("a cookie", COOKIE, &["requests"]);
    search.hide("a pingback's secret", HOOK, &["requests"]);
    search.hide("a token of the site", TOKEN, &["requests"]);
    let issued = ran(command(&scene, &["key", "add", "shop"]));
    let key = issued.stdout.trim().to_owned();
    search.hide("a key that was issued", &key, &[]);
    search.through_all_of("key add's talk", &issued.stderr);

    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let hook = format!("http://{}/done?s={HOOK}", nobody.local_addr().expect("bound"));
    let allow = ["serve", "--listen", "127.0.0.1:0", "--allow-deliveries", "127.0.0.1"];
    // Into a file: a pipe that nobody reads is soon full at this level, and the gateway would wait.
    let log = std::fs::File::create(scene.bench.path("serve.log")).expect("a file");
    let mut serve = command(&scene, &allow);
    let child = serve.stdout(Stdio::piped()).stderr(log).spawn().expect("the binary starts");
    let mut serving = Serving(child);
    let (line, _out) = first_line(&mut serving.0);
    let address = line.trim().strip_prefix("http://").expect("a URL").to_owned();
    let mut ids = Vec::new();
    let mut tokens = Vec::new();
    // Those that are solved come first: the others make an outage.
    for sitekey in ["6Le-good", "6Le-fine"] {
        let id = submitted(&address, &key, sitekey, &hook);
        let told = verdict(&address, &key, &id);
        tokens.push(told.strip_prefix("OK|").unwrap_or_else(|| panic!("{told}")).to_owned());
        ids.push(id);
    }
    for id in BAD.map(|sitekey| submitted(&address, &key, sitekey, &hook)) {
        let told = verdict(&address, &key, &id);
        assert!(told.starts_with("ERROR_"), "{told}");
        search.through_all_of("a reply", &told);
        ids.push(id);
    }
    for target in ["/in.php", "/res.php", "/nowhere"] {
        let told = ask(&address, &format!("{target}?key={STRANGERS_KEY}&action=get&id=1"));
        search.through_all_of(target, &told);
    }
    for token in &tokens {
        search.hide("a token", token, &["answers"]);
    }
    search.through_all_of("/metrics", &ask(&address, "/metrics"));
    interrupt(&serving.0);
    assert!(serving.0.wait().expect("it ends").success());
    let log = scene.bench.read("serve.log");
    assert!(log.contains("TRACE") && log.contains("stopping"), "all is logged");
    search.through_all_of("serve's log", &log);

    through_commands(&mut search, &scene, &ids);
    through_store(&mut search, &scene);
    assert_eq!(search.leaks, []);
}

#[test]
fn a_secret_is_found_however_it_is_written() {
    let mut search = Search::default();
    search.hide("it", COOKIE, &["requests"]);
    let base64 = BASE64_STANDARD_NO_PAD.encode(format!("{{\"x\":\"{COOKIE}\"}}"));
    let written = [COOKIE.to_owned(), encoded(COOKIE), format!("{COOKIE:?}"), base64];
    for text in &written {
        search.through_all_of("a place", &format!("before {text} after"));
    }
    search.through("requests", COOKIE, |tables, _| tables.contains(&"requests"));
    assert_eq!(search.leaks.len(), written.len(), "{:?}", search.leaks);
}

#[test]
fn the_key_stands_in_no_file_and_no_log() {
    let scene = Scene::happy();
    scene.rows("tasks.csv", GOOD, 3);
    scene.simulator.outage_for(OutageMode::Html502, 20_000);
    let ran = scene.run(&["run", "tasks.csv", "-vv", "--out", "answers.jsonl"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for name in ["tasks.db", "tasks.db-wal", "answers.jsonl"] {
        let mut bytes = Vec::new();
        if let Ok(mut file) = std::fs::File::open(scene.bench.path(name)) {
            file.read_to_end(&mut bytes).expect("read");
        }
        assert!(!bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes()), "{name}");
    }
}
