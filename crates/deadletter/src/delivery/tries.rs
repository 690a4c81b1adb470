//! How often something was told, and what came of it: counted in this process.

use crate::outbound::Handover;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What came of the tries of this process so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// The receiver took it.
    pub delivered: u64,
    /// It answered with another status than one of success.
    pub answered: u64,
    /// Nothing was sent: the address is not allowed.
    pub refused: u64,
    /// No answer came.
    pub failed: u64,
}

/// The same while it is counted.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    delivered: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

impl Counting {
    pub(crate) fn count(&self, came: &Handover) {
        let count = match came {
            Handover::Delivered { .. } => &self.delivered,
            Handover::Answered { .. } => &self.answered,
            Handover::Refused(_) => &self.refused,
            Handover::Failed { .. } => &self.failed,
        };
        count.fetch_add(1, Relaxed);
    }

    pub(crate) fn so_far(&self) -> Tries {
        Tries {
            delivered: self.delivered.load(Relaxed),
            answered: self.answered.load(Relaxed),
            refused: self.refused.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }
}
