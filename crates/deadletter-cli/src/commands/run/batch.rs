//! A file on its way to tasks: checked first and whole, then submitted row by row, each once.

use super::{
    Args, Place, exists,
    rows::{Reading, Row, Rows},
};
use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    input::{Columns, Format, Reject, Rejects, Source},
    render, work,
};
use deadletter::{
    Deadletter, Job,
    core::{Filter, TaskId},
    store::{Query, Store},
};
use secrecy::SecretString;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Rows of one insert.
const CHUNK: usize = 500;
/// Chunks that are stored and not yet followed.
const CHUNKS_AHEAD: usize = 4;
/// Bad rows that are shown; the others stand in the file of rejects.
const SHOWN: u64 = 10;
/// Standard input cannot be read twice, so its rows are kept: a gigabyte at most.
const KEPT: usize = 500_000;

/// The good rows of a file, with their places.
type Jobs = Box<dyn Iterator<Item = Result<(Place, Job)>>>;

/// A file whose rows have been checked.
pub(super) struct Batch {
    reading: Arc<Reading>,
    good: usize,
    /// Rows that have their answer from an earlier run.
    solved: usize,
    rejects: Rejects,
    /// The rows of standard input; a file is read a second time.
    kept: Vec<(Place, Job)>,
}

/// A row that is a task now.
pub(super) struct Stored {
    pub(super) id: TaskId,
    pub(super) place: Place,
    /// False where it was one before.
    pub(super) is_new: bool,
}

impl Batch {
    /// Reads the whole file before anything is submitted: a mistake in it costs nothing.
    pub(super) fn check(app: &App, args: &Args, key: Option<&SecretString>) -> Result<Self> {
        let reading = Arc::new(Reading::of(app, args, key)?);
        let mut rows = Rows::open(Arc::clone(&reading))?;
        let (format, header) = rows.shape();
        app.out.say(&format!("{} is read as {}", args.file, format.label()));
        let rejects =
            Rejects::new(args.rejects.clone(), args.file.clone(), format, header).dry(args.dry_run);
        rejects.refuse_foreign()?;
        let mut batch = Self { reading, good: 0, solved: 0, rejects, kept: Vec::new() };
        while let Some(row) = rows.next().transpose()? {
            for news in rows.columns.take_news() {
                app.out.say(&format!("column {news}"));
            }
            match row {
                Row::Good(place, job) => {
                    batch.good += 1;
                    if args.file == Source::Stdin {
                        batch.keep(place, *job)?;
                    }
                }
                Row::Solved => batch.solved += 1,
                Row::Bad(reject) => batch.reject(app, &reject)?,
            }
        }
        batch.report(app, args, &rows.columns)?;
        Ok(batch)
    }

    fn keep(&mut self, place: Place, job: Job) -> Result<()> {
        if self.kept.len() >= KEPT {
            return Err(Fault::usage(format!("standard input has more than {KEPT} rows"))
                .fix("save it to a file, and run that"));
        }
        self.kept.push((place, job));
        Ok(())
    }

    fn reject(&mut self, app: &App, reject: &Reject) -> Result<()> {
        if self.rejects.count < SHOWN {
            // The rows of a list may all stand in one line.
            let row = match self.rejects.format() {
                Format::JsonArray => format!(", row {}", reject.row),
                Format::Csv { .. } | Format::JsonLines | Format::Pages => String::new(),
            };
            app.out.warn(&format!("line {}{row}: {}", reject.line, reject.reason));
        }
        self.rejects.put(reject)
    }

    /// Puts the bad rows aside, once it is sure that the others are submitted.
    pub(super) fn put_aside(&mut self, app: &App) -> Result<()> {
        if let Some(path) = self.rejects.keep()? {
            let put = render::counted(self.rejects.count, "bad row was", "bad rows were");
            app.out.warn(&format!("{put} put aside, with the reason: {}", path.display()));
        }
        Ok(())
    }

    fn report(&mut self, app: &App, args: &Args, columns: &Columns) -> Result<()> {
        for column in columns.missing() {
            app.out.warn(&format!("--map names the column {column}, which no row has"));
        }
        if self.good + self.solved == 0 {
            // There is nothing but these, and the first of them have been told.
            self.put_aside(app)?;
            return Err(Fault::usage(format!("{} holds no row that can be submitted", args.file))
                .fix("each row needs at least a site key and a page URL, or a method and its parameters"));
        }
        Ok(())
    }

    /// Rows that can be submitted.
    pub(super) const fn len(&self) -> usize {
        self.good
    }

    /// Rows that are skipped, because --out has their answers.
    pub(super) const fn solved(&self) -> usize {
        self.solved
    }

    /// Rejected rows are a failure of a part, where nothing worse happened.
    pub(super) fn exit(&self, exit: Exit) -> Exit {
        if exit == Exit::Good && self.rejects.count > 0 { Exit::Failed } else { exit }
    }

    /// Refuses a batch that was begun before, unless it is to be resumed.
    pub(super) async fn refuse_twice(&self, store: &dyn Store, resume: bool) -> Result<()> {
        if resume {
            return Ok(());
        }
        let filter = Filter::batch(&self.reading.batch).map_err(|error| {
            Fault::usage("the batch's name cannot be used")
                .because(error)
                .fix("--name gives it another one")
        })?;
        let query = Query {
            filter,
            now: store.clock().now(),
            newest_first: true,
            after: None,
            limit: 100,
            scan_limit: 10_000,
        };
        let page = store.page(&query).await.map_err(|error| work::of_engine(error.into()))?;
        match page.tasks.len() {
            0 => Ok(()),
            100 => Err(exists(&self.reading.batch, "100 tasks or more")),
            n => Err(exists(&self.reading.batch, &render::counted(n, "task", "tasks"))),
        }
    }

    /// Submits every row, chunk by chunk; one that was accepted before keeps its task.
    pub(super) async fn feed(
        &mut self,
        args: &Args,
        engine: &Deadletter,
        stored: mpsc::Sender<Vec<Stored>>,
    ) -> Result<()> {
        let mut rows = self.rows()?;
        loop {
            let mut places = Vec::with_capacity(CHUNK);
            let mut jobs = Vec::with_capacity(CHUNK);
            for row in rows.by_ref().take(CHUNK) {
                let (place, job) = row?;
                places.push(place);
                jobs.push(args.deadline.into_iter().fold(job, Job::deadline_ms));
            }
            if jobs.is_empty() {
                return Ok(());
            }
            let submitted = engine.submit_all(jobs).await.map_err(work::of_engine)?;
            let chunk = places.into_iter().zip(submitted);
            let chunk = chunk.map(|(place, one)| Stored { id: one.id, place, is_new: one.is_new });
            let gone = |_| Fault::failed("nobody follows the tasks any more");
            stored.send(chunk.collect()).await.map_err(gone)?;
        }
    }

    fn rows(&mut self) -> Result<Jobs> {
        if self.reading.file == Source::Stdin {
            return Ok(Box::new(std::mem::take(&mut self.kept).into_iter().map(Ok)));
        }
        // Bad rows have been told and put aside by the check.
        Ok(Box::new(Rows::open(Arc::clone(&self.reading))?.filter_map(|row| match row {
            Ok(Row::Good(place, job)) => Some(Ok((place, *job))),
            Ok(Row::Solved | Row::Bad(_)) => None,
            Err(fault) => Some(Err(fault)),
        })))
    }

    /// The channel of [`Batch::feed`].
    pub(super) fn channel() -> (mpsc::Sender<Vec<Stored>>, mpsc::Receiver<Vec<Stored>>) {
        mpsc::channel(CHUNKS_AHEAD)
    }
}
