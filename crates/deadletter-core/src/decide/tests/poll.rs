//! What follows from asking: every row of the class table, time-outs and late answers.

use super::{
    submit::{signal, why},
    *,
};

/// One cell: class, what the task comes to, failures, verdict on the attempt, account.
type Cell = (Class, &'static str, u32, Option<Verdict>, &'static str);

/// The class table's column "on poll", for a first attempt with two proxies.
const FAILED: [Cell; 9] = [
    (Class::Capacity, "polled on", 0, None, "full"),
    (Class::Transient, "polled on", 0, None, "outage"),
    (Class::Unsolvable, "retry", 1, Some(Verdict::Failed), "healthy"),
    (Class::Permanent, "permanent", 0, Some(Verdict::Failed), "healthy"),
    (Class::Proxy, "retry", 1, Some(Verdict::Failed), "healthy"),
    (Class::Account, "polled on", 0, None, "stop"),
    (Class::Lost, "retry", 1, Some(Verdict::Lost), "healthy"),
    (Class::Stale, "stale_input", 0, Some(Verdict::Failed), "healthy"),
    (Class::Unknown, "unknown", 0, Some(Verdict::Failed), "healthy"),
];

#[test]
fn each_class_of_failure_leads_where_the_table_says() {
    assert!(FAILED.iter().map(|cell| cell.0).eq(Class::ALL.iter().copied()));
    for (class, outcome, failures, verdict, account) in FAILED {
        let mut bench = Bench::with(|task| task.proxies = 2);
        bench.claims();
        bench.accept();
        let before = bench.task.clone();
        let decision = bench.happens(&Happened::Failed(failure(class)));
        assert_eq!(signal(&decision.account), account, "{class}");
        assert_eq!(bench.verdict(0), verdict, "{class}");
        assert_eq!(bench.task.counters.failures, failures, "{class}");
        if outcome == "polled on" {
            assert_eq!(bench.task, before, "{class}: a paid id is polled until its verdict");
            assert!(decision.change.is_empty(), "{class}");
        } else {
            assert_eq!(why(&bench.task), outcome, "{class}");
            assert_eq!(bench.task.class, Some(class));
            assert!(!bench.attempts[0].permit, "{class}: the thread is free");
        }
        if outcome == "retry" {
            assert_eq!(bench.queued().0, 0, "{class}: again at once");
        }
    }
}

#[test]
fn silence_and_noise_never_submit() {
    let mut bench = Bench::polling();
    bench.now = bench.now.plus(10 * bench.terms.timeout_ms);
    let unread = bench.decide(&Happened::Unread(failure(Class::Transient)), None);
    assert!(unread.change.is_empty());
    assert_eq!(unread.account, AccountSignal::Outage);
    let before = Happened::NotReady { elapsed_ms: bench.terms.timeout_ms - 1 };
    let early = bench.decide(&before, None);
    assert!(early.change.is_empty(), "the attempt's own time counts, not the clock's");
    assert_eq!(early.account, AccountSignal::Healthy);
}

#[test]
fn a_readable_not_ready_past_the_time_out_abandons_the_id() {
    let mut bench = Bench::polling();
    let decision = bench.time_out();
    assert_eq!(bench.stands(), (StateKind::Queued, [1, 1, 0]));
    assert_eq!(bench.queued(), (500, Why::Retry));
    assert_eq!(decision.account, AccountSignal::Healthy, "upstream is up, only slow");
    assert_eq!(bench.task.cause.as_ref().map(crate::Cause::as_str), Some("TIMEOUT"));
    let attempt = &bench.attempts[0];
    assert_eq!(attempt.verdict, Some(Verdict::TimedOut));
    assert!(attempt.is_open() && attempt.permit, "it is polled on, and holds its thread");
    assert_eq!(attempt.permit_until, Some(bench.now.plus(bench.terms.hold_ms)));
}

#[test]
fn unsolvable_is_submitted_twice_more_and_not_again() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.claims();
        bench.accept();
        bench.happens(&Happened::Failed(failure(Class::Unsolvable)));
    }
    assert!(!bench.claim());
    assert_eq!(bench.task.state, State::Dead { reason: DeadReason::AttemptsExhausted });
    assert_eq!(bench.task.counters.submits, 3, "one of the four that the round allows is left");
}

#[test]
fn a_lost_id_is_submitted_once_more() {
    let mut bench = Bench::polling();
    bench.happens(&Happened::Failed(failure(Class::Lost)));
    bench.claims();
    bench.accept();
    bench.happens(&Happened::Failed(failure(Class::Lost)));
    assert_eq!(bench.task.state, State::Dead { reason: DeadReason::UpstreamLost });
}

#[test]
fn the_failure_of_the_last_submit_buries_whatever_it_was() {
    for class in [Class::Unsolvable, Class::Permanent, Class::Lost, Class::Stale, Class::Unknown] {
        let mut bench = Bench::with(|task| (task.round.allowance, task.max_submits) = (1, 1));
        bench.claims();
        bench.accept();
        bench.happens(&Happened::Failed(failure(class)));
        assert_eq!(bench.task.kind(), StateKind::Buried, "{class}");
    }
}

#[test]
fn an_answer_solves_and_frees_the_thread() {
    let mut bench = Bench::polling();
    let decision = bench.happens(&bench.answer(0));
    assert_eq!(bench.task.state, State::Solved);
    assert_eq!(bench.task.answered_by, Some(bench.attempts[0].token));
    assert_eq!((bench.verdict(0), bench.attempts[0].permit), (Some(Verdict::Solved), false));
    assert_eq!(decision.account, AccountSignal::Healthy);
    let event = decision.change.row.expect("written").event().expect("terminal");
    assert_eq!((event.state, event.answered_by), (StateKind::Solved, bench.task.answered_by));
}

/// A task whose first attempt was abandoned, in the state that `go` brings it to.
fn abandoned(go: impl FnOnce(&mut Bench)) -> Bench {
    let mut bench = Bench::polling();
    bench.time_out();
    go(&mut bench);
    bench
}

fn dies(bench: &mut Bench) {
    bench.claims();
    bench.happens(&Happened::Refused(failure(Class::Permanent)));
}

#[test]
fn a_late_answer_wins_in_every_unsolved_state_but_cancelled() {
    let states = [
        (StateKind::Queued, abandoned(|_| ())),
        (StateKind::Submitting, abandoned(Bench::claims)),
        (
            StateKind::Polling,
            abandoned(|bench| {
                bench.claims();
                bench.accept();
            }),
        ),
        (StateKind::Dead, abandoned(dies)),
        (
            StateKind::Buried,
            abandoned(|bench| {
                dies(bench);
                bench.happens(&Happened::Buried);
            }),
        ),
    ];
    for (state, mut bench) in states {
        assert_eq!(bench.task.kind(), state);
        bench.happens_to(0, &bench.answer(0));
        assert_eq!(bench.task.state, State::Solved, "from {state}");
        assert_eq!(bench.task.answered_by, Some(bench.attempts[0].token), "from {state}");
        assert_eq!((bench.task.worker.as_ref(), bench.task.attempt), (None, None));
        // The attempt that was outrun still holds a thread upstream, for a time.
        let outrun = bench.attempts.get(1).filter(|_| state != StateKind::Dead);
        assert!(outrun.is_none_or(|a| !a.is_open() || a.permit_until.is_some()), "from {state}");
    }
}

#[test]
fn of_two_answers_the_first_wins_and_the_second_is_kept() {
    let mut bench = abandoned(|bench| {
        bench.claims();
        bench.accept();
    });
    bench.happens_to(0, &bench.answer(0));
    let won = bench.task.clone();
    let second = bench.happens_to(1, &bench.answer(1));
    assert!(second.change.row.is_none() && second.change.facts.len() == 1);
    assert_eq!((bench.task.clone(), bench.verdict(1)), (won, Some(Verdict::Solved)));
}

#[test]
fn an_answer_after_cancelling_is_kept_unused() {
    let mut bench = Bench::polling();
    bench.happens(&Happened::Cancelled);
    assert_eq!(bench.task.state, State::Cancelled);
    assert!(bench.attempts[0].is_open() && bench.attempts[0].permit_until.is_some());
    bench.happens_to(0, &bench.answer(0));
    assert_eq!(
        (bench.task.kind(), bench.verdict(0)),
        (StateKind::Cancelled, Some(Verdict::Solved))
    );
    assert_eq!(bench.task.answered_by, None);
}

#[test]
fn an_answer_belongs_to_the_attempt_that_it_names() {
    // Whoever reports it without the attempt at hand: the second one is current.
    let mut bench = abandoned(|bench| {
        bench.claims();
        bench.accept();
    });
    bench.happens(&bench.answer(0));
    assert_eq!(bench.task.answered_by, Some(bench.attempts[0].token));
    assert_eq!(
        [bench.verdict(0), bench.verdict(1)],
        [Some(Verdict::Solved), Some(Verdict::TimedOut)]
    );
}

#[test]
fn a_verdict_on_an_abandoned_attempt_frees_its_thread_and_no_more() {
    for class in [Class::Lost, Class::Unsolvable, Class::Permanent, Class::Proxy] {
        let mut bench = abandoned(|bench| {
            bench.claims();
            bench.accept();
        });
        let before = bench.task.clone();
        bench.happens_to(0, &Happened::Failed(failure(class)));
        assert_eq!(bench.task, before, "{class}");
        assert!(!bench.attempts[0].permit && bench.attempts[1].is_open(), "{class}");
    }
    let bench = abandoned(Bench::claims);
    let not_ready = Happened::NotReady { elapsed_ms: i64::MAX };
    assert!(bench.decide(&not_ready, Some(0)).change.is_empty());
}

#[test]
fn a_report_of_a_poll_before_the_acceptance_is_out_of_turn() {
    let bench = Bench::submitting();
    for class in Class::ALL {
        assert!(bench.decide(&Happened::Failed(failure(*class)), None).change.is_empty());
    }
    assert!(bench.decide(&Happened::NotReady { elapsed_ms: i64::MAX }, None).change.is_empty());
}

#[test]
fn panics_while_polling_ask_again_and_the_third_is_the_end() {
    let mut bench = Bench::polling();
    for _ in 0..2 {
        bench.happens(&Happened::Panicked("boom".to_owned()));
        assert_eq!(bench.task.kind(), StateKind::Polling, "the id is paid for");
    }
    bench.happens(&Happened::Panicked("boom".to_owned()));
    assert_eq!(bench.task.reason(), Some(DeadReason::Panicked));
    assert!(bench.attempts[0].is_open(), "it may still answer");
}

#[test]
fn a_deadline_that_passes_in_an_outage_leaves_the_outage_as_the_cause() {
    let mut bench = Bench::with(|task| task.deadline_at = Some(THEN.plus(100_000)));
    bench.claims();
    bench.happens(&Happened::Unsent(Failure::new("NETWORK", Class::Transient)));
    bench.now = THEN.plus(100_000);
    bench.happens(&Happened::DeadlinePassed);
    assert_eq!(bench.task.reason(), Some(DeadReason::Deadline));
    assert_eq!(bench.task.cause, Some(crate::Cause::new("NETWORK")));
}

#[test]
fn the_deadline_ends_the_wait_but_not_the_attempt() {
    let mut bench = Bench::with(|task| task.deadline_at = Some(THEN.plus(1_000)));
    bench.claims();
    bench.accept();
    assert!(bench.decide(&Happened::DeadlinePassed, None).change.is_empty(), "not yet");
    bench.now = THEN.plus(1_000);
    bench.happens(&Happened::DeadlinePassed);
    assert_eq!(bench.task.reason(), Some(DeadReason::Deadline));
    bench.happens_to(0, &bench.answer(0));
    assert_eq!(bench.task.state, State::Solved);
}

#[test]
fn what_happens_to_the_task_is_never_taken_for_the_reported_attempts() {
    for happened in [Happened::Cancelled, Happened::DeadlinePassed] {
        let mut bench = abandoned(|bench| {
            bench.task.deadline_at = Some(THEN);
            bench.claims();
            bench.accept();
        });
        let before = bench.attempts[0].clone();
        bench.happens_to(0, &happened);
        assert_eq!(bench.attempts[0], before, "{happened:?}");
        assert!(bench.attempts[1].permit_until.is_some(), "{happened:?}");
    }
}
