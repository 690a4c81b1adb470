//! Permits: open attempts never exceed an account's threads, over all workers.

use crate::harness::{Harness, account, answered};
use deadletter_core::{AccountName, Class, Failure, Happened, Verdict};
use deadletter_store::Claim;

async fn lent(h: &Harness, account: &AccountName) -> u32 {
    h.store.permits(account, h.now()).await.unwrap()
}

fn doubt() -> Happened {
    Happened::InDoubt(Failure::new("NETWORK", Class::Transient))
}

pub(crate) async fn permits_never_exceed_the_threads_over_all_workers(h: &mut Harness) {
    let (one, two) = (h.worker("one").await, h.worker("two").await);
    h.insert_many(9, |_, _| ()).await;
    let main = account("main");
    for (worker, wanted, gets) in [(&one, 2, 2), (&two, 9, 3), (&one, 9, 0), (&two, 1, 0)] {
        let claim = Claim { threads: 5, ..h.claim_of(worker, wanted) };
        assert_eq!(h.store.claim(claim).await.unwrap().len(), gets);
        assert!(lent(h, &main).await <= 5);
    }
    // Fewer threads than are lent: nothing more, and nothing is taken back.
    let claim = Claim { threads: 2, ..h.claim_of(&one, 9) };
    assert_eq!(h.store.claim(claim).await.unwrap().len(), 0);
    assert_eq!(lent(h, &main).await, 5);
}

pub(crate) async fn claims_at_the_same_time_stay_within_the_threads(h: &mut Harness) {
    h.insert_many(40, |_, _| ()).await;
    let mut claims = Vec::new();
    for n in 0..8 {
        let worker = h.worker(&format!("w{n}")).await;
        let claim = Claim { threads: 7, ..h.claim_of(&worker, 5) };
        let store = h.store.clone();
        claims.push(tokio::spawn(async move { store.claim(claim).await.unwrap().len() }));
    }
    let mut all = 0;
    for claim in claims {
        all += claim.await.unwrap();
    }
    assert_eq!(all, 7);
    assert_eq!(lent(h, &account("main")).await, 7);
}

pub(crate) async fn accounts_have_threads_of_their_own(h: &mut Harness) {
    let worker = h.worker("w").await;
    h.insert_many(4, |i, task| task.account = account(["main", "other"][i % 2])).await;
    for name in ["main", "other"] {
        let account = account(name);
        let claim = Claim { account: account.clone(), threads: 1, ..h.claim_of(&worker, 9) };
        assert_eq!(h.store.claim(claim).await.unwrap().len(), 1);
        assert_eq!(lent(h, &account).await, 1);
    }
}

pub(crate) async fn a_verdict_frees_the_permit(h: &mut Harness) {
    let worker = h.worker("w").await;
    let main = account("main");
    let (task, attempt) = h.polling(&worker, |_| ()).await;
    assert_eq!(lent(h, &main).await, 1);
    h.happens(task.id, Some(&attempt), answered(&attempt, "token")).await;
    assert_eq!(lent(h, &main).await, 0);
    let (task, attempt) = h.submitting(&worker, |_| ()).await;
    let refused = Happened::Refused(Failure::new("NETWORK", Class::Transient));
    h.happens(task.id, Some(&attempt), refused).await;
    assert_eq!(lent(h, &main).await, 0);
}

pub(crate) async fn an_attempt_in_doubt_holds_its_permit_until_its_hold_time_ends(h: &mut Harness) {
    let worker = h.worker("w").await;
    let main = account("main");
    let (task, attempt) = h.submitting(&worker, |_| ()).await;
    h.happens(task.id, Some(&attempt), doubt()).await;
    let hold_ms = deadletter_core::Terms::default().hold_ms;
    h.clock.advance(hold_ms - 1);
    assert_eq!(lent(h, &main).await, 1);
    h.insert_many(2, |_, _| ()).await;
    let claim = |h: &Harness| Claim { threads: 1, ..h.claim_of(&worker, 9) };
    assert_eq!(h.store.claim(claim(h)).await.unwrap().len(), 0);
    h.clock.advance(1);
    // Counted out before any claim has looked.
    assert_eq!(lent(h, &main).await, 0);
    assert_eq!(h.store.claim(claim(h)).await.unwrap().len(), 1);
    let lapsed = h.attempt(task.id, 1).await;
    assert_eq!((lapsed.permit, lapsed.closed_at), (false, Some(h.now())));
    assert_eq!(lapsed.verdict, Some(Verdict::InDoubt));
}

pub(crate) async fn a_claim_lets_attempts_of_its_own_account_lapse_only(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.submitting(&worker, |task| task.account = account("other")).await;
    h.happens(task.id, Some(&attempt), doubt()).await;
    h.clock.advance(deadletter_core::Terms::default().hold_ms);
    h.claim(&worker, 1).await;
    assert!(h.attempt(task.id, 1).await.is_open());
    let claim = Claim { account: account("other"), ..h.claim_of(&worker, 1) };
    h.store.claim(claim).await.unwrap();
    assert!(!h.attempt(task.id, 1).await.is_open());
}

pub(crate) async fn a_resumed_attempt_without_permit_still_lapses_when_abandoned_again(
    h: &mut Harness,
) {
    let worker = h.worker("w").await;
    let main = account("main");
    let (task, attempt) = h.timed_out(&worker).await;
    let terms = deadletter_core::Terms::default();
    h.clock.advance(terms.hold_ms);
    h.claim(&worker, 1).await;
    let closed = h.attempt(task.id, 1).await;
    assert!(!closed.is_open());
    h.redrive(task.id, Some(&attempt)).await;
    assert_eq!(lent(h, &main).await, 0, "upstream has long let go of the thread");
    let taken = h.take_over(&worker).await.tasks;
    let (task, attempt) = &taken[0];
    h.happens(task.id, Some(attempt), Happened::NotReady { elapsed_ms: terms.timeout_ms }).await;
    assert!(h.attempt(task.id, 1).await.is_open());
    h.clock.advance(terms.hold_ms);
    h.claim(&worker, 1).await;
    assert!(!h.attempt(task.id, 1).await.is_open(), "it would be polled for ever");
}

pub(crate) async fn a_released_intent_frees_its_permit(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.submitting(&worker, |_| ()).await;
    let withheld =
        Happened::Withheld { why: deadletter_core::Why::Released, due_at: h.now().plus(1) };
    h.happens(task.id, Some(&attempt), withheld).await;
    assert_eq!(lent(h, &account("main")).await, 0);
    assert_eq!(h.task(task.id).await.counters.submits, 0);
    assert_eq!(h.attempt(task.id, 1).await.verdict, Some(Verdict::Withheld));
}

pub(crate) async fn an_attempt_counts_against_its_own_account_wherever_its_task_goes(
    h: &mut Harness,
) {
    let (old, new) = (h.worker("old").await, h.worker("new").await);
    let (main, other) = (account("main"), account("other"));
    let (task, _) = h.timed_out(&old).await;
    h.redrive(task.id, None).await;
    h.edit(task.id, |task| task.account = account("other")).await;
    assert_eq!((lent(h, &main).await, lent(h, &other).await), (1, 0));
    let upstream_id = h.attempt(task.id, 1).await.upstream_id.unwrap();
    assert_eq!(h.store.bearers(&main, &upstream_id).await.unwrap(), 1);
    h.declare_dead(&old).await;
    assert_eq!(h.take_over(&new).await.abandoned[0].task, task.id);
    let claim = Claim { account: other.clone(), threads: 1, ..h.claim_of(&new, 9) };
    assert_eq!(h.store.claim(claim).await.unwrap()[0].attempt.account, other);
    assert_eq!((lent(h, &main).await, lent(h, &other).await), (1, 1));
    h.clock.advance(deadletter_core::Terms::default().hold_ms);
    h.claim(&new, 1).await;
    assert!(!h.attempt(task.id, 1).await.is_open());
}
