//! Finds the examples: command lines of help texts, and of `console` blocks in Markdown.

use crate::stage::Stage;

/// A command line, and what its page says that it prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) command: String,
    /// The lines below it, up to the next command.
    pub(crate) shown: Vec<String>,
}

/// The examples of every command's help text, found by walking the help itself.
pub(crate) fn of_help(stage: &Stage) -> Vec<String> {
    let mut examples = Vec::new();
    let mut commands = vec![Vec::<String>::new()];
    while let Some(words) = commands.pop() {
        let help = stage.help(&words);
        examples.extend(examples_of(&help));
        for name in subcommands_of(&help) {
            commands.push(words.iter().cloned().chain([name]).collect());
        }
    }
    examples.sort();
    examples.dedup();
    examples
}

fn examples_of(help: &str) -> impl Iterator<Item = String> {
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    let block = lines.take_while(|line| line.starts_with("  "));
    block.map(|line| line.trim().to_owned()).filter(|line| line.starts_with("deadletter "))
}

fn subcommands_of(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let named = lines.take_while(|line| line.starts_with("  "));
    // A description that goes on in the next line is indented further.
    let first = named.filter(|line| !line.starts_with("   "));
    first.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

/// The commands of the `console` blocks of a page, in order.
pub(crate) fn of_page(text: &str) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    let mut is_console = false;
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            is_console = language == "console";
        } else if is_console {
            match line.strip_prefix("$ ") {
                Some(command) => {
                    found.push(Line { command: command.to_owned(), shown: Vec::new() });
                }
                None => {
                    if let Some(last) = found.last_mut() {
                        last.shown.push(line.to_owned());
                    }
                }
            }
        }
    }
    found
}

#[test]
fn the_commands_of_a_page_and_what_they_print_are_told_apart() {
    let page = "text\n```console\n$ deadletter list     # look\nnothing\n$ deadletter stats\n```\n\
                ```text\n$ not this\n```\n";
    let found = of_page(page);
    let commands: Vec<_> = found.iter().map(|line| line.command.as_str()).collect();
    assert_eq!(commands, ["deadletter list     # look", "deadletter stats"]);
    assert_eq!(found[0].shown, ["nothing"]);
}
