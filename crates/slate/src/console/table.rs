//! Aligned tables for people.

/// On which side a column's cells stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows of text under a header, padded to one width per column.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[(&str, Align)]) -> Self {
        let header = header
            .iter()
            .map(|&(name, align)| (name.to_owned(), align))
            .collect();
        Self {
            header,
            rows: Vec::new(),
        }
    }

    /// Adds a row; missing cells are empty.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let mut cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        cells.resize(self.header.len(), String::new());
        self.rows.push(cells);
    }

    /// The table as text, one line per row, two spaces between columns.
    pub(crate) fn render(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells
                .chain([self.header[column].0.chars().count()])
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let line = |cells: &[String]| {
            let mut text = String::new();
            for (i, cell) in cells.iter().enumerate() {
                let pad = " ".repeat(widths[i] - cell.chars().count());
                let gap = if i == 0 { "" } else { "  " };
                match self.header[i].1 {
                    Align::Left => text.push_str(&format!("{gap}{cell}{pad}")),
                    Align::Right => text.push_str(&format!("{gap}{pad}{cell}")),
                }
            }
            format!("{}\n", text.trim_end())
        };
        let names: Vec<String> = self.header.iter().map(|(name, _)| name.clone()).collect();
        let mut text = line(&names);
        for row in &self.rows {
            text.push_str(&line(row));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("name", Align::Left), ("value", Align::Right)]);
        table.row(["ndcg@10", "0.71"]);
        table.row(["n", "12345"]);
        assert_eq!(
            table.render(),
            "name     value\nndcg@10   0.71\nn        12345\n"
        );
    }
}
