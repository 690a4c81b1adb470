//! Letters of this store that come back in an article's file: exported from here, imported again.

use crate::{
    fault::Result,
    letter::{Incoming, Mark},
    shelf::{Shelf, fault},
};
use deadletter::core::{StateKind, TaskId, UnixMs};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Events read in one go, and tasks looked at.
const PAGE: u32 = 500;

/// How many letters the store itself has made that have the same mark.
#[derive(Debug, Default)]
pub(super) struct Known {
    own: HashMap<Mark, u32>,
}

impl Known {
    /// Those that died at one of these instants, whatever has become of them since.
    ///
    /// Letters that an import brought here are known by their idempotency key, and not counted.
    pub(super) async fn of(shelf: &Shelf, died_at: &HashSet<UnixMs>) -> Result<Self> {
        let mut known = Self::default();
        if died_at.is_empty() {
            return Ok(known);
        }
        let deaths: Vec<_> = deaths(shelf, died_at).await?.into_iter().collect();
        for deaths in deaths.chunks(PAGE as usize) {
            let ids: Vec<TaskId> = deaths.iter().map(|(task, _)| *task).collect();
            let tasks = shelf.store.get(&ids).await.map_err(fault)?;
            for (task, (id, at)) in tasks.into_iter().zip(deaths) {
                let Some(task) = task else { continue };
                // As it was imported, its key says the same; since then it may have died here too.
                let key = task.idempotency_key.as_deref().unwrap_or_default();
                if key.starts_with(Mark::FAMILY) && task.created_at == *at {
                    continue;
                }
                let Some(sitekey) = &task.dimensions.sitekey else { continue };
                let payload = shelf.store.payload(*id).await.map_err(fault)?;
                let page = payload.as_ref().and_then(|payload| payload.text("pageurl"));
                let Some(page) = page else { continue };
                let mark = Mark::of(sitekey, &page, *at);
                *known.own.entry(mark).or_default() += 1;
            }
        }
        Ok(known)
    }

    /// A letter that is not one of the store's own.
    pub(super) fn news(&self, incoming: Incoming) -> Option<Incoming> {
        let Incoming::Article(mut entry) = incoming else { return Some(incoming) };
        let own = self.own.get(&entry.mark()).copied().unwrap_or_default();
        entry.nth = entry.nth.checked_sub(own).filter(|nth| *nth > 0)?;
        Some(Incoming::Article(entry))
    }
}

/// Every task that died at one of these instants.
async fn deaths(shelf: &Shelf, died_at: &HashSet<UnixMs>) -> Result<BTreeSet<(TaskId, UnixMs)>> {
    let mut deaths = BTreeSet::new();
    let mut after = 0;
    loop {
        let events = shelf.store.events(after, PAGE).await.map_err(fault)?;
        let Some((last, _)) = events.last() else { return Ok(deaths) };
        after = *last;
        for (_, event) in events {
            let is_death = matches!(event.state, StateKind::Dead | StateKind::Buried);
            if is_death && died_at.contains(&event.at) {
                deaths.insert((event.task, event.at));
            }
        }
    }
}
