//! The cases, by topic. Each is a plain function over a [`Harness`](crate::harness::Harness); its
//! name is the sentence that it proves.

pub(crate) mod claim;
pub(crate) mod commit;
pub(crate) mod facts;
pub(crate) mod idempotency;
pub(crate) mod insert;
pub(crate) mod permits;
