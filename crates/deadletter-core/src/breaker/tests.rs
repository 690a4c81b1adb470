//! Tests of the breaker: its story, told step by step.

use super::*;

pub(super) const START: UnixMs = UnixMs(1_800_000_000_000);
pub(super) const RULES: fn() -> BreakerRules = BreakerRules::default;

pub(super) fn opened() -> Breaker {
    let mut breaker = Breaker::new(START);
    for _ in 0..4 {
        assert_eq!(breaker.record(&RULES(), Outcome::Outage, 1, START), None);
    }
    let transition = breaker.record(&RULES(), Outcome::Outage, 1, START).unwrap();
    assert_eq!(transition.reason, Reason::Run { outages: 5 });
    assert_eq!((transition.from, transition.to), (Phase::Closed, Phase::Open));
    breaker
}

/// Lets the probe at `now` meet `outcome`.
pub(super) fn probed(breaker: &mut Breaker, outcome: Outcome, now: UnixMs) -> Option<Transition> {
    let grant = breaker.lease_probe(&RULES(), "w1", now).unwrap();
    breaker.finish_probe(&RULES(), &grant.probe, outcome, now)
}

#[test]
fn five_outages_in_a_row_open_it_for_ten_seconds() {
    let mut breaker = opened();
    assert_eq!(breaker.phase(START.plus(9_999)), Phase::Open);
    assert_eq!(breaker.retry_after_ms(START.plus(2_000)), Some(8_000));
    assert_eq!(breaker.lease_probe(&RULES(), "w1", START.plus(9_999)), None);
    assert_eq!(breaker.phase(START.plus(10_000)), Phase::HalfOpen);
}

#[test]
fn it_is_forced_while_what_a_person_made_of_it_stands() {
    let mut breaker = opened();
    assert!(!breaker.is_forced());
    breaker.trip("ada", "their maintenance", 60_000, START);
    assert!(breaker.is_forced());
    probed(&mut breaker, Outcome::Outage, START.plus(60_000));
    assert!(!breaker.is_forced(), "it is open of itself now");
    breaker.force(Forced::Closed, "ada", "they are back", START.plus(60_001));
    assert!(breaker.is_forced());
    breaker.reset("ada", "", START.plus(60_002));
    assert!(!breaker.is_forced());
}

#[test]
fn an_answer_ends_the_run() {
    let mut breaker = Breaker::new(START);
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(breaker.record(&RULES(), Outcome::Outage, 1, START), None);
        }
        assert_eq!(breaker.record(&RULES(), Outcome::Ok, 1, START), None);
    }
}

#[test]
fn half_of_at_least_twenty_in_the_window_open_it() {
    let mut breaker = Breaker::new(START);
    for i in 0..19 {
        let outcome = if i % 2 == 0 { Outcome::Ok } else { Outcome::Outage };
        assert_eq!(breaker.record(&RULES(), outcome, 1, START.plus(i)), None);
    }
    assert_eq!(breaker.seen(&RULES(), START), Seen { outcomes: 19, outages: 9, run: 0 });
    let mut later = breaker.clone();
    let transition = breaker.record(&RULES(), Outcome::Outage, 1, START).unwrap();
    assert_eq!(transition.reason, Reason::Share { outages: 10, outcomes: 20 });
    let after_window = START.plus(60_000);
    assert_eq!(later.record(&RULES(), Outcome::Outage, 1, after_window), None);
    assert_eq!(later.seen(&RULES(), after_window).outcomes, 1);
}

#[test]
fn one_probe_at_a_time_and_an_expired_lease_passes_on() {
    let mut breaker = opened();
    let now = START.plus(60_000);
    let first = breaker.lease_probe(&RULES(), "w1", now).unwrap();
    let transition = first.transition.unwrap();
    assert_eq!((transition.from, transition.to), (Phase::Open, Phase::HalfOpen));
    assert_eq!(breaker.lease_probe(&RULES(), "w2", now.plus(29_999)), None);
    assert_eq!(breaker.retry_after_ms(now), Some(30_000));
    let second = breaker.lease_probe(&RULES(), "w2", now.plus(30_000)).unwrap();
    assert_eq!(second.transition, None, "half-open is announced once");
    let late = breaker.finish_probe(&RULES(), &first.probe, Outcome::Ok, now.plus(30_001));
    assert_eq!(late, None, "the first holder has lost its lease");
    let closed = breaker.finish_probe(&RULES(), &second.probe, Outcome::Ok, now.plus(30_002));
    assert_eq!(closed.unwrap().to, Phase::Closed);
}

#[test]
fn a_late_probe_whose_lease_nobody_took_still_counts() {
    let mut breaker = opened();
    let grant = breaker.lease_probe(&RULES(), "w1", START.plus(60_000)).unwrap();
    let end = breaker.finish_probe(&RULES(), &grant.probe, Outcome::Ok, START.plus(200_000));
    assert_eq!(end.unwrap().reason, Reason::ProbeOk);
}

#[test]
fn a_released_probe_is_free_at_once_and_released_once() {
    let mut breaker = opened();
    let now = START.plus(60_000);
    let grant = breaker.lease_probe(&RULES(), "w1", now).unwrap();
    assert!(breaker.release_probe(&grant.probe));
    assert!(!breaker.release_probe(&grant.probe));
    assert_eq!(breaker.retry_after_ms(now), Some(0));
    assert!(breaker.lease_probe(&RULES(), "w2", now).is_some());
}

#[test]
fn more_than_one_answered_probe_can_be_asked_for() {
    let rules = BreakerRules { probe_successes: 2, ..RULES() };
    let mut breaker = opened();
    let now = START.plus(60_000);
    let grant = breaker.lease_probe(&rules, "w1", now).unwrap();
    assert_eq!(breaker.finish_probe(&rules, &grant.probe, Outcome::Ok, now), None);
    let grant = breaker.lease_probe(&rules, "w1", now).unwrap();
    let closed = breaker.finish_probe(&rules, &grant.probe, Outcome::Ok, now);
    assert_eq!(closed.unwrap().to, Phase::Closed);
}

#[test]
fn each_repetition_doubles_its_time_up_to_the_cap_until_it_was_quiet() {
    let (mut breaker, mut now) = (opened(), START);
    let mut waits = Vec::new();
    for _ in 0..6 {
        let wait_ms = breaker.retry_after_ms(now).unwrap();
        waits.push(wait_ms / 1_000);
        now = now.plus(wait_ms);
        assert_eq!(probed(&mut breaker, Outcome::Outage, now).unwrap().to, Phase::Open);
    }
    assert_eq!(waits, [10, 20, 40, 60, 60, 60]);

    now = now.plus(60_000);
    assert_eq!(probed(&mut breaker, Outcome::Ok, now).unwrap().to, Phase::Closed);
    for quiet_ms in [599_999, 600_000] {
        let (mut breaker, now) = (breaker.clone(), now.plus(quiet_ms));
        for _ in 0..5 {
            breaker.record(&RULES(), Outcome::Outage, breaker.generation(), now);
        }
        let expected_ms = if quiet_ms < RULES().quiet_ms { 60_000 } else { 10_000 };
        assert_eq!(breaker.retry_after_ms(now), Some(expected_ms));
    }
}

#[test]
fn outcomes_of_an_older_generation_are_ignored() {
    let mut breaker = opened();
    let now = START.plus(60_000);
    probed(&mut breaker, Outcome::Ok, now);
    for _ in 0..50 {
        assert_eq!(breaker.record(&RULES(), Outcome::Outage, 1, now), None);
    }
    let mut stale = WindowDelta::new(1);
    (0..50).for_each(|_| stale.record(&RULES(), Outcome::Outage, 1, now));
    assert_eq!(breaker.merge(&RULES(), &stale, now), None);
    assert_eq!(breaker.seen(&RULES(), now), Seen::default());
}

#[test]
fn an_answer_while_open_does_not_close_it() {
    let mut breaker = opened();
    let generation = breaker.generation();
    assert_eq!(breaker.record(&RULES(), Outcome::Ok, generation, START.plus(1)), None);
    assert_eq!(breaker.phase(START.plus(1)), Phase::Open);
}

#[test]
fn a_person_can_force_it_either_way_and_give_it_back() {
    let mut breaker = Breaker::new(START);
    let forced = breaker.force(Forced::Open, "ann", "maintenance", START).unwrap();
    assert_eq!(forced.reason.to_string(), "forced by ann: maintenance");
    let much_later = START.plus(86_400_000);
    assert_eq!(breaker.phase(much_later), Phase::Open);
    assert_eq!(breaker.retry_after_ms(much_later), None);
    assert_eq!(breaker.lease_probe(&RULES(), "w1", much_later), None);

    breaker.force(Forced::Closed, "bob", "it is fine", START).unwrap();
    for _ in 0..50 {
        let generation = breaker.generation();
        assert_eq!(breaker.record(&RULES(), Outcome::Outage, generation, START), None);
    }
    assert_eq!(breaker.order().map(|order| order.by.as_str()), Some("bob"));

    assert_eq!(breaker.reset("ann", "", START), None, "it let everything through before");
    assert_eq!(breaker.order(), None);
    breaker.force(Forced::Open, "ann", &"x".repeat(10_000), START).unwrap();
    assert_eq!(breaker.order().unwrap().why.len(), TEXT_MAX);
    assert_eq!(breaker.reset("ann", "", START).unwrap().to, Phase::Closed);
}

#[test]
fn tripped_for_a_time_it_probes_when_that_is_over_and_remembers_why() {
    let mut breaker = Breaker::new(START);
    assert_eq!(breaker.last(), None);
    let tripped = breaker.trip("ann", "maintenance", 600_000, START).unwrap();
    assert_eq!((tripped.from, tripped.to), (Phase::Closed, Phase::Open));
    assert_eq!(breaker.retry_after_ms(START.plus(1_000)), Some(599_000));
    assert_eq!(breaker.lease_probe(&RULES(), "w1", START.plus(599_999)), None);
    let over = START.plus(600_000);
    assert_eq!(breaker.phase(over), Phase::HalfOpen);
    assert_eq!(breaker.last().unwrap().reason.to_string(), "forced by ann: maintenance");
    assert_eq!(probed(&mut breaker, Outcome::Ok, over).unwrap().to, Phase::Closed);
    assert_eq!(breaker.last().unwrap(), &LastChange { reason: Reason::ProbeOk, at: over });
    breaker.reset("ann", "they are back", over);
    assert_eq!(breaker.last().unwrap().reason.to_string(), "reset by ann: they are back");
}

#[test]
fn a_run_across_two_reports_is_seen() {
    let mut breaker = Breaker::new(START);
    let report = |outcomes: &[Outcome]| {
        let mut delta = WindowDelta::new(1);
        outcomes.iter().for_each(|outcome| delta.record(&RULES(), *outcome, 1, START));
        delta
    };
    use Outcome::{Ok, Outage};
    let first = report(&[Outage, Ok, Outage, Outage, Outage]);
    assert_eq!(breaker.merge(&RULES(), &first, START), None);
    let transition = breaker.merge(&RULES(), &report(&[Outage, Outage, Ok]), START).unwrap();
    assert_eq!(transition.reason, Reason::Run { outages: 5 });

    let mut breaker = Breaker::new(START);
    let inner = report(&[Ok, Outage, Outage, Outage, Outage, Outage, Ok]);
    assert!(breaker.merge(&RULES(), &inner, START).is_some(), "it began and ended unseen");
}

#[test]
fn a_report_survives_the_wire_and_stays_small() {
    let mut delta = WindowDelta::new(1);
    for i in 0..10_000 {
        let outcome = if i % 3 == 0 { Outcome::Ok } else { Outcome::Outage };
        delta.record(&RULES(), outcome, 1, START.plus(i * 60));
    }
    let text = serde_json::to_string(&delta).unwrap();
    assert!(text.len() < 1_000, "{} characters: ten buckets are enough", text.len());
    assert_eq!(serde_json::from_str::<WindowDelta>(&text).unwrap(), delta);
}

#[test]
fn a_bucket_from_far_ahead_is_dropped() {
    let mut breaker = Breaker::new(START);
    let mut delta = WindowDelta::new(1);
    delta.record(&RULES(), Outcome::Ok, 1, START.plus(3_600_000));
    breaker.merge(&RULES(), &delta, START);
    assert_eq!(breaker.seen(&RULES(), START.plus(3_600_000)).outcomes, 0);
}

#[test]
fn it_survives_storage_in_every_phase() {
    let mut breaker = opened();
    let stored = |breaker: &Breaker| {
        let text = serde_json::to_string(breaker).unwrap();
        assert_eq!(&serde_json::from_str::<Breaker>(&text).unwrap(), breaker);
        text
    };
    stored(&breaker);
    breaker.lease_probe(&RULES(), "w1", START.plus(60_000));
    stored(&breaker);
    breaker.force(Forced::Open, "ann", "maintenance", START);
    assert!(stored(&breaker).contains(r#""state":"forced","phase":"open""#));
    breaker.reset("ann", "", START);
    breaker.record(&RULES(), Outcome::Outage, breaker.generation(), START);
    stored(&breaker);
    let bare = r#"{"generation":3,"standing":{"state":"open","until":7}}"#;
    assert_eq!(serde_json::from_str::<Breaker>(bare).unwrap().phase(UnixMs(6)), Phase::Open);
}
