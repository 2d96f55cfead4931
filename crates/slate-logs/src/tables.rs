//! A table as the queries see it: canonical types, absent columns as nulls, and a number that says
//! what is wrong with each row.
//!
//! Columns of the schema keep their names. Extra columns, whose names are the user's, are called
//! `x0`, `x1`, … inside the queries, so that no name can clash with one of ours; the output gives
//! them their names back.

use std::fmt::Write;

use arrow::datatypes::{DataType, TimeUnit};
use slate_types::log::{Column, ColumnKind, Table};

use crate::source::{TableSource, is_number, is_text};

/// 2000-01-01, inclusive.
pub(crate) const EARLIEST: i64 = 946_684_800_000_000;
/// 2100-01-01, exclusive.
pub(crate) const LATEST: i64 = 4_102_444_800_000_000;
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

/// A reason to set a row aside. Row codes count these from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// Name in the file, as the user knows it.
    pub(crate) column: String,
    /// Column inside the queries that holds the value.
    pub(crate) value: String,
    /// Condition, true for a bad row. Null counts as false.
    pub(crate) bad: String,
    /// Completes "`column` …".
    pub(crate) reason: String,
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
        let target = if extra.text { "VARCHAR" } else { "DOUBLE" };
        list.push(format!(
            "CAST({} AS {target}) AS {}",
            quote(&extra.name),
            extra.alias
        ));
    }
    list.join(",\n  ")
}

fn value(column: &Column, given: Option<&DataType>) -> String {
    let target = match column.kind {
        ColumnKind::Id | ColumnKind::Timestamp | ColumnKind::Money | ColumnKind::Count => "BIGINT",
        ColumnKind::Text | ColumnKind::Choice(_) | ColumnKind::Bytes => "VARCHAR",
        ColumnKind::Rate | ColumnKind::Probability | ColumnKind::Number => "DOUBLE",
    };
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
        let name = quote(column.name);
        let mut add = |bad: String, reason: String| {
            checks.push(Check {
                column: column.name.to_owned(),
                value: name.clone(),
                bad,
                reason,
            });
        };
        if column.required {
            add(format!("{name} IS NULL"), "is null".to_owned());
        }
        match column.kind {
            ColumnKind::Id | ColumnKind::Text | ColumnKind::Bytes => {}
            ColumnKind::Timestamp => add(
                format!("{name} < {EARLIEST} OR {name} >= {LATEST}"),
                "is outside the years 2000 to 2100".to_owned(),
            ),
            ColumnKind::Choice(allowed) => {
                let list: Vec<_> = allowed.iter().map(|choice| format!("'{choice}'")).collect();
                add(
                    format!("{name} NOT IN ({})", list.join(", ")),
                    format!("is none of {}", allowed.join(", ")),
                );
            }
            ColumnKind::Money => add(format!("{name} < 0"), "is negative".to_owned()),
            ColumnKind::Count => {
                add(format!("{name} < 0"), "is negative".to_owned());
                if column.name == "slot" {
                    add(
                        format!("{name} > {LAST_SLOT}"),
                        format!("is above {LAST_SLOT}"),
                    );
                }
            }
            ColumnKind::Rate => add(
                format!("{} OR {}", negative(&name), not_finite(&name)),
                "is not a finite number from 0 up".to_owned(),
            ),
            ColumnKind::Probability => add(
                format!("{} OR {name} > 1.0", negative(&name)),
                "is not a number from 0 to 1".to_owned(),
            ),
            ColumnKind::Number => add(not_finite(&name), "is not a finite number".to_owned()),
        }
    }
    for extra in extras.iter().filter(|extra| !extra.text) {
        checks.push(Check {
            column: extra.name.clone(),
            value: extra.alias.clone(),
            bad: not_finite(&extra.alias),
            reason: "is not a finite number".to_owned(),
        });
    }
    checks
}

/// The engine compares floats in IEEE total order, in which -0.0 is below 0.0 and NaN, by its sign,
/// below or above every number: hence a bound a little below zero, and bounds that NaN exceeds.
fn negative(name: &str) -> String {
    format!("{name} < -1e-300")
}

fn not_finite(name: &str) -> String {
    format!("{name} < {:e} OR {name} > {:e}", f64::MIN, f64::MAX)
}

/// The expression that numbers the first failed check from 1, 0 for a good row.
pub(crate) fn code(checks: &[Check]) -> String {
    let mut cases = String::new();
    for (i, check) in checks.iter().enumerate() {
        let _ = write!(cases, " WHEN {} THEN {}", check.bad, i + 1);
    }
    format!("CASE{cases} ELSE 0 END")
}

/// An identifier in double quotes.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
