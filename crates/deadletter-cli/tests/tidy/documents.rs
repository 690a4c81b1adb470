//! Documents name files that exist.

use crate::Breach;

/// Where paths of the project begin.
const FOLDERS: [&str; 6] = ["clients/", "crates/", "docs/", "scripts/", "examples/", ".ci/"];

/// Paths of the project that stand in backticks or as targets of links, and do not exist.
pub(crate) fn breaches(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let spoken = line.split('`').skip(1).step_by(2);
        let linked = line.split("](").skip(1).filter_map(|behind| behind.split(')').next());
        for named in spoken.chain(linked).filter_map(project_path) {
            if !exists(named) {
                breaches.push(Breach {
                    file: path.to_owned(),
                    line: at + 1,
                    what: format!("{named} does not exist"),
                    fix: "correct the document",
                });
            }
        }
    }
    breaches
}

/// The path that a piece of text begins with, if it lies in one of the project's folders.
fn project_path(text: &str) -> Option<&str> {
    let path = text.split([' ', '#', ':', '*', '<', '{']).next()?;
    let path = path.strip_prefix("./").unwrap_or(path);
    FOLDERS.iter().any(|folder| path.starts_with(folder)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_does_not_exist_is_a_breach() {
        let broken = |text| breaches("A.md", text, |path| path == "crates/x").len();
        assert_eq!(broken("see `crates/x` and [y](crates/x#y)"), 0);
        assert_eq!(broken("see `crates/y/z.rs`"), 1);
        assert_eq!(broken("see [y](docs/y.md), [z](https://z.example/docs/y.md)"), 1);
        assert_eq!(broken("run `scripts/gone --now` or `other/gone`"), 1);
    }
}
