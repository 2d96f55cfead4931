//! Versions of the files Slate writes.
//!
//! Every artefact carries one as the key `format`. A reader accepts every version from 1 to the
//! one it was built for, and refuses a newer one by name instead of guessing.

use serde::{Deserialize, Serialize};

/// The version of a file's layout, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FormatVersion(pub u32);

/// A file is of a version this build cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} has format {found}, expected a format from 1 to {newest}")]
pub struct FormatVersionError {
    /// Kind of file, as in "dataset manifest".
    pub what: &'static str,
    /// Version found in the file.
    pub found: u32,
    /// Newest version this build reads.
    pub newest: u32,
}

impl FormatVersion {
    /// Accepts versions from 1 to `newest`.
    ///
    /// # Errors
    /// [`FormatVersionError`] for 0 and for a version newer than this build knows.
    pub fn check(self, what: &'static str, newest: Self) -> Result<(), FormatVersionError> {
        if (1..=newest.0).contains(&self.0) {
            Ok(())
        } else {
            Err(FormatVersionError {
                what,
                found: self.0,
                newest: newest.0,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_from_one_to_the_newest_are_read() {
        let newest = FormatVersion(2);
        assert!(FormatVersion(1).check("thing", newest).is_ok());
        assert!(FormatVersion(2).check("thing", newest).is_ok());
        let error = FormatVersion(3).check("thing", newest).unwrap_err();
        assert_eq!(
            error.to_string(),
            "thing has format 3, expected a format from 1 to 2"
        );
        assert!(FormatVersion(0).check("thing", newest).is_err());
    }
}
