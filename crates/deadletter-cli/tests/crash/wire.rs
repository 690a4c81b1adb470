//! What the simulated upstream saw: its request log, read back and indexed.

use serde::Deserialize;
use std::collections::HashMap;

/// A request and its answer, as far as the checks need them.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Line {
    /// Counts up from 1, in the order in which upstream treated the requests.
    pub(crate) seq: u64,
    /// Upstream's (virtual) milliseconds.
    pub(crate) at_ms: i64,
    /// `submit`, `poll`, `account`, ...
    pub(crate) phase: String,
    /// Page of the submit, or of the job that was polled: each row of the batch has its own.
    pub(crate) pageurl: Option<String>,
    /// The job.
    pub(crate) id: Option<String>,
    /// What the client was told.
    pub(crate) answered: String,
    /// The fault that spoilt the answer, if any.
    pub(crate) fault: Option<String>,
    /// Whether this request created a job.
    pub(crate) paid: bool,
    /// Whether this poll gave the answer away.
    pub(crate) delivered: bool,
    /// Jobs at work after this request.
    pub(crate) open_jobs: u32,
}

/// The whole log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire {
    lines: Vec<Line>,
    submits: HashMap<String, Vec<usize>>,
    polls: HashMap<String, Vec<usize>>,
}

impl Wire {
    /// Reads JSON lines; a line that cannot be read is an error, for the log is evidence.
    pub(crate) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        text.lines().map(serde_json::from_str).collect::<Result<Vec<Line>, _>>().map(Self::of)
    }

    pub(crate) fn of(lines: Vec<Line>) -> Self {
        let mut wire = Self { lines, ..Self::default() };
        for (place, line) in wire.lines.iter().enumerate() {
            let (index, name) = match line.phase.as_str() {
                "submit" => (&mut wire.submits, &line.pageurl),
                "poll" => (&mut wire.polls, &line.id),
                _ => continue,
            };
            index.entry(name.clone().unwrap_or_default()).or_default().push(place);
        }
        wire
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Every page that was ever submitted, in no order.
    pub(crate) fn pages(&self) -> impl Iterator<Item = &str> {
        self.submits.keys().map(String::as_str)
    }

    /// Submits for this page, in order, whatever came of them.
    pub(crate) fn submits_of(&self, page: &str) -> impl Iterator<Item = &Line> {
        self.at(self.submits.get(page))
    }

    /// The submit that created this job of this page.
    pub(crate) fn birth_of(&self, page: &str, id: &str) -> Option<&Line> {
        self.submits_of(page).find(|line| line.paid && line.id.as_deref() == Some(id))
    }

    /// Polls of this job, in order.
    pub(crate) fn polls_of(&self, id: &str) -> impl Iterator<Item = &Line> {
        self.at(self.polls.get(id))
    }

    fn at<'a>(&'a self, places: Option<&'a Vec<usize>>) -> impl Iterator<Item = &'a Line> {
        places.into_iter().flatten().filter_map(|place| self.lines.get(*place))
    }
}

impl Line {
    /// True where the client was given the answer whole.
    pub(crate) fn gave_the_answer(&self) -> bool {
        self.delivered && self.fault.is_none()
    }

    /// True where the client was told, readably, that the job will never answer.
    pub(crate) fn gave_a_verdict(&self) -> bool {
        self.answered.starts_with("ERROR_CAPTCHA_UNSOLVABLE")
            || self.answered.starts_with("ERROR_WRONG_CAPTCHA_ID")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_log_is_not_taken_for_a_shorter_one() {
        let whole = r#"{"seq":1,"at_ms":5,"phase":"submit","pageurl":"p","id":"7","answered":"OK","fault":null,"paid":true,"delivered":false,"open_jobs":1,"more":1}"#;
        assert_eq!(Wire::parse(whole).map(|wire| wire.lines().len()).ok(), Some(1));
        assert!(Wire::parse(&whole[..whole.len() - 9]).is_err());
    }
}
