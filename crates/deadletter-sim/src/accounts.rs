//! Keys, their threads, and the ban of addresses that send bad keys.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::scenario::{Key, WhenBusy};

/// Length of every real key; the format is checked before the key is looked up.
const KEY_LEN: usize = 32;
/// Addresses remembered; loopback has few, and the oldest ban matters least.
const MOST_ADDRESSES: usize = 1_024;

/// The open jobs of one key: the virtual instants at which their verdicts are ready, in order.
#[derive(Debug, Default)]
pub(crate) struct Account {
    ready_at_ms: Vec<i64>,
    is_valid: bool,
}

impl Account {
    /// Jobs that upstream works on or holds in its queue.
    pub(crate) fn open(&mut self, now_ms: i64) -> usize {
        let done = self.ready_at_ms.partition_point(|at| *at <= now_ms);
        self.ready_at_ms.drain(..done);
        self.ready_at_ms.len()
    }

    /// When a job that comes now can start, if it can.
    pub(crate) fn start_ms(&mut self, now_ms: i64, threads: usize, busy: WhenBusy) -> Option<i64> {
        let open = self.open(now_ms);
        if open < threads {
            return Some(now_ms);
        }
        // First in, first out: it starts when all but threads - 1 of the open ones are done.
        let gate = self.ready_at_ms.get(open - threads).copied();
        gate.filter(|_| busy == WhenBusy::Queue && threads > 0)
    }

    pub(crate) fn add(&mut self, ready_at_ms: i64) {
        let at = self.ready_at_ms.partition_point(|other| *other <= ready_at_ms);
        self.ready_at_ms.insert(at, ready_at_ms);
    }
}

/// All keys and the addresses that sent bad ones.
#[derive(Debug)]
pub(crate) struct Accounts {
    by_key: HashMap<String, Account>,
    offenders: HashMap<IpAddr, Offender>,
    bad_keys_before_ban: u32,
    ban_ms: i64,
}

#[derive(Debug, Default)]
struct Offender {
    bad_keys: u32,
    banned_until_ms: Option<i64>,
}

impl Accounts {
    pub(crate) fn new(keys: &[Key], bad_keys_before_ban: u32, ban_ms: u64) -> Self {
        let by_key = HashMap::new();
        let ban_ms = i64::try_from(ban_ms).unwrap_or(i64::MAX);
        let mut accounts = Self { by_key, offenders: HashMap::new(), bad_keys_before_ban, ban_ms };
        keys.iter().for_each(|key| accounts.add_key(key.text()));
        accounts
    }

    pub(crate) fn add_key(&mut self, key: &str) {
        self.by_key.entry(key.to_owned()).or_default().is_valid = true;
    }

    /// The key is refused from now on; its jobs go on unseen.
    pub(crate) fn remove_key(&mut self, key: &str) {
        if let Some(account) = self.by_key.get_mut(key) {
            account.is_valid = false;
        }
    }

    /// An account that exists, without any check of address or key.
    pub(crate) fn get(&mut self, key: &str) -> Option<&mut Account> {
        self.by_key.get_mut(key)
    }

    /// Open jobs of all keys.
    pub(crate) fn open(&mut self, now_ms: i64) -> usize {
        self.by_key.values_mut().map(|account| account.open(now_ms)).sum()
    }

    pub(crate) fn lift_bans(&mut self) {
        self.offenders.clear();
    }

    /// The account of a key, or the error code that upstream answers; bad keys are counted.
    pub(crate) fn enter(
        &mut self,
        key: &str,
        address: IpAddr,
        now_ms: i64,
    ) -> Result<&mut Account, &'static str> {
        if self.is_banned(address, now_ms) {
            return Err("IP_BANNED");
        }
        if !self.by_key.get(key).is_some_and(|account| account.is_valid) {
            self.count_bad_key(address, now_ms);
        }
        let is_well_formed = key.chars().count() == KEY_LEN;
        self.by_key.get_mut(key).filter(|account| account.is_valid).ok_or(if is_well_formed {
            "ERROR_KEY_DOES_NOT_EXIST"
        } else {
            "ERROR_WRONG_USER_KEY"
        })
    }

    fn is_banned(&mut self, address: IpAddr, now_ms: i64) -> bool {
        let until = self.offenders.get(&address).and_then(|offender| offender.banned_until_ms);
        if until.is_some_and(|until| now_ms >= until) {
            self.offenders.remove(&address);
            return false;
        }
        until.is_some()
    }

    fn count_bad_key(&mut self, address: IpAddr, now_ms: i64) {
        if self.offenders.len() >= MOST_ADDRESSES && !self.offenders.contains_key(&address) {
            tracing::warn!("too many addresses sent bad keys; their counts start anew");
            self.offenders.clear();
        }
        let offender = self.offenders.entry(address).or_default();
        offender.bad_keys += 1;
        if offender.bad_keys >= self.bad_keys_before_ban {
            offender.banned_until_ms = Some(now_ms.saturating_add(self.ban_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_over_the_threads_wait_for_the_first_that_ends() {
        let mut account = Account::default();
        account.add(100);
        account.add(50);
        assert_eq!(account.start_ms(0, 2, WhenBusy::NoSlot), None);
        assert_eq!(account.start_ms(0, 2, WhenBusy::Queue), Some(50));
        account.add(120);
        assert_eq!(account.start_ms(0, 2, WhenBusy::Queue), Some(100));
        assert_eq!(account.open(50), 2);
        assert_eq!(account.start_ms(100, 2, WhenBusy::NoSlot), Some(100));
    }

    #[test]
    fn without_threads_nothing_ever_starts() {
        assert_eq!(Account::default().start_ms(0, 0, WhenBusy::Queue), None);
    }
}
