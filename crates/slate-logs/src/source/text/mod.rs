//! Tables written as text, CSV or JSON lines, turned into Parquet once, before the job.
//!
//! Columns of the schema are read by its contract, never by what they look like: an id is a whole
//! number or the row is set aside. Other columns are numbers where every value of every part is one,
//! and text otherwise; that takes a first reading. An empty CSV cell and a JSON null are unknown.
//!
//! Rows that cannot be read are kept in a second file, with the reason, the value and its place.

mod convert;
mod csv_lines;
mod json_lines;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use slate_types::Progress;
use slate_types::log::Table;

use super::location::{Format, Packing};
use crate::LogError;
use crate::rejects::RejectCount;

/// A file of text and the name under which it is known.
#[derive(Debug, Clone)]
pub(crate) struct TextFile {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) packing: Packing,
}

/// What became of a table.
#[derive(Debug, Clone)]
pub(crate) struct Converted {
    /// The rows that can be read.
    pub(crate) file: PathBuf,
    /// The others, as rows of `rejects.parquet`; none where there are none.
    pub(crate) unread: Option<PathBuf>,
    /// How many of them for each reason.
    pub(crate) counts: Vec<RejectCount>,
}

/// A value as it stands in a file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Raw<'a> {
    /// Unknown.
    Null,
    /// Text; in CSV everything is.
    Text(&'a str),
    /// A whole number that JSON wrote as one.
    Whole(i64),
    /// Another number, or true and false as 1 and 0.
    Number(f64),
}

/// One row: the columns that are there, by index into those of all files.
type Row<'a> = Vec<(usize, Raw<'a>)>;

/// Names of columns in the order in which they were met.
#[derive(Debug, Default)]
struct Columns {
    names: Vec<String>,
    index: HashMap<String, usize>,
}

impl Columns {
    fn of(&mut self, name: &str) -> usize {
        if let Some(&index) = self.index.get(name) {
            return index;
        }
        let index = self.names.len();
        self.names.push(name.to_owned());
        self.index.insert(name.to_owned(), index);
        index
    }
}

/// Where a row stands.
#[derive(Clone, Copy)]
struct At<'a> {
    file: &'a str,
    line: u64,
}

/// A line that is no row: what stands there and what is wrong with it.
struct Unreadable {
    value: String,
    reason: &'static str,
}

/// What a reader does with each row.
type Each<'a> = dyn FnMut(At<'_>, Result<Row<'_>, Unreadable>) -> Result<(), LogError> + 'a;

/// Writes the rows of the files of a table, known as `shown`, to `{folder}/{table}.parquet`.
pub(crate) fn convert(
    table: &'static Table,
    format: Format,
    files: &[TextFile],
    (shown, folder): (&Path, &Path),
    progress: &dyn Progress,
) -> Result<Converted, LogError> {
    let mut columns = Columns::default();
    let mut kinds = convert::Kinds::default();
    read(format, files, &mut columns, &mut |_, row| {
        if let Ok(row) = row {
            kinds.look_at(&row);
        }
        progress.advance(1);
        Ok(())
    })?;
    let mut writer = convert::Writer::create(table, &columns, &kinds, folder);
    read(format, files, &mut columns, &mut |at, row| {
        progress.advance(1);
        writer.add(at, row)
    })?;
    writer.finish(shown)
}

fn read(
    format: Format,
    files: &[TextFile],
    columns: &mut Columns,
    each: &mut Each<'_>,
) -> Result<(), LogError> {
    for file in files {
        let lines = unpacked(file)?;
        match format {
            Format::Csv => csv_lines::read(file, lines, columns, each)?,
            _ => json_lines::read(file, lines, columns, each)?,
        }
    }
    Ok(())
}

fn unpacked(file: &TextFile) -> Result<Box<dyn BufRead>, LogError> {
    let opened = File::open(&file.path).map_err(|source| io("open", file, source))?;
    let bytes: Box<dyn Read> = match file.packing {
        Packing::Plain => Box::new(opened),
        Packing::Gzip => Box::new(MultiGzDecoder::new(BufReader::new(opened))),
        Packing::Zstd => {
            Box::new(zstd::Decoder::new(opened).map_err(|source| io("read", file, source))?)
        }
    };
    Ok(Box::new(BufReader::with_capacity(1 << 18, bytes)))
}

fn io(action: &'static str, file: &TextFile, source: std::io::Error) -> LogError {
    LogError::Io {
        action,
        path: PathBuf::from(&file.name),
        source,
    }
}

/// The beginning of a value, short enough for a message.
fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}
