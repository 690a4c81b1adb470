//! The cases, by topic. Each is a plain function over a [`Harness`](crate::harness::Harness); its
//! name is the sentence that it proves.

pub(crate) mod audit;
pub(crate) mod claim;
pub(crate) mod commit;
pub(crate) mod conservation;
pub(crate) mod counts;
pub(crate) mod deliveries;
pub(crate) mod documents;
pub(crate) mod events;
pub(crate) mod facts;
pub(crate) mod handles;
pub(crate) mod idempotency;
pub(crate) mod insert;
pub(crate) mod operations;
pub(crate) mod pages;
pub(crate) mod permits;
pub(crate) mod purge;
pub(crate) mod readings;
pub(crate) mod reopen;
pub(crate) mod take_over;
pub(crate) mod workers;
