//! A dataset folder of one part: lists that outlive the dataset they come from.

use std::{borrow::Cow, collections::BTreeMap, path::Path};

use slate_types::Split;

use crate::{
    Dataset, FeatureError, LeftOut, SplitCounts,
    data::SplitData,
    manifest::MANIFEST_FILE,
    map::FEATURE_MAP_FILE,
    npy::Writer,
    vectors::table_name,
    writer::{SplitWriter, sync_folder},
};

impl Dataset {
    /// Writes lists that were made with this dataset's feature map, or one that it has grown out of, into the
    /// empty folder `out`: a dataset with a training part and no other, which [`Dataset::open`] reads. Tables of vectors
    /// have only rows that the lists or their histories show. The paths of all files in it, in order.
    ///
    /// # Errors
    /// [`FeatureError::Io`] for a file that is there already or cannot be written.
    pub fn write_lists(&self, out: &Path, data: &SplitData) -> Result<Vec<String>, FeatureError> {
        let map = self.map();
        let mut manifest = self.manifest().clone();
        let mut files = BTreeMap::new();
        let mut data = Cow::Borrowed(data);
        if !map.embedding.is_empty() {
            data.to_mut().extras.compact();
        }
        for (feature, vectors) in map.embedding.iter().zip(&data.extras.vectors) {
            let name = table_name(&feature.name);
            let rows = (vectors.table.len() / vectors.width.max(1)) as u64;
            let mut writer = Writer::create(&out.join(&name), &[rows, vectors.width as u64])?;
            writer.write(&vectors.table)?;
            files.insert(name, writer.finish()?);
        }
        let (lists, rows) = (data.lists.len(), data.rows());
        let mut writer = SplitWriter::create(out, Split::Train, map, lists as u64, rows as u64)?;
        writer.write(&data, 0..lists)?;
        writer.finish(&mut files)?;
        let ones = |labels: &[u8]| labels.iter().map(|&label| u64::from(label)).sum();
        let timed = self.manifest().splits.get(&Split::Train);
        let timed = timed.is_some_and(|counts| counts.first_ts.is_some());
        let counts = SplitCounts {
            lists: lists as u64,
            rows: rows as u64,
            clicks: ones(&data.click),
            purchases: ones(&data.purchase),
            first_ts: data.list_ts.iter().min().copied().filter(|_| timed),
            last_ts: data.list_ts.iter().max().copied().filter(|_| timed),
        };
        manifest.splits = [(Split::Train, counts)].into();
        manifest.left_out = LeftOut::default();
        manifest.notes = Vec::new();
        manifest.exports = BTreeMap::new();
        manifest.files = files;
        // To the byte: its hash is what the manifest names it by.
        let (from, to) = (
            self.folder().join(FEATURE_MAP_FILE),
            out.join(FEATURE_MAP_FILE),
        );
        std::fs::copy(from, &to).map_err(FeatureError::io("write", &to))?;
        manifest.write(&out.join(MANIFEST_FILE))?;
        sync_folder(out)?;
        let own = [FEATURE_MAP_FILE.to_owned(), MANIFEST_FILE.to_owned()];
        let mut names: Vec<String> = manifest.files.into_keys().chain(own).collect();
        names.sort();
        Ok(names)
    }
}
