//! The server of a shared store: what it suffers from without an error, and what it has lost of late.

use super::Finding;
use crate::{
    render,
    shelf::{Shelf, fault},
};
use deadletter::store::Ailment;

/// What was lost longer ago is history.
const WEEK_MS: i64 = 7 * 86_400_000;

pub(super) async fn look(shelf: &Shelf) -> Finding {
    let now = shelf.now();
    let mut ailments = match shelf.store.ailments().await {
        Ok(ailments) => ailments,
        Err(error) => return Finding::Bad(fault(error)),
    };
    ailments.retain(|ailment| match ailment {
        Ailment::Lost { at, .. } => now.since(*at) < WEEK_MS,
        _ => true,
    });
    let Some((first, more)) = ailments.split_first() else {
        return Finding::Good("nothing holds it up, and it has lost nothing of late".to_owned());
    };
    let (detail, fix) = told(first);
    let more = match more.len() {
        0 => String::new(),
        n => format!("; {n} more like it"),
    };
    Finding::Doubtful(format!("{detail}{more}"), fix)
}

/// What it is and costs, and what to do.
fn told(ailment: &Ailment) -> (String, String) {
    match ailment {
        Ailment::OpenTransaction { process, application, began_at, open_ms } => {
            let name = if application.is_empty() { "without a name" } else { application.as_str() };
            (
                format!(
                    "a transaction of {name} (pid {process}) is open for {}, since {}: the server \
                     keeps every row that was replaced since, so that tables grow and calls get slower",
                    render::duration(*open_ms),
                    render::second(*began_at),
                ),
                format!(
                    "end it where it was begun, or by SELECT pg_terminate_backend({process}); the \
                     server's idle_in_transaction_session_timeout ends idle ones by itself"
                ),
            )
        }
        Ailment::Lost { at, changes, put_back } => (
            format!(
                "the server lost {changes} changes or more that it had answered, at {}; {} put back \
                 by the programs that wrote them",
                render::second(*at),
                render::counted(*put_back, "task was", "tasks were"),
            ),
            "look why it came back without them (a replica that took over, an older file), and set \
             appendonly yes and appendfsync always; docs/redis.md says what nobody puts back"
                .to_owned(),
        ),
        // A kind that a newer store tells of.
        _ => ("something is wrong with it".to_owned(), "see its log".to_owned()),
    }
}
