//! Makes waiting tasks claimable that are due (`ready.lua`).

use super::keys::Key;
use deadletter_core::UnixMs;
use redis::Cmd;

/// The script.
pub(super) const SCRIPT: &str = include_str!("ready.lua");

/// Tasks that one claim makes ready at most. After an outage, when more are due at once, the next
/// claims go on; until then priority holds among those that are ready.
const LIMIT: usize = 1_000;

/// The command that runs it. It is done in one piece, and done again it does nothing.
pub(super) fn command(sha: &str, waiting: &Key, ready: &Key, now: UnixMs) -> Cmd {
    let keys = &[waiting, ready];
    redis::cmd("EVALSHA").arg(sha).arg(keys.len()).arg(keys).arg(now.0).arg(LIMIT).take()
}
