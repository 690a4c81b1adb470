//! The request log in memory and on file, and what the seed decides.

use std::collections::BTreeMap;

use deadletter_sim::{DEFAULT_KEY, Entry, Fault, Phase, Rule, Scenario, Simulator};

use crate::client::{exchange, form, get_bytes, poll, submit, submit_id};

/// Submits each page once, and tells what became of each.
async fn fates(seed: u64, pages: impl Iterator<Item = u32>) -> BTreeMap<u32, String> {
    let scenario = Scenario::default()
        .speed(0.0)
        .seed(seed)
        .threads(1_000)
        .rule(Rule::new(Fault::NoSlot).rate(0.3))
        .rule(Rule::new(Fault::WrongId).on(Phase::Submit).rate(0.3));
    let sim = Simulator::start(scenario).await.unwrap();
    let mut fates = BTreeMap::new();
    for page in pages {
        submit(&sim, &format!("https://{page}.example/")).await;
        let fault = sim.log().entries().last().unwrap().fault.clone();
        fates.insert(page, fault.unwrap_or_default());
    }
    fates
}

#[tokio::test]
async fn a_seed_gives_each_page_the_same_fate_in_any_order() {
    let forth = fates(7, 0..40).await;
    assert_eq!(forth, fates(7, (0..40).rev()).await);
    assert_ne!(forth, fates(8, 0..40).await);
    let hit = forth.values().filter(|fault| fault.as_str() == "no_slot").count();
    assert!((4..22).contains(&hit), "{hit} of 40 at a rate of 0.3");
}

#[tokio::test]
async fn the_same_requests_in_the_same_order_get_the_same_answers() {
    let run = || async {
        let sim = Simulator::start(Scenario::named("flaky").unwrap().speed(0.0)).await.unwrap();
        let mut heard = Vec::new();
        for page in 0..30 {
            let bytes =
                get_bytes(&format!("/in.php?{}", form(&format!("https://{page}.example/"))));
            heard.push(exchange(&sim, &bytes).await.map(|heard| heard.body).ok());
            sim.advance_ms(3_000);
        }
        for entry in sim.log().paid() {
            let bytes = get_bytes(&crate::client::poll_path(entry.id.as_ref().unwrap()));
            heard.push(exchange(&sim, &bytes).await.map(|heard| heard.body).ok());
        }
        heard
    };
    assert_eq!(run().await, run().await);
}

#[tokio::test]
async fn every_request_is_in_the_file_before_its_answer_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("requests.jsonl");
    let scenario = Scenario::default()
        .speed(0.0)
        .log_file(&path)
        .rule(Rule::new(Fault::ResetAfter).on(Phase::Submit).pageurl("*reset*"));
    let sim = Simulator::start(scenario).await.unwrap();
    let lines = || -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let id = submit_id(&sim, "https://a.example/").await;
    assert_eq!(lines().len(), 1);
    poll(&sim, &id).await;
    assert_eq!(lines().len(), 2);
    let bytes = get_bytes(&format!("/in.php?{}", form("https://reset.example/")));
    exchange(&sim, &bytes).await.unwrap_err();
    let lines = lines();
    let paid = lines.iter().filter(|line| line["paid"] == true).count();
    assert_eq!(paid as u64, sim.stats().paid);
    assert_eq!(lines[2]["fault"], "reset_after");
    assert_eq!(lines[1]["pageurl"], "https://a.example/", "a poll names its job's page");
    let seqs: Vec<_> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(DEFAULT_KEY) && text.contains("\"key_tail\":\"0key\""));
}

#[tokio::test]
async fn the_log_in_memory_is_bounded_and_says_what_it_dropped() {
    let mut scenario = Scenario::default();
    scenario.limits.log_entries = 3;
    let sim = Simulator::start(scenario).await.unwrap();
    for page in 0..5 {
        submit_id(&sim, &format!("https://{page}.example/")).await;
    }
    let log = sim.log();
    assert_eq!(log.dropped(), 2);
    assert_eq!(log.entries().map(|entry: &Entry| entry.seq).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(sim.stats().paid, 5, "totals are never cut");
}

#[tokio::test]
async fn no_two_jobs_share_an_id_or_a_token() {
    let sim = Simulator::start(Scenario::default().speed(0.0).solve_ms(1)).await.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let id = submit_id(&sim, "https://a.example/").await;
        sim.advance_ms(1);
        assert!(seen.insert(poll(&sim, &id).await.request()) && seen.insert(id));
    }
}
