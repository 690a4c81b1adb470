//! The desk's bulk acts: prepare (freeze), plan over what was frozen, release, advance.
//!
//! Tasks are frozen before a person is asked, so that what was confirmed is exactly what is acted
//! on: a task that joins or changes in between is no part of it.

use crate::{
    Desk, Error, Result,
    act::{self, Act, Skip},
    audit::By,
    desk::{PAGE, SAMPLES, SCAN},
    operation::{self, Move, Operation, OperationState, RedriveOptions},
    operator,
};
use deadletter_core::{Filter, OperationId, StateKind, Task, TaskId, filter::Key};
use deadletter_store::{Item, Query};
use std::collections::BTreeMap;

/// How to act on many tasks.
#[derive(Clone, Debug, Default)]
pub struct ActOptions {
    /// Tasks at most.
    pub limit: Option<u64>,
    /// Who asked for it, for the audit log.
    pub by: String,
    /// Why, in their words.
    pub why: Option<String>,
}

/// What a bulk act would do.
#[derive(Clone, Debug, Default)]
pub struct ActPlan {
    /// Tasks that were chosen.
    pub count: u64,
    /// Those of them that the act fits.
    pub fit: u64,
    /// Tasks that were chosen, by state.
    pub by_state: BTreeMap<StateKind, u64>,
    /// Tasks that the act fits, by state.
    pub fit_by_state: BTreeMap<StateKind, u64>,
    /// Tasks that the act fits, by cause; those without one stand under `-`.
    pub by_cause: BTreeMap<String, u64>,
    /// Buried tasks that would have no submit left as dead letters: a redrive skips them.
    pub without_room: u64,
    /// Some of those that the act fits.
    pub samples: Vec<Task>,
}

impl ActPlan {
    fn add(&mut self, act: Act, task: Task) {
        self.count += 1;
        *self.by_state.entry(task.kind()).or_default() += 1;
        if !act.fits_task(&task) {
            return;
        }
        self.fit += 1;
        *self.fit_by_state.entry(task.kind()).or_default() += 1;
        let cause = task.cause.as_ref().map_or("-", |cause| cause.as_str());
        *self.by_cause.entry(cause.to_owned()).or_default() += 1;
        if act == (Act::Exhume { more_submits: 0 }) && task.counters.submits >= task.max_submits {
            self.without_room += 1;
        }
        if self.samples.len() < SAMPLES {
            self.samples.push(task);
        }
    }
}

impl Desk {
    /// What `act` would do to the tasks that match now, at most `limit` of them; nothing is changed.
    pub async fn plan_act(&self, act: Act, filter: &Filter, limit: Option<u64>) -> Result<ActPlan> {
        let filter = narrowed(act, filter)?;
        let limit = limit.unwrap_or(u64::MAX);
        let mut plan = ActPlan::default();
        let mut after = None;
        loop {
            let query = Query {
                filter: filter.clone(),
                now: self.shared.now(),
                newest_first: false,
                after,
                limit: PAGE,
                scan_limit: SCAN,
            };
            let page = self.store().page(&query).await?;
            let left = usize::try_from(limit - plan.count).unwrap_or(usize::MAX);
            page.tasks.into_iter().take(left).for_each(|task| plan.add(act, task));
            after = page.next;
            if after.is_none() || plan.count >= limit {
                return Ok(plan);
            }
        }
    }

    /// Freezes the tasks that match now, for an act that sends nothing. It does not begin before
    /// [`Desk::release`]; [`Desk::stop_operation`] drops it, and so does whoever works where it has
    /// waited for a day. Where this fails or is dropped, that is what becomes of it.
    pub async fn prepare(
        &self,
        act: Act,
        filter: &Filter,
        options: ActOptions,
    ) -> Result<OperationId> {
        let now = self.shared.now();
        let id = self.new_operation(act, now);
        let ActOptions { limit, by, why } = options;
        let options = RedriveOptions { limit, by, why, ..RedriveOptions::default() };
        let mut operation = Operation::new(id.clone(), act, &narrowed(act, filter)?, options, now);
        operation::put(self.store(), &operation).await?;
        while operation.state == OperationState::Preparing {
            operator::freeze(&self.shared, &operation).await?;
            operation = self.known(&id).await?;
        }
        Ok(id)
    }

    /// What a prepared act would do to its frozen tasks: those that have changed since are not counted.
    /// Errors: [`Error::NoSuchOperation`], and the store's.
    pub async fn plan_prepared(&self, id: &OperationId) -> Result<ActPlan> {
        let act = self.known(id).await?.act;
        let mut plan = ActPlan::default();
        let mut after = None;
        loop {
            let items = self.frozen(id, after, PAGE).await?;
            let Some((last, _)) = items.last() else { return Ok(plan) };
            after = Some(last.task);
            items.into_iter().filter_map(|(_, task)| task).for_each(|task| plan.add(act, task));
        }
    }

    /// Frozen tasks of an operation that it has not acted on, by id, those behind `after`: each
    /// with its row where that stands as it was frozen.
    pub async fn frozen(
        &self,
        id: &OperationId,
        after: Option<TaskId>,
        limit: u32,
    ) -> Result<Vec<(Item, Option<Task>)>> {
        let items = self.store().pending(id, after, limit).await?;
        let ids: Vec<TaskId> = items.iter().map(|item| item.task).collect();
        let tasks = self.store().get(&ids).await?;
        let paired = items.into_iter().zip(tasks);
        Ok(paired.map(|(item, task)| (item, task.filter(|t| t.version == item.version))).collect())
    }

    /// Leaves out those of a prepared act's tasks whose attempts may still be answered, and answers
    /// how many: what the others' files say now, they say until they change.
    pub async fn leave_out_open(&self, id: &OperationId) -> Result<u64> {
        let known = self.known(id).await?;
        let (mut after, mut left_out) = (None, 0);
        loop {
            let items = self.frozen(id, after, PAGE).await?;
            let Some((last, _)) = items.last() else { return Ok(left_out) };
            after = Some(last.task);
            let mut open = Vec::new();
            for (item, _) in items {
                let attempts = self.store().history(item.task).await?;
                // Asked after the attempts were read: one that lapses in between is let go.
                let now = self.shared.now();
                if attempts.iter().any(|attempt| attempt.is_awaited(now)) {
                    open.push((item.task, Skip::Open));
                }
            }
            act::skip(&self.shared, &known, &open).await?;
            left_out += open.len() as u64;
        }
    }

    /// Lets a prepared act begin: by [`Desk::advance`], or by any process that works. False where
    /// it is not prepared. Where this fails or is dropped it waits on, and may be released again.
    pub async fn release(&self, id: &OperationId) -> Result<bool> {
        let known = self.known(id).await?;
        let (from, to) = (OperationState::Prepared, OperationState::Running);
        let go = Move { from, to, by: By::asker(&known.options) };
        operation::let_run(&self.shared, &known, go).await
    }

    /// One bounded step of an act that sends nothing, done here; true while there is more to do.
    /// Where another process has it in hand, this waits a moment instead. Where this fails or is
    /// dropped, what was acted on is settled, and the next call goes on; of what it skipped or purged
    /// just then the count may be missing.
    pub async fn advance(&self, id: &OperationId) -> Result<bool> {
        operator::advance(&self.shared, id).await
    }

    async fn known(&self, id: &OperationId) -> Result<Operation> {
        let known = operation::read(self.store(), id).await?;
        known.ok_or_else(|| Error::NoSuchOperation(id.clone()))
    }
}

/// What is chosen by properties is narrowed to what the act fits; what is chosen by id is not, so
/// that its plan can say why it is skipped.
fn narrowed(act: Act, filter: &Filter) -> Result<Filter> {
    if filter.mentions(Key::Id) {
        return Ok(filter.clone());
    }
    let states = match act {
        // A dead letter has stopped by itself: it is cancelled where somebody says so.
        Act::Cancel if !filter.mentions(Key::State) => {
            &[StateKind::Queued, StateKind::Submitting, StateKind::Polling]
        }
        act => act.fits(),
    };
    let narrowed = filter.and(&Filter::states(states))?;
    Ok(match act {
        Act::Hold => narrowed.and(&"held:no".parse()?)?,
        Act::Release => narrowed.and(&"held:yes".parse()?)?,
        _ => narrowed,
    })
}
