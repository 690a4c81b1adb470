//! The log on standard error, written above the progress bar.

use crate::cli::LogFormat;
use indicatif::MultiProgress;
use std::io::{self, IsTerminal, Write};
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

/// The variable that chooses what is logged, in the syntax of `tracing-subscriber`.
const VARIABLE: &str = "DEADLETTER_LOG";

/// Starts the log of this process.
pub(super) fn start(verbosity: u8, format: LogFormat, bars: MultiProgress) {
    let level = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .with_env_var(VARIABLE)
        .from_env_lossy();
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = fmt()
        .with_env_filter(filter)
        .with_ansi(colour)
        .with_target(false)
        .with_writer(move || Line { bars: bars.clone() });
    let started = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    // Only a test harness has started a log before; it keeps its own.
    started.unwrap_or_default();
}

/// Writes each event whole, while the bar stands aside.
struct Line {
    bars: MultiProgress,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bars.suspend(|| io::stderr().write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
