//! `deadletter export --salvage`: letters out of a damaged store.

use super::store::looking::{file, watch};
use crate::{
    app::App,
    config::Settings,
    exit::Exit,
    fault::{Fault, Result},
    letter::{laid_to_rest, rebuilt},
    render::counted,
    shelf::{self, Shelf},
    upstream,
};
use deadletter::{
    TaskFile,
    core::{Filter, TaskId},
    provider::Provider,
    store::{
        self, SystemClock,
        sqlite::{
            inspect::Interrupter,
            salvage::{Salvaged, salvage},
        },
    },
};
use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};
use tempfile::TempDir;

/// Ids of lost tasks that are told one by one.
const NAMED: usize = 20;

/// What could be read of a damaged store, as a store of its own that goes with its owner.
pub(super) struct Heap {
    pub(super) shelf: Shelf,
    pub(super) salvaged: Salvaged,
    path: PathBuf,
    settings: Settings,
    provider: Arc<dyn Provider>,
    _folder: TempDir,
}

impl Heap {
    /// Reads the settings' store, which is left as it is; none where that was interrupted.
    pub(super) async fn gather(app: &App) -> Result<Option<Self>> {
        let path = file(app)?;
        let settings = app.settings()?;
        let provider = upstream::provider_or_nobody(&settings)?;
        let folder = tempfile::Builder::new().prefix("deadletter-salvage-").tempdir();
        let folder = folder.map_err(|error| {
            Fault::failed("there is no place for what is brought out")
                .because(error)
                .fix("the folder of temporary files (TMPDIR) needs as much room as the store")
        })?;
        let into = folder.path().join("salvaged.db");
        let (from, to) = (path.clone(), into.clone());
        let is_stopped = Arc::new(AtomicBool::new(false));
        let salvaged = watch(app, move |progress, hand_over| {
            // Nobody waits for it where the command has ended.
            hand_over.send(Interrupter::of(Arc::clone(&is_stopped))).ok();
            salvage(&from, &to, progress, &is_stopped)
        });
        let Some(salvaged) = salvaged.await? else { return Ok(None) };
        let url = format!("sqlite:{}", into.display());
        let store = store::open(&url, Arc::new(SystemClock)).await.map_err(shelf::fault)?;
        let shelf = Shelf { store };
        Ok(Some(Self { shelf, salvaged, path, settings, provider, _folder: folder }))
    }

    /// A task of the heap as a letter.
    pub(super) fn letter(file: TaskFile) -> TaskFile {
        laid_to_rest(file)
    }

    /// Letters for requests whose rows are lost, as far as the filter chooses them.
    pub(super) async fn rebuilt(&self, filter: &Filter) -> Result<Vec<TaskFile>> {
        let mut files = Vec::new();
        for id in &self.salvaged.without_row {
            let payload = self.shelf.store.payload(*id).await.map_err(shelf::fault)?;
            let Some(payload) = payload else { continue };
            let attempts = self.shelf.store.history(*id).await.map_err(shelf::fault)?;
            let dimensions = self.provider.dimensions(&payload);
            let place = (&self.settings.account, &self.settings.policy);
            let now = self.shelf.now();
            let file = rebuilt(*id, payload, attempts, dimensions, place, now);
            files.extend(filter.matches(&file.task, now).then_some(file));
        }
        Ok(files)
    }

    /// Says what was found and what was lost; the exit code.
    pub(super) fn report(&self, app: &App, letters: u64) -> Exit {
        let Salvaged { without_row, without_request, bad_pages, pages, .. } = &self.salvaged;
        let (found, path) = (self.salvaged.tasks, self.path.display());
        let known = found + (without_row.len() + without_request.len()) as u64;
        let tasks = counted(known, "task", "tasks");
        app.out.say(&format!(
            "{tasks} were read from {path}, {letters} of them are exported; the store was left as it is"
        ));
        if !without_row.is_empty() {
            let n = counted(without_row.len() as u64, "task has", "tasks have");
            app.out.warn(&format!(
                "{n} lost their row and were rebuilt from request and attempts: {}",
                named(without_row)
            ));
        }
        if !without_request.is_empty() {
            let n = counted(without_request.len() as u64, "task has", "tasks have");
            app.out.warn(&format!(
                "{n} lost their request, so that nothing of them can be submitted; their history is \
                 among the letters: {}",
                named(without_request)
            ));
        }
        if self.salvaged.may_be_old {
            app.out
                .warn("the file does not say what was deleted: what was purged may be among them");
        }
        if self.salvaged.expected.is_none() {
            app.out.warn("the counts are lost: nobody can tell how many tasks there were");
        }
        let lost = self.salvaged.lost();
        let pieces = self.salvaged.bad_rows;
        let is_told = self.salvaged.expected.is_some();
        if is_told && lost + bad_pages + pieces == 0 && without_request.is_empty() {
            return Exit::Good;
        }
        let tasks = counted(lost, "task", "tasks");
        app.out.warn(&format!(
            "lost: {tasks} of which nothing was found; {bad_pages} of {pages} pages and {pieces} \
             pieces of others cannot be read"
        ));
        Exit::Failed
    }
}

fn named(ids: &[TaskId]) -> String {
    let some: Vec<_> = ids.iter().take(NAMED).map(ToString::to_string).collect();
    let more = if ids.len() > NAMED { ", ..." } else { "" };
    format!("{}{more}", some.join(", "))
}
