//! The lines about the gateway, each beside a plain HTTP server that answers a constant, asked by the
//! same client in the same round.

mod client;
mod memory;
mod plain;
mod siege;
mod stand;

use crate::{
    line::{Line, Reach, Unit, middle},
    output::say,
    store::rate::Rate,
};
use anyhow::Result;
use client::Load;
use stand::Stand;
use std::{path::Path, time::Duration};

pub(crate) use memory::idle;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Rounds, of which the median counts.
    rounds: usize,
    /// Questions of a round.
    questions: usize,
    /// Jobs of a round.
    jobs: usize,
    /// Tasks about which is asked: as many solved as pending.
    asked_about: usize,
    /// Questions of one connection in a round that takes its time.
    paced: usize,
    /// Connections that never end their request.
    crowd: usize,
    /// Tasks that stand where memory is weighed.
    standing: usize,
}

/// What the table is about.
pub(crate) const FULL: Sizes = Sizes {
    rounds: 7,
    questions: 60_000,
    jobs: 20_000,
    asked_about: 2_000,
    paced: 200,
    crowd: 2_000,
    standing: 100_000,
};

/// Only shows that it runs.
pub(crate) const QUICK: Sizes = Sizes {
    rounds: 2,
    questions: 400,
    jobs: 200,
    asked_about: 20,
    paced: 10,
    crowd: 50,
    standing: 500,
};

/// Connections of a client that asks as fast as it is answered.
const CONNECTIONS: usize = 64;
/// Connections of a client that asks now and then.
const PACED_CONNECTIONS: usize = 32;
/// Between two questions of one of these.
const PACE: Duration = Duration::from_millis(10);

/// Rates and times of one round.
struct Round {
    plain: Rate,
    res: Rate,
    in_: Rate,
    plain_p99_ms: f64,
    res_p99_ms: f64,
    crowded_p99_ms: f64,
    flooded_p99_ms: f64,
}

/// Measures the gateway on a store in `directory`.
pub(crate) async fn measure(sizes: &Sizes, directory: &Path) -> Result<Vec<Line>> {
    let stand = Stand::build(&directory.join("gateway.db"), sizes.asked_about).await?;
    let mut rounds = Vec::with_capacity(sizes.rounds);
    for n in 1..=sizes.rounds {
        let round = round(sizes, &stand).await?;
        say(&format!(
            "  round {n}: plain {:.0}/s, res.php {:.0}/s, in.php {:.0}/s; p99 {:.2} and {:.2} ms",
            round.plain.0, round.res.0, round.in_.0, round.plain_p99_ms, round.res_p99_ms
        ));
        rounds.push(round);
    }
    stand.close().await?;
    let mut lines = lines(&rounds);
    lines.extend(memory::measure(sizes.standing, directory)?);
    Ok(lines)
}

async fn round(sizes: &Sizes, stand: &Stand) -> Result<Round> {
    let fast = |requests: usize| Load { connections: CONNECTIONS, requests, pace: None };
    let paced = Load {
        connections: PACED_CONNECTIONS,
        requests: sizes.paced * PACED_CONNECTIONS,
        pace: Some(PACE),
    };
    let (questions, job) = (stand.questions(), stand.job());
    let paced_p99_ms = async |at| anyhow::Ok(paced.put_on(at, &questions).await?.p99_ms);
    let plain_p99_ms = paced_p99_ms(stand.plain).await?;
    let res_p99_ms = paced_p99_ms(stand.gateway).await?;
    let crowd = siege::crowd(stand.gateway, sizes.crowd).await?;
    let crowded_p99_ms = paced_p99_ms(stand.gateway).await?;
    drop(crowd);
    let flood = siege::flood(stand.full, &job, CONNECTIONS);
    let flooded_p99_ms = paced_p99_ms(stand.full).await?;
    drop(flood);
    Ok(Round {
        plain: fast(sizes.questions).put_on(stand.plain, &questions).await?.rate,
        res: fast(sizes.questions).put_on(stand.gateway, &questions).await?.rate,
        in_: fast(sizes.jobs).put_on(stand.gateway, &job).await?.rate,
        plain_p99_ms,
        res_p99_ms,
        crowded_p99_ms,
        flooded_p99_ms,
    })
}

fn lines(rounds: &[Round]) -> Vec<Line> {
    let each = |of: fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<f64>>();
    let rate = |of: fn(&Round) -> Rate| {
        let rates: Vec<f64> = rounds.iter().map(|round| of(round).0).collect();
        format!("{:.0}/s", middle(&rates))
    };
    let p99 = |of: fn(&Round) -> f64| format!("{:.2} ms", middle(&each(of)));
    vec![
        Line::new(
            "res.php from the store, 64 connections, against a plain axum server",
            Unit::Times,
            Reach::AtLeast(0.35),
            each(|round| round.res.over(round.plain)),
            format!("{}, plain {}", rate(|r| r.res), rate(|r| r.plain)),
        ),
        Line::new(
            "in.php durable on SQLite, 64 connections, against a plain axum server",
            Unit::Times,
            Reach::AtLeast(0.2),
            each(|round| round.in_.over(round.plain)),
            format!("{}, plain {}", rate(|r| r.in_), rate(|r| r.plain)),
        ),
        Line::new(
            "latency that a poll has more at p99, 32 connections that ask 100 times a second",
            Unit::Ms,
            Reach::AtMost(1.0),
            each(|round| (round.res_p99_ms - round.plain_p99_ms).max(0.0)),
            format!("p99 {}, plain {}", p99(|r| r.res_p99_ms), p99(|r| r.plain_p99_ms)),
        ),
        Line::new(
            "p99 of those polls beside connections that never end their request, against none",
            Unit::Times,
            Reach::AtMost(2.0),
            each(|round| round.crowded_p99_ms / round.res_p99_ms),
            format!("p99 {}", p99(|r| r.crowded_p99_ms)),
        ),
        Line::new(
            "p99 of those polls beside 64 that submit as fast as they are refused, against none",
            Unit::Times,
            Reach::AtMost(2.0),
            each(|round| round.flooded_p99_ms / round.res_p99_ms),
            format!("p99 {}", p99(|r| r.flooded_p99_ms)),
        ),
    ]
}
