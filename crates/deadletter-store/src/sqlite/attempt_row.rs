//! Attempts and their answers as rows, and back.

use super::{
    columns::{Binder, Columns},
    statements::Statements,
};
use deadletter_core::{
    AccountName, Answer, Attempt, AttemptToken, Fact, Learned, Task, TaskId, UpstreamId,
};
use rusqlite::{Connection, OptionalExtension, Result, Row};
use secrecy::{ExposeSecret, SecretString};

/// The columns of an attempt, as [`read`] expects them.
pub(super) const COLUMNS: &str = "task, token, n, account, intent_at, worker, upstream_id, \
     accepted_at, resumed_at, abandoned_at, closed_at, verdict, cause, class, detail, permit, \
     permit_until";

const INSERT: &str = "INSERT INTO attempts (task, token, n, account, intent_at, worker, \
     upstream_id, accepted_at, resumed_at, abandoned_at, closed_at, verdict, cause, class, \
     detail, permit, permit_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

pub(super) const UPDATE: &str = "UPDATE attempts SET worker = ?, upstream_id = ?, accepted_at = ?, \
     resumed_at = ?, abandoned_at = ?, closed_at = ?, verdict = ?, cause = ?, class = ?, \
     detail = ?, permit = ?, permit_until = ? WHERE task = ? AND token = ?";

/// What upstream's acceptance changes.
const NAME: &str =
    "UPDATE attempts SET upstream_id = ?, accepted_at = ? WHERE task = ? AND token = ?";

/// What a verdict changes.
const END: &str = "UPDATE attempts SET closed_at = ?, verdict = ?, cause = ?, class = ?, \
     detail = ?, permit = ?, permit_until = ? WHERE task = ? AND token = ?";

pub(super) const GET: &str = "SELECT task, token, n, account, intent_at, worker, upstream_id, accepted_at, \
     resumed_at, abandoned_at, closed_at, verdict, cause, class, detail, permit, permit_until \
     FROM attempts WHERE task = ? AND token = ?";

/// All attempts of a task, in no order.
pub(super) const OF_TASK: &str = "SELECT task, token, n, account, intent_at, worker, \
     upstream_id, accepted_at, resumed_at, abandoned_at, closed_at, verdict, cause, class, \
     detail, permit, permit_until FROM attempts WHERE task = ?";

pub(super) const BEARERS: &str = "SELECT count(*) FROM attempts INDEXED BY attempts_upstream \
     WHERE upstream_id IS NOT NULL AND account = ? AND upstream_id = ?";

/// Whether an open attempt of another task has the id that an attempt is given (or has already):
/// `Attempt::keeps_its_id_from`, over the rows that carry the id.
pub(super) const ID_TAKEN: &str = "SELECT 1 FROM attempts AS mine \
     CROSS JOIN attempts AS other INDEXED BY attempts_upstream \
     WHERE mine.task = ? AND mine.token = ? AND other.account = mine.account \
     AND other.upstream_id IS NOT NULL AND other.upstream_id = coalesce(?, mine.upstream_id) \
     AND other.closed_at IS NULL AND other.task <> mine.task LIMIT 1";

/// Stores a new attempt: the intent.
pub(super) fn insert(statements: &Statements<'_>, attempt: &Attempt) -> Result<()> {
    let mut statement = statements.get(INSERT)?;
    let mut binder = Binder::of(&mut statement);
    binder.put(attempt.task.as_i64())?;
    binder.put(attempt.token.get())?;
    binder.put(attempt.n)?;
    binder.put(attempt.account.as_str())?;
    binder.put(attempt.intent_at.0)?;
    bind_mutable(&mut binder, attempt)?;
    binder.execute().map(drop)
}

/// Writes what has been learned of an attempt: the columns that differ, since an update costs by
/// the indexes that know its columns.
pub(super) fn update(statements: &Statements<'_>, before: &Attempt, after: &Attempt) -> Result<()> {
    let named =
        (&before.upstream_id, before.accepted_at) != (&after.upstream_id, after.accepted_at);
    let moved = (&before.worker, before.resumed_at, before.abandoned_at)
        != (&after.worker, after.resumed_at, after.abandoned_at);
    let ended = has_other_end(before, after);
    let mut statement = statements.get(match (named, moved, ended) {
        (true, false, false) => NAME,
        (false, false, true) => END,
        _ => UPDATE,
    })?;
    let mut binder = Binder::of(&mut statement);
    match (named, moved, ended) {
        (true, false, false) => bind_name(&mut binder, after)?,
        (false, false, true) => bind_end(&mut binder, after)?,
        _ => bind_mutable(&mut binder, after)?,
    }
    binder.put(after.task.as_i64())?;
    binder.put(after.token.get())?;
    binder.execute().map(drop)
}

fn has_other_end(before: &Attempt, after: &Attempt) -> bool {
    let end = |it: &Attempt| (it.closed_at, it.verdict, it.class, it.permit, it.permit_until);
    end(before) != end(after) || before.cause != after.cause || before.detail != after.detail
}

fn bind_mutable(binder: &mut Binder<'_, '_>, attempt: &Attempt) -> Result<()> {
    binder.put(attempt.worker.as_ref().map(|worker| worker.as_str()))?;
    bind_name(binder, attempt)?;
    binder.instant(attempt.resumed_at)?;
    binder.instant(attempt.abandoned_at)?;
    bind_end(binder, attempt)
}

fn bind_name(binder: &mut Binder<'_, '_>, attempt: &Attempt) -> Result<()> {
    binder.put(attempt.upstream_id.as_ref().map(UpstreamId::as_str))?;
    binder.instant(attempt.accepted_at)
}

fn bind_end(binder: &mut Binder<'_, '_>, attempt: &Attempt) -> Result<()> {
    binder.instant(attempt.closed_at)?;
    binder.put(attempt.verdict.map(|verdict| verdict.label()))?;
    binder.put(attempt.cause.as_ref().map(|cause| cause.as_str()))?;
    binder.put(attempt.class.map(|class| class.label()))?;
    binder.put(&attempt.detail)?;
    binder.put(attempt.permit)?;
    binder.instant(attempt.permit_until)
}

/// One attempt of a task.
pub(super) fn get(
    statements: &Statements<'_>,
    task: TaskId,
    token: AttemptToken,
) -> Result<Option<Attempt>> {
    get_raw(statements, task.as_i64(), token.get())
}

/// The same, by the numbers that stand in the columns.
pub(super) fn get_raw(
    statements: &Statements<'_>,
    task: i64,
    token: i64,
) -> Result<Option<Attempt>> {
    statements.get(GET)?.query_row((task, token), read).optional()
}

/// Reads an attempt from a row of [`COLUMNS`].
pub(super) fn read(row: &Row<'_>) -> Result<Attempt> {
    let columns = &mut Columns::of(row);
    Ok(Attempt {
        task: columns.number()?,
        token: columns.token()?,
        n: columns.take()?,
        account: columns.text()?,
        intent_at: columns.instant()?,
        worker: columns.text_opt()?,
        upstream_id: columns.text_opt()?,
        accepted_at: columns.instant_opt()?,
        resumed_at: columns.instant_opt()?,
        abandoned_at: columns.instant_opt()?,
        closed_at: columns.instant_opt()?,
        verdict: columns.text_opt()?,
        cause: columns.text_opt()?,
        class: columns.text_opt()?,
        detail: columns.take()?,
        permit: columns.take()?,
        permit_until: columns.instant_opt()?,
    })
}

/// Keeps an attempt's answer; the first one stays.
pub(super) fn insert_answer(statements: &Statements<'_>, answer: &Answer) -> Result<()> {
    const SQL: &str = "INSERT OR IGNORE INTO answers (task, token, dialect, raw, text, \
         user_agent, solved_at, expires_at, read_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let mut statement = statements.get(SQL)?;
    let mut binder = Binder::of(&mut statement);
    binder.put(answer.task.as_i64())?;
    binder.put(answer.token.get())?;
    binder.put(&answer.dialect)?;
    binder.put(answer.raw.expose_secret())?;
    binder.put(answer.text.expose_secret())?;
    binder.put(&answer.user_agent)?;
    binder.put(answer.solved_at.0)?;
    binder.instant(answer.expires_at)?;
    binder.put(answer.read_at.0)?;
    binder.execute().map(drop)
}

/// Every answer of a task, by token.
pub(super) fn get_answers(conn: &Connection, task: TaskId) -> Result<Vec<Answer>> {
    const SQL: &str = "SELECT task, token, dialect, raw, text, user_agent, solved_at, expires_at, \
         read_at FROM answers WHERE task = ? ORDER BY token";
    conn.prepare_cached(SQL)?.query_map([task.as_i64()], read_answer)?.collect()
}

/// The answer that won; where none did, one that is kept.
pub(super) fn get_answer(conn: &Connection, task: TaskId) -> Result<Option<Answer>> {
    const SQL: &str = "SELECT a.task, a.token, a.dialect, a.raw, a.text, a.user_agent, \
         a.solved_at, a.expires_at, a.read_at FROM answers a LEFT JOIN tasks t ON t.id = a.task \
         WHERE a.task = ? AND (t.answered_by IS NULL OR t.answered_by = a.token) \
         ORDER BY a.token LIMIT 1";
    conn.prepare_cached(SQL)?.query_row([task.as_i64()], read_answer).optional()
}

/// The answer of the attempt that won, for a row at hand.
pub(super) fn get_winner(conn: &Connection, task: &Task) -> Result<Option<Answer>> {
    const SQL: &str = "SELECT task, token, dialect, raw, text, user_agent, solved_at, expires_at, \
         read_at FROM answers WHERE task = ? AND token = ?";
    let asked = (task.id.as_i64(), task.answered_by.map(AttemptToken::get));
    conn.prepare_cached(SQL)?.query_row(asked, read_answer).optional()
}

fn read_answer(row: &Row<'_>) -> Result<Answer> {
    let columns = &mut Columns::of(row);
    Ok(Answer {
        task: columns.number()?,
        token: columns.token()?,
        dialect: columns.take()?,
        raw: SecretString::from(columns.take::<String>()?),
        text: SecretString::from(columns.take::<String>()?),
        user_agent: columns.take()?,
        solved_at: columns.instant()?,
        expires_at: columns.instant_opt()?,
        read_at: columns.instant()?,
    })
}

/// True where the fact would name two tasks' open attempts of an account alike.
pub(super) fn is_id_taken(statements: &Statements<'_>, fact: &Fact) -> Result<bool> {
    let named = match &fact.learned {
        Learned::Accepted(id) => Some(id.as_str()),
        _ => None,
    };
    let mine = (fact.task.as_i64(), fact.token.get(), named);
    statements.get(ID_TAKEN)?.exists(mine)
}

/// How many attempts of an account carry an upstream id.
pub(super) fn bearers(conn: &Connection, account: &AccountName, id: &UpstreamId) -> Result<u32> {
    conn.prepare_cached(BEARERS)?.query_row((account.as_str(), id.as_str()), |row| row.get(0))
}
