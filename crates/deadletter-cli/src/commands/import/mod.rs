//! `deadletter import`: letters from a file into the store.

mod check;
mod insert;
mod known;
mod twice;

use crate::{
    app::App,
    config::Settings,
    exit::Exit,
    fault::{Fault, Result},
    input::Source,
    letter::{Incoming, Reader, Restorer},
    render,
    shelf::Shelf,
    upstream, work,
};
use check::{Checked, check};
use deadletter::{Desk, core::Filter};
use insert::{Ids, insert};
use known::Known;
use serde_json::{Value, json};
use std::{io::BufRead, path::PathBuf};
use tokio::sync::mpsc;
use twice::Twice;

/// Letters of one insert.
const BATCH: usize = 200;
/// Batches read ahead of the store.
const BATCHES_AHEAD: usize = 2;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter import dead.jsonl\n  deadletter import captcha-dlq.json --dry-run",
    after_help = "It reads what `deadletter export` writes, the article's Python export and its JavaScript file. Letters that the store has already are recognised, those of its own exports too. Of a torn file of the article's every whole letter is taken, the tear is told, and the exit code is 1; a torn file of ours is refused: it counts its letters."
)]
pub(crate) struct Args {
    /// The file; - for standard input
    #[arg(value_name = "FILE")]
    file: Source,
    /// Put aside here what is no letter, and take the others [default: refuse the file]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
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
    into(app, &app.settings()?, args).await
}

/// The same for a file of letters that is moved into a store as another store would be.
pub(super) async fn moved(
    app: &App,
    settings: &Settings,
    file: PathBuf,
    dry_run: bool,
) -> Result<Exit> {
    into(app, settings, Args { file: Source::File(file), rejects: None, dry_run }).await
}

async fn into(app: &App, settings: &Settings, args: Args) -> Result<Exit> {
    let twice = Twice::of(&args.file)?;
    let name = args.file.to_string();
    let (provider, cleaner) =
        (upstream::provider_or_nobody(settings)?, upstream::cleaner(settings));
    let restorer = Restorer {
        account: settings.account.clone(),
        policy: &settings.policy,
        provider: provider.as_ref(),
        cleaner: &cleaner,
    };
    let checked = check(&args, &name, &twice, &restorer)?;
    let Checked { letters, rejected, .. } = checked;
    if let Some(tear) = &checked.tear {
        app.out.warn(&format!(
            "{name} is torn at line {}, byte {}: {}; {} read before it, \
             {} bytes were left",
            tear.line,
            tear.byte,
            tear.what,
            render::counted(letters, "whole letter was", "whole letters were"),
            tear.left_bytes
        ));
    }
    if let Some(path) = args.rejects.as_ref().filter(|_| rejected > 0) {
        let no = render::counted(rejected, "entry is no letter", "entries are no letters");
        app.out.warn(&format!("{no}: see {}", path.display()));
    }
    let is_partial = checked.tear.is_some() || rejected + checked.without_request > 0;
    if args.dry_run {
        let could = render::counted(letters, "letter", "letters");
        app.out.say(&format!("{could} could be imported; nothing was changed"));
        app.out.json(&json!({
            "letters": letters, "without_request": checked.without_request, "rejected": rejected,
            "torn": torn(&checked), "dry_run": true,
        }))?;
        return Ok(if is_partial { Exit::Failed } else { Exit::Good });
    }
    let shelf = Shelf::open(app, settings).await?;
    let known = Known::of(&shelf, &checked.died_at).await?;
    let desk = work::desk_on(settings, shelf.clone()).await?.desk();
    let target = Target { shelf: &shelf, desk: &desk };
    let tally = import(&target, &restorer, &name, &known, twice.open(&args.file)?).await?;
    report(app, tally, &checked)?;
    Ok(if is_partial || tally.not_at_rest > 0 { Exit::Failed } else { Exit::Good })
}

fn torn(checked: &Checked) -> Option<Value> {
    let tear = checked.tear.as_ref()?;
    Some(json!({
        "line": tear.line, "byte": tear.byte, "what": tear.what, "left_bytes": tear.left_bytes,
    }))
}

fn report(app: &App, tally: Tally, checked: &Checked) -> Result<()> {
    let Tally { imported, duplicates, not_at_rest, masked } = tally;
    let without_request = checked.without_request;
    if !app.out.is_table() {
        app.out.json(&json!({
            "imported": imported, "duplicates": duplicates, "not_at_rest": not_at_rest,
            "masked": masked, "without_request": without_request, "rejected": checked.rejected,
            "torn": torn(checked),
        }))?;
    }
    let came = render::counted(imported, "letter", "letters");
    let known = render::counted(duplicates, "was", "were");
    app.out.say(&format!("{came} imported, {known} here already"));
    if not_at_rest > 0 {
        let moving = render::counted(not_at_rest, "letter was", "letters were");
        app.out.warn(&format!("{moving} not at rest when exported, and left out"));
    }
    if without_request > 0 {
        let lost = render::counted(without_request, "letter has", "letters have");
        app.out.warn(&format!(
            "{lost} no request, which was lost with the store that had it, and left out: nothing of \
             that could be submitted"
        ));
    }
    if masked > 0 {
        app.out.warn(&format!(
            "{}: such a letter can be read, not redriven; `deadletter export --with-secrets` keeps them",
            render::counted(masked, "letter has masked secrets and is held", "letters have masked secrets and are held")
        ));
    }
    Ok(())
}

/// Where letters go.
struct Target<'a> {
    shelf: &'a Shelf,
    /// Knows the holds that stand.
    desk: &'a Desk,
}

impl Target<'_> {
    /// The filters of the holds that stand now.
    async fn holds(&self) -> Result<Vec<Filter>> {
        let holds = self.desk.standing_holds().await.map_err(work::of_engine)?;
        let filters = holds.iter().map(|hold| hold.filter.parse());
        filters.collect::<Result<_, _>>().map_err(|error| {
            Fault::failed("the filter of a standing hold cannot be read").because(error)
        })
    }
}

async fn import(
    target: &Target<'_>,
    restorer: &Restorer<'_>,
    name: &str,
    known: &Known,
    reader: Box<dyn BufRead + Send>,
) -> Result<Tally> {
    let shelf = target.shelf;
    let mut ids = Ids::from(shelf.now());
    let mut tally = Tally::default();
    let (sender, mut batches) = mpsc::channel(BATCHES_AHEAD);
    let name = name.to_owned();
    // Ends at the end of the file, or when `batches` is dropped.
    let reading = tokio::task::spawn_blocking(move || read_batches(&name, reader, &sender));
    while let Some(batch) = batches.recv().await {
        let mut restored = Vec::with_capacity(batch.len());
        let holds = target.holds().await?;
        // What is too large was put aside by the check.
        for incoming in batch.into_iter().filter(|letter| restorer.refuse(letter).is_ok()) {
            let Some(incoming) = known.news(incoming) else {
                tally.duplicates += 1;
                continue;
            };
            match restorer.restore(incoming, ids.spare()) {
                None => tally.not_at_rest += 1,
                Some(mut letter) => {
                    letter.hold_where(&holds, shelf.now());
                    restored.push(letter);
                }
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
    let mut take = |incoming| {
        batch.push(incoming);
        if batch.len() < BATCH {
            return Ok(());
        }
        sender.blocking_send(std::mem::take(&mut batch)).map_err(gone)
    };
    // What is no letter, and what cannot be taken, was put aside by the check.
    let refuse = |_: &Incoming| Ok(());
    let mut spoiled = |_| Ok(());
    Reader { name, refuse: &refuse, take: &mut take, spoiled: &mut spoiled }.read(reader)?;
    sender.blocking_send(batch).map_err(gone)
}
