//! Columns below each other that are never cut or broken: people copy ids from them.

use super::plain;

/// Most characters that a column is filled up to; a longer cell pushes the rest of its row.
const FILL: usize = 40;
/// Text in narrower columns cannot be read.
const NARROWEST: usize = 20;

/// `rows` under one another, each cell cleaned, the last one as long as it is.
pub(crate) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| std::array::from_fn(|at| plain(row.get(at).map_or("", |cell| cell))))
        .collect();
    let widest = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).min(FILL)
    };
    let widths: [usize; N] = std::array::from_fn(widest);
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Names with what is said of each, in lines of at most `width` columns that break between words.
pub(crate) fn definitions(rows: &[[String; 2]], width: usize) -> String {
    let names = rows.iter().map(|[name, _]| name.chars().count()).max().unwrap_or(0);
    let room = width.saturating_sub(names + 4).max(NARROWEST);
    let mut lines = Vec::new();
    for [name, text] in rows {
        let mut name = name.as_str();
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
                lines.push([std::mem::take(&mut name).to_owned(), std::mem::take(&mut line)]);
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push([name.to_owned(), line]);
    }
    aligned(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_stays_whole_and_hostile_text_is_cleaned() {
        let long = "x".repeat(300);
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        let text = aligned(&[row("site key", &long), row("id", "7\u{1b}[2J")]);
        assert_eq!(text, format!("  site key  {long}\n  id        7\\u{{1b}}[2J"));
    }

    #[test]
    fn a_definition_breaks_between_words_under_its_own_column() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        let text = definitions(&[row("meaning", &"word ".repeat(13)), row("do", "it")], 40);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1], "           word word word word word word");
        assert_eq!(lines[3], "  do       it");
        assert!(lines.iter().all(|line| line.len() <= 40), "{text}");
    }
}
