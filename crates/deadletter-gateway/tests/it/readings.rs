//! That a client was told of its verdict is noted behind its reply.

use crate::{
    keys::issue_to,
    rig::{KEY, World},
};
use deadletter::core::Task;
use deadletter_gateway::KeyTerms;
use deadletter_sim::{Fault, Rule, Scenario};
use std::time::Duration;

impl World {
    async fn row(&self, id: &str) -> Task {
        let ids = [id.parse().unwrap()];
        self.store.get(&ids).await.unwrap().pop().flatten().expect("it stands")
    }

    /// Waits until it is noted that the verdict was told.
    async fn noted(&self, id: &str) -> Task {
        let noting = async {
            loop {
                let task = self.row(id).await;
                if task.verdict_read_at.is_some() {
                    return task;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), noting).await.expect("it is never noted")
    }

    /// Waits until the engine knows how it ended, without asking as a client.
    async fn over(&self, id: &str) -> Task {
        self.engine.task(id.parse().unwrap()).ended().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_is_noted_as_told_by_whichever_front_and_only_then() {
    let world = World::start().await;
    for form in 0..4 {
        let id = world.submit().await;
        let ended = world.over(&id).await;
        assert_eq!(ended.verdict_read_at, None, "nobody has asked");
        match form {
            0 => drop(world.get(&format!("/res.php?key={KEY}&action=get&id={id}")).await),
            1 => drop(world.get(&format!("/res.php?key={KEY}&action=get2&json=1&id={id}")).await),
            2 => drop(world.get(&format!("/res.php?key={KEY}&action=get&ids={id}")).await),
            _ => {
                let body = format!("{{\"clientKey\":\"{KEY}\",\"taskId\":{id}}}");
                world.post("/getTaskResult", "application/json", body.as_bytes()).await;
            }
        }
        let noted = world.noted(&id).await;
        assert!(noted.verdict_read_at >= Some(ended.updated_at));
        assert_eq!(noted.version, ended.version, "an operation that chose it before may act on it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_is_noted_as_told_and_a_strangers_question_is_not() {
    let scenario = Scenario::named("happy").unwrap().rule(Rule::new(Fault::Unsolvable));
    let world = World::with(scenario, |_| ()).await;
    let shop = issue_to(&world, "shop", KeyTerms::default()).await;
    let ci = issue_to(&world, "ci", KeyTerms::default()).await;
    let (mine, other) = (world.submit_as(&shop).await, world.submit_as(&shop).await);
    world.over(&mine).await;
    world.over(&other).await;
    for id in [&mine, &other] {
        assert_eq!(world.verdict_as(&ci, id).await, "ERROR_WRONG_CAPTCHA_ID");
    }
    assert_eq!(world.verdict_as(&shop, &mine).await, "ERROR_CAPTCHA_UNSOLVABLE");
    world.noted(&mine).await;
    assert_eq!(world.row(&other).await.verdict_read_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_asks_for_is_counted_as_expired_unused() {
    let world = World::start().await;
    let count = "deadletter_answers_expired_unused_total ";
    let told = async || {
        let page = world.get("/metrics").await.body;
        let line = page.lines().find_map(|line| line.strip_prefix(count).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{page}")).parse::<u64>().expect("a number")
    };
    assert_eq!(told().await, 0);
    let id = world.submit().await;
    world.over(&id).await;
    let counted = async {
        while told().await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), counted).await.expect("it is never counted");
    // Asked again, it is the same one; asked for too late, it stays unused.
    assert_eq!(told().await, 1);
    world.verdict(&id, "").await;
    world.noted(&id).await;
    assert_eq!(told().await, 1);
}
