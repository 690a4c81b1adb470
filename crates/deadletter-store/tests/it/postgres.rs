//! What a PostgreSQL server and the line to it may do to a store.

use crate::server::Schema;
use deadletter_core::{UnixMs, WorkerId};
use deadletter_store::{ManualClock, PostgresStore, Registry, Result};
use std::sync::Arc;

async fn open(url: &str) -> Result<PostgresStore> {
    PostgresStore::open(url, Arc::new(ManualClock::at(UnixMs(1_800_000_000_000)))).await
}

#[tokio::test]
async fn two_that_open_an_empty_schema_at_once_make_its_tables_once() {
    let schema = Schema::new();
    let opened = futures_util::future::join_all((0..4).map(|_| open(&schema.url))).await;
    let stores: Vec<PostgresStore> = opened.into_iter().map(|store| store.unwrap()).collect();
    assert_eq!(stores[0].put_document("a", 0, "{}").await.unwrap(), Some(1));
    assert_eq!(stores[3].put_document("a", 0, "{}").await.unwrap(), None);
    assert_eq!(stores[2].document("a").await.unwrap().unwrap().version, 1);
    let w = WorkerId::new("w").unwrap();
    stores[0].register(&w, "a\0b").await.unwrap();
    assert_eq!(stores[1].workers(9).await.unwrap()[0].label, "a\0b");
    schema.end().await;
}
