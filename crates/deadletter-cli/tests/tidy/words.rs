//! Words that do not belong: impure ones in the core, swallowed results, sleeps, empty names,
//! paths and hosts of one machine.

use crate::{
    Breach,
    source::{Source, is_name},
};

/// What the core must not know: clocks, files, networks, the environment, chance, waiting.
const IMPURE: [&str; 12] = [
    "std::time",
    "SystemTime",
    "Instant::now",
    "tokio",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "rand::",
    "async fn",
    ".await",
];

/// What is nowhere: results that nobody looks at, work that is not done, tests that do not run.
const BANNED: [(&str, &str); 4] = [
    ("let _ =", "look at the result, or name what is dropped with drop(...)"),
    ("todo!", "build it, or leave it out"),
    ("unimplemented!", "build it, or leave it out"),
    ("#[ignore", "make the test run everywhere, or delete it"),
];

/// Words that say nothing of what a thing does.
const EMPTY: [&str; 5] = ["util", "utils", "helper", "helpers", "manager"];
/// Names of files and modules that say nothing of what is in them.
const EMPTY_PLACES: [&str; 2] = ["common", "misc"];
/// Beginnings of function names that say nothing either.
const EMPTY_VERBS: [&str; 3] = ["handle_", "process_", "do_"];

fn breach(source: &Source, line: usize, what: String, fix: &'static str) -> Breach {
    Breach { file: source.path.clone(), line, what, fix }
}

pub(crate) fn without_a_first_line(source: &Source) -> Vec<Breach> {
    let is_told = source.raw.first().is_some_and(|line| line.starts_with("//! "));
    let fix = "begin the file with `//! ` and the one job that it has";
    let missing = (!is_told).then(|| breach(source, 1, "no first line".to_owned(), fix));
    missing.into_iter().collect()
}

pub(crate) fn impure(source: &Source) -> Vec<Breach> {
    if !source.path.starts_with("crates/deadletter-core/src/") {
        return Vec::new();
    }
    let code = source.lines().filter(|(_, _, test)| !test);
    let words = code.flat_map(|(line, code, _)| {
        IMPURE.iter().filter(|word| has_word(code, word)).map(move |word| (line, *word))
    });
    words
        .map(|(line, word)| breach(source, line, format!("{word} in the core"), "pass it in"))
        .collect()
}

pub(crate) fn banned(source: &Source) -> Vec<Breach> {
    let found = source.lines().flat_map(|(line, code, _)| {
        BANNED.iter().filter(|(word, _)| has_word(code, word)).map(move |banned| (line, banned))
    });
    found.map(|(line, (word, fix))| breach(source, line, format!("`{word}`"), fix)).collect()
}

pub(crate) fn sleeping(source: &Source) -> Vec<Breach> {
    let fix = "wait for a signal, or write `// tidy: allow sleep, because ...`";
    source
        .lines()
        .filter(|(_, code, test)| {
            *test && ["time::sleep", "thread::sleep"].iter().any(|w| code.contains(w))
        })
        .filter(|(line, ..)| !source.allows(*line, "sleep"))
        .map(|(line, ..)| breach(source, line, "a test sleeps".to_owned(), fix))
        .collect()
}

pub(crate) fn empty_names(source: &Source) -> Vec<Breach> {
    let fix = "name it after what it does";
    let is_place = |name: &str| EMPTY_PLACES.contains(&name);
    let is_empty = |name: &str| {
        let name = name.to_ascii_lowercase();
        EMPTY.iter().any(|word| name.split('_').any(|part| part == *word) || name == *word)
            || name.ends_with("manager")
            || name.ends_with("helper")
    };
    let mut breaches = Vec::new();
    let of_path = source.path.trim_end_matches(".rs").split('/');
    if let Some(part) = of_path.into_iter().find(|part| is_empty(part) || is_place(part)) {
        breaches.push(breach(source, 1, format!("a path named {part}"), fix));
    }
    for (line, code, _) in source.lines() {
        for declared in ["fn ", "mod ", "struct ", "enum ", "trait ", "type "] {
            let Some(name) = declared_name(code, declared) else { continue };
            let is_vague = declared == "fn " && EMPTY_VERBS.iter().any(|v| name.starts_with(v));
            if is_vague || is_empty(name) || (declared == "mod " && is_place(name)) {
                breaches.push(breach(source, line, format!("{declared}{name}"), fix));
            }
        }
    }
    breaches
}

fn declared_name<'a>(code: &'a str, declared: &str) -> Option<&'a str> {
    let (before, behind) = code.split_once(declared)?;
    if before.ends_with(is_name) {
        return None;
    }
    Some(behind.split(|c| !is_name(c)).next().unwrap_or_default())
}

pub(crate) fn of_one_machine(path: &str, text: &str) -> Vec<Breach> {
    // Put together, so that this file does not name them.
    let homes = ["root", "work"].map(|name| format!("/{name}/"));
    let hosts = [("crates", "io"), ("pypi", "org"), ("npmjs", "org"), ("golang", "org")];
    let hosts = hosts.map(|(name, end)| format!("{name}.{end}"));
    let mut breaches = Vec::new();
    let mut add = |line: usize, what: String, fix| {
        breaches.push(Breach { file: path.to_owned(), line: line + 1, what, fix });
    };
    for (at, line) in text.lines().enumerate() {
        if homes.iter().any(|home| names_folder(line, home)) || names_a_home(line) {
            add(at, "a path of one machine".to_owned(), "use a path from the root of the project");
        }
        if let Some(host) = hosts.iter().find(|host| line.contains(host.as_str())) {
            let fix = "leave it out: where packages come from is the user's choice";
            add(at, format!("the host {host}"), fix);
        }
    }
    breaches
}

/// True where a path begins with that folder; a URL or a longer path may hold the same word.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        line[..at].chars().next_back().is_none_or(|c| !is_name(c) && !"./-}>".contains(c))
    })
}

/// True where a path names somebody's home and goes on below it.
fn names_a_home(line: &str) -> bool {
    line.split("/home/").skip(1).any(|behind| {
        let name = behind.split(|c: char| !is_name(c) && c != '-').next().unwrap_or_default();
        !name.is_empty() && behind[name.len()..].starts_with('/')
    })
}

/// True where `word` stands in the code, and not as a part of a longer name.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !word.starts_with(is_name) || before.is_none_or(|c| !is_name(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rule: fn(&Source) -> Vec<Breach>, path: &str, text: &str) -> Vec<usize> {
        rule(&Source::new(path, text)).iter().map(|breach| breach.line).collect()
    }

    #[test]
    fn a_file_without_a_first_line_is_a_breach() {
        let rule = without_a_first_line as fn(&Source) -> Vec<Breach>;
        assert_eq!(lines(rule, "a.rs", "//! Reads.\n"), [0; 0]);
        for text in ["", "use a::b;\n", "// Reads.\n", "\n//! Reads.\n"] {
            assert_eq!(lines(rule, "a.rs", text), [1], "{text:?}");
        }
    }

    #[test]
    fn an_impure_word_in_the_core_is_a_breach() {
        let core = "crates/deadletter-core/src/a.rs";
        for word in IMPURE {
            let text = format!("\nlet a = {word}b;\n");
            assert_eq!(lines(impure, core, &text), [2], "{word}");
            assert_eq!(lines(impure, "crates/deadletter/src/a.rs", &text), [0; 0], "{word}");
            let spoken =
                format!("// {word}\nlet a = \"{word}\";\n#[cfg(test)]\nmod t {{ {word} }}\n");
            assert_eq!(lines(impure, core, &spoken), [0; 0], "{word}");
        }
        assert_eq!(lines(impure, core, "operand::b();\n"), [0; 0]);
    }

    #[test]
    fn a_banned_word_is_a_breach_in_tests_too() {
        for (word, _) in BANNED {
            let text = format!("#[cfg(test)]\nmod t {{\n{word} x;\n}}\n");
            assert_eq!(lines(banned, "a.rs", &text), [3], "{word}");
        }
        assert_eq!(lines(banned, "a.rs", "outlet _ = 1; // let _ = 2\n"), [0; 0]);
    }

    #[test]
    fn a_sleep_in_a_test_is_a_breach_unless_it_says_why() {
        let sleep = "    tokio::time::sleep(a).await;\n";
        assert_eq!(lines(sleeping, "crates/x/tests/a.rs", sleep), [1]);
        assert_eq!(lines(sleeping, "crates/x/src/a.rs", sleep), [0; 0]);
        let allowed = format!("// tidy: allow sleep, because the peer is slow\n{sleep}");
        assert_eq!(lines(sleeping, "crates/x/tests/a.rs", &allowed), [0; 0]);
    }

    #[test]
    fn a_name_that_says_nothing_is_a_breach() {
        let names =
            ["fn handle_poll", "fn process_x", "fn do_it", "mod utils", "struct TaskManager"];
        for name in names.iter().chain(&["fn test_helpers", "mod misc", "type Helper"]) {
            assert_eq!(lines(empty_names, "a.rs", &format!("\npub {name};\n")), [2], "{name}");
        }
        for name in ["fn poll", "fn redo_it", "struct Utility", "mod manage", "fn common_terms"] {
            assert_eq!(lines(empty_names, "a.rs", &format!("pub {name};\n")), [0; 0], "{name}");
        }
        assert_eq!(lines(empty_names, "crates/x/src/utils.rs", "//! A.\n"), [1]);
        assert_eq!(lines(empty_names, "crates/x/tests/common/a.rs", "//! A.\n"), [1]);
    }

    #[test]
    fn a_path_or_host_of_one_machine_is_a_breach() {
        let breaches = |text: &str| of_one_machine("README.md", text).len();
        let texts = [
            concat!("cd /ro", "ot/x"),
            concat!("(/wo", "rk/main)"),
            concat!("/ho", "me/me/x"),
            concat!("https://crates", ".io"),
            concat!("see pypi", ".org/p"),
        ];
        for text in texts {
            assert_eq!(breaches(text), 1, "{text}");
        }
        for text in ["/homes/x", "https://a.example/work/x", "/home/x", "a/root/b", "work/root"] {
            assert_eq!(breaches(text), 0, "{text}");
        }
    }
}
