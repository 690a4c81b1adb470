//! Events: each entry into a terminal state, once, in the order of commits.

use crate::harness::{Harness, MANY, answered, operation};
use deadletter_core::{Event, Happened, ItemState, StateKind, UnixMs};
use deadletter_store::{Forgotten, Freeze, Seen, Trail};

pub(crate) async fn each_terminal_change_is_one_event_in_order(h: &mut Harness) {
    let worker = h.worker("w").await;
    let (solved, attempt) = h.polling(&worker, |_| ()).await;
    h.clock.advance(5);
    let dead = h.dead(&worker, "ERROR_BAD", |_| ()).await;
    h.clock.advance(5);
    h.happens(solved.id, Some(&attempt), answered(&attempt, "token")).await;
    h.happens(dead.id, None, Happened::Buried).await;
    let events: Vec<Event> =
        h.store.events(0, MANY).await.unwrap().into_iter().map(|(_, event)| event).collect();
    let states: Vec<_> = events.iter().map(|event| (event.task, event.state)).collect();
    let wanted =
        [(dead.id, StateKind::Dead), (solved.id, StateKind::Solved), (dead.id, StateKind::Buried)];
    assert_eq!(states, wanted);
    assert_eq!((events[0].reason, &events[0].cause), (dead.reason(), &dead.cause));
    assert_eq!(events[0].at, h.now().plus(-5));
    assert_eq!((events[1].answered_by, events[1].at), (Some(attempt.token), h.now()));
}

pub(crate) async fn the_sequence_rises_and_can_be_read_on_from_anywhere(h: &mut Harness) {
    assert_eq!(h.store.last_event().await.unwrap(), 0);
    assert!(h.store.events(0, MANY).await.unwrap().is_empty());
    let worker = h.worker("w").await;
    for _ in 0..5 {
        h.solved(&worker, |_| ()).await;
    }
    let all = h.store.events(0, MANY).await.unwrap();
    assert!(all.iter().map(|(n, _)| *n).is_sorted_by(|a, b| a < b) && all[0].0 > 0);
    assert_eq!(h.store.last_event().await.unwrap(), all[4].0);
    assert_eq!(h.store.events(0, 2).await.unwrap(), all[..2]);
    assert_eq!(h.store.events(all[1].0, MANY).await.unwrap(), all[2..]);
    assert!(h.store.events(all[4].0, MANY).await.unwrap().is_empty());
    assert!(h.store.events(u64::MAX, MANY).await.unwrap().is_empty());
}

pub(crate) async fn a_redrive_is_no_event_but_the_second_death_is_one(h: &mut Harness) {
    let worker = h.worker("w").await;
    let dead = h.dead(&worker, "ERROR_BAD", |_| ()).await;
    h.redrive(dead.id, None).await;
    assert_eq!(h.store.last_event().await.unwrap(), 1);
    let claimed = h.claim(&worker, 1).await.remove(0);
    let failure = deadletter_core::Failure::new("TWO", deadletter_core::Class::Permanent);
    h.happens(dead.id, Some(&claimed.attempt), Happened::Refused(failure)).await;
    assert_eq!(h.store.events(0, MANY).await.unwrap().len(), 2);
}

pub(crate) async fn a_trail_holds_what_is_on_record_of_one_task(h: &mut Harness) {
    let worker = h.worker("w").await;
    let dead = h.dead(&worker, "ERROR_BAD", |_| ()).await;
    let other = h.dead(&worker, "ERROR_BAD", |_| ()).await;
    for name in ["op-2", "op-1"] {
        let freeze = Freeze { operation: operation(name), query: h.everything() };
        h.store.freeze(&freeze).await.unwrap();
    }
    h.store.skip(&operation("op-2"), &[dead.id]).await.unwrap();
    h.happens(dead.id, None, Happened::Buried).await;
    let trail = h.store.trail(dead.id, &Seen::default(), MANY).await.unwrap();
    let states: Vec<_> = trail.events.iter().map(|(_, event)| event.state).collect();
    assert_eq!(states, [StateKind::Dead, StateKind::Buried]);
    assert!(trail.events.is_sorted_by(|a, b| a.0 < b.0));
    let items: Vec<_> = trail.items.iter().map(|(id, item)| (id.as_str(), item.state)).collect();
    assert_eq!(items, [("op-1", ItemState::Pending), ("op-2", ItemState::Skipped)]);
    assert!(
        trail.items.iter().all(|(_, item)| (item.task, item.version) == (dead.id, dead.version))
    );
    assert_eq!(h.store.trail(other.id, &Seen::default(), MANY).await.unwrap().events.len(), 1);
    let (mut seen, mut read) = (Seen::default(), Trail::default());
    for left in [1, 1, 0] {
        let page = h.store.trail(dead.id, &seen, 1).await.unwrap();
        assert_eq!((page.events.len(), page.items.len()), (left, left));
        seen = seen.with(&page);
        read.events.extend(page.events);
        read.items.extend(page.items);
    }
    assert_eq!(read, trail, "page by page");
    let buried = h.task(dead.id).await;
    assert_eq!(h.store.purge(&[(buried.id, buried.version)]).await.unwrap(), 1);
    let after = h.store.trail(dead.id, &Seen::default(), MANY).await.unwrap();
    assert_eq!((after.events, after.items), (trail.events, Vec::new()));
}

pub(crate) async fn events_of_purged_tasks_are_forgotten_and_the_newest_stays(h: &mut Harness) {
    let worker = h.worker("w").await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        tasks.push(h.solved(&worker, |_| ()).await);
    }
    let before = h.now().plus(1);
    for task in [0, 2, 3] {
        h.store.purge(&[(tasks[task].id, tasks[task].version)]).await.unwrap();
    }
    let mut forget = h.forget_before(before);
    forget.limit = 2;
    let step = h.store.forget(&forget).await.unwrap();
    assert_eq!((step.events, step.next_event), (1, Some(2)));
    forget.events_after = 2;
    let step = h.store.forget(&forget).await.unwrap();
    assert_eq!((step.events, step.next_event), (1, None));
    let left: Vec<u64> =
        h.store.events(0, MANY).await.unwrap().into_iter().map(|(n, _)| n).collect();
    assert_eq!(left, [2, 4], "one of a task that stands, and the newest");
    assert_eq!(h.store.trail(tasks[1].id, &Seen::default(), MANY).await.unwrap().events.len(), 1);
    assert!(h.store.trail(tasks[0].id, &Seen::default(), MANY).await.unwrap().events.is_empty());
    h.solved(&worker, |_| ()).await;
    assert_eq!(h.store.last_event().await.unwrap(), 5, "a number was given twice");
    let younger = h.store.forget(&h.forget_before(UnixMs(0))).await.unwrap();
    assert_eq!(younger, Forgotten::default());
}
