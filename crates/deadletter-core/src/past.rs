//! What a task brings along that has lived in another store.

use crate::{Answer, Attempt, Delivery, Event, ItemState, OperationId};

/// What has become of a task in another store: all that a store keeps beside its row and request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// Its attempts, by number; open ones hold their permits here too.
    pub attempts: Vec<Attempt>,
    /// The first answer of each attempt that had one, by token.
    pub answers: Vec<Answer>,
    /// Its terminal changes, in their order.
    pub events: Vec<Event>,
    /// Whoever was to be told of its ends, newest first.
    pub deliveries: Vec<Delivery>,
    /// The operations that chose it: at which version, and what came of it.
    pub items: Vec<(OperationId, u64, ItemState)>,
}
