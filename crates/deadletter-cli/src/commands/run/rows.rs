//! The rows of a file as jobs, one after the other.

use super::{Args, Place};
use crate::{
    fault::{Fault, Result},
    input::{Columns, Format, Occurrences, Overrides, Records, Reject, row_of},
    render,
};
use deadletter::{Job, core::Payload};

/// A file being read.
pub(super) struct Rows {
    records: Records,
    pub(super) columns: Columns,
    occurrences: Occurrences,
    batch: String,
    read: u64,
    method: Option<String>,
}

/// What a record is.
pub(super) enum Row {
    /// A job, and where it stands.
    Good(Place, Box<Job>),
    /// Nothing that can be submitted.
    Bad(Reject),
}

impl Rows {
    /// Opens the file, and looks at its columns before any row where it has a header.
    pub(super) fn open(args: &Args, batch: &str) -> Result<Self> {
        let overrides: Overrides = args.maps.iter().cloned().collect();
        let mut rows = Self {
            records: Records::open(&args.file)?,
            columns: Columns::new(overrides),
            occurrences: Occurrences::default(),
            batch: batch.to_owned(),
            read: 0,
            method: args.method.clone(),
        };
        let Some(header) = &rows.records.header else { return Ok(rows) };
        for column in header {
            rows.columns.target(column)?;
        }
        if rows.columns.are_of_tasks() || args.method.is_some() {
            return Ok(rows);
        }
        Err(Fault::usage(format!("no column of {} says what to solve", args.file))
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
            Ok(fields) => row_of(fields, &mut self.columns, self.method.as_deref())?,
            Err(reason) => Err(reason.clone()),
        };
        Ok(Some(match row {
            Ok(row) => {
                let key = self.occurrences.key(&self.batch, &row);
                let job = Job::from_payload(Payload::new(row.params))
                    .batch(self.batch.clone())
                    .idempotency_key(key, None);
                let job = row.tags.into_iter().fold(job, Job::tag);
                Row::Good(place, Box::new(row.priority.into_iter().fold(job, Job::priority)))
            }
            Err(reason) => Row::Bad(Reject {
                line: place.line,
                row: place.row,
                reason,
                text: record.text,
                fields: record.fields.ok(),
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
