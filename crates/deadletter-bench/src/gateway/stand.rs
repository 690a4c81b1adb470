//! What is measured: a gateway over an engine on SQLite, with tasks that were solved and tasks that
//! wait, and the plain server beside it.

use super::plain;
use crate::sample::account;
use anyhow::{Context, Result};
use deadletter::{
    AccountConfig, Deadletter, Job,
    provider::{Polled, Reply, scripted::ScriptedProvider},
};
use deadletter_core::{TaskId, Terms};
use deadletter_gateway::{Askers, Gateway, Running, Settings, serve};
use deadletter_store::{SqliteStore, SystemClock};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::task::JoinHandle;

/// The key of every client.
const KEY: &str = "0123456789abcdef0123456789abcdef";
/// Threads of the account: what is accepted beyond them waits.
const THREADS: u32 = 50;

pub(super) struct Stand {
    pub(super) gateway: SocketAddr,
    /// The same tasks behind a gateway that takes no more.
    pub(super) full: SocketAddr,
    pub(super) plain: SocketAddr,
    solved: Vec<TaskId>,
    pending: Vec<TaskId>,
    running: [Running; 2],
    engine: Arc<Deadletter>,
    plain_server: JoinHandle<()>,
}

impl Stand {
    pub(super) async fn build(path: &Path, tasks: usize) -> Result<Self> {
        let (engine, is_away) = engine(path).await?;
        let half = tasks / 2;
        let solved = submit(&engine, half).await?;
        for id in &solved {
            engine.task(*id).wait().await?;
        }
        is_away.store(true, Ordering::SeqCst);
        let pending = submit(&engine, half).await?;
        let running = [gateway(&engine, u64::MAX).await?, gateway(&engine, 0).await?];
        let (plain, plain_server) = plain::serve().await?;
        let [gateway, full] = running.each_ref().map(Running::address);
        Ok(Self { gateway, full, plain, solved, pending, running, engine, plain_server })
    }

    /// Polls as clients send them, of solved and of pending tasks in turn.
    pub(super) fn questions(&self) -> Arc<[String]> {
        let ids = self.solved.iter().zip(&self.pending).flat_map(|(one, other)| [one, other]);
        ids.map(|id| request(&format!("/res.php?key={KEY}&action=get&id={id}&json=1"))).collect()
    }

    /// A submit as clients send it.
    pub(super) fn job(&self) -> Arc<[String]> {
        Arc::new([request(&format!(
            "/in.php?key={KEY}&method=userrecaptcha&googlekey=6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0DJwx_mJ-\
             &pageurl=https://shop.example/account/login?return=%2Forders&json=1"
        ))])
    }

    pub(super) async fn close(self) -> Result<()> {
        self.plain_server.abort();
        for running in self.running {
            running.stop().await;
        }
        Ok(self.engine.stop().await?)
    }
}

fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\naccept: */*\r\n\r\n")
}

/// An engine whose upstream answers at once, until the switch is thrown.
pub(super) async fn engine(path: &Path) -> Result<(Arc<Deadletter>, Arc<AtomicBool>)> {
    let store = SqliteStore::open(path, Arc::new(SystemClock)).await?;
    let is_away = Arc::<AtomicBool>::default();
    let seen = Arc::clone(&is_away);
    let terms = Terms { first_poll_ms: 1, poll_gap_ms: 1_000, ..Terms::default() };
    let provider = ScriptedProvider::default().with_terms(terms).on_poll(move |_| {
        let is_away = seen.load(Ordering::SeqCst);
        async move { Ok(if is_away { Polled::NotReady } else { Polled::Answer(token()) }) }
    });
    let account = AccountConfig::new(account(), Arc::new(provider)).threads(Some(THREADS));
    let engine = Deadletter::builder().store(Arc::new(store)).account(account).start().await?;
    Ok((Arc::new(engine), is_away))
}

/// A gateway that takes as many tasks.
pub(super) async fn gateway(engine: &Arc<Deadletter>, capacity: u64) -> Result<Running> {
    let settings = Settings { capacity, ..Settings::new("127.0.0.1:0".parse()?) };
    let gateway = Gateway::new(Arc::clone(engine), Askers::new(Some(KEY.into())), settings);
    serve(Arc::new(gateway)).await.context("the gateway does not serve")
}

pub(super) async fn submit(engine: &Deadletter, tasks: usize) -> Result<Vec<TaskId>> {
    let job = |n: usize| {
        Job::new("userrecaptcha")
            .param("googlekey", format!("6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0DJwx{:04}", n % 50))
            .param("pageurl", format!("https://shop.example/login?order={n}"))
    };
    let submitted = engine.submit_all((0..tasks).map(job).collect()).await?;
    Ok(submitted.into_iter().map(|submitted| submitted.id).collect())
}

/// An answer as long as a real reCAPTCHA token.
fn token() -> Reply {
    let text = format!("03AGdBq2{}", "5kPvL9_xT".repeat(60));
    Reply {
        dialect: "res.php/json",
        raw: format!(r#"{{"status":1,"request":"{text}"}}"#).into(),
        text: text.into(),
        user_agent: None,
    }
}
