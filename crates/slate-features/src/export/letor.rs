//! LibSVM text with query ids, and beside it what such text has no place for.
//!
//! A row is `GRADE qid:N 1:X 2:X …`: dense inputs first, then ids of categorical inputs as numbers,
//! in the order of the map; inputs that are 0 are left out, as the format means it. `N` counts the
//! lists of a part from 1. `PART.txt.query` has the number of rows of each list, `PART.ids.csv` which
//! list, item, slot and placement each row is, and `features.tsv` what each number stands for.
//! Inputs of several values, vectors and histories have no place in such text and are left out.

use std::{
    fs::File,
    io::{BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use slate_types::Split;

use super::{create, rows_of};
use crate::{FeatureError, FeatureMap, data::SplitData};

type Text = (PathBuf, BufWriter<File>);

/// The open files of a part.
pub(super) struct LetorPart {
    rows: Text,
    sizes: Text,
    ids: Text,
    /// The names, by the part that is written first.
    features: Option<PathBuf>,
    widths: (usize, usize),
    lists: u64,
}

impl LetorPart {
    pub(super) fn create(out: &Path, split: Split, map: &FeatureMap) -> Result<Self, FeatureError> {
        let open = |name: String| -> Result<Text, FeatureError> {
            let path = out.join(name);
            let file = create(&path)?;
            Ok((path, BufWriter::with_capacity(1 << 18, file)))
        };
        let part = split.name();
        let mut ids = open(format!("{part}.ids.csv"))?;
        put(&mut ids, "list_id,impression_id,item_id,slot\n")?;
        Ok(Self {
            rows: open(format!("{part}.txt"))?,
            sizes: open(format!("{part}.txt.query"))?,
            ids,
            features: names(out, map)?,
            widths: (map.dense.len(), map.categorical.len()),
            lists: 0,
        })
    }

    pub(super) fn write(
        &mut self,
        data: &SplitData,
        lists: Range<usize>,
    ) -> Result<(), FeatureError> {
        use std::fmt::Write as _;

        let (d, c) = self.widths;
        let mut line = String::new();
        for list in lists {
            self.lists += 1;
            let range = data.lists.range(list);
            put(&mut self.sizes, &format!("{}\n", range.len()))?;
            for row in rows_of(data, &(list..list + 1)) {
                line.clear();
                // Writing to a text cannot fail.
                let _ = write!(line, "{} qid:{}", data.grade[row], self.lists);
                let dense = &data.dense[row * d..(row + 1) * d];
                for (at, value) in dense.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                    let _ = write!(line, " {}:{value}", at + 1);
                }
                let ids = &data.categorical[row * c..(row + 1) * c];
                for (at, id) in ids.iter().enumerate().filter(|(_, id)| **id != 0) {
                    let _ = write!(line, " {}:{id}", d + at + 1);
                }
                line.push('\n');
                put(&mut self.rows, &line)?;
                let id = format!(
                    "{},{},{},{}\n",
                    data.list_id[list], data.impression[row], data.item[row], data.slot[row]
                );
                put(&mut self.ids, &id)?;
            }
        }
        Ok(())
    }

    /// The files, durable.
    pub(super) fn finish(self) -> Result<Vec<PathBuf>, FeatureError> {
        let mut paths: Vec<PathBuf> = self.features.into_iter().collect();
        for (path, file) in [self.rows, self.sizes, self.ids] {
            let fail = FeatureError::io("write", &path);
            let file = file
                .into_inner()
                .map_err(std::io::IntoInnerError::into_error);
            file.and_then(|file| file.sync_all()).map_err(fail)?;
            paths.push(path);
        }
        Ok(paths)
    }
}

/// Writes `features.tsv` unless another part has.
fn names(out: &Path, map: &FeatureMap) -> Result<Option<PathBuf>, FeatureError> {
    let path = out.join("features.tsv");
    if path.exists() {
        return Ok(None);
    }
    let dense = map.dense.iter().map(|feature| (feature.name(), "number"));
    let categorical = map.categorical.iter().map(|feature| (feature.name(), "id"));
    let mut text = "index\tname\tkind\n".to_owned();
    for (index, (name, kind)) in (1..).zip(dense.chain(categorical)) {
        text += &format!("{index}\t{name}\t{kind}\n");
    }
    let mut file = create(&path)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(FeatureError::io("write", &path))?;
    Ok(Some(path))
}

fn put((path, file): &mut Text, text: &str) -> Result<(), FeatureError> {
    file.write_all(text.as_bytes())
        .map_err(FeatureError::io("write", path))
}
