//! The rows of a file as jobs, one after the other.

use super::{Args, Place};
use crate::{
    app::App,
    commands::{answers::is_sheet, written::Written},
    fault::{Fault, Result},
    input::{
        Columns, Format, KeyWatch, Occurrences, Overrides, Records, Reject, Source, Usual, row_of,
        values_of,
    },
    render,
};
use deadletter::{Job, core::Payload};
use secrecy::SecretString;
use serde_json::Value;
use std::sync::Arc;

/// Characters of a reason that are kept: it may name a field, and that name may be endless.
const REASON_CHARS: usize = 500;

/// How a file is read: twice, and both times alike.
pub(super) struct Reading {
    pub(super) file: Source,
    pub(super) batch: String,
    overrides: Overrides,
    usual: Usual,
    /// The key is no part of a task, whatever the column is called.
    key: KeyWatch,
    /// What --out tells already, where a run is resumed.
    written: Written,
}

/// A file being read.
pub(super) struct Rows {
    reading: Arc<Reading>,
    records: Records,
    pub(super) columns: Columns,
    occurrences: Occurrences,
    read: u64,
}

/// What a record is.
pub(super) enum Row {
    /// A job, and where it stands.
    Good(Place, Box<Job>),
    /// One that has its answer in --out, whether its task still stands or not.
    Solved,
    /// Nothing that can be submitted.
    Bad(Reject),
}

impl Reading {
    /// As the arguments say; no row may hold `key`.
    pub(super) fn of(app: &App, args: &Args, key: Option<&SecretString>) -> Result<Self> {
        let written = match args.out.as_deref().filter(|_| args.resume) {
            Some(out) => Written::read(out, is_sheet(out, args.csv))?,
            None => Written::default(),
        };
        if let Some(out) = &args.out {
            written.tell_bad(app, out);
        }
        Ok(Self {
            file: args.file.clone(),
            batch: args.name.clone().unwrap_or_else(|| args.file.stem()),
            overrides: args.maps.iter().cloned().collect(),
            usual: Usual {
                method: args.method.clone(),
                sitekey: args.sitekey.clone(),
                params: values_of(&args.params)?,
            },
            key: KeyWatch::new(key),
            written,
        })
    }

    /// The words that every task would carry.
    fn refuse_key(&self, header: Option<&[String]>) -> Result<()> {
        let header = header.unwrap_or_default().iter().map(|name| ("a column's name", name));
        let method = self.usual.method.iter().map(|method| ("--method", method));
        let sitekey = self.usual.sitekey.iter().map(|sitekey| ("--sitekey", sitekey));
        let batch = std::iter::once(("the name of the batch", &self.batch));
        let mut names = header.chain(method).chain(sitekey).chain(batch);
        let found = names.find(|(_, text)| self.key.finds_in(text)).map(|(what, _)| what);
        let is_param = |(name, value): &(String, Value)| {
            self.key.finds_in(name) || self.key.finds_in_value(value)
        };
        let param = self.usual.params.iter().any(is_param).then_some("a --param");
        match found.or(param) {
            None => Ok(()),
            Some(what) => Err(Fault::usage(format!("{what} holds the account's key"))
                .why("it would be stored with every task, and shown")
                .fix("choose another word: the key is sent without it")),
        }
    }
}

impl Rows {
    /// Opens the file, and looks at its columns before any row where it has a header.
    pub(super) fn open(reading: Arc<Reading>) -> Result<Self> {
        let records = Records::open(&reading.file)?;
        reading.refuse_key(records.header.as_deref())?;
        let columns = Columns::new(reading.overrides.clone());
        let mut rows =
            Self { reading, records, columns, occurrences: Occurrences::default(), read: 0 };
        if rows.records.format == Format::Pages && rows.reading.usual.is_empty() {
            return Err(Fault::usage(format!("{} lists pages alone", rows.reading.file))
                .why("nothing says what to solve there")
                .fix("--sitekey KEY holds for each of them; --method and --param too"));
        }
        let Some(header) = &rows.records.header else { return Ok(rows) };
        for column in header {
            rows.columns.target(column)?;
        }
        if rows.columns.are_of_tasks() || !rows.reading.usual.is_empty() {
            return Ok(rows);
        }
        Err(Fault::usage(format!("no column of {} says what to solve", rows.reading.file))
            .why(format!("its first line names: {}", render::cut(&header.join(", "), 200)))
            .fix(
                "the first line names the columns, such as sitekey,url; --map tells what one means",
            ))
    }

    /// How the file is written, and the columns of its header.
    pub(super) fn shape(&self) -> (Format, Option<Vec<String>>) {
        (self.records.format, self.records.header.clone())
    }

    fn read(&mut self) -> Result<Option<Row>> {
        let Some(record) = self.records.next().transpose()? else { return Ok(None) };
        self.read += 1;
        let place = Place { line: record.line, row: self.read };
        let row = match &record.fields {
            Ok(fields) => {
                row_of(fields, &mut self.columns, &self.reading.usual, &self.reading.key)?
            }
            Err(reason) => Err(reason.clone()),
        };
        Ok(Some(match row {
            Ok(row) => {
                let key = self.occurrences.key(&self.reading.batch, &row);
                if self.reading.written.has_answer(&key) {
                    return Ok(Some(Row::Solved));
                }
                let job = Job::from_payload(Payload::new(row.params))
                    .batch(self.reading.batch.clone())
                    .idempotency_key(key, None);
                let job = row.tags.into_iter().fold(job, Job::tag);
                Row::Good(place, Box::new(row.priority.into_iter().fold(job, Job::priority)))
            }
            Err(reason) => Row::Bad(Reject {
                line: place.line,
                row: place.row,
                // A field's name may hold the key, and is told where it stands twice.
                reason: render::cut(&self.reading.key.mask(&reason), REASON_CHARS),
                text: self.reading.key.mask(&record.text),
                fields: record.fields.ok().map(|fields| self.reading.key.mask_fields(fields)),
            }),
        }))
    }
}

impl Iterator for Rows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
