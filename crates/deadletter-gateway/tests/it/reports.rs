//! `reportbad` and `reportgood`: recorded at once, passed on upstream once, by upstream's own id.

use crate::{
    keys::issue_to,
    rig::{KEY, World, memory},
};
use deadletter::{ReportState, report_on};
use deadletter_gateway::KeyTerms;
use deadletter_sim::{OutageMode, Scenario};
use secrecy::ExposeSecret;

/// Waits until upstream has answered a report; what it said.
pub(crate) async fn said(world: &World, id: &str) -> Option<String> {
    let id = id.parse().unwrap();
    let answered = async {
        loop {
            let report = report_on(world.store.as_ref(), id).await.unwrap().expect("recorded");
            if report.state == ReportState::Answered {
                return report.said;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), answered).await.expect("in vain")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_recorded_once_and_passed_on_by_upstreams_own_id() {
    let world = World::start().await;
    let id = world.submit().await;
    let report =
        |action: &str, more: &str| format!("/res.php?key={KEY}&action={action}&id={id}{more}");
    world.sim.outage(OutageMode::Html502);
    let early = world.submit().await;
    let open = format!("/res.php?key={KEY}&action=reportbad&id={early}");
    assert_eq!(world.get(&open).await.body, "ERROR_REPORT_NOT_RECORDED");
    world.sim.end_outage();
    assert!(world.verdict(&id, "").await.body.starts_with("OK|"));
    let recorded = r#"{"status":1,"request":"OK_REPORT_RECORDED"}"#;
    assert_eq!(world.get(&report("reportbad", "&json=1")).await.body, recorded);
    assert_eq!(world.get(&report("reportgood", "")).await.body, "ERROR_DUPLICATE_REPORT");
    assert_eq!(said(&world, &id).await.as_deref(), Some("OK_REPORT_RECORDED"));
    let log = world.sim.log();
    let told: Vec<_> = log.entries().filter(|entry| entry.phase == "report").collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].action.as_deref(), Some("reportbad"));
    for (id, word) in [("17", "ERROR_WRONG_CAPTCHA_ID"), ("x", "ERROR_WRONG_ID_FORMAT")] {
        let target = format!("/res.php?key={KEY}&action=reportbad&id={id}");
        assert_eq!(world.get(&target).await.body, word);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_answer_cannot_be_reported() {
    let world = World::start().await;
    let shop = issue_to(&world, "shop", KeyTerms::default()).await;
    let ci = issue_to(&world, "ci", KeyTerms::default()).await;
    let id = world.submit_as(&shop).await;
    world.verdict_as(&shop, &id).await;
    let target = format!("/res.php?key={}&action=reportbad&id={id}", ci.expose_secret());
    assert_eq!(world.get(&target).await.body, "ERROR_WRONG_CAPTCHA_ID");
    assert!(report_on(world.store.as_ref(), id.parse().unwrap()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_upstream_did_not_hear_is_passed_on_by_the_next_gateway() {
    let world = World::on(memory(), Scenario::named("happy").unwrap(), |_| ()).await;
    let id = world.submit().await;
    world.verdict(&id, "").await;
    world.sim.outage(OutageMode::Html502);
    let target = format!("/res.php?key={KEY}&action=reportgood&id={id}");
    assert_eq!(world.get(&target).await.body, "OK_REPORT_RECORDED");
    let World { gateway, engine, store, sim } = world;
    gateway.stop().await;
    engine.stop().await.unwrap();
    sim.stop().await;
    let again = World::on(store, Scenario::named("happy").unwrap(), |_| ()).await;
    // Another upstream, which does not know that id: an answer all the same.
    assert_eq!(said(&again, &id).await.as_deref(), Some("ERROR_WRONG_CAPTCHA_ID"));
    assert_eq!(again.get(&target).await.body, "ERROR_DUPLICATE_REPORT");
}
