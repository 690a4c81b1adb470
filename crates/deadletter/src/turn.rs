//! A turn: the right to be the only one, over all processes, who does something that is named.
//!
//! It is a document of the store, held by a worker. It is free again when it is given back, when
//! its holder's worker is gone, or when its holder has been silent for too long.

use crate::{Desk, Result, document, document::Updated};
use deadletter_core::{AttemptToken, OperationId, UnixMs, WorkerId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A turn is renewed this often, in real time.
pub const RENEW_EVERY: Duration = Duration::from_secs(3);
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
    /// What it does just now.
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
    /// renewed every [`RENEW_EVERY`].
    pub async fn take_turn(&self, name: &str, label: &str) -> Result<TurnTaken> {
        let key = format!("turn/{name}");
        let standing = document::read::<Seat>(self.store(), &key).await?;
        let standing = standing.and_then(|(_, holder)| holder);
        let gone = match &standing {
            Some(holder) if self.is_gone(holder).await? => Some(holder.token.clone()),
            _ => None,
        };
        let token = AttemptToken::from_random(self.shared.random_u64()).to_string();
        let fresh = self.holder(&token, label);
        let taken = self
            .seat(&key, |seat| {
                let is_held =
                    seat.as_ref().is_some_and(|holder| gone.as_ref() != Some(&holder.token));
                if is_held {
                    return Err(seat.clone());
                }
                Ok(seat.replace(fresh.clone()))
            })
            .await?;
        Ok(match taken.answer {
            Ok(left_by) => TurnTaken::Ours(Turn { desk: self.clone(), key, token, left_by }),
            Err(holder) => TurnTaken::Theirs(holder.unwrap_or(fresh)),
        })
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
    /// A sign of life, with what is done just now; false where somebody else has taken the turn.
    pub async fn renew(&self, operation: Option<&OperationId>) -> Result<bool> {
        let until = self.desk.shared.now().plus(self.desk.silent_ms());
        let worker = self.desk.shared.worker();
        let renewed = self.desk.seat(&self.key, |seat| match seat {
            Some(holder) if holder.token == self.token => {
                holder.until = until;
                holder.worker = worker.clone();
                holder.operation = operation.cloned();
                true
            }
            _ => false,
        });
        Ok(renewed.await?.answer)
    }

    /// Gives it back.
    pub async fn give_back(self) -> Result<()> {
        let given = self.desk.seat(&self.key, |seat| {
            if seat.as_ref().is_some_and(|holder| holder.token == self.token) {
                *seat = None;
            }
        });
        given.await.map(drop)
    }
}
