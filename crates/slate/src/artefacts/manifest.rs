//! Manifests and other JSON files the program writes and reads.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};
use slate_types::FormatVersion;

use crate::console::Refusal;

/// Version of run manifests, calibration comparisons, evaluations and truth summaries.
pub(crate) const FORMAT: FormatVersion = FormatVersion(1);

/// Writes indented JSON with a final newline and flushes it to disk.
///
/// # Errors
/// Any failure of the file system.
pub(crate) fn write_json(path: &Path, value: &Value) -> Result<()> {
    write_text(path, &format!("{value:#}\n"))
}

/// Writes text and flushes it to disk.
///
/// # Errors
/// Any failure of the file system.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))
}

/// Reads JSON.
///
/// # Errors
/// A file that cannot be read or is no JSON, with the line of the mistake.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("`{}` is no valid JSON", path.display()))
}

/// Key of a sealed file that holds the hash of all its bytes, and what stands there when they are hashed.
const SEAL: &str = "sha256";
const UNSEALED: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// An object as the text of a file that vouches for itself: the key `sha256` is added, the hash of the text
/// with zeros in its place.
pub(crate) fn sealed(mut value: Value) -> String {
    value[SEAL] = Value::from(UNSEALED);
    let text = format!("{value:#}\n");
    let hash = hex(&Sha256::digest(text.as_bytes()));
    text.replacen(UNSEALED, &hash, 1)
}

/// Reads an object that [`sealed`] wrote, without its hash.
///
/// # Errors
/// A file that cannot be read, or of which a byte is not what it was: with the hint.
pub(crate) fn read_sealed(path: &Path, hint: &str) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let damaged = || {
        let told = format!("`{}` is damaged or was changed", path.display());
        Refusal::new(told).hint(hint.to_owned())
    };
    let text = String::from_utf8(bytes).map_err(|_| damaged())?;
    let mut value: Value = serde_json::from_str(&text).map_err(|_| damaged())?;
    let hash = value.as_object_mut().and_then(|value| value.remove(SEAL));
    let hash = hash.as_ref().and_then(Value::as_str).unwrap_or(UNSEALED);
    let unsealed = text.replacen(hash, UNSEALED, 1);
    if hash != hex(&Sha256::digest(unsealed.as_bytes())) {
        return Err(damaged().into());
    }
    Ok(value)
}

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let mut file =
        fs::File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let mut hasher = Sha256::new();
    std::io::copy(&mut file, &mut HashWriter(&mut hasher))?;
    Ok(hex(&hasher.finalize()))
}

/// Bytes as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Holds the files of a run to the hashes in its manifest.
///
/// # Errors
/// The first file that is missing or another one.
pub(crate) fn verify(run: &Path, manifest: &Value) -> Result<()> {
    for (name, told) in manifest["files"].as_object().into_iter().flatten() {
        let file = run.join(name);
        if told["sha256"].as_str() != Some(&sha256(&file)?) {
            return Err(Refusal::new(format!(
                "`{}` is not the file that the run's manifest tells of",
                file.display()
            ))
            .hint("the run is damaged or was changed: train it again, or take another")
            .into());
        }
    }
    Ok(())
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The `kind` of a manifest or JSON artefact, after checking its format.
///
/// # Errors
/// No `kind` or `format`, or a format this build does not read.
pub(crate) fn kind(value: &Value) -> Result<String> {
    let format = value
        .get("format")
        .and_then(Value::as_u64)
        .context("there is no key `format`")?;
    FormatVersion(format as u32).check("file", FORMAT)?;
    let kind = value
        .get("kind")
        .and_then(Value::as_str)
        .context("there is no key `kind`")?;
    Ok(kind.to_owned())
}
