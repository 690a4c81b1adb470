//! How fast answers come in, and since when they do so again.

/// So much of what came in before is as good as all of it.
const SHARE: f64 = 0.95;
/// Several jobs of each client: those that a blow held up come in together, and say nothing alone.
const WINDOW_US: u64 = 5_000_000;

/// Answers by the microsecond, in a time without blows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    per_us: f64,
}

impl Pace {
    /// Of answers that came in at those instants, in their order.
    pub(super) fn of(answers: &[u64]) -> Option<Self> {
        let (first, last) = answers.first().zip(answers.last())?;
        let intervals = answers.len() - 1;
        (last > first).then(|| Self { per_us: intervals as f64 / (last - first) as f64 })
    }

    /// Answers a second.
    pub(super) fn per_second(self) -> f64 {
        self.per_us * 1e6
    }

    /// Since when answers come in at this pace again: the beginning of the first time without a blow in
    /// which enough of them did.
    pub(super) fn is_back_since(self, struck_us: u64, answers: &[u64]) -> Option<u64> {
        let enough = (self.per_us * WINDOW_US as f64 * SHARE).ceil() as usize;
        let begins =
            std::iter::once(&struck_us).chain(answers.iter().filter(|at| **at > struck_us));
        let begins = begins.copied();
        begins.into_iter().find(|begin| {
            let within = |at: &&u64| **at > *begin && **at <= begin + WINDOW_US;
            answers.iter().filter(within).count() >= enough
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One answer each tenth of a second between two instants, in seconds.
    fn steady(from: u64, until: u64) -> impl Iterator<Item = u64> {
        (from * 10..until * 10).map(|tenth| tenth * 100_000)
    }

    #[test]
    fn a_pace_is_back_when_answers_come_in_as_before() {
        let before: Vec<_> = steady(0, 10).collect();
        let pace = Pace::of(&before).expect("it has a length");
        assert!((pace.per_second() - 10.0).abs() < 1e-9);
        let held_up: Vec<_> = steady(0, 10).chain(steady(14, 25)).collect();
        let since = pace.is_back_since(10_000_000, &held_up).expect("it is back");
        assert!((13_900_000..=14_200_000).contains(&since), "{since}");
    }

    #[test]
    fn what_was_held_up_and_comes_in_at_once_is_no_pace() {
        let before: Vec<_> = steady(0, 10).collect();
        let pace = Pace::of(&before).expect("it has a length");
        let mut answers = vec![12_000_000; 30];
        answers.extend(steady(20, 24));
        assert_eq!(pace.is_back_since(10_000_000, &answers), None);
        assert_eq!(pace.is_back_since(10_000_000, &before), None);
    }
}
