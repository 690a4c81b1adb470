//! `deadletter export`: letters into a file, for another store, a spreadsheet or the article's code.

use super::salvage::Heap;
use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    letter, render,
    shelf::{self, Shelf, dead_unless, filter_of},
    signals::Signals,
};
use clap::ValueEnum;
use deadletter::{
    TaskFile,
    core::{Filter, UnixMs},
    store::draft::Draft,
};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter export --out dead.jsonl\n  deadletter export cause:TIMEOUT --format csv --out timeouts.csv\n  deadletter export --salvage --with-secrets --out rescued.jsonl --store sqlite:other.db",
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
    /// From a damaged store: whatever can be read, of all but solved tasks unless told otherwise
    #[arg(long)]
    salvage: bool,
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
    if args.salvage {
        return salvage(app, args).await;
    }
    let filter = dead_unless(filter_of(&args.filter)?, "state:dead,buried")?;
    let shelf = shelf::open(app).await?;
    let sink = Sink::open(args.out.as_deref(), args.format, args.with_secrets)?;
    let written = if sink.draft.is_some() {
        unless_interrupted(app, write(&shelf, &filter, sink)).await
    } else {
        // A pipe whose reader waits keeps nobody from ending it as everything is ended.
        write(&shelf, &filter, sink).await.map(Some)
    };
    let written = written.map_err(|fault| match &args.out {
        Some(path) => fault.of_named_place(path),
        None => fault,
    })?;
    let Some(Written { letters, masked }) = written else { return Ok(Exit::Interrupted) };
    let letters = render::counted(letters, "letter", "letters");
    let to = args.out.map_or(String::new(), |path| format!(" to {}", path.display()));
    let masked = if masked == 0 { "" } else { "; secrets are masked" };
    app.out.say(&format!("{letters} exported{to}{masked}"));
    Ok(Exit::Good)
}

/// What `writing` came to; none where a signal came first. A draft goes with it then.
async fn unless_interrupted<T>(
    app: &App,
    writing: impl Future<Output = Result<T>>,
) -> Result<Option<T>> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        written = writing => written.map(Some),
        () = signals.next() => {
            app.out.say("interrupted; no file was written");
            Ok(None)
        }
    }
}

/// Letters out of a damaged store, in the same form.
async fn salvage(app: &App, args: Args) -> Result<Exit> {
    let filter = dead_unless(filter_of(&args.filter)?, UNSOLVED)?;
    let Some(heap) = Heap::gather(app).await? else { return Ok(Exit::Interrupted) };
    let sink = Sink::open(args.out.as_deref(), args.format, args.with_secrets)?;
    let written = unless_interrupted(app, write_heap(&heap, &filter, sink)).await?;
    let Some(Written { letters, masked }) = written else { return Ok(Exit::Interrupted) };
    let exit = heap.report(app, letters);
    if masked > 0 {
        let which = render::counted(masked, "letter has", "letters have");
        app.out.warn(&format!(
            "{which} masked secrets, and cannot be redriven so: --with-secrets keeps them"
        ));
    }
    Ok(exit)
}

async fn write_heap(heap: &Heap, filter: &Filter, mut sink: Sink) -> Result<Written> {
    sink.begin(heap.shelf.now())?;
    let shelf = &heap.shelf;
    shelf
        .each(filter, false, async |task| {
            if let Some(file) = shelf.file(task.id).await? {
                let file = Heap::letter(file);
                sink.put(&file, file.task.updated_at)?;
            }
            Ok(true)
        })
        .await?;
    for file in heap.rebuilt(filter).await? {
        sink.put(&file, file.task.updated_at)?;
    }
    sink.end()
}

async fn write(shelf: &Shelf, filter: &Filter, mut sink: Sink) -> Result<Written> {
    sink.begin(shelf.now())?;
    shelf
        .each(filter, false, async |task| {
            // Purged between the page and here: it is no letter any more.
            if let Some(file) = shelf.file(task.id).await? {
                let died_at = match sink.format {
                    Format::Article => shelf.died_at(&file.task).await?,
                    Format::Jsonl | Format::Csv => file.task.updated_at,
                };
                sink.put(&file, died_at)?;
            }
            Ok(true)
        })
        .await?;
    sink.end()
}

/// What is worth bringing out of a damaged store: an answer that was given once is old by then.
const UNSOLVED: &str = "state:queued,submitting,polling,dead,buried,cancelled";

/// Symbolic links followed before they are taken for a ring, as the system does.
const LINKS: usize = 40;

/// The file that a path leads to, whether it exists or not: a link stays a link.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        if !path.is_symlink() {
            return Ok(path);
        }
        let target = std::fs::read_link(&path)?;
        path = path.parent().map_or_else(|| target.clone(), |parent| parent.join(&target));
    }
    Err(io::Error::other("its symbolic links lead nowhere"))
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Written {
    letters: u64,
    /// Those of them that lack secrets of their requests.
    masked: u64,
}

/// Where letters go. A file appears under its name only when it is whole.
struct Sink {
    writer: Box<dyn Write>,
    format: Format,
    with_secrets: bool,
    written: Written,
    /// The second is the file once more, to be flushed.
    draft: Option<(Draft, File, PathBuf)>,
}

impl Sink {
    fn open(path: Option<&Path>, format: Format, with_secrets: bool) -> Result<Self> {
        let sink = |writer: Box<dyn Write>, draft| Self {
            writer,
            format,
            with_secrets,
            written: Written::default(),
            draft,
        };
        let Some(path) = path else {
            return Ok(sink(Box::new(BufWriter::new(std::io::stdout())), None));
        };
        let failed = |path: &Path, error| {
            Fault::failed(format!("cannot write {}", path.display())).because(error)
        };
        // A device or a pipe is written to, never put away for a file.
        if std::fs::metadata(path).is_ok_and(|data| !data.is_file()) {
            let file = OpenOptions::new().write(true).open(path);
            let file = file.map_err(|error| failed(path, error))?;
            return Ok(sink(Box::new(BufWriter::new(file)), None));
        }
        let path = behind_links(path).map_err(|error| failed(path, error))?;
        let (draft, file) = Draft::begin(&path).map_err(|error| failed(&path, error))?;
        let flushed = file.try_clone().map_err(|error| failed(&path, error))?;
        Ok(sink(Box::new(BufWriter::new(file)), Some((draft, flushed, path))))
    }

    fn begin(&mut self, now: UnixMs) -> Result<()> {
        match self.format {
            Format::Jsonl => self.line(&letter::header(now, self.with_secrets).to_string()),
            Format::Csv => self.cells(letter::SHEET_HEADER.iter().map(ToString::to_string)),
            Format::Article => self.text("["),
        }
    }

    fn put(&mut self, file: &TaskFile, died_at: UnixMs) -> Result<()> {
        let has_masked = !self.with_secrets && letter::has_secrets(file);
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
                let entry = serde_json::to_string_pretty(&letter::to_article(file, died_at));
                let entry = entry.map_err(|error| {
                    Fault::failed("cannot write a letter as JSON").because(error)
                })?;
                let mark = if self.written.letters == 0 { "\n" } else { ",\n" };
                self.text(&format!("{mark}  {}", entry.replace('\n', "\n  ")))?;
            }
        }
        self.written.letters += 1;
        self.written.masked += u64::from(has_masked);
        Ok(())
    }

    fn end(mut self) -> Result<Written> {
        match self.format {
            Format::Jsonl => self.line(&letter::footer(self.written.letters).to_string())?,
            Format::Csv => {}
            Format::Article => self.line(if self.written.letters == 0 { "]" } else { "\n]" })?,
        }
        self.writer.flush().map_err(Fault::of_output)?;
        if let Some((draft, file, path)) = self.draft {
            let placed = draft.replace(file).map_err(|error| {
                Fault::failed(format!("cannot write {}", path.display())).because(error)
            })?;
            placed.durable().map_err(|error| {
                Fault::failed(format!("{} may be lost with the power", path.display()))
                    .because(error)
                    .fix("look after the disk (dmesg, free space), and export again")
            })?;
        }
        Ok(self.written)
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn exported_to(path: &Path) {
        let mut sink = Sink::open(Some(path), Format::Article, false).expect("opened");
        sink.begin(UnixMs(0)).expect("begun");
        assert_eq!(sink.end().expect("ended"), Written::default());
    }

    #[test]
    fn a_link_stays_a_link_and_its_file_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("deep")).expect("made");
        let (link, file) = (dir.path().join("link"), dir.path().join("deep/file.json"));
        symlink("deep/file.json", &link).expect("linked");
        // Without its file at first, and then over it.
        for _ in 0..2 {
            exported_to(&link);
            assert!(link.is_symlink() && file.is_file());
            assert_eq!(std::fs::read_to_string(&file).expect("read"), "[]\n");
        }
        let ring = dir.path().join("ring");
        symlink("ring", &ring).expect("linked");
        assert!(Sink::open(Some(&ring), Format::Article, false).is_err());
    }

    #[test]
    fn a_pipe_gets_the_letters_and_stays_a_pipe() {
        let dir = tempfile::tempdir().expect("a directory");
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo exists").success());
        let from = pipe.clone();
        let reader = std::thread::spawn(move || std::fs::read_to_string(from));
        exported_to(&pipe);
        assert!(!pipe.is_file(), "it was replaced by a file");
        assert_eq!(reader.join().expect("it ends").expect("read"), "[]\n");
    }
}
