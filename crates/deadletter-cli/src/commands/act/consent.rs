//! Asks the person at the terminal; elsewhere nobody can answer.

use crate::{
    app::App,
    fault::{Fault, Result},
    typed,
};
use std::io::{IsTerminal, Write};

/// A yes or no; where nobody can be asked it is refused, with the line that needs no answer.
pub(in crate::commands) fn confirmed(app: &App, question: &str) -> Result<bool> {
    match asked(app, &format!("{question} [y/N]"))? {
        Some(answer) => Ok(matches!(answer.as_str(), "y" | "Y" | "yes")),
        None => Err(Fault::usage("nobody can be asked here, and nothing was changed")
            .why("without a terminal only --yes begins it; --dry-run shows the plan")
            .fix(typed::again_with("--yes"))),
    }
}

/// The answer to a question; none where nobody can be asked.
pub(in crate::commands) fn asked(app: &App, question: &str) -> Result<Option<String>> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !(stdin.is_terminal() && stderr.is_terminal()) {
        return Ok(None);
    }
    app.out.say(question);
    let failed = |error| Fault::failed("cannot ask").because(error);
    stderr.flush().map_err(failed)?;
    let mut line = String::new();
    stdin.read_line(&mut line).map_err(failed)?;
    Ok(Some(line.trim().to_owned()))
}
