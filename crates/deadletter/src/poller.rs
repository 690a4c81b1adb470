//! Asks for results: one heap of due times, not one sleeping future per task.
//!
//! An entry is an attempt with an upstream id. It stays until a verdict; where its task has moved
//! on, it is asked slowly until its hold time has passed, because it may still answer. Silence, an
//! open gate and a stopped account never end an entry: only upstream's readable word does.

use crate::{
    Result,
    account::Account,
    gate::Pass,
    guarded::guarded,
    provider::{PollError, Polled, Reply},
    shared::{Settled, Shared},
};
use deadletter_core::{
    AccountName, Answer, Attempt, Class, Happened, StateKind, Task, UnixMs, breaker::Phase,
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet};

/// Polls on the wire at once, per process.
const POLLS: usize = 128;
/// An abandoned id is asked this often: it costs a request, and seldom answers.
const ABANDONED_GAP_MS: i64 = 15_000;
/// After a poll that could not be asked or read, the next one of that id.
const UNREAD_GAP_MS: i64 = 5_000;
/// While the account is stopped or the gate closed, an id that is due is looked at again.
const BARRED_GAP_MS: i64 = 2_000;
/// Longest sleep of the loop, on the store's clock: wake-ups do the rest.
const IDLE_MS: i64 = 60_000;
/// How long a stopping engine waits for polls on the wire; an answer that is lost here is asked
/// for again by the next worker.
const GRACE: Duration = Duration::from_secs(5);

/// An attempt that is asked for.
#[derive(Debug)]
pub(crate) struct Entry {
    task: Task,
    attempt: Attempt,
    /// The last readable "not ready": an answer is younger than it.
    not_ready_at: Option<UnixMs>,
    /// Taken over from another worker, and not asked yet.
    pub(crate) recovered: bool,
}

/// The heap, and who waits for it.
#[derive(Default)]
pub(crate) struct Poller {
    /// Guards the heap; held for pushes and pops only.
    heap: Mutex<Heap>,
    wake: Notify,
}

#[derive(Default)]
struct Heap {
    due: BinaryHeap<Reverse<(UnixMs, u64)>>,
    entries: HashMap<u64, Box<Entry>>,
    next: u64,
    /// Entries per account, those that are being asked for at this moment among them.
    live: HashMap<AccountName, usize>,
}

impl Entry {
    pub(crate) const fn new(task: Task, attempt: Attempt) -> Self {
        Self { task, attempt, not_ready_at: None, recovered: false }
    }

    /// An attempt for which its task waits again.
    pub(crate) const fn resumed(task: Task, mut attempt: Attempt, now: UnixMs) -> Self {
        attempt.resumed_at = Some(now);
        attempt.abandoned_at = None;
        attempt.permit_until = None;
        Self::new(task, attempt)
    }

    /// True while the task waits for this attempt.
    fn is_current(&self) -> bool {
        self.task.kind() == StateKind::Polling && self.task.attempt == Some(self.attempt.token)
    }

    /// When upstream took the job.
    fn accepted_at(&self) -> UnixMs {
        self.attempt.accepted_at.unwrap_or(self.attempt.intent_at)
    }

    /// Since when its task has been waiting for it.
    fn awaited_since(&self) -> UnixMs {
        self.attempt.resumed_at.unwrap_or_else(|| self.accepted_at())
    }
}

impl Poller {
    fn heap(&self) -> MutexGuard<'_, Heap> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, entry: Entry, due_at: UnixMs) {
        let mut heap = self.heap();
        heap.next += 1;
        let key = heap.next;
        *heap.live.entry(entry.task.account.clone()).or_default() += 1;
        heap.due.push(Reverse((due_at, key)));
        heap.entries.insert(key, Box::new(entry));
        drop(heap);
        self.wake.notify_one();
    }

    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Forgets everything: this worker was declared dead, and another one has it all.
    pub(crate) fn clear(&self) {
        *self.heap() = Heap::default();
    }

    /// True where the account has an id that can be asked for.
    pub(crate) fn has_live(&self, account: &AccountName) -> bool {
        self.heap().live.get(account).is_some_and(|n| *n > 0)
    }

    /// Ids that are being asked for.
    pub(crate) fn len(&self) -> usize {
        self.heap().live.values().sum()
    }

    fn pop_due(&self, now: UnixMs) -> Option<Box<Entry>> {
        let mut heap = self.heap();
        let Reverse((due_at, key)) = *heap.due.peek()?;
        if due_at > now {
            return None;
        }
        heap.due.pop();
        heap.entries.remove(&key)
    }

    /// An entry that was popped has been looked at; where there is more to ask it was added again.
    fn looked_at(&self, account: &AccountName) {
        if let Some(live) = self.heap().live.get_mut(account) {
            *live = live.saturating_sub(1);
        }
    }

    fn next_due(&self) -> Option<UnixMs> {
        self.heap().due.peek().map(|Reverse((due_at, _))| *due_at)
    }
}

/// Runs until the engine stops; then waits shortly for what is on the wire.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut polls = JoinSet::new();
    loop {
        let now = shared.now();
        while polls.len() < POLLS
            && let Some(entry) = shared.poller.pop_due(now)
        {
            // The set is emptied below before `run` ends.
            polls.spawn(ask(Arc::clone(&shared), entry));
        }
        let wait_ms = shared.poller.next_due().map_or(IDLE_MS, |due| due.since(now).max(0));
        tokio::select! {
            () = shared.stopped() => break,
            () = shared.poller.wake.notified() => {}
            () = shared.sleep_ms(wait_ms), if polls.len() < POLLS => {}
            Some(_) = polls.join_next() => {}
        }
    }
    let finish = async { while polls.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finish).await.is_err() {
        tracing::info!(left = polls.len(), "polls were still on the wire; they are asked again");
    }
}

/// One look at an entry: asks if it may, and puts it back if there is more to ask.
async fn ask(shared: Arc<Shared>, mut entry: Box<Entry>) {
    let id = entry.task.id;
    let recovered = std::mem::take(&mut entry.recovered);
    let name = entry.task.account.clone();
    let account = shared.accounts.get(&name).cloned();
    if let Some(account) = account
        && let Err(error) = look(&shared, &account, *entry).await
    {
        tracing::error!(task = %id, %error, "could not write down what came of a poll");
    }
    shared.poller.looked_at(&name);
    if recovered {
        shared.recovered_one();
    }
}

async fn look(shared: &Arc<Shared>, account: &Arc<Account>, mut entry: Entry) -> Result<()> {
    let now = shared.now();
    if !entry.is_current() && entry.attempt.permit_until.is_none_or(|until| until <= now) {
        return Ok(());
    }
    if entry.is_current() && entry.task.deadline_at.is_some_and(|deadline| deadline <= now) {
        let happened = Happened::DeadlinePassed;
        let settled = tell(shared, account, &entry, &happened, &Pass::Bystander).await?;
        if !take_over_row(shared, account, &mut entry, settled) {
            return Ok(());
        }
    }
    let Some(pass) = pass(shared, account, now).await? else {
        shared.poller.add(entry, now.plus(BARRED_GAP_MS));
        return Ok(());
    };
    let Some(upstream_id) = entry.attempt.upstream_id.clone() else { return Ok(()) };
    let asked_at = shared.now();
    let happened = match guarded(account.provider.poll(&upstream_id)).await {
        Err(message) => Happened::Panicked(message),
        Ok(Ok(Polled::NotReady)) => {
            entry.not_ready_at = Some(asked_at);
            let elapsed_ms = account.elapsed_ms(entry.awaited_since(), asked_at);
            Happened::NotReady { elapsed_ms }
        }
        Ok(Ok(Polled::Answer(reply))) => {
            Happened::Answered(Box::new(answer(shared, account, &entry, reply)))
        }
        Ok(Err(PollError::Failed(failed))) => Happened::Failed(failed.0),
        Ok(Err(PollError::CouldNotAsk(error))) => Happened::Unread(error.failure),
    };
    shared.crash.pass("after_answer");
    let settled = tell(shared, account, &entry, &happened, &pass).await?;
    if take_over_row(shared, account, &mut entry, settled) && !is_verdict(&happened) {
        let due_at = due_after(shared, account, &entry, &happened);
        shared.poller.add(entry, due_at);
    }
    Ok(())
}

/// Leave to ask: the gate's, or, while it is closed, one poll per probe gap.
async fn pass(shared: &Shared, account: &Account, now: UnixMs) -> Result<Option<Pass>> {
    if account.is_stopped() {
        return Ok(None);
    }
    if let Some(pass) = account.gate.pass(now) {
        return Ok(Some(pass));
    }
    if account.gate.phase(now) == Phase::HalfOpen {
        let who = shared.worker();
        let granted = account.gate.probe(shared.store.as_ref(), who.as_str(), now).await?;
        return Ok(granted.map(|(pass, transition)| {
            if let Some(transition) = transition {
                let account = account.name.clone();
                shared.notify(crate::Notice::Breaker { account, transition });
            }
            pass
        }));
    }
    Ok(account.take_open_poll(now).then_some(Pass::Bystander))
}

async fn tell(
    shared: &Shared,
    account: &Arc<Account>,
    entry: &Entry,
    happened: &Happened,
    pass: &Pass,
) -> Result<Settled> {
    shared.report(account, entry.task.clone(), Some(&entry.attempt), happened, pass).await
}

/// Takes in the row as it stands now; false where nobody needs the entry any more.
fn take_over_row(shared: &Shared, account: &Account, entry: &mut Entry, settled: Settled) -> bool {
    let was_current = entry.is_current();
    let Some(task) = settled.task else { return false };
    entry.task = task;
    if was_current && !entry.is_current() {
        let hold_ms = account.terms(&entry.task.dimensions.method).hold_ms;
        entry.attempt.abandoned_at = Some(shared.now());
        entry.attempt.permit_until = Some(shared.now().plus(hold_ms));
    }
    true
}

/// True where upstream has said its last word on the attempt.
const fn is_verdict(happened: &Happened) -> bool {
    match happened {
        Happened::Answered(_) => true,
        Happened::Failed(failure) => {
            !matches!(failure.class, Class::Capacity | Class::Account | Class::Transient)
        }
        _ => false,
    }
}

fn due_after(shared: &Shared, account: &Account, entry: &Entry, happened: &Happened) -> UnixMs {
    let now = shared.now();
    let terms = account.terms(&entry.task.dimensions.method);
    match happened {
        Happened::Failed(failure) => {
            now.plus(failure.retry_after_ms.unwrap_or(0).max(terms.poll_gap_ms * 2))
        }
        Happened::Unread(failure) => {
            let jitter_ms = (shared.random() * 1_000.0) as i64;
            now.plus(failure.retry_after_ms.unwrap_or(0).max(UNREAD_GAP_MS) + jitter_ms)
        }
        _ if !entry.is_current() => now.plus(ABANDONED_GAP_MS),
        _ => {
            let since = entry.awaited_since();
            let elapsed_ms = now.since(since);
            let next_ms = account.next_poll_ms(&entry.task.dimensions.method, elapsed_ms);
            // Ask at the time-out too: only a "not ready" after it may abandon the id.
            let is_before = elapsed_ms < terms.timeout_ms && terms.timeout_ms < next_ms;
            since.plus(if is_before { terms.timeout_ms } else { next_ms })
        }
    }
}

fn answer(shared: &Shared, account: &Account, entry: &Entry, reply: Reply) -> Answer {
    let read_at = shared.now();
    let accepted_at = entry.accepted_at();
    let solved_at = entry.not_ready_at.unwrap_or(accepted_at);
    let method = &entry.task.dimensions.method;
    account.solved_between(method, solved_at.since(accepted_at), read_at.since(accepted_at));
    let fresh_ms = account.terms(method).fresh_ms;
    Answer {
        task: entry.task.id,
        token: entry.attempt.token,
        dialect: reply.dialect.to_owned(),
        raw: reply.raw,
        text: reply.text,
        user_agent: reply.user_agent,
        solved_at,
        expires_at: fresh_ms.map(|ms| solved_at.plus(ms)),
        read_at,
    }
}
