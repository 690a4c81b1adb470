//! A map of counts by two names: colours on a terminal, numbers everywhere.

use super::{Glyphs, count, cut, plain};
use anstyle::{Ansi256Color, Style};

/// Widest name of a row: a site key is shown whole.
const NAME_CHARS: usize = 44;
/// Narrowest name of a row.
const NAME_LEAST: usize = 12;
/// From few to most: dark red to bright red, of the 256 colours.
const SHADES: [u8; 5] = [52, 88, 124, 160, 196];

/// Counts by row and column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Heat {
    /// Over the map.
    pub(crate) title: String,
    /// Names of the columns.
    pub(crate) columns: Vec<String>,
    /// Each row: its name, its counts by column, and what is in none of these.
    pub(crate) rows: Vec<(String, Vec<i64>, i64)>,
}

/// The map as text; whoever prints it takes the colours out where there are none.
pub(crate) fn heat(heat: &Heat, width: usize, glyphs: Glyphs) -> String {
    let cells = heat.rows.iter().flat_map(|(_, cells, others)| cells.iter().chain([others]));
    let most = cells.clone().copied().max().unwrap_or(0);
    let all = |cells: &[i64], others: i64| cells.iter().sum::<i64>() + others;
    let widest = heat.rows.iter().map(|(_, cells, others)| count(all(cells, *others)).len()).max();
    let cell_chars = widest.unwrap_or(0).max("others".len()) + 2;
    // Site keys stay whole: columns that have no room beside them are added to the others.
    let names = heat.rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
    let room = width.saturating_sub(names.min(NAME_CHARS) + 2) / cell_chars;
    let shown = heat.columns.len().min(room.saturating_sub(2).max(1));
    let left = width.saturating_sub((shown + 2) * cell_chars + 2);
    let name_chars = names.min(NAME_CHARS).min(left.max(NAME_LEAST));

    let mut lines = vec![plain(&heat.title)];
    let letters = ('A'..='Z').take(shown);
    let heads = letters.clone().map(|letter| letter.to_string());
    let heads = heads.chain(["others".to_owned(), "all".to_owned()]);
    let heads: String = heads.map(|head| format!("{head:>cell_chars$}")).collect();
    lines.push(format!("  {:name_chars$}{heads}", ""));
    for (name, cells, others) in &heat.rows {
        let (own, rest) = cells.split_at(shown.min(cells.len()));
        let rest = rest.iter().sum::<i64>() + others;
        let own = own.iter().chain([&rest]).map(|n| cell(*n, most, cell_chars, glyphs));
        let sum = count(all(cells, *others));
        let name = cut(&plain(name), name_chars);
        let own = own.collect::<String>();
        lines.push(format!("  {name:<name_chars$}{own}{sum:>cell_chars$}"));
    }
    let named =
        letters.zip(&heat.columns).map(|(letter, name)| format!("  {letter} {}", plain(name)));
    lines.extend(named);
    lines.join("\n")
}

fn cell(n: i64, most: i64, chars: usize, glyphs: Glyphs) -> String {
    if n == 0 {
        let nothing = if glyphs == Glyphs::Unicode { '·' } else { '.' };
        return format!("{nothing:>chars$}");
    }
    let shade = SHADES.get(level(n, most)).copied().unwrap_or_default();
    let style = Style::new().bg_color(Some(Ansi256Color(shade).into()));
    let style = style.fg_color(Some(Ansi256Color(231).into()));
    let shown = count(n);
    let gap = chars.saturating_sub(shown.len() + 1);
    format!("{:gap$}{style} {shown}{style:#}", "")
}

/// The shade of a count, by its order of magnitude.
fn level(n: i64, most: i64) -> usize {
    let share = (n.max(1) as f64).ln_1p() / (most.max(1) as f64).ln_1p();
    ((share * SHADES.len() as f64).ceil() as usize).clamp(1, SHADES.len()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> Heat {
        let row = |name: &str, cells: [i64; 3], others| (name.to_owned(), cells.to_vec(), others);
        Heat {
            title: "dead".to_owned(),
            columns: ["TIMEOUT", "ERROR_CAPTCHA_UNSOLVABLE", "NETWORK"].map(str::to_owned).to_vec(),
            rows: vec![row("6Le-one", [12_345, 3, 0], 1), row("\u{1b}[2Jx", [0, 0, 7], 0)],
        }
    }

    /// Without what colours are written with.
    fn seen(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn numbers_stand_in_their_columns_and_the_rest_is_added_up() {
        let text = seen(&heat(&map(), 80, Glyphs::Ascii));
        let words = |line: usize| -> Vec<String> {
            text.lines().nth(line).expect("a line").split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(words(1), ["A", "B", "C", "others", "all"]);
        assert_eq!(words(2), ["6Le-one", "12,345", "3", ".", "1", "12,349"]);
        assert!(text.contains("B ERROR_CAPTCHA_UNSOLVABLE"));
        // Where there is no room, columns are added to the others, and no count is lost.
        let narrow = seen(&heat(&map(), 40, Glyphs::Ascii));
        let row = narrow.lines().nth(2).expect("a row");
        let words: Vec<_> = row.split_whitespace().collect();
        assert_eq!(words, ["6Le-one", "12,345", "4", "12,349"]);
        assert!(row.ends_with("12,349") && row.chars().count() <= 40, "{narrow}");
    }

    #[test]
    fn hostile_names_are_cleaned_and_more_is_brighter() {
        let text = heat(&map(), 80, Glyphs::Unicode);
        assert!(!text.contains("\u{1b}[2J"), "{text}");
        let levels: Vec<_> = [1, 10, 100, 10_000].map(|n| level(n, 10_000)).to_vec();
        assert!(levels.is_sorted() && levels.first() < levels.last(), "{levels:?}");
        assert_eq!(level(10_000, 10_000), SHADES.len() - 1);
    }
}
