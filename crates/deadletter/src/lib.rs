//! Durable submit-then-poll tasks: retries by the meaning of the error, a circuit breaker, a
//! dead-letter queue with its whole history, and the way back.

pub mod provider;

pub use deadletter_core as core;
pub use deadletter_store as store;
