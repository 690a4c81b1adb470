//! What the nodes of a Redis Cluster do among each other while a store is used.

use crate::redis_prefix::{Prefix, say};
use deadletter_core::UnixMs;
use deadletter_store::{ManualClock, RedisStore, Registry};
use std::sync::Arc;
use tokio::sync::watch;

/// Documents that are written before the keys move, and as many after it.
const DOCUMENTS: u32 = 50;

async fn open(url: &str) -> RedisStore {
    let clock = Arc::new(ManualClock::at(UnixMs(1_800_000_000_000)));
    RedisStore::open(url, clock).await.unwrap()
}

/// A node as the cluster tells of it.
struct Node {
    id: String,
    /// With its password.
    url: String,
    has_the_keys: bool,
}

fn nodes_of(prefix: &Prefix, slot: u16) -> Vec<Node> {
    let told = say(&prefix.nodes[0], &["CLUSTER", "NODES"]);
    let told = told.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (address, _) = words[1].split_once('@').unwrap();
        let has_the_keys = words[8..].iter().any(|slots| {
            let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
            let bounds = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
            bounds.is_some_and(|(first, last)| (first..=last).contains(&slot))
        });
        let url = prefix.nodes.iter().find(|url| url.ends_with(&format!("@{address}")));
        Node { id: words[0].to_owned(), url: url.unwrap().clone(), has_the_keys }
    });
    told.collect()
}

/// Hands the slot of a prefix to another node as an administrator does, key by key.
fn move_keys(prefix: &Prefix) {
    let slot = say(&prefix.nodes[0], &["CLUSTER", "KEYSLOT", &prefix.name]);
    let slot = slot.trim();
    let nodes = nodes_of(prefix, slot.parse().unwrap());
    let from = nodes.iter().find(|node| node.has_the_keys).unwrap();
    let to = nodes.iter().find(|node| !node.has_the_keys).unwrap();
    say(&to.url, &["CLUSTER", "SETSLOT", slot, "IMPORTING", &from.id]);
    say(&from.url, &["CLUSTER", "SETSLOT", slot, "MIGRATING", &to.id]);
    let (user, address) = to.url.rsplit_once('@').unwrap();
    let (_, password) = user.rsplit_once(':').unwrap();
    let (host, port) = address.split_once(':').unwrap();
    loop {
        let keys = say(&from.url, &["CLUSTER", "GETKEYSINSLOT", slot, "2"]);
        let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
        if keys.is_empty() {
            break;
        }
        let to = ["MIGRATE", host, port, "", "0", "5000", "AUTH2", "default", password, "KEYS"];
        say(&from.url, &[to.as_slice(), &keys].concat());
    }
    for node in [to, from].into_iter().chain(&nodes) {
        say(&node.url, &["CLUSTER", "SETSLOT", slot, "NODE", &to.id]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_move_to_another_node_under_load_are_followed_and_none_is_lost() {
    let prefix = Arc::new(Prefix::on_a_cluster());
    let store = Arc::new(open(&prefix.url).await);
    let (written, mut seen) = watch::channel(0);
    let (wanted, until) = watch::channel(u32::MAX);
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            while *written.borrow() < *until.borrow() {
                let name = format!("d/{:06}", *written.borrow());
                let put = store.put_document(&name, 0, "{}").await;
                assert_eq!(put.unwrap(), Some(1), "{name}");
                written.send_modify(|n| *n += 1);
            }
        }
    });
    seen.wait_for(|n| *n >= DOCUMENTS).await.unwrap();
    let moved = Arc::clone(&prefix);
    tokio::task::spawn_blocking(move || move_keys(&moved)).await.unwrap();
    let all = *seen.borrow() + DOCUMENTS;
    wanted.send_replace(all);
    writer.await.unwrap();
    for store in [store.as_ref(), &open(&prefix.url).await] {
        let found = store.documents("d/", 2 * all).await.unwrap();
        assert!(found.len() >= usize::try_from(all).unwrap(), "{} of {all}", found.len());
        assert!(found.iter().all(|it| it.version == 1));
    }
    prefix.end();
}
