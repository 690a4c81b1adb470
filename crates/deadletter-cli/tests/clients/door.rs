//! What a client's base URL leads to: upstream itself, or the gateway in front of it.

use crate::{client::Client, relay::Relay, scene::PACE};
use deadletter::store::{Clock, SystemClock};
use deadletter_sim::Simulator;
use serde_json::Value;
use std::{
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
/// The host that clients of 2captcha name, wherever they are sent.
const FOREIGN_HOST: &str = "2captcha.com";

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
    url: String,
    authority: Option<PathBuf>,
    /// Of its commands, too.
    variables: Vec<(&'static str, String)>,
    store: TempDir,
    /// Killed when it is dropped.
    _process: Child,
}

impl Door {
    /// Opens the door to `upstream` that this client needs.
    pub(crate) async fn open(behind: &Behind<'_>, upstream: &Simulator, key: &str) -> Self {
        let (base_url, authority) = (upstream.base_url(), None);
        match behind.way {
            Way::ThroughTheGateway => {
                let gateway = Gateway::start(behind, &base_url, key).await;
                let (base_url, authority) = (gateway.url.clone(), gateway.authority.clone());
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

    /// What the gateway tells of the tasks that died.
    pub(crate) async fn dead(&self) -> String {
        let Some(gateway) = &self.gateway else { return String::new() };
        let listed = gateway.command(&["list", "state:dead", "--json"]).output().await;
        let listed = String::from_utf8(listed.expect("it lists").stdout).expect("UTF-8");
        let mut told = String::new();
        for line in listed.lines().take(MOST_TOLD) {
            let task: Value = serde_json::from_str(line).expect("a task");
            let id = task["id"].to_string();
            let shown = gateway.command(&["show", id.trim_matches('"')]).output().await;
            told += &String::from_utf8_lossy(&shown.expect("it shows").stdout);
        }
        told
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
        let mut serve = vec!["serve", "--listen", "127.0.0.1:0", "--json"];
        serve.extend(["--allow-host", FOREIGN_HOST]);
        serve.extend(behind.client.wants_tls.then_some(["--tls", "local"]).iter().flatten());
        let mut process = command(&store, &variables, &serve)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let mut out = BufReader::new(process.stdout.take().expect("piped"));
        let told = tokio::time::timeout(LONGEST_START, out.read_line(&mut line)).await;
        told.expect("the gateway starts").expect("it tells where");
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"));
        let url = told["url"].as_str().expect("a URL").to_owned();
        let authority = told["authority"].as_str().map(PathBuf::from);
        Self { url, authority, variables, store, _process: process }
    }

    fn command(&self, args: &[&str]) -> Command {
        command(&self.store, &self.variables, args)
    }
}

/// The binary with these variables and nothing of this machine's.
fn command(folder: &TempDir, variables: &[(&str, String)], args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deadletter"));
    let variables = variables.iter().map(|(name, value)| (name, value));
    command.args(args).current_dir(folder.path()).env_clear().envs(variables);
    command
}
