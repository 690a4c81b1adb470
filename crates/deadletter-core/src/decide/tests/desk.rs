//! What people and operations want: redrive, resume, bury, exhume, cancel.

use super::*;

fn eligible(bench: &Bench) -> Eligibility {
    eligibility(&bench.task, &bench.attempts, &bench.policy, &bench.terms, bench.now)
}

/// A dead letter that died at once of this class.
fn dead_of(class: Class) -> Bench {
    let mut bench = Bench::submitting();
    bench.happens(&Happened::Refused(failure(class)));
    bench
}

#[test]
fn a_redrive_resumes_before_it_submits() {
    let mut bench = Bench::timed_out();
    assert_eq!(eligible(&bench), Eligibility::Resume);
    let attempt = bench.attempts[0].clone();
    bench.happens(&redriven(Some(&attempt), bench.now));
    assert_eq!(bench.task.state, State::Polling { upstream_id: upstream_id("u-1") });
    assert_eq!(
        (bench.task.counters.submits, bench.task.counters.attempts),
        (1, 1),
        "nothing spent"
    );
    assert_eq!(bench.task.attempt, Some(attempt.token));
    assert_eq!(bench.task.worker, None, "whoever asks first takes it");
    assert_eq!(bench.verdict(0), None);

    bench.happens(&Happened::Failed(failure(Class::Lost)));
    assert_eq!(bench.queued(), (0, Why::Retry), "lost on resume means submit");
    bench.claims();
}

#[test]
fn a_spent_task_can_still_be_resumed_but_not_submitted() {
    let mut bench = Bench::timed_out();
    bench.task.max_submits = 1;
    assert_eq!(eligible(&bench), Eligibility::Resume);
    bench.now = bench.now.plus(bench.terms.fresh_ms.expect("it expires"));
    assert_eq!(eligible(&bench), Eligibility::Spent);
    assert!(bench.decide(&redriven(None, bench.now), None).change.is_empty());
    let attempt = bench.attempts[0].clone();
    bench.happens(&redriven(Some(&attempt), bench.now));
    bench.happens(&Happened::Failed(failure(Class::Lost)));
    assert_eq!(bench.task.kind(), StateKind::Buried, "no submit is left");
}

#[test]
fn an_id_is_worth_asking_for_while_its_answer_can_be_of_use() {
    let bench = Bench::timed_out();
    let at = |terms: &Terms, ms| {
        resumable(&bench.attempts, &bench.policy, terms, THEN.plus(ms)).map(|attempt| attempt.n)
    };
    assert_eq!(at(&bench.terms, 119_999), Some(1));
    assert_eq!(at(&bench.terms, 120_000), None, "an answer would have expired");
    let lasting = Terms { fresh_ms: None, ..bench.terms };
    assert_eq!(at(&lasting, 24 * 3_600_000 - 1), Some(1));
    assert_eq!(at(&lasting, 24 * 3_600_000), None);
}

#[test]
fn the_newest_id_is_resumed_even_if_a_later_attempt_got_none() {
    let mut bench = Bench::polling();
    bench.time_out();
    while bench.claim() {
        bench.happens(&Happened::Unsent(failure(Class::Transient)));
    }
    assert_eq!(bench.task.kind(), StateKind::Dead);
    assert_eq!(eligible(&bench), Eligibility::Resume);
    let newest = resumable(&bench.attempts, &bench.policy, &bench.terms, bench.now);
    assert_eq!(newest.map(|attempt| attempt.n), Some(1));
}

#[test]
fn an_id_with_a_verdict_is_never_resumed() {
    for class in [Class::Lost, Class::Unsolvable, Class::Permanent] {
        let mut bench = Bench::polling();
        bench.task.round.allowance = 1;
        bench.happens(&Happened::Failed(failure(class)));
        assert_ne!(eligible(&bench), Eligibility::Resume, "{class}");
        let attempt = bench.attempts[0].clone();
        let forced = Happened::Redriven {
            resume: Some(Box::new(attempt)),
            due_at: bench.now,
            keep_deadline: false,
            force: true,
        };
        bench.happens(&forced);
        assert_eq!(bench.queued(), (0, Why::Redrive), "{class}: it is submitted instead");
    }
    let mut bench = Bench::timed_out();
    let stray = Attempt { task: other_task(), ..bench.attempts[0].clone() };
    bench.happens(&redriven(Some(&stray), bench.now));
    assert_eq!(bench.task.kind(), StateKind::Queued, "another task's id is never asked");
}

#[test]
fn eligibility_tells_what_a_redrive_would_do() {
    let cases = [
        (Class::Permanent, Eligibility::Hopeless),
        (Class::Stale, Eligibility::Hopeless),
        (Class::Unknown, Eligibility::Submit),
        (Class::Proxy, Eligibility::Submit),
    ];
    for (class, expected) in cases {
        let mut bench = dead_of(class);
        assert_eq!(eligible(&bench), expected, "{class}");
        let without_force = bench.decide(&redriven(None, bench.now), None).change.is_empty();
        assert_eq!(without_force, expected == Eligibility::Hopeless, "{class}");
        let due_at = bench.now.plus(30);
        bench.happens(&Happened::Redriven {
            resume: None,
            due_at,
            keep_deadline: false,
            force: true,
        });
        assert_eq!(bench.queued(), (30, Why::Redrive), "{class}");
    }
    for mut bench in [Bench::new(), Bench::submitting(), Bench::polling()] {
        assert_eq!(eligible(&bench), Eligibility::NotDead);
        let attempt = Bench::timed_out().attempts.remove(0);
        let change = bench.decide(&redriven(Some(&attempt), bench.now), None).change;
        assert!(change.is_empty(), "no attempt is opened for a task that is not dead");
        bench.happens(&Happened::Cancelled);
        assert_eq!(eligible(&bench), Eligibility::NotDead);
    }
}

#[test]
fn what_is_held_is_left_alone_by_every_redrive() {
    let mut bench = Bench::timed_out();
    let attempt = bench.attempts[0].clone();
    bench.task.hold = Some("masked".to_owned());
    assert_eq!(eligible(&bench), Eligibility::Held);
    for resume in [Some(&attempt), None] {
        assert!(bench.decide(&redriven(resume, bench.now), None).change.is_empty());
    }
    bench.task.hold = None;
    assert_eq!(eligible(&bench), Eligibility::Resume);
}

#[test]
fn a_redrive_grants_submits_within_k_and_begins_a_new_round() {
    let mut bench = Bench::new();
    bench.task.proxies = 2;
    for _ in 0..2 {
        bench.claims();
        bench.happens(&Happened::Refused(failure(Class::Proxy)));
    }
    let before = bench.task.counters;
    bench.happens(&redriven(None, bench.now));
    let counters = Counters { redrives: 1, ..before };
    assert_eq!(bench.task.counters, counters, "counters accumulate over redrives");
    assert_eq!(bench.task.round, Round { allowance: 4, ..Round::default() });

    let mut bench = dead_of(Class::Unknown);
    bench.policy.redrive_submits = u32::MAX;
    bench.happens(&redriven(None, bench.now));
    assert_eq!(bench.task.round.allowance, 7, "K is the limit of every grant");

    let mut bench = dead_of(Class::Unknown);
    bench.policy.redrive_submits = 0;
    bench.happens(&redriven(None, bench.now));
    bench.claims();
}

#[test]
fn a_redrive_drops_an_old_deadline_unless_told_otherwise() {
    for keep_deadline in [false, true] {
        let mut bench = dead_of(Class::Unknown);
        bench.task.deadline_at = Some(THEN.plus(1));
        let due_at = bench.now;
        bench.happens(&Happened::Redriven { resume: None, due_at, keep_deadline, force: false });
        assert_eq!(bench.task.deadline_at, keep_deadline.then(|| THEN.plus(1)));
    }
}

#[test]
fn only_a_dead_letter_is_buried_and_only_a_buried_one_exhumed() {
    let mut bench = dead_of(Class::Unknown);
    assert!(bench.decide(&Happened::Exhumed { more_submits: 1 }, None).change.is_empty());
    bench.happens(&Happened::Buried);
    assert_eq!(bench.task.state, State::Buried { reason: DeadReason::Unknown });
    assert!(bench.decide(&Happened::Buried, None).change.is_empty());
    assert!(bench.decide(&redriven(None, bench.now), None).change.is_empty(), "exhume it first");
    bench.happens(&Happened::Exhumed { more_submits: 2 });
    assert_eq!(bench.task.state, State::Dead { reason: DeadReason::Unknown });
    assert_eq!(bench.task.max_submits, 7, "K had room enough");
    for bench in [Bench::new(), Bench::submitting(), Bench::polling()] {
        assert!(bench.decide(&Happened::Buried, None).change.is_empty());
    }
}

#[test]
fn exhuming_raises_k_by_what_it_is_told() {
    let mut bench = Bench::with(|task| (task.round.allowance, task.max_submits) = (1, 1));
    bench.claims();
    bench.happens(&Happened::InDoubt(failure(Class::Transient)));
    assert_eq!(bench.task.kind(), StateKind::Buried);
    bench.happens(&Happened::Exhumed { more_submits: 3 });
    assert_eq!((bench.task.max_submits, eligible(&bench)), (4, Eligibility::Submit));
    bench.happens(&Happened::Buried);
    bench.happens(&Happened::Exhumed { more_submits: u32::MAX });
    assert_eq!(bench.task.max_submits, u32::MAX);
}

#[test]
fn an_owner_stops_a_task_wherever_it_is_unless_it_has_ended() {
    let cases = [
        (Bench::new(), None),
        (Bench::submitting(), Some(Verdict::InDoubt)),
        (Bench::polling(), Some(Verdict::TimedOut)),
        (Bench::timed_out(), Some(Verdict::TimedOut)),
    ];
    for (mut bench, verdict) in cases {
        bench.happens(&Happened::Cancelled);
        assert_eq!(bench.task.state, State::Cancelled);
        assert_eq!(bench.attempts.first().and_then(|attempt| attempt.verdict), verdict);
        assert!(bench.decide(&Happened::Cancelled, None).change.is_empty());
    }
    let mut bench = Bench::polling();
    bench.happens(&bench.answer(0));
    assert!(bench.decide(&Happened::Cancelled, None).change.is_empty(), "solved stays solved");
}

#[test]
fn what_waits_is_held_and_released_where_it_stands() {
    for mut bench in [Bench::new(), Bench::timed_out()] {
        let before = bench.task.clone();
        assert!(bench.decide(&Happened::Released, None).change.is_empty(), "nobody holds it");
        bench.happens(&Happened::Held);
        assert!(bench.task.is_held_by_hand());
        assert_eq!(bench.task.state, before.state);
        assert!(bench.decide(&Happened::Held, None).change.is_empty());
        bench.happens(&Happened::Released);
        let Task { version, updated_at, .. } = bench.task;
        assert_eq!(bench.task, Task { version, updated_at, ..before });
    }
    for bench in [Bench::submitting(), Bench::polling()] {
        assert!(bench.decide(&Happened::Held, None).change.is_empty(), "it is under way");
    }
}

#[test]
fn a_hold_that_says_what_must_be_mended_is_not_ended_by_hand() {
    let mut bench = Bench::timed_out();
    bench.task.hold = Some("masked".to_owned());
    for happened in [Happened::Held, Happened::Released] {
        assert!(bench.decide(&happened, None).change.is_empty());
    }
}
