//! The line that was typed, to be typed again with a word more.

use std::env;

/// `deadletter` with the words of this process and one more, as a shell takes it. Values of
/// parameters are left out: they may be secrets.
pub(crate) fn again_with(more: &str) -> String {
    line(env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()), more)
}

fn line(words: impl Iterator<Item = String>, more: &str) -> String {
    let mut typed = vec!["deadletter".to_owned()];
    let mut is_param = false;
    for word in words {
        let (option, param) = match word.strip_prefix("--param=") {
            Some(param) => ("--param=", Some(param)),
            None => ("", is_param.then_some(word.as_str())),
        };
        if let Some((name, _)) = param.and_then(|param| param.split_once('=')) {
            typed.push(format!("{option}{}=...", quoted(name)));
        } else if word != more {
            typed.push(quoted(&word));
        }
        is_param = word == "--param";
    }
    typed.push(more.to_owned());
    typed.join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:@%+=,-".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_typed_again_without_its_secrets() {
        let words = ["run", "my tasks.csv", "--param", "proxy=u:p@h:1", "--param=a=b", "--resume"];
        let typed = line(words.into_iter().map(str::to_owned), "--resume");
        assert_eq!(typed, "deadletter run 'my tasks.csv' --param proxy=... --param=a=... --resume");
        assert_eq!(line(["it's".to_owned()].into_iter(), "-y"), r"deadletter 'it'\''s' -y");
    }
}
