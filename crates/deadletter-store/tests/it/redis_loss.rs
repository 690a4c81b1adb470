//! A Redis server that goes back to an earlier instant: what it lost is put back by whoever wrote it.

use crate::{
    backends::redis_under,
    harness::{Harness, MANY, answered, run, upstream_id},
    redis_prefix::{Prefix, say},
    server::variable,
};
use deadletter_core::{Happened, Reading, StateKind, Task, TaskId, Verdict, WorkerId};
use deadletter_store::{Ailment, Error, Inserted, Store};
use std::sync::Arc;

/// Keeps what stands under a prefix, beside it.
const KEEP: &str = "redis.call('DEL', KEYS[1]) local at = '0' repeat \
     local found = redis.call('SCAN', at, 'MATCH', ARGV[1], 'COUNT', 5000) \
     for _, key in ipairs(found[2]) do redis.call('HSET', KEYS[1], key, redis.call('DUMP', key)) end \
     at = found[1] until at == '0'";
/// Deletes what stands there now, and restores what was kept.
const GO_BACK: &str = "local at = '0' repeat \
     local found = redis.call('SCAN', at, 'MATCH', ARGV[1], 'COUNT', 5000) \
     for _, key in ipairs(found[2]) do redis.call('DEL', key) end \
     at = found[1] until at == '0' \
     local kept = redis.call('HGETALL', KEYS[1]) \
     for i = 1, #kept, 2 do redis.call('RESTORE', kept[i], 0, kept[i + 1]) end \
     redis.call('DEL', KEYS[1])";

/// The keys of a store, as an administrator sees them.
struct Keys {
    name: String,
}

/// A right that a call needs behind its first writes.
const LATE: &str = "hincrby";

impl Keys {
    fn eval(&self, script: &str) {
        let (aside, all) = (format!("aside:{}", self.name), format!("{{{}}}:*", self.name));
        say(&variable("DLQ_TEST_REDIS"), &["EVAL", script, "1", &aside, &all]);
    }

    /// The instant to which they go back.
    fn keep(&self) {
        self.eval(KEEP);
    }

    /// A server that was behind takes over.
    fn go_back(&self) {
        self.eval(GO_BACK);
        self.are_another_servers();
    }

    /// Another run of a server answers from now on, or one that seems so.
    fn are_another_servers(&self) {
        let key = format!("{{{}}}:m", self.name);
        say(&variable("DLQ_TEST_REDIS"), &["HSET", &key, "run", "another"]);
        say(&variable("DLQ_TEST_REDIS"), &["CLIENT", "KILL", "USER", &self.name]);
    }
}

async fn with_keys(case: impl AsyncFnOnce(&mut Harness, Keys)) {
    let prefix = Prefix::new();
    let keys = Keys { name: prefix.name.clone() };
    run(redis_under(prefix), async |h: &mut Harness| case(h, keys).await).await;
}

/// Everything that stands of a task but its events.
async fn all_of(store: &dyn Store, id: TaskId) -> String {
    let (task, history) = (store.get(&[id]).await.unwrap(), store.history(id).await.unwrap());
    let answers = store.answers(id).await.unwrap();
    let payload = store.payload(id).await.unwrap().map(|payload| payload.to_stored());
    let deliveries = store.deliveries(id, MANY).await.unwrap();
    format!("{task:?} {history:?} {answers:?} {payload:?} {deliveries:?}")
}

#[tokio::test]
async fn what_a_server_lost_is_put_back_by_whoever_wrote_it() {
    with_keys(async |h, keys| {
        let worker = h.worker("w").await;
        let (working, attempt) = h.polling(&worker, |_| ()).await;
        let (under_way, _) = h.submitting(&worker, |_| ()).await;
        let place = |task: &mut Task| task.place = Some("a.test:443".to_owned());
        let (paid, paid_attempt) = h.submitting(&worker, place).await;
        assert_eq!(h.store.ailments().await.unwrap(), []);
        keys.keep();
        h.happens(working.id, Some(&attempt), answered(&attempt, "token")).await;
        let accepted = Happened::Accepted(upstream_id("u-paid"));
        h.happens(paid.id, Some(&paid_attempt), accepted).await;
        let paid_attempt = h.attempt(paid.id, 1).await;
        h.happens(paid.id, Some(&paid_attempt), answered(&paid_attempt, "other")).await;
        let (new, _) = h.polling(&worker, |_| ()).await;
        let waiting = h.insert(|task| task.idempotency_key = Some("k".to_owned())).await;
        let dead = h.dead(&worker, "ERROR_X", |_| ()).await;
        let ids = [working.id, under_way.id, paid.id, new.id, waiting.id, dead.id];
        let mut before = Vec::new();
        for id in ids {
            before.push(all_of(&*h.store, id).await);
        }
        let (totals, last) = (h.store.totals().await.unwrap(), h.store.last_event().await.unwrap());
        keys.go_back();
        h.store.pulse().await.unwrap();
        for (id, before) in ids.into_iter().zip(before) {
            assert_eq!(all_of(&*h.store, id).await, before);
        }
        assert_eq!(h.store.totals().await.unwrap(), totals);
        assert_eq!(h.store.recount().await.unwrap(), totals);
        // Nobody who has read the events up to there misses one that was lost.
        let events = h.store.events(last, MANY).await.unwrap();
        let ended: Vec<TaskId> = events.iter().map(|(_, event)| event.task).collect();
        for id in [working.id, paid.id, dead.id] {
            assert!(ended.contains(&id), "{ended:?}");
        }
        let again = h.new_task_with(|task| task.idempotency_key = Some("k".to_owned()));
        let inserted = h.store.insert(vec![again]).await.unwrap();
        assert_eq!(inserted, [Inserted::Existing(waiting.id)]);
        // Whoever looks after the server hears of it later, from the store alone.
        let ailments = h.store.ailments().await.unwrap();
        let [Ailment::Lost { at, changes, put_back: 5 }] = ailments[..] else {
            panic!("all but one were put back: {ailments:?}")
        };
        assert!(at == h.now() && changes >= 5, "{ailments:?}");
    })
    .await;
}

#[tokio::test]
async fn a_submit_that_the_server_forgot_is_not_made_again() {
    with_keys(async |h, keys| {
        let worker = h.worker("w").await;
        let only = |task: &mut Task| (task.max_submits, task.round.allowance) = (1, 1);
        let task = h.insert(only).await;
        keys.keep();
        let claimed = h.claim(&worker, 1).await;
        assert_eq!(claimed.len(), 1);
        keys.go_back();
        h.store.pulse().await.unwrap();
        let error = h.store.claim(h.claim_of(&worker, 1)).await.unwrap_err();
        assert!(matches!(error, Error::InDoubt { .. }), "it is told of the loss: {error}");
        assert!(h.claim(&worker, 1).await.is_empty());
        assert_eq!(h.task(task.id).await, claimed[0].task);
    })
    .await;
}

#[tokio::test]
async fn nobody_claims_before_the_others_have_put_back_what_they_hold() {
    with_keys(async |h, keys| {
        let (mine, other) = (h.worker("mine").await, "other".parse().unwrap());
        let another = h.another_handle().await;
        another.register(&other, "test").await.unwrap();
        let task = h.insert(|_| ()).await;
        keys.keep();
        let claim = deadletter_store::Claim { worker: other.clone(), ..h.claim_of(&mine, 1) };
        let claimed = another.claim(claim).await.unwrap();
        keys.go_back();
        // Its last beat was before the store went back.
        h.clock.advance(1);
        h.store.pulse().await.unwrap();
        assert_eq!(h.task(task.id).await.kind(), StateKind::Queued, "nobody here knows better");
        let claiming = h.claim(&mine, 1);
        let heard = async {
            another.beat(&other).await.unwrap();
        };
        let (mine_claimed, ()) = tokio::join!(claiming, heard);
        assert!(mine_claimed.is_empty(), "the task is in another's hand");
        assert_eq!(h.task(task.id).await, claimed[0].task);
    })
    .await;
}

#[tokio::test]
async fn nobody_is_dead_by_beats_that_the_server_forgot() {
    with_keys(async |h, keys| {
        let other = h.another_handle().await;
        let lives: WorkerId = "lives".parse().unwrap();
        other.register(&lives, "test").await.unwrap();
        let worker = h.worker("w").await;
        keys.keep();
        h.clock.advance(60_000);
        other.beat(&lives).await.unwrap();
        h.store.beat(&worker).await.unwrap();
        keys.go_back();
        h.store.pulse().await.unwrap();
        h.clock.advance(2_000);
        assert_eq!(h.declare_silent().await, [], "it has beaten two seconds ago");
        h.clock.advance(5_000);
        h.store.beat(&worker).await.unwrap();
        assert_eq!(h.declare_silent().await, [lives], "and not for seven seconds");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_went_back_in_the_middle_of_its_run_is_noticed_too() {
    with_keys(async |h, keys| {
        let worker = h.worker("w").await;
        keys.keep();
        let (task, _) = h.polling(&worker, |_| ()).await;
        keys.eval(GO_BACK);
        h.store.beat(&worker).await.unwrap();
        assert_eq!(h.task(task.id).await, task);
    })
    .await;
}

#[tokio::test]
async fn another_server_that_has_everything_is_gone_on_with() {
    with_keys(async |h, keys| {
        let worker = h.worker("w").await;
        let (task, _) = h.polling(&worker, |_| ()).await;
        let before = all_of(&*h.store, task.id).await;
        keys.are_another_servers();
        let late: Arc<dyn Store> = h.another_handle().await;
        late.pulse().await.unwrap();
        h.store.pulse().await.unwrap();
        h.store.beat(&worker).await.unwrap();
        assert_eq!(all_of(&*h.store, task.id).await, before);
        let (next, _) = h.submitting(&worker, |_| ()).await;
        assert_eq!(late.get(&[next.id]).await.unwrap(), [Some(next)]);
    })
    .await;
}

#[tokio::test]
async fn what_was_deleted_does_not_come_back() {
    with_keys(async |h, keys| {
        let worker = h.worker("w").await;
        let task = h.solved(&worker, |_| ()).await;
        assert_eq!(h.store.purge(&[(task.id, task.version)]).await.unwrap(), 1);
        keys.keep();
        h.insert(|_| ()).await;
        keys.go_back();
        h.store.pulse().await.unwrap();
        assert!(h.find(task.id).await.is_none());
        assert_eq!(h.store.totals().await.unwrap().accepted, 2);
    })
    .await;
}

#[tokio::test]
async fn a_submit_that_the_server_and_its_process_forgot_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut prefix = Prefix::new();
    prefix.url.push_str(&format!("&ledger={}", folder.path().join("ledger").display()));
    let keys = Keys { name: prefix.name.clone() };
    let case = async |h: &mut Harness| {
        let worker = h.worker("w").await;
        let only = |task: &mut Task| (task.max_submits, task.round.allowance) = (1, 1);
        let task = h.insert(only).await;
        keys.keep();
        let claimed = h.claim(&worker, 1).await.remove(0);
        // Whoever begins while its process lives leaves its file alone.
        let meanwhile = h.another_handle().await;
        meanwhile.register(&"meanwhile".parse().unwrap(), "test").await.unwrap();
        meanwhile.close().await.unwrap();
        let files = std::fs::read_dir(folder.path().join("ledger")).unwrap();
        assert_eq!(files.count(), 2);
        h.store.close().await.unwrap();
        keys.go_back();
        h.reopen().await;
        assert_eq!(h.task(task.id).await.kind(), StateKind::Queued, "the server has lost it");
        let next = h.worker("next").await;
        assert!(h.claim(&next, 1).await.is_empty());
        let after = h.task(task.id).await;
        assert_eq!((after.kind(), after.counters.submits), (StateKind::Buried, 1));
        let known = h.attempt(task.id, 1).await;
        assert_eq!(known.token, claimed.attempt.token);
        assert_eq!(known.verdict, Some(Verdict::InDoubt), "nobody knows what came of it");
    };
    run(redis_under(prefix), case).await;
}

#[tokio::test]
async fn a_submit_that_is_lost_behind_the_next_process_is_counted_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let mut prefix = Prefix::new();
    prefix.url.push_str(&format!("&ledger={}", folder.path().display()));
    let keys = Keys { name: prefix.name.clone() };
    let case = async |h: &mut Harness| {
        let worker = h.worker("w").await;
        let task = h.insert(|_| ()).await;
        keys.keep();
        let claimed = h.claim(&worker, 1).await;
        h.reopen().await;
        let next = h.worker("next").await;
        keys.go_back();
        h.store.pulse().await.unwrap();
        assert_eq!(h.task(task.id).await.counters.submits, 1);
        assert_eq!(h.attempt(task.id, 1).await.token, claimed[0].attempt.token);
        assert!(h.store.beat(&next).await.is_err(), "its registration is lost");
    };
    run(redis_under(prefix), case).await;
}

#[tokio::test]
async fn a_right_that_is_taken_away_from_an_open_store_leaves_nothing_half_written() {
    with_keys(async |h, keys| {
        let set = |how: &str| {
            let right = format!("{how}{LATE}");
            say(&variable("DLQ_TEST_REDIS"), &["ACL", "SETUSER", &keys.name, &right]);
        };
        let new = h.new_task();
        set("-");
        let error = h.store.insert(vec![new.clone()]).await.unwrap_err();
        set("+");
        assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
        assert!(h.find(new.task.id).await.is_none(), "half of it was written");
        assert_eq!(h.store.recount().await.unwrap(), h.store.totals().await.unwrap());
        let id = new.task.id;
        assert_eq!(h.store.insert(vec![new]).await.unwrap(), [Inserted::New(id)]);
    })
    .await;
}

#[tokio::test]
async fn an_answer_comes_back_to_a_row_that_another_one_had_put_back_without() {
    with_keys(async |h, keys| {
        let worker = h.worker("w").await;
        let (task, attempt) = h.polling(&worker, |_| ()).await;
        let another = h.another_handle().await;
        keys.keep();
        h.happens(task.id, Some(&attempt), answered(&attempt, "token")).await;
        let version = h.task(task.id).await.version;
        let reading = Reading { task: task.id, version, at: h.now(), expires_at: None };
        assert_eq!(another.mark_read(&[reading]).await.unwrap(), 1);
        keys.go_back();
        another.pulse().await.unwrap();
        assert_eq!(h.task(task.id).await.kind(), StateKind::Solved);
        assert!(h.store.answer(task.id).await.unwrap().is_some());
    })
    .await;
}
