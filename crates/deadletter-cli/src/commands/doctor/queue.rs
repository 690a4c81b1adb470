//! The store's inside: whether it takes a write, who works on it, and what waits.

use super::Finding;
use crate::{
    ahead::{self, Ahead},
    fault::{Fault, Result},
    render,
    shelf::{Shelf, fault},
};
use deadletter::store::{
    Clock, Totals,
    sqlite::inspect::{Inspection, Tolerance},
};
use serde_json::json;
use std::{path::Path, sync::Arc};

/// The document that a doctor writes, to see that the store takes writes: when it last looked.
const DOCUMENT: &str = "doctor";
/// More than ever work on one store.
const WORKERS: u32 = 10_000;
/// Two doctors at once may each be ahead of the other so often.
const TRIES: u32 = 8;

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

/// What waits in the store, and whether one of its `workers` works on that.
pub(super) async fn look(shelf: &Shelf, workers: Result<usize>) -> Finding {
    match ahead::look(shelf.store.as_ref()).await {
        Ok(None) => {}
        Ok(Some(ahead)) => return Finding::Doubtful(ahead.told(), Ahead::fix().to_owned()),
        Err(fault) => return Finding::Bad(fault),
    }
    match (workers, shelf.store.totals().await.map_err(fault)) {
        (Ok(workers), Ok(totals)) => told(workers, &totals),
        (Err(fault), _) | (_, Err(fault)) => Finding::Bad(fault),
    }
}

fn told(workers: usize, totals: &Totals) -> Finding {
    let at_upstream = totals.submitting + totals.polling;
    let detail = format!(
        "{workers} at work, {} waiting, {at_upstream} at upstream, {} dead, {} solved",
        totals.queued, totals.dead, totals.solved
    );
    if workers == 0 && totals.queued + at_upstream > 0 {
        let fix = "`deadletter run FILE --resume` or any command that works on this store";
        return Finding::Doubtful(detail, format!("nobody works on them: {fix}"));
    }
    Finding::Good(detail)
}

/// How many work on the store's file, if it stands. To be asked before this process opens the
/// store: closing a file that was looked at gives up all locks of the process on it.
pub(super) async fn workers(clock: Arc<dyn Clock>, path: &Path) -> Result<usize> {
    if !path.exists() {
        return Ok(0);
    }
    let path = path.to_owned();
    // Ends with its answer, which is waited for.
    let counted = tokio::task::spawn_blocking(move || {
        Inspection::open(&path, Tolerance::None)?.living(clock.as_ref())
    });
    let living = counted.await.map_err(|error| Fault::failed("the look broke off").because(error));
    Ok(living?.map_err(fault)?.len())
}

/// How many work on a store that a server keeps.
pub(super) async fn workers_of(shelf: &Shelf) -> Result<usize> {
    let workers = shelf.store.workers(WORKERS).await.map_err(fault)?;
    let clock = shelf.store.clock();
    Ok(workers.iter().filter(|worker| worker.lives(clock.as_ref())).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_polled_does_not_wait() {
        let totals = Totals { queued: 1, submitting: 1, polling: 2, ..Totals::default() };
        let Finding::Good(detail) = told(1, &totals) else { panic!("somebody works") };
        assert!(detail.starts_with("1 at work, 1 waiting, 3 at upstream"), "{detail}");
        assert!(matches!(told(0, &totals), Finding::Doubtful(..)));
    }
}
