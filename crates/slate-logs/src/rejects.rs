//! Rows that cannot be used: how many, and the file they are kept in.

use arrow::datatypes::{DataType, Field, Schema};
use serde::Serialize;

/// Rows of one table set aside for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RejectCount {
    /// The table.
    pub table: String,
    /// The column the reason is about.
    pub column: String,
    /// Completes "the value …", as in "is negative".
    pub reason: String,
    /// How many rows.
    pub rows: u64,
}

/// The columns of `rejects.parquet`.
pub(crate) fn schema() -> Schema {
    Schema::new(vec![
        Field::new("table", DataType::Utf8, false),
        Field::new("key", DataType::Int64, true),
        Field::new("column", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, true),
        Field::new("reason", DataType::Utf8, false),
    ])
}
