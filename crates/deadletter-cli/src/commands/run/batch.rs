//! The rows of a file on their way to tasks: read, checked, put aside or submitted once.

use super::{Args, exists};
use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    input::{Columns, Occurrences, Overrides, Records, Reject, Rejects, row_of},
    render, work,
};
use deadletter::{
    Deadletter, Job,
    core::{Filter, Payload, TaskId},
    store::{Query, Store},
};
use std::collections::HashMap;

/// Rows of one insert.
const CHUNK: usize = 500;
/// Bad rows that are shown; the others stand in the file of rejects.
const SHOWN: u64 = 10;

/// A file's good rows.
pub(super) struct Batch {
    name: String,
    rows: Vec<(u64, Job)>,
    rejected: u64,
    /// Rows whose task stood already.
    pub(super) known: usize,
}

impl Batch {
    /// Reads the whole file before anything is submitted: a mistake in it costs nothing.
    pub(super) fn read(app: &App, args: &Args, overrides: Overrides) -> Result<Self> {
        let records = Records::open(&args.file)?;
        let header = records.header.clone();
        let mut rejects =
            Rejects::new(args.rejects.clone(), args.file.clone(), records.format, header)
                .dry(args.dry_run);
        let mut columns = Columns::new(overrides);
        let mut occurrences = Occurrences::default();
        let name = args.name.clone().unwrap_or_else(|| args.file.stem());
        app.out.say(&format!("{} is read as {}", args.file, records.format.label()));
        know(&mut columns, records.header.as_deref(), args)?;
        let mut batch = Self { name, rows: Vec::new(), rejected: 0, known: 0 };
        for record in records {
            let record = record?;
            let row = match &record.fields {
                Ok(fields) => row_of(fields, &mut columns, args.method.as_deref())?,
                Err(reason) => Err(reason.clone()),
            };
            for news in columns.take_news() {
                app.out.say(&format!("column {news}"));
            }
            match row {
                Ok(row) => {
                    let key = occurrences.key(&batch.name, &row);
                    let mut job = Job::from_payload(Payload::new(row.params))
                        .batch(batch.name.clone())
                        .idempotency_key(key, None);
                    job = row.tags.into_iter().fold(job, Job::tag);
                    batch
                        .rows
                        .push((record.line, row.priority.into_iter().fold(job, Job::priority)));
                }
                Err(reason) => {
                    let fields = record.fields.ok();
                    let reject = Reject { line: record.line, reason, text: record.text, fields };
                    batch.reject(app, &mut rejects, &reject)?;
                }
            }
        }
        batch.report(app, args, &rejects, &columns)?;
        Ok(batch)
    }

    fn reject(&mut self, app: &App, rejects: &mut Rejects, reject: &Reject) -> Result<()> {
        self.rejected += 1;
        if self.rejected <= SHOWN {
            app.out.warn(&format!("line {}: {}", reject.line, reject.reason));
        }
        rejects.put(reject)
    }

    fn report(&self, app: &App, args: &Args, rejects: &Rejects, columns: &Columns) -> Result<()> {
        if let Some(path) = rejects.path() {
            let (n, path) = (self.rejected, path.display());
            app.out.warn(&format!("{n} bad rows were put aside, with their reasons: {path}"));
        }
        for column in columns.missing() {
            app.out.warn(&format!("--map names the column {column}, which no row has"));
        }
        if self.rows.is_empty() {
            return Err(Fault::usage(format!("{} holds no row that can be submitted", args.file))
                .fix("each row needs at least a site key and a page URL, or a method and its parameters"));
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Rejected rows are a failure of a part, where nothing worse happened.
    pub(super) fn exit(&self, exit: Exit) -> Exit {
        if exit == Exit::Good && self.rejected > 0 { Exit::Failed } else { exit }
    }

    /// Refuses a batch that was begun before, unless it is to be resumed.
    pub(super) async fn refuse_twice(&self, store: &dyn Store, resume: bool) -> Result<()> {
        if resume {
            return Ok(());
        }
        let filter = Filter::batch(&self.name)
            .map_err(|error| Fault::usage("the batch's name cannot be used").because(error))?;
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
            100 => Err(exists(&self.name, "100 or more")),
            n => Err(exists(&self.name, &n.to_string())),
        }
    }

    /// Submits every row; one that was accepted before keeps its task.
    pub(super) async fn submit(
        &mut self,
        engine: &Deadletter,
        deadline_ms: Option<i64>,
        open: &mut HashMap<TaskId, u64>,
    ) -> Result<()> {
        let mut rows = std::mem::take(&mut self.rows).into_iter();
        loop {
            let (lines, jobs): (Vec<_>, Vec<_>) = rows
                .by_ref()
                .take(CHUNK)
                .map(|(line, job)| (line, deadline_ms.into_iter().fold(job, Job::deadline_ms)))
                .unzip();
            if jobs.is_empty() {
                return Ok(());
            }
            let submitted = engine.submit_all(jobs).await.map_err(work::of_engine)?;
            for (line, one) in lines.into_iter().zip(submitted) {
                self.known += usize::from(!one.is_new);
                open.insert(one.id, line);
            }
        }
    }
}

/// Looks at the columns of a header, before any row.
fn know(columns: &mut Columns, header: Option<&[String]>, args: &Args) -> Result<()> {
    let Some(header) = header else { return Ok(()) };
    for column in header {
        columns.target(column)?;
    }
    if columns.are_of_tasks() || args.method.is_some() {
        return Ok(());
    }
    Err(Fault::usage(format!("no column of {} says what to solve", args.file))
        .why(format!("its first line names: {}", render::cut(&header.join(", "), 200)))
        .fix("the first line names the columns, such as sitekey,url; --map tells what one means"))
}
