//! How many answers expired unused, which is before they were asked for, since the gateway began.

use crate::gateway::Gateway;
use deadletter::core::{
    UnixMs,
    counts::{Dim, TALLY_MS, Tally, expired_unused},
};
use std::sync::{Mutex, PoisonError};

/// Rows of counts that are added up at a time: a day of a busy gateway that nobody has asked.
const ROWS: u32 = 100_000;
/// A minute is added up so long after its end, by the wall: what was told in it is noted a quarter of
/// a second later, where the store is not slow, and what is added up already takes nothing back.
const LATE_MS: f64 = 3_000.0;

/// What has been added up so far.
#[derive(Debug)]
pub(crate) struct Unused {
    /// Guards the sum and the minute up to which it goes; never held across an await.
    so_far: Mutex<(UnixMs, u64)>,
}

impl Unused {
    /// From `now` on.
    pub(crate) const fn since(now: UnixMs) -> Self {
        Self { so_far: Mutex::new((minute(now), 0)) }
    }

    fn read(&self) -> (UnixMs, u64) {
        *self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sum of the minutes that are over and will not change; none where the store does not tell.
    pub(crate) async fn count(&self, gateway: &Gateway) -> Option<u64> {
        let (from, sum) = self.read();
        let clock = gateway.store().clock();
        let closed = closed(clock.now(), clock.speed());
        let tallies = gateway.store().tallies(Dim::All, from, ROWS).await.ok()?;
        let until = read_until(&tallies, ROWS, from).min(closed);
        let sum = sum + expired_unused(&tallies, from, until);
        let mut so_far = self.so_far.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody who asked at the same time may have been faster.
        if so_far.0 == from && until > from {
            *so_far = (until, sum);
        }
        Some(sum)
    }
}

/// The minute before which nothing changes any more.
fn closed(now: UnixMs, speed: f64) -> UnixMs {
    minute(now.plus(-(LATE_MS * speed) as i64))
}

/// The minute before which everything was read: on a full page the last one may go on behind it, and
/// is left to the next question.
fn read_until(tallies: &[(Tally, i64)], rows: u32, from: UnixMs) -> UnixMs {
    match tallies.last() {
        Some((last, _)) if tallies.len() >= rows as usize => {
            // One minute that fills a page by itself is not waited for again and again.
            if last.minute > from { last.minute } else { from.plus(TALLY_MS) }
        }
        _ => UnixMs(i64::MAX),
    }
}

const fn minute(at: UnixMs) -> UnixMs {
    UnixMs(at.0 - at.0.rem_euclid(TALLY_MS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter::core::counts::Tallied;

    const FROM: UnixMs = UnixMs(60_000);

    fn rows(minutes: &[i64]) -> Vec<(Tally, i64)> {
        let tally = |n: &i64| Tally {
            minute: FROM.plus(n * TALLY_MS),
            tallied: Tallied::Unused,
            cause: None,
            dim: Dim::All,
            value: String::new(),
        };
        minutes.iter().map(|n| (tally(n), 1)).collect()
    }

    #[test]
    fn a_minute_is_added_up_when_what_was_told_in_it_is_noted() {
        let over = FROM.plus(TALLY_MS);
        let added = |now, speed| expired_unused(&rows(&[0]), FROM, closed(now, speed));
        assert_eq!(added(over.plus(2_999), 1.0), 0);
        assert_eq!(added(over.plus(3_000), 1.0), 1);
        assert_eq!(added(over.plus(3_000), 10.0), 0, "the wall is slower than this clock");
        assert_eq!(added(over.plus(30_000), 10.0), 1);
    }

    #[test]
    fn behind_a_full_page_the_last_minute_is_read_again() {
        let until = |minutes: &[i64]| read_until(&rows(minutes), 3, FROM);
        assert_eq!(until(&[0, 1]), UnixMs(i64::MAX), "nothing is left");
        assert_eq!(until(&[0, 1, 2]), FROM.plus(2 * TALLY_MS));
        assert_eq!(until(&[0, 0, 0]), FROM.plus(TALLY_MS), "it goes on all the same");
        assert_eq!(expired_unused(&rows(&[0, 1, 2]), FROM, until(&[0, 1, 2])), 2);
    }
}
