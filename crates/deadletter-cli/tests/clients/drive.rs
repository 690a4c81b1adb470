//! One client through all scenes that suit it: one process, with an upstream for each scene.

use crate::{
    client::{Client, Program},
    door::{Behind, Door, Way},
    install, native,
    scene::{Ask, METHODS_EVERY_MS, PACE, SCENES, Scene},
    tally::{Tally, Verdict},
};
use deadletter_sim::{Entry, Simulator};
use futures_util::{FutureExt, future::join_all};
use serde_json::{Value, json};
use std::{path::Path, process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt, process::Command};

/// A driver that runs longer has lost its way; what is not told by then is lost.
const LONGEST_RUN: Duration = Duration::from_secs(100);

/// Times that a gateway is killed in a scene.
const KILLS: u64 = 2;
/// How often is looked whether it is time.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// By which clients are told of an authority: `requests`, `httpx`, Node.
const TRUST_VARIABLES: [&str; 3] = ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"];

/// A scene that is set.
struct Set {
    scene: &'static Scene,
    /// What the client has; upstream knows it but for a wrong key.
    key: String,
    simulator: Simulator,
    door: Door,
}

/// Takes a client through the scenes that suit it, all at once.
pub(crate) async fn all_scenes(client: &'static Client, way: Way, installed: &Path) -> Vec<Tally> {
    let home = tempfile::tempdir().expect("a temporary directory");
    let behind = Behind { client, way, installed, home: home.path() };
    let suiting = SCENES.iter().filter(|scene| scene.suits(client, way));
    let mut sets = join_all(suiting.map(|scene| Set::up(scene, &behind))).await;
    let asks: Vec<Value> = sets.iter().map(|set| set.ask(client)).collect();
    let authority = sets.iter().find_map(|set| set.door.authority()).map(Path::to_owned);
    let verdicts = async {
        match client.program {
            Program::Native => native::run(&asks).await,
            program => said(program, installed, authority.as_deref(), &asks).await,
        }
    };
    // The killing ends by itself, or with the client.
    let killing = join_all(sets.iter_mut().map(Set::kill)).then(|_| std::future::pending());
    let verdicts = tokio::select! {
        verdicts = verdicts => verdicts,
        () = killing => unreachable!("it is pending"),
    };
    let mut tallies = Vec::new();
    for set in &sets {
        let mut tally = set.tally((client, way), &verdicts);
        if tally.lost() > 0 {
            tally.dead = set.door.dead().await;
        }
        if set.scene.kill_after.is_some() {
            tally.kept = set.door.kept().await;
        }
        tallies.push(tally);
    }
    tallies
}

/// A key of 32 characters that no other test has.
fn new_key() -> String {
    format!("{:032x}", rand::random::<u128>())
}

impl Set {
    async fn up(scene: &'static Scene, behind: &Behind<'_>) -> Self {
        let key = new_key();
        let simulator = Simulator::start(scene.upstream(&key)).await.expect("a free port");
        let door = Door::open(behind, &simulator, &key).await;
        let key = if scene.wrong_key { new_key() } else { key };
        Self { scene, key, simulator, door }
    }

    /// Kills the gateway where the scene says so: with jobs of which some wait, some are polled and
    /// some are solved.
    async fn kill(&mut self) {
        let Some(jobs) = self.scene.kill_after else { return };
        let mut looks = tokio::time::interval(LOOK_EVERY);
        for kill in 1..=KILLS {
            while self.simulator.stats().paid < kill * jobs {
                looks.tick().await;
            }
            self.door.kill_gateway().await;
        }
    }

    /// The line that tells a driver what to do.
    fn ask(&self, client: &Client) -> Value {
        let (ask, method, count, every_ms) = match self.scene.ask {
            Ask::EveryMethod => ("solve", "all", 1, METHODS_EVERY_MS),
            Ask::Solves { count, every_ms } => ("solve", client.plain, count, every_ms),
            Ask::Balance => ("balance", client.plain, 1, 0),
            Ask::Reports => ("report", client.plain, 1, 0),
        };
        json!({
            "run": self.scene.name,
            "ask": ask,
            "base_url": self.door.base_url(),
            "key": self.key,
            "method": method,
            "count": count,
            "every_ms": every_ms,
        })
    }

    fn tally(&self, (client, way): (&Client, Way), verdicts: &[Verdict]) -> Tally {
        let own: Vec<&Verdict> = verdicts.iter().filter(|v| v.run == self.scene.name).collect();
        let asked = match self.scene.ask {
            Ask::EveryMethod => 1,
            Ask::Solves { count, .. } => count as usize,
            Ask::Balance => 1,
            Ask::Reports => 2,
        };
        let asked_with = |entry: &Entry| entry.key_tail.as_deref() == self.key.get(28..);
        let log = self.simulator.log();
        Tally {
            client: client.name,
            scene: self.scene.name,
            way,
            paid: self.simulator.stats().paid,
            upstream_saw: log.entries().filter(|entry| asked_with(entry)).count(),
            ..Tally::of(asked, &own)
        }
    }
}

/// Runs a driver, and hears its verdicts.
async fn said(
    program: Program,
    installed: &Path,
    authority: Option<&Path>,
    asks: &[Value],
) -> Vec<Verdict> {
    let trusting = authority.into_iter().flat_map(|file| TRUST_VARIABLES.map(|name| (name, file)));
    let mut child = command(program, installed)
        .arg(PACE.to_string())
        .envs(trusting)
        .env("NODE_PATH", installed.join("node/node_modules"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the driver starts");
    let lines: String = asks.iter().map(|ask| format!("{ask}\n")).collect();
    let mut input = child.stdin.take().expect("piped");
    input.write_all(lines.as_bytes()).await.expect("the driver reads");
    drop(input);
    let output = tokio::time::timeout(LONGEST_RUN, child.wait_with_output()).await;
    let output = output.unwrap_or_else(|_| panic!("{program:?} does not end")).expect("it ends");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?}: {complaint}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let verdict =
        |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    text.lines().map(verdict).collect()
}

/// The program with nothing of this machine's environment but where programs are.
fn command(program: Program, installed: &Path) -> Command {
    let clients = install::root().join("clients");
    let (interpreter, script) = match program {
        Program::Python(name) => {
            (installed.join("python/bin/python"), clients.join(format!("python/{name}.py")))
        }
        Program::Node(name) => ("node".into(), clients.join(format!("node/{name}.cjs"))),
        Program::Native => unreachable!("it runs in this process"),
    };
    let mut command = Command::new(interpreter);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.arg(script).env_clear().env("PATH", path);
    command
}
