//! `deadletter import`: letters from a file into the store, whole or not at all.

use crate::{
    app::App,
    config::Settings,
    exit::Exit,
    fault::{Fault, Result},
    input::Source,
    letter::{HOLD, Incoming, Restored, Restorer, read_all},
    shelf::{Shelf, fault},
    upstream,
};
use deadletter::{
    core::{Change, Task, TaskId, UnixMs},
    store::Inserted,
};
use serde_json::json;
use std::io::{BufRead, BufReader, Cursor, Read};
use tokio::sync::mpsc;

/// Letters of one insert.
const BATCH: usize = 200;
/// Batches read ahead of the store.
const BATCHES_AHEAD: usize = 2;
/// Letters from standard input are kept in memory, to be read twice.
const STDIN_BYTES: u64 = 256 << 20;
/// Tries to find an id that is free.
const ID_TRIES: u32 = 64;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter import dead.jsonl\n  deadletter import captcha-dlq.json --dry-run",
    after_help = "It reads what `deadletter export` writes, the article's Python export and its JavaScript file.\nLetters that the store has already are recognised. A torn file is refused."
)]
pub(crate) struct Args {
    /// The file; - for standard input
    #[arg(value_name = "FILE")]
    file: Source,
    /// Read and check, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What became of the letters.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    imported: u64,
    duplicates: u64,
    not_at_rest: u64,
    masked: u64,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    let settings = app.settings()?;
    let twice = Twice::of(&args.file)?;
    let name = args.file.to_string();
    // The whole file is read and checked before the first letter is written.
    let letters = read_all(&name, twice.open(&args.file)?, &mut |_| Ok(()))?;
    if args.dry_run {
        app.out.say(&format!("{letters} letters could be imported; nothing was changed"));
        app.out.json(&json!({"letters": letters, "dry_run": true}))?;
        return Ok(Exit::Good);
    }
    let shelf = Shelf::open(&settings).await?;
    let tally = import(&shelf, &settings, &name, twice.open(&args.file)?).await?;
    report(app, tally)?;
    Ok(if tally.not_at_rest > 0 { Exit::Failed } else { Exit::Good })
}

fn report(app: &App, tally: Tally) -> Result<()> {
    let Tally { imported, duplicates, not_at_rest, masked } = tally;
    if !app.out.is_table() {
        app.out.json(&json!({
            "imported": imported, "duplicates": duplicates, "not_at_rest": not_at_rest,
            "masked": masked,
        }))?;
    }
    app.out.say(&format!("{imported} letters imported, {duplicates} were here already"));
    if not_at_rest > 0 {
        app.out.warn(&format!(
            "{not_at_rest} letters were not at rest when they were exported, and were left out"
        ));
    }
    if masked > 0 {
        app.out.warn(&format!(
            "{masked} letters have masked secrets and are held: they can be read, not redriven; \
             `deadletter export --with-secrets` keeps them"
        ));
    }
    Ok(())
}

async fn import(
    shelf: &Shelf,
    settings: &Settings,
    name: &str,
    reader: Box<dyn BufRead + Send>,
) -> Result<Tally> {
    let provider = upstream::provider_or_nobody(settings)?;
    let cleaner = upstream::cleaner(settings);
    let restorer = Restorer {
        account: settings.account.clone(),
        policy: &settings.policy,
        provider: &provider,
        cleaner: &cleaner,
    };
    let mut ids = Ids { now: shelf.now(), next: 0 };
    let mut tally = Tally::default();
    let (sender, mut batches) = mpsc::channel(BATCHES_AHEAD);
    let name = name.to_owned();
    // Ends at the end of the file, or when `batches` is dropped.
    let reading = tokio::task::spawn_blocking(move || read_batches(&name, reader, &sender));
    while let Some(batch) = batches.recv().await {
        let mut restored = Vec::with_capacity(batch.len());
        for incoming in batch {
            match restorer.restore(incoming, ids.spare()) {
                None => tally.not_at_rest += 1,
                Some(letter) => restored.push(letter),
            }
        }
        insert(shelf, restored, &mut ids, &mut tally).await?;
    }
    reading
        .await
        .map_err(|error| Fault::failed("the reader of the file broke off").because(error))?
        .map(|()| tally)
}

fn read_batches(
    name: &str,
    reader: Box<dyn BufRead + Send>,
    sender: &mpsc::Sender<Vec<Incoming>>,
) -> Result<()> {
    let gone = |_| Fault::failed("the import broke off");
    let mut batch = Vec::with_capacity(BATCH);
    read_all(name, reader, &mut |incoming| {
        batch.push(incoming);
        if batch.len() < BATCH {
            return Ok(());
        }
        sender.blocking_send(std::mem::take(&mut batch)).map_err(gone)
    })?;
    sender.blocking_send(batch).map_err(gone)
}

/// Inserts one batch, and lays it to rest.
async fn insert(
    shelf: &Shelf,
    batch: Vec<Restored>,
    ids: &mut Ids,
    tally: &mut Tally,
) -> Result<()> {
    let mut open = batch;
    let mut resting: Vec<(Restored, TaskId, bool)> = Vec::new();
    for _ in 0..ID_TRIES {
        let tasks = open.iter().map(Restored::to_insert).collect();
        let inserted = shelf.store.insert(tasks).await.map_err(fault)?;
        let mut taken = Vec::new();
        for (restored, outcome) in open.into_iter().zip(inserted) {
            match outcome {
                Inserted::New(id) => resting.push((restored, id, true)),
                Inserted::Existing(id) => resting.push((restored, id, false)),
                Inserted::IdTaken(id) => {
                    if is_same(&restored.rests, task(shelf, id).await?.as_ref()) {
                        resting.push((restored, id, false));
                    } else {
                        taken.push(restored.with_id(ids.spare()));
                    }
                }
            }
        }
        if taken.is_empty() {
            return rest(shelf, resting, tally).await;
        }
        open = taken;
    }
    Err(Fault::failed(format!("no free task id was found in {ID_TRIES} tries"))
        .fix("is the clock right? What was imported stays; import the file again"))
}

async fn rest(
    shelf: &Shelf,
    resting: Vec<(Restored, TaskId, bool)>,
    tally: &mut Tally,
) -> Result<()> {
    let ids: Vec<TaskId> = resting.iter().map(|(_, id, _)| *id).collect();
    let rows = shelf.store.get(&ids).await.map_err(fault)?;
    let mut changes = Vec::new();
    for ((restored, _, is_new), row) in resting.iter().zip(rows) {
        // A row that is still held by an import was left there by one that did not end.
        let unfinished = row.filter(|row| row.hold.as_deref() == Some(HOLD));
        let change = unfinished.and_then(|row| restored.to_rest(&row));
        tally.imported += u64::from(*is_new || change.is_some());
        tally.duplicates += u64::from(!is_new && change.is_none());
        tally.masked += u64::from(restored.is_masked && change.is_some());
        changes.extend(change.map(|row| Change { facts: Vec::new(), row: Some(Box::new(row)) }));
    }
    // Stale means that somebody else was faster with the same step.
    shelf.store.commit(changes).await.map_err(fault)?;
    Ok(())
}

async fn task(shelf: &Shelf, id: TaskId) -> Result<Option<Task>> {
    Ok(shelf.store.get(&[id]).await.map_err(fault)?.pop().flatten())
}

/// True where a stored task is the one that a letter tells of.
fn is_same(letter: &Task, stored: Option<&Task>) -> bool {
    stored.is_some_and(|stored| {
        stored.created_at == letter.created_at && stored.dimensions == letter.dimensions
    })
}

/// Ids for letters that bring none.
struct Ids {
    now: UnixMs,
    next: u64,
}

impl Ids {
    fn spare(&mut self) -> TaskId {
        self.next += 1;
        // 4,096 ids fit a millisecond; older ones are free with near certainty.
        let back = i64::try_from(self.next / 4_096).unwrap_or(0);
        TaskId::at(self.now.plus(-back), self.next)
    }
}

/// A source that can be read twice.
enum Twice {
    File,
    Memory(Vec<u8>),
}

impl Twice {
    fn of(source: &Source) -> Result<Self> {
        let Source::Stdin = source else { return Ok(Self::File) };
        let mut bytes = Vec::new();
        let read = std::io::stdin().take(STDIN_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| source.unreadable(error))?;
        if bytes.len() as u64 > STDIN_BYTES {
            return Err(Fault::usage("standard input is too long to be checked first")
                .fix("save it to a file, and import that"));
        }
        Ok(Self::Memory(bytes))
    }

    fn open(&self, source: &Source) -> Result<Box<dyn BufRead + Send>> {
        match (self, source) {
            (Self::Memory(bytes), _) => Ok(Box::new(Cursor::new(bytes.clone()))),
            (Self::File, Source::File(path)) => {
                let file = std::fs::File::open(path).map_err(|error| source.unreadable(error))?;
                Ok(Box::new(BufReader::new(file)))
            }
            (Self::File, Source::Stdin) => Ok(Box::new(BufReader::new(std::io::stdin()))),
        }
    }
}
