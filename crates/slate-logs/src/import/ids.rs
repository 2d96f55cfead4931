//! Numbers for text ids.
//!
//! Each column counts its texts from 1 in the order they first appear, so the same file gives the
//! same numbers. The texts are kept in `ids.parquet` (`column`, `id`, `text`).

use std::collections::HashMap;
use std::path::Path;

use arrow::datatypes::{DataType, Field};

use super::ImportError;
use super::table_writer::{Cell, TableWriter};

/// Gives out ids and writes down which text each stands for.
pub(crate) struct Ids {
    table: TableWriter,
    known: HashMap<(&'static str, String), i64>,
    counts: HashMap<&'static str, i64>,
}

impl Ids {
    /// No ids yet; `dir` is the log's folder.
    pub(crate) fn new(dir: &Path) -> Self {
        let fields = vec![
            Field::new("column", DataType::Utf8, false),
            Field::new("id", DataType::Int64, false),
            Field::new("text", DataType::Utf8, false),
        ];
        Self {
            table: TableWriter::new(&dir.join("ids.parquet"), fields),
            known: HashMap::new(),
            counts: HashMap::new(),
        }
    }

    /// The id of `text` in `column`, a new one where it is new.
    pub(crate) fn number(&mut self, column: &'static str, text: &str) -> Result<i64, ImportError> {
        let key = (column, text.to_owned());
        if let Some(id) = self.known.get(&key) {
            return Ok(*id);
        }
        let count = self.counts.entry(column).or_default();
        *count += 1;
        let id = *count;
        self.known.insert(key, id);
        self.keep(column, id, text)?;
        Ok(id)
    }

    /// Writes down an id that was made in another way.
    pub(crate) fn keep(&mut self, column: &str, id: i64, text: &str) -> Result<(), ImportError> {
        self.table
            .append([Cell::Text(column), Cell::Int(id), Cell::Text(text)])
    }

    /// Completes the file, if there is one.
    pub(crate) fn finish(self) -> Result<u64, ImportError> {
        self.table.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_apart_and_in_order_of_appearance() {
        let dir = tempfile::tempdir().unwrap();
        let mut ids = Ids::new(dir.path());
        assert_eq!(ids.number("user_id", "b").unwrap(), 1);
        assert_eq!(ids.number("user_id", "a").unwrap(), 2);
        assert_eq!(ids.number("item_id", "a").unwrap(), 1);
        assert_eq!(ids.number("user_id", "b").unwrap(), 1);
        assert_eq!(ids.finish().unwrap(), 3);
    }
}
