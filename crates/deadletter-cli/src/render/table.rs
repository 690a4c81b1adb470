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
const NARROWEST: usize = 14;

/// A table being filled. Cells are cleaned: they may quote upstream or a file.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

#[derive(Debug)]
struct Column {
    name: String,
    /// A number, aligned to the right.
    is_number: bool,
    /// Never broken, cut or left out.
    is_kept: bool,
}

impl Table {
    /// An empty table; a column whose name begins with `#` is a number, one that begins with `=` an
    /// id, which people copy: other columns give way to it.
    pub(crate) fn new(header: &[&str]) -> Self {
        let column = |name: &&str| Column {
            name: plain(name.trim_start_matches(['#', '='])),
            is_number: name.starts_with('#'),
            is_kept: name.starts_with('='),
        };
        Self { columns: header.iter().map(column).collect(), rows: Vec::new() }
    }

    /// One more row.
    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell.into())).collect());
    }

    /// True where it has no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, at most `width` columns wide unless an id is wider, without a line end.
    pub(crate) fn draw(&self, width: usize, glyphs: Glyphs) -> String {
        let rule = match glyphs {
            Glyphs::Unicode => LineStyle::none().fill('─'),
            Glyphs::Ascii => LineStyle::none().fill('-'),
        };
        let style: TableStyle = NOTHING.header_separator(rule);
        let shown = self.shown(width);
        let columns: Vec<&Column> = shown.iter().filter_map(|at| self.columns.get(*at)).collect();
        let mut table = comfy_table::Table::new();
        table
            .load_style(style)
            .force_no_tty()
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(u16::try_from(width).unwrap_or(u16::MAX))
            .set_header(columns.iter().map(|column| column.name.clone()));
        for row in &self.rows {
            let cells = shown.iter().zip(&columns).map(|(at, column)| {
                let cell = row.get(*at).map_or("", String::as_str);
                if column.is_kept { cell.to_owned() } else { super::cut(cell, CELL_CHARS) }
            });
            table.add_row(cells);
        }
        let whole = self.whole(&shown, width);
        for (place, (at, column)) in shown.iter().zip(&columns).enumerate() {
            let Some(drawn) = table.column_mut(place) else { continue };
            if whole.contains(at) {
                drawn.set_constraint(ColumnConstraint::ContentWidth);
            }
            if column.is_number {
                drawn.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }

    /// The columns that have room, by their places: where there is too little, those on the right
    /// are left out.
    fn shown(&self, width: usize) -> Vec<usize> {
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        while self.least(&shown) > width {
            let is_kept = |at: &usize| self.columns.get(*at).is_some_and(|column| column.is_kept);
            let Some(last) = shown.iter().rposition(|at| !is_kept(at)) else { break };
            shown.remove(last);
        }
        shown
    }

    /// The width that columns need at least.
    fn least(&self, shown: &[usize]) -> usize {
        shown.iter().map(|at| self.least_of(*at)).sum()
    }

    fn least_of(&self, at: usize) -> usize {
        let is_kept = self.columns.get(at).is_some_and(|column| column.is_kept);
        if is_kept { self.chars(at) } else { self.chars(at).min(NARROWEST) }
    }

    /// The width of a column that is not broken, with a space on either side.
    fn chars(&self, at: usize) -> usize {
        let cells = self.rows.iter().filter_map(|cells| cells.get(at));
        let chars = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        let name = self.columns.get(at).map_or(0, |column| column.name.chars().count());
        chars.max(name) + 2
    }

    /// Ids, and short columns from the left as far as the others keep room.
    fn whole(&self, shown: &[usize], width: usize) -> Vec<usize> {
        let mut room = width.saturating_sub(self.least(shown));
        let fits = |at: &&usize| {
            let (chars, least) = (self.chars(**at), self.least_of(**at));
            let is_whole = chars <= least || chars <= WHOLE_CHARS + 2 && chars - least <= room;
            if is_whole {
                room -= chars - least;
            }
            is_whole
        };
        shown.iter().filter(fits).copied().collect()
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

    #[test]
    fn an_id_is_whole_on_every_terminal_and_other_columns_give_way() {
        let mut table = Table::new(&[
            "=id", "state", "cause", "method", "site key", "host", "#submits", "batch",
        ]);
        let id = "115461337792812";
        let long = "ERROR_CAPTCHA_UNSOLVABLE";
        table.row([id, "dead", long, "userrecaptcha", "6LeAAAA", "shop.example.com", "4", "night"]);
        for width in [1, 20, 40, 60, 80, 100, 160] {
            let text = table.draw(width, Glyphs::Ascii);
            assert!(text.contains(id), "{width}:\n{text}");
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            assert!(widest <= width.max(id.len() + 2), "{width}:\n{text}");
        }
        assert!(table.draw(160, Glyphs::Ascii).contains(long));
        assert!(!table.draw(40, Glyphs::Ascii).contains("night"));
    }
}
