//! The crash harness: the real binary on each store against a simulated upstream, ended by SIGKILL
//! again and again, must keep every promise of `check::CHECKS`.
//!
//! `scripts/crash --kills 20000 --seed 7` runs it for long, `--store postgres` on a server; the test
//! suite runs [`KILLS`].
#![allow(clippy::print_stdout, reason = "a long run shows how far it is")]
// Helpers of tests are not seen as tests by the lints' own exceptions.
#![allow(clippy::panic, clippy::indexing_slicing)]

mod batch;
mod beside;
mod chance;
mod check;
mod fleet;
mod ledger;
mod life;
#[path = "../marked/mod.rs"]
mod marked;
mod place;
mod tally;
mod together;
mod wire;

use batch::Batch;
use chance::Chance;
use place::Place;
use tally::Tally;

/// Kills in the test suite: a few minutes on two cores.
const KILLS: u32 = 200;
/// A batch that brings no kill any more cannot end the run: so many per wanted kill are enough.
const BATCHES_PER_KILL: u32 = 2;

/// A number from the environment, where `scripts/crash` puts its arguments.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("--kills and --seed want numbers"))
}

/// Where the tests find the private servers that `scripts/test` starts.
const POSTGRES: &str = "DLQ_TEST_POSTGRES";
const REDIS: &str = "DLQ_TEST_REDIS";

/// The store of the batch in that folder.
type Where = fn(&std::path::Path, u64) -> Place;

fn file(dir: &std::path::Path, _: u64) -> Place {
    Place::file(dir)
}

fn postgres(_: &std::path::Path, seed: u64) -> Place {
    of_server(POSTGRES, seed)
}

fn redis(_: &std::path::Path, seed: u64) -> Place {
    of_server(REDIS, seed)
}

fn of_server(variable: &str, seed: u64) -> Place {
    let url = std::env::var(variable).expect("scripts/test, or scripts/servers cargo test ...");
    Place::part(&url, seed)
}

#[test]
fn a_program_that_is_killed_at_any_moment_keeps_every_promise() {
    kill_again_and_again(file);
}

#[test]
fn a_program_that_is_killed_keeps_every_promise_on_postgres() {
    kill_again_and_again(postgres);
}

#[test]
fn a_program_that_is_killed_keeps_every_promise_on_redis() {
    kill_again_and_again(redis);
}

#[test]
fn programs_that_share_a_file_under_load_keep_every_promise() {
    share(file);
}

#[test]
fn programs_that_share_a_server_under_load_keep_every_promise() {
    share(postgres);
}

#[test]
fn programs_that_share_a_redis_server_under_load_keep_every_promise() {
    share(redis);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

fn kill_again_and_again(place: Where) {
    let wanted = number("CRASH_KILLS").map_or(KILLS, |n| u32::try_from(n).expect("fits"));
    let seed = number("CRASH_SEED").unwrap_or_else(rand::random);
    println!("{wanted} kills, seed {seed}");
    let runtime = runtime();
    let mut chance = Chance::new(seed);
    let mut tally = Tally::default();
    for _ in 0..wanted.saturating_mul(BATCHES_PER_KILL) {
        let dir = tempfile::tempdir().expect("a folder for the batch");
        let own = Chance::new(chance.seed());
        let place = place(dir.path(), rand::random());
        let batch = Batch::new(dir.path(), place, &runtime, own, &mut tally, wanted);
        if let Err(broken) = batch.live_through() {
            let kept = dir.keep();
            let broken = broken.join("\n  ");
            panic!(
                "after {} kills, seed {seed}, evidence in {}:\n  {broken}\n{tally}",
                tally.kills(),
                kept.display()
            );
        }
        println!("{}", tally.progress(wanted));
        if tally.kills() >= wanted {
            break;
        }
    }
    println!("every promise was kept (seed {seed})\n{tally}");
    assert!(tally.kills() >= wanted, "only {} of {wanted} kills took place", tally.kills());
}

fn share(place: Where) {
    let runtime = runtime();
    let dir = tempfile::tempdir().expect("a folder for the batch");
    let seed = number("CRASH_SEED").unwrap_or_else(rand::random);
    let (chance, mut tally) = (Chance::new(seed), Tally::default());
    let place = place(dir.path(), rand::random());
    let batch = Batch::new(dir.path(), place, &runtime, chance, &mut tally, 0);
    match batch.work_together() {
        Ok(meanwhile) => assert!(meanwhile.was_busy(), "seed {seed}: {meanwhile:?}"),
        Err(broken) => {
            let kept = dir.keep();
            panic!("seed {seed}, evidence in {}:\n  {}", kept.display(), broken.join("\n  "));
        }
    }
}
