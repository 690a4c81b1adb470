//! Slows down who tries keys: the more wrong keys an address has sent of late, the longer it waits
//! for its next refusal. Right keys of the same address are not slowed.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Wrong keys that cost nothing: a slip of the pen in a script that tries again.
const FREE: u32 = 5;
/// The first wait; it doubles with every wrong key.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait: below what clients bear, far above what guessing bears.
const LONGEST: Duration = Duration::from_secs(3);
/// An address that sends no wrong key for so long begins anew.
const FORGOTTEN: Duration = Duration::from_secs(300);
/// Addresses that are kept in mind. Where there are more, the oldest are forgotten.
const ADDRESSES: usize = 10_000;

/// Wrong keys of late, by address.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    /// Guards the counts; never held across an await.
    counts: Mutex<HashMap<IpAddr, (u32, Instant)>>,
}

impl Guesses {
    /// Counts a wrong key, and answers how long its refusal shall wait.
    pub(crate) fn wrong(&self, from: IpAddr) -> Duration {
        let now = Instant::now();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= ADDRESSES && !counts.contains_key(&from) {
            counts.retain(|_, (_, last)| now.duration_since(*last) < FORGOTTEN);
            let oldest = counts.iter().min_by_key(|(_, (_, last))| *last).map(|(ip, _)| *ip);
            if let Some(oldest) = oldest.filter(|_| counts.len() >= ADDRESSES) {
                counts.remove(&oldest);
            }
        }
        let (count, last) = counts.entry(from).or_insert((0, now));
        if now.duration_since(*last) >= FORGOTTEN {
            *count = 0;
        }
        *count = count.saturating_add(1);
        *last = now;
        match count.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(more) => FIRST.saturating_mul(1 << more.min(10)).min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_more_wrong_keys_the_longer_the_wait_and_peace_forgets() {
        let guesses = Guesses::default();
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let waits: Vec<_> = (0..12).map(|_| guesses.wrong(one).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 100, 200, 400, 800, 1600, 3000, 3000]);
        assert_eq!(guesses.wrong(other), Duration::ZERO);
        tokio::time::advance(FORGOTTEN).await;
        assert_eq!(guesses.wrong(one), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_cost_a_bounded_memory() {
        let guesses = Guesses::default();
        for n in 0..=u32::try_from(ADDRESSES).expect("small") {
            guesses.wrong(IpAddr::from(n.to_be_bytes()));
        }
        assert_eq!(guesses.counts.lock().expect("whole").len(), ADDRESSES);
    }
}
