//! The dead-letter desk: look, plan, redrive, and act on single tasks.

use crate::{
    Error, Result,
    act::{self, Act},
    audit::{self, By},
    gate::Pass,
    operation::{self, End, Move, Operation, OperationState, RedriveOptions},
    shared::Shared,
};
use deadletter_core::{
    Answer, Attempt, Filter, Happened, OperationId, Payload, Policy, StateKind, Task, TaskId,
    Terms, UnixMs,
    decide::{Eligibility, eligibility, resumable},
};
use deadletter_store::{Page, Query, Store};
use std::{collections::BTreeMap, sync::Arc};

/// Tasks of one page.
pub(crate) const PAGE: u32 = 500;
/// Rows looked at for one page.
pub(crate) const SCAN: u32 = 10_000;
/// Tasks that a plan shows as examples.
pub(crate) const SAMPLES: usize = 5;

/// The desk of an engine, whether it works or only looks ([`crate::Builder::desk_only`]): a handle,
/// cheap to clone.
#[derive(Clone)]
pub struct Desk {
    pub(crate) shared: Arc<Shared>,
}

/// Everything that is kept of one task.
#[derive(Clone, Debug)]
pub struct TaskFile {
    /// Its row.
    pub task: Task,
    /// What it asks for; none where the store has lost it (cause `REQUEST_MISSING`).
    pub payload: Option<Payload>,
    /// Its attempts, by number.
    pub attempts: Vec<Attempt>,
    /// Its answer, or a late one that is kept unused.
    pub answer: Option<Answer>,
}

/// What a redrive would do.
#[derive(Clone, Debug, Default)]
pub struct RedrivePlan {
    /// Tasks that match.
    pub count: u64,
    /// Tasks that would be redriven: resumed or submitted.
    pub eligible: u64,
    /// Their ids.
    pub eligible_ids: Vec<TaskId>,
    /// Matching tasks by cause.
    pub by_cause: BTreeMap<String, u64>,
    /// Matching tasks by what a redrive would do with them.
    pub by_eligibility: BTreeMap<Eligibility, u64>,
    /// Eligible ones for whose answers nobody waits ([`Task::nobody_waits`]).
    pub for_nobody: u64,
    /// Roughly how long it takes, in milliseconds: the rate, and the account's threads.
    pub needs_ms: i64,
    /// Some of them.
    pub samples: Vec<Task>,
}

impl TaskFile {
    /// Reads it; none where there is no such task. What it asks for and its answer are secret.
    pub async fn read(store: &dyn Store, id: TaskId) -> deadletter_store::Result<Option<Self>> {
        let Some(task) = store.get(&[id]).await?.pop().flatten() else { return Ok(None) };
        let attempts = store.history(id).await?;
        let answer = store.answer(id).await?;
        let payload = store.payload(id).await?;
        // Purged between two questions, or is its request alone lost?
        if payload.is_none() && store.get(&[id]).await?.pop().flatten().is_none() {
            return Ok(None);
        }
        Ok(Some(Self { task, payload, attempts, answer }))
    }
}

impl Desk {
    pub(crate) fn of_engine(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.shared.store.as_ref()
    }

    /// A page of at most `limit` tasks, newest first: those that match, behind `after`. At most
    /// 10,000 rows are looked at, so a page may be short or empty and still name where to go on.
    pub async fn page(&self, filter: &Filter, after: Option<TaskId>, limit: u32) -> Result<Page> {
        let query = Query {
            filter: filter.clone(),
            now: self.shared.now(),
            newest_first: true,
            after,
            limit,
            scan_limit: SCAN,
        };
        Ok(self.store().page(&query).await?)
    }

    /// Everything that is kept of a task, payload and answer too: both are secret. Errors:
    /// [`Error::NoSuchTask`], and the store's.
    pub async fn open(&self, id: TaskId) -> Result<TaskFile> {
        TaskFile::read(self.store(), id).await?.ok_or(Error::NoSuchTask(id))
    }

    /// What a redrive of the dead letters that match would do; nothing is changed. It looks at each
    /// of them and at its attempts, so it takes its time over many; [`RedriveOptions::limit`] bounds it.
    pub async fn plan_redrive(
        &self,
        filter: &Filter,
        options: &RedriveOptions,
    ) -> Result<RedrivePlan> {
        let mut plan = RedrivePlan::default();
        let filter = dead_only(filter)?;
        let limit = options.limit.unwrap_or(u64::MAX);
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
            for task in page.tasks {
                if plan.count >= limit {
                    break;
                }
                self.add_to_plan(&mut plan, task, options).await?;
            }
            after = page.next;
            if after.is_none() || plan.count >= limit {
                break;
            }
        }
        plan.needs_ms = self.needs_ms(plan.eligible, options);
        Ok(plan)
    }

    async fn add_to_plan(
        &self,
        plan: &mut RedrivePlan,
        task: Task,
        options: &RedriveOptions,
    ) -> Result<()> {
        let verdict = match self.shared.accounts.get(&task.account) {
            None => Eligibility::NoAccount,
            Some(account) => {
                let terms = account.terms(&task.dimensions.method);
                let attempts = self.store().history(task.id).await?;
                eligibility(&task, &attempts, &account.policy, &terms, self.shared.now())
            }
        };
        plan.count += 1;
        let nobody_waits = task.nobody_waits();
        let verdict = match verdict {
            Eligibility::Resume | Eligibility::Submit if nobody_waits && !options.for_nobody => {
                Eligibility::NobodyWaits
            }
            verdict => verdict,
        };
        let is_eligible = match verdict {
            Eligibility::Resume | Eligibility::Submit => true,
            Eligibility::Hopeless => options.force && (options.for_nobody || !nobody_waits),
            Eligibility::Spent
            | Eligibility::Held
            | Eligibility::NoAccount
            | Eligibility::NobodyWaits
            | Eligibility::NotDead => false,
        };
        if is_eligible {
            plan.eligible += 1;
            plan.for_nobody += u64::from(nobody_waits);
            plan.eligible_ids.push(task.id);
        }
        *plan.by_eligibility.entry(verdict).or_default() += 1;
        let cause = task.cause.as_ref().map_or("unknown", |cause| cause.as_str());
        *plan.by_cause.entry(cause.to_owned()).or_default() += 1;
        if plan.samples.len() < SAMPLES {
            plan.samples.push(task);
        }
        Ok(())
    }

    /// The slower of the rate and the threads, at the methods' usual half of a time-out.
    fn needs_ms(&self, eligible: u64, options: &RedriveOptions) -> i64 {
        let Some(account) = self.shared.accounts.get(&self.shared.first_account) else { return 0 };
        let solve_ms = account.terms("").timeout_ms as f64 / 3.0;
        let n = eligible as f64;
        let by_rate = n / options.rate.max(0.001) * 1_000.0;
        let by_threads = (n / f64::from(account.threads().max(1))).ceil() * solve_ms;
        by_rate.max(by_threads) as i64
    }

    /// Begins a redrive of the dead letters that match now, whatever states the filter names. An
    /// engine that works runs it, and resumes it after a restart.
    ///
    /// Where this fails or is dropped, it may have begun, or it waits on the record and is stopped
    /// there after a day: nothing runs that is not in the audit log.
    pub async fn redrive(&self, filter: &Filter, options: RedriveOptions) -> Result<OperationId> {
        let id = self.new_operation(Act::Redrive, self.shared.now());
        self.begin_redrive(&id, filter, options).await?;
        Ok(id)
    }

    pub(crate) async fn begin_redrive(
        &self,
        id: &OperationId,
        filter: &Filter,
        options: RedriveOptions,
    ) -> Result<()> {
        let (filter, now) = (dead_only(filter)?, self.shared.now());
        let operation = Operation::new(id.clone(), Act::Redrive, &filter, options, now);
        operation::put(self.store(), &operation).await?;
        let (from, to) = (OperationState::Preparing, OperationState::Freezing);
        let go = Move { from, to, by: By::asker(&operation.options) };
        operation::let_run(&self.shared, &operation, go).await?;
        Ok(())
    }

    pub(crate) fn new_operation(&self, act: Act, now: UnixMs) -> OperationId {
        operation::new_id(act, TaskId::at(now, self.shared.random_u64()))
    }

    /// An operation, with the numbers of its items: pending, done, skipped. None where there is none.
    pub async fn operation(&self, id: &OperationId) -> Result<Option<(Operation, [u64; 3])>> {
        match operation::read(self.store(), id).await? {
            None => Ok(None),
            Some(operation) => {
                let items = operation::tally(self.store(), &operation).await?;
                Ok(Some((operation, items)))
            }
        }
    }

    /// Stops an operation for good: `by` whom and `why` go to the audit log. What it has done
    /// stays done. False where it was over already.
    pub async fn stop_operation(
        &self,
        id: &OperationId,
        by: &str,
        why: Option<&str>,
    ) -> Result<bool> {
        let Some(known) = operation::read(self.store(), id).await? else { return Ok(false) };
        operation::settle(&self.shared, &known, End::by_hand(By { who: by, why })).await
    }

    /// Lets an operation go on that paused itself: `by` whom and `why` go to the audit log. False
    /// where it is not paused.
    pub async fn resume_operation(
        &self,
        id: &OperationId,
        by: &str,
        why: Option<&str>,
    ) -> Result<bool> {
        let Some(known) = operation::read(self.store(), id).await? else { return Ok(false) };
        let (from, to) = (OperationState::Paused, OperationState::Running);
        let go = Move { from, to, by: By { who: by, why } };
        operation::let_run(&self.shared, &known, go).await
    }

    /// Gives up a dead letter for good; false where it is not one. Audited, like the next two, as
    /// an act of the library: what a person does is a bulk act, with their name and their reason.
    pub async fn bury(&self, id: TaskId) -> Result<bool> {
        self.act(id, Act::Bury, &Happened::Buried).await
    }

    /// Takes a buried task back among the dead letters, with room for `more_submits` beyond those that
    /// are spent (0 leaves K as it is); false where it is not buried.
    pub async fn exhume(&self, id: TaskId, more_submits: u32) -> Result<bool> {
        self.act(id, Act::Exhume { more_submits }, &Happened::Exhumed { more_submits }).await
    }

    /// Stops a task that is not solved, buried or cancelled (else false); a late answer is kept,
    /// unused. What is on the wire is not called back, and holds its thread until its hold time ends.
    pub async fn cancel(&self, id: TaskId) -> Result<bool> {
        self.act(id, Act::Cancel, &Happened::Cancelled).await
    }

    async fn act(&self, id: TaskId, act: Act, happened: &Happened) -> Result<bool> {
        let task = self.store().get(&[id]).await?.pop().flatten().ok_or(Error::NoSuchTask(id))?;
        if !act.fits().contains(&task.kind()) {
            return Ok(false);
        }
        audit::write_one(&self.shared, act, id).await?;
        // Giving up does not depend on what is configured here.
        let Some(account) = self.shared.accounts.get(&task.account) else {
            return act::change_stranger(&self.shared, task, happened).await;
        };
        let attempts = self.store().history(id).await?;
        let attempt = attempts.iter().find(|attempt| Some(attempt.token) == task.attempt);
        let pass = Pass::Bystander;
        Ok(self.shared.report(account, task, attempt, happened, &pass).await?.moved)
    }
}

/// Only dead letters are redriven, whatever the filter says.
fn dead_only(filter: &Filter) -> Result<Filter> {
    Ok(filter.and(&Filter::states(&[StateKind::Dead]))?)
}

/// The attempt to resume instead of submitting: it may still answer, and its id is its own.
pub(crate) async fn resume_of(
    store: &dyn Store,
    task: &Task,
    policy: &Policy,
    terms: &Terms,
    now: UnixMs,
) -> Result<Option<Attempt>> {
    let attempts = store.history(task.id).await?;
    let Some(attempt) = resumable(&attempts, policy, terms, now) else { return Ok(None) };
    let Some(upstream_id) = &attempt.upstream_id else { return Ok(None) };
    let is_unique = store.bearers(&attempt.account, upstream_id).await? == 1;
    Ok(is_unique.then(|| attempt.clone()))
}
