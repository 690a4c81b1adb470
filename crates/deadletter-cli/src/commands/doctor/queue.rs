//! The store's inside: whether it takes a write, who works on it, and what waits.

use super::Finding;
use crate::{
    fault::{Fault, Result},
    render,
    shelf::{Shelf, fault},
};
use deadletter::core::UnixMs;
use serde_json::json;

/// The document that a doctor writes, to see that the store takes writes: when it last looked.
const DOCUMENT: &str = "doctor";
/// Two doctors at once may each be ahead of the other so often.
const TRIES: u32 = 8;
/// Workers that are read: more do not share one file.
const WORKERS: u32 = 1_000;
/// A worker that has not been heard of for so long does not work: three missed beats.
const SILENT_MS: i64 = 6_000;

/// Makes one durable write.
pub(super) async fn write(shelf: &Shelf) -> Result<()> {
    let body = json!({"looked_at": render::instant(shelf.now())}).to_string();
    for _ in 0..TRIES {
        let known = shelf.store.document(DOCUMENT).await.map_err(fault)?;
        let version = known.map_or(0, |document| document.version);
        if shelf.store.put_document(DOCUMENT, version, &body).await.map_err(fault)?.is_some() {
            return Ok(());
        }
    }
    Err(Fault::failed("the store takes no write").why("another program was ahead each time"))
}

/// Who works, and what waits for it.
pub(super) async fn look(shelf: &Shelf) -> Finding {
    match (workers(shelf).await, shelf.store.totals().await.map_err(fault)) {
        (Ok(workers), Ok(totals)) => {
            let waiting = totals.queued + totals.submitting + totals.polling;
            let detail = format!(
                "{workers} at work, {waiting} waiting, {} dead, {} solved",
                totals.dead, totals.solved
            );
            if workers == 0 && waiting > 0 {
                let fix = "`deadletter run FILE --resume` or any command that works on this store";
                return Finding::Doubtful(detail, format!("nobody works on them: {fix}"));
            }
            Finding::Good(detail)
        }
        (Err(fault), _) | (_, Err(fault)) => Finding::Bad(fault),
    }
}

async fn workers(shelf: &Shelf) -> Result<usize> {
    let UnixMs(now) = shelf.now();
    let known = shelf.store.workers(WORKERS).await.map_err(fault)?;
    let is_heard = |beat_at: UnixMs| now.saturating_sub(beat_at.0) < SILENT_MS;
    let alive = known.iter().filter(|w| w.dead_at.is_none() && w.left_at.is_none());
    Ok(alive.filter(|w| is_heard(w.beat_at)).count())
}
