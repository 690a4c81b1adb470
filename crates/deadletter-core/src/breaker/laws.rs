//! The laws of the breaker, over random stories.

use super::{
    tests::{RULES, START, opened, probed},
    *,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Record { outage: bool, age: u64 },
    Wait(i64),
    Lease,
    Finish { which: usize, outage: bool },
    Release { which: usize },
    Force(bool),
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (any::<bool>(), 0_u64..2).prop_map(|(outage, age)| Step::Record { outage, age }),
        6 => (0_i64..40_000).prop_map(Step::Wait),
        6 => Just(Step::Lease),
        6 => (0_usize..4, any::<bool>()).prop_map(|(which, outage)| Step::Finish { which, outage }),
        2 => (0_usize..4).prop_map(|which| Step::Release { which }),
        1 => any::<bool>().prop_map(Step::Force),
        1 => Just(Step::Reset),
    ]
}

const fn outcome(outage: bool) -> Outcome {
    if outage { Outcome::Outage } else { Outcome::Ok }
}

/// The breaker, and what a bystander remembers of its story.
struct Story {
    rules: BreakerRules,
    breaker: Breaker,
    now: UnixMs,
    /// All leases ever granted in this generation that are not handed back.
    out: Vec<Probe>,
    /// Nothing may pass before this instant.
    shut_until: UnixMs,
}

impl Story {
    fn tell(&mut self, step: &Step) -> Option<Transition> {
        let (rules, now) = (self.rules, self.now);
        match step {
            Step::Record { outage, age } => {
                let generation = self.breaker.generation() - age;
                self.breaker.record(&rules, outcome(*outage), generation, now)
            }
            Step::Wait(ms) => {
                self.now = now.plus(*ms);
                None
            }
            Step::Lease => {
                let grant = self.breaker.lease_probe(&rules, "w", now)?;
                self.out.push(grant.probe);
                grant.transition
            }
            Step::Finish { which, outage } => {
                let lease = self.out.get(*which)?.clone();
                self.out.retain(|probe| *probe != lease);
                self.breaker.finish_probe(&rules, &lease, outcome(*outage), now)
            }
            Step::Release { which } => {
                let lease = self.out.get(*which)?.clone();
                self.out.retain(|probe| *probe != lease);
                self.breaker.release_probe(&lease);
                None
            }
            Step::Force(open) => {
                let phase = if *open { Forced::Open } else { Forced::Closed };
                self.breaker.force(phase, "ann", "why", now)
            }
            Step::Reset => self.breaker.reset("ann", "", now),
        }
    }
}

proptest! {
    #[test]
    fn its_laws_hold_in_every_story(
        probe_successes in 1_u32..3, steps in proptest::collection::vec(step(), 0..200),
    ) {
        let rules = BreakerRules { probe_successes, min_volume: 8, run: 3, ..RULES() };
        let (breaker, now, out) = (Breaker::new(START), START, Vec::new());
        let mut story = Story { rules, breaker, now, out, shut_until: START };
        for step in steps {
            let (generation, phase) = (story.breaker.generation(), story.breaker.phase(story.now));
            let transition = story.tell(&step);
            let (now, after) = (story.now, story.breaker.phase(story.now));

            prop_assert!(story.breaker.generation() >= generation, "a generation never returns");
            if let Some(transition) = &transition {
                prop_assert!(transition.from != transition.to);
                prop_assert_eq!(transition.to, after);
                prop_assert_eq!(transition.generation, story.breaker.generation());
            } else if !matches!(step, Step::Wait(_)) {
                prop_assert_eq!(after, phase, "a phase never changes unannounced");
            }
            if story.breaker.generation() != generation {
                story.out.clear();
                story.shut_until = START;
                if after == Phase::Open && story.breaker.order().is_none() {
                    story.shut_until = now.plus(rules.open_ms);
                }
            }
            let live = story.out.iter().filter(|probe| now < probe.until).count();
            prop_assert!(live <= 1, "{} probes at once", live);
            if now < story.shut_until {
                prop_assert_eq!(after, Phase::Open);
                prop_assert!(story.breaker.clone().lease_probe(&rules, "x", now).is_none());
                prop_assert!(story.breaker.retry_after_ms(now) >= Some(story.shut_until.since(now)));
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_wait_for_longer_than_it_was_to(
        trip_ms in proptest::option::of(0_i64..200_000_000),
        openings in 1_u32..8, leases in any::<bool>(), back_ms in 0_i64..400_000_000,
    ) {
        let (mut breaker, mut now) = (opened(), START);
        for _ in 1..openings {
            now = now.plus(breaker.retry_after_ms(now).expect("it is open"));
            probed(&mut breaker, Outcome::Outage, now);
        }
        if let Some(for_ms) = trip_ms {
            breaker.trip("ada", "their maintenance", for_ms, now);
        }
        let asked_ms = breaker.retry_after_ms(now).expect("it is open");
        let mut kept = breaker.clone();
        kept.bound_waits(&RULES(), now);
        prop_assert_eq!(&kept, &breaker, "nothing was set back");
        if leases {
            now = now.plus(asked_ms);
            breaker.lease_probe(&RULES(), "w1", now).expect("it is half-open");
        }
        let now = now.plus(-back_ms);
        breaker.bound_waits(&RULES(), now);
        let waits_ms = breaker.retry_after_ms(now).expect("it is open");
        prop_assert!(waits_ms <= asked_ms.max(RULES().probe_lease_ms), "{waits_ms} of {asked_ms}");
        prop_assert!(breaker.last().is_some_and(|last| last.at <= now));
        // Each later look finds it nearer.
        let later = now.plus(waits_ms / 2);
        breaker.bound_waits(&RULES(), later);
        prop_assert_eq!(breaker.retry_after_ms(later), Some(waits_ms - waits_ms / 2));
        let over = now.plus(waits_ms);
        prop_assert_eq!(breaker.phase(over), Phase::HalfOpen);
        prop_assert!(breaker.lease_probe(&RULES(), "w2", over).is_some());
    }

    #[test]
    fn reports_add_up_to_the_same_as_recording_directly(
        outcomes in proptest::collection::vec((any::<bool>(), 0_i64..9_000), 0..60),
        cut in 1_usize..10,
    ) {
        // Without a verdict in between, which would end the counting at another outcome.
        let rules = BreakerRules { run: 1_000, min_volume: 1_000, ..RULES() };
        let (mut direct, mut reported) = (Breaker::new(START), Breaker::new(START));
        let mut now = START;
        for part in outcomes.chunks(cut) {
            let mut delta = WindowDelta::new(1);
            for (outage, wait_ms) in part {
                now = now.plus(*wait_ms);
                direct.record(&rules, outcome(*outage), 1, now);
                delta.record(&rules, outcome(*outage), 1, now);
            }
            reported.merge(&rules, &delta, now);
            prop_assert_eq!(&direct, &reported);
        }
    }

    #[test]
    fn a_report_opens_it_whenever_the_run_in_it_would_have(
        outcomes in proptest::collection::vec(any::<bool>(), 0..60), cut in 1_usize..10,
    ) {
        let rules = BreakerRules { min_volume: 1_000, ..RULES() };
        let (mut direct, mut reported) = (Breaker::new(START), Breaker::new(START));
        for part in outcomes.chunks(cut) {
            let mut delta = WindowDelta::new(1);
            for outage in part {
                direct.record(&rules, outcome(*outage), 1, START);
                delta.record(&rules, outcome(*outage), 1, START);
            }
            reported.merge(&rules, &delta, START);
            prop_assert_eq!(direct.phase(START), reported.phase(START));
        }
    }
}
