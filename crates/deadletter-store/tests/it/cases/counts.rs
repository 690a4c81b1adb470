//! Counts without scanning: where tasks stand, and what happened in each minute.

use std::collections::BTreeMap;

use crate::harness::{Harness, MANY};
use deadletter_core::{
    Class, Failure, Happened, StateKind, Task, UnixMs,
    counts::{Dim, Place, TALLY_MS, Tallied},
};

fn at(sitekey: &str) -> impl FnOnce(&mut Task) + use<> {
    let sitekey = Some(sitekey.to_owned());
    move |task| task.dimensions.sitekey = sitekey
}

/// (value, cause, count) of the dead by a dimension.
async fn dead_by(h: &Harness, dim: Dim) -> Vec<(String, String, i64)> {
    let rows = h.store.census(&[StateKind::Dead], dim, MANY).await.unwrap();
    rows.into_iter()
        .map(|(row, n)| (row.value, row.cause.map(String::from).unwrap_or_default(), n))
        .collect()
}

pub(crate) async fn totals_follow_a_task_through_its_states(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (_, _) = h.submitting(&worker, |_| ()).await;
    h.polling(&worker, |_| ()).await;
    h.solved(&worker, |_| ()).await;
    let buried = h.dead(&worker, "ERROR_BAD", |_| ()).await;
    h.happens(buried.id, None, Happened::Buried).await;
    h.dead(&worker, "ERROR_BAD", |_| ()).await;
    let ids = h.insert_many(2, |_, _| ()).await;
    h.happens(ids[0], None, Happened::Cancelled).await;
    let totals = h.store.totals().await.unwrap();
    let standing = [totals.queued, totals.submitting, totals.polling, totals.solved];
    assert_eq!(standing, [1, 1, 1, 1]);
    assert_eq!([totals.dead, totals.buried, totals.cancelled], [1, 1, 1]);
    assert_eq!([totals.accepted, totals.purged], [7, 0]);
}

pub(crate) async fn the_census_counts_the_dead_by_each_dimension_largest_first(h: &mut Harness) {
    let worker = h.worker("w").await;
    for (cause, sitekey) in [("ONE", "a"), ("TWO", "b"), ("ONE", "b"), ("ONE", "b")] {
        h.dead(&worker, cause, at(sitekey)).await;
    }
    h.dead(&worker, "TWO", |task| task.dimensions.sitekey = None).await;
    h.insert(|_| ()).await;
    let by_sitekey = dead_by(h, Dim::Sitekey).await;
    assert_eq!(by_sitekey[0], ("b".into(), "ONE".into(), 2));
    let mut rest = by_sitekey[1..].to_vec();
    rest.sort_unstable();
    assert_eq!(rest, [("a".into(), "ONE".into(), 1), ("b".into(), "TWO".into(), 1)]);
    let all = [(String::new(), "ONE".into(), 3), (String::new(), "TWO".into(), 2)];
    assert_eq!(dead_by(h, Dim::All).await, all);
    let by_account = [("main".into(), "ONE".into(), 3), ("main".into(), "TWO".into(), 2)];
    assert_eq!(dead_by(h, Dim::Account).await, by_account);
    assert!(dead_by(h, Dim::Proxy).await.is_empty());

    let (largest, n) = h.store.census(&[], Dim::All, 1).await.unwrap().remove(0);
    assert_eq!((largest.place, largest.class, n), (Place::Dead, Some(Class::Permanent), 3));
}

pub(crate) async fn the_census_of_some_places_leaves_the_others_out(h: &mut Harness) {
    let worker = h.worker("w").await;
    h.dead(&worker, "ERROR_BAD", |_| ()).await;
    h.insert_many(2, |_, _| ()).await;
    let queued = h.store.census(&[StateKind::Queued], Dim::All, MANY).await.unwrap();
    assert_eq!((queued.len(), queued[0].0.place, queued[0].1), (1, Place::Queued, 2));
    let both = [StateKind::Queued, StateKind::Dead];
    assert_eq!(h.store.census(&both, Dim::All, MANY).await.unwrap().len(), 2);
    assert_eq!(h.store.census(&[], Dim::All, MANY).await.unwrap().len(), 2);
}

pub(crate) async fn the_census_forgets_what_was_redriven_buried_and_purged(h: &mut Harness) {
    let worker = h.worker("w").await;
    let redriven = h.dead(&worker, "ONE", at("a")).await;
    let buried = h.dead(&worker, "ONE", at("a")).await;
    let purged = h.dead(&worker, "ONE", at("a")).await;
    h.dead(&worker, "ONE", at("b")).await;
    assert_eq!(dead_by(h, Dim::Sitekey).await[0], ("a".into(), "ONE".into(), 3));
    h.redrive(redriven.id, None).await;
    h.happens(buried.id, None, Happened::Buried).await;
    assert_eq!(h.store.purge(&[(purged.id, purged.version)]).await.unwrap(), 1);
    assert_eq!(dead_by(h, Dim::Sitekey).await, [("b".into(), "ONE".into(), 1)]);
    let buried = h.store.census(&[StateKind::Buried], Dim::Sitekey, MANY).await.unwrap();
    assert_eq!((buried[0].0.value.as_str(), buried[0].1), ("a", 1));
}

pub(crate) async fn a_redriven_task_that_dies_again_counts_under_its_new_cause(h: &mut Harness) {
    let worker = h.worker("w").await;
    let task = h.dead(&worker, "ONE", at("a")).await;
    h.redrive(task.id, None).await;
    let claimed = h.claim(&worker, 1).await.remove(0);
    let refused = Happened::Refused(Failure::new("TWO", Class::Permanent));
    h.happens(task.id, Some(&claimed.attempt), refused).await;
    assert_eq!(dead_by(h, Dim::Sitekey).await, [("a".into(), "TWO".into(), 1)]);
}

pub(crate) async fn a_stale_change_counts_nothing(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.submitting(&worker, |_| ()).await;
    let refused = Happened::Refused(Failure::new("ERROR_BAD", Class::Permanent));
    let change = h.decide(&task, Some(&attempt), &refused);
    h.store.commit(vec![change.clone(), change]).await.unwrap();
    assert_eq!(dead_by(h, Dim::All).await.len(), 1);
    assert_eq!(h.store.totals().await.unwrap().dead, 1);
    let tallies = h.store.tallies(Dim::All, UnixMs(0), MANY).await.unwrap();
    let counted = tallies.iter().map(|(row, n)| (row.tallied, *n)).collect::<BTreeMap<_, _>>();
    assert_eq!(counted, [(Tallied::Dead, 1), (Tallied::Submitted, 1)].into());
    assert_eq!(h.store.events(0, MANY).await.unwrap().len(), 1);
}

pub(crate) async fn tallies_count_by_the_minute_and_the_dimension(h: &mut Harness) {
    let worker = h.worker("w").await;
    let first = h.now().0 - h.now().0.rem_euclid(TALLY_MS);
    h.solved(&worker, at("a")).await;
    h.solved(&worker, at("a")).await;
    h.dead(&worker, "ONE", at("a")).await;
    h.clock.advance(TALLY_MS);
    h.solved(&worker, at("a")).await;
    h.solved(&worker, at("b")).await;

    let mut rows: Vec<_> = h
        .store
        .tallies(Dim::Sitekey, UnixMs(0), MANY)
        .await
        .unwrap()
        .into_iter()
        .map(|(row, n)| (row.minute.0 - first, row.tallied, row.cause, row.value, n))
        .collect();
    assert!(rows.is_sorted_by_key(|row| row.0));
    rows.sort();
    let one = Some(deadletter_core::Cause::new("ONE"));
    let wanted = [
        (0, Tallied::Solved, None, "a".to_owned(), 2),
        (0, Tallied::Dead, one, "a".to_owned(), 1),
        (TALLY_MS, Tallied::Solved, None, "a".to_owned(), 1),
        (TALLY_MS, Tallied::Solved, None, "b".to_owned(), 1),
    ];
    assert_eq!(rows, wanted);

    let since = UnixMs(first + TALLY_MS);
    assert_eq!(h.store.tallies(Dim::Sitekey, since, MANY).await.unwrap().len(), 2);
    assert!(h.store.tallies(Dim::Sitekey, since.plus(1), MANY).await.unwrap().is_empty());
    let bounded = h.store.tallies(Dim::Sitekey, UnixMs(0), 3).await.unwrap();
    assert_eq!((bounded.len(), bounded[2].0.minute), (3, since));
}

pub(crate) async fn failures_are_tallied_while_the_task_goes_on(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.submitting(&worker, |_| ()).await;
    let refused = Happened::Refused(Failure::new("NETWORK", Class::Transient));
    h.happens(task.id, Some(&attempt), refused).await;
    let mut rows = h.store.tallies(Dim::All, UnixMs(0), MANY).await.unwrap();
    rows.retain(|(row, _)| row.tallied != Tallied::Submitted);
    let (row, n) = &rows[0];
    assert_eq!((rows.len(), row.tallied, *n), (1, Tallied::Failed, 1));
    assert_eq!(row.cause.as_ref().unwrap().as_str(), "NETWORK");
}

pub(crate) async fn submits_and_doubts_are_tallied_once(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (task, attempt) = h.submitting(&worker, |_| ()).await;
    let doubt = Happened::InDoubt(Failure::new("NETWORK", Class::Transient));
    let change = h.decide(&task, Some(&attempt), &doubt);
    h.store.commit(vec![change.clone(), change]).await.unwrap();
    let tallies = h.store.tallies(Dim::All, UnixMs(0), MANY).await.unwrap();
    let of = |tallied| -> i64 {
        tallies.iter().filter(|(row, _)| row.tallied == tallied).map(|(_, n)| n).sum()
    };
    assert_eq!((of(Tallied::Submitted), of(Tallied::InDoubt)), (1, 1));
}

pub(crate) async fn odd_values_are_counted_apart(h: &mut Harness) {
    let worker = h.worker("w").await;
    for sitekey in ["A", "a", "ä", "a ", "", "\u{0}"] {
        h.dead(&worker, "ONE", at(sitekey)).await;
    }
    assert_eq!(dead_by(h, Dim::Sitekey).await.len(), 6);
}
