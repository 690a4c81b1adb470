//! Documents: their bodies with their versions in front, and their names in order.
//!
//! Versions stand apart as well, so that a write names the version that it has read, and not the
//! whole text.

use super::{
    apply::Apply,
    failure::Outcome,
    json::misfit,
    server::{Call, Work},
};
use crate::Document;
use redis::Cmd;

/// Documents that are fetched at once.
const PAGE: usize = 256;

pub(super) async fn get(call: Call, key: &str) -> Outcome<Option<Document>> {
    let body: Option<String> = call.ask_one(Cmd::hget(call.keys().document_bodies(), key)).await?;
    body.map(|body| read(key, &body)).transpose()
}

pub(super) async fn put(
    call: Call,
    key: &str,
    expects: u64,
    body: &str,
) -> Outcome<Work<Option<u64>>> {
    let keys = call.keys();
    let stands = Cmd::hget(keys.document_versions(), key);
    let stands_at: Option<u64> = call.ask_one(stands.clone()).await?;
    let mut apply = Apply::default();
    if stands_at.unwrap_or(0) != expects {
        return Ok(Work::of(None, apply));
    }
    let version = expects + 1;
    // What is not there equals an empty text.
    apply.equals(&stands, stands_at.map_or_else(String::new, |n| n.to_string()));
    apply.then(&Cmd::hset(keys.document_versions(), key, version));
    apply.then(&Cmd::hset(keys.document_bodies(), key, format!("{version} {body}")));
    if expects == 0 {
        apply.then(&Cmd::zadd(keys.document_names(), key, 0));
    }
    Ok(Work::of(Some(version), apply))
}

/// Documents by name, as the contract of `Registry::documents_after` says.
pub(super) async fn page(
    call: Call,
    prefix: &str,
    after: &str,
    limit: u32,
) -> Outcome<Vec<Document>> {
    let keys = call.keys();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut from = if after < prefix { format!("[{prefix}") } else { format!("({after}") };
    // No text has this byte, and all that begin with the prefix come before it.
    let to = [b"(", prefix.as_bytes(), &[0xff]].concat();
    let mut found = Vec::new();
    while found.len() < limit {
        let wanted = (limit - found.len()).min(PAGE);
        let names = Cmd::zrangebylex_limit(
            keys.document_names(),
            &from,
            to.as_slice(),
            0,
            wanted.cast_signed(),
        );
        let names: Vec<String> = call.ask_one(names).await?;
        let Some(last) = names.last() else { break };
        from = format!("({last}");
        let bodies = Cmd::hmget(keys.document_bodies(), names.as_slice());
        let bodies: Vec<Option<String>> = call.ask_one(bodies).await?;
        // One that is gone since its name was read was purged.
        let whole = names.iter().zip(bodies).filter_map(|(name, body)| Some((name, body?)));
        for (name, body) in whole {
            found.push(read(name, &body)?);
        }
        if names.len() < wanted {
            break;
        }
    }
    Ok(found)
}

fn read(key: &str, stored: &str) -> Outcome<Document> {
    let parts = stored.split_once(' ').and_then(|(version, body)| {
        let version = version.parse().ok()?;
        Some(Document { key: key.to_owned(), version, body: body.to_owned() })
    });
    parts.ok_or_else(|| misfit("a document without its version"))
}
