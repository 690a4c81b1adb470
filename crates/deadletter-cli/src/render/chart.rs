//! Small pictures for a terminal: columns over time, and bars by name.

use super::{Glyphs, count, cut, plain};

/// Rows of a picture over time: high enough to see a shape, low enough for a log.
const HEIGHT: usize = 6;
/// Longest bar: longer ones are no easier to compare.
const BAR_CHARS: usize = 60;
/// Widest name beside a bar.
const NAME_CHARS: usize = 44;

impl Glyphs {
    /// From nothing to a whole cell, bottom up.
    const fn rising(self) -> &'static [char] {
        match self {
            Self::Unicode => &[' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
            Self::Ascii => &[' ', '.', ':', '#'],
        }
    }

    /// From nothing to a whole cell, from the left.
    const fn growing(self) -> &'static [char] {
        match self {
            Self::Unicode => &[' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'],
            Self::Ascii => &[' ', '-', '='],
        }
    }

    /// Where a line over time begins and ends.
    const fn margins(self) -> (char, char) {
        match self {
            Self::Unicode => ('▕', '▏'),
            Self::Ascii => ('|', '|'),
        }
    }

    const fn floor(self) -> (char, char) {
        match self {
            Self::Unicode => ('┤', '─'),
            Self::Ascii => ('|', '-'),
        }
    }
}

/// `values` over time as columns under `title`, between the words `from` and `to`.
///
/// More values than fit are added up into neighbours. Values below zero count as nothing.
pub(crate) fn columns(
    title: &str,
    values: &[i64],
    (from, to): (&str, &str),
    width: usize,
    glyphs: Glyphs,
) -> String {
    let most = folded(values, usize::MAX).into_iter().max().unwrap_or(0);
    let label_chars = count(most.max(1)).len().max(4);
    let room = width.saturating_sub(label_chars + 2).max(8);
    let values = folded(values, room);
    let most = values.iter().copied().max().unwrap_or(0);
    let label_chars = label_chars.max(count(most).len());
    let steps = i64::try_from(glyphs.rising().len() - 1).unwrap_or(1);
    let height = i64::try_from(HEIGHT).unwrap_or(1);
    // Few values are drawn wider, so that the picture is not a corner.
    let each = (room / values.len().max(1)).clamp(1, 4);
    let (wall, floor) = glyphs.floor();

    let mut lines = vec![plain(title)];
    for row in (0..height).rev() {
        let label = match row {
            row if row == height - 1 => count(most),
            0 => "0".to_owned(),
            _ => String::new(),
        };
        let cells: String = values
            .iter()
            .flat_map(|value| {
                let filled = if most > 0 { scaled(*value, height * steps, most) } else { 0 };
                let level = (filled - row * steps).clamp(0, steps);
                let glyph = usize::try_from(level).ok().and_then(|at| glyphs.rising().get(at));
                std::iter::repeat_n(*glyph.unwrap_or(&' '), each)
            })
            .collect();
        lines.push(format!("{label:>label_chars$} {wall}{cells}").trim_end().to_owned());
    }
    let span = values.len() * each;
    lines.push(format!("{:label_chars$} {wall}{}", "", floor.to_string().repeat(span)));
    let gap = span.saturating_sub(from.chars().count() + to.chars().count()).max(1);
    lines.push(format!("{:label_chars$}  {from}{}{to}", "", " ".repeat(gap)));
    lines.join("\n")
}

/// Counts by name as bars under `title`, in the order given.
pub(crate) fn bars(title: &str, rows: &[(String, i64)], width: usize, glyphs: Glyphs) -> String {
    let name_chars = NAME_CHARS.min(width / 2);
    let names: Vec<_> = rows.iter().map(|(name, _)| cut(&plain(name), name_chars)).collect();
    let counts: Vec<_> = rows.iter().map(|(_, n)| count(*n)).collect();
    let widest = |texts: &[String]| texts.iter().map(|t| t.chars().count()).max().unwrap_or(0);
    let (name_chars, count_chars) = (widest(&names), widest(&counts));
    let room = width.saturating_sub(name_chars + count_chars + 4).clamp(4, BAR_CHARS);
    let most = rows.iter().map(|(_, n)| *n).max().unwrap_or(0);
    let mut lines = vec![plain(title)];
    for ((name, shown), (_, n)) in names.iter().zip(&counts).zip(rows) {
        let bar = bar(*n, most, room, glyphs);
        lines.push(
            format!("  {name:<name_chars$} {shown:>count_chars$} {bar}").trim_end().to_owned(),
        );
    }
    lines.join("\n")
}

/// One line of a picture over time.
pub(crate) struct Spark {
    /// Of what.
    pub(crate) name: String,
    /// How many in each slot.
    pub(crate) values: Vec<i64>,
    /// What is said behind it.
    pub(crate) told: String,
}

/// A line for each of `rows` under `title`: how it went over time, each against its own most.
pub(crate) fn sparks(title: &str, rows: &[Spark], width: usize, glyphs: Glyphs) -> String {
    let names: Vec<_> = rows.iter().map(|row| cut(&plain(&row.name), NAME_CHARS)).collect();
    let widest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let name_chars = widest(&mut names.iter().map(|name| name.chars().count()));
    let told_chars = widest(&mut rows.iter().map(|row| row.told.chars().count()));
    let room = width.saturating_sub(name_chars + told_chars + 6).max(8);
    let steps = i64::try_from(glyphs.rising().len() - 1).unwrap_or(1);
    let mut lines = vec![plain(title)];
    for (row, name) in rows.iter().zip(&names) {
        let values = folded(&row.values, room);
        let most = values.iter().copied().max().unwrap_or(0);
        let cells = values.iter().map(|value| {
            let level = if most > 0 { scaled(*value, steps, most) } else { 0 };
            usize::try_from(level)
                .ok()
                .and_then(|at| glyphs.rising().get(at))
                .copied()
                .unwrap_or(' ')
        });
        let cells: String = cells.collect();
        let (left, right) = glyphs.margins();
        lines.push(format!("  {name:<name_chars$} {left}{cells}{right} {}", plain(&row.told)));
    }
    lines.join("\n")
}

/// A bar for `n` of `most`; whoever is not nothing has a mark.
fn bar(n: i64, most: i64, room: usize, glyphs: Glyphs) -> String {
    let cells = glyphs.growing();
    let steps = cells.len() - 1;
    let whole = i64::try_from(room * steps).unwrap_or(i64::MAX);
    let filled = if most > 0 { scaled(n, whole, most) } else { 0 };
    let filled = usize::try_from(filled.max(i64::from(n > 0))).unwrap_or(0);
    let last = cells.last().copied().unwrap_or('#');
    let mut bar: String = std::iter::repeat_n(last, filled / steps).collect();
    bar.extend(cells.get(filled % steps).filter(|c| **c != ' '));
    bar
}

/// `value` of `most` on a scale to `whole`, rounded; something stays something.
fn scaled(value: i64, whole: i64, most: i64) -> i64 {
    let value = i128::from(value.max(0));
    let scaled = (value * i128::from(whole) + i128::from(most) / 2) / i128::from(most.max(1));
    i64::try_from(scaled).unwrap_or(whole).max(i64::from(value > 0))
}

/// At most `room` values: neighbours are added up.
fn folded(values: &[i64], room: usize) -> Vec<i64> {
    let each = values.len().div_ceil(room).max(1);
    values.chunks(each).map(|chunk| chunk.iter().map(|value| (*value).max(0)).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_value_fills_its_column_and_nothing_is_blank() {
        let text = columns("failures", &[0, 1, 40, 12], ("00:00", "00:04"), 40, Glyphs::Ascii);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), HEIGHT + 3);
        assert_eq!(lines[1], "  40 |        ####");
        assert_eq!(lines[HEIGHT], "   0 |    ....########");
    }

    #[test]
    fn no_picture_is_wider_than_asked() {
        let many: Vec<i64> = (0..1_000).map(|n| n % 37).collect();
        for (width, glyphs) in [(40, Glyphs::Ascii), (80, Glyphs::Unicode), (160, Glyphs::Unicode)]
        {
            let over_time = columns("t", &many, ("a", "b"), width, glyphs);
            let rows = [("x".repeat(90), 12_345), ("TIMEOUT".to_owned(), 1)];
            for line in over_time.lines().chain(bars("c", &rows, width, glyphs).lines()) {
                assert!(
                    line.chars().count() <= width,
                    "{} > {width}: {line}",
                    line.chars().count()
                );
            }
        }
    }

    #[test]
    fn a_line_over_time_shows_where_most_is_and_keeps_to_its_width() {
        let row = |name: &str, values: Vec<i64>| Spark {
            name: name.to_owned(),
            values,
            told: "9 at 14:05".to_owned(),
        };
        let rows = [row("TIMEOUT", vec![0, 0, 9, 1]), row("X", vec![1; 60])];
        let text = sparks("deaths", &rows, 40, Glyphs::Ascii);
        assert!(text.lines().nth(1).is_some_and(|line| line.contains("|  #.|")), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
    }

    #[test]
    fn an_empty_picture_is_no_panic() {
        assert!(columns("none", &[], ("a", "b"), 0, Glyphs::Unicode).contains("none"));
        assert_eq!(bars("none", &[], 0, Glyphs::Unicode), "none");
        assert!(columns("zero", &[0, 0], ("a", "b"), 40, Glyphs::Ascii).contains("0 |"));
    }

    #[test]
    fn a_bar_shows_even_the_smallest_share() {
        let rows = [("many".to_owned(), 100_000), ("one".to_owned(), 1), ("none".to_owned(), 0)];
        let text = bars("causes", &rows, 60, Glyphs::Ascii);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].ends_with('='));
        assert!(lines[2].ends_with('-'), "{text}");
        assert!(lines[3].ends_with('0'), "{text}");
    }
}
