//! What is forgiven to a worker that the store cannot hear, and for how long.

use super::SPEED;
use crate::check::Evidence;
use deadletter::core::UnixMs;
use std::collections::HashSet;

/// An id that was read is written down within a second of the wall.
const ON_ITS_WAY_MS: i64 = 1_000 * SPEED as i64;

/// A time in which the store could not hear of one gateway.
pub(super) struct Blind {
    pub(super) from: UnixMs,
    pub(super) until: UnixMs,
    /// Tokens of the attempts that this gateway had in hand when it was struck.
    pub(super) struck: HashSet<String>,
}

/// An id that a gateway was given while the store could not hear of it binds nobody before the end of
/// that time: its task was in doubt, and went on. It is written down late, and asked all the same. So is
/// one that it had read, and not written down yet, when it was struck: [`ON_ITS_WAY_MS`]. The other
/// gateway is forgiven nothing.
pub(super) fn forgive(evidence: &mut Evidence, blind: &[Blind]) {
    let attempts = evidence.ledger.tasks.values_mut().flat_map(|task| &mut task.attempts);
    for attempt in attempts {
        let Some(accepted_at) = &mut attempt.accepted_at else { continue };
        let is_meant = |it: &&Blind| {
            it.struck.contains(&attempt.token)
                && (it.from.plus(-ON_ITS_WAY_MS).0..it.until.0).contains(accepted_at)
        };
        if let Some(blind) = blind.iter().find(is_meant) {
            *accepted_at = blind.until.0;
        }
    }
}
