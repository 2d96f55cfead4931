//! Arrays of a part in one file, as `numpy.savez` writes them: a ZIP archive whose members are stored,
//! not compressed.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use slate_types::Split;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use super::create;
use crate::FeatureError;

/// Packs the arrays of these names, as in `train/dense.npy`; gives the archive.
pub(super) fn pack<'a>(
    out: &Path,
    split: Split,
    names: impl Iterator<Item = &'a String>,
) -> Result<PathBuf, FeatureError> {
    let path = out.join(format!("{}.npz", split.name()));
    let mut archive = ZipWriter::new(BufWriter::with_capacity(1 << 20, create(&path)?));
    // Sizes beyond 4 GiB, and always the same time of day.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .large_file(true);
    let failed = |error: zip::result::ZipError| {
        FeatureError::io("write", &path)(std::io::Error::other(error))
    };
    for name in names {
        let source = out.join(name);
        let mut array = File::open(&source).map_err(FeatureError::io("open", &source))?;
        let member = Path::new(name).file_name().unwrap_or_default();
        let member = member.to_string_lossy();
        archive.start_file(member, options).map_err(failed)?;
        std::io::copy(&mut array, &mut archive).map_err(FeatureError::io("write", &path))?;
    }
    let mut buffered = archive.finish().map_err(failed)?;
    buffered
        .flush()
        .and_then(|()| buffered.get_ref().sync_all())
        .map_err(FeatureError::io("write", &path))?;
    Ok(path)
}
