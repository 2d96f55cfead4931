//! Rows of JSON lines: one object a line, empty lines between them or not.

use std::io::BufRead;

use serde_json::{Map, Value};

use super::{At, Columns, Each, Raw, TextFile, Unreadable, io, shorten};
use crate::LogError;

pub(super) fn read(
    file: &TextFile,
    mut lines: Box<dyn BufRead>,
    columns: &mut Columns,
    each: &mut Each<'_>,
) -> Result<(), LogError> {
    let mut bytes = Vec::new();
    let mut line = 0;
    loop {
        bytes.clear();
        let read = lines.read_until(b'\n', &mut bytes);
        if read.map_err(|source| io("read", file, source))? == 0 {
            return Ok(());
        }
        line += 1;
        let at = At {
            file: &file.name,
            line,
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let Ok(mut object) = serde_json::from_slice::<Map<String, Value>>(&bytes) else {
            each(
                at,
                Err(Unreadable {
                    value: shorten(String::from_utf8_lossy(&bytes).trim_end()),
                    reason: "is no JSON object",
                }),
            )?;
            continue;
        };
        // Nested values have no column to go to; their text does.
        for value in object.values_mut() {
            if value.is_array() || value.is_object() {
                *value = Value::String(value.to_string());
            }
        }
        let row = object
            .iter()
            .map(|(name, value)| (columns.of(name), raw(value)));
        let row = row.collect();
        each(at, Ok(row))?;
    }
}

fn raw(value: &Value) -> Raw<'_> {
    match value {
        Value::Bool(flag) => Raw::Number(f64::from(u8::from(*flag))),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Raw::Whole(whole),
            (None, Some(number)) => Raw::Number(number),
            (None, None) => Raw::Null,
        },
        Value::String(text) => Raw::Text(text),
        _ => Raw::Null,
    }
}
