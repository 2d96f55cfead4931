//! Score files as CSV: numbers as text, nothing for null.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;

use super::ScoreTable;
use super::files::{Needs, assemble, known};
use crate::console::Refusal;

pub(super) fn read(path: &Path, needs: Needs) -> Result<ScoreTable> {
    let mut reader = csv::Reader::from_path(path)?;
    let header: Vec<String> = reader
        .headers()?
        .iter()
        .map(|h| h.trim().to_owned())
        .collect();
    let mut columns: Vec<Vec<String>> = vec![Vec::new(); header.len()];
    for record in reader.records() {
        let record = record?;
        for (column, cell) in columns.iter_mut().zip(&record) {
            column.push(cell.trim().to_owned());
        }
    }
    let cells = |name: &str| header.iter().position(|h| h == name).map(|i| &columns[i]);
    let numbers = |name: &str| -> Result<Option<Vec<f64>>> {
        let Some(cells) = cells(name) else {
            return Ok(None);
        };
        let parse = |(row, cell): (usize, &String)| match cell.as_str() {
            "" => Ok(f64::NAN),
            text => text
                .parse()
                .map_err(|_| bad_cell(name, row, text, "a number")),
        };
        Ok(Some(
            cells
                .iter()
                .enumerate()
                .map(parse)
                .collect::<Result<_, _>>()?,
        ))
    };
    let integers = |name: &str| -> Result<Option<Vec<i64>>> {
        let Some(cells) = cells(name) else {
            return Ok(None);
        };
        let parse = |(row, cell): (usize, &String)| {
            cell.parse()
                .map_err(|_| bad_cell(name, row, cell, "a whole number"))
        };
        Ok(Some(
            cells
                .iter()
                .enumerate()
                .map(parse)
                .collect::<Result<_, _>>()?,
        ))
    };
    let split = cells("split").cloned();
    let mut table = assemble(
        &header,
        columns.first().map_or(0, Vec::len),
        needs,
        integers,
        numbers,
        split,
        "",
    )?;
    for (name, cells) in header.iter().zip(&columns) {
        if !known(name) {
            let text = StringArray::from_iter_values(cells);
            table.others.push((name.clone(), Arc::new(text)));
        }
    }
    Ok(table)
}

/// Line 1 of a CSV file is the header, so row 0 stands on line 2.
fn bad_cell(column: &str, row: usize, cell: &str, expected: &str) -> Refusal {
    Refusal::new(format!(
        "`{column}` at line {} is `{cell}`, expected {expected}",
        row + 2
    ))
}

pub(super) fn write(batch: &RecordBatch, path: &Path) -> Result<()> {
    let mut writer = csv::Writer::from_path(path)?;
    let schema = batch.schema();
    writer.write_record(schema.fields().iter().map(|f| f.name().as_str()))?;
    let columns = batch
        .columns()
        .iter()
        .map(|array| cast(array, &DataType::Utf8))
        .collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        writer.write_record(columns.iter().map(|array| {
            let text = array.as_string::<i32>();
            if text.is_null(row) {
                ""
            } else {
                text.value(row)
            }
        }))?;
    }
    writer.flush()?;
    Ok(())
}
