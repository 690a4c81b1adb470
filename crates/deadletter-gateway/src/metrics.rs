//! What is counted of requests and connections. Labels are what is known beforehand: paths, classes
//! of words; never a key, an id or anything else that a client chooses.

use crate::createtask;
use hyper::Response;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bounds of the classes of time, in microseconds, and as they are written in seconds: a poll from
/// the store takes a tenth of the first, a durable submit one of the next, `submit_wait` the last.
pub(crate) const TIMES: [(u64, &str); 8] = [
    (1_000, "0.001"),
    (5_000, "0.005"),
    (25_000, "0.025"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (5_000_000, "5"),
];
/// Paths that are told apart; all others are one.
pub(crate) const PATHS: [&str; 7] =
    ["in.php", "res.php", "createTask", "getTaskResult", "getBalance", "report", "other"];

/// What a reply says, as far as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A job was taken.
    Accepted,
    /// A task's answer.
    Answer,
    /// Not yet.
    Pending,
    /// A code.
    Error,
    /// A code that says that there is no room now.
    Refused,
    /// Balance, threads, answers to many ids.
    Told,
    /// No word of the protocol: a probe, a request that was not taken.
    None,
}

impl Class {
    pub(crate) const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Answer,
        Self::Pending,
        Self::Error,
        Self::Refused,
        Self::Told,
        Self::None,
    ];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Answer => "answer",
            Self::Pending => "pending",
            Self::Error => "error",
            Self::Refused => "refused",
            Self::Told => "told",
            Self::None => "none",
        }
    }

    /// Notes it on its reply.
    pub(crate) fn mark<B>(self, mut reply: Response<B>) -> Response<B> {
        reply.extensions_mut().insert(self);
        reply
    }

    /// What was noted on a reply.
    pub(crate) fn of<B>(reply: &Response<B>) -> Self {
        reply.extensions().get().copied().unwrap_or(Self::None)
    }
}

/// Requests of one path.
#[derive(Debug, Default)]
pub(crate) struct OfPath {
    words: [AtomicU64; Class::ALL.len()],
    /// Requests that took no longer than the bound and longer than the one before.
    times: [AtomicU64; TIMES.len()],
    /// Those that took longer than the last bound, too.
    pub(crate) count: AtomicU64,
    pub(crate) sum_us: AtomicU64,
}

impl OfPath {
    /// How many said what.
    pub(crate) fn words(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let labels = Class::ALL.into_iter().map(Class::label);
        labels.zip(self.words.iter().map(|count| count.load(Relaxed)))
    }

    /// How many took no longer than each bound.
    pub(crate) fn times(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let mut sum = 0;
        TIMES.iter().zip(&self.times).map(move |((_, bound), count)| {
            sum += count.load(Relaxed);
            (*bound, sum)
        })
    }
}

/// Everything that is counted here.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    paths: [OfPath; PATHS.len()],
    /// Open now.
    pub(crate) connections: AtomicU64,
    /// Closed at once: their address had its share.
    pub(crate) connections_refused: AtomicU64,
    /// Bodies that were too large, too slow or broken.
    pub(crate) bodies_refused: AtomicU64,
}

impl Metrics {
    /// Counts a reply to a request for `path`.
    pub(crate) fn count(&self, path: &str, class: Class, took_us: u64) {
        let path = Self::known(path);
        let Some((_, of)) = self.paths().find(|(known, _)| *known == path) else { return };
        let word = Class::ALL.iter().position(|known| *known == class);
        let time = TIMES.iter().position(|(bound, _)| took_us <= *bound);
        let counts = [
            word.and_then(|word| of.words.get(word)),
            time.and_then(|time| of.times.get(time)),
            Some(&of.count),
        ];
        for count in counts.into_iter().flatten() {
            count.fetch_add(1, Relaxed);
        }
        of.sum_us.fetch_add(took_us, Relaxed);
    }

    /// The path as it is told.
    pub(crate) fn known(path: &str) -> &'static str {
        let path = path.trim_start_matches('/');
        // What is said of answers has many paths, and is one thing.
        let others = if createtask::is_report(path) { "report" } else { "other" };
        PATHS.into_iter().find(|known| *known == path).unwrap_or(others)
    }

    /// Counts by path.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (&'static str, &OfPath)> {
        PATHS.into_iter().zip(&self.paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_once_under_its_path_its_word_and_its_time() {
        let metrics = Metrics::default();
        metrics.count("//in.php", Class::Accepted, 3_000);
        metrics.count("/in.php", Class::Error, 60_000_000);
        metrics.count("/in.php/../x", Class::None, 1);
        let of = |name| metrics.paths().find(|(path, _)| *path == name).unwrap().1;
        let words: Vec<_> = of("in.php").words().filter(|(_, count)| *count > 0).collect();
        assert_eq!(words, [("accepted", 1), ("error", 1)]);
        let times: Vec<_> = of("in.php").times().map(|(_, count)| count).collect();
        assert_eq!(times, [0, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(of("in.php").count.load(Relaxed), 2);
        assert_eq!(of("other").count.load(Relaxed), 1);
    }
}
