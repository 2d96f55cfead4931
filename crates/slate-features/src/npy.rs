//! NumPy's `.npy` files: one array of little-endian numbers, row-major, with a small header.
//!
//! The writer is told the shape first and counts what it is given, so a file is written in one
//! pass with any amount of data, and its SHA-256 is known at the end. The reader takes versions
//! 1.0 and 2.0 of the format, checks the file's length before it reads, and refuses
//! column-major and big-endian arrays, which Slate never writes.
//! (Format: NumPy Enhancement Proposal 1.)

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Seek as _, Write},
    marker::PhantomData,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{FeatureError, behind::Syncer};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Bytes converted at a time: large enough for fast input and output, small enough to forget.
const CHUNK: usize = 1 << 16;
/// Bytes after which the disk is asked to begin.
const SYNCED: usize = 1 << 20;

/// A number that has a NumPy type.
pub(crate) trait Element: Copy {
    /// NumPy's name of the type.
    const DTYPE: &'static str;
    /// Bytes of one number.
    const SIZE: usize = size_of::<Self>();
    fn put(self, bytes: &mut Vec<u8>);
    /// `bytes` has [`Element::SIZE`] bytes.
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! element {
    ($($number:ty => $dtype:literal),*) => {$(
        impl Element for $number {
            const DTYPE: &'static str = $dtype;
            fn put(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
            fn get(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("the caller passes SIZE bytes"))
            }
        }
    )*};
}
element!(u8 => "|u1", u32 => "<u4", u64 => "<u8", i64 => "<i8", f32 => "<f4", f64 => "<f8");

/// What a manifest says about one array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrayFile {
    /// NumPy's name of the number type, as in `<f4`.
    pub dtype: String,
    /// Length of each axis.
    pub shape: Vec<u64>,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
}

/// Writes one array from front to back.
pub(crate) struct Writer<T> {
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    shape: Vec<u64>,
    missing: u64,
    /// Of an array whose length is known only in the end: the bytes kept for its header.
    header: Option<usize>,
    bytes: Vec<u8>,
    /// Brings what is written to the disk meanwhile.
    syncer: Option<Syncer>,
    /// Bytes written since it was asked to.
    pending: usize,
    element: PhantomData<T>,
}

impl<T: Element> Writer<T> {
    /// Creates `path`, which must not exist, for an array of this shape.
    pub(crate) fn create(path: &Path, shape: &[u64]) -> Result<Self, FeatureError> {
        let file = File::create_new(path).map_err(FeatureError::io("create", path))?;
        let mut writer = Self {
            path: path.to_path_buf(),
            file: BufWriter::with_capacity(CHUNK, file),
            hash: Sha256::new(),
            shape: shape.to_vec(),
            missing: shape.iter().product(),
            header: None,
            bytes: header(T::DTYPE, shape, 0),
            syncer: None,
            pending: 0,
            element: PhantomData,
        };
        writer.flush_chunk()?;
        Ok(writer)
    }

    /// Creates `path` for an array of one axis that is as long as what it is given.
    pub(crate) fn growing(path: &Path) -> Result<Self, FeatureError> {
        let mut writer = Self::create(path, &[u64::MAX])?;
        writer.header = Some(header(T::DTYPE, &[u64::MAX], 0).len());
        Ok(writer)
    }

    /// Lets the disk begin before the end.
    pub(crate) fn synced_by(mut self, syncer: Syncer) -> Self {
        self.syncer = Some(syncer);
        self
    }

    /// Appends numbers.
    pub(crate) fn write(&mut self, values: &[T]) -> Result<(), FeatureError> {
        let given = values.len() as u64;
        assert!(
            given <= self.missing,
            "`{}` got more than its shape",
            self.path.display()
        );
        self.missing -= given;
        for chunk in values.chunks(CHUNK / T::SIZE) {
            for &value in chunk {
                value.put(&mut self.bytes);
            }
            self.flush_chunk()?;
        }
        Ok(())
    }

    fn flush_chunk(&mut self) -> Result<(), FeatureError> {
        self.hash.update(&self.bytes);
        self.file
            .write_all(&self.bytes)
            .map_err(FeatureError::io("write", &self.path))?;
        self.pending += self.bytes.len();
        self.bytes.clear();
        if let Some(syncer) = self.syncer.as_ref().filter(|_| self.pending >= SYNCED) {
            self.pending = 0;
            syncer.ask(&self.path, self.file.get_ref());
        }
        Ok(())
    }

    /// Makes the file durable and says what is in it.
    pub(crate) fn finish(mut self) -> Result<ArrayFile, FeatureError> {
        if let Some(bytes) = self.header {
            return self.finish_growing(bytes);
        }
        assert_eq!(
            self.missing,
            0,
            "`{}` got less than its shape",
            self.path.display()
        );
        let file = self
            .file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .map_err(FeatureError::io("write", &self.path))?;
        file.sync_all()
            .map_err(FeatureError::io("write", &self.path))?;
        let sha256 = hex(&self.hash.finalize());
        Ok(ArrayFile {
            dtype: T::DTYPE.to_owned(),
            shape: self.shape,
            sha256,
        })
    }
}

impl<T: Element> Writer<T> {
    fn finish_growing(&mut self, header_bytes: usize) -> Result<ArrayFile, FeatureError> {
        let fail = |source| FeatureError::io("write", &self.path)(source);
        let shape = vec![u64::MAX - self.missing];
        self.file.flush().map_err(fail)?;
        let file = self.file.get_mut();
        file.rewind().map_err(fail)?;
        file.write_all(&header(T::DTYPE, &shape, header_bytes))
            .map_err(fail)?;
        file.sync_all().map_err(fail)?;
        Ok(ArrayFile {
            dtype: T::DTYPE.to_owned(),
            shape,
            sha256: crate::dataset::sha256(&self.path)?,
        })
    }
}

/// The header, padded so that numbers begin at a multiple of 64 bytes, and to `least` bytes.
fn header(dtype: &str, shape: &[u64], least: usize) -> Vec<u8> {
    let axes: String = match shape {
        [length] => format!("{length},"),
        axes => axes
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    };
    let mut text = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({axes}), }}");
    let before_text = MAGIC.len() + 4;
    let whole = (before_text + text.len() + 1).max(least);
    let length = whole.next_multiple_of(64) - before_text;
    text.extend(std::iter::repeat_n(' ', length - text.len() - 1));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&(length as u16).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).expect("half a byte is below 16");
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// An opened file, with its header read.
pub(crate) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    pub(crate) dtype: String,
    pub(crate) shape: Vec<u64>,
    header_bytes: u64,
    file_bytes: u64,
}

impl Reader {
    /// Reads the header and checks that the file is as long as it says.
    pub(crate) fn open(path: &Path) -> Result<Self, FeatureError> {
        let file = File::open(path).map_err(FeatureError::io("open", path))?;
        let file_bytes = file
            .metadata()
            .map_err(FeatureError::io("read", path))?
            .len();
        let mut file = BufReader::with_capacity(CHUNK, file);
        let broken = |problem: &str| FeatureError::Npy {
            file: path.to_path_buf(),
            problem: problem.to_owned(),
        };
        let mut start = [0; 8];
        file.read_exact(&mut start)
            .map_err(|_| broken("it is shorter than a header"))?;
        if &start[..6] != MAGIC {
            return Err(broken("it does not begin with NumPy's signature"));
        }
        let length_bytes = match start[6] {
            1 => 2,
            2 => 4,
            _ => return Err(broken("its version is not 1.0 or 2.0")),
        };
        let mut length = [0; 4];
        file.read_exact(&mut length[..length_bytes])
            .map_err(|_| broken("it ends within its header"))?;
        let length = u64::from(u32::from_le_bytes(length));
        let header_bytes = 8 + length_bytes as u64 + length;
        if header_bytes > file_bytes {
            return Err(broken("it ends within its header"));
        }
        let mut text = vec![0; length as usize];
        file.read_exact(&mut text)
            .map_err(FeatureError::io("read", path))?;
        let text = String::from_utf8(text).map_err(|_| broken("its header is not text"))?;
        let (dtype, shape) =
            parse_header(&text).ok_or_else(|| broken("its header cannot be understood"))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            dtype,
            shape,
            header_bytes,
            file_bytes,
        })
    }

    /// Checks type, shape and length against what the manifest says.
    pub(crate) fn check(&self, expected: &ArrayFile) -> Result<(), FeatureError> {
        let mismatch = |what, found: String, expected: String| {
            Err(FeatureError::Mismatch {
                file: self.path.clone(),
                what,
                found,
                expected,
            })
        };
        if self.dtype != expected.dtype {
            return mismatch("type", self.dtype.clone(), expected.dtype.clone());
        }
        if self.shape != expected.shape {
            let (found, expected) = (&self.shape, &expected.shape);
            return mismatch("shape", format!("{found:?}"), format!("{expected:?}"));
        }
        let Some(size) = item_size(&self.dtype) else {
            return Err(self.broken(format!("its type is {}", self.dtype)));
        };
        let needed = self
            .shape
            .iter()
            .try_fold(size, |product, &axis| product.checked_mul(axis))
            .and_then(|bytes| bytes.checked_add(self.header_bytes));
        if needed != Some(self.file_bytes) {
            let needed = needed.map_or("more".to_owned(), |bytes| bytes.to_string());
            return Err(self.broken(format!(
                "it has {} bytes, but its shape {:?} needs {needed}",
                self.file_bytes, self.shape
            )));
        }
        Ok(())
    }

    /// All numbers, after [`Reader::check`].
    pub(crate) fn read<T: Element>(mut self) -> Result<Vec<T>, FeatureError> {
        if self.dtype != T::DTYPE {
            let problem = format!("its type is {}, expected {}", self.dtype, T::DTYPE);
            return Err(self.broken(problem));
        }
        let count = self.shape.iter().product::<u64>() as usize;
        let mut values = Vec::with_capacity(count);
        let mut bytes = vec![0; CHUNK];
        while values.len() < count {
            let part = &mut bytes[..CHUNK.min((count - values.len()) * T::SIZE)];
            self.file
                .read_exact(part)
                .map_err(FeatureError::io("read", &self.path))?;
            values.extend(part.chunks_exact(T::SIZE).map(T::get));
        }
        Ok(values)
    }

    fn broken(&self, problem: String) -> FeatureError {
        FeatureError::Npy {
            file: self.path.clone(),
            problem,
        }
    }
}

fn item_size(dtype: &str) -> Option<u64> {
    match dtype {
        "|u1" => Some(1),
        "<u4" | "<f4" => Some(4),
        "<u8" | "<i8" | "<f8" => Some(8),
        _ => None,
    }
}

/// Type and shape from the header's dictionary; none for column-major arrays too.
fn parse_header(text: &str) -> Option<(String, Vec<u64>)> {
    let after = |key: &str| {
        let rest = &text[text.find(key)? + key.len()..];
        Some(rest.trim_start().strip_prefix(':')?.trim_start())
    };
    let dtype = after("'descr'")?.strip_prefix('\'')?.split_once('\'')?.0;
    if !after("'fortran_order'")?.starts_with("False") {
        return None;
    }
    let axes = after("'shape'")?.strip_prefix('(')?.split_once(')')?.0;
    let shape = axes
        .split(',')
        .map(str::trim)
        .filter(|axis| !axis.is_empty())
        .map(|axis| axis.parse().ok())
        .collect::<Option<_>>()?;
    Some((dtype.to_owned(), shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, shape: &[u64], values: &[f32]) -> ArrayFile {
        let mut writer = Writer::create(path, shape).unwrap();
        writer.write(values).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn arrays_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let values: Vec<f32> = (0..60_000).map(|i| i as f32 / 7.0).collect();
        let entry = write(&path, &[20_000, 3], &values);
        let reader = Reader::open(&path).unwrap();
        assert_eq!(reader.header_bytes % 64, 0);
        reader.check(&entry).unwrap();
        assert_eq!(reader.read::<f32>().unwrap(), values);
    }

    /// The header that NumPy 2.4.6 writes for `numpy.save(f, numpy.zeros((5, 2), "<f4"))`.
    #[test]
    fn the_header_is_the_one_numpy_writes() {
        let mut expected = b"\x93NUMPY\x01\x00v\x00".to_vec();
        expected.extend(b"{'descr': '<f4', 'fortran_order': False, 'shape': (5, 2), }");
        expected.resize(127, b' ');
        expected.push(b'\n');
        assert_eq!(header("<f4", &[5, 2], 0), expected);
        assert_eq!(
            parse_header("{'shape': (7,), 'fortran_order': False, 'descr': '|u1'}"),
            Some(("|u1".to_owned(), vec![7]))
        );
        assert_eq!(
            parse_header("{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}"),
            None
        );
    }

    #[test]
    fn a_file_cut_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let entry = write(&path, &[4], &[1.0; 4]);
        let whole = std::fs::read(&path).unwrap();
        for (length, expected) in [
            (
                whole.len() - 1,
                "it has 143 bytes, but its shape [4] needs 144",
            ),
            (100, "it ends within its header"),
            (3, "it is shorter than a header"),
        ] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let message = Reader::open(&path)
                .and_then(|reader| reader.check(&entry))
                .unwrap_err()
                .to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
