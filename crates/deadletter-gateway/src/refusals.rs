//! Refusals for want of room are told one after another, and not at once: who submits again as fast as
//! he is refused costs others nothing then.
//!
//! ```text
//! refused ──▶ the next turn, a millisecond behind the one before ──▶ told
//!             not before a twentieth of a second, not after two seconds; at once where it stops
//! ```
//!
//! What waits holds its connection and nothing else: connections are bounded, and so is what waits.
//! A client that means well waits for five seconds anyway before it tries again.

use crate::server::told;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// The shortest wait: a connection is refused twenty times a second at most.
const SHORTEST: Duration = Duration::from_millis(50);
/// Between two turns, so that all connections together are refused a thousand times a second: a tick of
/// the timer, which would let more go in one burst otherwise.
const GAP: Duration = Duration::from_millis(1);
/// The longest wait, where thousands of connections are refused: clients give up after five seconds.
const LONGEST: Duration = Duration::from_secs(2);

/// Whose turn it is, and who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Guards the turn that was given last; never held across an await.
    last: Mutex<Option<Instant>>,
    waiting: AtomicU64,
}

/// One that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicU64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Refusals {
    /// Waits for the turn of one refusal, or for the word to stop. It may be dropped.
    pub(crate) async fn turn(&self, mut stopping: watch::Receiver<bool>) {
        self.waiting.fetch_add(1, Relaxed);
        let _waiting = Waiting(&self.waiting);
        tokio::select! {
            () = sleep_until(self.next(Instant::now())) => {}
            () = told(&mut stopping) => {}
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    fn next(&self, now: Instant) -> Instant {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = last.map_or(now, |last| last + GAP);
        let turn = behind.clamp(now + SHORTEST, now + LONGEST);
        *last = Some(turn);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::{task::JoinSet, time::timeout};

    /// When each of so many refusals is told that come at once, in milliseconds from then.
    async fn waits(refusals: &Arc<Refusals>, count: usize) -> Vec<u128> {
        let (begun, mut all) = (Instant::now(), JoinSet::new());
        let (_stop, stopping) = watch::channel(false);
        for _ in 0..count {
            let (refusals, stopping) = (Arc::clone(refusals), stopping.clone());
            all.spawn(async move {
                refusals.turn(stopping).await;
                begun.elapsed().as_millis()
            });
        }
        let mut waits = all.join_all().await;
        waits.sort_unstable();
        waits
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_told_after_a_moment_and_many_one_after_another() {
        let refusals = Arc::default();
        assert_eq!(waits(&refusals, 1).await, [50]);
        assert_eq!(waits(&refusals, 1).await, [50], "nobody was before it");
        assert_eq!(waits(&refusals, 4).await, [50, 51, 52, 53]);
    }

    #[tokio::test(start_paused = true)]
    async fn none_waits_longer_than_clients_bear_however_many_there_are() {
        let refusals = Arc::default();
        let waits = waits(&refusals, 4_000).await;
        let some = [0, 1_000, 1_949, 1_950, 3_999].map(|n| waits[n]);
        assert_eq!(some, [50, 1_050, 1_999, 2_000, 2_000]);
        assert_eq!(refusals.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_refuses_and_tries_again_over_and_over_is_refused_a_thousand_times_a_second() {
        let refusals: Arc<Refusals> = Arc::default();
        let (begun, mut all) = (Instant::now(), JoinSet::new());
        let (_stop, stopping) = watch::channel(false);
        for _ in 0..64 {
            let (refusals, stopping) = (Arc::clone(&refusals), stopping.clone());
            all.spawn(async move {
                let mut count = 0_u64;
                while begun.elapsed() < Duration::from_secs(10) {
                    refusals.turn(stopping.clone()).await;
                    count += 1;
                }
                count
            });
        }
        let count: u64 = all.join_all().await.into_iter().sum();
        assert!((9_900..=10_100).contains(&count), "{count}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_hangs_up_waits_no_more() {
        let (refusals, (_stop, stopping)) = (Refusals::default(), watch::channel(false));
        let hung_up = timeout(Duration::from_millis(10), refusals.turn(stopping)).await;
        assert!(hung_up.is_err());
        assert_eq!(refusals.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_stops_refuses_at_once() {
        let (refusals, (stop, stopping)) = (Refusals::default(), watch::channel(false));
        let begun = Instant::now();
        tokio::join!(refusals.turn(stopping), async { stop.send_replace(true) });
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
