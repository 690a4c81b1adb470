//! Questions about tasks, most in one round trip.

use super::{
    answer,
    index::{self, Turn, attempt_of, unhex_id},
    row,
};
use crate::redis::{failure::Outcome, server::Call};
use deadletter_core::{
    AccountName, Answer, Attempt, Lane, Payload, StateKind, Task, TaskId, UnixMs, WorkerId,
};
use redis::Cmd;

/// Ready tasks whose due times are compared: where more are due already, the answer is the due time
/// of one of them.
const READY: isize = 64;

/// Rows, in the order asked for.
pub(super) async fn get(call: &Call, ids: &[TaskId]) -> Outcome<Vec<Option<Task>>> {
    row::rows(call, ids).await
}

/// What a task asks for; nothing where that cannot be read.
pub(super) async fn payload(call: &Call, id: TaskId) -> Outcome<Option<Payload>> {
    let body: Option<String> = call.ask_one(Cmd::get(call.keys().request(id))).await?;
    Ok(body.and_then(|body| Payload::from_stored(&body).ok()))
}

/// Its attempts, by number.
pub(super) async fn history(call: &Call, id: TaskId) -> Outcome<Vec<Attempt>> {
    let mut loaded = row::load(call, &[id].into()).await?;
    let mut attempts = loaded.remove(&id).map(|task| task.attempts.clone()).unwrap_or_default();
    attempts.sort_by_key(|attempt| (attempt.n, attempt.token));
    Ok(attempts)
}

/// Every answer that is kept, by token, and which of them won.
async fn kept(call: &Call, id: TaskId) -> Outcome<(Vec<Answer>, Option<Task>)> {
    let keys = call.keys();
    let asked = [row::question(keys, [id]), Cmd::get(keys.answers(id))];
    let (rows, answers): (Vec<Option<String>>, Option<String>) = call.ask(asked).await?;
    let mut answers = answer::read(&answers.unwrap_or_default())?;
    answers.sort_by_key(|answer| answer.token);
    let row = rows.into_iter().flatten().next();
    Ok((answers, row.map(|row| row::row(&row)).transpose()?))
}

/// The answer that won; where none did, one that is kept.
pub(super) async fn answer(call: &Call, id: TaskId) -> Outcome<Option<Answer>> {
    let (answers, task) = kept(call, id).await?;
    let winner = task.and_then(|task| task.answered_by);
    Ok(answers.into_iter().find(|answer| winner.is_none_or(|token| token == answer.token)))
}

/// A row with its answer where it is solved: an answer is written with its row, and stays.
pub(super) async fn told(call: &Call, id: TaskId) -> Outcome<Option<(Task, Option<Answer>)>> {
    let (answers, task) = kept(call, id).await?;
    let Some(task) = task else { return Ok(None) };
    if task.kind() != StateKind::Solved {
        return Ok(Some((task, None)));
    }
    // One that was purged between the two questions is gone.
    let answer = answers.into_iter().find(|answer| Some(answer.token) == task.answered_by);
    Ok(answer.map(|answer| (task, Some(answer))))
}

/// Every answer that is kept.
pub(super) async fn answers(call: &Call, id: TaskId) -> Outcome<Vec<Answer>> {
    Ok(kept(call, id).await?.0)
}

/// Queued tasks whose deadline has passed, oldest deadline first.
pub(super) async fn overdue(
    call: &Call,
    account: &AccountName,
    now: UnixMs,
    limit: u32,
) -> Outcome<Vec<Task>> {
    let limit = isize::try_from(limit).unwrap_or(isize::MAX);
    let passed = call.keys().deadlines(account);
    let passed = Cmd::zrangebyscore_limit(passed, "-inf", now.0, 0, limit);
    let passed: Vec<String> = call.ask_one(passed).await?;
    let ids: Vec<TaskId> = passed.iter().filter_map(|member| unhex_id(member)).collect();
    // One that was claimed between the two questions is not queued any more.
    let tasks = get(call, &ids).await?.into_iter().flatten();
    Ok(tasks.filter(|task| task.due_at().is_some()).collect())
}

/// What a worker polls that no task waits for, behind `after`.
pub(super) async fn abandoned(
    call: &Call,
    worker: &WorkerId,
    account: &AccountName,
    after: Option<&Attempt>,
    limit: u32,
) -> Outcome<Vec<Attempt>> {
    let [first, end] = index::range_of(&index::head_of(worker.as_str()));
    let behind = after.map(|last| format!("({}", index::abandoned_member(Some(worker), last)));
    let limit = isize::try_from(limit).unwrap_or(isize::MAX);
    let set = call.keys().abandoned(account);
    let page = Cmd::zrangebylex_limit(set, behind.unwrap_or(first), end, 0, limit);
    let page: Vec<String> = call.ask_one(page).await?;
    let attempts: Vec<_> = page.iter().filter_map(|member| attempt_of(member)).collect();
    let loaded = row::load(call, &attempts.iter().map(|(id, _)| *id).collect()).await?;
    let attempts = attempts.iter().filter_map(|(id, token)| {
        loaded.get(id)?.attempts.iter().find(|attempt| attempt.token == *token).cloned()
    });
    Ok(attempts.collect())
}

/// When the next task that may be claimed is due.
pub(super) async fn next_due(call: &Call, account: &AccountName) -> Outcome<Option<UnixMs>> {
    let keys = call.keys();
    let questions = Lane::ALL.iter().flat_map(|lane| {
        let waiting = Cmd::zrange(keys.waiting(*lane, account), 0, 0);
        let ready = Cmd::zrangebylex_limit(keys.ready(*lane, account), "-", "+", 0, READY);
        [waiting, ready]
    });
    let found: Vec<Vec<String>> = call.ask(questions).await?;
    let turns = found.iter().flatten().filter_map(|member| Turn::read(member));
    Ok(turns.map(|turn| turn.due_at).min())
}
