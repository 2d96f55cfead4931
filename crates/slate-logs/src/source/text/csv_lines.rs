//! Rows of CSV files with a header line.

use std::io::BufRead;

use csv::{ReaderBuilder, StringRecord};

use super::{At, Columns, Each, Raw, TextFile, Unreadable, io, shorten};
use crate::LogError;

pub(super) fn read(
    file: &TextFile,
    lines: Box<dyn BufRead>,
    columns: &mut Columns,
    each: &mut Each<'_>,
) -> Result<(), LogError> {
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(lines);
    let broken = |error: csv::Error| io("read", file, error.into());
    let header = reader.headers().map_err(broken)?.clone();
    // Spreadsheets put a mark before the first name.
    let indices: Vec<usize> = header
        .iter()
        .map(|name| columns.of(name.trim_start_matches('\u{feff}').trim()))
        .collect();
    let mut record = StringRecord::new();
    loop {
        let line = reader.position().line();
        let at = At {
            file: &file.name,
            line,
        };
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                each(
                    at,
                    Err(Unreadable {
                        value: String::new(),
                        reason: "is not UTF-8",
                    }),
                )?;
                continue;
            }
            Err(error) => return Err(broken(error)),
        }
        if record.len() != indices.len() {
            let value = record.iter().collect::<Vec<_>>().join(",");
            each(
                at,
                Err(Unreadable {
                    value: shorten(&value),
                    reason: "has another number of columns than the header",
                }),
            )?;
            continue;
        }
        let row = indices.iter().zip(record.iter()).map(|(&index, text)| {
            let value = if text.is_empty() {
                Raw::Null
            } else {
                Raw::Text(text)
            };
            (index, value)
        });
        each(at, Ok(row.collect()))?;
    }
}
