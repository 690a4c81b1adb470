//! Outages: when nothing answers as it should, planned in the scenario or switched by hand.

use serde::Deserialize;

/// How upstream fails while it is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutageMode {
    /// The port is closed: connections are refused, so a client knows that nothing was sent.
    Refuse,
    /// Connections are accepted, requests read, then the connection is reset.
    Reset,
    /// An HTML page with status 502.
    #[serde(rename = "html_502")]
    Html502,
    /// Requests are read and never answered.
    Hang,
}

impl OutageMode {
    /// The word in scenario files, the admin door and the request log.
    pub fn label(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Reset => "reset",
            Self::Html502 => "html_502",
            Self::Hang => "hang",
        }
    }

    pub(crate) fn from_label(label: &str) -> Option<Self> {
        [Self::Refuse, Self::Reset, Self::Html502, Self::Hang]
            .into_iter()
            .find(|mode| mode.label() == label)
    }
}

/// A planned outage, in virtual milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// How it fails.
    pub mode: OutageMode,
    /// When the outage begins: so long after the clock's zero, or after the job of `after_jobs`.
    #[serde(default)]
    pub from_ms: u64,
    /// Counts `from_ms` from the moment when so many jobs have been created; 0: from zero. So an
    /// outage falls into the middle of a run, whenever somebody starts one.
    #[serde(default)]
    pub after_jobs: u64,
    /// How long it lasts.
    pub for_ms: u64,
}

/// Planned and manual outages of a running simulator.
#[derive(Debug)]
pub(crate) struct OutagePlan {
    planned: Vec<Planned>,
    /// Switched on by hand, until the instant if there is one.
    manual: Option<(OutageMode, Option<i64>)>,
}

#[derive(Debug)]
struct Planned {
    outage: Outage,
    /// Start, once it is known.
    starts_at_ms: Option<i64>,
    is_called_off: bool,
}

impl Planned {
    /// Start and end.
    fn span(&self) -> Option<(i64, i64)> {
        let start = self.starts_at_ms.filter(|_| !self.is_called_off)?;
        Some((start, start.saturating_add_unsigned(self.outage.for_ms)))
    }
}

impl OutagePlan {
    pub(crate) fn new(outages: &[Outage]) -> Self {
        let planned = outages.iter().map(|outage| Planned {
            outage: *outage,
            starts_at_ms: (outage.after_jobs == 0).then_some(outage.from_ms as i64),
            is_called_off: false,
        });
        Self { planned: planned.collect(), manual: None }
    }

    /// Tells the plan that `jobs` jobs exist now. True when that started the countdown of one.
    pub(crate) fn notice_jobs(&mut self, jobs: u64, now_ms: i64) -> bool {
        let mut is_new = false;
        for planned in &mut self.planned {
            if planned.starts_at_ms.is_none() && jobs >= planned.outage.after_jobs {
                planned.starts_at_ms = Some(now_ms.saturating_add_unsigned(planned.outage.from_ms));
                is_new = true;
            }
        }
        is_new
    }

    pub(crate) fn begin(&mut self, mode: OutageMode, until_ms: Option<i64>) {
        self.manual = Some((mode, until_ms));
    }

    /// Ends whatever is on now, planned or not; later planned outages stay.
    pub(crate) fn end(&mut self, now_ms: i64) {
        self.manual = None;
        for planned in &mut self.planned {
            if planned.span().is_some_and(|(start, end)| (start..end).contains(&now_ms)) {
                planned.is_called_off = true;
            }
        }
    }

    pub(crate) fn mode_at(&self, now_ms: i64) -> Option<OutageMode> {
        let manual = self.manual.filter(|(_, until)| until.is_none_or(|until| now_ms < until));
        let planned = || {
            self.planned.iter().find_map(|planned| {
                let (start, end) = planned.span()?;
                (start..end).contains(&now_ms).then_some(planned.outage.mode)
            })
        };
        manual.map(|(mode, _)| mode).or_else(planned)
    }

    /// The next instant at which `mode_at` may change, if one is known.
    pub(crate) fn next_change_ms(&self, now_ms: i64) -> Option<i64> {
        let planned = self.planned.iter().filter_map(Planned::span).flat_map(|(a, b)| [a, b]);
        let manual = self.manual.and_then(|(_, until)| until);
        planned.chain(manual).filter(|at| *at > now_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(from_ms: u64, after_jobs: u64) -> OutagePlan {
        OutagePlan::new(&[Outage { mode: OutageMode::Reset, from_ms, after_jobs, for_ms: 50 }])
    }

    #[test]
    fn an_outage_by_time_begins_and_ends_by_itself() {
        let plan = plan(100, 0);
        let at = |now| plan.mode_at(now).is_some();
        assert_eq!([at(99), at(100), at(149), at(150)], [false, true, true, false]);
        assert_eq!([plan.next_change_ms(0), plan.next_change_ms(100)], [Some(100), Some(150)]);
        assert_eq!(plan.next_change_ms(150), None);
    }

    #[test]
    fn an_outage_by_jobs_waits_for_them() {
        let mut plan = plan(10, 3);
        assert!(!plan.notice_jobs(2, 1_000));
        assert!(plan.notice_jobs(3, 2_000));
        assert!(!plan.notice_jobs(4, 3_000));
        assert_eq!(plan.mode_at(2_009), None);
        assert_eq!(plan.mode_at(2_010), Some(OutageMode::Reset));
    }

    #[test]
    fn ending_by_hand_calls_off_the_planned_one_that_is_on() {
        let mut plan = plan(100, 0);
        plan.begin(OutageMode::Hang, None);
        assert_eq!(plan.mode_at(120), Some(OutageMode::Hang));
        plan.end(120);
        assert_eq!(plan.mode_at(121), None);
    }
}
