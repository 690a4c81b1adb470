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
//! again. So a first try may go by what this handle has written itself, without loading it. A call whose answer is lost is sent again under its number until the server says what
//! became of it; it is never guessed.
//!
//! The server's word for how often it was written never falls. Where it does, the server has lost
//! what it had answered: `life` has what follows.

use super::{
    apply::{Apply, Script},
    failure::{Failure, Outcome, Verdict},
    kept::Kept,
    keys::Keys,
    lanes::Lanes,
    ledger::Ledger,
    life::Life,
    lines::{Line, Lines, Mended},
};
use crate::{Clock, Error, Result};
use deadletter_core::UnixMs;
use redis::{Cmd, FromRedisValue, Pipeline, Value};
use std::{
    future::Future,
    sync::{
        Arc,
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
    /// The highest word that the server has given for how often it was written.
    pub(super) told: AtomicU64,
    pub(super) life: Life,
    pub(super) kept: Kept,
    /// Where submits are noted on this machine.
    pub(super) ledger: Option<Arc<Ledger>>,
    /// Numbers of calls that put something back.
    pub(super) put_back: AtomicU64,
    /// Tries of calls so far.
    pub(super) tries: AtomicU64,
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

    /// The same with another answer.
    pub(super) fn map<U>(self, to: impl FnOnce(T) -> U) -> Work<U> {
        Work { answer: to(self.answer), apply: self.apply, is_news: self.is_news }
    }
}

/// One try of a call, as it sees the server.
#[derive(Clone)]
pub(super) struct Call {
    server: Arc<Server>,
    line: Line,
    /// Store time at its begin.
    pub(super) now: UnixMs,
    /// True on the first try, which may go by what is kept or guessed; its checks find where that is
    /// wrong.
    pub(super) is_first: bool,
    mark: Arc<str>,
}

impl Call {
    pub(super) fn keys(&self) -> &Keys {
        &self.server.keys
    }

    /// Tasks as this handle has written them.
    pub(super) fn kept(&self) -> &Kept {
        &self.server.kept
    }

    /// What tells tasks that it writes from how anybody else has written them.
    pub(super) fn mark(&self) -> Arc<str> {
        Arc::clone(&self.mark)
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
    /// The store stood at that number behind it.
    Done(u64),
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
            let loaded = self.load(&call, tries.made == 0).await;
            let failure = match loaded {
                Ok((work, epoch)) => match self.write(what, work, &epoch).await {
                    Ok(Some(answer)) => return Ok(answer),
                    Ok(None) => Failure::Met,
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
            match self.load(&call, false).await {
                Ok((answer, _)) => return Ok(answer),
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

    /// What a call loads and decides, and in which life of the store it did.
    async fn load<T, F, R>(self: &Arc<Self>, call: &F, is_first: bool) -> Outcome<(T, Arc<str>)>
    where
        F: Fn(Call) -> R,
        R: Future<Output = Outcome<T>>,
    {
        self.must_be_trusted()?;
        let line = self.line().await?;
        let epoch = self.life.epoch();
        let loaded = call(Call { is_first, ..self.call_on(&line) }).await;
        if let Err(failure) = &loaded {
            self.lines.mend(&line, failure.verdict()).await;
        }
        Ok((loaded.map_err(Failure::of_a_store_in_use)?, epoch))
    }

    /// A try of a call that asks on this line.
    pub(super) fn call_on(self: &Arc<Self>, line: &Line) -> Call {
        let n = self.tries.fetch_add(1, Ordering::Relaxed);
        let mark = Arc::from(format!("{}.{n}", self.handle));
        let (server, now) = (Arc::clone(self), self.clock.now());
        Call { server, line: line.clone(), now, is_first: false, mark }
    }

    /// Sends what was decided, again and again where its answer is lost.
    async fn write<T>(
        self: &Arc<Self>,
        what: &'static str,
        work: Work<T>,
        epoch: &str,
    ) -> Result<Option<T>> {
        let Work { answer, mut apply, is_news } = work;
        if apply.is_empty() {
            return Ok(Some(answer));
        }
        let kept = apply.take_kept();
        let lane = self.lanes.enter(what).await?;
        let message =
            Message { script: apply.into_script(&self.keys), call: lane.words(), epoch, is_news };
        let mut sent = Sent::default();
        let fate = self.send(&message, &mut sent);
        let failure = match tokio::time::timeout(FATE_PATIENCE, fate).await {
            Ok(Ok(Fate::Done(seq))) => {
                self.note(kept, epoch, seq).await;
                return Ok(Some(answer));
            }
            Ok(Ok(Fate::Met)) => return Ok(None),
            Ok(Err(failure)) => failure,
            Err(_) => sent.last.take().unwrap_or_else(|| Failure::Lost(NO_ANSWER.to_owned())),
        };
        match failure {
            Failure::Store(error @ Error::RolledBack(_)) => Err(error),
            failure if sent.is_in_doubt => Err(failure.into_doubt(what)),
            failure => Err(failure.into_error(what)),
        }
    }

    async fn send(self: &Arc<Self>, message: &Message<'_>, sent: &mut Sent) -> Outcome<Fate> {
        let mut wait = WAITS.0;
        loop {
            let mended = match self.send_once(message, sent).await {
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
        self: &Arc<Self>,
        message: &Message<'_>,
        sent: &mut Sent,
    ) -> Result<Fate, (Failure, Mended)> {
        // Whoever cannot be reached may be reached later.
        let line = self.line().await.map_err(|failure| match failure.verdict() {
            Verdict::Refuse => (failure, Mended::Never),
            _ => (failure, Mended::Later),
        })?;
        let fate = if *self.life.epoch() == *message.epoch {
            self.ask_fate(&line, message).await
        } else {
            self.ask_fate_before(&line, message).await
        };
        match fate {
            Ok(fate) => Ok(fate),
            Err(failure) => {
                sent.is_in_doubt |= matches!(failure, Failure::Lost(_) | Failure::Misfit { .. });
                let mended = self.lines.mend(&line, failure.verdict()).await;
                Err((failure.of_a_store_in_use(), mended))
            }
        }
    }

    async fn ask_fate(&self, line: &Line, message: &Message<'_>) -> Outcome<Fate> {
        let told = self.told.load(Ordering::Relaxed);
        let own = [self.keys.meta(), self.keys.calls(&self.handle)];
        let [lane, number] = message.call.clone();
        let news = u8::from(message.is_news).to_string();
        let call = [lane, number, message.epoch.to_owned(), told.to_string(), news];
        let command = message.script.command(&line.scripts.apply, own, &call);
        let (word, seq): (String, i64) = line.clone().ask_one(&command).await?;
        self.believe(word != "another", told, seq)?;
        Ok(if word == "met" { Fate::Met } else { Fate::Done(seq.unsigned_abs()) })
    }

    /// What became of a call that was decided in a life of the store that is over: it was done then
    /// and has outlived that, or is decided anew.
    async fn ask_fate_before(&self, line: &Line, message: &Message<'_>) -> Outcome<Fate> {
        let [lane, number] = &message.call;
        let last = Cmd::hget(self.keys.calls(&self.handle), lane);
        let last: Option<u64> = line.clone().ask_one(&last).await?;
        let is_done = last.is_some_and(|last| number.parse().is_ok_and(|number| last >= number));
        let told = self.told.load(Ordering::Relaxed);
        Ok(if is_done { Fate::Done(told) } else { Fate::Met })
    }

    /// Writes once, on a line that nobody else has; nothing where it met another one.
    pub(super) async fn write_on<T>(
        self: &Arc<Self>,
        line: &Line,
        epoch: &str,
        work: Work<T>,
    ) -> Outcome<Option<T>> {
        let Work { answer, mut apply, is_news } = work;
        if apply.is_empty() {
            return Ok(Some(answer));
        }
        let kept = apply.take_kept();
        let script = apply.into_script(&self.keys);
        let own = [self.keys.meta(), self.keys.calls(&self.handle)];
        let number = self.put_back.fetch_add(1, Ordering::Relaxed).to_string();
        let news = u8::from(is_news).to_string();
        let call = ["back".to_owned(), number, epoch.to_owned(), "0".to_owned(), news];
        let command = script.command(&line.scripts.apply, own, &call);
        let (word, seq): (String, i64) = line.clone().ask_one(&command).await?;
        match word.as_str() {
            "done" => self.note(kept, epoch, seq.unsigned_abs()).await,
            "met" => return Ok(None),
            _ => return Err(Failure::Turned),
        }
        Ok(Some(answer))
    }
}

/// A call as it is sent, as often as it takes.
struct Message<'m> {
    script: Script,
    /// Lane and number.
    call: [String; 2],
    /// The life of the store in which it was decided.
    epoch: &'m str,
    is_news: bool,
}

const NO_ANSWER: &str = "the server did not answer in time";

/// What is known of a call that was sent.
#[derive(Default)]
struct Sent {
    /// True where it may have been done without a word.
    is_in_doubt: bool,
    last: Option<Failure>,
}
