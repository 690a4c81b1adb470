//! The server's time, as this process knows it.
//!
//! Leases and deaths are decided between processes on several machines, whose clocks may disagree.
//! All of them measure by the server's: each keeps the difference to its own, from a question at
//! opening and with every beat.

use crate::Clock;
use deadletter_core::UnixMs;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

/// A question that took longer says too little: others are declared dead by this clock, after a few
/// seconds of silence.
const SLOW_MS: i64 = 500;

/// A clock of this machine, set by the server's.
pub(crate) struct ServerClock {
    own: Arc<dyn Clock>,
    /// How far the server's wall clock is ahead of this machine's, in milliseconds of the wall.
    ahead_ms: AtomicI64,
    is_set: AtomicBool,
}

impl ServerClock {
    pub(crate) fn new(own: Arc<dyn Clock>) -> Self {
        Self { own, ahead_ms: AtomicI64::new(0), is_set: AtomicBool::new(false) }
    }

    /// The server showed `server` at some time between `asked` and `told` by this machine's wall
    /// clock: it is taken to be the middle. False where that was too long to go by: what is known
    /// already stays then.
    pub(crate) fn set(&self, server: UnixMs, asked: UnixMs, told: UnixMs) -> bool {
        let took_ms = told.since(asked);
        let is_close = (0..=SLOW_MS).contains(&took_ms);
        if is_close || !self.is_set.swap(true, Ordering::Relaxed) {
            self.is_set.store(true, Ordering::Relaxed);
            let middle = asked.plus(took_ms / 2);
            self.ahead_ms.store(server.since(middle), Ordering::Relaxed);
        }
        is_close
    }
}

impl Clock for ServerClock {
    fn now(&self) -> UnixMs {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed) as f64 * self.own.speed();
        self.own.now().plus(ahead_ms as i64)
    }

    fn wait_for(&self, ms: i64) -> Duration {
        self.own.wait_for(ms)
    }

    fn speed(&self) -> f64 {
        self.own.speed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    #[test]
    fn it_shows_the_servers_time_whatever_the_machine_shows() {
        let own = Arc::new(ManualClock::at(UnixMs(1_000)));
        let clock = ServerClock::new(own.clone());
        assert_eq!(clock.now(), UnixMs(1_000));
        // Asked at 900, told at 1,000: the server's 61,950 was when it was 950 here.
        clock.set(UnixMs(61_950), UnixMs(900), UnixMs(1_000));
        assert_eq!(clock.now(), UnixMs(62_000));
        own.advance(500);
        assert_eq!(clock.now(), UnixMs(62_500));
        clock.set(UnixMs(500), UnixMs(1_500), UnixMs(1_500));
        assert_eq!(clock.now(), UnixMs(500), "a server behind this machine");
        // An answer that was on its way for ten seconds says nothing of now.
        assert!(!clock.set(UnixMs(500), UnixMs(1_500), UnixMs(11_500)));
        assert_eq!(clock.now(), UnixMs(500), "what is known stays");
        let fresh = ServerClock::new(own);
        assert!(!fresh.set(UnixMs(70_000), UnixMs(500), UnixMs(2_500)));
        assert_eq!(fresh.now(), UnixMs(70_000), "better than nothing");
    }
}
