//! The server without us: `pgbench`, which PostgreSQL brings along, inserts the same rows.

use super::{Stand, schema_of};
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// Clients of the plain inserts, each with one row at a time.
const CLIENTS: &str = "32";

/// Runs scripts on the server.
pub(super) struct Plain<'s> {
    stand: &'s Stand<'s>,
}

impl<'s> Plain<'s> {
    pub(super) const fn of(stand: &'s Stand<'s>) -> Self {
        Self { stand }
    }

    /// Runs statements once.
    pub(super) fn run(&self, sql: &str) -> Result<()> {
        self.pgbench(sql, &["--client=1", "--transactions=1"]).map(drop)
    }

    /// Makes tables as ours, with all their indexes.
    pub(super) fn make_tables(&self) -> Result<()> {
        let schema = schema_of("inserts");
        self.run(&format!(
            "CREATE TABLE {schema}.plain_tasks (LIKE {schema}.tasks INCLUDING ALL);\n\
             CREATE TABLE {schema}.plain_requests (LIKE {schema}.requests INCLUDING ALL);"
        ))
    }

    /// Inserts tasks with their requests for so long, each pair in a transaction of its own;
    /// answers how many a second.
    pub(super) fn insert(&self, seconds: u32) -> Result<f64> {
        let schema = schema_of("inserts");
        // Ids are below 2^53, and hardly ever meet.
        let sql = format!(
            "\\set id random(1, 9007199254740991)\n\
             WITH task AS (INSERT INTO {schema}.plain_tasks (id, created_at, method, sitekey, host, \
             state, why, due_at, ready, lane, idle, version, account, priority, turn, attempts, \
             submits, failures, refusals, panics, redrives, deaths, round_allowance, \
             round_failures, round_unsolvable, round_lost, round_refusals, round_proxies_failed, \
             max_submits, proxies, updated_at) VALUES (:id, 1795458923270, 'userrecaptcha', \
             '6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0DJwx0001', 'shop-1.example', 'queued', 'new', \
             1795458923270, true, 'first', 'queued', 1, 'main', 2, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, \
             0, 0, 0, 7, 0, 1795458923270)) \
             INSERT INTO {schema}.plain_requests VALUES (:id, '{{\"googlekey\":\
             \"6Le-wvkSAAAAAPBMRTvw0Q4Muexq9bi0DJwx0001\",\"method\":\"userrecaptcha\",\"pageurl\":\
             \"https://shop-1.example/account/login?return=%2Forders%2F12345\"}}');"
        );
        let time = format!("--time={seconds}");
        let clients = format!("--client={CLIENTS}");
        let said = self.pgbench(&sql, &[&clients, "--jobs=2", "--protocol=prepared", &time])?;
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rate| rate.split_whitespace().next()?.parse().ok());
        rate.with_context(|| format!("pgbench says no rate: {said}"))
    }

    fn pgbench(&self, sql: &str, arguments: &[&str]) -> Result<String> {
        let Stand { url, pgbench, directory } = *self.stand;
        let script = directory.join("script.sql");
        std::fs::write(&script, sql)?;
        let mut command = Command::new(pgbench);
        command.arg("--no-vacuum").args(arguments).arg("--file").arg(&script).arg(url);
        let output = command.output().with_context(|| format!("cannot run {pgbench}"))?;
        std::fs::remove_file(&script)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "pgbench failed: {}", said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
