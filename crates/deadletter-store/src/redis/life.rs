//! The lives of a store: each begins where its server has lost, or may have lost, what it had told.
//!
//! ```text
//! a line that is new ──▶ turn.lua: the same server, with all that this handle was told? ──▶ go on
//!                              │ no: another life begins
//!                              ▼
//!                        what this handle wrote last (`kept`) and the server lost is put back,
//!                        before anything else is asked on that line
//! ```
//!
//! A replica that takes over and a server that comes back from an older file lack the last writes.
//! Whoever made these still knows them. So nobody claims in a new life before everybody who lives
//! has put back what he holds: a submit that the server forgot could be made once more. Nor is
//! anything new taken in, or called unknown, until then: it may stand in another's hand.
//!
//! A store that stands empty, or is another one, is not gone on with.

use super::{
    apply::Apply,
    failure::{Failure, Outcome, Verdict},
    lines::Line,
    server::{Call, Server, Work},
    tasks::restore,
    turn,
};
use crate::{Error, Result, SILENT_MS};
use deadletter_core::{TaskId, UnixMs, WorkerId};
use redis::Cmd;
use std::{
    collections::BTreeSet,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

/// Tasks that are put back at once: a script of some 200 KB.
const PAGE: usize = 100;
/// Tries of a page: nobody else writes much while everybody puts back.
const TRIES: u32 = 12;
/// Between two looks for others who have not put back.
const LOOK: Duration = Duration::from_millis(100);
/// Whoever has not been heard of after so many looks is dead, or never comes: eight seconds, one beat
/// more than it takes to be declared dead.
const LOOKS: u32 = 80;

/// In which life of the store the handle is.
pub(super) struct Life {
    /// Guards what is known; held for look-ups only.
    known: Mutex<Known>,
    /// Held by whoever looks whether a new line leads to what was told: all others wait.
    turning: tokio::sync::Mutex<()>,
    /// Guards the workers that beat by this handle.
    workers: Mutex<BTreeSet<WorkerId>>,
}

struct Known {
    /// The store's mark, made with it, and the number of its life.
    epoch: Arc<str>,
    /// The line that leads to it; 0 for none.
    line: u64,
    /// When the life began, until everybody has put back.
    began_at: Option<UnixMs>,
    /// True where this handle has lost something, until it has been told.
    has_lost: bool,
    /// Why nothing is believed any more, once it is so.
    lost: Option<String>,
}

/// What was found and done at a turn.
#[derive(Default)]
pub(super) struct Back {
    /// Tasks that had lost anything, and were put back.
    pub(super) back: usize,
    /// Tasks that are gone, and of which too little is kept here: whoever accepted them has more.
    left: usize,
    /// True where more was written than is kept.
    is_partial: bool,
}

impl Life {
    pub(super) fn new(epoch: &str) -> Self {
        let known =
            Known { epoch: epoch.into(), line: 0, began_at: None, has_lost: false, lost: None };
        Self {
            known: Mutex::new(known),
            turning: tokio::sync::Mutex::default(),
            workers: Mutex::default(),
        }
    }

    pub(super) fn epoch(&self) -> Arc<str> {
        Arc::clone(&self.known().epoch)
    }

    /// Something does not fit: the line in use is looked at again.
    pub(super) fn doubt(&self) {
        self.known().line = 0;
    }

    /// True once after something was lost that this handle was told of.
    pub(super) fn take_loss(&self) -> bool {
        std::mem::take(&mut self.known().has_lost)
    }

    /// Why nothing is believed any more.
    pub(super) fn lost(&self) -> Option<String> {
        self.known().lost.clone()
    }

    /// A worker that beats by this handle, or does so no more.
    pub(super) fn beats(&self, worker: &WorkerId, is_alive: bool) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if is_alive {
            workers.insert(worker.clone());
        } else {
            workers.remove(worker);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// The line in use. Where it is new, all that the server has lost is put back first.
    pub(super) async fn line(self: &Arc<Self>) -> Outcome<Line> {
        let line = self.lines.line().await.map_err(Failure::of_a_store_in_use)?;
        if self.life.known().line == line.n() {
            return Ok(line);
        }
        let _turn = self.life.turning.lock().await;
        if self.life.known().line == line.n() {
            return Ok(line);
        }
        self.must_be_trusted()?;
        match self.look_behind(&line).await {
            Ok(()) => {
                self.life.known().line = line.n();
                Ok(line)
            }
            Err(failure) => {
                self.lines.mend(&line, failure.verdict()).await;
                Err(failure)
            }
        }
    }

    /// Runs a call that writes what others may have written already, and not put back yet.
    ///
    /// Errors: as [`Server::transact`].
    pub(super) async fn transact_with_others<T, F, R>(
        self: &Arc<Self>,
        what: &'static str,
        call: F,
    ) -> Result<T>
    where
        F: Fn(Call) -> R,
        R: Future<Output = Outcome<Work<T>>>,
    {
        let call = &call;
        loop {
            self.wait_for_others().await?;
            // Another life may begin in the middle of it.
            let done = self.transact(what, |try_of_it| async move {
                if self.life.known().began_at.is_some() {
                    return Ok(Work::of(None, Apply::default()));
                }
                Ok(call(try_of_it).await?.map(Some))
            });
            if let Some(answer) = done.await? {
                return Ok(answer);
            }
        }
    }

    /// Waits until everybody who lives has put back what the server lost, if it lost anything of
    /// late; answers whether there was anybody to wait for.
    pub(super) async fn wait_for_others(self: &Arc<Self>) -> Result<bool> {
        let Some(began_at) = self.life.known().began_at else { return Ok(false) };
        let mut has_waited = false;
        for _ in 0..LOOKS {
            let unheard = self.look("look who has put back", |call| async move {
                let before = format!("({}", began_at.0);
                call.ask_one::<u64>(Cmd::zcount(call.keys().living(), "-inf", before)).await
            });
            if unheard.await? == 0 {
                break;
            }
            has_waited = true;
            tokio::time::sleep(LOOK).await;
        }
        let known = &mut *self.life.known();
        if known.began_at == Some(began_at) {
            known.began_at = None;
        }
        Ok(has_waited)
    }

    async fn look_behind(self: &Arc<Self>, line: &Line) -> Outcome<()> {
        let (known, told) = (self.life.epoch(), self.told.load(Ordering::Relaxed));
        let now = self.clock.now();
        let turn = turn::ask(&mut line.clone(), &self.keys, &known, told, now).await?;
        if turn.epoch.is_empty() {
            self.life.known().lost = Some("another store stands there now".to_owned());
            return Ok(self.must_be_trusted()?);
        }
        let is_same = *turn.epoch == *known;
        let lost = if is_same { 0 } else { told.saturating_sub(turn.ended) };
        if lost > 0 {
            let (ids, is_all) = self.kept.behind(turn.ended);
            let back = self.put_back(line, &turn.epoch, turn.began_at, &ids).await?;
            let back = Back { is_partial: !is_all, ..back };
            self.write_down(line, &turn, lost, &back).await?;
            self.tell(lost, &back);
        } else if !is_same {
            tracing::warn!(store = self.url, "another server answers, with all that was told here");
        }
        self.beat_all(line).await?;
        self.told.store(turn.seq.max(if is_same { told } else { 0 }), Ordering::Relaxed);
        let silent_ms = (SILENT_MS * self.clock.speed()) as i64;
        let known = &mut *self.life.known();
        known.epoch = turn.epoch.into();
        known.began_at = Some(turn.began_at).filter(|at| now.since(*at) <= 2 * silent_ms);
        known.has_lost |= lost > 0;
        Ok(())
    }

    /// Puts back what is kept of these tasks; answers of how many anything was lost.
    pub(super) async fn put_back_now(self: &Arc<Self>, ids: &[TaskId]) -> Result<usize> {
        let back = async {
            let line = self.line().await?;
            let _turn = self.life.turning.lock().await;
            let epoch = self.life.epoch();
            self.put_back(&line, &epoch, UnixMs(i64::MAX), ids).await
        };
        let back: Outcome<Back> = back.await;
        back.map(|all| all.back).map_err(|failure| failure.into_error("put back").about(&self.url))
    }

    async fn put_back(
        self: &Arc<Self>,
        line: &Line,
        epoch: &str,
        since: UnixMs,
        ids: &[TaskId],
    ) -> Outcome<Back> {
        let mut all = Back::default();
        for ids in ids.chunks(PAGE) {
            let kept = ids.iter().filter_map(|id| self.kept.get(*id).transpose());
            let kept = &kept.collect::<Outcome<Vec<_>>>()?;
            let new =
                self.on_line(line, epoch, |call| async move { restore::gone(&call, kept).await });
            let new: BTreeSet<TaskId> = new.await?.into_iter().collect();
            let (standing, behind) =
                self.on_line(line, epoch, |call| async move {
                    restore::behind(&call, kept, since).await
                })
                .await?;
            all.back += behind.iter().filter(|id| !new.contains(id)).count() + new.len();
            all.left += kept.len() - standing.len();
        }
        Ok(all)
    }

    /// Makes a call on a line that nobody else has yet; a line that fails is made anew with all of it.
    async fn on_line<T, F, R>(self: &Arc<Self>, line: &Line, epoch: &str, call: F) -> Outcome<T>
    where
        F: Fn(Call) -> R,
        R: Future<Output = Outcome<Work<T>>>,
    {
        for _ in 0..TRIES {
            match call(self.call_on(line)).await {
                Ok(work) => {
                    if let Some(answer) = self.write_on(line, epoch, work).await? {
                        return Ok(answer);
                    }
                }
                Err(failure) if failure.verdict() == Verdict::Wait => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::Met)
    }

    /// Whoever waits for others hears that these have put back.
    async fn beat_all(&self, line: &Line) -> Outcome<()> {
        let workers = self.life.workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if workers.is_empty() {
            return Ok(());
        }
        let mut beats = redis::cmd("ZADD");
        // A worker that was declared dead stays so.
        beats.arg(self.keys.living()).arg("XX");
        for worker in &workers {
            beats.arg(self.clock.now().0).arg(worker.as_str());
        }
        line.clone().ask_one::<i64>(&beats).await.map(drop)
    }

    fn tell(&self, lost: u64, Back { back, left, is_partial }: &Back) {
        tracing::error!(
            store = self.url,
            lost_changes = lost,
            tasks_put_back = back,
            tasks_left_to_others = left,
            is_partial,
            "the server has lost changes that it had answered: what this process wrote is put back; \
             what others wrote who are gone is lost"
        );
    }

    /// Errors: `RolledBack`, `Closed`.
    pub(super) fn must_be_trusted(&self) -> Result<()> {
        self.lanes.must_be_open()?;
        match self.life.lost() {
            Some(why) => Err(Error::RolledBack(format!("{} ({why})", self.url))),
            None => Ok(()),
        }
    }

    /// Takes in how often the store was written by now, of which it was `told` before it asked;
    /// `Turned` where that cannot be.
    pub(super) fn believe(&self, is_ours: bool, told: u64, seq: i64) -> Outcome<()> {
        let seq = u64::try_from(seq).unwrap_or(0);
        if is_ours && seq >= told {
            self.told.fetch_max(seq, Ordering::Relaxed);
            return Ok(());
        }
        self.life.doubt();
        Err(Failure::Turned)
    }
}
