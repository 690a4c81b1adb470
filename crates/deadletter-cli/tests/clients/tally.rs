//! What came of one client in one scene.

use crate::door::Way;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::HashSet, fmt};

/// What a client loses in a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All that was asked for was solved.
    Nothing,
    /// At least one.
    Something,
    /// Something was solved: who never tries again loses the call that was on the wire.
    NotAll,
    /// Nothing was solved.
    All,
    /// It depends on the moment.
    Chance,
}

/// A token, whole or within a structure; the text of an image; squares of a grid; what a balance or
/// a report is answered.
fn is_answer(answer: &Value) -> bool {
    let text = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
    is_unique(&text)
        || *answer == json!([1, 4, 7])
        || text == "OK_REPORT_RECORDED"
        || text.parse::<f64>().is_ok_and(|number| number > 0.0)
}

/// The simulator's tokens, and what it reads from images, belong to one job.
fn is_unique(text: &str) -> bool {
    let text = text.trim_matches('"');
    text.contains("SIM-") || (text.len() > 9 && text.starts_with('0'))
}

/// A line of a driver.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) run: String,
    pub(crate) method: String,
    #[serde(default)]
    pub(crate) answer: Value,
    pub(crate) error: Option<String>,
}

/// One client in one scene.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) client: &'static str,
    pub(crate) scene: &'static str,
    pub(crate) way: Way,
    /// Solves, reports or questions that were asked for.
    pub(crate) asked: usize,
    pub(crate) solved: usize,
    /// Submits that upstream was paid for.
    pub(crate) paid: u64,
    /// Requests that reached upstream with the client's key.
    pub(crate) upstream_saw: usize,
    /// One of each error, with how often it came.
    pub(crate) errors: Vec<(String, usize)>,
    /// What the gateway tells of tasks that died.
    pub(crate) dead: String,
    /// What the gateway has kept.
    pub(crate) kept: Option<Kept>,
}

/// What a gateway's store tells when all is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// Tasks that it took.
    pub(crate) tasks: u64,
    /// Of them, those that are given up.
    pub(crate) dead: u64,
    /// Submits of which nobody knows whether upstream took them.
    pub(crate) in_doubt: u64,
}

impl Tally {
    /// What these verdicts come to. An answer that is none of upstream's, or was given to another
    /// solve as well, is an error.
    pub(crate) fn of(asked: usize, verdicts: &[&Verdict]) -> Self {
        let (mut errors, mut answers) = (Vec::<(String, usize)>::new(), HashSet::new());
        for verdict in verdicts {
            let told = verdict.error.clone();
            let wrong = || {
                let answer = verdict.answer.to_string();
                let is_good = is_answer(&verdict.answer)
                    && (!is_unique(&answer) || answers.insert(answer.clone()));
                (!is_good).then(|| format!("no answer of its own: {answer}"))
            };
            let Some(error) = told.or_else(wrong) else { continue };
            let text = format!("{}: {error}", verdict.method);
            match errors.iter_mut().find(|(known, _)| *known == text) {
                Some((_, count)) => *count += 1,
                None => errors.push((text, 1)),
            }
        }
        let lost: usize = errors.iter().map(|(_, count)| count).sum();
        let solved = verdicts.len() - lost;
        Self {
            client: "",
            scene: "",
            way: Way::Directly,
            asked: asked.max(verdicts.len()),
            solved,
            paid: 0,
            upstream_saw: 0,
            errors,
            dead: String::new(),
            kept: None,
        }
    }

    /// What was asked for and not had.
    pub(crate) fn lost(&self) -> usize {
        self.asked - self.solved
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, scene, way, asked, paid, .. } = self;
        write!(f, "{client}, {scene}, {way:?}: {} of {asked} lost, {paid} paid", self.lost())?;
        for (error, count) in &self.errors {
            write!(f, "\n    {count} x {error}")?;
        }
        if let Some(Kept { tasks, dead, in_doubt }) = self.kept {
            write!(f, "\n    {tasks} tasks, {dead} dead, {in_doubt} submits in doubt")?;
        }
        write!(f, "\n{}", self.dead)
    }
}
