//! Issued keys: who is let in, and what one sees of another's.

use crate::rig::{JOB, KEY, World, memory};
use deadletter::Job;
use deadletter_gateway::{By, KeyTerms, Quota, issue, new_key, revoke};
use deadletter_sim::{OutageMode, Scenario};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use tokio::{sync::mpsc, task::JoinSet};

const BY: By<'_> = By { who: "ada", why: Some("a test") };

pub(crate) async fn issue_to(world: &World, name: &str, terms: KeyTerms) -> SecretString {
    let key = new_key(&mut rand::rng());
    issue(&world.engine, name, &key, terms, BY).await.expect("issued");
    // The gateway looks now and then.
    world.until_known(&key, true).await;
    key
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_issued_key_takes_the_place_of_the_accounts_own_while_the_gateway_runs() {
    let world = World::start().await;
    let own = world.submit().await;
    let shop = issue_to(&world, "shop", KeyTerms::default()).await;
    let refused = world.get(&format!("/in.php?key={KEY}&{JOB}")).await.body;
    assert!(refused.starts_with("ERROR_"), "{refused}");
    let id = world.submit_as(&shop).await;
    let key = shop.expose_secret();
    let foreign = world.get(&format!("/res.php?key={key}&action=get&id={own}")).await.body;
    assert_eq!(foreign, "ERROR_WRONG_CAPTCHA_ID");
    assert!(world.verdict_as(&shop, &id).await.starts_with("OK|"));
    revoke(&world.engine, "shop", BY).await.expect("revoked");
    world.until_known(&shop, false).await;
    let again = world.get(&format!("/in.php?key={KEY}&{JOB}")).await.body;
    assert!(again.starts_with("ERROR_"), "the door is shut: {again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_keys_tasks_are_unknown_to_another_and_known_to_its_next_key() {
    let world = World::start().await;
    let shop = issue_to(&world, "shop", KeyTerms::default()).await;
    let ci = issue_to(&world, "ci", KeyTerms { priority: Some(0), ..KeyTerms::default() }).await;
    let id = world.submit_as(&shop).await;
    let foreign = format!("/res.php?key={}&action=get&id={id}", ci.expose_secret());
    assert_eq!(world.get(&foreign).await.body, "ERROR_WRONG_CAPTCHA_ID");
    let urgent = world.submit_as(&ci).await;
    let tasks = world.store.get(&[urgent.parse().unwrap()]).await.unwrap();
    let task = tasks[0].as_ref().unwrap();
    assert_eq!((task.priority, task.owner.as_deref()), (0, Some("ci")));
    revoke(&world.engine, "shop", BY).await.expect("revoked");
    let next = issue_to(&world, "shop", KeyTerms::default()).await;
    assert!(world.verdict_as(&next, &id).await.starts_with("OK|"));
    world.until_known(&shop, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_keys_is_on_record_and_the_key_itself_is_nowhere() {
    let world = World::start().await;
    let shop = issue_to(&world, "shop", KeyTerms::default()).await;
    revoke(&world.engine, "shop", BY).await.expect("revoked");
    let log = world.store.audit_log(None, 10).await.unwrap();
    let log: Vec<_> = log.into_iter().map(|entry| entry.body).collect();
    for (entry, act) in log.iter().zip(["revoke", "add"]) {
        assert!(
            entry.contains(act) && entry.contains("ada") && entry.contains("a test"),
            "{entry}"
        );
    }
    let documents = world.store.documents("", 100).await.unwrap();
    let key = shop.expose_secret();
    assert!(documents.iter().all(|document| !document.body.contains(key)));
    assert!(log.len() == 2 && log.iter().all(|entry| !entry.contains(key)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_beyond_its_quota_is_refused_in_upstreams_words_and_others_are_not() {
    let world = World::start().await;
    let quota = |quota| KeyTerms { quota, ..KeyTerms::default() };
    let few = quota(Quota { in_flight: Some(2), ..Quota::default() });
    let (few, daily, slow, free) = (
        issue_to(&world, "few", few).await,
        issue_to(&world, "daily", quota(Quota { per_day: Some(2), ..Quota::default() })).await,
        issue_to(&world, "slow", quota(Quota { rate: "0.001/s".parse().ok(), ..Quota::default() }))
            .await,
        issue_to(&world, "free", KeyTerms::default()).await,
    );
    world.sim.outage(OutageMode::Html502);
    let target = |key: &SecretString| format!("/in.php?key={}&{JOB}", key.expose_secret());
    let mut ids = Vec::new();
    for (key, free_of_it, word) in [
        (&few, 2, "ERROR_NO_SLOT_AVAILABLE"),
        (&daily, 2, "ERROR_NO_SLOT_AVAILABLE"),
        (&slow, 1, "ERROR_TOO_MUCH_REQUESTS"),
    ] {
        for _ in 0..free_of_it {
            ids.push(world.submit_as(key).await);
        }
        assert_eq!(world.get(&target(key)).await.body, word);
        world.submit_as(&free).await;
    }
    let threads = format!("/res.php?key={}&action=threadsinfo&json=1", few.expose_secret());
    let own = |working| format!(r#"{{"status":1,"threads":2,"working_threads":{working}}}"#);
    assert_eq!(world.get(&threads).await.body, own(2));
    // Once one has ended, there is room for one more; the day stays full.
    world.sim.end_outage();
    assert!(world.verdict_as(&few, &ids[0]).await.starts_with("OK|"));
    assert!(world.verdict_as(&few, &ids[1]).await.starts_with("OK|"));
    world.submit_as(&few).await;
    assert!(world.verdict_as(&daily, &ids[2]).await.starts_with("OK|"));
    assert_eq!(world.get(&target(&daily)).await.body, "ERROR_NO_SLOT_AVAILABLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_in_flight_and_per_day_hold_for_a_gateway_that_starts_anew() {
    let world = World::start().await;
    let terms = |quota| KeyTerms { quota, ..KeyTerms::default() };
    let few =
        issue_to(&world, "few", terms(Quota { in_flight: Some(1), ..Quota::default() })).await;
    let daily =
        issue_to(&world, "daily", terms(Quota { per_day: Some(1), ..Quota::default() })).await;
    world.sim.outage(OutageMode::Html502);
    world.submit_as(&few).await;
    world.submit_as(&daily).await;
    let again = World::beside(&world).await;
    for key in [&few, &daily] {
        let reply = again.get(&format!("/in.php?key={}&{JOB}", key.expose_secret())).await;
        assert_eq!(reply.body, "ERROR_NO_SLOT_AVAILABLE");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_thousands_of_tasks_does_not_keep_anothers_one_task_waiting() {
    let scenario = Scenario::named("happy").unwrap();
    let world = World::with_threads(memory(), scenario, Some(2), |settings| {
        settings.capacity = 20_000;
    })
    .await;
    let one = issue_to(&world, "one", KeyTerms::default()).await;
    let job = || Job::new("userrecaptcha").param("googlekey", "6Le-many").owner("many");
    let jobs = (0..10_000).map(|n| job().param("pageurl", format!("https://a.example/{n}")));
    world.engine.submit_all(jobs.collect()).await.unwrap();
    world.sim.until(|stats| stats.paid >= 4).await;
    let before = world.sim.stats().paid;
    let id = world.submit_as(&one).await;
    assert!(world.verdict_as(&one, &id).await.starts_with("OK|"));
    let others = world.sim.stats().paid - before;
    assert!(others < 50, "{others} of 10,000 went before it");
}

/// Wrong keys at once, of which the last wait for seconds.
const GUESSES: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_keys_waits_and_who_has_one_does_not() {
    let world = Arc::new(World::start().await);
    let (answered, mut told) = mpsc::unbounded_channel();
    let mut guessing = JoinSet::new();
    for n in 0..GUESSES {
        let (world, answered) = (Arc::clone(&world), answered.clone());
        guessing.spawn(async move {
            let target = format!("/res.php?key={n:032}&action=getbalance");
            let body = world.get(&target).await.body;
            answered.send(()).expect("somebody counts");
            assert_eq!(body, "ERROR_KEY_DOES_NOT_EXIST");
        });
    }
    // The first few are free. By then all are under way.
    for _ in 0..3 {
        told.recv().await.expect("answered");
    }
    for _ in 0..3 {
        world.submit().await;
    }
    let mut so_far = 3;
    while told.try_recv().is_ok() {
        so_far += 1;
    }
    assert!(so_far < GUESSES, "a guess is answered as fast as a key");
    guessing.join_all().await;
    assert_eq!(world.sim.log().entries().filter(|it| it.answered.contains("KEY")).count(), 0);
}
