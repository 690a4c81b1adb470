//! What is counted, read back: what stands, and tallies by the minute.
//!
//! A field of a count says what its key does not: its parts in a row, the value last, which may hold
//! anything.

use super::{
    failure::Outcome,
    json::{self, misfit},
    server::Call,
};
use crate::Totals;
use deadletter_core::{
    Cause, Class, StateKind, UnixMs,
    counts::{Dim, Place, Standing, Tallied, Tally},
};
use redis::Cmd;
use std::cmp::Reverse;

/// Minutes whose tallies are fetched at once: an hour.
const MINUTES: isize = 60;

/// Stands between the parts of a field.
const APART: char = '\0';

/// The rows of one dimension that stand in some states, largest first.
pub(super) async fn census(
    call: Call,
    states: &[StateKind],
    dim: Dim,
) -> Outcome<Vec<(Standing, i64)>> {
    let asked = if states.is_empty() { StateKind::ALL } else { states };
    let places: Vec<Place> = asked.iter().map(|state| Place::from(*state)).collect();
    let rows = standing(&call, dim).await?.into_iter();
    let mut rows: Vec<_> = rows.filter(|(row, _)| places.contains(&row.place)).collect();
    rows.sort_by(|(a, n), (b, m)| (Reverse(n), a).cmp(&(Reverse(m), b)));
    Ok(rows)
}

pub(super) async fn totals(call: Call) -> Outcome<Totals> {
    let rows = standing(&call, Dim::All).await?;
    Ok(rows.into_iter().map(|(row, n)| (row.place, n)).collect())
}

async fn standing(call: &Call, dim: Dim) -> Outcome<Vec<(Standing, i64)>> {
    let rows: Vec<(String, i64)> = call.ask_one(Cmd::hgetall(call.keys().standing(dim))).await?;
    let rows = rows.into_iter().map(|(field, n)| {
        let [place, cause, class, value] = parts(&field)?;
        let (cause, class) = (cause_of(cause), class_of(class)?);
        let value = value.to_owned();
        Ok((Standing { place: json::word(place)?, cause, class, dim, value }, n))
    });
    rows.collect()
}

/// The tallies of one dimension from a minute on, by time.
pub(super) async fn tallies(
    call: Call,
    dim: Dim,
    since: UnixMs,
    limit: u32,
) -> Outcome<Vec<(Tally, i64)>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut from = since.0.to_string();
    let mut found = Vec::new();
    loop {
        let minutes = call.keys().minutes(dim);
        let minutes = Cmd::zrangebyscore_limit(minutes, &from, "+inf", 0, MINUTES);
        let minutes: Vec<i64> = call.ask_one(minutes).await?;
        let Some(last) = minutes.last() else { break };
        from = format!("({last}");
        for (tally, n) in in_minutes(&call, dim, &minutes).await? {
            found.push((tally, n));
        }
        if found.len() >= limit {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// The tallies of some minutes, in their order.
pub(super) async fn in_minutes(
    call: &Call,
    dim: Dim,
    minutes: &[i64],
) -> Outcome<Vec<(Tally, i64)>> {
    let rows = minutes.iter().map(|minute| Cmd::hgetall(call.keys().tallies(dim, UnixMs(*minute))));
    let rows: Vec<Vec<(String, i64)>> = call.ask(rows).await?;
    let mut found = Vec::new();
    for (minute, rows) in minutes.iter().zip(rows) {
        for (field, n) in rows {
            let [tallied, cause, value] = parts(&field)?;
            let tallied: Tallied = json::word(tallied)?;
            let (minute, value) = (UnixMs(*minute), value.to_owned());
            found.push((Tally { minute, tallied, cause: cause_of(cause), dim, value }, n));
        }
    }
    found.sort();
    Ok(found)
}

fn parts<const N: usize>(field: &str) -> Outcome<[&str; N]> {
    let parts: Vec<&str> = field.splitn(N, APART).collect();
    parts.try_into().map_err(|_| misfit("a count's name"))
}

fn cause_of(part: &str) -> Option<Cause> {
    (!part.is_empty()).then(|| Cause::new(part))
}

fn class_of(part: &str) -> Outcome<Option<Class>> {
    (!part.is_empty()).then(|| json::word(part)).transpose()
}
