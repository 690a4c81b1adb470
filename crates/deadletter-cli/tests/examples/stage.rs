//! A place where an example can be run: a folder with the files that examples name, a store with
//! tasks in every state, and a simulated upstream.

use crate::page::Line;
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};
use tempfile::TempDir;

/// The article's JavaScript file.
const LETTERS: &str = r#"[
  {"sitekey":"6Le-slow","pageurl":"https://shop.example.com/1","error":"Task 123 timed out","attempts":4,"timestamp":1790000000000},
  {"sitekey":"6Le-slow","pageurl":"https://shop.example.com/2","error":"Task 124 timed out","attempts":4,"timestamp":1790000001000},
  {"sitekey":"6Le-gone","pageurl":"https://shop.example.com/3","error":"ERROR_CAPTCHA_UNSOLVABLE","attempts":4,"timestamp":1790000002000}
]"#;
const ROWS: &str =
    "sitekey,pageurl\n6Le-a,https://shop.example.com/a\n6Le-b,https://shop.example.com/b\n";
const PAGES: &str = "https://shop.example.com/a\nhttps://shop.example.com/b\n";

/// What a program takes for bytes: a zero stands in it.
const IMAGE: &str = "an image\0";

/// Lines of documents that are not run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("cargo install ", "the suite has built the binary already"),
    ("cargo run --release -- demo", "the help text's demo is the same, in the build at hand"),
    ("cargo run --release -p deadletter-bench", "its smoke test is in its own crate"),
    ("export CAPTCHAAI_API_KEY=...", "the reader's own key stands there"),
    ("git clone", "the suite runs in the clone"),
    ("scripts/", "this is the suite"),
];

/// A command that goes on until it is stopped.
const ENDLESS: &[&str] = &["simulate", "serve", "--every"];

/// A child that is stopped with its owner.
struct Upstream(Child);

impl Drop for Upstream {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A folder, its variables, and the upstream they point at.
pub(crate) struct Stage {
    dir: TempDir,
    variables: Vec<(String, String)>,
    upstream: Option<Arc<Upstream>>,
}

impl Stage {
    fn bare() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { dir, variables: Vec::new(), upstream: None }
    }

    /// What a reader has after the clone: the folder of examples.
    pub(crate) fn of_reader(examples: &Path) -> Self {
        let stage = Self::bare();
        let folder = stage.dir.path().join("examples");
        copy_files(examples, &folder);
        stage.write("tasks.csv", ROWS);
        stage.write("urls.txt", PAGES);
        stage
    }

    /// Everything that the help texts speak of.
    pub(crate) fn furnished() -> Self {
        let mut stage = Self::bare();
        stage.start_upstream("deadletter simulate --scenario happy --speed 60x");
        // Of this folder, so that a copy is a store of its own.
        stage.variables.retain(|(name, _)| name != "DEADLETTER_STORE");
        stage.variables.push(("DEADLETTER_STORE".to_owned(), "sqlite:tasks.db".to_owned()));
        for (name, text) in [
            ("captcha-dlq.json", LETTERS),
            ("tasks.csv", ROWS),
            ("urls.txt", PAGES),
            ("captcha.png", IMAGE),
            ("deadletter.toml", "[account]\nthreads = 5\n"),
            ("other.toml", "[account]\nthreads = 7\n"),
        ] {
            stage.write(name, text);
        }
        let row = r#"{"method":"turnstile","sitekey":"0x4AAA","pageurl":"https://example.com/"}"#;
        stage.write("tasks.jsonl", &format!("{row}\n"));
        for command in [
            "deadletter import captcha-dlq.json",
            "deadletter export --out dead.jsonl",
            "deadletter run tasks.jsonl --out answers.csv --name nightly",
            "deadletter store backup other.db",
            "deadletter key add crawler",
        ] {
            stage.run(command).expect("the stage is furnished");
        }
        stage
    }

    /// The same stage in a folder of its own, at the same upstream.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::bare();
        copy_files(self.dir.path(), copy.dir.path());
        Self { variables: self.variables.clone(), upstream: self.upstream.clone(), ..copy }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).expect("written");
    }

    /// A shell in this stage, where `deadletter` is the binary under test.
    fn shell(&self, program: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_deadletter"));
        let folder = binary.parent().expect("a folder").display();
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("TMPDIR", self.dir.path())
            .env("PATH", format!("{folder}:/usr/local/bin:/usr/bin:/bin"))
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The help text of a command.
    pub(crate) fn help(&self, words: &[String]) -> String {
        let output =
            self.shell("deadletter").args(words).arg("--help").output().expect("it starts");
        assert!(output.status.success(), "{words:?} --help");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs an example; the failure tells what was run and what it said.
    pub(crate) fn run(&self, example: &str) -> Result<String, String> {
        // Nothing in a new store is old enough to be purged, so that none is the right count.
        let line = self
            .with_paused_operation(&self.with_real_ids(example))
            .replace("--confirm 12", "--confirm 0");
        let output = if ENDLESS.iter().any(|word| line.contains(word)) {
            self.begin_and_stop(&line)
        } else {
            self.at_a_terminal(&line)
        };
        let said = as_seen(&output.stdout) + &as_seen(&output.stderr);
        match output.status.code() {
            // 3: it did what it says, and a task is dead.
            Some(0 | 3) if !said.contains("panicked at") => Ok(said),
            code => Err(format!("$ {line}\nended with {code:?}:\n{said}")),
        }
    }

    /// With a terminal for standard input, output and errors, and a person who says yes.
    fn at_a_terminal(&self, line: &str) -> Output {
        let mut child = self
            .shell("script")
            .args(["--quiet", "--return", "--command", line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`script` of util-linux gives a terminal");
        let mut person = child.stdin.take().expect("piped");
        // It may end without a question.
        person.write_all(b"y\n").ok();
        let output = child.wait_with_output().expect("it ends");
        drop(person);
        output
    }

    /// Starts what does not end, waits for its first word, and presses ctrl-C.
    fn begin_and_stop(&self, line: &str) -> Output {
        let line = on_free_port(line);
        let mut child = self
            .shell("sh")
            .args(["-c", &format!("exec {line} 2>&1")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut first = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        out.read_line(&mut first).expect("a first line");
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
        let mut rest = first.into_bytes();
        std::io::Read::read_to_end(&mut out, &mut rest).expect("the rest");
        let status = child.wait().expect("it ends");
        Output { status, stdout: rest, stderr: Vec::new() }
    }

    /// The long numbers of examples stand for ids: this stage's take their places.
    fn with_real_ids(&self, example: &str) -> String {
        let is_id = |word: &&str| word.len() >= 12 && word.bytes().all(|b| b.is_ascii_digit());
        let Some(id) = example.split_whitespace().find(is_id) else { return example.to_owned() };
        let state = if example.contains(" exhume ") { "buried" } else { "dead" };
        if state == "buried" {
            self.run("deadletter bury --where cause:ERROR_CAPTCHA_UNSOLVABLE --yes")
                .expect("buried");
        }
        let output = self
            .shell("deadletter")
            .args(["list", &format!("state:{state}"), "--json"])
            .output()
            .expect("it starts");
        let first = output.stdout.split(|b| *b == b'\n').next().unwrap_or_default();
        let task: serde_json::Value = serde_json::from_slice(first).expect("a task");
        example.replace(id, task["id"].to_string().trim_matches('"'))
    }

    /// The operation of an example that lets one go on: one of this stage's, paused.
    fn with_paused_operation(&self, example: &str) -> String {
        let named = example.split_whitespace().find(|word| word.starts_with("redrive-"));
        let Some(named) = named else { return example.to_owned() };
        let said = self.run("deadletter redrive --where state:dead --detach --yes").expect("begun");
        let id = said.split_whitespace().find(|word| word.starts_with("redrive-"));
        let id = id.expect("its id is told");
        let store = self.variables.iter().find(|(name, _)| name == "DEADLETTER_STORE");
        let path = store.and_then(|(_, url)| url.strip_prefix("sqlite:")).expect("a store");
        let conn = rusqlite::Connection::open(self.dir.path().join(path)).expect("a database");
        let sql = "UPDATE documents SET body = json_set(body, '$.state', 'paused'), \
            version = version + 1 WHERE key = 'operation/' || ?";
        assert_eq!(conn.execute(sql, [id]).expect("written"), 1);
        example.replace(named, id)
    }

    /// Does what a reader does with a line of a page, and holds its outcome against the page.
    pub(crate) fn follow(&mut self, line: &Line) -> Result<(), String> {
        if NOT_RUN.iter().any(|(start, _)| line.command.starts_with(start)) {
            return Ok(());
        }
        if line.command.starts_with("deadletter simulate ") && self.upstream.is_none() {
            self.start_upstream(&line.command);
            return Ok(());
        }
        let said = self.run(&line.command)?;
        for shown in line.shown.iter().filter(|shown| is_summary(shown)) {
            if !said.contains(shown.as_str()) {
                return Err(format!(
                    "$ {}\nthe page shows {shown:?}; it said\n{said}",
                    line.command
                ));
            }
        }
        Ok(())
    }

    /// Starts the simulator in its own terminal and takes over the lines that it prints.
    fn start_upstream(&mut self, line: &str) {
        let mut command = self.shell("sh");
        command.args(["-c", &format!("exec {line}")]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a shell");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        self.upstream = Some(Arc::new(Upstream(child)));
        for line in out.lines() {
            let line = line.expect("text");
            let export = line.strip_prefix("export ").and_then(|rest| rest.split_once('='));
            let (name, value) = export.expect("a line that a shell can read");
            self.variables.push((name.to_owned(), value.to_owned()));
            if name == "DEADLETTER_TIME_SCALE" {
                return;
            }
        }
        panic!("the simulator has ended");
    }
}

/// Lines that tell the end of a command, and are the same each time.
fn is_summary(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let is_count = words.next().is_some_and(|word| word.bytes().all(|b| b.is_ascii_digit()));
    is_count && (line.contains(" solved") || line.contains(" match ") || line.contains(" stored"))
}

/// What stands on the terminal in the end, without the bars that were drawn over.
fn as_seen(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let drawn_over = |line: &str| {
        let line = line.trim_end_matches('\r');
        let last = line.rsplit("\u{1b}[2K").next().unwrap_or_default();
        last.rsplit('\r').next().unwrap_or_default().to_owned() + "\n"
    };
    text.lines().map(drawn_over).collect()
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path: PathBuf = entry.expect("an entry").path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
        }
    }
}

/// The same line at a port of its own: two examples, or a program of the reader's, may want one.
fn on_free_port(line: &str) -> String {
    let line = line.replace("--port 8089", "--port 0").replace("127.0.0.1:9000", "127.0.0.1:0");
    if line.contains(" serve") && !line.contains("--listen") {
        return format!("{line} --listen 127.0.0.1:0");
    }
    line
}
