//! What follows from sending: every row of the class table, and what is no verdict.

use super::*;
use crate::Cause;
use crate::backoff::RETRY_AFTER_MAX_MS;

/// One cell: class, state, [submits, failures, refusals], wait, why or reason, account.
type Cell = (Class, StateKind, [u32; 3], Option<i64>, &'static str, &'static str);

/// The class table's column "on submit", for a first submit with two proxies; a wait of `None`
/// is one with jitter.
const REFUSED: [Cell; 9] = {
    use {Class as C, StateKind as K};
    [
        (C::Capacity, K::Queued, [0, 0, 1], Some(6_250), "capacity", "full"),
        (C::Transient, K::Queued, [1, 1, 0], Some(500), "retry", "outage"),
        (C::Unsolvable, K::Queued, [1, 1, 0], Some(0), "retry", "healthy"),
        (C::Permanent, K::Dead, [1, 0, 0], None, "permanent", "healthy"),
        (C::Proxy, K::Queued, [1, 1, 0], Some(0), "retry", "healthy"),
        (C::Account, K::Queued, [0, 0, 0], Some(0), "account", "stop"),
        (C::Lost, K::Dead, [1, 0, 0], None, "permanent", "healthy"),
        (C::Stale, K::Dead, [1, 0, 0], None, "stale_input", "healthy"),
        (C::Unknown, K::Dead, [1, 0, 0], None, "unknown", "healthy"),
    ]
};

pub(super) fn signal(account: &AccountSignal) -> &'static str {
    match account {
        AccountSignal::None => "none",
        AccountSignal::Healthy => "healthy",
        AccountSignal::Outage => "outage",
        AccountSignal::Full(_) => "full",
        AccountSignal::Stop(_) => "stop",
    }
}

pub(super) fn why(task: &Task) -> &'static str {
    match &task.state {
        State::Queued { why, .. } => why.label(),
        state => state.reason().map_or("", DeadReason::label),
    }
}

#[test]
fn each_class_of_refusal_leads_where_the_table_says() {
    assert!(REFUSED.iter().map(|cell| cell.0).eq(Class::ALL.iter().copied()));
    for (class, state, spent, wait_ms, word, account) in REFUSED {
        let mut bench = Bench::with(|task| task.proxies = 2);
        bench.claims();
        let decision = bench.happens(&Happened::Refused(failure(class)));
        assert_eq!(bench.stands(), (state, spent), "{class}");
        assert_eq!(bench.task.due_at().map(|due_at| due_at.since(bench.now)), wait_ms, "{class}");
        assert_eq!((why(&bench.task), signal(&decision.account)), (word, account), "{class}");
        assert_eq!(bench.verdict(0), Some(Verdict::Refused), "{class}");
        assert!(!bench.attempts[0].permit, "{class}: the thread is free");
        let is_blamed = !matches!(class, Class::Capacity | Class::Account);
        assert_eq!(bench.task.class, is_blamed.then_some(class), "a full account blames no task");
    }
}

#[test]
fn a_proxy_that_failed_is_replaced_while_another_is_given() {
    for proxies in 0..4 {
        let mut bench = Bench::with(|task| task.proxies = proxies);
        let mut submits = 0;
        while bench.claim() {
            submits += 1;
            bench.happens(&Happened::Refused(failure(Class::Proxy)));
        }
        assert_eq!(submits, proxies.max(1), "one submit for each of {proxies} proxies");
        assert_eq!(bench.task.reason(), Some(DeadReason::Proxy));
        assert_eq!(bench.task.round.proxies_failed, submits);
    }
}

#[test]
fn capacity_waits_longer_each_time_and_spends_nothing() {
    let mut bench = Bench::new();
    bench.random = 0.0;
    let mut waits = Vec::new();
    for _ in 0..20 {
        bench.claims();
        bench.happens(&Happened::Refused(failure(Class::Capacity)));
        waits.push(bench.queued().0);
    }
    assert_eq!(waits[..4], [5_000, 10_000, 20_000, 40_000]);
    assert_eq!(bench.stands(), (StateKind::Queued, [0, 0, 20]));
    let asked = failure(Class::Capacity).with_retry_after_ms(Some(90_000));
    bench.claims();
    bench.happens(&Happened::Refused(asked));
    assert_eq!(bench.queued(), (90_000, Why::Capacity), "upstream's own wish is honoured");

    bench.claims();
    bench.accept();
    assert_eq!(bench.task.round.refusals, 0, "an acceptance ends the row of refusals");
    assert_eq!(bench.task.counters.refusals, 21);
}

#[test]
fn retries_wait_with_full_jitter_that_doubles() {
    let mut bench = Bench::with(|task| (task.round.allowance, task.max_submits) = (20, 20));
    bench.random = 1.0;
    let mut waits = Vec::new();
    for _ in 0..8 {
        bench.claims();
        bench.happens(&Happened::Refused(failure(Class::Transient)));
        waits.push(bench.queued().0);
    }
    assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    let asked = |ms| Happened::Refused(failure(Class::Transient).with_retry_after_ms(Some(ms)));
    bench.random = 0.0;
    bench.claims();
    bench.happens(&asked(10_000));
    assert_eq!(bench.queued().0, 10_000, "never below the code's own minimum");
    bench.claims();
    bench.happens(&asked(i64::MAX));
    assert_eq!(bench.queued().0, RETRY_AFTER_MAX_MS, "a header parks no task for years");
}

#[test]
fn four_submits_at_first_two_per_redrive_and_the_seventh_failure_buries() {
    let mut bench = Bench::new();
    let mut rounds = Vec::new();
    loop {
        while bench.claim() {
            bench.happens(&Happened::InDoubt(failure(Class::Transient)));
        }
        rounds.push((bench.task.kind(), bench.task.counters.submits));
        assert_eq!(bench.task.reason(), Some(DeadReason::AttemptsExhausted));
        if bench.decide(&redriven(None, bench.now), None).change.is_empty() {
            break;
        }
        bench.happens(&redriven(None, bench.now));
        assert_eq!(bench.queued(), (0, Why::Redrive));
    }
    use StateKind as K;
    assert_eq!(rounds, [(K::Dead, 4), (K::Dead, 6), (K::Buried, 7)]);
    assert_eq!((bench.task.counters.failures, bench.task.counters.redrives), (7, 2));
}

#[test]
fn what_was_proven_unsent_is_retried_without_spending_a_submit() {
    let mut bench = Bench::submitting();
    let decision = bench.happens(&Happened::Unsent(failure(Class::Transient)));
    assert_eq!(bench.stands(), (StateKind::Queued, [0, 1, 0]), "the intent is given back");
    assert_eq!(decision.account, AccountSignal::Outage);
    assert_eq!((bench.verdict(0), bench.attempts[0].permit), (Some(Verdict::Withheld), false));
}

#[test]
fn an_upstream_that_nobody_reaches_is_waited_for_and_not_for_ever() {
    let mut bench = Bench::new();
    bench.random = 1.0;
    let (began, mut tries) = (bench.now, 0);
    while bench.task.kind() == StateKind::Queued {
        bench.now = bench.now.plus(bench.queued().0);
        bench.claims();
        bench.happens(&Happened::Unsent(failure(Class::Transient)));
        tries += 1;
    }
    assert_eq!((tries, bench.task.counters.submits), (36, 0));
    assert_eq!(bench.task.reason(), Some(DeadReason::AttemptsExhausted));
    assert_eq!(bench.task.kind(), StateKind::Dead, "nothing was spent, so a redrive may submit it");
    let waited_s = bench.now.since(began) / 1_000;
    assert!((1_600..=1_900).contains(&waited_s), "half an hour: {waited_s} s");
}

#[test]
fn in_doubt_is_submitted_again_or_buried_alive_by_policy() {
    let mut bench = Bench::submitting();
    let decision = bench.happens(&Happened::InDoubt(failure(Class::Transient)));
    assert_eq!(bench.stands(), (StateKind::Queued, [1, 1, 0]), "the intent is not given back");
    assert_eq!(decision.account, AccountSignal::Outage);
    assert_eq!(bench.verdict(0), Some(Verdict::InDoubt));
    let hold_until = bench.now.plus(bench.terms.hold_ms);
    assert_eq!(bench.attempts[0].permit_until, Some(hold_until), "it may hold a thread upstream");

    let mut bench = Bench::submitting();
    bench.policy.on_doubt = OnDoubt::DeadLetter;
    bench.happens(&Happened::InDoubt(failure(Class::Transient)));
    assert_eq!(bench.task.state, State::Dead { reason: DeadReason::InDoubt });
    assert_eq!(bench.verdict(0), Some(Verdict::InDoubt));
}

#[test]
fn a_death_or_a_panic_on_submit_is_in_doubt_too() {
    for happened in [Happened::WorkerDied, Happened::Panicked("boom".to_owned())] {
        let mut bench = Bench::submitting();
        bench.happens(&happened);
        assert_eq!(bench.stands(), (StateKind::Queued, [1, 0, 0]), "{happened:?}");
        assert_eq!(bench.verdict(0), Some(Verdict::InDoubt));

        let mut bench = Bench::submitting();
        bench.policy.on_doubt = OnDoubt::DeadLetter;
        bench.happens(&happened);
        assert_eq!(bench.task.reason(), Some(DeadReason::InDoubt), "{happened:?}");
    }
}

#[test]
fn a_task_that_was_in_two_deaths_goes_alone_and_dies_of_the_third() {
    let mut bench = Bench::new();
    for deaths in 1..=2 {
        bench.claims();
        bench.happens(&Happened::WorkerDied);
        assert_eq!((bench.task.counters.deaths, bench.queued()), (deaths, (0, Why::Retry)));
        let lane = if deaths < 2 { crate::Lane::Retry } else { crate::Lane::Suspect };
        assert_eq!(bench.task.lane(), lane);
    }
    assert_eq!(bench.task.counters.failures, 0, "a death is not the task's failure");
    bench.claims();
    bench.happens(&Happened::WorkerDied);
    assert_eq!(bench.task.reason(), Some(DeadReason::Panicked));
}

#[test]
fn three_panics_are_the_end() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.claims();
        bench.happens(&Happened::Panicked("boom".to_owned()));
        assert_eq!(bench.task.kind(), StateKind::Queued);
    }
    bench.claims();
    bench.happens(&Happened::Panicked("boom".to_owned()));
    assert_eq!(bench.task.reason(), Some(DeadReason::Panicked));
    assert_eq!((bench.task.counters.panics, bench.task.counters.failures), (3, 0));
}

#[test]
fn what_was_withheld_is_given_back() {
    for why in [Why::Breaker, Why::Account, Why::Released] {
        let mut bench = Bench::submitting();
        let decision = bench.happens(&Happened::Withheld { why, due_at: bench.now.plus(7) });
        assert_eq!(bench.stands(), (StateKind::Queued, [0, 0, 0]));
        assert_eq!((bench.queued(), decision.account), ((7, why), AccountSignal::None));
        assert_eq!((bench.verdict(0), bench.attempts[0].permit), (Some(Verdict::Withheld), false));
    }
}

#[test]
fn nothing_is_submitted_after_the_deadline() {
    let mut bench = Bench::with(|task| task.deadline_at = Some(THEN.plus(400)));
    bench.claims();
    bench.happens(&Happened::Refused(failure(Class::Transient)));
    assert_eq!(bench.task.reason(), Some(DeadReason::Deadline), "the retry at 500 ms is too late");

    let mut bench = Bench::with(|task| task.deadline_at = Some(THEN.plus(600)));
    bench.claims();
    bench.happens(&Happened::Refused(failure(Class::Transient)));
    assert_eq!(bench.task.kind(), StateKind::Queued);
    assert!(bench.decide(&Happened::DeadlinePassed, None).change.is_empty(), "not yet");
    bench.now = THEN.plus(600);
    bench.happens(&Happened::DeadlinePassed);
    assert_eq!(bench.task.reason(), Some(DeadReason::Deadline));
}

#[test]
fn a_submit_under_way_is_left_alone_by_the_deadline() {
    let mut bench = Bench::with(|task| task.deadline_at = Some(THEN));
    bench.claims();
    assert!(bench.decide(&Happened::DeadlinePassed, None).change.is_empty());
    bench.accept();
    bench.happens(&Happened::DeadlinePassed);
    assert_eq!(bench.task.reason(), Some(DeadReason::Deadline));
    assert_eq!(bench.verdict(0), Some(Verdict::TimedOut));
    assert!(bench.attempts[0].is_open(), "it is polled on, and may answer late");
}

#[test]
fn a_late_acceptance_is_kept_for_its_attempt_alone() {
    let mut bench = Bench::submitting();
    bench.happens(&Happened::WorkerDied);
    bench.claims();
    let before = bench.task.clone();
    bench.happens_to(0, &Happened::Accepted(upstream_id("u-late")));
    assert_eq!(bench.task, before, "the second attempt is under way");
    assert_eq!(bench.attempts[0].upstream_id, Some(upstream_id("u-late")));
    assert!(bench.attempts[0].is_open() && bench.attempts[0].permit_until.is_some());

    bench.now = bench.now.plus(bench.terms.hold_ms);
    assert!(bench.attempts[0].lapse(bench.now));
    let fact = Learned::Accepted(upstream_id("u-other"));
    let token = bench.attempts[0].token;
    let fact = Fact { task: bench.task.id, token, at: bench.now, learned: fact };
    assert!(!bench.attempts[0].learn(&fact), "the first id stays");
}

#[test]
fn an_id_that_comes_before_the_next_submit_is_asked_instead() {
    let mut bench = Bench::submitting();
    bench.happens(&Happened::WorkerDied);
    assert_eq!(bench.task.kind(), StateKind::Queued);
    bench.happens_to(0, &Happened::Accepted(upstream_id("u-late")));
    assert_eq!(bench.task.state, State::Polling { upstream_id: upstream_id("u-late") });
    assert_eq!(bench.task.attempt, Some(bench.attempts[0].token));
    assert_eq!(bench.task.counters.submits, 1, "nothing more is paid for");
    let attempt = &bench.attempts[0];
    assert!(attempt.is_open() && attempt.holds_permit(bench.now) && attempt.verdict.is_none());

    let mut held = Bench::submitting();
    held.happens(&Happened::WorkerDied);
    held.happens(&Happened::Held);
    held.happens_to(0, &Happened::Accepted(upstream_id("u-late")));
    assert_eq!(held.task.kind(), StateKind::Queued, "whoever holds it says when it goes on");
    assert!(held.attempts[0].may_answer());
}

#[test]
fn an_id_that_comes_after_the_hold_time_is_kept_all_the_same() {
    let mut bench = Bench::submitting();
    bench.happens(&Happened::WorkerDied);
    bench.claims();
    bench.now = bench.now.plus(bench.terms.hold_ms);
    assert!(bench.attempts[0].lapse(bench.now));
    bench.happens_to(0, &Happened::Accepted(upstream_id("u-late")));
    assert!(bench.attempts[0].may_answer() && !bench.attempts[0].is_open());
}

#[test]
fn a_task_whose_attempt_is_missing_is_a_dead_letter_whatever_the_policy() {
    for (mut bench, on_doubt) in
        [(Bench::submitting(), OnDoubt::Resubmit), (Bench::polling(), OnDoubt::DeadLetter)]
    {
        bench.policy.on_doubt = on_doubt;
        let change = bench.decide(&Happened::AttemptMissing, None).change;
        let after = change.row.expect("it ends").after;
        assert_eq!(after.reason(), Some(DeadReason::InDoubt));
        assert_eq!((after.attempt, after.counters), (None, bench.task.counters));
    }
    let queued = Bench::new().decide(&Happened::AttemptMissing, None);
    assert!(queued.change.is_empty(), "it waits for no attempt");
}

#[test]
fn a_task_whose_request_is_missing_is_dead_and_has_spent_nothing() {
    let mut bench = Bench::submitting();
    bench.happens(&Happened::RequestMissing);
    assert_eq!(bench.task.reason(), Some(DeadReason::Permanent));
    assert_eq!((bench.task.counters.submits, bench.task.counters.failures), (0, 0));
    assert_eq!(bench.attempts[0].verdict, Some(Verdict::Withheld));
    let account = Bench::submitting().decide(&Happened::RequestMissing, None).account;
    assert_eq!(account, AccountSignal::None, "upstream has said nothing");
}

#[test]
fn a_report_about_another_attempt_leaves_the_task_alone() {
    let reports = [
        Happened::Refused(failure(Class::Permanent)),
        Happened::Refused(failure(Class::Capacity)),
        Happened::Unsent(failure(Class::Transient)),
        Happened::InDoubt(failure(Class::Transient)),
        Happened::Withheld { why: Why::Breaker, due_at: THEN },
        Happened::Panicked("boom".to_owned()),
        Happened::WorkerDied,
        Happened::RequestMissing,
    ];
    for report in reports {
        let mut bench = Bench::submitting();
        bench.happens(&Happened::InDoubt(failure(Class::Transient)));
        bench.claims();
        let before = (bench.task.clone(), bench.attempts[1].clone());
        bench.happens_to(0, &report);
        assert_eq!((bench.task, bench.attempts[1].clone()), before, "{report:?}");
    }
}

#[test]
fn a_repeated_report_of_a_submit_is_no_news_to_a_polled_task() {
    let reports = [
        Happened::Accepted(upstream_id("u-1")),
        Happened::Refused(failure(Class::Permanent)),
        Happened::Unsent(failure(Class::Transient)),
        Happened::InDoubt(failure(Class::Transient)),
        Happened::Withheld { why: Why::Breaker, due_at: THEN },
        Happened::WorkerDied,
        Happened::RequestMissing,
    ];
    for report in reports {
        let bench = Bench::polling();
        for about in [None, Some(0)] {
            assert!(bench.decide(&report, about).change.is_empty(), "{report:?}");
        }
    }
}

#[test]
fn an_attempt_says_itself_whether_its_intent_was_given_back() {
    let network = || Failure::new(Cause::NETWORK, Class::Transient);
    let mut cases = vec![
        Happened::Unsent(network()),
        Happened::InDoubt(network()),
        Happened::RequestMissing,
        Happened::WorkerDied,
        Happened::Withheld { why: Why::Breaker, due_at: THEN },
    ];
    cases.extend(Class::ALL.iter().map(|class| Happened::Refused(Failure::new("X", *class))));
    for happened in cases {
        let mut bench = Bench::submitting();
        let before = bench.task.counters.submits;
        bench.happens(&happened);
        let is_given_back = bench.task.counters.submits < before;
        let attempt = bench.attempts.last().expect("one");
        assert_eq!(attempt.is_given_back(), is_given_back, "{happened:?}: {attempt:?}");
    }
}
