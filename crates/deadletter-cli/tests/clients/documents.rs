//! The tables in the documents: `scripts/clients --write` puts them there, and each run looks
//! whether they tell of every client and scene.

use crate::{install, marked::parts, table::Table};

/// Each table by the document that has it, and its name there.
fn tables(table: &Table<'_>) -> [(&'static str, &'static str, String); 3] {
    [
        ("README.md", "in short", table.in_short()),
        ("docs/clients.md", "lost", table.lost()),
        ("docs/clients.md", "paid", table.paid()),
    ]
}

/// Puts the tables in the places of those that stand there.
pub(crate) fn write(table: &Table<'_>) {
    for (document, name, drawn) in tables(table) {
        let path = install::root().join(document);
        let text = std::fs::read_to_string(&path).expect("a document");
        let (before, _, behind) = parts(&text, name).expect("marks around the table");
        let text = format!("{before}\n\n{drawn}\n\n{behind}");
        std::fs::write(path, text).expect("written");
    }
}

/// What a document does not tell as the table has it, by the heads of lines and columns: numbers
/// vary.
pub(crate) fn missing(table: &Table<'_>) -> Vec<String> {
    let heads = |text: &str| -> Vec<String> {
        let head = |(n, line): (usize, &str)| match n {
            0 => line.to_owned(),
            _ => line.split('|').nth(1).unwrap_or_default().trim().to_owned(),
        };
        text.lines().filter(|line| line.starts_with('|')).enumerate().map(head).collect()
    };
    let wrong = |(document, name, drawn): (&str, &str, String)| {
        let text = std::fs::read_to_string(install::root().join(document)).expect("a document");
        let stands = parts(&text, name).map(|(_, stands, _)| heads(stands));
        (stands.as_ref() != Some(&heads(&drawn)))
            .then(|| format!("{document}: the table \"{name}\" is old; scripts/clients --write"))
    };
    tables(table).into_iter().filter_map(wrong).collect()
}
