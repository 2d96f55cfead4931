//! One table of the log: a file, or a Hive partition for each calendar month.
//!
//! Months end in order, and a row is never long after its page: so few files are open at once,
//! whatever the length of the log.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;

use crate::calendar::Month;
use crate::error::SimError;
use crate::table_file::{Named, TableFile};

/// The files of a table being written.
pub(crate) struct TableFiles {
    folder: PathBuf,
    name: &'static str,
    /// By partition; none is the whole table.
    open: BTreeMap<Option<Month>, TableFile>,
    /// Rows of files that are finished.
    rows: u64,
}

impl TableFiles {
    /// The table `name` of a log in `folder`, which exists.
    pub(crate) fn new(folder: &Path, name: &'static str) -> Self {
        Self {
            folder: folder.to_owned(),
            name,
            open: BTreeMap::new(),
            rows: 0,
        }
    }

    /// Appends a batch to a partition, or to the one file of the table.
    pub(crate) fn write(
        &mut self,
        part: Option<Month>,
        batch: &RecordBatch,
    ) -> Result<(), SimError> {
        let file = match self.open.entry(part) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(empty) => {
                empty.insert(TableFile::new(path(&self.folder, self.name, part)?))
            }
        };
        file.write(batch)
    }

    /// Finishes the partitions before this one: no row of them is to come.
    pub(crate) fn finish_before(&mut self, part: Option<Month>) -> Result<(), SimError> {
        let later = self.open.split_off(&part);
        for file in std::mem::replace(&mut self.open, later).into_values() {
            self.rows += file.finish()?;
        }
        Ok(())
    }

    /// Finishes all files and returns the rows of the table.
    pub(crate) fn finish(self) -> Result<u64, SimError> {
        let mut rows = self.rows;
        for file in self.open.into_values() {
            rows += file.finish()?;
        }
        Ok(rows)
    }
}

/// Where a partition is written; its folder is there then.
fn path(folder: &Path, name: &str, part: Option<Month>) -> Result<PathBuf, SimError> {
    let Some(month) = part else {
        return Ok(folder.join(format!("{name}.parquet")));
    };
    let folder = folder.join(name).join(format!("month={month}"));
    fs::create_dir_all(&folder).map_err(|source| folder.io(source))?;
    Ok(folder.join("part-0.parquet"))
}
