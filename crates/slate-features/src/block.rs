//! Whole lists of examples in memory, with columns as one of three types.
//!
//! Whatever a file calls its types, a feature sees numbers (f64), whole numbers (i64; times are
//! UTC microseconds, true/false is 1/0) or text. Null stays null until a feature says what it
//! means; infinity and NaN are errors.

use std::{fmt::Display, path::PathBuf, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray},
    compute::cast,
    datatypes::{DataType, Field, Float64Type, Int64Type, Schema, TimeUnit},
};
use slate_types::ListOffsets;

use crate::FeatureError;

/// Rows of whole lists, list after list.
#[derive(Debug, Clone)]
pub struct Block {
    batch: RecordBatch,
    lists: ListOffsets,
    /// Named in errors.
    file: PathBuf,
    /// Row of the file that the first row here is; named in errors.
    first_row: u64,
    /// Rows from there on to each row here, where some were left out.
    origin: Option<Vec<u64>>,
}

/// One column of a [`Block`].
pub(crate) enum Column<'a> {
    Integers(&'a Int64Array),
    Numbers(&'a Float64Array),
    Texts(&'a StringArray),
}

impl Block {
    /// Takes the rows of `lists`.
    ///
    /// `file` and `first_row` are where the rows come from; errors name them.
    ///
    /// # Errors
    /// [`FeatureError::ColumnType`] for a column that is neither number, time nor text;
    /// [`FeatureError::Order`] where `lists` does not cover the rows.
    pub fn new(
        batch: &RecordBatch,
        lists: ListOffsets,
        file: PathBuf,
        first_row: u64,
    ) -> Result<Self, FeatureError> {
        if lists.rows() != batch.num_rows() {
            let problem = format!("lists cover {} rows of {}", lists.rows(), batch.num_rows());
            return Err(FeatureError::Order {
                file,
                row: first_row,
                problem,
            });
        }
        let batch = canonical(batch, &file)?;
        Ok(Self {
            batch,
            lists,
            file,
            first_row,
            origin: None,
        })
    }

    /// Takes rows one by one, to be read where their lists do not matter.
    ///
    /// # Errors
    /// [`FeatureError::ColumnType`] as [`Block::new`].
    pub(crate) fn of_rows(
        batch: &RecordBatch,
        file: PathBuf,
        first_row: u64,
    ) -> Result<Self, FeatureError> {
        let lists = ListOffsets::from_lengths(std::iter::repeat_n(1, batch.num_rows()))
            .expect("a length of 1 is a list");
        Self::new(batch, lists, file, first_row)
    }

    /// The same rows, which were these of more.
    pub(crate) fn with_origin(self, origin: Option<Vec<u64>>) -> Self {
        Self { origin, ..self }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Where each list begins and ends.
    pub fn lists(&self) -> &ListOffsets {
        &self.lists
    }

    /// The column, or an error that lists what there is.
    pub(crate) fn column(&self, name: &str) -> Result<Column<'_>, FeatureError> {
        let array = self
            .batch
            .column_by_name(name)
            .ok_or_else(|| FeatureError::MissingColumn {
                file: self.file.clone(),
                column: name.to_owned(),
                wanted_by: "the feature map".to_owned(),
                available: self
                    .batch
                    .schema()
                    .fields()
                    .iter()
                    .map(|f| f.name().clone())
                    .collect(),
            })?;
        Ok(match array.data_type() {
            DataType::Int64 => Column::Integers(array.as_primitive::<Int64Type>()),
            DataType::Float64 => Column::Numbers(array.as_primitive::<Float64Type>()),
            _ => Column::Texts(array.as_string::<i32>()),
        })
    }

    /// Whether there is such a column.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.batch.column_by_name(name).is_some()
    }

    /// A column as numbers, NaN for null and nothing else.
    pub(crate) fn numbers(&self, name: &str) -> Result<Vec<f64>, FeatureError> {
        match self.column(name)? {
            Column::Integers(array) => {
                let mut numbers: Vec<f64> = array.values().iter().map(|&v| v as f64).collect();
                forget_nulls(&mut numbers, array);
                Ok(numbers)
            }
            Column::Numbers(array) => {
                let mut numbers = array.values().to_vec();
                if !numbers.iter().all(|number| number.is_finite()) {
                    let infinite = |&row: &usize| !array.is_null(row) && !numbers[row].is_finite();
                    if let Some(row) = (0..numbers.len()).find(infinite) {
                        return Err(self.bad_value(name, row, numbers[row], "a finite number"));
                    }
                }
                forget_nulls(&mut numbers, array);
                Ok(numbers)
            }
            Column::Texts(_) => Err(self.bad_type(name, "numbers")),
        }
    }

    /// A column of times as hours from them to the page; NaN for null and for times after it.
    pub(crate) fn hours_since(&self, name: &str) -> Result<Vec<f64>, FeatureError> {
        let Column::Integers(times) = self.column(name)? else {
            return Err(self.bad_type(name, "times"));
        };
        let pages = self.integers("ts")?.values();
        let since = times.iter().zip(pages).map(|(time, page)| match time {
            Some(time) if time <= *page => (page - time) as f64 / 3.6e9,
            _ => f64::NAN,
        });
        Ok(since.collect())
    }

    /// A column as numbers, or as hours since it.
    pub(crate) fn numbers_or_hours(
        &self,
        name: &str,
        time_since: bool,
    ) -> Result<Vec<f64>, FeatureError> {
        if time_since {
            self.hours_since(name)
        } else {
            self.numbers(name)
        }
    }

    /// A column as whole numbers, null where there is none.
    pub(crate) fn ids(&self, name: &str) -> Result<&Int64Array, FeatureError> {
        match self.column(name)? {
            Column::Integers(array) => Ok(array),
            _ => Err(self.bad_type(name, "whole numbers")),
        }
    }

    /// A column as whole numbers without null.
    pub(crate) fn integers(&self, name: &str) -> Result<&Int64Array, FeatureError> {
        let array = self.ids(name)?;
        if array.null_count() == 0 {
            return Ok(array);
        }
        let row = (0..array.len()).find(|&row| array.is_null(row));
        let row = row.expect("one of them is null");
        Err(self.bad_value(name, row, "null", "a whole number"))
    }

    pub(crate) fn bad_type(&self, column: &str, expected: &'static str) -> FeatureError {
        let found = match self.column(column) {
            Ok(Column::Integers(_)) => "whole numbers",
            Ok(Column::Numbers(_)) => "numbers",
            _ => "text",
        };
        FeatureError::ColumnType {
            file: self.file.clone(),
            column: column.to_owned(),
            expected,
            found: found.to_owned(),
        }
    }

    /// `row` counts within this block.
    pub(crate) fn bad_value(
        &self,
        column: &str,
        row: usize,
        value: impl Display,
        expected: impl Into<String>,
    ) -> FeatureError {
        FeatureError::Value {
            file: self.file.clone(),
            column: column.to_owned(),
            row: self.first_row + self.origin.as_ref().map_or(row as u64, |rows| rows[row]),
            value: value.to_string(),
            expected: expected.into(),
        }
    }
}

/// Puts NaN where the column is null.
fn forget_nulls(numbers: &mut [f64], column: &dyn Array) {
    if column.null_count() > 0 {
        for (row, number) in numbers.iter_mut().enumerate() {
            if column.is_null(row) {
                *number = f64::NAN;
            }
        }
    }
}

/// The same rows with columns of type i64, f64 or text.
fn canonical(batch: &RecordBatch, file: &std::path::Path) -> Result<RecordBatch, FeatureError> {
    let schema = batch.schema();
    let mut fields = Vec::with_capacity(schema.fields().len());
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for (field, array) in schema.fields().iter().zip(batch.columns()) {
        let mut array = Arc::clone(array);
        for kind in steps(array.data_type()).ok_or_else(|| FeatureError::ColumnType {
            file: file.to_path_buf(),
            column: field.name().clone(),
            expected: "numbers, a time, true/false or text",
            found: array.data_type().to_string(),
        })? {
            array = cast(&array, &kind).map_err(FeatureError::arrow(file))?;
        }
        fields.push(Field::new(field.name(), array.data_type().clone(), true));
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(FeatureError::arrow(file))
}

/// The types to go through, or none where the type cannot be used.
fn steps(from: &DataType) -> Option<Vec<DataType>> {
    Some(match from {
        DataType::Int64 | DataType::Float64 | DataType::Utf8 => vec![],
        DataType::LargeUtf8 | DataType::Utf8View => vec![DataType::Utf8],
        DataType::Timestamp(TimeUnit::Microsecond, _) => vec![DataType::Int64],
        DataType::Timestamp(_, zone) => {
            vec![
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
                DataType::Int64,
            ]
        }
        kind if kind.is_integer() || *kind == DataType::Boolean => vec![DataType::Int64],
        kind if kind.is_floating() || *kind == DataType::Null => vec![DataType::Float64],
        DataType::Decimal128(..) => vec![DataType::Float64],
        DataType::Dictionary(_, values) => {
            let mut kinds = vec![values.as_ref().clone()];
            kinds.extend(steps(values)?);
            kinds
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BooleanArray, DictionaryArray, TimestampMillisecondArray};
    use arrow::datatypes::Int32Type;

    fn block(name: &str, array: ArrayRef) -> Result<Block, FeatureError> {
        let lists = ListOffsets::from_lengths([array.len() as u64]).unwrap();
        let batch = RecordBatch::try_from_iter_with_nullable([(name, array, true)]).unwrap();
        Block::new(&batch, lists, "x.parquet".into(), 100)
    }

    #[test]
    fn every_type_becomes_one_of_three() {
        let flags = block("a", Arc::new(BooleanArray::from(vec![true, false]))).unwrap();
        assert_eq!(flags.integers("a").unwrap().values(), &[1, 0]);
        let times = block("a", Arc::new(TimestampMillisecondArray::from(vec![5]))).unwrap();
        assert_eq!(times.integers("a").unwrap().values(), &[5000]);
        let words: DictionaryArray<Int32Type> = vec!["x", "y", "x"].into_iter().collect();
        let words = block("a", Arc::new(words)).unwrap();
        assert!(matches!(words.column("a"), Ok(Column::Texts(t)) if t.value(2) == "x"));
    }

    #[test]
    fn bad_values_are_named_by_the_row_of_the_file() {
        let numbers = block("a", Arc::new(Float64Array::from(vec![Some(1.0), None]))).unwrap();
        assert!(numbers.numbers("a").unwrap()[1].is_nan());
        let infinite = block("a", Arc::new(Float64Array::from(vec![1.0, f64::INFINITY]))).unwrap();
        assert_eq!(
            infinite.numbers("a").unwrap_err().to_string(),
            "column `a`, row 101 of `x.parquet` is inf, expected a finite number"
        );
        let texts = block("a", Arc::new(StringArray::from(vec!["x"]))).unwrap();
        assert_eq!(
            texts.numbers("a").unwrap_err().to_string(),
            "column `a` of `x.parquet` has type text, expected numbers"
        );
        let null = block("a", Arc::new(Int64Array::from(vec![None]))).unwrap();
        assert!(
            null.integers("a")
                .unwrap_err()
                .to_string()
                .contains("row 100")
        );
    }
}
