//! What the owner of an answer says of it, good or bad: kept with the task, and passed on upstream.
//!
//! A report is a document of its task, and is purged with it; those that upstream has not answered yet stand in one
//! more, [`QUEUE`], which is written first: where a process dies between the two, the queue names a
//! report that never was, and nothing that was recorded is forgotten.

use crate::{Desk, Error, Result, document};
use deadletter_core::{AccountName, StateKind, Task, TaskId, UnixMs, UpstreamId};
use deadletter_store::{Store, document_of};
use serde::{Deserialize, Serialize};

/// The document of what is to be passed on.
pub(crate) const QUEUE: &str = "reports";
/// Reports that wait at a time: upstream takes one in well under a second, and a day without it is
/// not worth more.
const WAITING: usize = 1_000;

/// What was said of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// True where the answer was good.
    pub is_good: bool,
    /// When it was said.
    pub at: UnixMs,
    /// Who gave the answer.
    pub account: AccountName,
    /// Upstream's name for it.
    pub upstream_id: UpstreamId,
    /// The method that it was solved by, as the task's dimensions have it.
    #[serde(default)]
    pub method: String,
    /// How far it has come.
    pub state: ReportState,
    /// How often it was sent, or may have been.
    pub tries: u32,
    /// Not sent again before.
    pub next_at: UnixMs,
    /// Upstream's word, or why there is none yet.
    pub said: Option<String>,
}

/// How far a report has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportState {
    /// Upstream has not answered yet.
    Waiting,
    /// Upstream has answered: it is never sent again.
    Answered,
    /// Upstream did not answer at any try.
    GivenUp,
}

impl ReportState {
    /// The word that is shown.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Answered => "answered",
            Self::GivenUp => "given_up",
        }
    }
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// It is recorded, and will be passed on.
    Recorded,
    /// There is one already.
    Already,
    /// The task has no answer of upstream's.
    Unsolved,
    /// Too many wait already.
    Full,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) task: TaskId,
    pub(crate) at: UnixMs,
}

/// Where the report on a task stands.
pub(crate) fn key(task: TaskId) -> String {
    document_of(task, "report")
}

/// The report on a task, if there is one.
pub async fn report_on(store: &dyn Store, task: TaskId) -> Result<Option<Report>> {
    Ok(document::read(store, &key(task)).await?.map(|(_, report)| report))
}

impl Desk {
    /// Records what is said of a task's answer: durably, when this returns; a process that works
    /// passes it on. Once per task: whoever comes second is told so.
    ///
    /// Errors: [`Error::NoSuchTask`], and the store's.
    pub async fn report(&self, id: TaskId, is_good: bool) -> Result<Reported> {
        let (store, now) = (self.store(), self.shared.now());
        let task = store.get(&[id]).await?.pop().flatten().ok_or(Error::NoSuchTask(id))?;
        let Some((account, upstream_id)) = self.answered(&task).await? else {
            return Ok(Reported::Unsolved);
        };
        if store.document(&key(id)).await?.is_some() {
            return Ok(Reported::Already);
        }
        let enter = |queue: &mut Vec<Waiting>| {
            let is_in = queue.iter().any(|waiting| waiting.task == id);
            let has_room = is_in || queue.len() < WAITING;
            if has_room && !is_in {
                queue.push(Waiting { task: id, at: now });
            }
            has_room
        };
        if !document::update(store, QUEUE, &Vec::new(), enter).await?.answer {
            return Ok(Reported::Full);
        }
        let (state, next_at) = (ReportState::Waiting, now);
        let report = Report {
            is_good,
            at: now,
            account,
            upstream_id,
            method: task.dimensions.method,
            state,
            tries: 0,
            next_at,
            said: None,
        };
        let body = serde_json::to_string(&report)
            .map_err(|source| Error::BadDocument { key: key(id), source })?;
        let is_first = store.put_document(&key(id), 0, &body).await?.is_some();
        self.shared.reports_written.notify_one();
        Ok(if is_first { Reported::Recorded } else { Reported::Already })
    }

    /// Who gave a task's answer, under which name.
    async fn answered(&self, task: &Task) -> Result<Option<(AccountName, UpstreamId)>> {
        if task.kind() != StateKind::Solved {
            return Ok(None);
        }
        let attempts = self.store().history(task.id).await?;
        let won = attempts.into_iter().find(|attempt| Some(attempt.token) == task.answered_by);
        Ok(won.and_then(|attempt| Some((attempt.account, attempt.upstream_id?))))
    }
}
