//! Tasks on their way from one store to another: told how far they are, and ended by ctrl-C.

use crate::{app::App, fault::Result, shelf::fault, signals::Signals};
use deadletter::store::{Result as StoreResult, migrate::Phase};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The bar is drawn this often.
const TICK: Duration = Duration::from_millis(100);

/// Hears how many tasks are through a phase.
#[derive(Default)]
pub(super) struct Way {
    done: AtomicU64,
    is_comparing: AtomicBool,
}

impl Way {
    pub(super) fn hear(&self, phase: Phase, n: u64) {
        self.is_comparing.store(phase == Phase::Comparing, Relaxed);
        self.done.store(n, Relaxed);
    }
}

/// Waits for `moving`, which tells `way` how far it is with `total` tasks; none where it was
/// interrupted, and `after` says what that means.
pub(super) async fn watch<T>(
    app: &App,
    total: i64,
    way: &Way,
    moving: impl Future<Output = StoreResult<T>>,
    after: &str,
) -> Result<Option<T>> {
    let mut signals = Signals::listen()?;
    let as_size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let bar = app.out.bar(as_size(total.unsigned_abs()));
    let mut moving = std::pin::pin!(moving);
    let moved = loop {
        tokio::select! {
            moved = &mut moving => break moved,
            () = tokio::time::sleep(TICK) => {
                let words = if way.is_comparing.load(Relaxed) { "comparing" } else { "copying" };
                bar.draw(as_size(way.done.load(Relaxed)), words);
            }
            () = signals.next() => {
                bar.clear();
                app.out.say(&format!("interrupted: {after}"));
                return Ok(None);
            }
        }
    };
    bar.clear();
    moved.map(Some).map_err(fault)
}
