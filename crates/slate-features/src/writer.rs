//! Writing the arrays of one part, in one pass, with numbers of rows and lists known before.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use slate_types::Split;

use crate::{
    ArrayFile, FeatureError, FeatureMap,
    behind::Behind,
    data::SplitData,
    extras_writer::ExtrasWriter,
    npy::{Element, Writer},
};

/// The open arrays of one part.
pub(crate) struct SplitWriter {
    split: Split,
    folder: PathBuf,
    widths: (usize, usize),
    rows: u64,
    dense: Writer<f32>,
    categorical: Writer<u32>,
    grade: Writer<u8>,
    click: Writer<u8>,
    purchase: Writer<u8>,
    weight: Writer<f32>,
    slot: Writer<u32>,
    propensity: Writer<f64>,
    price: Writer<f64>,
    ad_rate: Writer<f64>,
    raw_score: Writer<f64>,
    item: Writer<i64>,
    impression: Writer<i64>,
    list_id: Writer<i64>,
    list_ts: Writer<i64>,
    list_offsets: Writer<u64>,
    extras: ExtrasWriter,
    /// Last, because it ends when all others are gone.
    behind: Behind,
}

/// Name of the file that holds an array.
pub(crate) fn file_name(split: Split, array: &str) -> String {
    format!("{}/{array}.npy", split.name())
}

impl SplitWriter {
    /// Opens all files of `split` under `out`.
    pub(crate) fn create(
        out: &Path,
        split: Split,
        map: &FeatureMap,
        lists: u64,
        rows: u64,
    ) -> Result<Self, FeatureError> {
        let folder = out.join(split.name());
        std::fs::create_dir(&folder).map_err(FeatureError::io("create", &folder))?;
        let (d, c) = (map.dense.len(), map.categorical.len());
        let behind = Behind::new();
        let place = (folder.as_path(), &behind);
        let mut writer = Self {
            split,
            widths: (d, c),
            rows: 0,
            dense: open(place, "dense", &[rows, d as u64])?,
            categorical: open(place, "categorical", &[rows, c as u64])?,
            grade: open(place, "grade", &[rows])?,
            click: open(place, "click", &[rows])?,
            purchase: open(place, "purchase", &[rows])?,
            weight: open(place, "weight", &[rows])?,
            slot: open(place, "slot", &[rows])?,
            propensity: open(place, "propensity", &[rows])?,
            price: open(place, "price", &[rows])?,
            ad_rate: open(place, "ad_rate", &[rows])?,
            raw_score: open(place, "raw_score", &[rows])?,
            item: open(place, "item", &[rows])?,
            impression: open(place, "impression", &[rows])?,
            list_id: open(place, "list_id", &[lists])?,
            list_ts: open(place, "list_ts", &[lists])?,
            list_offsets: open(place, "list_offsets", &[lists + 1])?,
            extras: ExtrasWriter::create(&folder, map, lists, rows)?,
            behind,
            folder,
        };
        writer.list_offsets.write(&[0])?;
        Ok(writer)
    }

    /// Appends lists `lists` of `data`.
    pub(crate) fn write(
        &mut self,
        data: &SplitData,
        lists: Range<usize>,
    ) -> Result<(), FeatureError> {
        if lists.is_empty() {
            return Ok(());
        }
        let rows = data.lists.range(lists.start).start..data.lists.range(lists.end - 1).end;
        let (d, c) = self.widths;
        self.dense
            .write(&data.dense[rows.start * d..rows.end * d])?;
        self.categorical
            .write(&data.categorical[rows.start * c..rows.end * c])?;
        self.grade.write(&data.grade[rows.clone()])?;
        self.click.write(&data.click[rows.clone()])?;
        self.purchase.write(&data.purchase[rows.clone()])?;
        self.weight.write(&data.weight[rows.clone()])?;
        self.slot.write(&data.slot[rows.clone()])?;
        self.propensity.write(&data.propensity[rows.clone()])?;
        self.price.write(&data.price[rows.clone()])?;
        self.ad_rate.write(&data.ad_rate[rows.clone()])?;
        self.raw_score.write(&data.raw_score[rows.clone()])?;
        self.item.write(&data.item[rows.clone()])?;
        self.impression.write(&data.impression[rows.clone()])?;
        self.extras.write(&data.extras, &rows, &lists)?;
        self.list_id.write(&data.list_id[lists.clone()])?;
        self.list_ts.write(&data.list_ts[lists.clone()])?;
        let moved = |list| self.rows + (data.lists.range(list).end - rows.start) as u64;
        let ends: Vec<u64> = lists.map(moved).collect();
        self.list_offsets.write(&ends)?;
        self.rows += rows.len() as u64;
        Ok(())
    }

    /// Makes all files durable and adds them to `files`.
    pub(crate) fn finish(
        self,
        files: &mut BTreeMap<String, ArrayFile>,
    ) -> Result<(), FeatureError> {
        let split = self.split;
        let mut add = |array: &str, file: ArrayFile| {
            files.insert(file_name(split, array), file);
        };
        add("dense", self.dense.finish()?);
        add("categorical", self.categorical.finish()?);
        add("grade", self.grade.finish()?);
        add("click", self.click.finish()?);
        add("purchase", self.purchase.finish()?);
        add("weight", self.weight.finish()?);
        add("slot", self.slot.finish()?);
        add("propensity", self.propensity.finish()?);
        add("price", self.price.finish()?);
        add("ad_rate", self.ad_rate.finish()?);
        add("raw_score", self.raw_score.finish()?);
        add("item", self.item.finish()?);
        add("impression", self.impression.finish()?);
        add("list_id", self.list_id.finish()?);
        add("list_ts", self.list_ts.finish()?);
        add("list_offsets", self.list_offsets.finish()?);
        self.extras.finish(&mut add)?;
        self.behind.finish()?;
        sync_folder(&self.folder)
    }
}

fn open<T: Element>(
    (folder, behind): (&Path, &Behind),
    array: &str,
    shape: &[u64],
) -> Result<Writer<T>, FeatureError> {
    let writer = Writer::create(&folder.join(format!("{array}.npy")), shape)?;
    Ok(writer.synced_by(behind.syncer()))
}

/// Makes the names of a folder's files durable, where the system can.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), FeatureError> {
    if cfg!(unix) {
        let opened = std::fs::File::open(folder).map_err(FeatureError::io("open", folder))?;
        opened
            .sync_all()
            .map_err(FeatureError::io("write", folder))?;
    }
    Ok(())
}
