//! Whether the user may call what is called here (`rights.lua`).
//!
//! A script that is refused a command in its middle leaves behind what it has written by then. So
//! all commands are tried before anything is written, once for each handle; and each call that writes
//! looks whether the user may still call those that it needs (`apply.lua`).

use super::{failure::Outcome, keys::Keys, lines::Line};
use crate::Error;
use redis::Cmd;

/// The script.
const SCRIPT: &str = include_str!("rights.lua");

/// Errors: `ReadOnly`, which names the first command that is refused.
pub(super) async fn refuse_missing(line: &mut Line, keys: &Keys) -> Outcome<()> {
    let sha: String = line.ask_one(Cmd::new().arg("SCRIPT").arg("LOAD").arg(SCRIPT)).await?;
    let mut question = Cmd::new();
    question.arg("EVALSHA").arg(sha).arg(1).arg(keys.scratch());
    let refused: Vec<String> = line.ask_one(&question).await?;
    let [command, why] = refused.as_slice() else { return Ok(()) };
    let what = format!(
        "open: the server does not let this user call {command}; docs/redis.md has its rights"
    );
    Err(Error::ReadOnly { what, source: Some(why.clone().into()) }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The commands that are tried, each once.
    fn tried() -> BTreeSet<&'static str> {
        let tried = SCRIPT.split("{'").skip(1).filter_map(|it| it.split_once('\''));
        tried.map(|(command, _)| command).collect()
    }

    #[test]
    fn every_right_that_is_documented_is_tried() {
        let docs = include_str!("../../../../docs/redis.md");
        let line = docs.lines().find(|line| line.starts_with("ACL SETUSER")).expect("the line");
        // These have no key, or carry the scripts themselves: they are called before.
        let plain = ["EVALSHA", "SCRIPT|LOAD", "TIME", "INFO", "SELECT", "CONFIG|GET"];
        let is_tried =
            |word: &String| !word.starts_with("CLUSTER|") && !plain.contains(&word.as_str());
        let documented = line.split(' ').filter_map(|word| word.strip_prefix('+'));
        let documented: BTreeSet<String> =
            documented.map(str::to_uppercase).filter(is_tried).collect();
        let tried: BTreeSet<String> = tried().into_iter().map(str::to_owned).collect();
        assert_eq!(tried, documented);
    }
}
