//! Columns that line up, whatever colours and letters stand in them.
use console::{Alignment, measure_text_width, pad_str};

/// Rows below a heading; two blanks between columns.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// Columns of numbers, whose digits should stand below each other.
    right: Vec<usize>,
}

impl Table {
    pub(super) fn new(heading: &[&str]) -> Self {
        let heading = heading.iter().map(|title| console::style(title).dim().to_string()).collect();
        Self { rows: vec![heading], right: vec![] }
    }

    /// Aligns these columns, counted from 0, to the right.
    pub(super) fn right(mut self, columns: &[usize]) -> Self {
        self.right = columns.to_vec();
        self
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// One line for each row, without blanks at its end.
    pub(super) fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| measure_text_width(cell)).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                let side = if self.right.contains(&column) { Alignment::Right } else { Alignment::Left };
                pad_str(cell, *width, side, None).into_owned()
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        console::set_colors_enabled(false);
        let mut table = Table::new(&["region", "calls"]).right(&[1]);
        table.row(vec!["swedencentral".into(), "7".into()]);
        table.row(vec!["größer".into(), "1234".into()]);
        assert_eq!(table.lines(), ["region         calls", "swedencentral      7", "größer          1234"]);
    }
}
