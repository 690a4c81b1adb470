//! Facts of attempts: taken from the attempt's own token, whatever has become of its task.

use crate::harness::{CANARY, Harness, account, answered, upstream_id};
use deadletter_core::{
    AttemptToken, Change, Class, Fact, Failure, Happened, Learned, State, StateKind, Terms, Verdict,
};
use deadletter_store::Committed;
use secrecy::ExposeSecret;

fn line() -> Failure {
    Failure::new("NETWORK", Class::Transient).with_detail("reset by peer")
}

pub(crate) async fn a_late_acceptance_is_kept_after_the_task_moved_on(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.submitting(&worker, |_| ()).await;
    h.happens(task.id, Some(&attempt), Happened::InDoubt(line())).await;
    h.happens(task.id, None, Happened::Cancelled).await;
    let stands = h.task(task.id).await;
    h.clock.advance(50);
    h.happens(task.id, Some(&attempt), Happened::Accepted(upstream_id("u-1"))).await;
    let learned = h.attempt(task.id, 1).await;
    assert_eq!(learned.upstream_id, Some(upstream_id("u-1")));
    assert_eq!(learned.accepted_at, Some(h.now()));
    assert_eq!(h.task(task.id).await, stands);
}

pub(crate) async fn a_late_acceptance_takes_its_task_out_of_the_queue(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.submitting(&worker, |_| ()).await;
    h.happens(task.id, Some(&attempt), Happened::InDoubt(line())).await;
    h.clock.advance(50);
    h.happens(task.id, Some(&attempt), Happened::Accepted(upstream_id("u-1"))).await;
    let task = h.task(task.id).await;
    assert_eq!(task.state, State::Polling { upstream_id: upstream_id("u-1") });
    assert_eq!(task.attempt, Some(attempt.token));
    let learned = h.attempt(task.id, 1).await;
    assert_eq!(learned.upstream_id, Some(upstream_id("u-1")));
    assert_eq!((learned.verdict, learned.abandoned_at, learned.permit_until), (None, None, None));
    assert_eq!(h.store.permits(&account("main"), h.now()).await.unwrap(), 1);
    assert_eq!(h.store.totals().await.unwrap(), h.store.recount().await.unwrap());
}

pub(crate) async fn the_first_upstream_id_of_an_attempt_stays(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.polling(&worker, |_| ()).await;
    let fact = Fact {
        task: task.id,
        token: attempt.token,
        at: h.now().plus(9),
        learned: Learned::Accepted(upstream_id("another")),
    };
    assert_eq!(h.commit(Change::of_facts(vec![fact])).await, Committed::Applied);
    assert_eq!(h.attempt(task.id, 1).await, attempt);
}

pub(crate) async fn an_abandonment_is_written_with_its_failure(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.submitting(&worker, |_| ()).await;
    h.happens(task.id, Some(&attempt), Happened::InDoubt(line())).await;
    let learned = h.attempt(task.id, 1).await;
    assert_eq!(learned.verdict, Some(Verdict::InDoubt));
    assert_eq!(learned.abandoned_at, Some(h.now()));
    assert_eq!(learned.permit_until, Some(h.now().plus(Terms::default().hold_ms)));
    assert_eq!(learned.cause.unwrap().as_str(), "NETWORK");
    assert_eq!(learned.class, Some(Class::Transient));
    assert_eq!(learned.detail.as_deref(), Some("reset by peer"));
}

pub(crate) async fn a_late_answer_solves_a_task_that_waits_for_its_retry(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.polling(&worker, |_| ()).await;
    h.happens(task.id, Some(&attempt), Happened::NotReady { elapsed_ms: 120_000 }).await;
    assert_eq!(h.task(task.id).await.kind(), StateKind::Queued);
    h.happens(task.id, Some(&attempt), answered(&attempt, "late")).await;
    let row = h.task(task.id).await;
    assert_eq!((row.kind(), row.answered_by), (StateKind::Solved, Some(attempt.token)));
    h.clock.advance(3_600_000);
    assert!(h.claim(&worker, 9).await.is_empty());
    assert_eq!(h.store.next_due(&row.account).await.unwrap(), None);
}

pub(crate) async fn a_task_is_told_with_the_answer_that_solved_it(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.timed_out(&worker).await;
    assert!(h.store.told(h.new_task().task.id).await.unwrap().is_none());
    let (row, answer) = h.store.told(task.id).await.unwrap().unwrap();
    assert_eq!((&row, answer.is_none()), (&task, true));

    h.happens(task.id, Some(&attempt), answered(&attempt, "late")).await;
    let (row, answer) = h.store.told(task.id).await.unwrap().unwrap();
    assert_eq!(row, h.task(task.id).await);
    assert_eq!((row.kind(), answer.unwrap().expose()), (StateKind::Solved, "late"));
}

pub(crate) async fn an_answer_that_did_not_win_is_told_to_nobody(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.polling(&worker, |_| ()).await;
    h.happens(task.id, Some(&attempt), Happened::Cancelled).await;
    h.happens(task.id, Some(&attempt), answered(&attempt, "unused")).await;
    let (row, answer) = h.store.told(task.id).await.unwrap().unwrap();
    assert_eq!((row.kind(), answer.is_none()), (StateKind::Cancelled, true));
}

pub(crate) async fn a_late_answer_solves_a_dead_letter(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.timed_out(&worker).await;
    assert_eq!(task.kind(), StateKind::Dead);
    h.happens(task.id, Some(&attempt), answered(&attempt, "late")).await;
    assert_eq!(h.task(task.id).await.kind(), StateKind::Solved);
    assert_eq!(h.store.answer(task.id).await.unwrap().unwrap().expose(), "late");
}

pub(crate) async fn of_two_answers_one_wins_and_both_are_kept(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, first) = h.polling(&worker, |_| ()).await;
    h.happens(task.id, Some(&first), Happened::NotReady { elapsed_ms: 120_000 }).await;
    h.clock.advance(60_000);
    let lane = deadletter_core::Lane::Retry;
    let claim = deadletter_store::Claim { lane, ..h.claim_of(&worker, 1) };
    let second = h.store.claim(claim).await.unwrap().remove(0).attempt;
    h.happens(task.id, Some(&second), Happened::Accepted(upstream_id("u-2"))).await;

    // Both are decided on the same row; the later commit finds it changed.
    let row = h.task(task.id).await;
    let one = h.decide(&row, Some(&first), &answered(&first, "one"));
    let two = h.decide(&row, Some(&second), &answered(&second, "two"));
    let answers = h.store.commit(vec![one, two]).await.unwrap();
    assert_eq!(answers, [Committed::Applied, Committed::Stale]);
    assert_eq!(h.task(task.id).await.answered_by, Some(first.token));
    assert_eq!(h.store.answer(task.id).await.unwrap().unwrap().expose(), "one");
    for n in [1, 2] {
        assert_eq!(h.attempt(task.id, n).await.verdict, Some(Verdict::Solved));
    }
    assert_eq!(h.store.totals().await.unwrap().solved, 1);
    assert_eq!(h.store.events(0, 9).await.unwrap().len(), 1);
}

pub(crate) async fn the_first_answer_of_an_attempt_stays(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.polling(&worker, |_| ()).await;
    h.happens(task.id, Some(&attempt), answered(&attempt, "one")).await;
    let closed = h.attempt(task.id, 1).await;
    h.clock.advance(5);
    h.happens(task.id, Some(&attempt), answered(&attempt, "two")).await;
    assert_eq!(h.store.answer(task.id).await.unwrap().unwrap().expose(), "one");
    assert_eq!(h.attempt(task.id, 1).await, closed);
}

pub(crate) async fn a_closed_attempt_learns_nothing_but_an_answer(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.submitting(&worker, |_| ()).await;
    h.happens(task.id, Some(&attempt), Happened::Refused(line())).await;
    let closed = h.attempt(task.id, 1).await;
    let failed = Learned::Closed { verdict: Verdict::Failed, failure: None };
    let abandoned = Learned::Abandoned {
        permit_until: h.now().plus(1),
        verdict: Verdict::InDoubt,
        failure: line(),
    };
    for learned in [Learned::Accepted(upstream_id("u-1")), failed, abandoned] {
        let fact = Fact { task: task.id, token: attempt.token, at: h.now(), learned };
        assert_eq!(h.commit(Change::of_facts(vec![fact])).await, Committed::Applied);
        assert_eq!(h.attempt(task.id, 1).await, closed);
    }
    h.happens(task.id, Some(&attempt), answered(&attempt, "late")).await;
    assert_eq!(h.attempt(task.id, 1).await.verdict, Some(Verdict::Solved));
}

pub(crate) async fn an_answer_of_a_cancelled_task_is_kept_unused(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.polling(&worker, |_| ()).await;
    h.happens(task.id, Some(&attempt), Happened::Cancelled).await;
    let cancelled = h.task(task.id).await;
    assert!(h.store.answer(task.id).await.unwrap().is_none());
    h.happens(task.id, Some(&attempt), answered(&attempt, "unused")).await;
    assert_eq!(h.task(task.id).await, cancelled);
    assert_eq!(h.store.answer(task.id).await.unwrap().unwrap().expose(), "unused");
}

pub(crate) async fn a_fact_under_a_foreign_token_is_no_news(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (one, attempt_of_one) = h.submitting(&worker, |_| ()).await;
    let (two, attempt_of_two) = h.submitting(&worker, |_| ()).await;
    let unknown = AttemptToken::from_random(u64::MAX);
    let ghost = h.new_task().task.id;
    let fact = |task, token, learned| Fact { task, token, at: h.now(), learned };
    let accepted = || Learned::Accepted(upstream_id("u-1"));
    let Happened::Answered(answer) = answered(&attempt_of_two, "token") else { unreachable!() };
    let facts = vec![
        fact(one.id, attempt_of_two.token, accepted()),
        fact(one.id, attempt_of_two.token, Learned::Answered(answer)),
        fact(one.id, unknown, accepted()),
        fact(ghost, unknown, accepted()),
    ];
    assert_eq!(h.commit(Change::of_facts(facts)).await, Committed::Applied);
    assert!(h.store.answer(one.id).await.unwrap().is_none());
    assert_eq!(h.attempt(one.id, 1).await, attempt_of_one);
    assert_eq!(h.attempt(two.id, 1).await, attempt_of_two);
}

pub(crate) async fn every_part_of_an_answer_comes_back(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.polling(&worker, |_| ()).await;
    let Happened::Answered(mut answer) = answered(&attempt, "tökén") else { unreachable!() };
    answer.user_agent = Some("Mozilla/5.0".to_owned());
    answer.expires_at = Some(h.now().plus(120_000));
    answer.read_at = h.now().plus(3);
    h.happens(task.id, Some(&attempt), Happened::Answered(answer.clone())).await;
    let kept = h.store.answer(task.id).await.unwrap().unwrap();
    assert_eq!((kept.task, kept.token, kept.dialect), (task.id, attempt.token, answer.dialect));
    assert_eq!(kept.raw.expose_secret(), answer.raw.expose_secret());
    assert!(kept.raw.expose_secret().contains(CANARY));
    assert_eq!(kept.text.expose_secret(), "tökén");
    assert_eq!(kept.user_agent, answer.user_agent);
    assert_eq!((kept.solved_at, kept.read_at), (answer.solved_at, answer.read_at));
    assert_eq!(kept.expires_at, answer.expires_at);
}

pub(crate) async fn a_resumed_attempt_is_open_again(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.timed_out(&worker).await;
    h.clock.advance(10);
    h.redrive(task.id, Some(&attempt)).await;
    let row = h.task(task.id).await;
    assert_eq!((row.kind(), row.attempt), (StateKind::Polling, Some(attempt.token)));
    let resumed = h.attempt(task.id, 1).await;
    assert_eq!(resumed.resumed_at, Some(h.now()));
    assert_eq!((resumed.abandoned_at, resumed.closed_at, resumed.verdict), (None, None, None));
    assert_eq!((resumed.permit, resumed.permit_until), (true, None));
}

pub(crate) async fn a_stale_redrive_opens_no_attempt(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, _) = h.timed_out(&worker).await;
    let attempt = h.attempt(task.id, 1).await;
    let redriven = Happened::Redriven {
        resume: Some(Box::new(attempt.clone())),
        due_at: h.now(),
        keep_deadline: false,
        force: false,
    };
    let redrive = h.decide(&task, None, &redriven);
    h.happens(task.id, None, Happened::Cancelled).await;
    assert_eq!(h.commit(redrive).await, Committed::Stale);
    assert_eq!(h.attempt(task.id, 1).await, attempt, "its thread would be held for good");
}

pub(crate) async fn bearers_of_an_upstream_id_are_counted_within_the_account(h: &mut Harness) {
    let worker = h.worker("w").await;
    let other = crate::harness::account("other");
    for account in [crate::harness::account("main"), other.clone(), other.clone()] {
        let (task, attempt) = h.submitting(&worker, |task| task.account = account).await;
        h.happens(task.id, Some(&attempt), Happened::Accepted(upstream_id("same"))).await;
        // Closed: upstream may use the id again.
        h.happens(task.id, Some(&attempt), answered(&attempt, "token")).await;
    }
    let bearers = async |account: &str, id: &str| {
        h.store.bearers(&crate::harness::account(account), &upstream_id(id)).await.unwrap()
    };
    assert_eq!(bearers("main", "same").await, 1);
    assert_eq!(bearers("other", "same").await, 2);
    assert_eq!(bearers("other", "SAME").await, 0);
    let solved = h.solved(&worker, |task| task.account = other).await;
    let id = format!("u-{}", solved.id);
    assert_eq!(bearers("other", &id).await, 1, "a closed attempt bears its id");
    h.store.purge(&[(solved.id, solved.version)]).await.unwrap();
    assert_eq!(bearers("other", &id).await, 0);
}

pub(crate) async fn an_id_of_another_tasks_open_attempt_is_not_given_again(h: &mut Harness) {
    let worker = h.worker("w").await;
    let accepted = Happened::Accepted(upstream_id("same"));
    let (first, first_attempt) = h.submitting(&worker, |_| ()).await;
    h.happens(first.id, Some(&first_attempt), accepted.clone()).await;
    let (second, attempt) = h.submitting(&worker, |_| ()).await;
    let change = h.decide(&second, Some(&attempt), &accepted);
    assert_eq!(h.commit(change.clone()).await, Committed::IdTaken);
    assert_eq!(h.task(second.id).await, second, "nothing is written");
    assert_eq!(h.attempt(second.id, 1).await, attempt);
    // Nor while the first is polled for a late answer alone, nor where the row has moved on.
    h.happens(first.id, Some(&first_attempt), Happened::NotReady { elapsed_ms: 120_000 }).await;
    assert_eq!(h.commit(change.clone()).await, Committed::IdTaken);
    let late = Change { row: None, ..change.clone() };
    assert_eq!(h.commit(late).await, Committed::IdTaken);
    // What happened is decided anew, without the id.
    h.happens(second.id, Some(&attempt), accepted.with_id_taken()).await;
    let doubtful = h.attempt(second.id, 1).await;
    assert_eq!((doubtful.verdict, doubtful.upstream_id), (Some(Verdict::InDoubt), None));
}

pub(crate) async fn an_id_is_given_again_when_its_attempt_is_closed(h: &mut Harness) {
    let worker = h.worker("w").await;
    let accepted = Happened::Accepted(upstream_id("same"));
    let (first, attempt) = h.submitting(&worker, |_| ()).await;
    h.happens(first.id, Some(&attempt), accepted.clone()).await;
    h.happens(first.id, Some(&attempt), answered(&attempt, "token")).await;
    let (second, attempt) = h.submitting(&worker, |_| ()).await;
    h.happens(second.id, Some(&attempt), accepted.clone()).await;
    // The same report again, as after a commit in doubt, meets its own id.
    let again = h.decide(&second, Some(&attempt), &accepted);
    assert_eq!(h.commit(again).await, Committed::Stale);
    // Another account has names of its own.
    let other = crate::harness::account("other");
    let (third, attempt) = h.submitting(&worker, |task| task.account = other).await;
    h.happens(third.id, Some(&attempt), accepted).await;
}

pub(crate) async fn an_id_that_is_given_up_may_be_taken_in_the_same_batch(h: &mut Harness) {
    let worker = h.worker("w").await;
    let accepted = Happened::Accepted(upstream_id("same"));
    let (older, waiting) = h.submitting(&worker, |_| ()).await;
    let (newer, attempt) = h.submitting(&worker, |_| ()).await;
    h.happens(newer.id, Some(&attempt), accepted.clone()).await;
    let (task, attempt) = (h.task(newer.id).await, h.attempt(newer.id, 1).await);
    let gives_up = h.decide(&task, Some(&attempt), &answered(&attempt, "token"));
    let takes = h.decide(&older, Some(&waiting), &accepted);
    let committed = h.store.commit(vec![gives_up, takes]).await.unwrap();
    assert_eq!(committed, [Committed::Applied, Committed::Applied]);
}

pub(crate) async fn of_one_batch_the_first_has_the_id(h: &mut Harness) {
    let worker = h.worker("w").await;
    let mut changes = Vec::new();
    for _ in 0..2 {
        let (task, attempt) = h.submitting(&worker, |_| ()).await;
        changes.push(h.decide(&task, Some(&attempt), &Happened::Accepted(upstream_id("same"))));
    }
    let committed = h.store.commit(changes).await.unwrap();
    assert_eq!(committed, [Committed::Applied, Committed::IdTaken]);
}

pub(crate) async fn an_id_that_was_given_again_is_not_resumed(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (first, attempt) = h.timed_out(&worker).await;
    h.clock.advance(Terms::default().hold_ms);
    // A claim lets it lapse: upstream may use its id again.
    let (second, next) = h.submitting(&worker, |_| ()).await;
    let id = attempt.upstream_id.clone().unwrap();
    h.happens(second.id, Some(&next), Happened::Accepted(id)).await;
    let redriven = Happened::Redriven {
        resume: Some(Box::new(attempt)),
        due_at: h.now(),
        keep_deadline: false,
        force: false,
    };
    let first = h.task(first.id).await;
    let resume = h.decide(&first, None, &redriven);
    assert!(resume.row.as_ref().is_some_and(|row| row.after.kind() == StateKind::Polling));
    assert_eq!(h.commit(resume).await, Committed::IdTaken);
    h.happens(first.id, None, redriven.with_id_taken()).await;
    assert_eq!(h.task(first.id).await.kind(), StateKind::Queued);
}
