//! The only place that prints: the report on standard output, progress on standard error.

use crate::line::{Line, Reach, Report};
use anyhow::Result;
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, presets::NOTHING,
};
use std::io::Write;

/// Columns of the table where it goes to no terminal.
const WIDTH: u16 = 140;

/// Says what is going on.
pub(crate) fn say(words: &str) {
    // Nobody who measures is helped by an end because nobody listens.
    writeln!(std::io::stderr(), "{words}").ok();
}

/// One line of data.
pub(crate) fn data(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// The report.
pub(crate) fn show(report: &Report, as_json: bool) -> Result<()> {
    if as_json { json(report) } else { table(report) }
}

/// The report for programs.
fn json(report: &Report) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(report)?)?)
}

/// The report for people.
fn table(report: &Report) -> Result<()> {
    let style = NOTHING.header_separator(LineStyle::none().fill('-'));
    let mut table = Table::new();
    table.load_style(style).set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(WIDTH);
    }
    table.set_header(["Work", "Reach", "Median", "Min to max", "Met", "Figures"]);
    // What was measured in a hurry is no verdict.
    let met = |line: &Line| match line.is_met() {
        _ if report.quick => "-",
        true => "yes",
        false => "no",
    };
    for line in &report.lines {
        table.add_row([
            line.work.to_owned(),
            reach(line),
            line.unit.show(line.median()),
            format!("{} to {}", line.unit.show(line.min()), line.unit.show(line.max())),
            met(line).to_owned(),
            line.note.clone(),
        ]);
    }
    for at in 1..=4 {
        if let Some(column) = table.column_mut(at) {
            column.set_constraint(ColumnConstraint::ContentWidth);
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut out = std::io::stdout();
    writeln!(out, "{}", table.trim_fmt())?;
    let cores = report.cores;
    writeln!(out, "{cores} cores; ratios are taken within each round, against the same disk")?;
    if report.quick {
        writeln!(
            out,
            "--quick shows that it runs, and judges nothing: these numbers say nothing about speed"
        )?;
    }
    Ok(())
}

fn reach(line: &Line) -> String {
    match line.reach {
        Reach::AtLeast(reach) => format!(">= {}", line.unit.show(reach)),
        Reach::AtMost(reach) => format!("<= {}", line.unit.show(reach)),
    }
}
