//! `deadletter run`: a file of tasks, from the first row to the last verdict.

mod batch;
mod on_dead;
mod places;
mod progress;
mod rows;

use super::{
    answers::{Answers, Place},
    spent::Spent,
};
use crate::{
    app::App,
    exit::Exit,
    fault::{Fault, Result},
    input::{Source, override_of, param_of},
    render,
    shelf::Shelf,
    signals::Signals,
    typed, work,
};
use batch::{Batch, Stored};
use deadletter::{
    Deadletter, Notice,
    core::{Attempt, StateKind, Task, TaskId, UnixMs},
};
use on_dead::OnDead;
pub(super) use progress::{Progress, is_unreached};
use std::{collections::HashMap, path::PathBuf, pin::pin, time::Duration};
use tokio::sync::broadcast::error::RecvError;

/// The bar is drawn, and every task that was missed is looked at, this often.
const TICK: Duration = Duration::from_millis(250);
/// Tasks looked at in one go.
const LOOK: usize = 500;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    before_help = "Examples:\n  deadletter run tasks.csv\n  deadletter run tasks.jsonl --out answers.csv --name nightly --resume\n  deadletter run urls.txt --sitekey 6Le-wvkSAAAAAPBMRTvw",
    after_help = "Columns are guessed (sitekey, googlekey, pageurl, page_url, url, method, proxy, ...) and printed; any other column is sent as the parameter of its name. Answers go to standard output as they come; a row that was answered after its death has two lines, of which the last one holds. In a list of pages, blank lines and lines that begin with # are skipped. Ctrl-C keeps everything: run the same command with --resume to go on. Solved tasks are deleted a day later (`retention.solved`): from then on only a file of answers, named by --out in both runs, keeps --resume from paying for them again. Exit code 1: all is solved, and a row was put aside; 3: some are dead."
)]
pub(crate) struct Args {
    /// CSV, JSON lines, a JSON list, or the URL of a page a line; - for standard input
    #[arg(value_name = "FILE")]
    file: Source,
    /// Column to parameter, where the guess is wrong; COLUMN=- leaves it out
    #[arg(long = "map", value_name = "COLUMN=PARAMETER", value_parser = override_of)]
    maps: Vec<(String, Option<String>)>,
    /// Method of rows that name none
    #[arg(long)]
    method: Option<String>,
    /// Site key of rows that name none
    #[arg(long, value_name = "KEY")]
    sitekey: Option<String>,
    /// Any other parameter of rows without it; `NAME=@FILE` reads it from a file, images too
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param_of)]
    params: Vec<(String, String)>,
    /// Name of the batch [default: the file's name]
    #[arg(long)]
    name: Option<String>,
    /// Go on with a batch: rows that were accepted before, or whose answers --out has, are not
    /// submitted again
    #[arg(long)]
    resume: bool,
    /// Threads to use at most [default: the account's]
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// How long a row may take; after it nothing new is submitted for it
    #[arg(long, value_name = "TIME", value_parser = render::duration_ms)]
    deadline: Option<i64>,
    /// Where answers go: a file that is appended to, .csv or JSON lines [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write answers as CSV
    #[arg(long)]
    csv: bool,
    /// Where bad rows go [default: FILE.rejected.csv or .jsonl]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// A program that gets each dead task as JSON on its standard input; no shell is involved
    #[arg(long, value_name = "CMD")]
    on_dead: Option<String>,
    /// Read and check the rows, and submit nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(app: &App, args: Args) -> Result<Exit> {
    places::check(&args)?;
    if let Some(out) = &args.out {
        super::answers::check(out, args.csv)?;
    }
    let flag = args.concurrency.map(|n| ("account.threads", "--concurrency", n.to_string()));
    let settings = app.settings_with(&flag.into_iter().collect::<Vec<_>>())?;
    let on_dead = args.on_dead.as_deref().map(|text| OnDead::parse(text, &settings.key_env));
    let on_dead = on_dead.transpose()?;
    // Without a key nothing is read: the first thing to mend comes first.
    let account = if args.dry_run { None } else { Some(work::account(&settings)?) };
    let mut batch = Batch::check(app, &args, settings.key.as_ref())?;
    let Some(account) = account else {
        let good = render::counted(batch.len(), "row is good", "rows are good");
        let solved = match batch.solved() {
            0 => String::new(),
            n => format!("; --out has the answers of {n} more"),
        };
        app.out.say(&format!("{good}{solved}; nothing was submitted"));
        return Ok(batch.exit(Exit::Good));
    };
    let shelf = Shelf::open(app, &settings).await?;
    batch.refuse_twice(shelf.store.as_ref(), args.resume).await?;
    let mut answers = Answers::open(args.out.clone(), args.csv, args.resume)?;
    batch.put_aside(app)?;
    // Not before: a pipe opens when somebody reads it, and until then ctrl-C ends the program.
    let mut signals = Signals::listen()?;
    let keep_solved_ms = settings.keep_solved_ms;
    let engine =
        work::start(app, shelf.store.clone(), account, keep_solved_ms, &settings.guard).await?;
    let mut follow = Follow {
        app,
        shelf: &shelf,
        engine: &engine,
        answers: &mut answers,
        on_dead,
        open: HashMap::new(),
        dead: HashMap::new(),
        progress: Progress::begin(app, batch.len()).skipping(batch.solved()),
        began_at: shelf.now(),
    };
    // Wherever a signal finds it: what was accepted is in the store, and a resume looks at it again.
    let end = tokio::select! {
        end = follow.through(&mut batch, &args) => end,
        () = signals.next() => Ok(Exit::Interrupted),
    };
    let exit = follow.end(end, &mut signals).await?;
    Ok(batch.exit(exit))
}

/// Follows the tasks of a batch to their verdicts.
struct Follow<'a> {
    app: &'a App,
    shelf: &'a Shelf,
    engine: &'a Deadletter,
    answers: &'a mut Answers,
    on_dead: Option<OnDead>,
    /// Tasks without a verdict yet, with the place of their row.
    open: HashMap<TaskId, Place>,
    /// Tasks of this run that died, as they died: an upstream id of theirs may still answer.
    dead: HashMap<TaskId, (Place, Task)>,
    progress: Progress,
    /// What was submitted before belongs to an earlier run.
    began_at: UnixMs,
}

impl Follow<'_> {
    async fn through(&mut self, batch: &mut Batch, args: &Args) -> Result<Exit> {
        let mut notices = self.engine.notices();
        let (sender, mut stored) = Batch::channel();
        let mut feeding = pin!(batch.feed(args, self.engine, sender));
        let mut is_fed = false;
        while !(is_fed && self.open.is_empty()) {
            tokio::select! {
                fed = &mut feeding, if !is_fed => {
                    fed?;
                    is_fed = true;
                    while let Some(chunk) = stored.recv().await {
                        self.take(chunk).await?;
                    }
                    self.progress.fed(self.app);
                }
                Some(chunk) = stored.recv() => self.take(chunk).await?,
                notice = notices.recv() => match notice {
                    Ok(notice) => self.hear(&notice).await?,
                    Err(RecvError::Lagged(_)) => self.look_at_all().await?,
                    Err(RecvError::Closed) => break,
                },
                () = tokio::time::sleep(TICK) => self.progress.draw(self.engine, self.app),
            }
        }
        if let Some(on_dead) = &mut self.on_dead {
            on_dead.finish(self.app).await;
        }
        Ok(self.progress.exit())
    }

    /// Stops what still runs, and says how it ended; a signal ends the wait.
    async fn end(&mut self, end: Result<Exit>, signals: &mut Signals) -> Result<Exit> {
        let app = self.app;
        let end = end.map_err(left);
        self.progress.clear();
        if matches!(end, Ok(Exit::Interrupted)) {
            app.out.say("stopping: what is on the wire is awaited; ctrl-C again ends at once");
        }
        let stopping = async {
            let stopped = self.engine.stop().await.map_err(work::of_engine);
            if let Some(on_dead) = &mut self.on_dead {
                on_dead.finish(app).await;
            }
            stopped
        };
        let (stopped, is_cut_short) = tokio::select! {
            stopped = stopping => (stopped, false),
            () = signals.next() => (Ok(()), true),
        };
        // A store that takes nothing has been told of by what failed first.
        let counted = if is_cut_short { Ok(()) } else { self.cost_of_open().await };
        self.progress.end(app, self.engine);
        let exit = end?;
        stopped?;
        counted?;
        let exit = if is_cut_short { Exit::Interrupted } else { exit };
        if exit == Exit::Interrupted {
            let again = typed::again_with("--resume");
            app.out.say(&format!("everything is kept; go on with: {again}"));
        }
        Ok(exit)
    }

    async fn hear(&mut self, notice: &Notice) -> Result<()> {
        match notice {
            Notice::Event(event) if self.is_ours(event.task) => {
                let store = self.engine.store();
                let task = store.get(&[event.task]).await.map_err(|e| work::of_engine(e.into()))?;
                for task in task.into_iter().flatten() {
                    self.settle(task).await?;
                }
            }
            Notice::Waiting(task) if self.open.contains_key(&task.id) => {
                self.progress.waits(task);
            }
            Notice::AccountStopped { failure, .. } if failure.retry_after_ms.is_none() => {
                return Err(super::solve::stopped(failure)
                    .fix("set the right key, then run the same command with --resume"));
            }
            notice => super::solve::say(self.app, notice)?,
        }
        self.progress.draw(self.engine, self.app);
        Ok(())
    }

    /// Follows what is stored now. A task may have its verdict already: from an earlier run, or
    /// since a moment ago, and then nobody announces it again.
    async fn take(&mut self, chunk: Vec<Stored>) -> Result<()> {
        let ids: Vec<_> = chunk.iter().map(|stored| stored.id).collect();
        for Stored { id, place, is_new } in chunk {
            self.progress.stored(is_new);
            self.open.insert(id, place);
        }
        self.look_at(&ids).await
    }

    async fn look_at_all(&mut self) -> Result<()> {
        let ids: Vec<_> = self.open.keys().copied().collect();
        self.look_at(&ids).await
    }

    async fn look_at(&mut self, ids: &[TaskId]) -> Result<()> {
        for ids in ids.chunks(LOOK) {
            let tasks =
                self.engine.store().get(ids).await.map_err(|e| work::of_engine(e.into()))?;
            for task in tasks.into_iter().flatten() {
                if task.kind().is_terminal() {
                    self.settle(task).await?;
                }
            }
        }
        Ok(())
    }

    async fn cost(&mut self, task: &Task) -> Result<()> {
        // A store whose clock once ran ahead has attempts of times that are still to come.
        let since = self.began_at..=self.shelf.now();
        let is_ours = |attempt: &Attempt| since.contains(&attempt.intent_at);
        let spent = Spent::on(self.engine, task.id, is_ours).await;
        self.progress.cost(spent.map_err(|e| work::of_engine(e.into()))?);
        Ok(())
    }

    /// What was spent on rows that have no verdict yet.
    async fn cost_of_open(&mut self) -> Result<()> {
        let ids: Vec<_> = self.open.keys().copied().collect();
        for ids in ids.chunks(LOOK) {
            let tasks = self.engine.store().get(ids).await;
            for task in tasks.map_err(|e| work::of_engine(e.into()))?.into_iter().flatten() {
                if task.counters.attempts > 0 {
                    self.cost(&task).await?;
                }
            }
        }
        Ok(())
    }

    fn is_ours(&self, task: TaskId) -> bool {
        self.open.contains_key(&task) || self.dead.contains_key(&task)
    }

    async fn settle(&mut self, task: Task) -> Result<()> {
        if !task.kind().is_terminal() {
            return Ok(());
        }
        let is_dead = matches!(task.kind(), StateKind::Dead | StateKind::Buried);
        let place = if let Some(place) = self.open.remove(&task.id) {
            self.progress.settled(&task);
            self.cost(&task).await?;
            if is_dead {
                self.dead.insert(task.id, (place, task.clone()));
            }
            place
        } else if task.kind() == StateKind::Solved
            && let Some((place, died)) = self.dead.remove(&task.id)
        {
            // Its row has two lines then: the last one holds.
            self.progress.came_late(&died);
            place
        } else {
            return Ok(());
        };
        let answer = match task.kind() {
            StateKind::Solved => {
                let found = self.engine.store().answer(task.id).await;
                found.map_err(|e| work::of_engine(e.into()))?
            }
            _ => None,
        };
        self.answers.write(self.app, Some(place), &task, answer.as_ref())?;
        self.engine.note_read(&task, answer.as_ref());
        if let Some(on_dead) = self.on_dead.as_mut().filter(|_| is_dead)
            && let Some(file) = self.shelf.file(task.id).await?
        {
            on_dead.tell(self.app, &file).await?;
        }
        Ok(())
    }
}

/// A reader that goes away leaves rows open: of those, somebody must hear.
fn left(fault: Fault) -> Fault {
    if fault.quiet { super::answers::reader_left() } else { fault }
}

/// For batches that were begun before.
pub(super) fn exists(name: &str, tasks: &str) -> Fault {
    Fault::usage(format!("there is a batch {name} already ({tasks})"))
        .why("running the file again would pay for its rows a second time")
        .fix("--resume goes on with it; --name begins another one")
}
