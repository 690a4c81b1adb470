//! One batch: a fresh store, a fresh upstream, a few dozen rows, and lives that are ended until
//! every row has come to rest; then a redrive of what died, ended again and again as well.

use super::beside::{Aside, Side};
use super::chance::Chance;
use super::check::{Evidence, regressions, violations};
use super::ledger::Ledger;
use super::life::{End, Fate, Program};
use super::place::Place;
use super::tally::Tally;
use super::wire::Wire;
use deadletter::core::{OnDoubt, TaskId};
use deadletter::store::SystemClock;
use deadletter_sim::{DEFAULT_KEY, Fault, Phase, Rule, Scenario, Simulator};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// Program and upstream both run so many times faster than the wall: a poll's gap of 5 s is an
/// eighth of one, still long beside what a busy machine delays.
const SPEED: f64 = 40.0;
/// Open jobs that the account allows; upstream itself would take more, and counts.
const THREADS: u32 = 12;
/// In one batch of four: so few that what is in doubt after a death holds up everything else.
const TIGHT_THREADS: u32 = 3;
/// Time-out of an attempt: shorter than the usual one, so that late answers come in time.
const TIMEOUT_MS: i64 = 40_000;
/// A late answer: past the time-out, well before the attempt's hold time ends.
const LATE_MS: u64 = 55_000;
/// How long a job usually takes: a life of half a second sees some of its own to their end.
const SOLVE_MS: u64 = 12_000;
/// Rows of each kind: most go well, stubborn ones after a redrive, late ones after their time-out,
/// hopeless ones never.
const ROWS: [(&str, u32); 4] = [("plain", 14), ("stubborn", 5), ("late", 3), ("hopeless", 2)];
/// Lives without a death in a part: each does the part's whole work, so few are enough.
const FINISHES: u32 = 2;
/// One look into the store per so many lives: mostly the program itself must find what a death
/// has left behind, SQLite's torn log too.
const LIVES_PER_LOOK: u32 = 4;
/// One life of so many has a second process beside it on the same store: another worker, or a
/// drain, a purge, a backup.
const LIVES_PER_COMPANION: u32 = 3;

const ANSWERS: &str = "answers.jsonl";
/// Answers of a second run.
pub(crate) const OTHER_ANSWERS: &str = "others.jsonl";

/// What a batch does again and again until enough of its lives have ended in death.
///
/// A task that is in doubt as often as K allows is buried, and a batch of buried tasks says
/// little: so few deaths, and many batches.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) command: &'static [&'static str],
    deaths: u32,
    is_redrive: bool,
}

pub(crate) const RUN: Part = Part {
    command: &["run", "tasks.csv", "--resume", "--name", "crash", "--out", ANSWERS],
    deaths: 12,
    is_redrive: false,
};
pub(crate) const REDRIVE: Part =
    // Spare letters are purged, and nothing else is done with them.
    Part {
        command: &["redrive", "--where", "state:dead -sitekey:spare*", "--yes"],
        deaths: 8,
        is_redrive: true,
    };

/// What went wrong with a batch.
pub(crate) type Broken = Vec<String>;

/// A batch under way.
pub(crate) struct Batch<'a> {
    dir: &'a Path,
    place: Place,
    program: Program,
    simulator: Simulator,
    runtime: &'a tokio::runtime::Runtime,
    chance: Chance,
    pages: BTreeSet<String>,
    threads: u32,
    /// The store at the last look.
    seen: Ledger,
    tally: &'a mut Tally,
    /// Deaths after which the run ends, over all batches.
    wanted: u32,
    /// Side jobs so far: each names its files by its number.
    sides: u32,
}

impl<'a> Batch<'a> {
    /// Lays out the folder and starts the upstream. The runtime must drive the upstream while
    /// this thread waits for the program.
    pub(crate) fn new(
        dir: &'a Path,
        place: Place,
        runtime: &'a tokio::runtime::Runtime,
        mut chance: Chance,
        tally: &'a mut Tally,
        wanted: u32,
    ) -> Self {
        let scenario = scenario(chance.seed()).log_file(dir.join("upstream.jsonl"));
        let simulator =
            runtime.block_on(Simulator::start(scenario)).expect("a free port on 127.0.0.1");
        let threads = if chance.once_in(4) { TIGHT_THREADS } else { THREADS };
        let on_doubt = if chance.once_in(4) { OnDoubt::DeadLetter } else { OnDoubt::Resubmit };
        let pages = write_rows(dir, threads, on_doubt).expect("the folder can be written");
        let base = simulator.base_url();
        let anchor = deadletter::store::Clock::now(&SystemClock).0;
        let variables = [
            ("CAPTCHAAI_API_KEY", DEFAULT_KEY),
            ("CAPTCHAAI_SUBMIT_ENDPOINT", &format!("{base}/in.php")),
            ("CAPTCHAAI_RESULT_ENDPOINT", &format!("{base}/res.php")),
            ("DEADLETTER_STORE", place.url()),
            ("DEADLETTER_TIME_SCALE", &format!("{SPEED}@{anchor}")),
        ];
        let program = Program::new(dir, &variables);
        Self {
            dir,
            place,
            program,
            simulator,
            runtime,
            chance,
            pages,
            threads,
            seen: Ledger::default(),
            tally,
            wanted,
            sides: 0,
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir
    }

    /// One more page whose task has to be there in the end.
    pub(crate) fn expect_page(&mut self, page: String) {
        self.pages.insert(page);
    }

    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Lives through it; what the checks find broken.
    pub(crate) fn live_through(mut self) -> Result<(), Broken> {
        self.live_and_die(&RUN)?;
        // On a busy machine none may have lived long enough to begin the store.
        if !self.block_on(self.place.exists()).map_err(unread)? {
            self.finish(&RUN)?;
        }
        // What was stubborn can be solved from here on.
        self.simulator.clear_rules();
        self.simulator.add_rule(hopeless()).expect("a rule of the first part");
        self.live_and_die(&REDRIVE)?;
        self.finish(&REDRIVE)?;
        self.finish(&RUN)?;
        let evidence = self.look(true)?;
        self.tally.count_batch(&evidence);
        Ok(())
    }

    fn live_and_die(&mut self, part: &Part) -> Result<(), Broken> {
        let (mut deaths, mut finishes) = (0, 0);
        while deaths < part.deaths && finishes < FINISHES && self.tally.kills() < self.wanted {
            let fate = self.chance.fate(part.is_redrive);
            // Most companions only look for work: none of them begins a store.
            let has_store = self.block_on(self.place.exists()).map_err(unread)?;
            let is_dead = if has_store && self.chance.once_in(LIVES_PER_COMPANION) {
                self.live_together(part, &fate)?
            } else {
                self.live(part, &fate)?
            };
            *(if is_dead { &mut deaths } else { &mut finishes }) += 1;
            if self.chance.once_in(LIVES_PER_LOOK) {
                self.look(false)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, part: &Part) -> Result<(), Broken> {
        if self.live(part, &Fate::Finish)? {
            return Err(vec![format!("{:?} hung: see {}", part.command, self.dir.display())]);
        }
        Ok(())
    }

    /// One life; true where it ended in death.
    fn live(&mut self, part: &Part, fate: &Fate) -> Result<bool, Broken> {
        let life = self.aside(part.command, fate);
        self.is_dead(fate, &life)
    }

    /// The same beside a second process, with a fate of its own: it does the other part, or what
    /// an operator does.
    fn live_together(&mut self, part: &Part, fate: &Fate) -> Result<bool, Broken> {
        let side = self.chance.side().filter(|side| side.fits(&self.place));
        let companion = if part.is_redrive { &RUN } else { &REDRIVE };
        let other = match side {
            Some(_) => self.chance.side_fate(),
            None => self.chance.fate(companion.is_redrive),
        };
        self.sides += 1;
        let (number, batch) = (self.sides, &*self);
        let (ours, theirs) = std::thread::scope(|scope| {
            let theirs = scope.spawn(|| match side {
                Some(side) => batch.beside(side, number, &other),
                None => batch.aside(companion.command, &other),
            });
            let ours = batch.aside(part.command, fate);
            (ours, theirs.join().expect("the companion's thread does not panic"))
        });
        self.is_dead(&other, &theirs)?;
        let is_dead = self.is_dead(fate, &ours)?;
        if let Some(side) = side {
            self.tally.count_side(side, &theirs.end);
        }
        if side == Some(Side::Backup) {
            self.look_at_backup(number, &theirs.end)?;
        }
        Ok(is_dead)
    }

    fn is_dead(&mut self, fate: &Fate, Aside { end, words }: &Aside) -> Result<bool, Broken> {
        self.tally.count_life(fate, end);
        match end {
            // Done, done with dead tasks, or with tasks that died while upstream could not be reached.
            End::Exit(0 | 3 | 5) => Ok(false),
            End::Exit(code) => Err(vec![format!("a life ended with exit code {code}: {words}")]),
            End::Killed | End::AtPoint(_) => Ok(true),
        }
    }

    /// Reads store and log while no program runs, and checks.
    pub(crate) fn look(&mut self, is_finished: bool) -> Result<Evidence, Broken> {
        self.tally.count_look();
        let ledger = self.block_on(self.place.read());
        let log = std::fs::read_to_string(self.dir.join("upstream.jsonl")).unwrap_or_default();
        let evidence = Evidence {
            wire: Wire::parse(&log).expect("the simulator writes whole lines"),
            ledger: ledger.map_err(unread)?,
            written: [ANSWERS, OTHER_ANSWERS]
                .iter()
                .map(|name| written(&self.dir.join(name)).map_err(|why| vec![why]))
                .collect::<Result<Vec<_>, _>>()?
                .concat(),
            pages: self.pages.clone(),
            threads: self.threads,
            timeout_ms: TIMEOUT_MS,
            is_finished,
        };
        let mut broken = regressions(&self.seen, &evidence.ledger);
        broken.extend(violations(&evidence));
        if broken.is_empty() {
            self.seen = evidence.ledger.clone();
            Ok(evidence)
        } else {
            Err(broken)
        }
    }
}

fn unread(error: deadletter::store::Error) -> Broken {
    vec![format!("the store cannot be read: {error}")]
}

/// The answers that were written out; a line that cannot be read is a defect.
fn written(path: &Path) -> Result<Vec<(TaskId, String)>, String> {
    #[derive(Deserialize)]
    struct Line {
        task: TaskId,
        answer: Option<String>,
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().map(|line| {
        serde_json::from_str::<Line>(line).map_err(|error| format!("{ANSWERS}: {error}: {line}"))
    });
    let answers = lines.filter_map(|line| match line {
        Ok(line) => line.answer.map(|answer| Ok((line.task, answer))),
        Err(error) => Some(Err(error)),
    });
    answers.collect()
}

/// An upstream that is a little unwell, so that kills meet every kind of outcome.
fn scenario(seed: u64) -> Scenario {
    Scenario::default()
        .seed(seed)
        .speed(SPEED)
        .threads(1_000)
        .solve_ms(SOLVE_MS)
        .rule(hopeless())
        .rule(Rule::new(Fault::Unsolvable).sitekey("stubborn*"))
        .rule(Rule::new(Fault::Late { after_ms: LATE_MS }).sitekey("late*").times(1).per_page())
        .rule(Rule::new(Fault::ResetAfter).on(Phase::Submit).rate(0.04))
        .rule(Rule::new(Fault::NoSlot).rate(0.04))
        .rule(Rule::new(Fault::Html502).rate(0.04))
        .rule(Rule::new(Fault::CutBody).on(Phase::Poll).rate(0.04))
}

fn hopeless() -> Rule {
    Rule::new(Fault::Unsolvable).sitekey("hopeless*")
}

/// The rows, each with a page of its own, and the configuration.
fn write_rows(dir: &Path, threads: u32, on_doubt: OnDoubt) -> std::io::Result<BTreeSet<String>> {
    let mut csv = "method,sitekey,pageurl\n".to_owned();
    let mut pages = BTreeSet::new();
    for (kind, n) in ROWS {
        for row in 0..n {
            let page = format!("https://{kind}.test/{row}");
            // Writing to a String cannot fail.
            writeln!(csv, "userrecaptcha,{kind}-site-key,{page}").expect("a String takes it");
            pages.insert(page);
        }
    }
    std::fs::write(dir.join("tasks.csv"), csv)?;
    let timeout_s = TIMEOUT_MS / 1_000;
    let toml = format!(
        "[account]\nthreads = {threads}\n\n[policy]\non_doubt = \"{on_doubt}\"\n\n\
         [timeouts]\nuserrecaptcha = \"{timeout_s}s\"\n"
    );
    std::fs::write(dir.join("deadletter.toml"), toml)?;
    Ok(pages)
}
