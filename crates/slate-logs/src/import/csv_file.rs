//! A delimited text file, plain or gzip, read row by row and fingerprinted on the way.
//!
//! In: a file whose first line names its columns. Every line is a row: quotes do not group, since
//! none of the published files has a delimiter or a line break inside a value, and one stray quote
//! would otherwise swallow the rest of the file. Out: [`Record`]s, and the SHA-256 and size of the
//! file as it lies on disk. Whether it is gzip is told by its first bytes, not by its name.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ReaderBuilder, Terminator};
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use slate_types::Progress;

use super::ImportError;
use super::log_writer::LogWriter;
use super::record::{Column, PlacedReject, Record, RowError, unquote};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ROWS_PER_REPORT: u64 = 4096;

/// A source file that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// A delimited file whose header was read.
pub(crate) struct CsvFile {
    path: PathBuf,
    bytes: u64,
    expected: Vec<&'static str>,
    names: Vec<String>,
    reader: csv::Reader<Input>,
}

impl CsvFile {
    /// Opens `path` and reads its header. `expected` are the columns the format has; they are
    /// named in messages and demanded by [`CsvFile::column`].
    pub(crate) fn open(
        path: &Path,
        delimiter: u8,
        expected: &[&'static str],
    ) -> Result<Self, ImportError> {
        let failed = |source| ImportError::Read {
            path: path.to_owned(),
            line: 0,
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let input = Input::new(file).map_err(failed)?;
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            // A carriage return before it is trimmed off the last cell; left to the reader, it
            // would count lines differently.
            .terminator(Terminator::Any(b'\n'))
            .quoting(false)
            .has_headers(false)
            .flexible(true)
            .from_reader(input);
        let mut header = ByteRecord::new();
        let found = reader
            .read_byte_record(&mut header)
            .map_err(|error| failed(plain(error)))?;
        let names = header
            .iter()
            .map(|name| {
                unquote(String::from_utf8_lossy(name).trim_start_matches('\u{feff}')).to_owned()
            })
            .collect();
        let file = Self {
            path: path.to_owned(),
            bytes,
            expected: expected.to_vec(),
            names,
            reader,
        };
        if found {
            Ok(file)
        } else {
            Err(file.empty("header"))
        }
    }

    /// The first column with one of these names; the first of them is the one to complain about.
    pub(crate) fn column(&self, names: &[&str]) -> Result<Column, ImportError> {
        names
            .iter()
            .find_map(|name| self.find(name))
            .ok_or_else(|| ImportError::MissingColumn {
                path: self.path.clone(),
                column: names.first().copied().unwrap_or_default().to_owned(),
                expected: list(self.expected.iter().copied()),
                given: list(self.names.iter().map(String::as_str)),
            })
    }

    /// The column of this name, if there is one.
    pub(crate) fn find(&self, name: &str) -> Option<Column> {
        self.names
            .iter()
            .position(|given| given == name)
            .map(Column)
    }

    /// Reads every row to the end of the file. A row that `row` refuses goes to the rejects of
    /// `log`; `row` must not have written any part of it by then.
    ///
    /// # Errors
    /// Whatever is fatal in `row`, a file that cannot be read to its end, has no rows, or has more
    /// than half of them refused.
    pub(crate) fn for_each(
        mut self,
        log: &mut LogWriter,
        progress: &dyn Progress,
        mut row: impl FnMut(&Record<'_>, &mut LogWriter) -> Result<(), RowError>,
    ) -> Result<(), ImportError> {
        let name = self
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        progress.begin(&format!("reading {name}"), Some(self.bytes), "bytes");
        let (mut rows, mut line, mut reported) = (0, 1, 0);
        let mut rejected = 0;
        let mut first_reject = None;
        let mut fields = ByteRecord::new();
        loop {
            let found =
                self.reader
                    .read_byte_record(&mut fields)
                    .map_err(|error| ImportError::Read {
                        path: self.path.clone(),
                        line,
                        source: plain(error),
                    })?;
            if !found {
                break;
            }
            let is_blank = fields.len() == 1 && fields[0].trim_ascii().is_empty();
            if is_blank {
                continue;
            }
            rows += 1;
            line = fields.position().map_or(line + 1, csv::Position::line);
            let record = Record {
                names: &self.names,
                fields: &fields,
            };
            match row(&record, log) {
                Ok(()) => {}
                Err(RowError::Fatal(error)) => return Err(error),
                Err(RowError::Reject(reject)) => {
                    let placed = PlacedReject {
                        path: self.path.clone(),
                        line,
                        reject,
                    };
                    log.reject(&placed)?;
                    rejected += 1;
                    first_reject.get_or_insert(placed);
                }
            }
            if rows % ROWS_PER_REPORT == 0 {
                let read = self.reader.get_ref().bytes_read();
                progress.advance(read - reported);
                reported = read;
            }
        }
        if rows == 0 {
            return Err(self.empty("rows"));
        }
        if let Some(first) = first_reject.filter(|_| rejected * 2 > rows) {
            let PlacedReject { path, line, reject } = first;
            let (column, value, reason) = (reject.column, reject.value, reject.reason);
            return Err(ImportError::MostlyRejected {
                path,
                rejected,
                rows,
                line,
                column,
                value,
                reason,
            });
        }
        let (sha256, bytes) =
            self.reader
                .into_inner()
                .finish()
                .map_err(|source| ImportError::Read {
                    path: self.path.clone(),
                    line,
                    source,
                })?;
        progress.advance(bytes.saturating_sub(reported));
        progress.end();
        log.source(SourceFile {
            path: self.path,
            bytes,
            sha256,
        });
        Ok(())
    }

    fn empty(&self, what: &'static str) -> ImportError {
        let expected = list(self.expected.iter().copied());
        ImportError::Empty {
            path: self.path.clone(),
            what,
            expected,
        }
    }
}

/// The error below the reader's, so that its kind is kept.
fn plain(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A file that counts and hashes what is read from it.
struct Fingerprinted {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Read for Fingerprinted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

enum Input {
    Plain(BufReader<Fingerprinted>),
    Gzip(Box<MultiGzDecoder<BufReader<Fingerprinted>>>),
}

impl Input {
    fn new(file: File) -> io::Result<Self> {
        let counted = Fingerprinted {
            file,
            hash: Sha256::new(),
            bytes: 0,
        };
        let mut reader = BufReader::with_capacity(1 << 16, counted);
        let is_gzip = reader.fill_buf()?.starts_with(&GZIP_MAGIC);
        Ok(if is_gzip {
            Self::Gzip(Box::new(MultiGzDecoder::new(reader)))
        } else {
            Self::Plain(reader)
        })
    }

    fn bytes_read(&self) -> u64 {
        match self {
            Self::Plain(reader) => reader.get_ref().bytes,
            Self::Gzip(decoder) => decoder.get_ref().get_ref().bytes,
        }
    }

    /// Hex SHA-256 and size of the whole file.
    fn finish(self) -> io::Result<(String, u64)> {
        let mut reader = match self {
            Self::Plain(reader) => reader,
            Self::Gzip(decoder) => decoder.into_inner(),
        };
        io::copy(&mut reader, &mut io::sink())?;
        let Fingerprinted { hash, bytes, .. } = reader.into_inner();
        let mut hex = String::new();
        for byte in hash.finalize() {
            write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
        }
        Ok((hex, bytes))
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
        }
    }
}
