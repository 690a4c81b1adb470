//! What an act would do, shown before it is done.

use crate::{app::App, fault::Result, render};
use deadletter::{
    Act, ActPlan,
    core::{Filter, OperationId},
};
use serde_json::json;

/// What has been done to a task.
pub(super) const fn done_word(act: Act) -> &'static str {
    match act {
        Act::Redrive => "redriven",
        Act::Bury => "buried",
        Act::Exhume { .. } => "exhumed",
        Act::Cancel => "cancelled",
        Act::Hold => "held",
        Act::Release => "released",
        Act::Purge => "purged",
    }
}

/// How it is asked for by filter.
pub(super) const fn example(act: Act) -> &'static str {
    match act {
        Act::Redrive => "redrive --where cause:TIMEOUT --dry-run",
        Act::Bury => "bury --where 'class:permanent age:>7d' --dry-run",
        Act::Exhume { .. } => "exhume --where cause:TIMEOUT --submits 2 --dry-run",
        Act::Cancel => "cancel --where 'batch:nightly state:queued' --dry-run",
        Act::Hold => "hold --where 'host:shop.example state:queued' --dry-run",
        Act::Release => "release --where host:shop.example --dry-run",
        Act::Purge => "purge --where 'state:buried idle:>30d' --dry-run",
    }
}

pub(super) fn show(
    app: &App,
    act: Act,
    filter: &Filter,
    plan: &ActPlan,
    operation: Option<&OperationId>,
) -> Result<()> {
    if !app.out.is_table() {
        let samples: Vec<_> = plan.samples.iter().map(|task| task.id).collect();
        let by_state: serde_json::Map<_, _> = plan
            .by_state
            .iter()
            .map(|(state, n)| (state.label().to_owned(), (*n).into()))
            .collect();
        app.out.json(&json!({
            "act": act.label(),
            "filter": filter.to_string(),
            "operation": operation,
            "count": plan.count,
            "fit": plan.fit,
            "by_state": by_state,
            "by_cause": plan.by_cause,
            "without_room": plan.without_room,
            "samples": samples,
        }))?;
    } else {
        picture(app, act, filter, plan)?;
    }
    if plan.count == 0 {
        let states: Vec<_> = act.fits().iter().map(|state| state.label()).collect();
        app.out.say(&format!(
            "nothing matches; what can be {}: tasks that are {}",
            done_word(act),
            states.join(", ")
        ));
    }
    if plan.without_room > 0 {
        app.out.warn(&format!(
            "{} of them have spent every submit: a redrive skips them; --submits gives them more",
            plan.without_room
        ));
    }
    Ok(())
}

fn picture(app: &App, act: Act, filter: &Filter, plan: &ActPlan) -> Result<()> {
    let word = done_word(act);
    let (count, fit) = (plan.count, plan.fit);
    let tasks = render::counted(count, "task matches", "tasks match");
    app.out.picture(&format!("{tasks} {filter}; {fit} can be {word}"))?;
    if count == 0 {
        return Ok(());
    }
    let mut table = render::Table::new(&["state", "#tasks", "what happens"]);
    for (state, n) in &plan.by_state {
        let what = match plan.fit_by_state.get(state).copied().unwrap_or(0) {
            0 if act.fits().contains(state) => format!("skipped: cannot be {word} as they stand"),
            0 => format!("skipped: {state} cannot be {word}"),
            fit if fit < *n => format!("{fit} {word}, the others skipped"),
            _ => word.to_owned(),
        };
        table.row([state.label().to_owned(), n.to_string(), what]);
    }
    app.out.picture(&table.draw(app.out.width, app.out.glyphs))?;
    if fit == 0 {
        return Ok(());
    }
    let mut causes: Vec<_> = plan
        .by_cause
        .iter()
        .map(|(cause, n)| (cause.clone(), i64::try_from(*n).unwrap_or(i64::MAX)))
        .collect();
    causes.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    app.out.picture(&render::bars("by cause", &causes, app.out.width, app.out.glyphs))
}
