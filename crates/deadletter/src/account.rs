//! An account at work: its provider, its limits, and what the engine has learned of it.

use crate::{
    fair::Turns,
    gate::Gate,
    provider::{AccountState, Provider},
    stop::Stop,
};
use deadletter_core::{
    AccountName, Policy, Terms, UnixMs,
    breaker::BreakerRules,
    budget::{Budget, BudgetRules},
    histogram::Histogram,
    pollplan::{PollPlan, Table},
    window::{Window, WindowRules},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Threads of an account whose number is neither configured nor told by upstream: small enough
/// for every plan that is sold.
const DEFAULT_THREADS: u32 = 5;
/// While the breaker is open, live upstream ids are asked at this rate: one probe per account.
const OPEN_POLL_GAP_MS: i64 = 5_000;
/// Methods whose solve times are kept apart; real accounts use a handful, but the word is the
/// caller's.
pub(crate) const METHODS: usize = 200;
/// The name under which the times of all further methods are kept together.
const OTHER_METHODS: &str = "other";
/// Beats after which other submits wait for their end, so that suspects can be looked for.
const SUSPECT_BEATS: u32 = 15;

/// An account as the caller describes it.
pub struct AccountConfig {
    /// Its name, under which its tasks stand in the store: the same in every process that shares it.
    pub name: AccountName,
    /// The line to its upstream.
    pub provider: Arc<dyn Provider>,
    /// Its threads: open attempts never exceed them, over all processes. None to ask upstream; until
    /// it has answered, or where it does not tell, five.
    pub threads: Option<u32>,
    /// The rules' numbers.
    pub policy: Policy,
    /// The breaker's numbers.
    pub breaker: BreakerRules,
    /// The retry budget's numbers.
    pub budget: BudgetRules,
    /// Terms by method, instead of the provider's.
    pub terms: HashMap<String, Terms>,
}

impl AccountConfig {
    /// An account with the default rules.
    #[must_use]
    pub fn new(name: AccountName, provider: Arc<dyn Provider>) -> Self {
        Self {
            name,
            provider,
            threads: None,
            policy: Policy::default(),
            breaker: BreakerRules::default(),
            budget: BudgetRules::default(),
            terms: HashMap::new(),
        }
    }

    /// The same account with that many threads.
    #[must_use]
    pub const fn threads(mut self, threads: Option<u32>) -> Self {
        self.threads = threads;
        self
    }
}

/// An account at work.
pub(crate) struct Account {
    pub(crate) name: AccountName,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) policy: Policy,
    pub(crate) gate: Gate,
    pub(crate) turns: Turns,
    pub(crate) configured_threads: Option<u32>,
    terms: HashMap<String, Terms>,
    /// Wakes the account's dispatcher: a task may be due, or a permit free.
    pub(crate) wake: Notify,
    /// Guards everything that is learned; held for arithmetic only, never across an await.
    learned: Mutex<Learned>,
}

struct Learned {
    window: Window,
    budget: Budget,
    /// As given, divided among the workers that live.
    budget_rules: BudgetRules,
    stop: Stop,
    /// Version of the document that `stop` was taken from.
    stop_version: u64,
    solve_times: HashMap<String, SolveTimes>,
    due: Due,
    open_poll_at: UnixMs,
    /// Upstream was asked too often: nothing is polled before this instant.
    slowed_until: UnixMs,
    /// Upstream has taken the key since this process began, or since the account was stopped.
    vouched: bool,
    /// Beats since suspects were looked for.
    unsuspected: u32,
}

/// What this process knows of due times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Before this instant nothing that is queued becomes due.
    pub(crate) at: UnixMs,
    /// How often somebody has said that something becomes due.
    hints: u64,
}

#[derive(Default)]
struct SolveTimes {
    /// What all workers know, as last read.
    shared: Histogram,
    /// What this worker has seen since.
    fresh: Histogram,
    plan: Option<PollPlan>,
}

impl Account {
    pub(crate) fn new(config: AccountConfig, now: UnixMs) -> Self {
        let threads = config.threads.unwrap_or(DEFAULT_THREADS);
        Self {
            gate: Gate::new(&config.name, config.breaker, now),
            turns: Turns::default(),
            name: config.name,
            provider: config.provider,
            policy: config.policy,
            configured_threads: config.threads,
            terms: config.terms,
            wake: Notify::new(),
            learned: Mutex::new(Learned {
                window: Window::new(threads),
                budget: Budget::full(&config.budget, now),
                budget_rules: config.budget,
                stop: Stop::default(),
                stop_version: 0,
                solve_times: HashMap::new(),
                due: Due { at: now, hints: 0 },
                open_poll_at: now,
                slowed_until: now,
                unsuspected: 1,
                vouched: false,
            }),
        }
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn terms(&self, method: &str) -> Terms {
        self.terms.get(method).copied().unwrap_or_else(|| self.provider.terms(method))
    }

    /// Open attempts may reach this number now.
    pub(crate) fn limit(&self) -> u32 {
        self.learned().window.limit()
    }

    pub(crate) fn threads(&self) -> u32 {
        self.learned().window.threads()
    }

    /// What upstream said of the account.
    pub(crate) fn take_state(&self, state: &AccountState) {
        if let (Some(threads), None) = (state.threads, self.configured_threads) {
            self.learned().window.set_threads(threads);
            self.wake.notify_one();
        }
    }

    pub(crate) fn submit_accepted(&self) {
        self.learned().window.accepted(1);
    }

    pub(crate) fn submit_refused_for_capacity(&self, now: UnixMs) {
        self.learned().window.refused(&WindowRules::default(), now);
    }

    /// So many workers live: each has its part of the retries.
    pub(crate) fn share_budget(&self, workers: u32) {
        self.learned().budget_rules.workers = workers;
    }

    pub(crate) fn retries_allowed(&self, now: UnixMs) -> u32 {
        let learned = self.learned();
        learned.budget.available(&learned.budget_rules, now)
    }

    pub(crate) fn retry_wait_ms(&self, now: UnixMs) -> Option<i64> {
        let learned = self.learned();
        learned.budget.wait_ms(&learned.budget_rules, now)
    }

    pub(crate) fn spend_retries(&self, n: u32, now: UnixMs) {
        let learned = &mut *self.learned();
        learned.budget.take(&learned.budget_rules, n, now);
    }

    pub(crate) fn earn_retries(&self, firsts: u32, now: UnixMs) {
        let learned = &mut *self.learned();
        learned.budget.earn(&learned.budget_rules, firsts, now);
    }

    /// A task becomes due then: the dispatcher looks no later.
    pub(crate) fn hint_due(&self, at: UnixMs) {
        let due = &mut self.learned().due;
        due.hints += 1;
        due.at = due.at.min(at);
        self.wake.notify_one();
    }

    pub(crate) fn due(&self) -> Due {
        self.learned().due
    }

    /// Nothing is due before `at`, unless somebody has said otherwise since `seen` was read.
    pub(crate) fn nothing_due_before(&self, at: UnixMs, seen: Due) {
        let due = &mut self.learned().due;
        if *due == seen {
            due.at = at;
        }
    }

    /// A beat has passed: tasks may have become suspect.
    pub(crate) fn suspect(&self) {
        let mut learned = self.learned();
        learned.unsuspected = learned.unsuspected.saturating_add(1);
    }

    pub(crate) fn may_have_suspects(&self) -> bool {
        self.learned().unsuspected > 0
    }

    /// True where suspects could not be looked for in a long time: they are claimed alone.
    pub(crate) fn must_look_for_suspects(&self) -> bool {
        self.learned().unsuspected > SUSPECT_BEATS
    }

    /// Suspects were looked for; there may be more where one was found.
    pub(crate) fn looked_for_suspects(&self, found: bool) {
        self.learned().unsuspected = u32::from(found);
    }

    /// True once upstream has spoken to this key in other words than those that stop an account.
    ///
    /// Until then submits go one at a time: a wrong key costs one refusal and not as many as there
    /// are threads, for which upstreams ban the address.
    pub(crate) fn is_vouched(&self) -> bool {
        self.learned().vouched
    }

    pub(crate) fn vouch(&self) {
        let was_vouched = std::mem::replace(&mut self.learned().vouched, true);
        if !was_vouched {
            self.wake.notify_one();
        }
    }

    /// Upstream was asked too often: no id of the account is asked before `until`.
    pub(crate) fn slow_polls(&self, until: UnixMs) {
        let mut learned = self.learned();
        learned.slowed_until = learned.slowed_until.max(until);
    }

    /// The clock was set back: what is waited for here comes so much earlier.
    pub(crate) fn bring_forward(&self, ms: i64) {
        let mut learned = self.learned();
        learned.slowed_until = learned.slowed_until.plus(-ms);
        learned.open_poll_at = learned.open_poll_at.plus(-ms);
        learned.due.at = learned.due.at.plus(-ms);
        learned.due.hints += 1;
        drop(learned);
        self.wake.notify_one();
    }

    pub(crate) fn must_poll_slowly(&self, now: UnixMs) -> bool {
        now < self.learned().slowed_until
    }

    /// While the breaker is open: true once per probe gap.
    pub(crate) fn take_open_poll(&self, now: UnixMs) -> bool {
        let mut learned = self.learned();
        if now < learned.open_poll_at {
            return false;
        }
        learned.open_poll_at = now.plus(OPEN_POLL_GAP_MS);
        true
    }

    pub(crate) fn stop(&self) -> Stop {
        self.learned().stop.clone()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.learned().stop.failure.is_some()
    }

    /// Takes in the document's words; those that were read before newer ones are not.
    pub(crate) fn set_stop(&self, version: u64, stop: Stop) {
        let mut learned = self.learned();
        if version >= learned.stop_version {
            learned.stop_version = version;
            learned.vouched &= stop.failure.is_none();
            learned.stop = stop;
        }
    }

    /// Changes what this process thinks of the stop, while the store is away.
    pub(crate) fn stop_alone<T>(&self, act: impl FnOnce(&mut Stop) -> T) -> T {
        let mut learned = self.learned();
        learned.vouched = false;
        act(&mut learned.stop)
    }

    /// Time that passed between two instants, without the time that the account was stopped.
    pub(crate) fn elapsed_ms(&self, from: UnixMs, now: UnixMs) -> i64 {
        now.since(from) - self.learned().stop.stopped_ms(from, now)
    }

    /// Elapsed time of the poll after the one at `elapsed_ms`.
    pub(crate) fn next_poll_ms(&self, method: &str, elapsed_ms: i64) -> i64 {
        let terms = self.terms(method);
        let mut learned = self.learned();
        let times = learned.times(method);
        let plan = times.plan.get_or_insert_with(|| plan_for(&times.shared, terms));
        plan.next_after(elapsed_ms)
    }

    /// An answer came between two polls.
    pub(crate) fn solved_between(&self, method: &str, from_ms: i64, to_ms: i64) {
        self.learned().times(method).fresh.record(from_ms, to_ms);
    }

    /// What this worker has seen since the last call, per method.
    pub(crate) fn take_fresh_times(&self) -> Vec<(String, Histogram)> {
        let mut learned = self.learned();
        let fresh = learned.solve_times.iter_mut().filter(|(_, times)| times.fresh.count() > 0);
        fresh.map(|(method, times)| (method.clone(), std::mem::take(&mut times.fresh))).collect()
    }

    /// What was taken could not be shared: it is fresh again.
    pub(crate) fn keep_fresh_times(&self, method: &str, times: &Histogram) {
        self.learned().times(method).fresh.merge(times);
    }

    /// What all workers have seen of a method.
    pub(crate) fn set_shared_times(&self, method: &str, shared: Histogram) {
        let terms = self.terms(method);
        let mut learned = self.learned();
        let times = learned.times(method);
        times.plan = Some(plan_for(&shared, terms));
        times.shared = shared;
    }
}

impl Learned {
    fn times(&mut self, method: &str) -> &mut SolveTimes {
        let is_apart = self.solve_times.contains_key(method) || self.solve_times.len() < METHODS;
        let name = if is_apart { method } else { OTHER_METHODS };
        self.solve_times.entry(name.to_owned()).or_default()
    }
}

fn plan_for(times: &Histogram, terms: Terms) -> PollPlan {
    let gap_ms = terms.poll_gap_ms;
    let table = Table {
        first_poll_ms: terms.first_poll_ms,
        gap_ms,
        min_gap_ms: gap_ms,
        ..Table::default()
    };
    PollPlan::learned(times, &table)
}
