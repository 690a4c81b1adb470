//! Passes reports on upstream, and writes down what it said.
//!
//! Before a report is sent, its next try is written down: so no two processes send it at a time, and
//! one that died over it is followed by another. Where upstream has answered, whatever it said, the
//! report is never sent again; a process that dies between the answer and its record leaves one more
//! try, which upstream answers as a duplicate.

use crate::{
    Error, Result,
    account::Account,
    document,
    guarded::guarded,
    patience::{Patience, may_pass},
    provider::{JobFailed, PollError},
    report::{QUEUE, Report, ReportState, Waiting, key},
    shared::Shared,
};
use deadletter_core::{Class, TaskId, breaker::Phase};
use std::{sync::Arc, time::Duration};

/// Other processes' reports are noticed within this time.
const LOOK: Duration = Duration::from_secs(5);
/// Tries of one report: with the waits between them more than an hour.
const TRIES: u32 = 8;
/// The first wait after a try, far above what a request may take; it doubles up to the longest.
const WAIT_MS: i64 = 30_000;
const LONGEST_WAIT_MS: i64 = 3_600_000;
/// A place in the queue whose report is not there after this time never gets one.
const LOST_MS: i64 = 600_000;
/// What upstream says to a report that it takes.
const RECORDED: &str = "OK_REPORT_RECORDED";

/// What became of a place in the queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is over, and leaves the queue.
    Over,
    /// Its time will come.
    Waits,
    /// Upstream did not answer: the others wait for the next look.
    Silence,
}

/// Runs until the engine stops; a report that is on the wire then is ended.
pub(crate) async fn run(shared: Arc<Shared>) {
    while !shared.is_stopping() {
        if let Err(error) = look(&shared).await {
            shared.health.could_not("pass reports on", &error);
        }
        tokio::select! {
            () = shared.stopped() => {}
            () = shared.reports_written.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn look(shared: &Shared) -> Result<()> {
    let store = shared.store.as_ref();
    let queue = document::read::<Vec<Waiting>>(store, QUEUE).await?;
    let mut over: Vec<TaskId> = Vec::new();
    for waiting in queue.into_iter().flat_map(|(_, queue)| queue) {
        if shared.is_stopping() {
            break;
        }
        match step(shared, waiting).await? {
            Step::Over => over.push(waiting.task),
            Step::Waits => {}
            Step::Silence => break,
        }
    }
    if !over.is_empty() {
        let leave = |queue: &mut Vec<Waiting>| queue.retain(|it| !over.contains(&it.task));
        document::update(store, QUEUE, &Vec::new(), leave).await?;
    }
    Ok(())
}

async fn step(shared: &Shared, waiting: Waiting) -> Result<Step> {
    let (store, now, key) = (shared.store.as_ref(), shared.now(), key(waiting.task));
    let Some((_, report)) = document::read::<Report>(store, &key).await? else {
        let is_lost = now.since(waiting.at) > LOST_MS;
        return Ok(if is_lost { Step::Over } else { Step::Waits });
    };
    if report.state != ReportState::Waiting {
        return Ok(Step::Over);
    }
    let account = shared.accounts.get(&report.account).filter(|account| {
        !account.is_stopped() && account.gate.phase(now) != Phase::Open && report.next_at <= now
    });
    let Some(account) = account else { return Ok(Step::Waits) };
    let begin = |report: &mut Report| {
        let is_ours = report.state == ReportState::Waiting && report.next_at <= now;
        if is_ours {
            report.tries += 1;
            let doubled = WAIT_MS.saturating_mul(1 << (report.tries - 1).min(16));
            report.next_at = now.plus(doubled.min(LONGEST_WAIT_MS));
        }
        is_ours
    };
    let begun = document::update(store, &key, &report, begin).await?;
    if !begun.answer {
        return Ok(Step::Waits);
    }
    let (state, said) = tell(account, &begun.value).await;
    write_down(shared, &key, &begun.value, state, said).await?;
    Ok(if state == ReportState::Waiting { Step::Silence } else { Step::Over })
}

/// Sends it once: how far it has come, and upstream's word.
async fn tell(account: &Account, report: &Report) -> (ReportState, String) {
    let told =
        guarded(account.provider.report(&report.upstream_id, &report.method, report.is_good)).await;
    let may_be_told_later =
        |class| matches!(class, Class::Transient | Class::Capacity | Class::Account);
    let said = match told {
        Ok(Ok(())) => return (ReportState::Answered, RECORDED.to_owned()),
        Ok(Err(PollError::Failed(JobFailed(no)))) if !may_be_told_later(no.class) => {
            return (ReportState::Answered, no.cause.to_string());
        }
        Ok(Err(PollError::Failed(JobFailed(failure)))) => failure.cause.to_string(),
        Ok(Err(PollError::CouldNotAsk(could_not))) => could_not.failure.cause.to_string(),
        Err(_) => {
            tracing::error!(account = %account.name, "a provider panicked at a report");
            "PANIC".to_owned()
        }
    };
    let is_last = report.tries >= TRIES;
    (if is_last { ReportState::GivenUp } else { ReportState::Waiting }, said)
}

/// An answer that is not written down would be asked for again: the store is waited for.
async fn write_down(
    shared: &Shared,
    key: &str,
    report: &Report,
    state: ReportState,
    said: String,
) -> Result<()> {
    let mut patience = Patience::new();
    loop {
        let end = |report: &mut Report| {
            report.state = state;
            report.said = Some(said.clone());
        };
        match document::update(shared.store.as_ref(), key, report, end).await {
            Err(Error::Store(error)) if may_pass(&error) && !shared.is_stopping() => {
                patience.wait().await;
            }
            written => return written.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AccountConfig, Deadletter, Job, Reported,
        provider::Sent,
        provider::scripted::{ScriptedProvider, failed, line_failed},
        report_on,
    };
    use deadletter_core::{AccountName, UnixMs};
    use deadletter_store::{ManualClock, MemoryStore, Store};

    /// Reports are over, or nobody hears of one in this time.
    const HOURS: u32 = 20_000;

    async fn engine(store: &Arc<dyn Store>, provider: &Arc<ScriptedProvider>) -> Deadletter {
        let account =
            AccountConfig::new(AccountName::new("main").unwrap(), Arc::clone(provider) as _);
        let builder = Deadletter::builder().store(Arc::clone(store)).account(account);
        builder.start().await.unwrap()
    }

    /// Moves both clocks until the report is over.
    async fn end_of(store: &dyn Store, clock: &ManualClock, task: TaskId) -> Report {
        for _ in 0..HOURS {
            let report = report_on(store, task).await.unwrap().expect("recorded");
            if report.state != ReportState::Waiting {
                return report;
            }
            // tidy: allow sleep, because time is paused: it moves two clocks together.
            tokio::time::sleep(Duration::from_secs(1)).await;
            clock.advance(1_000);
        }
        panic!("no end");
    }

    async fn solved(engine: &Deadletter, clock: &Arc<ManualClock>) -> TaskId {
        let ticking = Arc::clone(clock);
        let ticking = tokio::spawn(async move {
            loop {
                // tidy: allow sleep, because time is paused: it moves two clocks together.
                tokio::time::sleep(Duration::from_millis(500)).await;
                ticking.advance(500);
            }
        });
        let handle = engine.submit(Job::new("image")).await.unwrap();
        handle.wait().await.unwrap();
        ticking.abort();
        handle.id
    }

    fn at_hand() -> (Arc<ManualClock>, Arc<dyn Store>) {
        let clock = Arc::new(ManualClock::at(UnixMs(1_000)));
        (Arc::clone(&clock), Arc::new(MemoryStore::new(clock)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_that_upstream_did_not_hear_is_told_by_the_next_process_and_never_again() {
        let (clock, store) = at_hand();
        let deaf = Arc::new(
            ScriptedProvider::default().on_report(|_| async { Err(line_failed(Sent::Maybe)) }),
        );
        let first = engine(&store, &deaf).await;
        let task = solved(&first, &clock).await;
        assert_eq!(first.desk().report(task, false).await.unwrap(), Reported::Recorded);
        assert_eq!(first.desk().report(task, true).await.unwrap(), Reported::Already);
        deaf.reports().wait_for(|n| *n == 1).await.unwrap();
        first.stop().await.unwrap();
        let hearing = Arc::new(ScriptedProvider::default());
        let second = engine(&store, &hearing).await;
        let report = end_of(store.as_ref(), &clock, task).await;
        assert_eq!((report.state, report.tries, report.is_good), (ReportState::Answered, 2, false));
        assert_eq!(report.said.as_deref(), Some(RECORDED));
        second.stop().await.unwrap();
        let third = engine(&store, &hearing).await;
        // Two looks of the third.
        // tidy: allow sleep, because time is paused.
        tokio::time::sleep(LOOK * 2).await;
        assert_eq!(*hearing.reports().borrow(), 1);
        let queue = document::read::<Vec<Waiting>>(store.as_ref(), QUEUE).await.unwrap();
        assert!(queue.is_some_and(|(_, queue)| queue.is_empty()));
        third.stop().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_upstream_refuses_is_answered_and_what_it_never_hears_is_given_up() {
        let (clock, store) = at_hand();
        let provider = Arc::new(ScriptedProvider::default().on_report(|call| async move {
            assert_eq!(call.method, "image");
            match call.id.as_str() {
                "1" => Err(failed("ERROR_DUPLICATE_REPORT", Class::Unknown)),
                _ => Err(failed("ERROR_SERVER_ERROR", Class::Transient)),
            }
        }));
        let engine = engine(&store, &provider).await;
        for (state, tries, said) in [
            (ReportState::Answered, 1, "ERROR_DUPLICATE_REPORT"),
            (ReportState::GivenUp, TRIES, "ERROR_SERVER_ERROR"),
        ] {
            let task = solved(&engine, &clock).await;
            assert_eq!(engine.desk().report(task, true).await.unwrap(), Reported::Recorded);
            let report = end_of(store.as_ref(), &clock, task).await;
            assert_eq!((report.state, report.tries), (state, tries));
            assert_eq!(report.said.as_deref(), Some(said));
        }
        assert_eq!(*provider.reports().borrow(), u64::from(1 + TRIES));
        engine.stop().await.unwrap();
    }
}
