//! Small files, small functions.

use crate::{Breach, source::Source};

/// Most lines of code in a file, without its tests, comments and blank lines.
const FILE_LINES: usize = 400;
/// Most lines of code in a function.
const FUNCTION_LINES: usize = 80;

pub(crate) fn breaches(source: &Source) -> Vec<Breach> {
    let breach = |line, what| Breach {
        file: source.path.clone(),
        line,
        what,
        fix: "split it by what its parts do",
    };
    let all_tests = source.is_test();
    let lines = source
        .lines()
        .filter(|(_, code, test)| !code.trim().is_empty() && (all_tests || !test))
        .count();
    let mut breaches = Vec::new();
    if lines > FILE_LINES && !source.allows(1, "size") {
        breaches.push(breach(1, format!("{lines} lines of code, {FILE_LINES} are allowed")));
    }
    for (name, line, lines) in source.functions() {
        if lines > FUNCTION_LINES && !source.allows(line, "size") {
            let what = format!("fn {name} has {lines} lines of code, {FUNCTION_LINES} are allowed");
            breaches.push(breach(line, what));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str) -> Vec<usize> {
        breaches(&Source::new("a.rs", text)).iter().map(|breach| breach.line).collect()
    }

    #[test]
    fn a_long_file_is_a_breach_unless_it_is_long_by_tests_or_comments() {
        let items = |n: usize| "const A: u8 = 1;\n".repeat(n);
        assert_eq!(broken(&items(400)), [0; 0]);
        assert_eq!(broken(&items(401)), [1]);
        assert_eq!(broken(&format!("{}{}", items(400), "// more\n\n".repeat(100))), [0; 0]);
        let tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", items(400), items(100));
        assert_eq!(broken(&tests), [0; 0]);
    }

    #[test]
    fn a_long_function_is_a_breach() {
        let function = |n: usize| format!("\nfn long() {{\n{}}}\n", "    a();\n".repeat(n));
        assert_eq!(broken(&function(78)), [0; 0]);
        assert_eq!(broken(&function(79)), [2]);
    }
}
