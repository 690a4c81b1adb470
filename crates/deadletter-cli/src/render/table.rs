//! Tables on a terminal.

use super::{Glyphs, plain};
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, TableStyle, presets::NOTHING,
};

/// Longest text of one cell; the whole text is in `show` and in the JSON lines.
const CELL_CHARS: usize = 120;

/// A column whose cells are this short is never broken into lines: ids, states, counts, ages.
const WHOLE_CHARS: usize = 20;

/// A column that is broken into lines keeps this much, spaces included.
const NARROWEST: usize = 8;

/// A table being filled. Cells are cleaned: they may quote upstream or a file.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    right: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table; a column whose name begins with `#` is a number, aligned to the right.
    pub(crate) fn new(header: &[&'static str]) -> Self {
        let right = (0..).zip(header).filter(|(_, name)| name.starts_with('#')).map(|(at, _)| at);
        Self {
            right: right.collect(),
            header: header.iter().map(|name| name.trim_start_matches('#')).collect(),
            rows: Vec::new(),
        }
    }

    /// One more row.
    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell.into())).collect());
    }

    /// True where it has no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, at most `width` columns wide, without a line end.
    pub(crate) fn draw(&self, width: usize, glyphs: Glyphs) -> String {
        let rule = match glyphs {
            Glyphs::Unicode => LineStyle::none().fill('─'),
            Glyphs::Ascii => LineStyle::none().fill('-'),
        };
        let style: TableStyle = NOTHING.header_separator(rule);
        let mut table = comfy_table::Table::new();
        table
            .load_style(style)
            .force_no_tty()
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(u16::try_from(width).unwrap_or(u16::MAX))
            .set_header(self.header.clone());
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| super::cut(cell, CELL_CHARS)));
        }
        for at in self.whole(width) {
            if let Some(column) = table.column_mut(at) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        for at in &self.right {
            if let Some(column) = table.column_mut(*at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }

    /// Short columns, from the left, as far as the others keep room.
    fn whole(&self, width: usize) -> Vec<usize> {
        let mut room = width.saturating_sub(self.header.len() * NARROWEST);
        let mut whole = Vec::new();
        for (at, name) in self.header.iter().enumerate() {
            let cells = self.rows.iter().filter_map(|cells| cells.get(at));
            let chars = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            // A space on either side, instead of the room that was kept for it.
            let more = (chars.max(name.chars().count()) + 2).saturating_sub(NARROWEST);
            if chars <= WHOLE_CHARS && more <= room {
                room -= more;
                whole.push(at);
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_no_line_is_too_wide() {
        let mut table = Table::new(&["cause", "#count"]);
        table.row(["TIMEOUT", "12"]);
        table.row(["a long cause \u{1b}[31m that has to be broken into lines", "3"]);
        let text = table.draw(40, Glyphs::Ascii);
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(!text.contains('\u{1b}'));
        let mut ids = Table::new(&["id", "what"]);
        ids.row(["115461337792812", &"words ".repeat(20)]);
        assert!(ids.draw(40, Glyphs::Ascii).contains("115461337792812"));
        let mut many = Table::new(&["a", "b", "c", "d", "e"]);
        many.row(["x".repeat(19), "x".repeat(19), "x".repeat(19), "x".repeat(19), "x".repeat(90)]);
        let text_of_many = many.draw(60, Glyphs::Ascii);
        assert!(text_of_many.lines().all(|line| line.chars().count() <= 60), "{text_of_many}");
        let counts: Vec<_> = text.lines().filter(|line| line.contains("12")).collect();
        assert!(counts[0].ends_with(" 12"), "{text}");
    }
}
