//! The rows a counter has seen, on disk, for the cursors that follow a window behind.

use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::LogError;

/// Bytes of one row: its time and the code of its key.
const ROW: usize = 12;
/// Rows a cursor reads at once.
const AHEAD: usize = 8192;

/// Rows being appended.
pub(crate) struct Trail {
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
}

/// A reader of a trail that remembers where it is.
pub(crate) struct Cursor {
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    at: usize,
}

impl Trail {
    /// A new trail, and cursors at its beginning.
    pub(crate) fn create(path: &Path, cursors: usize) -> Result<(Self, Vec<Cursor>), LogError> {
        let fail = |action, source| LogError::Io {
            action,
            path: path.to_owned(),
            source,
        };
        let file = File::create(path).map_err(|source| fail("create", source))?;
        let mut readers = Vec::new();
        for _ in 0..cursors {
            readers.push(Cursor {
                path: path.to_owned(),
                file: File::open(path).map_err(|source| fail("open", source))?,
                bytes: Vec::new(),
                at: 0,
            });
        }
        let trail = Self {
            path: path.to_owned(),
            file,
            bytes: Vec::new(),
        };
        Ok((trail, readers))
    }

    /// Appends rows; cursors can read them at once.
    pub(crate) fn append(&mut self, ts: &[i64], codes: &[u32]) -> Result<(), LogError> {
        self.bytes.clear();
        for (ts, code) in ts.iter().zip(codes) {
            self.bytes.extend_from_slice(&ts.to_le_bytes());
            self.bytes.extend_from_slice(&code.to_le_bytes());
        }
        self.file
            .write_all(&self.bytes)
            .map_err(|source| LogError::Io {
                action: "write",
                path: self.path.clone(),
                source,
            })
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        // The work folder goes in the end anyway; until then its disk is better used.
        let _ = fs::remove_file(&self.path);
    }
}

impl Cursor {
    /// Moves past every row before `end` and shows the code of each.
    pub(crate) fn pass(&mut self, end: i64, mut each: impl FnMut(u32)) -> Result<(), LogError> {
        loop {
            while self.at < self.bytes.len() {
                let row = &self.bytes[self.at..self.at + ROW];
                let mut ts = [0; 8];
                ts.copy_from_slice(&row[..8]);
                if i64::from_le_bytes(ts) >= end {
                    return Ok(());
                }
                let mut code = [0; 4];
                code.copy_from_slice(&row[8..]);
                each(u32::from_le_bytes(code));
                self.at += ROW;
            }
            if !self.read()? {
                return Ok(());
            }
        }
    }

    fn read(&mut self) -> Result<bool, LogError> {
        self.bytes.clear();
        self.at = 0;
        let mut ahead = (&mut self.file).take((AHEAD * ROW) as u64);
        ahead
            .read_to_end(&mut self.bytes)
            .map_err(|source| LogError::Io {
                action: "read",
                path: self.path.clone(),
                source,
            })?;
        Ok(!self.bytes.is_empty())
    }
}

/// Numbers that one pass counted, on disk until they are laid beside the rows.
pub(crate) struct CountFile {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl CountFile {
    pub(crate) fn create(path: &Path) -> Result<Self, LogError> {
        let file = File::create(path).map_err(|source| LogError::Io {
            action: "create",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            writer: BufWriter::with_capacity(1 << 18, file),
        })
    }

    /// Appends the counts of one row.
    pub(crate) fn write(&mut self, counts: &[i32]) -> Result<(), LogError> {
        for count in counts {
            self.writer
                .write_all(&count.to_le_bytes())
                .map_err(|source| LogError::Io {
                    action: "write",
                    path: self.path.clone(),
                    source,
                })?;
        }
        Ok(())
    }

    /// Ends writing and begins reading.
    pub(crate) fn read(self) -> Result<CountReader, LogError> {
        let path = self.path;
        let fail = |action, source| LogError::Io {
            action,
            path: path.clone(),
            source,
        };
        self.writer
            .into_inner()
            .map_err(|error| fail("write", error.into_error()))?;
        let file = File::open(&path).map_err(|source| fail("open", source))?;
        Ok(CountReader {
            reader: std::io::BufReader::with_capacity(1 << 18, file),
            path,
        })
    }
}

/// The counts of one pass, row by row.
pub(crate) struct CountReader {
    path: PathBuf,
    reader: std::io::BufReader<File>,
}

impl CountReader {
    /// Appends the counts of the next row to `out`.
    pub(crate) fn next(&mut self, width: usize, out: &mut Vec<i32>) -> Result<(), LogError> {
        let mut bytes = [0; 4];
        for _ in 0..width {
            self.reader
                .read_exact(&mut bytes)
                .map_err(|source| LogError::Io {
                    action: "read",
                    path: self.path.clone(),
                    source,
                })?;
            out.push(i32::from_le_bytes(bytes));
        }
        Ok(())
    }
}

impl Drop for CountReader {
    fn drop(&mut self) {
        // As above.
        let _ = fs::remove_file(&self.path);
    }
}
