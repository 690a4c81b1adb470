//! What is told of a store that is away: once when it begins, now and then while it lasts, and once
//! when it is over, whoever notices and however often.

use std::time::Duration;
use tokio::time::Instant;

/// Seldom enough for a log, often enough for whoever looks into it.
const AGAIN: Duration = Duration::from_secs(60);
/// A store that has failed nobody for so long is back: several beats have been answered by then.
const QUIET: Duration = Duration::from_secs(5);

/// A store that is away, or not.
#[derive(Debug, Default)]
pub(crate) struct Absence(Option<Away>);

#[derive(Clone, Copy, Debug)]
struct Away {
    since: Instant,
    failed_at: Instant,
    said_at: Instant,
}

/// What is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It has gone away.
    Gone,
    /// It is away since then, and was not told of for a while.
    StillAway(Duration),
    /// It is back; it was away for so long.
    Back(Duration),
}

impl Absence {
    /// It did not answer.
    pub(crate) fn failed(&mut self, now: Instant) -> Option<News> {
        let Some(away) = &mut self.0 else {
            self.0 = Some(Away { since: now, failed_at: now, said_at: now });
            return Some(News::Gone);
        };
        away.failed_at = now;
        if now - away.said_at < AGAIN {
            return None;
        }
        away.said_at = now;
        Some(News::StillAway(now - away.since))
    }

    /// It has answered.
    pub(crate) fn answered(&mut self, now: Instant) -> Option<News> {
        let away = self.0.filter(|away| now - away.failed_at >= QUIET)?;
        self.0 = None;
        Some(News::Back(away.failed_at - away.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_absence_is_told_when_it_begins_now_and_then_and_when_it_is_over() {
        let mut absence = Absence::default();
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(absence.answered(at(0)), None, "it was never away");
        let mut told = Vec::new();
        // Several loops ask four times a second, and each of them fails.
        for quarter in 0..4 * 130 {
            let now = began + Duration::from_millis(250 * quarter);
            told.extend([absence.failed(now), absence.failed(now)].into_iter().flatten());
        }
        let still = |seconds| News::StillAway(Duration::from_secs(seconds));
        assert_eq!(told, [News::Gone, still(60), still(120)]);
        assert_eq!(absence.answered(at(131)), None, "one answer among failures");
        assert_eq!(absence.failed(at(132)), None);
        assert_eq!(absence.answered(at(137)), Some(News::Back(Duration::from_secs(132))));
        assert_eq!(absence.answered(at(140)), None);
        assert_eq!(absence.failed(at(141)), Some(News::Gone));
    }
}
