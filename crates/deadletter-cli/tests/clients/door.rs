//! What a client's base URL leads to: upstream itself, or the gateway in front of it.

use crate::{client::Client, relay::Relay, scene::PACE, tally::Kept};
use deadletter::store::{Clock, SystemClock};
use deadletter_sim::Simulator;
use serde_json::Value;
use std::{
    net::TcpListener,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// The gateway tells where it listens by then, or never.
const LONGEST_START: Duration = Duration::from_secs(60);
/// Dead tasks that are told of: one says why.
const MOST_TOLD: usize = 2;
/// What a store holds.
const COUNTED: &str = "SELECT count(*) AS tasks, count(*) FILTER (WHERE state IN ('dead', 'buried')) AS dead FROM tasks";
/// The host that clients of 2captcha name, wherever they are sent.
const FOREIGN_HOST: &str = "2captcha.com";

/// Its standard input is the socket: it becomes the first descriptor that is handed down.
const HAND_DOWN: &str = r#"exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@""#;

/// Which way a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Directly,
    ThroughTheGateway,
}

/// What all doors of one run have in common.
pub(crate) struct Behind<'a> {
    pub(crate) client: &'a Client,
    pub(crate) way: Way,
    pub(crate) installed: &'a Path,
    /// The home of its gateways: one authority signs for all of them.
    pub(crate) home: &'a Path,
}

/// An open door. What stands behind it ends when it is dropped.
pub(crate) struct Door {
    base_url: String,
    /// Whom the client must trust.
    authority: Option<PathBuf>,
    gateway: Option<Gateway>,
    _relay: Option<Relay>,
}

/// A gateway with a store of its own.
struct Gateway {
    /// What it says of itself when it has started.
    told: Value,
    setting: Setting,
    /// Killed when it is dropped.
    process: Child,
}

/// What stays as it is where a gateway is started again.
struct Setting {
    /// Where it listens: held here, so that clients wait while nobody answers.
    socket: TcpListener,
    flags: Vec<&'static str>,
    /// Of its commands, too.
    variables: Vec<(&'static str, String)>,
    store: TempDir,
}

impl Door {
    /// Opens the door to `upstream` that this client needs.
    pub(crate) async fn open(behind: &Behind<'_>, upstream: &Simulator, key: &str) -> Self {
        let (base_url, authority) = (upstream.base_url(), None);
        match behind.way {
            Way::ThroughTheGateway => {
                let gateway = Gateway::start(behind, &base_url, key).await;
                let base_url = gateway.told["url"].as_str().expect("a URL").to_owned();
                let authority = gateway.told["authority"].as_str().map(PathBuf::from);
                Self { base_url, authority, gateway: Some(gateway), _relay: None }
            }
            Way::Directly if behind.client.wants_tls => {
                let relay = Relay::to(upstream.port(), behind.installed).await;
                let relay = relay.expect("a free port");
                let authority = Some(behind.installed.join("tls/ca.pem"));
                Self { base_url: relay.base_url(), authority, gateway: None, _relay: Some(relay) }
            }
            Way::Directly => Self { base_url, authority, gateway: None, _relay: None },
        }
    }

    pub(crate) fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    pub(crate) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Kills the gateway, as a loss of power would, and starts it again.
    pub(crate) async fn kill_gateway(&mut self) {
        let Some(gateway) = &mut self.gateway else { return };
        gateway.process.kill().await.expect("it was alive");
        (gateway.process, gateway.told) = gateway.setting.start().await;
    }

    /// What the gateway tells of the tasks that died.
    pub(crate) async fn dead(&self) -> String {
        let Some(Gateway { setting, .. }) = &self.gateway else { return String::new() };
        let listed = setting.said(&["list", "state:dead", "--json"]).await;
        let mut told = String::new();
        for line in listed.lines().take(MOST_TOLD) {
            let task: Value = serde_json::from_str(line).expect("a task");
            let id = task["id"].to_string();
            told += &setting.said(&["show", id.trim_matches('"')]).await;
        }
        told
    }

    /// What the gateway has kept.
    pub(crate) async fn kept(&self) -> Option<Kept> {
        let Gateway { setting, .. } = self.gateway.as_ref()?;
        let counted = setting.said(&["query", COUNTED]).await;
        let counted: Value = serde_json::from_str(&counted).expect("a row");
        let stats = setting.said(&["stats", "--json"]).await;
        let lines = stats.lines().map(|line| serde_json::from_str(line).expect("a line of JSON"));
        let in_doubt = lines.into_iter().find(|line: &Value| line["value"] == "in_doubt");
        Some(Kept {
            tasks: counted["tasks"].as_u64().expect("a number"),
            dead: counted["dead"].as_u64().expect("a number"),
            in_doubt: in_doubt.and_then(|line| line["count"].as_u64()).expect("a number"),
        })
    }
}

impl Gateway {
    /// `deadletter serve` in front of that upstream, as fast as it.
    async fn start(behind: &Behind<'_>, upstream: &str, key: &str) -> Self {
        let store = tempfile::tempdir().expect("a temporary directory");
        let variables = vec![
            ("HOME", behind.home.display().to_string()),
            ("CAPTCHAAI_API_KEY", key.to_owned()),
            ("CAPTCHAAI_SUBMIT_ENDPOINT", format!("{upstream}/in.php")),
            ("CAPTCHAAI_RESULT_ENDPOINT", format!("{upstream}/res.php")),
            ("DEADLETTER_STORE", format!("sqlite:{}", store.path().join("tasks.db").display())),
            ("DEADLETTER_TIME_SCALE", format!("{PACE}@{}", SystemClock.now().0)),
        ];
        let mut flags = vec!["serve", "--json", "--allow-host", FOREIGN_HOST];
        flags.extend(behind.client.wants_tls.then_some(["--tls", "local"]).iter().flatten());
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let setting = Setting { socket, flags, variables, store };
        let (process, told) = setting.start().await;
        Self { told, setting, process }
    }
}

impl Setting {
    /// Starts the gateway, as a supervisor does that holds its socket; what it says of itself.
    async fn start(&self) -> (Child, Value) {
        let socket = OwnedFd::from(self.socket.try_clone().expect("one more descriptor"));
        let mut process = self
            .command_by(&["sh", "-c", HAND_DOWN, env!("CARGO_BIN_EXE_deadletter")], &self.flags)
            .stdin(Stdio::from(socket))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let mut out = BufReader::new(process.stdout.take().expect("piped"));
        let told = tokio::time::timeout(LONGEST_START, out.read_line(&mut line)).await;
        told.expect("the gateway starts").expect("it tells where");
        let told = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"));
        (process, told)
    }

    /// What a command prints about the store.
    async fn said(&self, args: &[&str]) -> String {
        let mut command = self.command_by(&[env!("CARGO_BIN_EXE_deadletter")], args);
        String::from_utf8(command.output().await.expect("it runs").stdout).expect("UTF-8")
    }

    /// A program with these variables and nothing of this machine's.
    fn command_by(&self, program: &[&str], args: &[&str]) -> Command {
        let mut command = Command::new(program[0]);
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        let args = program[1..].iter().chain(args);
        command.args(args).current_dir(self.store.path()).env_clear().envs(variables);
        command
    }
}
