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
    store::Store,
};
use serde_json::json;
use std::cmp::Reverse;

/// Tasks or operations looked at in one go.
const PAGE: u32 = 500;
/// Beginning of the names of their documents.
const DOCUMENTS: &str = "operation/";
/// Paused operations that are named.
const NAMED: usize = 5;

/// True where it is to go on, by somebody who was told what is left of it.
pub(super) async fn is_confirmed(
    app: &App,
    engine: &Deadletter,
    id: &OperationId,
    args: &Args,
) -> Result<bool> {
    let found = engine.desk().operation(id).await.map_err(work::of_engine)?;
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
    Ok(args.yes || confirmed(app, &format!("let {id} go on?"))?)
}

/// Lets it go on; answers what had been spent on each of its tasks that are left.
pub(super) async fn let_go_on(
    app: &App,
    engine: &Deadletter,
    id: &OperationId,
    args: &Args,
) -> Result<Before> {
    let before = left(engine, id).await?;
    let why = args.reason.as_deref();
    if !engine.desk().resume_operation(id, &who(app), why).await.map_err(work::of_engine)? {
        return Err(not_paused(engine, id).await?);
    }
    Ok(before)
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
    let paused = paused(engine.store()).await?;
    let fault = Fault::failed(format!("there is no paused operation {id}"));
    Ok(if paused.is_empty() {
        fault.why("none is paused").fix("`deadletter redrive --where FILTER` begins one")
    } else {
        fault.fix(format!("paused are, newest first: {}", paused.join(", ")))
    })
}

/// The newest that are paused. All are looked through, and what never ends was never written.
async fn paused(store: &dyn Store) -> Result<Vec<String>> {
    let (mut paused, mut after): (Vec<Operation>, String) = Default::default();
    loop {
        let page = store.documents_after(DOCUMENTS, &after, PAGE).await.map_err(shelf::fault)?;
        let operations = page.iter().filter_map(|it| serde_json::from_str(&it.body).ok());
        paused.extend(operations.filter(is_paused));
        paused.sort_by_key(|operation| Reverse(operation.created_at));
        paused.truncate(NAMED);
        let Some(last) = page.into_iter().next_back() else { break };
        after = last.key;
    }
    Ok(paused.iter().map(|operation| operation.id.to_string()).collect())
}
