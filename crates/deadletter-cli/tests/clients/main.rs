//! Real clients, unmodified: what they lose at a bad upstream.
//!
//! Each client is a program of its own, or a small one around a package that `clients/install`
//! takes from its registry. It gets its asks by standard input and tells its verdicts by standard
//! output (`clients/python/driver.py` has the contract). What was paid for is counted by the
//! simulator.
#![cfg(unix)]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod client;
mod drive;
mod install;
mod native;
mod relay;
mod scene;
mod table;
mod tally;

use client::CLIENTS;
use scene::SCENES;
use std::{path::Path, sync::Arc};
use tally::{Loss, Tally};
use tokio::{sync::Semaphore, task::JoinSet};

/// Clients that run at the same time: each waits for half of its time.
const SIDE_BY_SIDE: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn each_client_loses_at_a_bad_upstream_what_is_written_here() {
    let tallies = run_all(&install::folder()).await;
    println!("{}", table::draw(&tallies));
    let wrong: Vec<String> = tallies.iter().filter_map(unexpected).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every client in every scene.
async fn run_all(installed: &Path) -> Vec<Tally> {
    let turns = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut runs = JoinSet::new();
    for client in &CLIENTS {
        let (turns, installed) = (Arc::clone(&turns), installed.to_owned());
        runs.spawn(async move {
            let _turn = turns.acquire().await.expect("never closed");
            drive::all_scenes(client, &installed).await
        });
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
    let expected = client.loses(tally.scene);
    let is_so = match expected {
        Loss::Nothing => tally.lost() == 0,
        Loss::Something => tally.lost() > 0,
        Loss::All => tally.solved == 0 && tally.asked > 0,
        Loss::Chance => true,
    };
    if !is_so {
        return Some(format!("{expected:?} was expected: {tally}"));
    }
    let pays = client.pays_again && tally.scene == "flaky" && tally.paid <= tally.asked as u64;
    pays.then(|| format!("it was expected to pay again: {tally}"))
}
