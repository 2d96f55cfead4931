//! Rows of the log as they are read: names and values, absent ones as null.

use std::fmt;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use serde::ser::{SerializeMap, Serializer};
use slate_types::log::{ColumnKind, Table};

use crate::date;
use crate::tables::{self, Extra};

/// A row of a table: columns in the order of the schema, then extra ones.
#[derive(Debug, Clone, PartialEq)]
pub struct RawRow(pub Vec<(String, RawValue)>);

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum RawValue {
    /// Unknown.
    Null,
    /// An id, money or a count.
    Whole(i64),
    /// UTC microseconds since 1970.
    Time(i64),
    /// Any other number.
    Number(f64),
    /// A text.
    Text(String),
}

impl RawRow {
    /// The value of a column, null where there is none.
    pub fn get(&self, column: &str) -> &RawValue {
        self.0
            .iter()
            .find(|(name, _)| name == column)
            .map_or(&RawValue::Null, |(_, value)| value)
    }
}

impl RawValue {
    /// The whole number or time, none for anything else.
    pub fn whole(&self) -> Option<i64> {
        match self {
            Self::Whole(value) | Self::Time(value) => Some(*value),
            _ => None,
        }
    }
}

impl fmt::Display for RawValue {
    /// As a person reads it: times as RFC 3339, null as `-`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("-"),
            Self::Whole(value) => write!(f, "{value}"),
            Self::Time(value) => f.write_str(&date::format(*value)),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

impl serde::Serialize for RawRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl serde::Serialize for RawValue {
    /// As in the log: times are microseconds.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Whole(value) | Self::Time(value) => serializer.serialize_i64(*value),
            Self::Number(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
        }
    }
}

/// The select list of a table's own columns.
pub(super) fn select_list(table: &Table, extras: &[Extra]) -> String {
    let own = tables::columns(table).map(|column| tables::quote(column.name));
    let extra = extras.iter().map(|extra| extra.alias.clone());
    own.chain(extra).collect::<Vec<_>>().join(", ")
}

/// Rows of a query with the columns of [`select_list`].
pub(super) fn rows(table: &Table, extras: &[Extra], batches: &[RecordBatch]) -> Vec<RawRow> {
    let own = tables::columns(table).map(|column| {
        let time = column.kind == ColumnKind::Timestamp;
        (column.name.to_owned(), time)
    });
    let extra = extras.iter().map(|extra| (extra.name.clone(), false));
    let columns: Vec<(String, bool)> = own.chain(extra).collect();
    let mut rows = Vec::new();
    for batch in batches {
        for at in 0..batch.num_rows() {
            let values = columns
                .iter()
                .zip(batch.columns())
                .map(|((name, time), array)| (name.clone(), value(array.as_ref(), at, *time)));
            rows.push(RawRow(values.collect()));
        }
    }
    rows
}

fn value(array: &dyn Array, at: usize, time: bool) -> RawValue {
    if array.is_null(at) {
        return RawValue::Null;
    }
    match array.data_type() {
        DataType::Int64 => {
            let value = array.as_primitive::<Int64Type>().value(at);
            if time {
                RawValue::Time(value)
            } else {
                RawValue::Whole(value)
            }
        }
        DataType::Float64 => RawValue::Number(array.as_primitive::<Float64Type>().value(at)),
        // The canonical form of a table knows no other type.
        _ => RawValue::Text(array.as_string::<i32>().value(at).to_owned()),
    }
}
