//! A rule: which requests a fault befalls, how often and when.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::fault::Fault;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// in.php.
    Submit,
    /// res.php with `get` or `get2`.
    Poll,
    /// res.php with `threadsinfo` or `getbalance`.
    Account,
    /// res.php with `reportbad` or `reportgood`.
    Report,
    /// Anything else. In a rule: every phase that the fault fits.
    Any,
}

impl Phase {
    /// The word used in the request log.
    pub fn label(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Poll => "poll",
            Self::Account => "account",
            Self::Report => "report",
            Self::Any => "other",
        }
    }
}

/// What `skip` and `times` count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Per {
    /// All requests that the rule matches, together.
    #[default]
    Rule,
    /// The requests of each page URL for themselves.
    Page,
    /// The requests of each upstream job for themselves (polls only).
    Job,
}

/// A fault and the requests that it befalls. A request must match every field that is set.
///
/// ```
/// use deadletter_sim::{Fault, Phase, Rule};
/// // The first two polls of every job get an HTML page.
/// let rule = Rule::new(Fault::Html502).on(Phase::Poll).times(2).per_job();
/// # assert_eq!(rule.times, Some(2));
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What happens.
    pub fault: Fault,
    /// In which phase; absent: where the fault usually occurs (submit, poll or both).
    pub on: Option<Phase>,
    /// Pattern of the site key, where `*` stands for any text. A poll is matched by its job.
    pub sitekey: Option<String>,
    /// Pattern of the page URL.
    pub pageurl: Option<String>,
    /// Pattern of the method.
    pub method: Option<String>,
    /// Virtual time from which the rule holds, milliseconds.
    #[serde(default)]
    pub from_ms: u64,
    /// Virtual time from which it no longer holds; absent: for ever.
    pub until_ms: Option<u64>,
    /// Share of the matching requests that are hit, 0 to 1.
    #[serde(default = "always", deserialize_with = "share")]
    pub rate: f64,
    /// So many matching requests pass unharmed first.
    #[serde(default)]
    pub skip: u64,
    /// So many are hit, then no more; absent: for ever.
    pub times: Option<u64>,
    /// What `skip` and `times` count.
    #[serde(default)]
    pub per: Per,
    /// For a submit whose answer is spoilt: whether the job is created nevertheless. Absent: as
    /// the fault's description says (an error page: no; garbage: yes).
    pub creates_job: Option<bool>,
}

fn always() -> f64 {
    1.0
}

fn share<'de, D: Deserializer<'de>>(source: D) -> Result<f64, D::Error> {
    let rate = f64::deserialize(source)?;
    if (0.0..=1.0).contains(&rate) {
        Ok(rate)
    } else {
        Err(D::Error::custom(format!("rate is {rate}, and must be between 0 and 1")))
    }
}

impl Rule {
    /// A rule that hits every request of the fault's usual phase, for ever.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            on: None,
            sitekey: None,
            pageurl: None,
            method: None,
            from_ms: 0,
            until_ms: None,
            rate: 1.0,
            skip: 0,
            times: None,
            per: Per::Rule,
            creates_job: None,
        }
    }

    /// Only in this phase.
    #[must_use]
    pub fn on(mut self, phase: Phase) -> Self {
        self.on = Some(phase);
        self
    }

    /// Only for site keys of this pattern.
    #[must_use]
    pub fn sitekey(mut self, pattern: impl Into<String>) -> Self {
        self.sitekey = Some(pattern.into());
        self
    }

    /// Only for page URLs of this pattern.
    #[must_use]
    pub fn pageurl(mut self, pattern: impl Into<String>) -> Self {
        self.pageurl = Some(pattern.into());
        self
    }

    /// Only for methods of this pattern.
    #[must_use]
    pub fn method(mut self, pattern: impl Into<String>) -> Self {
        self.method = Some(pattern.into());
        self
    }

    /// Only in this window of virtual time, milliseconds; the end does not belong to it.
    #[must_use]
    pub fn between(mut self, from_ms: u64, until_ms: u64) -> Self {
        self.from_ms = from_ms;
        self.until_ms = Some(until_ms);
        self
    }

    /// Only this share of the matching requests, 0 to 1.
    #[must_use]
    pub fn rate(mut self, rate: f64) -> Self {
        self.rate = rate;
        self
    }

    /// Let the first `n` pass.
    #[must_use]
    pub fn skip(mut self, n: u64) -> Self {
        self.skip = n;
        self
    }

    /// Hit `n`, then no more.
    #[must_use]
    pub fn times(mut self, n: u64) -> Self {
        self.times = Some(n);
        self
    }

    /// Count for each page URL separately.
    #[must_use]
    pub fn per_page(mut self) -> Self {
        self.per = Per::Page;
        self
    }

    /// Count for each upstream job separately.
    #[must_use]
    pub fn per_job(mut self) -> Self {
        self.per = Per::Job;
        self
    }

    /// Say whether a submit whose answer is spoilt creates its job.
    #[must_use]
    pub fn creates_job(mut self, creates: bool) -> Self {
        self.creates_job = Some(creates);
        self
    }

    /// The reason why this rule can never do what it says, if there is one.
    pub(crate) fn defect(&self) -> Option<String> {
        let fault = self.fault.label();
        if !(0.0..=1.0).contains(&self.rate) {
            return Some(format!("rate is {}, and must be between 0 and 1", self.rate));
        }
        if self.until_ms.is_some_and(|until_ms| until_ms <= self.from_ms) {
            return Some("until_ms is not after from_ms".to_owned());
        }
        match self.on {
            Some(phase) if phase != Phase::Any && !self.fault.fits(phase) => {
                Some(format!("fault `{fault}` means nothing on `{}`", phase.label()))
            }
            Some(phase) if self.per == Per::Job && phase != Phase::Poll => {
                Some("per = \"job\" needs on = \"poll\"".to_owned())
            }
            _ => None,
        }
    }

    pub(crate) fn wants(&self, phase: Phase) -> bool {
        match self.on {
            None => self.fault.is_usual_in(phase),
            Some(Phase::Any) => self.fault.fits(phase),
            Some(wanted) => wanted == phase,
        }
    }
}

/// Whether `text` has the form of `pattern`, in which each `*` stands for any text.
pub(crate) fn is_like(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|head| text.strip_prefix(head)) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some(at) = rest.find(piece) else { return false };
        rest = rest.get(at + piece.len()..).unwrap_or_default();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_in_a_pattern_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("6Le*", "6Le-abc", true),
            ("6Le*", "5Le-abc", false),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("*", "", true),
            ("https://*.example/*/x", "https://a.example/b/c/x", true),
            ("https://*.example/*/x", "https://a.example/b/c/y", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_rule_that_can_never_act_is_found_out() {
        assert!(Rule::new(Fault::NotReady).on(Phase::Submit).defect().is_some());
        assert!(Rule::new(Fault::Hang).between(10, 10).defect().is_some());
        assert!(Rule::new(Fault::Hang).rate(1.5).defect().is_some());
        assert!(Rule::new(Fault::Hang).on(Phase::Submit).per_job().defect().is_some());
        assert!(Rule::new(Fault::NotReady).on(Phase::Poll).times(2).per_job().defect().is_none());
    }
}
