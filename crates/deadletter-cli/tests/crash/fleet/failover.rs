//! A replica that was behind takes over from a Redis server that is killed: what it lacks is told, put
//! back by the gateways, and paid for once.

use super::gateway::Gateway;
use super::line::{Line, State};
use super::redis::Redis;
use super::server::Server;
use super::site::Site;
use super::working::{ANSWERS, Fleet, LONGEST_WAIT};
use deadletter::store::clock::Stopwatch;
use deadletter_sim::{Fault, Phase, Rule, Scenario};
use std::time::Duration;

/// Flushed each second, as most are: class D1.
const SETTINGS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];

/// How often the store was written, as that server has it.
fn written(server: &Redis) -> u64 {
    server.say(&["HGET", "{deadletter}:m", "seq"]).parse().unwrap_or_default()
}

/// Waits until a replica has what its master has.
fn follows(replica: &Redis, master: &Redis) {
    let clock = Stopwatch::start();
    let is_up = || replica.say(&["INFO", "replication"]).contains("master_link_status:up");
    while !is_up() || written(replica) < written(master) {
        assert!(u128::from(clock.elapsed_us()) < LONGEST_WAIT.as_micros(), "it does not follow");
        // tidy: allow sleep, because a server tells how far it is only when it is asked.
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_fleet_whose_redis_fails_over_to_a_replica_that_was_behind_keeps_every_promise() {
    // Three attempts for each job, so that much of what is lost are submits.
    let fails_twice = Rule::new(Fault::Unsolvable).on(Phase::Submit).times(2).per_page();
    let site = Site::new(Scenario::default().rule(fails_twice));
    let master = Redis::with(&SETTINGS);
    let follow = ["--replicaof", "127.0.0.1", &master.port().to_string()];
    let replica = Redis::with(&[&SETTINGS[..], &follow].concat());
    let line = Line::to(&site.runtime, master.port());
    let url = master.url(line.port);
    let near = Gateway::start(site.dir.path(), site.variables(&url));
    let far = Gateway::start(site.dir.path(), site.variables(&url));
    let mut fleet = Fleet::start(&[&near, &far], site.store(&url));
    fleet.goes_on_after("the start");

    follows(&replica, &master);
    replica.say(&["REPLICAOF", "NO", "ONE"]);
    fleet.goes_on_after("the replica was cut off");
    line.becomes(State::Cut);
    let lacks = written(&master) - written(&replica);
    assert!(lacks > ANSWERS as u64, "the replica lacks {lacks} changes");
    fleet.is_struck();
    master.kill();
    line.now_leads_to(replica.port());
    line.becomes(State::Whole);
    fleet.goes_on_after(&format!("a replica that lacks {lacks} changes took over"));

    let logs = [&near, &far].map(Gateway::log);
    let (solved, _) = fleet.stands_down(vec![near, far]);
    for log in logs {
        let log = std::fs::read_to_string(log).expect("a gateway has a log");
        let told = log.lines().find(|line| line.contains("lost_changes"));
        println!("{}", told.unwrap_or_else(|| panic!("nobody says what was lost: {log}")));
    }
    let url = replica.url(replica.port());
    let evidence = site.evidence(&url, &solved);
    site.accepts(&evidence);
}
