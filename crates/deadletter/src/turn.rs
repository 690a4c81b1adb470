//! A turn: the right to be the only one, over all processes, who does something that is named.
//!
//! It is a document of the store, held by a worker. It is free again when it is given back, when
//! its holder's worker is gone, or when its holder has been silent for too long. A redrive is named
//! in it before it begins and until it is over: whoever takes the turn over knows what its holder
//! had begun, wherever that one died.

use crate::{
    Desk, Error, RedriveOptions, Result,
    act::Act,
    document::{self, Updated},
    heartbeat,
    patience::may_pass,
    sweeper,
};
use deadletter_core::{AttemptToken, Filter, OperationId, UnixMs, WorkerId};
use serde::{Deserialize, Serialize};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// A turn is renewed this often, in real time.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// Without a sign of life it is free after this time, in real milliseconds: five renewals.
const SILENT_MS: f64 = 15_000.0;
/// Workers looked through for the holder of a turn: more than a machine runs in a day.
const WORKERS: u32 = 2_000;

/// Who has a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Tells apart two turns of one worker.
    token: String,
    worker: WorkerId,
    /// Who that is, for people.
    pub label: String,
    /// Since when.
    pub since: UnixMs,
    /// Without a sign of life it is free then.
    pub until: UnixMs,
    /// What it does just now, or what it took over and has not ended yet.
    pub operation: Option<OperationId>,
}

/// The document: who has the turn, if anybody.
type Seat = Option<Holder>;

/// A turn that is ours.
pub struct Turn {
    desk: Desk,
    key: String,
    token: String,
    /// Who had it before and did not give it back.
    pub left_by: Option<Holder>,
    /// Guards what the seat names: our redrive, or the one that was left to us.
    named: Mutex<Option<OperationId>>,
}

/// What came of asking for a turn.
pub enum TurnTaken {
    /// It is ours.
    Ours(Turn),
    /// Somebody has it.
    Theirs(Holder),
}

impl Desk {
    /// Asks for the turn to do what is named `name`; `label` says who asks, for people. It is to be
    /// kept by [`Turn::keep`], by a process that works: a desk alone is to be set to work at once.
    pub async fn take_turn(&self, name: &str, label: &str) -> Result<TurnTaken> {
        let key = format!("turn/{name}");
        let standing = document::read::<Seat>(self.store(), &key).await?;
        let gone = match standing.and_then(|(_, holder)| holder) {
            Some(holder) if !self.is_gone(&holder).await? => return Ok(TurnTaken::Theirs(holder)),
            gone => gone.map(|holder| holder.token),
        };
        // Only of a worker that is known can it be told that it is gone.
        let has_joined = heartbeat::join(&self.shared).await?;
        let token = AttemptToken::from_random(self.shared.random_u64()).to_string();
        let fresh = self.holder(&token, label);
        let taken = self
            .seat(&key, |seat| {
                let is_held =
                    seat.as_ref().is_some_and(|holder| gone.as_ref() != Some(&holder.token));
                if is_held {
                    return Err(seat.clone());
                }
                let operation = seat.as_ref().and_then(|gone| gone.operation.clone());
                Ok(seat.replace(Holder { operation, ..fresh.clone() }))
            })
            .await?;
        match taken.answer {
            Ok(left_by) => {
                self.shared.crash.pass("after_turn");
                let named = left_by.as_ref().and_then(|holder| holder.operation.clone());
                let named = Mutex::new(named);
                Ok(TurnTaken::Ours(Turn { desk: self.clone(), key, token, left_by, named }))
            }
            Err(holder) => {
                if has_joined {
                    heartbeat::part(&self.shared).await?;
                }
                Ok(TurnTaken::Theirs(holder.unwrap_or(fresh)))
            }
        }
    }

    fn holder(&self, token: &str, label: &str) -> Holder {
        let now = self.shared.now();
        Holder {
            token: token.to_owned(),
            worker: self.shared.worker(),
            label: label.to_owned(),
            since: now,
            until: now.plus(self.silent_ms()),
            operation: None,
        }
    }

    fn silent_ms(&self) -> i64 {
        (SILENT_MS * self.shared.clock.speed()) as i64
    }

    async fn is_gone(&self, holder: &Holder) -> Result<bool> {
        if holder.until <= self.shared.now() {
            return Ok(true);
        }
        sweeper::declare_dead(&self.shared).await?;
        let workers = self.store().workers(WORKERS).await?;
        let found = workers.into_iter().find(|worker| worker.id == holder.worker);
        Ok(found.is_some_and(|worker| worker.dead_at.is_some() || worker.left_at.is_some()))
    }

    async fn seat<T: Send>(
        &self,
        key: &str,
        act: impl Fn(&mut Seat) -> T + Send + Sync,
    ) -> Result<Updated<Seat, T>> {
        document::update(self.store(), key, &None, act).await
    }
}

impl Turn {
    /// Renews it for as long as it is ours; returns where somebody else has taken it. A store that
    /// is away for a moment is asked again until nobody would know us alive any more.
    pub async fn keep(&self) -> Result<()> {
        let mut renewals = tokio::time::interval(RENEW_EVERY);
        let mut free_at = self.desk.shared.now().plus(self.desk.silent_ms());
        loop {
            renewals.tick().await;
            let until = self.desk.shared.now().plus(self.desk.silent_ms());
            let worker = self.desk.shared.worker();
            let renewed = self.change(|holder| {
                holder.until = until;
                holder.worker = worker.clone();
            });
            match renewed.await {
                Ok(true) => free_at = until,
                Ok(false) => return Ok(()),
                Err(Error::Store(error))
                    if may_pass(&error) && self.desk.shared.now() < free_at =>
                {
                    self.desk.shared.health.store_could_not("renew the turn", &error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Begins a redrive of the dead letters that match now, as [`Desk::redrive`] does; none where
    /// somebody else has taken the turn.
    pub async fn redrive(
        &self,
        filter: &Filter,
        options: RedriveOptions,
    ) -> Result<Option<OperationId>> {
        let id = self.desk.new_operation(Act::Redrive, self.desk.shared.now());
        if !self.name(Some(&id)).await? {
            return Ok(None);
        }
        self.desk.shared.crash.pass("after_naming");
        self.desk.begin_redrive(&id, filter, options).await?;
        self.desk.shared.crash.pass("after_beginning");
        Ok(Some(id))
    }

    /// Stops what it names, if that is not over: `by` whom and `why` go to the audit log. What was
    /// redriven goes on, the rest stays dead.
    pub async fn end_redrive(&self, by: &str, why: Option<&str>) -> Result<()> {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(id) = named else { return Ok(()) };
        self.desk.stop_operation(&id, by, why).await?;
        self.name(None).await.map(drop)
    }

    /// Gives it back; what it names is to be ended before.
    pub async fn give_back(self) -> Result<()> {
        let given = self.desk.seat(&self.key, |seat| {
            if seat.as_ref().is_some_and(|holder| holder.token == self.token) {
                *seat = None;
            }
        });
        given.await.map(drop)
    }

    async fn name(&self, operation: Option<&OperationId>) -> Result<bool> {
        // Ours first: where the store's answer is lost, it may be named there all the same.
        *self.named.lock().unwrap_or_else(PoisonError::into_inner) = operation.cloned();
        self.change(|holder| holder.operation = operation.cloned()).await
    }

    /// False where somebody else has taken the turn.
    async fn change(&self, act: impl Fn(&mut Holder) + Send + Sync) -> Result<bool> {
        let changed = self.desk.seat(&self.key, |seat| match seat {
            Some(holder) if holder.token == self.token => {
                act(holder);
                true
            }
            _ => false,
        });
        Ok(changed.await?.answer)
    }
}
