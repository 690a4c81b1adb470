//! Many workers on several handles at once, on one PostgreSQL server that ends their connections.

use crate::{
    backends::{self, Backend},
    harness::{self, Harness, account, answered, upstream_id},
    server::{Schema, client},
};
use async_trait::async_trait;
use deadletter_core::{
    Attempt, Came, Class, Failure, Happened, Reading, StateKind, Task, TaskId, UnixMs, WorkerId,
};
use deadletter_store::{
    Claim, Clock, Error, PostgresStore, Query, Result, Sequenced, Store, TakeOver,
};
use futures_util::{FutureExt, future::join_all};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

/// Workers at once, on three handles: more than each handle has connections.
const WORKERS: u64 = 12;
/// What each of them does, one after the other.
const STEPS: u32 = 80;
/// Threads of the account: few, so that claims are refused often.
const THREADS: u32 = 8;
/// Upstream ids of all jobs: few, so that tasks are named alike.
const NAMES: u32 = 40;

/// A schema whose connections can be told from others.
struct Named {
    schema: Schema,
    name: &'static str,
}

#[async_trait]
impl Backend for Named {
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
        let url = format!("{}&application_name={}", self.schema.url, self.name);
        Arc::new(PostgresStore::open(&url, clock).await.unwrap())
    }

    async fn end(&self) {
        self.schema.end().await;
    }
}

/// One of the crowd.
struct Life<'h> {
    h: &'h Harness,
    store: Arc<dyn Store>,
    worker: WorkerId,
    rng: StdRng,
    /// Guards each claim that anybody was given, by its task and version.
    claims: &'h Mutex<BTreeSet<(TaskId, u64)>>,
    /// The connections that it ends now and then.
    enemies: Option<&'static str>,
}

impl Life<'_> {
    async fn live(mut self) {
        for _ in 0..STEPS {
            match self.step().await {
                // It has left, or somebody took it for dead: it begins anew.
                Err(Error::DeclaredDead(_)) => self.begin().await,
                // Its connection ended before it was used: nothing was written.
                Err(error) if self.enemies.is_some() && error.is_retryable() => {}
                outcome => outcome.unwrap(),
            }
        }
    }

    async fn begin(&mut self) {
        self.worker = WorkerId::new(format!("w-{}", self.h.tokens(1)[0])).unwrap();
        while let Err(error) = self.store.register(&self.worker, "crowd").await {
            assert!(self.enemies.is_some() && error.is_retryable(), "{error}");
        }
    }

    async fn step(&mut self) -> Result<()> {
        match self.rng.random_range(0..24) {
            0..=3 => self.insert().await,
            4..=8 => self.claim().await,
            9 => {
                let accounts = vec![account("main")];
                let (worker, now) = (self.worker.clone(), self.h.now());
                let take = TakeOver { worker, accounts, limit: 4, now };
                self.store.take_over(take).await.map(drop)
            }
            10 => {
                self.store.leave(&self.worker).await?;
                self.begin().await;
                Ok(())
            }
            11 => self.purge().await,
            12 => self.deliver().await,
            13 => {
                self.h.clock.advance(self.rng.random_range(0..120_000));
                Ok(())
            }
            14 => self.end_connections().await,
            15 => self.store.forget(&self.h.forget_before(UnixMs(0))).await.map(drop),
            _ => self.report().await,
        }
    }

    /// New tasks, of which some have the key of others.
    async fn insert(&mut self) -> Result<()> {
        let n = self.rng.random_range(0..6);
        let tasks = (0..3).map(|i| {
            let mut new = self.h.new_task_with(|task| {
                task.place = Some("a.example".to_owned());
                task.idempotency_key = (i == 0).then(|| format!("k-{n}"));
            });
            new.is_folded = true;
            new
        });
        let tasks = tasks.collect();
        self.store.insert(tasks).await.map(drop)
    }

    async fn claim(&mut self) -> Result<()> {
        let claim = self.h.claim_of(&self.worker, 3);
        for claimed in self.store.claim(Claim { threads: THREADS, ..claim }).await? {
            let claim = (claimed.task.id, claimed.task.version);
            assert!(self.claims.lock().unwrap().insert(claim), "{claim:?} was given twice");
        }
        let lent = self.store.permits(&account("main"), self.h.now()).await?;
        assert!(lent <= THREADS, "{lent} permits of {THREADS}");
        Ok(())
    }

    async fn page(&self, filter: &str) -> Result<Vec<Task>> {
        let query = Query { filter: filter.parse().unwrap(), ..self.h.everything() };
        Ok(self.store.page(&query).await?.tasks)
    }

    /// Something happens to a task, or is said of it, sensible or not.
    async fn report(&mut self) -> Result<()> {
        let is_under_way = self.rng.random_bool(0.8);
        let filter = if is_under_way { "state:submitting,polling" } else { "attempts:>0" };
        let tasks = self.page(filter).await?;
        let Some(task) = tasks.choose(&mut self.rng) else { return Ok(()) };
        let attempts = self.store.history(task.id).await?;
        // It may be purged by now.
        let Some(attempt) = attempts.last() else { return Ok(()) };
        let what = self.anything(attempt);
        let change = self.h.decide(task, Some(attempt), &what);
        self.store.commit(vec![change.clone(), change]).await?;
        let reading = Reading::of(task, None, self.h.now());
        self.store.mark_read(&Vec::from_iter(reading)).await.map(drop)
    }

    fn anything(&mut self, attempt: &Attempt) -> Happened {
        let failure = Failure::new("NETWORK", Class::Transient);
        match self.rng.random_range(0..10) {
            0..=3 => {
                let name = self.rng.random_range(0..NAMES);
                Happened::Accepted(upstream_id(&format!("u-{name}")))
            }
            // Only a job that was accepted can be answered.
            4..=6 if attempt.upstream_id.is_some() => answered(attempt, "token"),
            7 if attempt.upstream_id.is_none() => Happened::Refused(failure),
            7 => Happened::NotReady { elapsed_ms: 120_000 },
            8 => Happened::Cancelled,
            _ => Happened::InDoubt(failure),
        }
    }

    async fn purge(&mut self) -> Result<()> {
        let ended = self.page("state:solved,dead,buried,cancelled").await?;
        let doomed: Vec<_> = ended.iter().map(|task| (task.id, task.version)).take(5).collect();
        self.store.purge(&doomed).await.map(drop)
    }

    async fn deliver(&mut self) -> Result<()> {
        let taken = self.store.take_deliveries(&self.h.due("a.example", 3)).await?;
        let settled = taken.iter().map(|it| it.after(Came::Delivered, "", self.h.now(), 0.5));
        self.store.settle_deliveries(&Vec::from_iter(settled)).await.map(drop)
    }

    async fn end_connections(&mut self) -> Result<()> {
        let Some(name) = self.enemies else { return Ok(()) };
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = $1 ORDER BY random() LIMIT 3";
        client().await.query(sql, &[&name]).await.unwrap();
        Ok(())
    }
}

/// Lets them live beside each other; what must hold after anything is checked behind them.
async fn crowd(backend: impl Backend + 'static, enemies: Option<&'static str>) {
    harness::run(backend, async |h: &mut Harness| {
        let h = &*h;
        let claims = &Mutex::default();
        let handles = [h.store.clone(), h.another_handle().await, h.another_handle().await];
        let lives = (0..WORKERS).zip(handles.iter().cycle()).map(async |(seed, store)| {
            let (store, rng) = (Arc::clone(store), StdRng::seed_from_u64(seed));
            let worker = WorkerId::new("nobody").unwrap();
            let mut life = Life { h, store, worker, rng, claims, enemies };
            life.begin().await;
            life.live().await;
        });
        join_all(lives).await;
        let events = h.store.events(0, harness::MANY).await.unwrap();
        assert!(events.iter().map(|(n, _)| *n).eq(1..=events.len() as u64), "numbers are missing");
        let is_solved = |(_, event): &Sequenced| event.state == StateKind::Solved;
        let purged = h.store.totals().await.unwrap().purged;
        assert!(purged > 0 && events.iter().any(is_solved), "a dull crowd");
    })
    .await;
}

#[tokio::test]
async fn a_crowd_on_several_handles_loses_and_doubles_nothing() {
    crowd(backends::postgres(), None).await;
}

#[tokio::test]
async fn a_crowd_whose_connections_end_loses_and_doubles_nothing() {
    let name = "deadletter-crowd";
    crowd(Named { schema: Schema::new(), name }, Some(name)).await;
}

#[tokio::test]
async fn a_call_that_the_server_refuses_takes_none_along_that_came_with_it() {
    harness::run(backends::postgres(), async |h: &mut Harness| {
        // Longer than an entry of an index may be, and nothing repeats in it.
        let mut rng = StdRng::seed_from_u64(1);
        let long: String = (0..20_000).map(|_| rng.random_range('a'..='z')).collect();
        let calls = (0..12).map(|n| {
            let refused = n == 7;
            let new = h.new_task_with(|task| {
                task.dimensions.batch = Some(if refused { long.clone() } else { "b".to_owned() });
            });
            let store = &h.store;
            async move { (refused, store.insert(vec![new]).await) }
        });
        for (refused, inserted) in join_all(calls).await {
            match inserted {
                Err(error) => assert!(refused && !error.is_retryable(), "{error}"),
                Ok(_) => assert!(!refused),
            }
        }
        assert_eq!(h.store.totals().await.unwrap().queued, 11);
    })
    .await;
}

#[tokio::test]
async fn a_call_whose_caller_goes_away_is_made_all_the_same() {
    harness::run(backends::postgres(), async |h: &mut Harness| {
        let (first, second) = (h.new_task(), h.new_task());
        let id = first.task.id;
        // It is on its way after one look, and then nobody asks for it any more.
        drop(h.store.insert(vec![first]).now_or_never());
        h.store.insert(vec![second]).await.unwrap();
        // Two calls may be under way at once: the first one may be the later.
        for looks in 0.. {
            assert!(looks < 1_000, "it was never made");
            if h.find(id).await.is_some() {
                break;
            }
        }
    })
    .await;
}
