//! Random histories of one task: whatever happens in whatever order, the invariants hold, no
//! submit exceeds K, and the counts are what a recount finds.

use super::*;
use crate::counts::{Deltas, Standing, Tally};
use proptest::{option, prelude::*, sample::select};
use std::collections::BTreeMap;

/// Something to try; what does not fit the moment is decided all the same.
#[derive(Clone, Debug)]
enum Try {
    Claim,
    Adopt,
    Wait(i64),
    Happens(Kind, Option<usize>),
}

/// What happens, before the bench fills in ids and answers.
#[derive(Clone, Debug)]
enum Kind {
    Accept,
    NotUnique,
    Refused(Class),
    Unsent,
    InDoubt,
    Withheld(Why),
    Answered(usize),
    NotReady(i64),
    Failed(Class),
    WorkerDied,
    AttemptMissing,
    RequestMissing,
    Panicked,
    Deadline,
    Redriven { resume: Option<usize>, keep_deadline: bool, force: bool },
    Buried,
    Exhumed(u32),
    Cancelled,
    Held,
    Released,
}

fn kinds() -> impl Strategy<Value = Kind> {
    let class = || select(Class::ALL);
    let redriven = (option::of(0_usize..6), any::<bool>(), any::<bool>());
    prop_oneof![
        6 => Just(Kind::Accept),
        1 => Just(Kind::NotUnique),
        4 => class().prop_map(Kind::Refused),
        1 => Just(Kind::Unsent),
        2 => Just(Kind::InDoubt),
        1 => select(Why::ALL).prop_map(Kind::Withheld),
        2 => (0_usize..6).prop_map(Kind::Answered),
        4 => (0_i64..240_000).prop_map(Kind::NotReady),
        4 => class().prop_map(Kind::Failed),
        2 => Just(Kind::WorkerDied),
        1 => Just(Kind::AttemptMissing),
        1 => Just(Kind::RequestMissing),
        1 => Just(Kind::Panicked),
        1 => Just(Kind::Deadline),
        5 => redriven.prop_map(|(resume, keep_deadline, force)| Kind::Redriven { resume, keep_deadline, force }),
        1 => Just(Kind::Buried),
        2 => (0_u32..3).prop_map(Kind::Exhumed),
        1 => Just(Kind::Cancelled),
        1 => Just(Kind::Held),
        2 => Just(Kind::Released),
    ]
}

fn tries() -> impl Strategy<Value = Try> {
    prop_oneof![
        6 => Just(Try::Claim),
        1 => Just(Try::Adopt),
        2 => (0_i64..200_000).prop_map(Try::Wait),
        12 => (kinds(), option::weighted(0.3, 0_usize..6)).prop_map(|(kind, about)| Try::Happens(kind, about)),
    ]
}

/// A bench with the counts that a store would keep.
struct Walk {
    bench: Bench,
    standing: BTreeMap<Standing, i64>,
    tallies: BTreeMap<Tally, i64>,
    events: Vec<crate::Event>,
    claims: u32,
}

impl Walk {
    fn new(policy: Policy, deadline_ms: Option<i64>, proxies: u32) -> Self {
        let mut bench = Bench::with(|task| {
            task.deadline_at = deadline_ms.map(|ms| THEN.plus(ms));
            task.proxies = proxies;
            task.dimensions.batch = Some("b".to_owned());
        });
        bench.policy = policy;
        let mut walk = Self {
            standing: BTreeMap::new(),
            tallies: BTreeMap::new(),
            events: Vec::new(),
            claims: 0,
            bench,
        };
        walk.count(&Deltas::of_insert(&walk.bench.task));
        walk
    }

    fn count(&mut self, deltas: &Deltas) {
        for (row, n) in &deltas.standing {
            *self.standing.entry(row.clone()).or_default() += n;
        }
        for (row, n) in &deltas.tallies {
            *self.tallies.entry(row.clone()).or_default() += n;
        }
        self.standing.retain(|_, n| *n != 0);
    }

    fn tries(&mut self, what: &Try) {
        match what {
            Try::Claim => {
                let before = self.bench.task.clone();
                if self.bench.claim() {
                    self.claims += 1;
                    self.follow(&before);
                }
            }
            Try::Adopt if self.bench.task.kind().is_leased() => {
                let worker = WorkerId::new("adopter").expect("valid");
                let row = RowChange::adopt(&self.bench.task, &worker, self.bench.now);
                self.change(&Change { facts: Vec::new(), row: Some(Box::new(row)) });
            }
            Try::Wait(ms) => {
                self.bench.now = self.bench.now.plus(*ms);
                for attempt in &mut self.bench.attempts {
                    attempt.lapse(self.bench.now);
                }
            }
            Try::Happens(kind, about) => {
                let about = about.filter(|at| *at < self.bench.attempts.len());
                if let Some(happened) = self.happened(kind, about) {
                    let decision = self.bench.decide(&happened, about);
                    self.change(&decision.change);
                    // The same report again, as after a commit whose outcome was unknown.
                    let stands = self.bench.task.clone();
                    for fact in decision.change.facts_taken(false) {
                        let attempts = &mut self.bench.attempts;
                        let attempt = attempts.iter_mut().find(|a| a.token == fact.token);
                        attempt.expect("it exists").learn(fact);
                    }
                    assert_eq!(invariants::check(&stands, &self.bench.attempts), []);
                }
            }
            Try::Adopt => (),
        }
        assert!(self.bench.task.counters.submits <= self.bench.task.max_submits);
    }

    /// Nothing for what cannot be: an answer or a verdict of an attempt without an upstream id.
    fn happened(&self, kind: &Kind, about: Option<usize>) -> Option<Happened> {
        let bench = &self.bench;
        let now = bench.now;
        let with_id = |at: &usize| bench.attempts.get(*at).is_some_and(|a| a.upstream_id.is_some());
        Some(match kind {
            Kind::Accept => Happened::Accepted(upstream_id(&format!("u-{about:?}-{now}"))),
            Kind::NotUnique => Happened::NotUnique(upstream_id("taken")),
            Kind::Refused(class) => Happened::Refused(failure(*class)),
            Kind::Unsent => Happened::Unsent(failure(Class::Transient)),
            Kind::InDoubt => Happened::InDoubt(failure(Class::Transient)),
            Kind::Withheld(why) => Happened::Withheld { why: *why, due_at: now },
            Kind::Answered(at) => bench.answer(Some(*at).filter(with_id)?),
            Kind::NotReady(elapsed_ms) => Happened::NotReady { elapsed_ms: *elapsed_ms },
            Kind::Failed(class) => Happened::Failed(failure(*class)),
            Kind::WorkerDied => Happened::WorkerDied,
            Kind::AttemptMissing => Happened::AttemptMissing,
            Kind::RequestMissing => Happened::RequestMissing,
            Kind::Panicked => Happened::Panicked("boom".to_owned()),
            Kind::Deadline => Happened::DeadlinePassed,
            Kind::Redriven { resume, keep_deadline, force } => Happened::Redriven {
                resume: resume.and_then(|at| bench.attempts.get(at)).cloned().map(Box::new),
                due_at: now,
                keep_deadline: *keep_deadline,
                force: *force,
            },
            Kind::Buried => Happened::Buried,
            Kind::Exhumed(more_submits) => Happened::Exhumed { more_submits: *more_submits },
            Kind::Cancelled => Happened::Cancelled,
            Kind::Held => Happened::Held,
            Kind::Released => Happened::Released,
        })
    }

    fn change(&mut self, change: &Change) {
        let before = self.bench.task.clone();
        self.bench.apply(change);
        if let Some(row) = &change.row {
            self.events.extend(row.event());
            self.follow(&before);
        }
    }

    /// Counts the change from `before` to the row as it is now.
    fn follow(&mut self, before: &Task) {
        let after = self.bench.task.clone();
        self.count(&Deltas::of_row(&RowChange::to(before, after, self.bench.now)));
        let recount = Deltas::of_insert(&self.bench.task).standing.into_iter().collect();
        assert_eq!(self.standing, recount, "the counts are those of a task that stands here");
    }

    fn tallied(&self, tallied: crate::counts::Tallied) -> i64 {
        let rows = self.tallies.iter();
        rows.filter(|(row, _)| row.tallied == tallied && row.dim == crate::counts::Dim::All)
            .map(|(_, n)| n)
            .sum()
    }

    fn ended(&self, states: &[StateKind]) -> i64 {
        self.events.iter().filter(|event| states.contains(&event.state)).count() as i64
    }
}

fn policies() -> impl Strategy<Value = Policy> {
    (select(OnDoubt::ALL), 0_u32..4).prop_map(|(on_doubt, redrive_submits)| Policy {
        on_doubt,
        redrive_submits,
        ..Policy::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_history_keeps_the_invariants_and_the_counts(
        tries in prop::collection::vec(tries(), 0..60),
        policy in policies(),
        deadline_ms in option::of(0_i64..400_000),
        proxies in 0_u32..3,
    ) {
        let mut walk = Walk::new(policy, deadline_ms, proxies);
        for what in &tries {
            walk.tries(what);
        }
        let task = &walk.bench.task;
        prop_assert_eq!(task.counters.attempts, walk.claims);
        let cost = walk.bench.attempts.iter().filter(|attempt| !attempt.is_given_back()).count();
        prop_assert!(cost <= task.counters.submits as usize, "{cost} of {}", task.counters.submits);
        use crate::counts::Tallied;
        prop_assert_eq!(walk.tallied(Tallied::Failed), i64::from(task.counters.failures));
        prop_assert_eq!(walk.tallied(Tallied::Solved), walk.ended(&[StateKind::Solved]));
        prop_assert!(walk.tallied(Tallied::Dead) <= walk.ended(&[StateKind::Dead, StateKind::Buried]));
        walk.count(&Deltas::of_purge(&walk.bench.task));
        let places: Vec<&str> = walk.standing.keys().map(|row| row.place.label()).collect();
        prop_assert_eq!(places, ["accepted", "purged"], "a purge leaves the two totals");
    }

    #[test]
    fn nothing_overflows(at in prop::sample::select(vec![0, u32::MAX - 1, u32::MAX]), kind in kinds(), random: f64, now: i64) {
        for mut bench in [Bench::new(), Bench::submitting(), Bench::polling(), Bench::timed_out()] {
            let counters = &mut bench.task.counters;
            (counters.attempts, counters.submits, counters.failures) = (at, at, at);
            (counters.refusals, counters.panics, counters.redrives, counters.deaths) = (at, at, at, at);
            let round = &mut bench.task.round;
            (round.failures, round.unsolvable, round.lost) = (at, at, at);
            (round.refusals, round.proxies_failed, bench.task.proxies) = (at, at, at);
            (bench.now, bench.random) = (UnixMs(now), random);
            let walk = Walk { bench, ..Walk::new(Policy::default(), None, 0) };
            if let Some(happened) = walk.happened(&kind, None) {
                let decision = walk.bench.decide(&happened, None);
                prop_assert!(decision.change.facts.len() <= 2);
            }
        }
    }
}
