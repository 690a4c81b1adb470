//! Which places have as much under way as they may: one that hangs must not stop the others.

use deadletter_core::{Delivery, Settlement, UnixMs};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Deliveries under way at a time: each costs a socket, and at most the ten seconds of its time-out.
const AT_ONCE: usize = 16;
/// Of them to one place: four such places may be slow at a time before the next one waits.
const OF_ONE: u32 = 4;
/// To a place whose last try failed: enough to find out that it is back.
const OF_FAILING: u32 = 1;
/// Places that are known to fail; where there are more, all of them begin anew.
const FAILING: usize = 1_000;

/// What is under way in this process.
#[derive(Debug, Default)]
pub(super) struct Places {
    under_way: BTreeMap<String, Delivery>,
    of_each: HashMap<String, u32>,
    failing: BTreeSet<String>,
}

impl Places {
    pub(super) fn have_room(&self) -> bool {
        self.under_way.len() < AT_ONCE
    }

    /// Those that get no more for now.
    pub(super) fn busy(&self) -> Vec<String> {
        let has_its_share = |(place, n): &(&String, &u32)| {
            let share = if self.failing.contains(*place) { OF_FAILING } else { OF_ONE };
            **n >= share
        };
        self.of_each.iter().filter(has_its_share).map(|(place, _)| place.clone()).collect()
    }

    pub(super) fn begin(&mut self, delivery: &Delivery) {
        *self.of_each.entry(delivery.to.clone()).or_default() += 1;
        self.under_way.insert(delivery.id(), delivery.clone());
    }

    pub(super) fn end(&mut self, delivery: &Delivery, is_well: bool) {
        self.under_way.remove(&delivery.id());
        if let Some(n) = self.of_each.get_mut(&delivery.to) {
            *n -= 1;
            if *n == 0 {
                self.of_each.remove(&delivery.to);
            }
        }
        if is_well {
            self.failing.remove(&delivery.to);
        } else {
            if self.failing.len() >= FAILING {
                self.failing.clear();
            }
            self.failing.insert(delivery.to.clone());
        }
    }

    /// What is under way, as given back.
    pub(super) fn given_back(&self, now: UnixMs) -> Vec<Settlement> {
        let said = "the process stopped before an answer came";
        self.under_way.values().map(|delivery| delivery.given_back(said, now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter_core::{DeliveryState, StateKind, TaskId};

    fn to(place: &str, n: u64) -> Delivery {
        Delivery {
            task: TaskId::at(UnixMs(0), n),
            version: 2,
            to: place.to_owned(),
            ended: StateKind::Solved,
            cause: None,
            class: None,
            answered_by: None,
            made_at: UnixMs(0),
            state: DeliveryState::Waiting,
            due_at: Some(UnixMs(0)),
            tries: 1,
            settled_at: None,
            said: None,
        }
    }

    #[test]
    fn a_place_has_a_share_and_less_while_it_fails() {
        let mut places = Places::default();
        for n in 0..4 {
            assert!(places.busy().is_empty());
            places.begin(&to("a", n));
        }
        places.begin(&to("b", 9));
        assert_eq!(places.busy(), ["a"]);
        places.end(&to("a", 0), true);
        assert!(places.busy().is_empty());
        places.end(&to("a", 1), false);
        assert_eq!(places.busy(), ["a"], "one at a time until one goes well");
        places.end(&to("a", 2), false);
        places.end(&to("a", 3), true);
        assert!(places.busy().is_empty());
        assert_eq!(places.given_back(UnixMs(7)).len(), 1);
    }

    #[test]
    fn there_is_room_for_sixteen() {
        let mut places = Places::default();
        for n in 0..16 {
            assert!(places.have_room());
            places.begin(&to(&n.to_string(), n));
        }
        assert!(!places.have_room());
    }
}
