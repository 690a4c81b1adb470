//! `deadletter export`: letters into a file, for another store, a spreadsheet or the article's code.

use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    letter,
    shelf::{self, dead_unless, filter_of},
};
use clap::ValueEnum;
use deadletter::TaskFile;
use std::{
    fs::OpenOptions,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter export --out dead.jsonl\n  deadletter export cause:TIMEOUT --format csv --out timeouts.csv",
    after_help = super::FILTER_HELP
)]
pub(crate) struct Args {
    /// What to export [default: state:dead,buried]
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Proxy credentials, cookies and answers too
    #[arg(long)]
    with_secrets: bool,
}

/// How letters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Everything, one letter a line: what import reads
    Jsonl,
    /// For a spreadsheet
    Csv,
    /// A JSON list as the article's queue exports it
    Article,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let filter = dead_unless(filter_of(&args.filter)?, "state:dead,buried")?;
    let shelf = shelf::open(app).await?;
    let mut sink = Sink::open(args.out.as_deref(), args.format, args.with_secrets)?;
    sink.begin(shelf.now())?;
    shelf
        .each(&filter, false, async |task| {
            // Purged between the page and here: it is no letter any more.
            if let Some(file) = shelf.file(task.id).await? {
                sink.put(&file)?;
            }
            Ok(true)
        })
        .await?;
    let letters = sink.end()?;
    let to = args.out.map_or(String::new(), |path| format!(" to {}", path.display()));
    let masked = if args.with_secrets { "" } else { "; secrets are masked" };
    app.out.say(&format!("{letters} letters exported{to}{masked}"));
    Ok(Exit::Good)
}

/// Where letters go. A file appears under its name only when it is whole.
struct Sink {
    writer: Box<dyn Write>,
    format: Format,
    with_secrets: bool,
    letters: u64,
    rename: Option<(PathBuf, PathBuf)>,
}

impl Sink {
    fn open(path: Option<&Path>, format: Format, with_secrets: bool) -> Result<Self> {
        let Some(path) = path else {
            let writer = Box::new(BufWriter::new(std::io::stdout()));
            return Ok(Self { writer, format, with_secrets, letters: 0, rename: None });
        };
        let part = PathBuf::from(format!("{}.part", path.display()));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&part).map_err(|error| {
            Fault::failed(format!("cannot write {}", part.display())).because(error)
        })?;
        let writer = Box::new(BufWriter::new(file));
        let rename = Some((part, path.to_owned()));
        Ok(Self { writer, format, with_secrets, letters: 0, rename })
    }

    fn begin(&mut self, now: deadletter::core::UnixMs) -> Result<()> {
        match self.format {
            Format::Jsonl => self.line(&letter::header(now, self.with_secrets).to_string()),
            Format::Csv => self.cells(letter::SHEET_HEADER.iter().map(ToString::to_string)),
            Format::Article => self.text("["),
        }
    }

    fn put(&mut self, file: &TaskFile) -> Result<()> {
        match self.format {
            Format::Jsonl => {
                let letter = letter::document(file, self.with_secrets);
                let line = serde_json::to_string(&letter).map_err(|error| {
                    Fault::failed("cannot write a letter as JSON").because(error)
                })?;
                self.line(&line)?;
            }
            Format::Csv => self.cells(letter::sheet_row(file).into_iter())?,
            Format::Article => {
                let entry = serde_json::to_string_pretty(&letter::to_article(file));
                let entry = entry.map_err(|error| {
                    Fault::failed("cannot write a letter as JSON").because(error)
                })?;
                let mark = if self.letters == 0 { "\n" } else { ",\n" };
                self.text(&format!("{mark}  {}", entry.replace('\n', "\n  ")))?;
            }
        }
        self.letters += 1;
        Ok(())
    }

    fn end(mut self) -> Result<u64> {
        match self.format {
            Format::Jsonl => self.line(&letter::footer(self.letters).to_string())?,
            Format::Csv => {}
            Format::Article => self.line(if self.letters == 0 { "]" } else { "\n]" })?,
        }
        self.writer.flush().map_err(Fault::of_output)?;
        if let Some((part, path)) = &self.rename {
            std::fs::rename(part, path).map_err(|error| {
                Fault::failed(format!("cannot write {}", path.display())).because(error)
            })?;
        }
        Ok(self.letters)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        writeln!(self.writer, "{line}").map_err(Fault::of_output)
    }

    fn text(&mut self, text: &str) -> Result<()> {
        self.writer.write_all(text.as_bytes()).map_err(Fault::of_output)
    }

    fn cells(&mut self, cells: impl Iterator<Item = String>) -> Result<()> {
        let mut line = csv::Writer::from_writer(Vec::new());
        let cells: Vec<String> = cells.collect();
        line.write_record(&cells)
            .map_err(|error| Fault::failed("cannot write a letter as CSV").because(error))?;
        let bytes = line.into_inner().unwrap_or_default();
        self.writer.write_all(&bytes).map_err(Fault::of_output)
    }
}
