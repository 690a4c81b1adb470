//! Acceptance: what an insert stores, and what it refuses.

use crate::harness::Harness;
use deadletter_store::Inserted;

pub(crate) async fn a_new_task_is_stored_as_it_was_given(h: &mut Harness) {
    let new = h.new_task_with(|task| {
        task.owner = Some("ci".to_owned());
        task.priority = 3;
        task.dimensions.batch = Some("nightly".to_owned());
        task.dimensions.tags = vec!["a".to_owned(), "b".to_owned()];
    });
    let (task, payload) = (new.task.clone(), new.payload.clone());
    assert_eq!(h.store.insert(vec![new]).await.unwrap(), [Inserted::New(task.id)]);
    assert_eq!(h.task(task.id).await, task);
    assert_eq!(h.store.payload(task.id).await.unwrap(), Some(payload));
    assert!(h.store.history(task.id).await.unwrap().is_empty());
    assert!(h.store.answer(task.id).await.unwrap().is_none());
    assert_eq!(h.store.totals().await.unwrap().queued, 1);
}
