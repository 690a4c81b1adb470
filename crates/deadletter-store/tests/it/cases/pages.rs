//! Pages: by filter, in the order of ids, bounded whatever the filter.

use crate::harness::{Harness, MANY};
use deadletter_core::{Filter, TaskId};
use deadletter_store::Query;

fn query(h: &Harness, filter: &str) -> Query {
    Query { filter: filter.parse::<Filter>().unwrap(), ..h.everything() }
}

async fn page(h: &Harness, query: &Query) -> (Vec<TaskId>, Option<TaskId>) {
    let page = h.store.page(query).await.unwrap();
    (page.tasks.into_iter().map(|task| task.id).collect(), page.next)
}

/// All pages, walked by cursor; none holds more than was asked for.
async fn walk(h: &Harness, mut query: Query) -> Vec<TaskId> {
    let mut all = Vec::new();
    for _ in 0..1_000 {
        let (ids, next) = page(h, &query).await;
        assert!(ids.len() <= query.limit as usize);
        all.extend(ids);
        if next.is_none() {
            return all;
        }
        query.after = next;
    }
    panic!("the walk does not end");
}

pub(crate) async fn a_page_has_whole_rows_in_the_order_of_ids(h: &mut Harness) {
    let ids = h.insert_many(3, |i, task| task.priority = 2 - i as u8).await;
    let all = h.store.page(&h.everything()).await.unwrap();
    for (task, id) in all.tasks.iter().zip(&ids) {
        assert_eq!(*task, h.task(*id).await);
    }
    let newest_first = Query { newest_first: true, ..h.everything() };
    assert_eq!(page(h, &newest_first).await, ([ids[2], ids[1], ids[0]].to_vec(), None));
}

pub(crate) async fn an_empty_store_has_an_empty_page(h: &mut Harness) {
    assert_eq!(page(h, &h.everything()).await, (Vec::new(), None));
    assert_eq!(page(h, &query(h, "state:dead")).await, (Vec::new(), None));
}

pub(crate) async fn a_walk_by_cursor_meets_every_task_once(h: &mut Harness) {
    let mut ids = h.insert_many(10, |_, _| ()).await;
    for limit in [1, 3, 5, 10, 11] {
        assert_eq!(walk(h, Query { limit, ..h.everything() }).await, ids);
    }
    ids.reverse();
    let newest_first = Query { limit: 3, newest_first: true, ..h.everything() };
    assert_eq!(walk(h, newest_first).await, ids);
}

pub(crate) async fn the_last_page_says_that_it_is_the_last(h: &mut Harness) {
    let ids = h.insert_many(4, |_, _| ()).await;
    let mut two = Query { limit: 2, ..h.everything() };
    assert_eq!(page(h, &two).await, (ids[..2].to_vec(), Some(ids[1])));
    two.after = Some(ids[1]);
    assert_eq!(page(h, &two).await, (ids[2..].to_vec(), None));
}

pub(crate) async fn a_page_of_nothing_is_empty(h: &mut Harness) {
    h.insert_many(2, |_, _| ()).await;
    let none = Query { limit: 0, ..h.everything() };
    assert!(page(h, &none).await.0.is_empty());
}

pub(crate) async fn a_walk_goes_on_where_its_last_task_was_purged(h: &mut Harness) {
    let worker = h.worker("w").await;
    let dead = h.dead(&worker, "ERROR_BAD", |_| ()).await;
    let rest = h.insert_many(2, |_, _| ()).await;
    let (_, next) = page(h, &Query { limit: 1, ..h.everything() }).await;
    h.store.purge(&[(dead.id, dead.version)]).await.unwrap();
    assert_eq!(page(h, &Query { after: next, ..h.everything() }).await.0, rest);
}

pub(crate) async fn filters_choose_by_what_is_indexed_and_by_what_is_not(h: &mut Harness) {
    let worker = h.worker("w").await;
    let spot = |sitekey: &str, batch: &str| {
        let (sitekey, batch) = (Some(sitekey.to_owned()), Some(batch.to_owned()));
        move |task: &mut deadletter_core::Task| {
            (task.dimensions.sitekey, task.dimensions.batch) = (sitekey, batch);
        }
    };
    let a = h.dead(&worker, "ERROR_ONE", spot("6Le-a", "x")).await.id;
    let b = h.dead(&worker, "ERROR_ONE", spot("6Le-b", "y")).await.id;
    let c = h.dead(&worker, "ERROR_TWO", spot("6Le-b", "x")).await.id;
    let d = h.solved(&worker, spot("6Le-b", "x")).await.id;
    let e = h.insert(spot("6Lf", "x")).await.id;
    for (filter, wanted) in [
        ("state:dead", vec![a, b, c]),
        ("state:dead,solved", vec![a, b, c, d]),
        ("-state:dead", vec![d, e]),
        ("cause:ERROR_ONE", vec![a, b]),
        ("sitekey:6Le-b", vec![b, c, d]),
        ("sitekey:6Le*", vec![a, b, c, d]),
        ("batch:x", vec![a, c, d, e]),
        ("batch:x state:dead", vec![a, c]),
        ("state:dead cause:ERROR_ONE sitekey:6Le-b batch:y", vec![b]),
        ("state:dead -batch:x", vec![b]),
        ("state:buried", vec![]),
        ("cause:NONE", vec![]),
        ("*", vec![a, b, c, d, e]),
    ] {
        assert_eq!(walk(h, query(h, filter)).await, wanted, "{filter}");
        let by_two = Query { limit: 2, ..query(h, filter) };
        assert_eq!(walk(h, by_two).await, wanted, "{filter}, by two");
        let wanted: Vec<_> = wanted.into_iter().rev().collect();
        let newest_first = Query { newest_first: true, limit: 2, ..query(h, filter) };
        assert_eq!(walk(h, newest_first).await, wanted, "{filter}, newest first");
    }
}

pub(crate) async fn named_ids_are_found_in_order_and_once(h: &mut Harness) {
    let ids = h.insert_many(6, |_, _| ()).await;
    let unknown = TaskId::try_from(7_u64).unwrap();
    let filter = Filter::ids([ids[4], unknown, ids[1], ids[4], ids[2]]).unwrap();
    let wanted = vec![ids[1], ids[2], ids[4]];
    assert_eq!(walk(h, Query { filter: filter.clone(), ..h.everything() }).await, wanted);
    assert_eq!(walk(h, Query { filter, limit: 1, ..h.everything() }).await, wanted);
}

pub(crate) async fn ages_are_measured_at_the_querys_now(h: &mut Harness) {
    let old = h.insert(|_| ()).await.id;
    h.clock.advance(3_600_000);
    let new = h.insert(|_| ()).await.id;
    assert_eq!(walk(h, query(h, "age:<30m")).await, [new]);
    assert_eq!(walk(h, query(h, "age:>=30m")).await, [old]);
    let later = Query { now: h.now().plus(3_600_000), ..query(h, "age:>=30m") };
    assert_eq!(walk(h, later).await, [old, new]);
}

pub(crate) async fn a_filter_that_finds_little_is_bounded_by_the_scan_limit(h: &mut Harness) {
    let ids = h.insert_many(10, |i, task| task.priority = if i == 7 { 3 } else { 1 }).await;
    let mut rare = Query { scan_limit: 4, ..query(h, "priority:3") };
    assert_eq!(page(h, &rare).await, (Vec::new(), Some(ids[3])));
    rare.after = Some(ids[3]);
    assert_eq!(page(h, &rare).await, (vec![ids[7]], Some(ids[7])));
    rare.after = Some(ids[7]);
    assert_eq!(page(h, &rare).await, (Vec::new(), None));
    for scan_limit in [1, 2, 3, 9, 10, MANY] {
        assert_eq!(walk(h, Query { scan_limit, ..query(h, "priority:3") }).await, [ids[7]]);
    }
}
