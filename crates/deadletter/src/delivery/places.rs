//! Which places may have more under way: those that hang must not stop the ones that work.
//!
//! A place that took its last delivery has proven itself. All the others share half of the slots, one
//! each and in turns: however many of them hang, and whatever waits for them, a place that works
//! finds the other half free, and a new one is tried when the round comes to it.

use deadletter_core::{Came, Delivery, Settlement, UnixMs};
use deadletter_store::Among;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Deliveries under way at a time: each costs a socket, and at most the ten seconds of its time-out.
const AT_ONCE: usize = 16;
/// Of them to places that are not proven: half, so that those that are have as much.
const UNPROVEN: u32 = 8;
/// Of them to one proven place: two of these may begin to hang before a third one waits.
const OF_ONE: u32 = 4;
/// To one that is not: enough to find out that it works.
const OF_UNPROVEN: u32 = 1;
/// Places that are remembered as proven, and as tried in this round; where there are more, all of
/// them begin anew.
const REMEMBERED: usize = 1_000;

/// What is under way in this process, and what its places are known for.
#[derive(Debug, Default)]
pub(super) struct Places {
    under_way: BTreeMap<String, Delivery>,
    of_each: HashMap<String, u32>,
    proven: BTreeSet<String>,
    /// Those that were not proven when they had their turn in this round.
    had_turn: BTreeSet<String>,
}

impl Places {
    /// Those that may have one more now. None: no place may.
    pub(super) fn open(&self) -> Option<Among> {
        if self.under_way.len() >= AT_ONCE {
            return None;
        }
        if self.unproven_under_way() < UNPROVEN {
            let full = self.of_each.keys().filter(|place| self.is_full(place));
            let waits = self.had_turn.difference(&self.proven);
            let busy: BTreeSet<&String> = full.chain(waits).collect();
            return Some(Among::AllBut(busy.into_iter().cloned().collect()));
        }
        let free = self.proven.iter().filter(|place| !self.is_full(place));
        let free: Vec<String> = free.cloned().collect();
        (!free.is_empty()).then_some(Among::These(free))
    }

    /// Begins a new round, once nothing is due for whom this one has not come to. False where no
    /// place was waiting for that.
    pub(super) fn next_round(&mut self) -> bool {
        if self.under_way.len() >= AT_ONCE || self.unproven_under_way() >= UNPROVEN {
            return false;
        }
        let before = self.had_turn.len();
        let of_each = &self.of_each;
        self.had_turn.retain(|place| of_each.contains_key(place));
        self.had_turn.len() < before
    }

    fn is_full(&self, place: &str) -> bool {
        let share = if self.proven.contains(place) { OF_ONE } else { OF_UNPROVEN };
        self.of_each.get(place).is_some_and(|n| *n >= share)
    }

    fn unproven_under_way(&self) -> u32 {
        let unproven = self.of_each.iter().filter(|(place, _)| !self.proven.contains(*place));
        unproven.map(|(_, n)| n).sum()
    }

    pub(super) fn begin(&mut self, delivery: &Delivery) {
        *self.of_each.entry(delivery.place.clone()).or_default() += 1;
        self.under_way.insert(delivery.id(), delivery.clone());
        if !self.proven.contains(&delivery.place) {
            remember(&mut self.had_turn, &delivery.place);
        }
    }

    /// What came of it; none where nothing was sent.
    pub(super) fn end(&mut self, delivery: &Delivery, came: Option<Came>) {
        self.under_way.remove(&delivery.id());
        if let Some(n) = self.of_each.get_mut(&delivery.place) {
            *n -= 1;
            if *n == 0 {
                self.of_each.remove(&delivery.place);
            }
        }
        match came {
            Some(Came::Delivered) => remember(&mut self.proven, &delivery.place),
            Some(Came::Failed) => {
                self.proven.remove(&delivery.place);
            }
            // Nobody was asked, or it wants to hear no more of this one: that proves nothing.
            Some(Came::Over) | None => {}
        }
    }

    /// What is under way, as given back.
    pub(super) fn given_back(&self, now: UnixMs) -> Vec<Settlement> {
        let said = "the process stopped before an answer came";
        self.under_way.values().map(|delivery| delivery.given_back(said, now)).collect()
    }
}

fn remember(places: &mut BTreeSet<String>, place: &str) {
    if places.len() >= REMEMBERED && !places.contains(place) {
        places.clear();
    }
    places.insert(place.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadletter_core::{DeliveryState, StateKind, TaskId};

    fn to(place: &str, n: u64) -> Delivery {
        Delivery {
            task: TaskId::at(UnixMs(0), n),
            version: 2,
            place: place.to_owned(),
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

    fn busy(places: &Places) -> Vec<String> {
        match places.open().expect("room") {
            Among::AllBut(busy) => busy,
            Among::These(places) => panic!("only {places:?}"),
        }
    }

    fn prove(places: &mut Places, place: &str) {
        places.begin(&to(place, 99));
        places.end(&to(place, 99), Some(Came::Delivered));
    }

    #[test]
    fn a_place_has_one_until_it_works_and_four_as_long_as_it_does() {
        let mut places = Places::default();
        places.begin(&to("a", 0));
        assert_eq!(busy(&places), ["a"], "one at a time until one goes well");
        places.end(&to("a", 0), Some(Came::Delivered));
        for n in 0..4 {
            assert!(busy(&places).is_empty());
            places.begin(&to("a", n));
        }
        assert_eq!(busy(&places), ["a"]);
        places.end(&to("a", 0), None);
        assert!(busy(&places).is_empty());
        places.end(&to("a", 1), Some(Came::Failed));
        assert_eq!(busy(&places), ["a"], "it failed last");
        places.end(&to("a", 2), Some(Came::Delivered));
        assert!(busy(&places).is_empty());
        assert_eq!(places.given_back(UnixMs(7)).len(), 1);
    }

    #[test]
    fn half_of_the_slots_are_for_those_that_work() {
        let mut places = Places::default();
        for n in 0..8 {
            assert_eq!(busy(&places).len(), n as usize);
            places.begin(&to(&format!("new-{n}"), n));
        }
        assert_eq!(places.open(), None, "nobody is proven yet");
        places.end(&to("new-7", 7), Some(Came::Failed));
        for place in ["a", "b"] {
            prove(&mut places, place);
        }
        places.begin(&to("new-7", 7));
        for (n, place) in (10..).zip(["a", "a", "a", "a", "b", "b", "b", "b"]) {
            let Some(Among::These(free)) = places.open() else {
                panic!("room for those that work")
            };
            assert!(free.contains(&place.to_owned()), "{free:?}");
            places.begin(&to(place, n));
        }
        assert_eq!(places.open(), None, "sixteen are under way");
    }

    #[test]
    fn those_that_are_not_proven_have_turns() {
        let mut places = Places::default();
        for (n, place) in (0..).zip(["bad", "worse"]) {
            places.begin(&to(place, n));
            places.end(&to(place, n), Some(Came::Failed));
        }
        assert_eq!(busy(&places), ["bad", "worse"], "first the others");
        places.begin(&to("bad", 2));
        assert!(places.next_round());
        assert_eq!(busy(&places), ["bad"], "it is under way");
        assert!(!places.next_round());
        places.end(&to("bad", 2), Some(Came::Failed));
        assert!(places.next_round());
        assert!(busy(&places).is_empty());
    }

    #[test]
    fn what_is_remembered_of_places_has_a_limit() {
        let mut places = Places::default();
        for n in 0..3_000 {
            places.begin(&to(&n.to_string(), n));
            places.end(&to(&n.to_string(), n), Some(Came::Failed));
            prove(&mut places, &format!("good-{n}"));
            assert!(places.proven.len() <= REMEMBERED && places.had_turn.len() <= REMEMBERED);
        }
    }
}
