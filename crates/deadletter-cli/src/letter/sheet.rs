//! Letters as rows of a spreadsheet. A cell that a spreadsheet would run as a formula is guarded.

use crate::render::instant;
use deadletter::{TaskFile, core::UnixMs};

/// The columns.
pub(crate) const HEADER: &[&str] = &[
    "id",
    "state",
    "reason",
    "cause",
    "class",
    "method",
    "sitekey",
    "pageurl",
    "host",
    "proxy",
    "batch",
    "tags",
    "attempts",
    "submits",
    "failures",
    "redrives",
    "upstream_id",
    "detail",
    "created_at",
    "updated_at",
];

/// One letter; nothing in it is secret.
pub(crate) fn row(file: &TaskFile) -> Vec<String> {
    let task = &file.task;
    let counters = &task.counters;
    let last = file.attempts.last();
    let page = file.payload.as_ref().and_then(|payload| payload.text("pageurl"));
    let label = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let at = |at: UnixMs| instant(at);
    let cells = [
        task.id.to_string(),
        task.kind().label().to_owned(),
        label(task.reason().map(|reason| reason.label())),
        label(task.cause.as_ref().map(|cause| cause.as_str())),
        label(task.class.map(|class| class.label())),
        task.dimensions.method.clone(),
        label(task.dimensions.sitekey.as_deref()),
        page.unwrap_or_default().into_owned(),
        label(task.dimensions.host.as_deref()),
        label(task.dimensions.proxy.as_deref()),
        label(task.dimensions.batch.as_deref()),
        task.dimensions.tags.join(" "),
        counters.attempts.to_string(),
        counters.submits.to_string(),
        counters.failures.to_string(),
        counters.redrives.to_string(),
        label(last.and_then(|last| last.upstream_id.as_ref()).map(|id| id.as_str())),
        label(last.and_then(|last| last.detail.as_deref())),
        at(task.created_at),
        at(task.updated_at),
    ];
    cells.into_iter().map(guarded).collect()
}

/// A cell that no spreadsheet takes for a formula.
pub(crate) fn guarded(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_a_spreadsheet_would_run_is_guarded() {
        for cell in ["=1+1", "+1", "-1", "@x", "\tx", "\rx"] {
            assert_eq!(guarded(cell.to_owned()), format!("'{cell}"));
        }
        assert_eq!(guarded("a=1".to_owned()), "a=1");
    }
}
