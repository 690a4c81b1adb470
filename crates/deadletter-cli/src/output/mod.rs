//! The only place that prints: data on standard output, talk on standard error.
//!
//! Data goes out as it is (one JSON document a line, CSV, or a table on a terminal). Talk is
//! cleaned of control characters, since it may quote upstream or a file, and is written above the
//! progress bar where one is drawn.

mod bar;
mod log;

pub(crate) use bar::Bar;

use crate::{
    cli::{Global, LogFormat},
    config::Environment,
    exit::Exit,
    fault::{Fault, Result},
    render::{Glyphs, plain},
};
use anstyle::{AnsiColor, Style};
use indicatif::MultiProgress;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Columns where nobody says how wide the terminal is.
const USUAL_WIDTH: usize = 80;
/// Wider tables and pictures are hard to read.
const WIDEST: usize = 160;

/// How data is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A person reads it on a terminal.
    Table,
    /// A program reads it: one JSON document a line.
    Lines,
}

/// Standard output and standard error of this process.
#[derive(Debug)]
pub(crate) struct Output {
    /// How data is shown.
    pub(crate) shape: Shape,
    /// Which characters pictures are drawn with.
    pub(crate) glyphs: Glyphs,
    /// Columns to draw in.
    pub(crate) width: usize,
    quiet: bool,
    bars: MultiProgress,
}

impl Output {
    /// As the terminal, the flags and the environment have it.
    pub(crate) fn of_process(global: &Global, environment: &Environment) -> Self {
        let table = io::stdout().is_terminal() && !global.json;
        let width = comfy_table::Table::new().width().map(usize::from);
        Self {
            shape: if table { Shape::Table } else { Shape::Lines },
            glyphs: Glyphs::for_locale(|name| environment.variable(name)),
            width: width.unwrap_or(USUAL_WIDTH).clamp(40, WIDEST),
            quiet: global.quiet,
            bars: MultiProgress::new(),
        }
    }

    /// Prints what the parser of arguments has to say: help and version as data, else a usage fault.
    pub(crate) fn of_parser(error: &clap::Error) -> Exit {
        // Nobody is left to tell where this print fails.
        error.print().unwrap_or_default();
        if error.use_stderr() { Exit::Usage } else { Exit::Good }
    }

    /// Sends the log to standard error; `verbosity` 0 shows warnings only.
    pub(crate) fn log_to_stderr(&self, verbosity: u8, format: LogFormat) {
        log::start(verbosity, format, self.bars.clone());
    }

    /// True where data goes to a terminal as a table.
    pub(crate) fn is_table(&self) -> bool {
        self.shape == Shape::Table
    }

    /// One line of data.
    pub(crate) fn data(&self, line: &str) -> Result<()> {
        let write = || writeln!(io::stdout().lock(), "{line}").map_err(Fault::of_output);
        // On a terminal the progress bar stands in the same lines.
        if io::stdout().is_terminal() { self.bars.suspend(write) } else { write() }
    }

    /// One JSON document as a line of data.
    pub(crate) fn json(&self, document: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(document)
            .map_err(|error| Fault::failed("cannot write the output as JSON").because(error))?;
        self.data(&line)
    }

    /// A whole document of data, as it is.
    pub(crate) fn bytes(&self, document: &[u8]) -> Result<()> {
        io::stdout().lock().write_all(document).map_err(Fault::of_output)
    }

    /// A table or a picture, whose parts are cleaned already.
    pub(crate) fn picture(&self, text: &str) -> Result<()> {
        writeln!(anstream::stdout(), "{text}").map_err(Fault::of_output)
    }

    /// Hands out what data has been kept back.
    pub(crate) fn flush(&self) -> Result<()> {
        io::stdout().flush().map_err(Fault::of_output)
    }

    /// A bar of `total` steps on standard error; hidden where nobody sees it.
    pub(crate) fn bar(&self, total: usize) -> Bar {
        let visible = !self.quiet && io::stderr().is_terminal();
        Bar::new(visible.then_some(&self.bars), total)
    }

    /// A line of talk.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            self.talk(Style::new(), "", text);
        }
    }

    /// A line of talk that asks for attention.
    pub(crate) fn warn(&self, text: &str) {
        if !self.quiet {
            self.talk(AnsiColor::Yellow.on_default(), "warning: ", text);
        }
    }

    /// Why the command ends: what, why, fix.
    pub(crate) fn fault(&self, fault: &Fault) {
        if fault.quiet {
            return;
        }
        for (part, text) in fault.lines() {
            let (style, margin) = match part {
                "error" => (AnsiColor::Red.on_default().bold(), ""),
                _ => (Style::new().bold(), "  "),
            };
            self.talk(style, &format!("{margin}{part}: "), &text);
        }
    }

    fn talk(&self, style: Style, heading: &str, text: &str) {
        // A blank line before a new part; anything else that is no text is shown as what it is.
        let (gap, text) = match text.strip_prefix('\n') {
            Some(rest) => ("\n", rest),
            None => ("", text),
        };
        let line = format!("{gap}{style}{heading}{style:#}{}", plain(text));
        // Standard error may be closed; then there is nobody to tell.
        self.bars.suspend(|| writeln!(anstream::stderr(), "{line}").unwrap_or_default());
    }
}
