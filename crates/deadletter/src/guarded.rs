//! Runs a task's own step so that its panic does not take the process down.

use futures_util::FutureExt;
use std::{any::Any, panic::AssertUnwindSafe};

/// What `step` gave, or the message of its panic.
///
/// Nothing of the step is used after a panic, so a half-changed value cannot be seen.
pub(crate) async fn guarded<T>(step: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(step).catch_unwind().await.map_err(|panic| message(panic.as_ref()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
