//! A scenario: everything that decides how a simulator behaves, from TOML or from Rust.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::methods::KINDS;
use crate::outage::Outage;
use crate::rule::Rule;

/// The key that a scenario accepts unless it says otherwise. 32 characters, as real ones.
pub const DEFAULT_KEY: &str = "51300000000000000000000000000key";

/// More threads than any plan sells; the list of open jobs is this long at most when none queue.
const MOST_THREADS: usize = 100_000;

/// At this sigma the times already span five orders of magnitude.
const MOST_SPREAD: f64 = 3.0;

/// How a simulator behaves. Times are virtual milliseconds.
///
/// ```
/// use deadletter_sim::{Fault, Phase, Rule, Scenario};
/// let scenario = Scenario::default()
///     .seed(7)
///     .threads(5)
///     .solve_ms(2_000)
///     .rule(Rule::new(Fault::ResetAfter).on(Phase::Submit).times(1));
/// # assert_eq!(scenario.threads, 5);
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// What the scenario shows, in a sentence.
    pub about: String,
    /// Decides every draw.
    pub seed: u64,
    /// Virtual time runs so many times faster than real time; 0 freezes it, to be moved by hand.
    pub speed: f64,
    /// When virtual time begins to run.
    pub clock: ClockStart,
    /// The valid keys.
    pub keys: Vec<Key>,
    /// Threads of each key: jobs at work at once.
    pub threads: usize,
    /// What a submit gets when all threads are busy.
    pub when_busy: WhenBusy,
    /// What `getbalance` says.
    pub balance: String,
    /// An address that sent so many bad keys is banned.
    pub bad_keys_before_ban: u32,
    /// For so long.
    pub ban_ms: u64,
    /// An id becomes unknown so long after its verdict; absent: never.
    pub keep_answers_ms: Option<u64>,
    /// Solve times by kind of captcha (`userrecaptcha`, `turnstile`, `image`, ...); `all` stands
    /// for every kind that is not named.
    pub solve: BTreeMap<String, SolveTime>,
    /// Planned outages.
    pub outages: Vec<Outage>,
    /// Scripted faults; of those that replace an answer the first that hits wins.
    pub rules: Vec<Rule>,
    /// Whether `/admin/...` answers.
    pub admin: bool,
    /// Every request is appended to this file as a line of JSON.
    pub log_file: Option<PathBuf>,
    /// What the simulator holds at most.
    pub limits: Limits,
}

/// When the virtual clock begins to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ClockStart {
    /// With the simulator.
    #[default]
    AtOnce,
    /// With the first request, so that windows do not pass before anybody comes.
    FirstRequest,
}

/// What a submit gets when all threads are busy. Three accounts of it are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhenBusy {
    /// `ERROR_ZERO_BALANCE`.
    #[default]
    ZeroBalance,
    /// `ERROR_NO_SLOT_AVAILABLE`.
    NoSlot,
    /// An id; the job waits for a free thread.
    Queue,
}

/// The log-normal distribution of a kind's solve times.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SolveTime {
    /// Half of the jobs take less, milliseconds.
    pub median_ms: u64,
    /// Sigma of the logarithm; 0 makes every job take the median.
    #[serde(default = "SolveTime::usual_spread")]
    pub spread: f64,
}

impl SolveTime {
    /// Puts the slowest twentieth at about 1.8 medians, as the published times suggest.
    pub(crate) fn usual_spread() -> f64 {
        0.35
    }

    fn defect(&self, name: &str) -> Option<Defect> {
        let text = if name != "all" && !KINDS.iter().any(|kind| kind.name == name) {
            let known: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
            format!("solve.{name} is no kind of captcha; there are: all, {}", known.join(", "))
        } else if !(0.0..=MOST_SPREAD).contains(&self.spread) {
            format!("solve.{name}.spread is {}, and must be 0 to {MOST_SPREAD}", self.spread)
        } else {
            return None;
        };
        Some(Defect::new(Place::Solve(name.to_owned()), text))
    }
}

/// Where in a scenario something makes no sense.
#[derive(Debug)]
pub(crate) enum Place {
    Speed,
    Threads,
    /// Counted from 0.
    Rule(usize),
    Solve(String),
}

/// What makes no sense, and where.
#[derive(Debug)]
pub(crate) struct Defect {
    pub(crate) place: Place,
    text: String,
}

impl Defect {
    fn new(place: Place, text: String) -> Self {
        Self { place, text }
    }
}

impl std::fmt::Display for Defect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// What the simulator holds at most; past each it refuses loudly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections; more are reset at once.
    pub connections: usize,
    /// Bytes of a request body; more gets status 413.
    pub body_bytes: usize,
    /// Jobs known at once; more get status 503.
    pub jobs: usize,
    /// Requests kept in memory; older ones fall out and are counted. The log file keeps all.
    pub log_entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            // Nine base64 images of 1 MiB and the form around them.
            body_bytes: 16 * 1024 * 1024,
            jobs: 200_000,
            // About 60 MB at worst.
            log_entries: 100_000,
        }
    }
}

/// An account key. Shows its last four characters only.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// Takes the key as it is sent.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key(...{})", tail(&self.0))
    }
}

/// The last four characters of a key, the part that may be shown.
pub(crate) fn tail(key: &str) -> &str {
    key.char_indices().rev().nth(3).and_then(|(at, _)| key.get(at..)).unwrap_or(key)
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            about: String::new(),
            seed: 1,
            speed: 1.0,
            clock: ClockStart::AtOnce,
            keys: vec![Key::new(DEFAULT_KEY)],
            threads: 50,
            when_busy: WhenBusy::ZeroBalance,
            balance: "12.345".to_owned(),
            bad_keys_before_ban: 5,
            ban_ms: 300_000,
            keep_answers_ms: None,
            solve: BTreeMap::new(),
            outages: Vec::new(),
            rules: Vec::new(),
            admin: false,
            log_file: None,
            limits: Limits::default(),
        }
    }
}

impl Scenario {
    /// Decides every draw by `seed`.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Runs virtual time `speed` times faster than real time; 0 freezes it.
    #[must_use]
    pub fn speed(mut self, speed: f64) -> Self {
        self.speed = speed;
        self
    }

    /// Gives each key so many threads.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Says what a submit gets when all threads are busy.
    #[must_use]
    pub fn when_busy(mut self, answer: WhenBusy) -> Self {
        self.when_busy = answer;
        self
    }

    /// Accepts these keys and no others.
    #[must_use]
    pub fn keys<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.keys = keys.into_iter().map(Key::new).collect();
        self
    }

    /// Solves every job in exactly `ms` virtual milliseconds.
    #[must_use]
    pub fn solve_ms(mut self, ms: u64) -> Self {
        self.solve = BTreeMap::from([("all".to_owned(), SolveTime { median_ms: ms, spread: 0.0 })]);
        self
    }

    /// Adds a scripted fault.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds a planned outage.
    #[must_use]
    pub fn outage(mut self, outage: Outage) -> Self {
        self.outages.push(outage);
        self
    }

    /// Opens the admin door.
    #[must_use]
    pub fn admin(mut self) -> Self {
        self.admin = true;
        self
    }

    /// Appends every request to this file.
    #[must_use]
    pub fn log_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.log_file = Some(path.into());
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.defect().map_or(Ok(()), |defect| Err(Error::Impossible(defect.to_string())))
    }

    /// The first thing that no type can forbid and that makes no sense.
    pub(crate) fn defect(&self) -> Option<Defect> {
        if !self.speed.is_finite() || self.speed < 0.0 {
            return Some(Defect::new(Place::Speed, format!("speed is {}", self.speed)));
        }
        if self.threads > MOST_THREADS {
            return Some(Defect::new(Place::Threads, format!("threads is above {MOST_THREADS}")));
        }
        let solve = self.solve.iter().find_map(|(name, time)| time.defect(name));
        solve.or_else(|| {
            self.rules.iter().enumerate().find_map(|(index, rule)| {
                let (number, fault) = (index + 1, rule.fault.label());
                let text = format!("rule {number} ({fault}): {}", rule.defect()?);
                Some(Defect::new(Place::Rule(index), text))
            })
        })
    }

    /// The distribution of a kind's solve times.
    pub(crate) fn solve_time(&self, kind: &str, usual_median_ms: u64) -> SolveTime {
        let usual = SolveTime { median_ms: usual_median_ms, spread: SolveTime::usual_spread() };
        self.solve.get(kind).or_else(|| self.solve.get("all")).copied().unwrap_or(usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        Scenario::from_toml(text).unwrap_err().to_string()
    }

    #[test]
    fn a_scenario_file_says_all_that_the_builder_says() {
        let read = Scenario::from_toml(
            "seed = 7\nthreads = 3\nwhen_busy = \"queue\"\n\
             [[rules]]\nfault = { http_429 = { retry_after_s = 9 } }\non = \"poll\"\nrate = 0.5\n\
             [[rules]]\nfault = \"reset_after\"\npageurl = \"https://a*\"\ntimes = 2\nper = \"page\"\n",
        );
        let built = Scenario::default()
            .seed(7)
            .threads(3)
            .when_busy(WhenBusy::Queue)
            .rule(
                crate::Rule::new(crate::Fault::Http429 { retry_after_s: 9 })
                    .on(crate::Phase::Poll)
                    .rate(0.5),
            )
            .rule(
                crate::Rule::new(crate::Fault::ResetAfter)
                    .pageurl("https://a*")
                    .times(2)
                    .per_page(),
            );
        assert_eq!(read.unwrap(), built);
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        let text = complaint("seed = 1\n[[rules]]\nfault = \"hang\"\nsitekeys = \"x\"\n");
        assert!(text.contains("line 4") && text.contains("sitekeys"), "{text}");
        let text = complaint("seed = 1\nfault = 2\n");
        assert!(text.contains("line 2") && text.contains("fault"), "{text}");
    }

    #[test]
    fn an_unknown_fault_and_an_impossible_rate_are_named_with_their_lines() {
        let text = complaint("[[rules]]\nfault = \"explode\"\n");
        assert!(text.contains("line 2") && text.contains("explode"), "{text}");
        let text = complaint("[[rules]]\nfault = \"hang\"\nrate = 1.5\n");
        assert!(text.contains("line 3") && text.contains("rate"), "{text}");
    }

    #[test]
    fn a_key_shows_its_last_four_characters_only() {
        let shown = format!("{:?}", Scenario::default());
        assert!(!shown.contains(DEFAULT_KEY) && shown.contains("0key"), "{shown}");
    }
}
