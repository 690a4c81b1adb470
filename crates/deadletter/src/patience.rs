//! Makes a call of the store again while the store is away.

use crate::health::Health;
use deadletter_store::{Error, Result};
use std::time::Duration;

/// Waits between tries: from the first to the longest. Real time: nobody's clock is asked.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// A wait that doubles.
pub(crate) struct Patience(Duration);

impl Patience {
    pub(crate) const fn new() -> Self {
        Self(WAITS.0)
    }

    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(WAITS.1);
    }
}

/// True where the same call may be made again, if it may be made twice at all.
pub(crate) const fn may_pass(error: &Error) -> bool {
    error.is_retryable() || matches!(error, Error::InDoubt { .. })
}

/// What the store answers in the end; for calls that may be made twice.
pub(crate) async fn patiently<T, F>(health: &Health, call: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut patience = Patience::new();
    loop {
        match call().await {
            Err(error) if may_pass(&error) => {
                health.store_could_not("ask the store; asking again", &error);
                patience.wait().await;
            }
            outcome => return outcome,
        }
    }
}
