//! A fleet of four gateways on one server, with clients that work through two of them, while the
//! gateways, the server and the line between them are killed, frozen, starved and cut. After all of
//! it the promises of `check::CHECKS` hold, and every client has its answers.
//!
//! `scripts/chaos` measures how fast it goes on after each blow.

mod blind;
mod client;
mod failover;
mod gateway;
mod line;
mod pace;
mod postgres;
mod redis;
mod scene;
mod server;
mod site;
mod table;
mod working;

use blind::forgive;
use deadletter_sim::Scenario;
use postgres::Postgres;
use redis::Redis;
use scene::Scene;
use server::Server;
use site::Site;
use std::process::Command;

/// Programs and upstream run so many times faster than the wall: a job takes two seconds.
const SPEED: f64 = 10.0;
/// Open jobs that the account allows, over all gateways; upstream itself would take more.
const THREADS: u32 = 36;
/// An attempt's time-out, in upstream's milliseconds.
const TIMEOUT_MS: i64 = 120_000;
/// Where `scripts/chaos` says that the pace is measured, and that the document is to tell it.
const MEASURE: &str = "CHAOS_MEASURE";
const WRITE: &str = "CHAOS_WRITE";

/// Sends a process a signal.
fn signal(process: impl ToString, name: &str) {
    let sent = Command::new("kill").args([name, &process.to_string()]).status();
    assert!(sent.expect("kill exists").success());
}

#[test]
fn a_fleet_on_postgres_that_is_killed_frozen_and_cut_off_keeps_every_promise() {
    keeps_every_promise(&Postgres::start());
}

#[test]
fn a_fleet_on_redis_that_is_killed_frozen_and_cut_off_keeps_every_promise() {
    keeps_every_promise(&Redis::start());
}

fn keeps_every_promise(server: &dyn Server) {
    let site = Site::new(Scenario::default());
    let (table, solved, unheard) =
        Scene::begin(&site, server).plays(std::env::var_os(MEASURE).is_some());
    let mut evidence = site.evidence(&server.url(server.port()), &solved);
    forgive(&mut evidence, &unheard);
    let closing = site.accepts(&evidence);
    if std::env::var_os(WRITE).is_some() {
        table.write(server.name(), &closing);
    }
    assert!(table.is_told(server.name()), "docs/reliability.md is old: scripts/chaos --write");
}
