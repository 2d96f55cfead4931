//! Values of text files to the types of the contract.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::datatypes::{DataType, Field};
use slate_types::log::{ColumnKind, Table};

use super::{At, Columns, Converted, Raw, Row, Unreadable, shorten};
use crate::LogError;
use crate::import::table_writer::{Cell, TableWriter};
use crate::import::time::parse_time;
use crate::rejects::RejectCount;

/// Which columns hold a value that is no number.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    text: Vec<bool>,
}

impl Kinds {
    pub(super) fn look_at(&mut self, row: &Row<'_>) {
        for &(index, value) in row {
            if self.text.len() <= index {
                self.text.resize(index + 1, false);
            }
            if let Raw::Text(text) = value
                && text.parse::<f64>().is_err()
            {
                self.text[index] = true;
            }
        }
    }
}

/// What a column of the output takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    Time,
    Number,
    Text,
}

/// A table being written, and its unreadable rows.
pub(super) struct Writer {
    table: &'static Table,
    names: Vec<String>,
    kinds: Vec<Option<Kind>>,
    /// Place in the output of each column that has one.
    places: Vec<usize>,
    file: PathBuf,
    rows: TableWriter,
    unread_file: PathBuf,
    unread: TableWriter,
    counts: BTreeMap<(String, &'static str), u64>,
}

impl Writer {
    pub(super) fn create(
        table: &'static Table,
        columns: &Columns,
        kinds: &Kinds,
        folder: &Path,
    ) -> Self {
        let mut of_columns = Vec::new();
        let mut places = Vec::new();
        let mut fields = Vec::new();
        for (index, name) in columns.names.iter().enumerate() {
            let kind = match table.column(name).map(|column| column.kind) {
                Some(ColumnKind::Id | ColumnKind::Money | ColumnKind::Count) => Some(Kind::Whole),
                Some(ColumnKind::Timestamp) => Some(Kind::Time),
                Some(ColumnKind::Rate | ColumnKind::Probability | ColumnKind::Number) => {
                    Some(Kind::Number)
                }
                Some(ColumnKind::Text | ColumnKind::Choice(_)) => Some(Kind::Text),
                // Pictures are no text.
                Some(ColumnKind::Bytes) => None,
                None if kinds.text.get(index).copied().unwrap_or(false) => Some(Kind::Text),
                None => Some(Kind::Number),
            };
            places.push(fields.len());
            of_columns.push(kind);
            if let Some(kind) = kind {
                let data_type = match kind {
                    Kind::Whole | Kind::Time => DataType::Int64,
                    Kind::Number => DataType::Float64,
                    Kind::Text => DataType::Utf8,
                };
                fields.push(Field::new(name, data_type, true));
            }
        }
        let file = folder.join(format!("{}.parquet", table.name));
        let unread_file = folder.join(format!("{}.unread.parquet", table.name));
        let unread = crate::rejects::schema();
        let unread = unread.fields().iter().map(|field| field.as_ref().clone());
        Self {
            table,
            names: columns.names.clone(),
            kinds: of_columns,
            places,
            rows: TableWriter::new(&file, fields),
            file,
            unread: TableWriter::new(&unread_file, unread.collect()),
            unread_file,
            counts: BTreeMap::new(),
        }
    }

    /// Takes a line.
    pub(super) fn add(
        &mut self,
        at: At<'_>,
        row: Result<Row<'_>, Unreadable>,
    ) -> Result<(), LogError> {
        let row = match row {
            Ok(row) => row,
            Err(Unreadable { value, reason }) => {
                return self.set_aside(at, None, String::new(), &value, reason);
            }
        };
        let width = self.kinds.iter().flatten().count();
        let mut cells = vec![Cell::Null; width];
        for (index, value) in &row {
            let Some(kind) = self.kinds[*index] else {
                continue;
            };
            match cell(kind, value) {
                Ok(cell) => cells[self.places[*index]] = cell,
                Err(reason) => {
                    let column = self.names[*index].clone();
                    let key = self.key(&row);
                    return self.set_aside(at, key, column, &shown(value), reason);
                }
            }
        }
        // Numbers that text columns hold get their digits back.
        let digits: Vec<(usize, String)> = row
            .iter()
            .filter(|(index, value)| {
                self.kinds[*index] == Some(Kind::Text)
                    && matches!(value, Raw::Whole(_) | Raw::Number(_))
            })
            .map(|(index, value)| (self.places[*index], shown(value)))
            .collect();
        for (place, text) in &digits {
            cells[*place] = Cell::Text(text);
        }
        self.rows.append(cells).map_err(failed)
    }

    /// The key of a row, where it can be read.
    fn key(&self, row: &Row<'_>) -> Option<i64> {
        let name = self.table.key.unwrap_or("event_id");
        let (_, value) = row.iter().find(|(index, _)| self.names[*index] == name)?;
        match cell(Kind::Whole, value) {
            Ok(Cell::Int(key)) => Some(key),
            _ => None,
        }
    }

    fn set_aside(
        &mut self,
        at: At<'_>,
        key: Option<i64>,
        column: String,
        value: &str,
        reason: &'static str,
    ) -> Result<(), LogError> {
        let value = format!("{value} (line {} of {})", at.line, at.file);
        let cells = [
            Cell::Text(self.table.name),
            key.into(),
            Cell::Text(&column),
            Cell::Text(&value),
            Cell::Text(reason),
        ];
        self.unread.append(cells).map_err(failed)?;
        *self.counts.entry((column, reason)).or_default() += 1;
        Ok(())
    }

    /// `shown` is how a person knows the table.
    pub(super) fn finish(self, shown: &Path) -> Result<Converted, LogError> {
        let rows = self.rows.finish().map_err(failed)?;
        let unread = self.unread.finish().map_err(failed)?;
        if rows == 0 {
            let shown = shown.to_owned();
            return Err(match self.counts.iter().max_by_key(|(_, rows)| **rows) {
                None => LogError::Empty { file: shown },
                Some(((column, reason), rows)) => LogError::NothingLeft {
                    reason: format!("no row can be read; `{column}` {reason} in {rows} of them"),
                    dir: shown,
                },
            });
        }
        let counts = self.counts.into_iter();
        Ok(Converted {
            file: self.file,
            unread: (unread > 0).then_some(self.unread_file),
            counts: counts
                .map(|((column, reason), rows)| RejectCount {
                    table: self.table.name.to_owned(),
                    column,
                    reason: reason.to_owned(),
                    rows,
                })
                .collect(),
        })
    }
}

fn failed(error: crate::import::ImportError) -> LogError {
    LogError::Convert(Box::new(error))
}

/// A value as its column takes it, or what is wrong with it.
fn cell<'a>(kind: Kind, value: &Raw<'a>) -> Result<Cell<'a>, &'static str> {
    match (kind, *value) {
        // Of a number in a column of text the caller writes the digits.
        (_, Raw::Null) | (Kind::Text, Raw::Whole(_) | Raw::Number(_)) => Ok(Cell::Null),
        (Kind::Whole | Kind::Time, Raw::Whole(number)) => Ok(Cell::Int(number)),
        (Kind::Whole, Raw::Text(text)) => whole(text).ok_or("is no whole number"),
        (Kind::Whole, Raw::Number(_)) => Err("is no whole number"),
        (Kind::Time, Raw::Text(text)) => whole(text)
            .or_else(|| parse_time(text).map(Cell::Int))
            .ok_or("is no time"),
        (Kind::Time, Raw::Number(_)) => Err("is no time"),
        (Kind::Number, Raw::Whole(number)) => Ok(Cell::Float(number as f64)),
        (Kind::Number, Raw::Number(number)) => Ok(Cell::Float(number)),
        (Kind::Number, Raw::Text(text)) => {
            text.parse().map(Cell::Float).map_err(|_| "is no number")
        }
        (Kind::Text, Raw::Text(text)) => Ok(Cell::Text(text)),
    }
}

/// A whole number as it is written and no other way: `007` is a name.
fn whole(text: &str) -> Option<Cell<'static>> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(Cell::Int(number))
}

fn shown(value: &Raw<'_>) -> String {
    match value {
        Raw::Null => String::new(),
        Raw::Text(text) => shorten(text),
        Raw::Whole(number) => number.to_string(),
        Raw::Number(number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_whole_numbers_written_one_way() {
        for good in ["0", "-5", "9223372036854775807"] {
            assert!(cell(Kind::Whole, &Raw::Text(good)).is_ok(), "{good}");
        }
        for bad in ["007", "1.0", "+1", " 1", "x", "9223372036854775808"] {
            assert_eq!(
                cell(Kind::Whole, &Raw::Text(bad)),
                Err("is no whole number"),
                "{bad}"
            );
        }
        assert_eq!(
            cell(Kind::Whole, &Raw::Number(1.5)),
            Err("is no whole number")
        );
    }

    #[test]
    fn times_are_microseconds_or_dates_with_a_clock() {
        let micros = cell(Kind::Time, &Raw::Text("1767225600000000"));
        assert_eq!(micros, Ok(Cell::Int(1_767_225_600_000_000)));
        for text in [
            "2026-01-01T00:00:00Z",
            "2026-01-01 01:00:00+01:00",
            "2026-01-01 00:00:00",
        ] {
            assert_eq!(cell(Kind::Time, &Raw::Text(text)), micros, "{text}");
        }
        assert_eq!(cell(Kind::Time, &Raw::Text("soon")), Err("is no time"));
    }
}
