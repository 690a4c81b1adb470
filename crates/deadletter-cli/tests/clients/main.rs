//! Real clients, unmodified: what they lose at a bad upstream, and that it is solved through the
//! gateway.
//!
//! Each client is a program of its own, or a small one around a package that `clients/install`
//! takes from its registry. It gets its asks by standard input and tells its verdicts by standard
//! output (`clients/python/driver.py` has the contract). What was paid for is counted by the
//! simulator.
#![cfg(unix)]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod client;
mod documents;
mod door;
mod drive;
mod install;
#[path = "../marked/mod.rs"]
mod marked;
mod native;
mod relay;
mod scene;
mod table;
mod tally;

use client::{CLIENTS, Client};
use door::Way;
use scene::SCENES;
use std::{path::Path, sync::Arc};
use table::Table;
use tally::{Kept, Loss, Tally};
use tokio::{sync::Semaphore, task::JoinSet};

/// Runs at the same time: each waits for most of its time.
const SIDE_BY_SIDE: usize = 6;
/// Through the gateway, submits that are paid for, per task that somebody can solve.
const PAID_PER_TASK: f64 = 1.05;

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_lose_at_a_bad_upstream_is_solved_through_the_gateway() {
    let installed = install::folder();
    let tallies = run_all(&installed).await;
    let (directly, through): (Vec<Tally>, Vec<Tally>) =
        tallies.into_iter().partition(|tally| tally.way == Way::Directly);
    let table = Table { directly: &directly, through: &through };
    println!("lost:\n{}\n\npaid submits per answer:\n{}", table.lost(), table.paid());
    let mut wrong: Vec<String> = directly.iter().chain(&through).filter_map(unexpected).collect();
    if std::env::var_os("CLIENTS_WRITE").is_some() {
        documents::write(&table);
    }
    wrong.extend(documents::missing(&table));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every client in every scene, both ways.
async fn run_all(installed: &Path) -> Vec<Tally> {
    let turns = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut runs = JoinSet::new();
    // One with a gateway beside one without: they weigh differently.
    for client in &CLIENTS {
        for way in [Way::ThroughTheGateway, Way::Directly] {
            let (turns, installed) = (Arc::clone(&turns), installed.to_owned());
            runs.spawn(async move {
                let _turn = turns.acquire().await.expect("never closed");
                drive::all_scenes(client, way, &installed).await
            });
        }
    }
    let mut tallies = runs.join_all().await.concat();
    let place = |tally: &Tally| {
        let client = CLIENTS.iter().position(|client| client.name == tally.client);
        (client, SCENES.iter().position(|scene| scene.name == tally.scene))
    };
    tallies.sort_by_key(place);
    tallies
}

/// What is not as it is written down.
fn unexpected(tally: &Tally) -> Option<String> {
    let client = CLIENTS.iter().find(|client| client.name == tally.client)?;
    let expected = client.loses(tally.scene, tally.way);
    let is_so = match expected {
        Loss::Nothing => tally.lost() == 0,
        Loss::Something => tally.lost() > 0,
        Loss::NotAll => tally.solved > 0,
        Loss::All => tally.solved == 0 && tally.asked > 0,
        Loss::Chance => true,
    };
    if !is_so {
        return Some(format!("{expected:?} was expected: {tally}"));
    }
    costs_wrongly(tally, client).map(|what| format!("{what}: {tally}"))
}

/// What it cost and should not, or the other way around.
fn costs_wrongly(tally: &Tally, client: &Client) -> Option<&'static str> {
    let through = tally.way == Way::ThroughTheGateway;
    let per_task = tally.paid as f64 / tally.asked as f64;
    match tally.scene {
        "flaky" if !through && client.pays_again && per_task <= 1.0 => Some("it pays again"),
        "wrong key" if through && tally.upstream_saw > 0 => Some("upstream saw a wrong key"),
        // Nobody could solve these: they are submitted again, so that nothing is left untried.
        "unsolvable" => None,
        // Who submits again after a call was cut off has two tasks, and is solved twice.
        "killed" => {
            let Kept { tasks, dead, in_doubt } = tally.kept.expect("it was asked");
            let is_sound = dead == 0 && tally.paid <= tasks + in_doubt;
            (!is_sound).then_some("something was given up, or paid for twice")
        }
        _ if through && per_task > PAID_PER_TASK => Some("too much was paid for"),
        _ => None,
    }
}
