//! What the store says: every task with its attempts and answer, in the few words that the checks
//! need, so that evidence can be falsified by hand.

use super::beside::is_spare;
use deadletter::core::{Filter, StateKind, Task, TaskId, Verdict, invariants};
use deadletter::store::{Error, Query, Store, Totals};
use std::collections::BTreeMap;

/// Rows read at once.
const PAGE: u32 = 500;

/// A task as it stands in the store.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// The page of its request: its row in the batch.
    pub(crate) page: String,
    pub(crate) state: StateKind,
    /// Row version.
    pub(crate) version: u64,
    /// K.
    pub(crate) max_submits: u32,
    /// Intents that were not given back, by its own count.
    pub(crate) submits: u32,
    /// In the order of their numbers.
    pub(crate) attempts: Vec<Try>,
    /// The attempt whose answer won, and the answer.
    pub(crate) answer: Option<Won>,
}

/// An attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Try {
    pub(crate) token: String,
    /// Store milliseconds.
    pub(crate) intent_at: i64,
    pub(crate) upstream_id: Option<String>,
    pub(crate) accepted_at: Option<i64>,
    pub(crate) is_open: bool,
    pub(crate) verdict: Option<Verdict>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Won {
    /// Token of the attempt that it answers.
    pub(crate) token: String,
    pub(crate) text: String,
}

/// The store at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) tasks: BTreeMap<TaskId, Kept>,
    /// From the counts.
    pub(crate) totals: Totals,
    /// By looking at every row.
    pub(crate) recount: Totals,
    /// Terminal changes in their order.
    pub(crate) events: Vec<(TaskId, StateKind)>,
    /// What the core's own invariants find wrong, one line each.
    pub(crate) broken: Vec<String>,
}

impl Ledger {
    /// Letters that may be purged.
    pub(crate) fn spares(&self) -> usize {
        self.tasks.values().filter(|task| is_spare(&task.page)).count()
    }

    /// Reads everything. Nobody else may write meanwhile.
    pub(crate) async fn read(store: &dyn Store) -> Result<Self, Error> {
        let mut ledger = Self {
            totals: store.totals().await?,
            recount: store.recount().await?,
            events: events(store).await?,
            ..Self::default()
        };
        let mut after = None;
        loop {
            let query = Query {
                filter: Filter::default(),
                now: store.clock().now(),
                newest_first: false,
                after,
                limit: PAGE,
                scan_limit: PAGE,
            };
            let page = store.page(&query).await?;
            for task in page.tasks {
                ledger.take(store, task).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(ledger);
            }
        }
    }

    async fn take(&mut self, store: &dyn Store, task: Task) -> Result<(), Error> {
        let history = store.history(task.id).await?;
        let payload = store.payload(task.id).await?;
        let answer = store.answer(task.id).await?;
        let violations = invariants::check(&task, &history);
        self.broken.extend(violations.iter().map(ToString::to_string));
        let kept = Kept {
            page: payload
                .and_then(|payload| payload.text("pageurl").map(std::borrow::Cow::into_owned))
                .unwrap_or_default(),
            state: task.kind(),
            version: task.version,
            max_submits: task.max_submits,
            submits: task.counters.submits,
            attempts: history
                .iter()
                .map(|attempt| Try {
                    token: attempt.token.to_string(),
                    intent_at: attempt.intent_at.0,
                    upstream_id: attempt.upstream_id.as_ref().map(ToString::to_string),
                    accepted_at: attempt.accepted_at.map(|at| at.0),
                    is_open: attempt.is_open(),
                    verdict: attempt.verdict,
                })
                .collect(),
            answer: answer.map(|answer| Won {
                token: answer.token.to_string(),
                text: answer.expose().to_owned(),
            }),
        };
        self.tasks.insert(task.id, kept);
        Ok(())
    }
}

async fn events(store: &dyn Store) -> Result<Vec<(TaskId, StateKind)>, Error> {
    let mut events = Vec::new();
    let mut after = 0;
    loop {
        let page = store.events(after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(events) };
        after = *last;
        events.extend(page.into_iter().map(|(_, event)| (event.task, event.state)));
    }
}
