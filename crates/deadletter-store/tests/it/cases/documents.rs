//! Documents: small JSON texts that change only under those who have read them.

use crate::harness::{Harness, MANY};
use deadletter_store::Document;

pub(crate) async fn a_document_is_written_at_the_version_that_was_read(h: &mut Harness) {
    assert_eq!(h.store.document("breaker/main").await.unwrap(), None);
    assert_eq!(h.store.put_document("breaker/main", 0, "{}").await.unwrap(), Some(1));
    assert_eq!(h.store.put_document("breaker/main", 1, r#"{"ü":1}"#).await.unwrap(), Some(2));
    let wanted = Document { key: "breaker/main".into(), version: 2, body: r#"{"ü":1}"#.into() };
    assert_eq!(h.store.document("breaker/main").await.unwrap(), Some(wanted));
}

pub(crate) async fn whoever_is_slower_writes_nothing(h: &mut Harness) {
    h.store.put_document("a/1", 0, "first").await.unwrap();
    for expects in [0, 2, 9] {
        assert_eq!(h.store.put_document("a/1", expects, "late").await.unwrap(), None);
    }
    assert_eq!(h.store.put_document("a/2", 1, "no such version").await.unwrap(), None);
    assert_eq!(h.store.document("a/1").await.unwrap().unwrap().body, "first");
    assert_eq!(h.store.document("a/2").await.unwrap(), None);
}

pub(crate) async fn of_many_who_write_at_once_one_wins(h: &mut Harness) {
    let mut puts = Vec::new();
    for n in 0..10 {
        let store = h.store.clone();
        puts.push(tokio::spawn(async move {
            store.put_document("a/1", 0, &n.to_string()).await.unwrap()
        }));
    }
    let mut won = 0;
    for put in puts {
        won += usize::from(put.await.unwrap().is_some());
    }
    assert_eq!(won, 1);
    assert_eq!(h.store.document("a/1").await.unwrap().unwrap().version, 1);
}

pub(crate) async fn documents_are_found_by_exact_prefix_in_order(h: &mut Harness) {
    // Signs that mean something to some store's pattern language, and a prefix at the end of all.
    let keys = ["key/b", "key/a", "keys/z", "KEY/a", "key_/x", "key%/x", "k*/x", "\u{10ffff}/x"];
    for key in keys {
        h.store.put_document(key, 0, "{}").await.unwrap();
    }
    let found = async |prefix: &str, limit: u32| -> Vec<String> {
        let documents = h.store.documents(prefix, limit).await.unwrap();
        documents.into_iter().map(|document| document.key).collect()
    };
    assert_eq!(found("key/", MANY).await, ["key/a", "key/b"]);
    assert_eq!(found("key_", MANY).await, ["key_/x"]);
    assert_eq!(found("key%", MANY).await, ["key%/x"]);
    assert_eq!(found("k*", MANY).await, ["k*/x"]);
    assert_eq!(found("\u{10ffff}", MANY).await, ["\u{10ffff}/x"]);
    assert_eq!(found("none", MANY).await, [""; 0]);
    assert_eq!(found("", MANY).await.len(), keys.len());
    assert_eq!(found("key", 2).await, ["key%/x", "key/a"]);
    let mut pages = vec![String::new()];
    for _ in 0..5 {
        let after = pages.last().unwrap();
        let page = h.store.documents_after("key", after, 1).await.unwrap();
        pages.extend(page.into_iter().map(|document| document.key));
    }
    assert_eq!(pages, ["", "key%/x", "key/a", "key/b", "key_/x", "keys/z"]);
    assert!(h.store.documents_after("key", "keys/z", 1).await.unwrap().is_empty());
}
