//! The audit log: appended, never overwritten.

use crate::harness::{Harness, MANY};
use deadletter_store::AuditEntry;

fn entry(h: &Harness, writer: &str, seq: u64) -> AuditEntry {
    AuditEntry {
        writer: writer.to_owned(),
        seq,
        at: h.now(),
        body: format!(r#"{{"act":"redrive","by":"ann","n":{seq}}}"#),
        hash: format!("{writer}-{seq}"),
    }
}

pub(crate) async fn entries_are_listed_last_appended_first(h: &mut Harness) {
    for (writer, seq) in [("b", 1), ("a", 1), ("b", 2), ("a", 2)] {
        assert!(h.store.audit(&entry(h, writer, seq)).await.unwrap());
    }
    let names = async |writer: Option<&str>, limit: u32| -> Vec<String> {
        let log = h.store.audit_log(writer, limit).await.unwrap();
        log.into_iter().map(|entry| entry.hash).collect()
    };
    assert_eq!(names(None, MANY).await, ["a-2", "b-2", "a-1", "b-1"]);
    assert_eq!(names(None, 2).await, ["a-2", "b-2"]);
    assert_eq!(names(Some("b"), MANY).await, ["b-2", "b-1"]);
    assert_eq!(names(Some("b"), 1).await, ["b-2"]);
    assert_eq!(names(Some("nobody"), MANY).await, [""; 0]);
    assert_eq!(h.store.audit_log(Some("a"), 1).await.unwrap(), [entry(h, "a", 2)]);
}

pub(crate) async fn the_log_is_read_in_its_order_page_by_page(h: &mut Harness) {
    let log = [("b", 1), ("a", 1), ("b", 2), ("a", 2), ("c", 1)];
    for (writer, seq) in log {
        assert!(h.store.audit(&entry(h, writer, seq)).await.unwrap());
        // What stands already takes no place.
        assert!(!h.store.audit(&entry(h, "b", 1)).await.unwrap());
    }
    let (mut read, mut after) = (Vec::new(), 0);
    for left in [2, 2, 1, 0] {
        let page = h.store.audit_after(after, 2).await.unwrap();
        assert_eq!(page.len(), left);
        assert!(page.iter().all(|(n, _)| *n > after) && page.is_sorted_by(|a, b| a.0 < b.0));
        after = page.last().map_or(after, |(n, _)| *n);
        read.extend(page.into_iter().map(|(_, entry)| entry));
    }
    assert_eq!(read, log.map(|(writer, seq)| entry(h, writer, seq)));
    assert_eq!(h.store.audit_after(0, 0).await.unwrap(), []);
    assert_eq!(h.store.audit_after(u64::MAX, 9).await.unwrap(), []);
}

pub(crate) async fn a_number_that_stands_is_not_written_again(h: &mut Harness) {
    let first = entry(h, "a", 1);
    assert!(h.store.audit(&first).await.unwrap());
    let forged = AuditEntry { body: "{}".to_owned(), ..first.clone() };
    assert!(!h.store.audit(&forged).await.unwrap());
    assert_eq!(h.store.audit_log(None, MANY).await.unwrap(), [first]);
}
