//! One row of a source file, and what makes it unusable.

use std::path::PathBuf;

use csv::ByteRecord;

use super::ImportError;

/// Texts that published files use for a missing value.
const MISSING: [&str; 4] = ["", "NA", "NULL", "\\N"];

/// Longest value copied into a reject, in characters.
const LONGEST: usize = 200;

/// Why one row cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reject {
    pub(crate) column: String,
    pub(crate) value: String,
    pub(crate) reason: String,
}

/// A reject, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlacedReject {
    pub(crate) path: PathBuf,
    pub(crate) line: u64,
    pub(crate) reject: Reject,
}

/// What ends the work on a row: the row is unusable, or nothing can go on.
#[derive(Debug)]
pub(crate) enum RowError {
    Reject(Reject),
    Fatal(ImportError),
}

impl From<Reject> for RowError {
    fn from(reject: Reject) -> Self {
        Self::Reject(reject)
    }
}

impl From<ImportError> for RowError {
    fn from(error: ImportError) -> Self {
        Self::Fatal(error)
    }
}

/// Place of a column in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column(pub(crate) usize);

/// One row. Every reader refuses a row whose number of columns differs from the header's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) names: &'a [String],
    pub(crate) fields: &'a ByteRecord,
}

impl<'a> Record<'a> {
    /// The text of a cell, trimmed and without the quotes around it; may be empty.
    pub(crate) fn raw(&self, column: Column) -> Result<&'a str, Reject> {
        if self.fields.len() != self.names.len() {
            return Err(Reject {
                column: String::new(),
                value: format!("{} columns", self.fields.len()),
                reason: format!("expected {} columns as in the header", self.names.len()),
            });
        }
        let bytes = &self.fields[column.0];
        let text = std::str::from_utf8(bytes).map_err(|_| Reject {
            column: self.names[column.0].clone(),
            value: shorten(&String::from_utf8_lossy(bytes)),
            reason: "expected UTF-8".to_owned(),
        })?;
        Ok(unquote(text))
    }

    /// A cell read by `read`, which gives `None` for a value that is not `expected`.
    pub(crate) fn parse<T>(
        &self,
        column: Column,
        expected: &str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, Reject> {
        let text = self.raw(column)?;
        read(text).ok_or_else(|| self.reject(column, &format!("expected {expected}")))
    }

    /// Like [`Record::parse`], with `None` for a missing value.
    pub(crate) fn parse_optional<T>(
        &self,
        column: Column,
        expected: &str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, Reject> {
        if MISSING.contains(&self.raw(column)?) {
            return Ok(None);
        }
        self.parse(column, expected, read).map(Some)
    }

    /// Text that is there.
    pub(crate) fn text(&self, column: Column) -> Result<&'a str, Reject> {
        self.parse(column, "text", |text| {
            (!MISSING.contains(&text)).then_some(text)
        })
    }

    /// Text, or nothing where it is missing.
    pub(crate) fn optional_text(&self, column: Column) -> Result<Option<&'a str>, Reject> {
        self.parse_optional(column, "text", Some)
    }

    /// A whole number from 0 up, as ids and counts are.
    pub(crate) fn id(&self, column: Column) -> Result<i64, Reject> {
        self.parse(column, "a whole number from 0 up", parse_id)
    }

    /// A whole number from 0 up, or nothing where it is missing.
    pub(crate) fn optional_id(&self, column: Column) -> Result<Option<i64>, Reject> {
        self.parse_optional(column, "a whole number from 0 up", parse_id)
    }

    /// A finite number, or nothing where it is missing.
    pub(crate) fn optional_number(&self, column: Column) -> Result<Option<f64>, Reject> {
        self.parse_optional(column, "a finite number", parse_number)
    }

    /// `0` or `1`.
    pub(crate) fn flag(&self, column: Column) -> Result<bool, Reject> {
        self.parse(column, "0 or 1", |text| match text {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        })
    }

    /// Refuses this row for the value in `column`.
    pub(crate) fn reject(&self, column: Column, reason: &str) -> Reject {
        let value = self
            .fields
            .get(column.0)
            .map(String::from_utf8_lossy)
            .unwrap_or_default();
        Reject {
            column: self.names[column.0].clone(),
            value: shorten(unquote(&value)),
            reason: reason.to_owned(),
        }
    }
}

/// A finite number.
pub(crate) fn parse_number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// An amount such as `104.77` in whole cents, halves up; refuses negative amounts.
pub(crate) fn parse_cents(text: &str) -> Option<i64> {
    let cents = (parse_number(text)? * 100.0).round();
    // Above 2^53 an f64 no longer holds every whole number.
    (0.0..=9_007_199_254_740_992.0)
        .contains(&cents)
        .then_some(cents as i64)
}

fn parse_id(text: &str) -> Option<i64> {
    text.parse().ok().filter(|id| *id >= 0)
}

/// Strips blanks and one pair of double quotes.
pub(crate) fn unquote(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text)
}

fn shorten(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `read` makes of a one-column row holding `cell`.
    fn read<T: std::fmt::Debug>(
        cell: &[u8],
        read: impl Fn(&Record<'_>, Column) -> Result<T, Reject>,
    ) -> String {
        let names = ["x".to_owned()];
        let fields = ByteRecord::from(vec![cell]);
        let record = Record {
            names: &names,
            fields: &fields,
        };
        match read(&record, Column(0)) {
            Ok(value) => format!("{value:?}"),
            Err(reject) => format!("{} `{}` {}", reject.column, reject.value, reject.reason),
        }
    }

    #[test]
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the methods fix the lifetime of the row, the closures leave it open"
    )]
    fn cells_are_read_or_refused_with_their_value() {
        assert_eq!(read(b" \"7\" ", |row, at| row.id(at)), "7");
        assert_eq!(
            read(b"-7", |row, at| row.id(at)),
            "x `-7` expected a whole number from 0 up"
        );
        assert_eq!(read(b"NULL", |row, at| row.optional_number(at)), "None");
        assert_eq!(
            read(b"4.3E-2", |row, at| row.optional_number(at)),
            "Some(0.043)"
        );
        assert_eq!(
            read(b"inf", |row, at| row.optional_number(at)),
            "x `inf` expected a finite number"
        );
        assert_eq!(
            read(b"NA", |row, at| row.text(at).map(str::len)),
            "x `NA` expected text"
        );
        assert_eq!(read(b"2", |row, at| row.flag(at)), "x `2` expected 0 or 1");
        assert_eq!(
            read(b"\xff", |row, at| row.raw(at).map(str::len)),
            "x `\u{fffd}` expected UTF-8"
        );
    }

    #[test]
    fn a_row_of_another_width_is_refused() {
        let names = ["x".to_owned(), "y".to_owned()];
        let fields = ByteRecord::from(vec!["1"]);
        let reject = Record {
            names: &names,
            fields: &fields,
        }
        .id(Column(0))
        .unwrap_err();
        assert_eq!(reject.value, "1 columns");
        assert_eq!(reject.reason, "expected 2 columns as in the header");
    }

    #[test]
    fn amounts_become_cents() {
        assert_eq!(parse_cents("104.77"), Some(10_477));
        assert_eq!(parse_cents("0.29"), Some(29));
        assert_eq!(parse_cents("0"), Some(0));
        assert_eq!(parse_cents("-1"), None);
        assert_eq!(parse_cents("1e300"), None);
        assert_eq!(parse_cents("NaN"), None);
    }
}
