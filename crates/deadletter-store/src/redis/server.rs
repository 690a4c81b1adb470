//! The server as calls reach it: load, decide, apply.
//!
//! ```text
//!   client                                              server
//!   the call's questions, together ────────────────▶    what stands          1st round trip
//!   the call decides                ◀───────────────
//!   checks and writes, numbered ───────────────────▶    all or nothing       2nd round trip
//!   answers                         ◀───────────────    done │ met another
//! ```
//!
//! What was loaded may be written by others meanwhile: the checks find that, and the call is made
//! again. A call whose answer is lost is sent again under its number until the server says what
//! became of it; it is never guessed.
//!
//! The server's word for how often it was written never falls. Where it does, or where the store
//! has another mark than at opening, its server has lost what it had answered, and every call says
//! so from then on.

use super::{
    apply::{Apply, Script},
    failure::{Failure, Outcome, Verdict},
    keys::Keys,
    lanes::{Lane, Lanes},
    lines::{Line, Lines, Mended},
};
use crate::{Clock, Error, Result};
use deadletter_core::UnixMs;
use redis::{Cmd, FromRedisValue, Pipeline, Value};
use std::{
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Tries of one call that meets others, or whose connection is gone: with the waits between them
/// some two seconds.
const TRIES: u32 = 12;
/// The first wait, and the longest; each next one is twice as long.
const WAITS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(512));
/// How long a call is sent again whose answer was lost: several times as long as a server takes to
/// start, or a replica to become the master.
const FATE_PATIENCE: Duration = Duration::from_secs(15);

/// What one handle shares with its loops.
pub(super) struct Server {
    /// Of the store, without secrets.
    pub(super) url: String,
    pub(super) keys: Keys,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lines: Lines,
    pub(super) lanes: Lanes,
    /// Another one for each handle of the store.
    pub(super) handle: String,
    /// The store's mark, made with it.
    pub(super) epoch: String,
    /// The highest word that the server has given for how often it was written.
    pub(super) told: AtomicU64,
    /// Why nothing is believed any more, once it is so.
    pub(super) lost: OnceLock<String>,
}

/// What a call has decided.
pub(super) struct Work<T> {
    answer: T,
    apply: Apply,
    /// True where others should look.
    is_news: bool,
}

impl<T> Work<T> {
    /// Writes, if there is anything to write, and answers.
    pub(super) const fn of(answer: T, apply: Apply) -> Self {
        Self { answer, apply, is_news: true }
    }

    /// The same, and it concerns nobody else.
    pub(super) const fn quiet(answer: T, apply: Apply) -> Self {
        Self { answer, apply, is_news: false }
    }
}

/// One try of a call, as it sees the server.
#[derive(Clone)]
pub(super) struct Call {
    server: Arc<Server>,
    line: Line,
    /// Store time at its begin.
    pub(super) now: UnixMs,
}

impl Call {
    pub(super) fn keys(&self) -> &Keys {
        &self.server.keys
    }

    /// The line on which it asks.
    pub(super) const fn line(&self) -> &Line {
        &self.line
    }

    /// Asks all at once, in one round trip; `T` takes as many answers, in their order.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        questions: impl IntoIterator<Item = Cmd>,
    ) -> Outcome<T> {
        let mut pipeline = Pipeline::new();
        for question in questions {
            pipeline.add_command(question);
        }
        let answers = self.line.clone().ask(&pipeline).await?;
        Ok(redis::from_redis_value(Value::Array(answers))?)
    }

    /// Asks one question.
    pub(super) async fn ask_one<T: FromRedisValue>(&self, question: Cmd) -> Outcome<T> {
        self.line.clone().ask_one(&question).await
    }
}

/// What became of a script that was sent.
enum Fate {
    Done,
    Met,
}

/// The tries of one call.
struct Tries {
    what: &'static str,
    made: u32,
    wait: Duration,
}

impl Tries {
    const fn of(what: &'static str) -> Self {
        Self { what, made: 0, wait: WAITS.0 }
    }

    /// Waits for the next try, if there is one.
    async fn next(&mut self, failure: Failure) -> Result<()> {
        self.made += 1;
        if self.made == TRIES {
            return Err(failure.into_error(self.what));
        }
        tracing::debug!(
            what = self.what,
            tries = self.made,
            why = failure.reason(),
            "a call is made again"
        );
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(WAITS.1);
        Ok(())
    }
}

impl Server {
    /// Runs a call that writes. `call` runs again where it met another one.
    ///
    /// Errors: those of the call, `Unavailable`, `InDoubt`, `RolledBack`, and what else the server
    /// says.
    pub(super) async fn transact<T, F, R>(
        self: &Arc<Self>,
        what: &'static str,
        call: F,
    ) -> Result<T>
    where
        F: Fn(Call) -> R,
        R: Future<Output = Outcome<Work<T>>>,
    {
        let mut tries = Tries::of(what);
        loop {
            let loaded = self.load(&call).await;
            let failure = match loaded {
                Ok(work) => match self.write(what, work.apply, work.is_news).await {
                    Ok(Fate::Done) => return Ok(work.answer),
                    Ok(Fate::Met) => Failure::Met,
                    Err(error) => return Err(error.about(&self.url)),
                },
                Err(failure) => failure,
            };
            self.again(&mut tries, failure).await?;
        }
    }

    /// Runs a call that only reads.
    pub(super) async fn look<T, F, R>(self: &Arc<Self>, what: &'static str, call: F) -> Result<T>
    where
        F: Fn(Call) -> R,
        R: Future<Output = Outcome<T>>,
    {
        let mut tries = Tries::of(what);
        loop {
            match self.load(&call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.again(&mut tries, failure).await?,
            }
        }
    }

    async fn again(&self, tries: &mut Tries, failure: Failure) -> Result<()> {
        let waited = match failure.verdict() {
            Verdict::Refuse => Err(failure.into_error(tries.what)),
            _ => tries.next(failure).await,
        };
        waited.map_err(|error| error.about(&self.url))
    }

    async fn load<T, F, R>(self: &Arc<Self>, call: &F) -> Outcome<T>
    where
        F: Fn(Call) -> R,
        R: Future<Output = Outcome<T>>,
    {
        self.must_be_trusted()?;
        let line = self.lines.line().await?;
        let try_of_it =
            Call { server: Arc::clone(self), line: line.clone(), now: self.clock.now() };
        let loaded = call(try_of_it).await;
        if let Err(failure) = &loaded {
            self.lines.mend(&line, failure.verdict()).await;
        }
        loaded
    }

    /// Sends what was decided, again and again where its answer is lost.
    async fn write(&self, what: &'static str, apply: Apply, is_news: bool) -> Result<Fate> {
        if apply.is_empty() {
            return Ok(Fate::Done);
        }
        let script = apply.into_script(&self.keys);
        let lane = self.lanes.enter(what).await?;
        let mut sent = Sent::default();
        let fate = self.send(&lane, &script, is_news, &mut sent);
        let failure = match tokio::time::timeout(FATE_PATIENCE, fate).await {
            Ok(Ok(fate)) => return Ok(fate),
            Ok(Err(failure)) => failure,
            Err(_) => sent.last.take().unwrap_or_else(|| Failure::Lost(NO_ANSWER.to_owned())),
        };
        match failure {
            Failure::Store(error @ Error::RolledBack(_)) => Err(error),
            failure if sent.is_in_doubt => Err(failure.into_doubt(what)),
            failure => Err(failure.into_error(what)),
        }
    }

    async fn send(
        &self,
        lane: &Lane<'_>,
        script: &Script,
        is_news: bool,
        sent: &mut Sent,
    ) -> Outcome<Fate> {
        let mut wait = WAITS.0;
        loop {
            let mended = match self.send_once(lane, script, is_news, sent).await {
                Ok(fate) => return Ok(fate),
                Err((failure, Mended::Never)) => return Err(failure),
                Err((failure, mended)) => {
                    sent.last = Some(failure);
                    mended
                }
            };
            tracing::debug!(?mended, "a call is sent again");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
        }
    }

    async fn send_once(
        &self,
        lane: &Lane<'_>,
        script: &Script,
        is_news: bool,
        sent: &mut Sent,
    ) -> Result<Fate, (Failure, Mended)> {
        // Whoever cannot be reached may be reached later.
        let mut line = self.lines.line().await.map_err(|failure| match failure.verdict() {
            Verdict::Refuse => (failure, Mended::Never),
            _ => (failure, Mended::Later),
        })?;
        let [lane, number] = lane.words();
        let told = self.told.load(Ordering::Relaxed);
        let news = u8::from(is_news).to_string();
        let own = [self.keys.meta(), self.keys.calls(&self.handle)];
        let call = [lane, number, self.epoch.clone(), told.to_string(), news];
        let command = script.command(&line.scripts.apply, own, &call);
        match line.ask_one::<(String, i64)>(&command).await {
            Ok((word, seq)) => match self.believe(word != "another", told, seq) {
                Err(error) => Err((error.into(), Mended::Never)),
                Ok(()) if word == "met" => Ok(Fate::Met),
                Ok(()) => Ok(Fate::Done),
            },
            Err(failure) => {
                sent.is_in_doubt |= matches!(failure, Failure::Lost(_) | Failure::Misfit { .. });
                let mended = self.lines.mend(&line, failure.verdict()).await;
                Err((failure, mended))
            }
        }
    }

    /// Takes in how often the store was written by now, of which it was `told` before it asked;
    /// `RolledBack` where that cannot be.
    pub(super) fn believe(&self, is_ours: bool, told: u64, seq: i64) -> Result<()> {
        let seq = u64::try_from(seq).unwrap_or(0);
        if !is_ours {
            self.lost.get_or_init(|| "another store stands there now".to_owned());
        } else if seq < told {
            self.lost.get_or_init(|| format!("it was written {told} times, and now only {seq}"));
        }
        self.told.fetch_max(seq, Ordering::Relaxed);
        self.must_be_trusted()
    }

    /// Errors: `RolledBack`, `Closed`.
    pub(super) fn must_be_trusted(&self) -> Result<()> {
        self.lanes.must_be_open()?;
        match self.lost.get() {
            Some(why) => Err(Error::RolledBack(format!("{} ({why})", self.url))),
            None => Ok(()),
        }
    }
}

const NO_ANSWER: &str = "the server did not answer in time";

/// What is known of a call that was sent.
#[derive(Default)]
struct Sent {
    /// True where it may have been done without a word.
    is_in_doubt: bool,
    last: Option<Failure>,
}
