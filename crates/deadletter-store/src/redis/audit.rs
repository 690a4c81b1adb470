//! The audit log: entries by writer and number, and the order in which they were appended.

use super::{
    apply::Apply,
    failure::Outcome,
    json,
    server::{Call, Work},
};
use crate::AuditEntry;
use redis::Cmd;

pub(super) async fn append(call: Call, entry: &AuditEntry) -> Outcome<Work<bool>> {
    let keys = call.keys();
    let name = format!("{}:{}", entry.seq, entry.writer);
    let stands = Cmd::hexists(keys.audit(), &name);
    let is_known: bool = call.ask_one(stands.clone()).await?;
    let mut apply = Apply::default();
    if !is_known {
        apply.equals(&stands, "0");
        apply.then(&Cmd::hset(keys.audit(), &name, json::written(entry)));
        apply.then(&Cmd::rpush(keys.audit_log(None), &name));
        apply.then(&Cmd::rpush(keys.audit_log(Some(&entry.writer)), &name));
    }
    Ok(Work::of(!is_known, apply))
}

/// The log of a writer, or of all, last appended first.
pub(super) async fn newest(
    call: Call,
    writer: Option<&str>,
    limit: u32,
) -> Outcome<Vec<AuditEntry>> {
    let keys = call.keys();
    let limit = isize::try_from(limit).unwrap_or(isize::MAX);
    let last = Cmd::lrange(keys.audit_log(writer), -limit, -1);
    let mut names: Vec<String> = call.ask_one(last).await?;
    if limit == 0 || names.is_empty() {
        return Ok(Vec::new());
    }
    names.reverse();
    let entries: Vec<Option<String>> = call.ask_one(Cmd::hmget(keys.audit(), names)).await?;
    entries.iter().flatten().map(|entry| json::read(entry)).collect()
}

/// The log of all in the order in which it was appended, from behind a number on: its place in the
/// list, from 1.
pub(super) async fn after(call: Call, after: u64, limit: u32) -> Outcome<Vec<(u64, AuditEntry)>> {
    let keys = call.keys();
    let first = isize::try_from(after).unwrap_or(isize::MAX);
    let last = first.saturating_add(isize::try_from(limit).unwrap_or(isize::MAX)) - 1;
    if limit == 0 {
        return Ok(Vec::new());
    }
    let names: Vec<String> = call.ask_one(Cmd::lrange(keys.audit_log(None), first, last)).await?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let entries: Vec<Option<String>> = call.ask_one(Cmd::hmget(keys.audit(), names)).await?;
    let numbered = (after + 1..).zip(entries).filter_map(|(n, entry)| Some((n, entry?)));
    numbered.map(|(n, entry)| Ok((n, json::read(&entry)?))).collect()
}
