//! What is forgiven to a gateway that the store cannot hear.

use crate::check::Evidence;
use std::collections::HashSet;

/// An id that a gateway is given while the store cannot hear of it binds nobody: its task was in doubt,
/// and went on. It is written down when the gateway is heard again, and asked all the same.
///
/// `unheard` are tokens of the attempts that had no id in the store when their gateway was declared dead:
/// nobody can say by the clocks of two processes who was told of one before he submitted. The other
/// gateways are forgiven nothing.
pub(super) fn forgive(evidence: &mut Evidence, unheard: &HashSet<String>) {
    let attempts = evidence.ledger.tasks.values_mut().flat_map(|task| &mut task.attempts);
    for attempt in attempts.filter(|attempt| unheard.contains(&attempt.token)) {
        attempt.accepted_at = None;
    }
}
