//! `deadletter redrive --resume`: lets an operation go on that paused itself.

use super::{
    super::{act::who, follow::Before},
    Args, confirmed,
};
use crate::{
    app::App,
    fault::{Fault, Result},
    render, shelf, work,
};
use deadletter::{
    Deadletter, Operation, OperationState,
    core::{OperationId, TaskId},
};
use serde_json::json;

/// Tasks looked at in one go.
const PAGE: u32 = 500;
/// Operations looked through for those that are paused.
const OPERATIONS: u32 = 1_000;
/// Paused operations that are named.
const NAMED: usize = 5;

/// Lets it go on, once that is confirmed; answers what had been spent on each of its tasks that
/// are left. None where nothing was changed.
pub(super) async fn let_go_on(
    app: &App,
    engine: &Deadletter,
    id: &OperationId,
    args: &Args,
) -> Result<Option<Before>> {
    let desk = engine.desk();
    let found = desk.operation(id).await.map_err(work::of_engine)?;
    let Some((operation, [pending, ..])) = found.filter(|(it, _)| is_paused(it)) else {
        return Err(not_paused(engine, id).await?);
    };
    if app.out.is_table() {
        let tasks = render::counted(pending, "task", "tasks");
        let note = operation.note.unwrap_or_default();
        app.out.picture(&format!("{id} paused itself: {note}; {tasks} are left"))?;
    } else {
        app.out.json(&json!({"operation": id, "left": pending, "note": operation.note}))?;
    }
    if !args.yes && !confirmed(app, &format!("let {id} go on?"))? {
        return Ok(None);
    }
    let before = left(engine, id).await?;
    let why = args.reason.as_deref();
    if !desk.resume_operation(id, &who(app), why).await.map_err(work::of_engine)? {
        return Err(not_paused(engine, id).await?);
    }
    Ok(Some(before))
}

/// What it has not redriven, as far as it stands as it was frozen.
async fn left(engine: &Deadletter, id: &OperationId) -> Result<Before> {
    let (mut before, mut after): (Before, Option<TaskId>) = (Before::new(), None);
    loop {
        let items = engine.desk().frozen(id, after, PAGE).await.map_err(work::of_engine)?;
        let Some((last, _)) = items.last() else { return Ok(before) };
        after = Some(last.task);
        before.extend(
            items.into_iter().filter_map(|(_, task)| Some((task.as_ref()?.id, task?.counters))),
        );
    }
}

fn is_paused(operation: &Operation) -> bool {
    operation.state == OperationState::Paused
}

/// It cannot go on; those that can are named.
async fn not_paused(engine: &Deadletter, id: &OperationId) -> Result<Fault> {
    let documents =
        engine.store().documents("operation/", OPERATIONS).await.map_err(shelf::fault)?;
    let operations = documents.iter().filter_map(|it| serde_json::from_str(&it.body).ok());
    let paused: Vec<String> =
        operations.filter(is_paused).map(|operation| operation.id.to_string()).collect();
    let fault = Fault::failed(format!("there is no paused operation {id}"));
    Ok(if paused.is_empty() {
        fault.why("none is paused").fix("`deadletter redrive --where FILTER` begins one")
    } else {
        let named: Vec<_> = paused.iter().rev().take(NAMED).map(String::as_str).collect();
        fault.fix(format!("paused are, newest first: {}", named.join(", ")))
    })
}
