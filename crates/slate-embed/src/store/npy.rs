//! NumPy's `.npy` files, written whole and read where they lie.
//!
//! (Format: NumPy Enhancement Proposal 1.)

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::EmbedError;

const MAGIC: &[u8; 8] = b"\x93NUMPY\x01\x00";
/// What a header is filled up to, so that numbers lie at whole multiples of their size.
const ALIGNED: usize = 64;

/// Takes the next bytes of a file.
pub(super) type Write<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), EmbedError>;

/// Writes a file beside its place, makes it durable, and renames it.
pub(super) fn write_whole(
    path: &Path,
    fill: impl FnOnce(Write<'_>) -> Result<(), EmbedError>,
) -> Result<(), EmbedError> {
    let name = path
        .file_name()
        .expect("a file has a name")
        .to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.partial"));
    let failed = || EmbedError::io("write", path);
    let mut file = BufWriter::new(File::create(&partial).map_err(failed())?);
    fill(&mut |bytes| file.write_all(bytes).map_err(failed()))?;
    file.flush().map_err(failed())?;
    file.get_ref().sync_all().map_err(failed())?;
    fs::rename(&partial, path).map_err(failed())?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let folder = File::open(folder).map_err(failed())?;
    folder.sync_all().map_err(failed())
}

/// Whether a file of this name is one that was not finished.
pub(super) fn is_partial(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".partial")
}

/// Writes an array whose bytes `fill` gives.
pub(super) fn write(
    path: &Path,
    dtype: &str,
    shape: &[usize],
    fill: impl FnOnce(Write<'_>) -> Result<(), EmbedError>,
) -> Result<(), EmbedError> {
    let sides: String = shape.iter().map(|side| format!("{side}, ")).collect();
    let mut header =
        format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({sides}), }}");
    let unfilled = MAGIC.len() + 2 + header.len() + 1;
    header.push_str(&" ".repeat(unfilled.next_multiple_of(ALIGNED) - unfilled));
    header.push('\n');
    let length = u16::try_from(header.len()).expect("a header is short");
    write_whole(path, |write| {
        write(MAGIC)?;
        write(&length.to_le_bytes())?;
        write(header.as_bytes())?;
        fill(write)
    })
}

/// Numbers as they lie in a file.
pub(super) fn bytes_of(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Writes ids to an `.npy` of i64 `[ids.len()]`.
///
/// # Errors
/// [`EmbedError::Io`].
pub fn write_ids(ids: &[i64], path: &Path) -> Result<(), EmbedError> {
    write(path, "<i8", &[ids.len()], |write| {
        ids.iter().try_for_each(|id| write(&id.to_le_bytes()))
    })
}

/// Writes vectors that stand one after the other to an `.npy` of f32 `[n, width]`.
///
/// # Errors
/// [`EmbedError::Io`].
///
/// # Panics
/// Where `values` is not a whole number of vectors.
pub fn write_vectors(values: &[f32], width: usize, path: &Path) -> Result<(), EmbedError> {
    assert!(values.len().is_multiple_of(width), "whole vectors");
    write(path, "<f4", &[values.len() / width, width], |write| {
        let rows = values.chunks_exact(width);
        rows.map(bytes_of).try_for_each(|bytes| write(&bytes))
    })
}

/// An array on the disk, read where it lies.
#[derive(Debug)]
pub struct Mapped {
    path: PathBuf,
    map: Mmap,
    from: usize,
    dtype: String,
    shape: Vec<usize>,
}

impl Mapped {
    /// Opens an array of `f32`, `i64` or bytes.
    ///
    /// # Errors
    /// [`EmbedError::Store`] for a file that is no array, or of another length than its header says.
    pub fn open(path: &Path) -> Result<Self, EmbedError> {
        let broken = |problem: &str| EmbedError::Store {
            path: path.to_path_buf(),
            problem: problem.to_owned(),
        };
        let file = File::open(path).map_err(EmbedError::io("read", path))?;
        let length = file.metadata().map_err(EmbedError::io("read", path))?.len();
        if length < 10 {
            return Err(broken("it is too short for a header"));
        }
        #[expect(
            unsafe_code,
            reason = "files of a store are written once and never changed"
        )]
        let map = unsafe { Mmap::map(&file) };
        let map = map.map_err(EmbedError::io("read", path))?;
        if !map.starts_with(MAGIC) {
            return Err(broken("it is no array of NumPy, version 1.0"));
        }
        let from = 10 + usize::from(u16::from_le_bytes([map[8], map[9]]));
        let header = map
            .get(10..from)
            .ok_or_else(|| broken("its header is cut off"))?;
        let header = std::str::from_utf8(header).map_err(|_| broken("its header is no text"))?;
        let (dtype, shape) = parse(header).ok_or_else(|| broken("its header is not understood"))?;
        let size = match dtype.as_str() {
            "<f4" => 4,
            "<i8" => 8,
            "|u1" => 1,
            _ => return Err(broken("its numbers are neither f32, i64 nor bytes")),
        };
        let expected = shape
            .iter()
            .try_fold(size, |all: usize, side| all.checked_mul(*side));
        if expected != Some(map.len() - from) || !from.is_multiple_of(size) {
            return Err(broken("its length is not what its header says"));
        }
        Ok(Self {
            path: path.to_path_buf(),
            map,
            from,
            dtype,
            shape,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// NumPy's name of the numbers, as in `<f4`.
    pub fn dtype(&self) -> &str {
        &self.dtype
    }

    /// Sides, at least one.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.map[self.from..]
    }

    /// The numbers of an array of `i64`.
    ///
    /// # Panics
    /// For an array of other numbers.
    pub fn ids(&self) -> Vec<i64> {
        assert_eq!(self.dtype, "<i8", "an array of i64");
        let eight = self.bytes().chunks_exact(8);
        eight
            .map(|bytes| i64::from_le_bytes(bytes.try_into().expect("eight")))
            .collect()
    }

    /// The numbers of an array of `f32`.
    ///
    /// # Panics
    /// For an array of other numbers.
    pub fn values(&self) -> &[f32] {
        assert_eq!(self.dtype, "<f4", "an array of f32");
        #[expect(
            unsafe_code,
            reason = "any four bytes are a number; length and place were checked"
        )]
        let (before, values, after) = unsafe { self.bytes().align_to::<f32>() };
        assert!(
            before.is_empty() && after.is_empty(),
            "a page begins at a multiple of 4"
        );
        values
    }
}

/// Type and shape in a header, where it is row-major.
fn parse(header: &str) -> Option<(String, Vec<usize>)> {
    let after = |key: &str| header.split_once(key).map(|(_, rest)| rest);
    let dtype = after("'descr': '")?.split('\'').next()?;
    if !after("'fortran_order': ")?.starts_with("False") {
        return None;
    }
    let sides = after("'shape': (")?.split(')').next()?;
    let sides = sides
        .split(',')
        .map(str::trim)
        .filter(|side| !side.is_empty());
    let shape: Vec<usize> = sides.map(|side| side.parse().ok()).collect::<Option<_>>()?;
    (!shape.is_empty()).then(|| (dtype.to_owned(), shape))
}
