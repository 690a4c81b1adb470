//! The question whether a server still has what it has told (`turn.lua`).

use super::{failure::Outcome, keys::Keys, lines::Line};
use deadletter_core::UnixMs;
use redis::Cmd;

/// The script.
pub(super) const SCRIPT: &str = include_str!("turn.lua");

/// How far numbers go on in another life: more than could be given and lost in between.
const GAP: u32 = 1_000_000;

/// How the store stands on the server that answers.
pub(super) struct Turn {
    /// The present life; empty where another store stands there.
    pub(super) epoch: String,
    pub(super) seq: u64,
    /// The last number of the life that was asked about, where that is over.
    pub(super) ended: u64,
    /// When the present life began; 0 for the first one.
    pub(super) began_at: UnixMs,
}

/// Asks, for a handle that knows the life `epoch` and was told the number `told` in it.
pub(super) async fn ask(
    line: &mut Line,
    keys: &Keys,
    epoch: &str,
    told: u64,
    now: UnixMs,
) -> Outcome<Turn> {
    let mut question = Cmd::new();
    question.arg("EVALSHA").arg(&line.scripts.turn).arg(2).arg(keys.meta()).arg(keys.living());
    question.arg(epoch).arg(&*line.run).arg(told).arg(now.0).arg(GAP);
    let (epoch, seq, ended, began_at) = line.ask_one(&question).await?;
    Ok(Turn { epoch, seq, ended, began_at: UnixMs(began_at) })
}
