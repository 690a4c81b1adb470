//! Operations: a set of tasks frozen in bounded steps, acted on once each.

use crate::harness::{Harness, MANY, operation};
use deadletter_core::{Change, Happened, StateKind, TaskId};
use deadletter_store::{Committed, Freeze, Frozen, Query};

fn freeze_of(h: &Harness, name: &str, filter: &str) -> Freeze {
    let query = Query { filter: filter.parse().unwrap(), ..h.everything() };
    Freeze { operation: operation(name), query }
}

async fn freeze(h: &Harness, name: &str) -> Frozen {
    h.store.freeze(&freeze_of(h, name, "state:dead")).await.unwrap()
}

async fn pending(h: &Harness, name: &str) -> Vec<TaskId> {
    let items = h.store.pending(&operation(name), None, MANY).await.unwrap();
    items.into_iter().map(|item| item.task).collect()
}

async fn dead(h: &Harness, n: usize) -> Vec<TaskId> {
    let worker = h.worker("w").await;
    let mut ids = Vec::new();
    for _ in 0..n {
        ids.push(h.dead(&worker, "ERROR_BAD", |_| ()).await.id);
    }
    ids
}

/// The redrive of a task, as the operation's item asks for it.
async fn redrive(h: &Harness, name: &str, id: TaskId) -> Change {
    let due_at = h.now();
    let redriven = Happened::Redriven { resume: None, due_at, keep_deadline: false, force: true };
    let mut change = h.decide(&h.task(id).await, None, &redriven);
    change.row.as_mut().unwrap().settles = Some(operation(name));
    change
}

pub(crate) async fn a_freeze_takes_what_the_filter_chooses_with_its_version(h: &mut Harness) {
    let ids = dead(h, 2).await;
    h.insert(|_| ()).await;
    assert_eq!(freeze(h, "op").await, Frozen { added: 2, next: None });
    let items = h.store.pending(&operation("op"), None, MANY).await.unwrap();
    for (item, id) in items.iter().zip(&ids) {
        assert_eq!((item.task, item.version), (*id, h.task(*id).await.version));
    }
    assert_eq!(h.store.tally_items(&operation("op")).await.unwrap(), [2, 0, 0]);
}

pub(crate) async fn a_freeze_goes_on_in_bounded_steps(h: &mut Harness) {
    let ids = dead(h, 5).await;
    let mut step = freeze_of(h, "op", "state:dead");
    step.query.limit = 2;
    let mut added = Vec::new();
    for _ in 0..9 {
        let frozen = h.store.freeze(&step).await.unwrap();
        added.push(frozen.added);
        step.query.after = frozen.next;
        if frozen.next.is_none() {
            break;
        }
    }
    assert_eq!(added, [2, 2, 1]);
    assert_eq!(pending(h, "op").await, ids);
}

pub(crate) async fn a_step_repeated_adds_nothing(h: &mut Harness) {
    let ids = dead(h, 3).await;
    let mut step = freeze_of(h, "op", "state:dead");
    step.query.limit = 2;
    let first = h.store.freeze(&step).await.unwrap();
    // As after a crash between the step and the note of how far it went.
    assert_eq!(h.store.freeze(&step).await.unwrap(), Frozen { added: 0, next: first.next });
    assert_eq!(freeze(h, "op").await.added, 1);
    assert_eq!(pending(h, "op").await, ids);
}

pub(crate) async fn a_settled_item_is_not_frozen_again(h: &mut Harness) {
    let ids = dead(h, 2).await;
    freeze(h, "op").await;
    h.store.skip(&operation("op"), &ids[..1]).await.unwrap();
    assert_eq!(freeze(h, "op").await.added, 0);
    assert_eq!(pending(h, "op").await, ids[1..]);
}

pub(crate) async fn operations_freeze_apart_from_each_other(h: &mut Harness) {
    let ids = dead(h, 2).await;
    freeze(h, "one").await;
    assert_eq!(freeze(h, "two").await.added, 2);
    h.store.skip(&operation("one"), &ids).await.unwrap();
    assert!(pending(h, "one").await.is_empty());
    assert_eq!(pending(h, "two").await, ids);
    assert_eq!(h.store.tally_items(&operation("none")).await.unwrap(), [0, 0, 0]);
    assert!(pending(h, "none").await.is_empty());
}

pub(crate) async fn an_item_is_settled_by_the_commit_of_its_change(h: &mut Harness) {
    let ids = dead(h, 2).await;
    freeze(h, "one").await;
    freeze(h, "two").await;
    let change = redrive(h, "one", ids[0]).await;
    assert_eq!(h.commit(change).await, Committed::Applied);
    assert_eq!(h.task(ids[0]).await.kind(), StateKind::Queued);
    assert_eq!(pending(h, "one").await, ids[1..]);
    assert_eq!(h.store.tally_items(&operation("one")).await.unwrap(), [1, 1, 0]);
    assert_eq!(pending(h, "two").await, ids, "another operation's item is its own affair");
}

pub(crate) async fn a_stale_change_settles_nothing(h: &mut Harness) {
    let ids = dead(h, 1).await;
    freeze(h, "op").await;
    let change = redrive(h, "op", ids[0]).await;
    h.happens(ids[0], None, Happened::Buried).await;
    assert_eq!(h.commit(change).await, Committed::Stale);
    assert_eq!(pending(h, "op").await, ids);
    let item = h.store.pending(&operation("op"), None, 1).await.unwrap().remove(0);
    assert_ne!(item.version, h.task(ids[0]).await.version, "whoever acts can see that it changed");
}

pub(crate) async fn only_pending_items_can_be_skipped(h: &mut Harness) {
    let ids = dead(h, 2).await;
    freeze(h, "op").await;
    let change = redrive(h, "op", ids[0]).await;
    h.commit(change).await;
    let unknown = h.new_task().task.id;
    h.store.skip(&operation("op"), &[ids[0], ids[1], unknown]).await.unwrap();
    assert_eq!(h.store.tally_items(&operation("op")).await.unwrap(), [0, 1, 1]);
}

pub(crate) async fn pending_items_are_listed_by_id_and_bounded(h: &mut Harness) {
    let ids = dead(h, 4).await;
    let mut newest_first = freeze_of(h, "op", "state:dead");
    newest_first.query.newest_first = true;
    h.store.freeze(&newest_first).await.unwrap();
    let items = h.store.pending(&operation("op"), None, 3).await.unwrap();
    assert_eq!(items.iter().map(|item| item.task).collect::<Vec<_>>(), ids[..3]);
    let rest = h.store.pending(&operation("op"), Some(ids[2]), 3).await.unwrap();
    assert_eq!(rest.iter().map(|item| item.task).collect::<Vec<_>>(), ids[3..]);
    let none = h.store.pending(&operation("op"), Some(ids[3]), 3).await.unwrap();
    assert!(none.is_empty(), "{none:?}");
}
