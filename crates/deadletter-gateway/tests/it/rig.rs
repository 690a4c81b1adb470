//! A gateway on port 0, its engine on the memory store, a simulated upstream; and a client that
//! writes bytes.

use deadletter::{
    AccountConfig, Builder, Deadletter,
    core::{AccountName, UnixMs},
    provider::{
        Provider,
        captchaai::{self, CaptchaAi},
        createtask::{self, CreateTask},
    },
    store::{FastClock, MemoryStore, Store},
};
use deadletter_gateway::{Askers, Gateway, Running, Settings, serve};
use deadletter_sim::{DEFAULT_KEY, Scenario, Simulator};
use secrecy::{ExposeSecret, SecretString};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Engine and upstream run this much faster than the wall.
const SPEED: f64 = 200.0;
/// Nothing takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// The account's key, which clients on this machine use as their own.
pub(crate) const KEY: &str = DEFAULT_KEY;
/// What a plain solve asks for.
pub(crate) const JOB: &str =
    "method=userrecaptcha&googlekey=6Le-wvkSAAAA&pageurl=https://a.example/";

/// A new store in memory, on a fast clock.
pub(crate) fn memory() -> Arc<dyn Store> {
    let clock = Arc::new(FastClock::new(UnixMs(1_790_000_000_000), SPEED));
    Arc::new(MemoryStore::new(clock))
}

/// A gateway with all that stands behind it.
pub(crate) struct World {
    pub(crate) sim: Simulator,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) engine: Arc<Deadletter>,
    pub(crate) gateway: Running,
}

async fn simulator(scenario: Scenario) -> Simulator {
    Simulator::start(scenario.speed(SPEED).seed(7)).await.expect("it starts")
}

/// An engine of one account.
fn described(provider: Arc<dyn Provider>, store: &Arc<dyn Store>, threads: Option<u32>) -> Builder {
    let name = AccountName::new("main").unwrap();
    let account = AccountConfig::new(name, provider).threads(threads);
    let builder = Deadletter::builder().store(Arc::clone(store)).account(account);
    // Where tests receive.
    builder.guard("127.0.0.1".parse().unwrap())
}

/// A reply as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(Scenario::named("happy").unwrap(), |_| ()).await
    }

    pub(crate) async fn with(scenario: Scenario, edit: impl FnOnce(&mut Settings)) -> Self {
        Self::on(memory(), scenario, edit).await
    }

    /// Another gateway on the same store, with an upstream of its own that is away.
    pub(crate) async fn beside(world: &Self) -> Self {
        let scenario = Scenario::named("happy").unwrap();
        let beside = Self::on(Arc::clone(&world.store), scenario, |_| ()).await;
        beside.sim.outage(deadletter_sim::OutageMode::Html502);
        beside
    }

    pub(crate) async fn on(
        store: Arc<dyn Store>,
        scenario: Scenario,
        edit: impl FnOnce(&mut Settings),
    ) -> Self {
        Self::with_threads(store, scenario, None, edit).await
    }

    pub(crate) async fn with_threads(
        store: Arc<dyn Store>,
        scenario: Scenario,
        threads: Option<u32>,
        edit: impl FnOnce(&mut Settings),
    ) -> Self {
        let sim = simulator(scenario).await;
        let base = sim.base_url();
        let key = SecretString::from(KEY);
        let provider = CaptchaAi::new(captchaai::Settings {
            submit_endpoint: format!("{base}/in.php"),
            result_endpoint: format!("{base}/res.php"),
            submit_timeout: Duration::from_secs(1),
            poll_timeout: Duration::from_secs(1),
            ..captchaai::Settings::new(key)
        });
        Self::at(sim, Arc::new(provider.unwrap()), store, threads, edit).await
    }

    /// A gateway that accepts jobs, with an engine that does not work on them yet.
    pub(crate) async fn idle(store: Arc<dyn Store>, edit: impl FnOnce(&mut Settings)) -> Self {
        let sim = simulator(Scenario::named("happy").unwrap()).await;
        let base = sim.base_url();
        let provider = CaptchaAi::new(captchaai::Settings {
            submit_endpoint: format!("{base}/in.php"),
            result_endpoint: format!("{base}/res.php"),
            ..captchaai::Settings::new(SecretString::from(KEY))
        });
        let builder = described(Arc::new(provider.unwrap()), &store, None);
        let engine = Arc::new(builder.desk_only().await.expect("it is complete"));
        Self::before(sim, engine, store, edit).await
    }

    /// The same with an upstream of the createTask family.
    pub(crate) async fn in_the_family(scenario: Scenario) -> Self {
        let sim = simulator(scenario).await;
        let provider = CreateTask::new(createtask::Settings {
            submit_timeout: Duration::from_secs(1),
            poll_timeout: Duration::from_secs(1),
            ..createtask::Settings::new(sim.base_url(), SecretString::from(KEY))
        });
        Self::at(sim, Arc::new(provider.unwrap()), memory(), None, |_| ()).await
    }

    async fn at(
        sim: Simulator,
        provider: Arc<dyn Provider>,
        store: Arc<dyn Store>,
        threads: Option<u32>,
        edit: impl FnOnce(&mut Settings),
    ) -> Self {
        let builder = described(provider, &store, threads);
        let engine = Arc::new(builder.start().await.expect("it starts"));
        Self::before(sim, engine, store, edit).await
    }

    async fn before(
        sim: Simulator,
        engine: Arc<Deadletter>,
        store: Arc<dyn Store>,
        edit: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut settings = Settings::new("127.0.0.1:0".parse().unwrap());
        edit(&mut settings);
        let askers = Askers::new(Some(SecretString::from(KEY)));
        let gateway = Gateway::new(Arc::clone(&engine), askers, settings);
        let gateway = serve(Arc::new(gateway)).await.expect("it serves");
        Self { sim, store, engine, gateway }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// What a GET of that path and query answers.
    pub(crate) async fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, "", b"").await
    }

    /// What a POST of that body answers.
    pub(crate) async fn post(&self, target: &str, content_type: &str, body: &[u8]) -> Reply {
        self.ask("POST", target, content_type, body).await
    }

    pub(crate) async fn ask(&self, method: &str, target: &str, kind: &str, body: &[u8]) -> Reply {
        let (address, n) = (self.address(), body.len());
        let kind =
            if kind.is_empty() { String::new() } else { format!("content-type: {kind}\r\n") };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {address}\r\n{kind}content-length: {n}\r\nconnection: close\r\n\r\n"
        );
        self.raw(&[head.as_bytes(), body].concat()).await.expect("a reply")
    }

    /// What those bytes are answered; nothing where the connection is closed without a word.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Option<Reply> {
        let talk = async {
            let mut stream = TcpStream::connect(self.address()).await.expect("it listens");
            // It may refuse before it has read everything.
            stream.write_all(bytes).await.ok();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.ok();
            answer
        };
        let answer = timeout(PATIENCE, talk).await.expect("it hangs");
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
    }

    /// Submits a plain job.
    pub(crate) async fn submit(&self) -> String {
        self.submit_as(&KEY.into()).await
    }

    /// Submits a plain job with that key.
    pub(crate) async fn submit_as(&self, key: &SecretString) -> String {
        let reply = self.get(&format!("/in.php?key={}&{JOB}", key.expose_secret())).await;
        reply.body.strip_prefix("OK|").unwrap_or_else(|| panic!("{reply:?}")).to_owned()
    }

    /// Asks until there is a verdict, as clients do.
    pub(crate) async fn verdict(&self, id: &str, more: &str) -> Reply {
        let question = format!("/res.php?key={KEY}&action=get&id={id}{more}");
        self.ask_until(&question, |body| !body.contains("CAPCHA_NOT_READY")).await
    }

    /// The verdict on a task of that key.
    pub(crate) async fn verdict_as(&self, key: &SecretString, id: &str) -> String {
        let question = format!("/res.php?key={}&action=get&id={id}", key.expose_secret());
        self.ask_until(&question, |body| body != "CAPCHA_NOT_READY").await.body
    }

    /// Waits until the gateway knows a key, or does not.
    pub(crate) async fn until_known(&self, key: &SecretString, is_known: bool) {
        let question = format!("/res.php?key={}&action=threadsinfo", key.expose_secret());
        self.ask_until(&question, |body| body.starts_with("ERROR_") != is_known).await;
    }

    /// Asks until the answer is what is waited for.
    pub(crate) async fn ask_until(&self, question: &str, is_it: impl Fn(&str) -> bool) -> Reply {
        let asking = async {
            loop {
                let reply = self.get(question).await;
                if is_it(&reply.body) {
                    return reply;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("in vain: {question}"))
    }
}
