//! `deadletter store check`: what is wrong with the store, where, and what to do.

use super::looking::look;
use crate::{app::App, exit::Exit, fault::Result, render::plain};
use deadletter::store::sqlite::inspect::{Checked, FINDINGS_LIMIT, Finding, Tolerance};
use serde_json::json;

pub(super) async fn run(app: &App) -> Result<Exit> {
    let checked = look(app, Tolerance::Flawed, |inspection, progress| {
        let path = inspection.path().to_owned();
        inspection.check(progress).map(|checked| (path, checked))
    });
    let Some((path, checked)) = checked.await? else { return Ok(Exit::Interrupted) };
    let is_whole = checked.findings.is_empty();
    if app.out.is_table() {
        for finding in &checked.findings {
            app.out.data(&line(finding))?;
        }
    } else {
        let Checked { findings, has_more, tasks, attempts } = &checked;
        app.out.json(&json!({
            "path": path, "is_whole": is_whole, "tasks": tasks, "attempts": attempts,
            "findings": findings, "has_more": has_more,
        }))?;
    }
    let looked =
        format!("{} tasks and {} attempts were looked at", checked.tasks, checked.attempts);
    if is_whole {
        app.out.say(&format!("{} is whole; {looked}", path.display()));
        return Ok(Exit::Good);
    }
    let n = checked.findings.len();
    let found = crate::render::counted(n, "finding", "findings");
    let found =
        if checked.has_more { format!("more than {FINDINGS_LIMIT} findings") } else { found };
    app.out.say(&format!("{} is not whole: {found}; {looked}", path.display()));
    for fix in fixes(&checked.findings) {
        app.out.say(&format!("  fix: {fix}"));
    }
    Ok(Exit::Failed)
}

fn line(finding: &Finding) -> String {
    plain(&format!("{}: {}: {}", finding.at, finding.rule, finding.found))
}

/// What to do, each once.
fn fixes(findings: &[Finding]) -> Vec<&'static str> {
    let mut fixes: Vec<&'static str> = findings.iter().map(|finding| finding.fix).collect();
    fixes.sort_unstable();
    fixes.dedup();
    fixes
}
