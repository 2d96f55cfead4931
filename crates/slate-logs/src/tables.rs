//! A table as the queries see it: canonical types, absent columns as nulls, and a number that says
//! what is wrong with each row.
//!
//! Columns of the schema keep their names. Extra columns, whose names are the user's, are called
//! `x0`, `x1`, … inside the queries, so that no name can clash with one of ours; the output gives
//! them their names back.

use std::fmt::Write;

use arrow::datatypes::{DataType, TimeUnit};
use slate_types::log::{Column, ColumnKind, Table};

use crate::faults::Fault;
use crate::source::{LogSource, TableSource, is_number, is_text};

/// Largest slot: no page shows more, and a larger number is a mistake.
const LAST_SLOT: i64 = 1_000_000;

/// An extra column that queries can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extra {
    /// Name in the file.
    pub(crate) name: String,
    /// Name inside the queries.
    pub(crate) alias: String,
    /// Text; a number (f64) otherwise.
    pub(crate) text: bool,
}

impl Extra {
    /// Its type in canonical form.
    pub(crate) fn data_type(&self) -> DataType {
        if self.text {
            DataType::Utf8
        } else {
            DataType::Float64
        }
    }
}

/// A reason to set a row aside. Row codes count these from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// Name in the file, as the user knows it.
    pub(crate) column: String,
    /// Column inside the queries that holds the value, quoted where it must be.
    pub(crate) value: String,
    /// Column inside the queries that is looked at, as it is.
    pub(crate) tested: String,
    /// What must not be there.
    pub(crate) fault: Fault,
    /// Completes "`column` …".
    pub(crate) reason: String,
}

/// Columns of a log beyond the schema.
pub(crate) struct Extras {
    pub(crate) slot: Vec<Extra>,
    pub(crate) item: Vec<Extra>,
    /// Columns that are neither numbers nor text: table, column.
    pub(crate) ignored: Vec<(&'static str, String)>,
}

impl Extras {
    pub(crate) fn of(source: &LogSource) -> Self {
        let mut ignored = Vec::new();
        let mut used = |source: &TableSource| {
            let (used, rest) = extras(source);
            ignored.extend(rest.into_iter().map(|name| (source.table.name, name)));
            used
        };
        let slot = used(&source.slot);
        let item = source.item.as_ref().map(used).unwrap_or_default();
        Self {
            slot,
            item,
            ignored,
        }
    }
}

/// The numeric and text columns beyond the schema; others are returned as ignored.
pub(crate) fn extras(source: &TableSource) -> (Vec<Extra>, Vec<String>) {
    let (mut used, mut ignored) = (Vec::new(), Vec::new());
    for (name, data_type) in source.extras() {
        let text = is_text(data_type);
        if text || is_number(data_type) || *data_type == DataType::Boolean {
            let alias = format!("x{}", used.len());
            used.push(Extra {
                name: name.to_owned(),
                alias,
                text,
            });
        } else {
            ignored.push(name.to_owned());
        }
    }
    (used, ignored)
}

/// The columns of the schema that queries use: all but pictures and titles.
pub(crate) fn columns(table: &Table) -> impl Iterator<Item = &'static Column> {
    table
        .columns
        .iter()
        .filter(|column| column.kind != ColumnKind::Bytes && column.name != "title")
}

/// The select list that brings a table into canonical form. Without a source every column is null.
pub(crate) fn canonical(table: &Table, source: Option<&TableSource>, extras: &[Extra]) -> String {
    let mut list = Vec::new();
    for column in columns(table) {
        let given = source
            .and_then(|source| source.schema.field_with_name(column.name).ok())
            .map(arrow::datatypes::Field::data_type);
        list.push(format!(
            "{} AS {}",
            value(column, given),
            quote(column.name)
        ));
    }
    for extra in extras {
        let target = sql_name(&extra.data_type());
        list.push(format!(
            "CAST({} AS {target}) AS {}",
            quote(&extra.name),
            extra.alias
        ));
    }
    list.join(",\n  ")
}

/// The type of a column of the schema in canonical form.
pub(crate) fn canonical_type(kind: ColumnKind) -> DataType {
    match kind {
        ColumnKind::Id | ColumnKind::Timestamp | ColumnKind::Money | ColumnKind::Count => {
            DataType::Int64
        }
        ColumnKind::Text | ColumnKind::Choice(_) | ColumnKind::Bytes => DataType::Utf8,
        ColumnKind::Rate | ColumnKind::Probability | ColumnKind::Number => DataType::Float64,
    }
}

/// What the engine calls a canonical type.
fn sql_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int64 => "BIGINT",
        DataType::Float64 => "DOUBLE",
        _ => "VARCHAR",
    }
}

fn value(column: &Column, given: Option<&DataType>) -> String {
    let target = sql_name(&canonical_type(column.kind));
    let name = quote(column.name);
    match given {
        None => format!("CAST(NULL AS {target})"),
        Some(DataType::Timestamp(unit, _)) => {
            let whole = format!("CAST({name} AS BIGINT)");
            match unit {
                TimeUnit::Second => format!("{whole} * 1000000"),
                TimeUnit::Millisecond => format!("{whole} * 1000"),
                TimeUnit::Microsecond => whole,
                TimeUnit::Nanosecond => format!("{whole} / 1000"),
            }
        }
        Some(_) => format!("CAST({name} AS {target})"),
    }
}

/// What makes a row of this table unusable by itself, in the order of the columns.
pub(crate) fn checks(table: &Table, extras: &[Extra]) -> Vec<Check> {
    let mut checks = Vec::new();
    for column in columns(table) {
        let mut add = |fault: Fault, reason: String| {
            checks.push(Check {
                column: column.name.to_owned(),
                value: quote(column.name),
                tested: column.name.to_owned(),
                fault,
                reason,
            });
        };
        if column.required {
            add(Fault::Null, "is null".to_owned());
        }
        match column.kind {
            ColumnKind::Id | ColumnKind::Text | ColumnKind::Bytes => {}
            ColumnKind::Timestamp => add(
                Fault::FarTime,
                "is outside the years 2000 to 2100".to_owned(),
            ),
            ColumnKind::Choice(allowed) => add(
                Fault::NoneOf(allowed),
                format!("is none of {}", allowed.join(", ")),
            ),
            ColumnKind::Money => add(Fault::Negative, "is negative".to_owned()),
            ColumnKind::Count => {
                add(Fault::Negative, "is negative".to_owned());
                if column.name == "slot" {
                    add(Fault::Above(LAST_SLOT), format!("is above {LAST_SLOT}"));
                }
            }
            ColumnKind::Rate => add(Fault::NoRate, "is not a finite number from 0 up".to_owned()),
            ColumnKind::Probability => add(
                Fault::NoProbability,
                "is not a number from 0 to 1".to_owned(),
            ),
            ColumnKind::Number => add(Fault::NotFinite, "is not a finite number".to_owned()),
        }
    }
    for extra in extras.iter().filter(|extra| !extra.text) {
        checks.push(Check {
            column: extra.name.clone(),
            value: extra.alias.clone(),
            tested: extra.alias.clone(),
            fault: Fault::NotFinite,
            reason: "is not a finite number".to_owned(),
        });
    }
    checks
}

/// The expression that numbers the first failed check from 1, 0 for a good row.
pub(crate) fn code(checks: &[Check]) -> String {
    let mut cases = String::new();
    for (i, check) in checks.iter().enumerate() {
        let bad = check.fault.sql(&quote(&check.tested));
        let _ = write!(cases, " WHEN {bad} THEN {}", i + 1);
    }
    format!("CASE{cases} ELSE 0 END")
}

/// An identifier in double quotes.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
