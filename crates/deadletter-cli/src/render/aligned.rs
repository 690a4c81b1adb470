//! Columns below each other that are never cut or broken: people copy ids from them.

use super::plain;

/// Most characters that a column is filled up to; a longer cell pushes the rest of its row.
const FILL: usize = 40;

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
}
