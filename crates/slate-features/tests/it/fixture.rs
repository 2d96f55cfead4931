//! Small `examples.parquet` files and what tests do with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, Int64Builder, ListBuilder,
    RecordBatch, StringArray, UInt8Array, UInt8Builder,
};
use parquet::{
    arrow::ArrowWriter,
    file::{metadata::KeyValue, properties::WriterProperties},
};
use slate_features::{
    DatasetSummary, FeatureError, FeatureSpec, Format, Inputs, MapSource, Origin, Outputs,
    SplitSpec, build,
};
use slate_types::{Seed, Silent};
use tempfile::TempDir;

/// One placement; what a test does not care about has a default.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) list: i64,
    pub(crate) ts: i64,
    pub(crate) slot: i32,
    pub(crate) item: i64,
    pub(crate) price: Option<i64>,
    pub(crate) category: Option<String>,
    pub(crate) quality: Option<f64>,
    pub(crate) impressions: i64,
    pub(crate) clicks: i64,
    pub(crate) grade: u8,
    pub(crate) matured: bool,
}

impl Row {
    /// When the item's listing began: unknown for some, after the page for others.
    pub(crate) fn start(&self) -> Option<i64> {
        (self.item % 4 > 0).then_some(self.ts + (self.item - 6) * 1_234_567_891)
    }

    /// Several values, with repeats, spaces and empty ones.
    pub(crate) fn tags(&self) -> Option<String> {
        let category = self.category.as_deref()?;
        Some(format!(
            "{category}|i{} || {category}|i{}",
            self.item % 3,
            self.item
        ))
    }
}

/// A day of pages: `lists` lists of 1 to 5 rows, one per minute, all labels settled.
pub(crate) fn day(lists: i64, seed: u64) -> Vec<Row> {
    let seed = Seed(seed);
    let mut rows = Vec::new();
    for list in 0..lists {
        let seed = seed.index(list as u64);
        for slot in 0..=(seed.derive("length").unit() * 5.0) as i32 {
            let draw = |purpose: &str| seed.derive(purpose).index(slot as u64).unit();
            let impressions = (draw("impressions") * 50.0) as i64;
            rows.push(Row {
                list,
                ts: 1_767_225_600_000_000 + list * 60_000_000,
                slot,
                item: (draw("item") * 12.0) as i64,
                price: (draw("priced") > 0.1).then(|| 100 + (draw("price") * 900.0) as i64),
                category: (draw("known") > 0.1)
                    .then(|| ["tops", "shoes", "bags"][(draw("category") * 3.0) as usize].into()),
                quality: Some(draw("quality")),
                impressions,
                clicks: (draw("clicks") * impressions as f64 * 0.2) as i64,
                grade: [0, 0, 1, 4][(draw("grade") * 4.0) as usize],
                matured: true,
            });
        }
    }
    rows
}

/// The columns of `rows`, by name, in the order of the contract.
pub(crate) fn columns(rows: &[Row]) -> Vec<(String, ArrayRef)> {
    let ints = |value: fn(&Row) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(value)))
    };
    let labels = |value: fn(&Row) -> u8| -> ArrayRef {
        Arc::new(UInt8Array::from_iter_values(rows.iter().map(value)))
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("list_id", ints(|row| row.list)),
        ("page_id", ints(|row| row.list + 500)),
        (
            "impression_id",
            Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)),
        ),
        ("ts", ints(|row| row.ts)),
        (
            "slot",
            Arc::new(Int32Array::from_iter_values(
                rows.iter().map(|row| row.slot),
            )),
        ),
        ("item_id", ints(|row| row.item)),
        (
            "price",
            Arc::new(rows.iter().map(|row| row.price).collect::<Int64Array>()),
        ),
        (
            "quality",
            Arc::new(rows.iter().map(|row| row.quality).collect::<Float64Array>()),
        ),
        (
            "item_category",
            Arc::new(
                rows.iter()
                    .map(|row| row.category.as_deref())
                    .collect::<StringArray>(),
            ),
        ),
        (
            "item_start",
            Arc::new(rows.iter().map(Row::start).collect::<Int64Array>()),
        ),
        (
            "tags",
            Arc::new(rows.iter().map(Row::tags).collect::<StringArray>()),
        ),
        ("item_impressions_7d", ints(|row| row.impressions)),
        ("item_clicks_7d", ints(|row| row.clicks)),
        ("grade", labels(|row| row.grade)),
        ("click", labels(|row| u8::from(row.grade >= 1))),
        ("purchase", labels(|row| u8::from(row.grade == 4))),
        (
            "matured",
            Arc::new(
                rows.iter()
                    .map(|row| Some(row.matured))
                    .collect::<BooleanArray>(),
            ),
        ),
    ];
    columns
        .into_iter()
        .map(|(name, array)| (name.to_owned(), array))
        .collect()
}

/// Writes columns as Parquet, in small row groups so that lists cross them.
pub(crate) fn write(path: &Path, columns: Vec<(String, ArrayRef)>) {
    write_with(path, columns, &[]);
}

/// The same with these keys and values in the footer.
pub(crate) fn write_with(path: &Path, columns: Vec<(String, ArrayRef)>, footer: &[(&str, &str)]) {
    let nullable = columns.into_iter().map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(nullable).unwrap();
    // Small groups cost time, so long files have long ones.
    let group = if batch.num_rows() < 1000 { 7 } else { 5000 };
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group))
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    for (key, value) in footer {
        let pair = KeyValue::new((*key).to_owned(), (*value).to_owned());
        writer.append_key_value_metadata(pair);
    }
    writer.close().unwrap();
}

/// A temporary folder with `examples.parquet` and an empty `dataset`.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn with(rows: &[Row]) -> Self {
        Self::with_columns(columns(rows))
    }

    pub(crate) fn with_columns(columns: Vec<(String, ArrayRef)>) -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        write(&place.examples(), columns);
        std::fs::create_dir(place.out()).unwrap();
        place
    }

    pub(crate) fn examples(&self) -> PathBuf {
        self.folder.path().join("examples.parquet")
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.folder.path().join("dataset")
    }

    /// A file of this name beside the examples.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The file of sequences, where a test has written one.
    pub(crate) fn sequences(&self) -> Option<PathBuf> {
        let file = self.folder.path().join("sequences.parquet");
        file.exists().then_some(file)
    }

    pub(crate) fn build(&self, spec: &str) -> Result<DatasetSummary, FeatureError> {
        self.build_split(spec, &SplitSpec::default())
    }

    pub(crate) fn build_split(
        &self,
        spec: &str,
        split: &SplitSpec,
    ) -> Result<DatasetSummary, FeatureError> {
        self.build_with(spec, split, MapSource::Fit)
    }

    pub(crate) fn build_with(
        &self,
        spec: &str,
        split: &SplitSpec,
        map: MapSource,
    ) -> Result<DatasetSummary, FeatureError> {
        self.build_as(spec, split, map, &[Format::Npy])
    }

    pub(crate) fn build_as(
        &self,
        spec: &str,
        split: &SplitSpec,
        map: MapSource,
        formats: &[Format],
    ) -> Result<DatasetSummary, FeatureError> {
        let origin = Origin {
            command: "test".into(),
            ..Origin::default()
        };
        build(
            Inputs {
                examples: &self.examples(),
                sequences: self.sequences().as_deref(),
            },
            &parse(spec),
            split,
            map,
            Outputs {
                folder: &self.out(),
                formats: &formats.iter().copied().collect::<BTreeSet<_>>(),
            },
            origin,
            &Silent,
        )
    }
}

pub(crate) fn parse(spec: &str) -> FeatureSpec {
    toml::from_str(spec).unwrap()
}

/// Histories: list `l` has `l % 4` events, of items `l + k` modulo 6, `k` falling to 0, and `k + 1` hours ago.
pub(crate) fn write_sequences(place: &Place, rows: &[Row]) {
    let mut lists: Vec<(i64, i64)> = rows.iter().map(|row| (row.list, row.ts)).collect();
    lists.dedup();
    let (mut items, mut kinds, mut times) = (
        ListBuilder::<Int64Builder>::default(),
        ListBuilder::<UInt8Builder>::default(),
        ListBuilder::<Int64Builder>::default(),
    );
    for &(list, ts) in &lists {
        for k in (0..list % 4).rev() {
            items.values().append_value((list + k) % 6);
            kinds.values().append_value((k % 3) as u8);
            times.values().append_value(ts - (k + 1) * 3_600_000_000);
        }
        items.append(true);
        kinds.append(true);
        times.append(true);
    }
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(lists.iter().map(|l| l.0)));
    let sequences: Vec<(String, ArrayRef)> = vec![
        ("list_id".to_owned(), ids),
        ("item_id".to_owned(), Arc::new(items.finish())),
        ("type".to_owned(), Arc::new(kinds.finish())),
        ("ts".to_owned(), Arc::new(times.finish())),
    ];
    write(&place.file("sequences.parquet"), sequences);
}

/// A spec that uses every kind of feature.
pub(crate) const EVERYTHING: &str = r#"
    numeric = [
        { column = "price", transforms = ["log1p", "standardise"], clip = [100, 5000] },
        { column = "quality", transforms = [], missing_indicator = true },
        { column = "price", quantile_bins = 8 },
    ]
    rate = [{ name = "ctr", numerator = "item_clicks_7d", denominator = "item_impressions_7d", smoothing = 15 }]
    relative = [{ column = "price", to = ["z", "log_ratio", "rank"] }]
    position = true
    categorical = [
        { column = "item_category", min_count = 8 },
        { column = "item_id", min_count = 2, max_ids = 10 },
        { column = "item_category", name = "category_hash", buckets = 5 },
    ]
"#;

/// Every file under `folder` with its bytes.
pub(crate) fn bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(bytes(&path));
        } else {
            let content = std::fs::read(&path).unwrap();
            files.insert(path, content);
        }
    }
    files
}
