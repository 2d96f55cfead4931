//! Tables of items: ids, titles and pictures, in Parquet, JSON lines or CSV.
//!
//! Read in batches, because the pictures of a catalogue do not fit into memory. Rows that cannot be
//! used are handed on with the reason.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use crate::artefacts::guarded;
use crate::console::Refusal;

/// Rows read at a time; of a Parquet file with pictures fewer, because pictures are large.
const ROWS: usize = 1024;
const ROWS_WITH_PICTURES: usize = 64;

/// Which columns say what.
#[derive(Debug, Clone)]
pub(crate) struct ItemColumns {
    pub(crate) id: String,
    /// Joined with spaces, empty ones left out.
    pub(crate) title: Vec<String>,
    pub(crate) image: Option<String>,
}

/// A picture, where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PictureSource {
    Bytes(Vec<u8>),
    /// As the table says, not yet under any folder.
    Path(PathBuf),
}

/// A row of a table of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) id: i64,
    /// Empty where there is none.
    pub(crate) title: String,
    pub(crate) image: Option<PictureSource>,
}

/// A row that is no item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRow {
    pub(crate) file: PathBuf,
    /// Counted from 1, as an editor does, the header of a CSV included.
    pub(crate) row: u64,
    pub(crate) reason: String,
}

/// Reads all items of a file, of a folder of files, or of a folder of logs, and hands them on in
/// batches, in the order they stand in.
///
/// # Errors
/// A path without items, a missing column, a damaged file, and what `take` returns.
pub(crate) fn read_items(
    path: &Path,
    columns: &ItemColumns,
    take: &mut dyn FnMut(Vec<Item>, Vec<BadRow>) -> Result<()>,
) -> Result<()> {
    for file in files(path)? {
        let read = match kind(&file) {
            Some(Kind::Parquet) => parquet(&file, columns, take),
            Some(Kind::Lines) => lines(&file, columns, take),
            Some(Kind::Csv) => csv(&file, columns, take),
            None => Err(Refusal::new("its name does not say what it is")
                .hint("items are read from *.parquet, *.jsonl, *.ndjson and *.csv")
                .into()),
        };
        read.with_context(|| format!("cannot read the items `{}`", file.display()))?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Parquet,
    Lines,
    Csv,
}

fn kind(file: &Path) -> Option<Kind> {
    let end = file.extension()?.to_string_lossy().to_lowercase();
    match end.as_str() {
        "parquet" => Some(Kind::Parquet),
        "jsonl" | "ndjson" => Some(Kind::Lines),
        "csv" => Some(Kind::Csv),
        _ => None,
    }
}

/// The files with items, sorted by name.
///
/// # Errors
/// A folder without any.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let ends = ["parquet", "jsonl", "ndjson", "csv"];
    let of_log = ends.iter().map(|end| path.join(format!("item.{end}")));
    if let Some(file) = of_log.into_iter().find(|file| file.is_file()) {
        return Ok(vec![file]);
    }
    let nested = path.join("item");
    let folder = if nested.is_dir() { &nested } else { path };
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the folder `{}`", folder.display()))?;
    for entry in entries {
        let file = entry
            .with_context(|| format!("cannot read the folder `{}`", folder.display()))?
            .path();
        if file.is_file() && kind(&file).is_some() {
            found.push(file);
        }
    }
    if found.is_empty() {
        return Err(Refusal::new(format!(
            "the folder `{}` holds no items, expected `item.parquet`, a folder `item` or files of \
             items",
            path.display()
        ))
        .into());
    }
    found.sort();
    Ok(found)
}

fn missing(column: &str, found: &[&str]) -> anyhow::Error {
    Refusal::new(format!(
        "there is no column `{column}`, found {}",
        found.join(", ")
    ))
    .hint("name the columns in [embed]: `id`, `title.columns`, `image.column`; --title and --image alone leave the other out")
    .into()
}

fn joined<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let parts = parts.map(str::trim).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(" ")
}

fn parquet(
    file: &Path,
    columns: &ItemColumns,
    take: &mut dyn FnMut(Vec<Item>, Vec<BadRow>) -> Result<()>,
) -> Result<()> {
    // The types that writers of Arrow add to a file are not needed here, and reading damaged ones
    // panics.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let mut reader = guarded(|| {
        let opened = File::open(file)?;
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(opened, options)
            .context("this is not a whole Parquet file")?;
        let schema = builder.schema().clone();
        let found: Vec<&str> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        let wanted = wanted(columns);
        if let Some(column) = wanted.iter().find(|column| !found.contains(column)) {
            return Err(missing(column, &found));
        }
        let mask = ProjectionMask::columns(builder.parquet_schema(), wanted);
        let rows = if columns.image.is_some() {
            ROWS_WITH_PICTURES
        } else {
            ROWS
        };
        Ok(builder
            .with_projection(mask)
            .with_batch_size(rows)
            .build()?)
    })?;
    let mut row = 1;
    while let Some(batch) = guarded(|| Ok(reader.next().transpose()?))? {
        let (items, bad) = from_batch(&batch, columns, file, row)?;
        row += batch.num_rows() as u64;
        take(items, bad)?;
    }
    Ok(())
}

fn wanted(columns: &ItemColumns) -> Vec<&str> {
    let titles = columns.title.iter().map(String::as_str);
    std::iter::once(columns.id.as_str())
        .chain(titles)
        .chain(columns.image.as_deref())
        .collect()
}

fn from_batch(
    batch: &RecordBatch,
    columns: &ItemColumns,
    file: &Path,
    first: u64,
) -> Result<(Vec<Item>, Vec<BadRow>)> {
    let column = |name: &str| batch.column_by_name(name).expect("columns were looked for");
    let given = column(&columns.id);
    if !given.data_type().is_integer() {
        return Err(Refusal::new(format!(
            "column `{}` is {}, expected whole numbers",
            columns.id,
            given.data_type()
        ))
        .into());
    }
    let ids = cast(given, &DataType::Int64)?;
    let ids = ids.as_primitive::<Int64Type>();
    let text = |name: &str| -> Result<_> {
        let given = column(name).data_type();
        let fits = given.is_numeric() || given.is_string();
        if !fits {
            return Err(Refusal::new(format!("column `{name}` is {given}, expected text")).into());
        }
        cast(column(name), &DataType::Utf8).with_context(|| format!("column `{name}` is no text"))
    };
    let titles = columns
        .title
        .iter()
        .map(|name| text(name))
        .collect::<Result<Vec<_>>>()?;
    let image = match &columns.image {
        None => None,
        Some(name) => {
            let given = column(name);
            let binary = matches!(
                given.data_type(),
                DataType::Binary
                    | DataType::LargeBinary
                    | DataType::BinaryView
                    | DataType::FixedSizeBinary(_)
            );
            let to = if binary {
                DataType::LargeBinary
            } else {
                DataType::Utf8
            };
            Some((binary, cast(given, &to)?))
        }
    };
    let (mut items, mut bad) = (Vec::with_capacity(batch.num_rows()), Vec::new());
    for row in 0..batch.num_rows() {
        if ids.is_null(row) {
            bad.push(BadRow {
                file: file.to_path_buf(),
                row: first + row as u64,
                reason: "no id".to_owned(),
            });
            continue;
        }
        let parts = titles.iter().map(|titles| {
            let titles = titles.as_string::<i32>();
            if titles.is_null(row) {
                ""
            } else {
                titles.value(row)
            }
        });
        let image = image.as_ref().filter(|(_, array)| !array.is_null(row));
        let image = image.and_then(|(binary, array)| {
            if *binary {
                let bytes = array.as_binary::<i64>().value(row);
                Some(PictureSource::Bytes(bytes.to_vec()))
            } else {
                path_of(array.as_string::<i32>().value(row))
            }
        });
        items.push(Item {
            id: ids.value(row),
            title: joined(parts),
            image,
        });
    }
    Ok((items, bad))
}

/// Rows of a file that are read one by one, handed on in batches.
struct Rows<'a> {
    file: &'a Path,
    items: Vec<Item>,
    bad: Vec<BadRow>,
    take: &'a mut dyn FnMut(Vec<Item>, Vec<BadRow>) -> Result<()>,
}

impl<'a> Rows<'a> {
    fn of(file: &'a Path, take: &'a mut dyn FnMut(Vec<Item>, Vec<BadRow>) -> Result<()>) -> Self {
        Self {
            file,
            items: Vec::new(),
            bad: Vec::new(),
            take,
        }
    }

    fn push(&mut self, row: u64, read: Result<Item, String>) -> Result<()> {
        match read {
            Ok(item) => self.items.push(item),
            Err(reason) => self.bad.push(BadRow {
                file: self.file.to_path_buf(),
                row,
                reason,
            }),
        }
        if self.items.len() + self.bad.len() >= ROWS {
            self.hand_on()?;
        }
        Ok(())
    }

    fn hand_on(&mut self) -> Result<()> {
        (self.take)(
            std::mem::take(&mut self.items),
            std::mem::take(&mut self.bad),
        )
    }
}

fn path_of(text: &str) -> Option<PictureSource> {
    let text = text.trim();
    (!text.is_empty()).then(|| PictureSource::Path(PathBuf::from(text)))
}

fn lines(
    file: &Path,
    columns: &ItemColumns,
    take: &mut dyn FnMut(Vec<Item>, Vec<BadRow>) -> Result<()>,
) -> Result<()> {
    let mut reader = BufReader::new(File::open(file)?);
    let mut rows = Rows::of(file, take);
    let mut found = BTreeSet::new();
    let mut line = Vec::new();
    for row in 1.. {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let given = line
            .strip_prefix(b"\xef\xbb\xbf")
            .filter(|_| row == 1)
            .unwrap_or(&line);
        if given.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        rows.push(row, from_line(given, columns, &mut found))?;
    }
    // A key may be left out of a line, but not of all of them.
    let absent = wanted(columns)
        .into_iter()
        .find(|name| !found.contains(*name));
    if let (Some(absent), false) = (absent, found.is_empty()) {
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        return Err(missing(absent, &found));
    }
    rows.hand_on()
}

fn from_line(
    line: &[u8],
    columns: &ItemColumns,
    found: &mut BTreeSet<String>,
) -> Result<Item, String> {
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    for key in value
        .as_object()
        .into_iter()
        .flat_map(|object| object.keys())
    {
        if !found.contains(key) {
            found.insert(key.clone());
        }
    }
    let id = &value[&columns.id];
    let id = id
        .as_i64()
        .or_else(|| id.as_str().and_then(|id| id.trim().parse().ok()))
        .ok_or_else(|| format!("`{}` is {id}, expected a whole number", columns.id))?;
    let parts = columns.title.iter().map(|name| match &value[name] {
        serde_json::Value::Null => Ok(String::new()),
        serde_json::Value::String(text) => Ok(text.clone()),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        other => Err(format!("`{name}` is {other}, expected text")),
    });
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    let image = columns.image.as_ref().and_then(|name| value[name].as_str());
    Ok(Item {
        id,
        title: joined(parts.iter().map(String::as_str)),
        image: image.and_then(path_of),
    })
}

fn csv(
    file: &Path,
    columns: &ItemColumns,
    take: &mut dyn FnMut(Vec<Item>, Vec<BadRow>) -> Result<()>,
) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(file)?;
    let header: Vec<String> = reader
        .headers()?
        .iter()
        .map(|name| name.trim().to_owned())
        .collect();
    let found: Vec<&str> = header.iter().map(String::as_str).collect();
    let place = |name: &str| {
        found
            .iter()
            .position(|found| *found == name)
            .ok_or_else(|| missing(name, &found))
    };
    let id = place(&columns.id)?;
    let titles = columns
        .title
        .iter()
        .map(|name| place(name))
        .collect::<Result<Vec<_>>>()?;
    let image = columns.image.as_deref().map(place).transpose()?;
    let mut rows = Rows::of(file, take);
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        let row = record.position().map_or(0, csv::Position::line);
        let item = if record.len() == header.len() {
            from_record(&record, id, &titles, image)
        } else {
            Err(format!("{} cells, expected {}", record.len(), header.len()))
        };
        rows.push(row, item)?;
    }
    rows.hand_on()
}

fn from_record(
    record: &csv::ByteRecord,
    id: usize,
    titles: &[usize],
    image: Option<usize>,
) -> Result<Item, String> {
    let cell = |at: usize| -> Result<&str, String> {
        std::str::from_utf8(record.get(at).unwrap_or_default()).map_err(|_| "not UTF-8".to_owned())
    };
    let given = cell(id)?.trim();
    let id = given
        .parse()
        .map_err(|_| format!("the id is `{given}`, expected a whole number"))?;
    let parts = titles
        .iter()
        .map(|&at| cell(at))
        .collect::<Result<Vec<_>, _>>()?;
    let image = image.map(cell).transpose()?;
    Ok(Item {
        id,
        title: joined(parts.into_iter()),
        image: image.and_then(path_of),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &[u8]) -> Result<(Vec<Item>, Vec<BadRow>)> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        let columns = ItemColumns {
            id: "id".to_owned(),
            title: vec!["name".to_owned(), "kind".to_owned()],
            image: Some("photo".to_owned()),
        };
        let (mut items, mut bad) = (Vec::new(), Vec::new());
        read_items(&file, &columns, &mut |more, worse| {
            items.extend(more);
            bad.extend(worse);
            Ok(())
        })?;
        Ok((items, bad))
    }

    #[test]
    fn lines_and_cells_become_items_and_bad_rows_are_kept_aside() {
        let lines =
            b"{\"id\": 3, \"name\": \"POANG\", \"kind\": \"chair\", \"photo\": \"a.jpg\"}\n\n\
            {\"id\": \"4\", \"name\": \" \", \"photo\": \"\"}\n{\"id\": 1.5}\nnothing\n\xff\n";
        let (items, bad) = read("items.jsonl", lines).unwrap();
        let chair = Item {
            id: 3,
            title: "POANG chair".to_owned(),
            image: Some(PictureSource::Path("a.jpg".into())),
        };
        let bare = Item {
            id: 4,
            title: String::new(),
            image: None,
        };
        assert_eq!(items, [chair.clone(), bare.clone()]);
        let rows: Vec<u64> = bad.iter().map(|bad| bad.row).collect();
        assert_eq!(rows, [4, 5, 6]);
        assert_eq!(bad[0].reason, "`id` is 1.5, expected a whole number");
        assert_eq!(bad[2].reason, "not UTF-8");

        let cells = b"kind,id,name,photo\nchair,3,POANG,a.jpg\n,4,,\nx,y,z,\nx,5,\xff,\n";
        let (items, bad) = read("items.csv", cells).unwrap();
        assert_eq!(items, [chair, bare]);
        let told: Vec<(u64, &str)> = bad
            .iter()
            .map(|bad| (bad.row, bad.reason.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (4, "the id is `y`, expected a whole number"),
                (5, "not UTF-8")
            ]
        );

        let error = format!("{:#}", read("items.csv", b"id,name\n1,a\n").unwrap_err());
        assert!(
            error.contains("there is no column `kind`, found id, name"),
            "{error}"
        );
        let error = format!("{:#}", read("items.txt", b"").unwrap_err());
        assert!(error.contains("does not say what it is"), "{error}");
    }
}
