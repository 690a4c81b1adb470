//! What a server has lost, written down beside the store: for whoever looks after it, when the programs
//! that put it back are long gone.
//!
//! Each handle adds to the life that began with the loss (`lost:LIFE`, `back:LIFE`, `turned:LIFE`).

use super::{
    RedisStore, failure::Outcome, ledger::mark_of, life::Back, lines::Line, server::Server,
    turn::Turn,
};
use crate::{Ailment, Result};
use deadletter_core::UnixMs;
use redis::{Cmd, pipe};
use std::collections::HashMap;

/// So many lives' losses are kept: the last ones tell what is wrong.
const LIVES: u64 = 8;

impl Server {
    /// Writes down that this handle has lost so many changes, and what it has put back.
    pub(super) async fn write_down(
        &self,
        line: &Line,
        turn: &Turn,
        lost: u64,
        back: &Back,
    ) -> Outcome<()> {
        let (meta, life) = (self.keys.meta(), mark_of(&turn.epoch).1);
        let mut note = pipe();
        // Several handles write that at once: each number is one that was lost at least.
        note.hset(&meta, format!("lost:{life}"), lost);
        note.hset(&meta, format!("turned:{life}"), turn.began_at.0);
        note.hincr(&meta, format!("back:{life}"), back.back);
        if let Some(old) = life.checked_sub(LIVES) {
            let fields = ["lost", "turned", "back"].map(|it| format!("{it}:{old}"));
            note.hdel(&meta, fields.as_slice());
        }
        line.clone().ask(&note).await.map(drop)
    }
}

impl RedisStore {
    /// The losses that are written down, newest first.
    pub(super) async fn losses(&self) -> Result<Vec<Ailment>> {
        let about = self.look("look at the store's lives", |call| async move {
            call.ask_one::<HashMap<String, String>>(Cmd::hgetall(call.keys().meta())).await
        });
        Ok(read(&about.await?))
    }
}

fn read(about: &HashMap<String, String>) -> Vec<Ailment> {
    let number = |what: &str, life: &str| about.get(&format!("{what}:{life}"))?.parse::<u64>().ok();
    let lives = about.keys().filter_map(|field| field.strip_prefix("lost:"));
    let mut losses: Vec<(i64, Ailment)> = lives
        .filter_map(|life| {
            let at = UnixMs(i64::try_from(number("turned", life)?).ok()?);
            let put_back = number("back", life).unwrap_or(0);
            Some((at.0, Ailment::Lost { at, changes: number("lost", life)?, put_back }))
        })
        .collect();
    losses.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    losses.into_iter().map(|(_, loss)| loss).collect()
}
