//! LETOR files straight to a dataset: they have features and grades already.
//!
//! Read are LibSVM rows with a query id, `2 qid:7 1:0.5 4:-3 # text`, and LightGBM's form, rows
//! without `qid` beside a file `DATA.query` with the number of rows of each query; plain or
//! gzip-compressed. A source is one file, or a folder with a file for training and, where there
//! are, for validation and testing; the word `train`, `vali`, `valid`, `validation` or `test` in
//! the name says which, as in `rank.train.gz` or `vali.txt`. Whole queries are taken from the
//! training file for every part that has no file of its own, chosen by a seeded hash.
//!
//! A feature that a row does not name is 0. Dense inputs are the features of the training
//! queries in the order of their numbers, named `f1`, `f2`, …, by default standardised with the
//! training queries' mean and deviation. Rows have no time, so `list_ts` is 0; `list_id` counts
//! queries and `item` and `impression` count rows, over the files in the order train, valid,
//! test; `slot` is the row's place in its query.

mod files;
mod rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::{Deserialize, Serialize};
use slate_types::{ListOffsets, Progress, Seed, Split};

use crate::{
    DatasetSummary, DenseFeature, FeatureError, FeatureMap, FittedOn, Manifest, Origin,
    SplitCounts, SplitRule,
    build::{finish, in_stage},
    data::SplitData,
    map::FEATURE_MAP_FORMAT,
    moments::Moments,
    ragged::Extras,
    writer::SplitWriter,
};
use files::Sources;
use rows::{Queries, Query};

/// Most distinct features of the training queries: arrays are dense, so text-like sparse data
/// would fill the disk with zeros.
pub const MOST_FEATURES: usize = 10_000;

/// How LETOR files become a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LetorOptions {
    /// Share of the training file's queries for validation, where it has no file.
    pub valid: f64,
    /// Share of the training file's queries for calibration, which never has a file.
    pub calibrate: f64,
    /// Share of the training file's queries for testing, where it has no file.
    pub test: f64,
    /// Chooses those queries.
    pub seed: Seed,
    /// Rows of this grade and above count as clicked.
    pub click_grade: u8,
    /// Rows of this grade and above count as bought.
    pub purchase_grade: u8,
    /// Whether features are standardised.
    pub standardise: bool,
}

impl Default for LetorOptions {
    fn default() -> Self {
        Self {
            valid: 0.15,
            calibrate: 0.15,
            test: 0.2,
            seed: Seed(0),
            click_grade: 1,
            purchase_grade: 3,
            standardise: true,
        }
    }
}

impl LetorOptions {
    /// Checks ranges.
    ///
    /// # Errors
    /// [`FeatureError::Option`] with the key.
    pub fn check(&self) -> Result<(), FeatureError> {
        for (key, share) in [
            ("valid", self.valid),
            ("calibrate", self.calibrate),
            ("test", self.test),
        ] {
            if !(share > 0.0 && share < 1.0) {
                return Err(FeatureError::option(
                    key,
                    share,
                    "a fraction between 0 and 1",
                ));
            }
        }
        if self.click_grade == 0 {
            let expected = "a grade from 1: grade 0 is not relevant";
            return Err(FeatureError::option("click_grade", 0, expected));
        }
        if self.purchase_grade < self.click_grade {
            let expected = format!("at least `click_grade`, {}", self.click_grade);
            return Err(FeatureError::option(
                "purchase_grade",
                self.purchase_grade,
                expected,
            ));
        }
        Ok(())
    }
}

/// Makes a dataset of the file or folder `source` in `out`, a folder that exists and is empty.
///
/// The files are read three times and never held: for the number of queries, for the features,
/// and to write.
///
/// # Errors
/// [`FeatureError::Letor`] with the line for rows that cannot be understood or do not agree with
/// the query sizes, [`FeatureError::LetorFolder`] where files are missing or ambiguous, and the
/// errors of a dataset without enough queries or any positive.
pub fn import_letor(
    source: &Path,
    out: &Path,
    options: &LetorOptions,
    origin: Origin,
    progress: &dyn Progress,
) -> Result<DatasetSummary, FeatureError> {
    options.check()?;
    let sources = Sources::find(source)?;
    let queries = count_queries(&sources.train)?;
    let shares = [
        if sources.valid.is_some() {
            0.0
        } else {
            options.valid
        },
        options.calibrate,
        if sources.test.is_some() {
            0.0
        } else {
            options.test
        },
    ];
    let sum: f64 = shares.iter().sum();
    if sum > 1.0 - 1e-9 {
        let given = format!("{sum} together with the other shares taken from training");
        return Err(FeatureError::option(
            "calibrate",
            given,
            "less than 1 in all",
        ));
    }
    let parts = assign(queries, shares, options.seed).ok_or_else(|| FeatureError::TooFewLists {
        file: source.into(),
        lists: queries,
        left_out: 0,
    })?;

    let scan = scan(&sources, &parts, options)?;
    let train = scan.splits.get(&Split::Train).copied().unwrap_or_default();
    if train.clicks + train.purchases == 0 {
        return Err(FeatureError::NoPositives { lists: train.lists });
    }
    let (map, features) = feature_map(&scan.features, train, options.standardise);
    let mut origin = origin;
    origin.seed = origin.seed.or(Some(options.seed));
    if origin.examples_hash.is_none() {
        origin.examples_hash = Some(sources.hash()?);
    }
    let [valid, calibrate, test] = shares;
    let mut manifest = Manifest::new(
        &map,
        origin,
        SplitRule::Query {
            valid,
            calibrate,
            test,
        },
    );
    manifest.splits.clone_from(&scan.splits);
    if !scan.only_later.is_empty() {
        manifest.notes.push(format!(
            "{} features are in no training query and were left out",
            scan.only_later.len()
        ));
    }
    let rows = scan.splits.values().map(|split| split.rows).sum();
    in_stage(progress, "write", rows, || {
        write(
            &sources,
            &parts,
            &map,
            &features,
            options,
            out,
            &mut manifest,
            progress,
        )
    })?;
    finish(&map, &manifest, out)?;
    Ok(manifest.summary())
}

fn count_queries(train: &Path) -> Result<u64, FeatureError> {
    let mut count = 0;
    for query in Queries::open(train)? {
        query?;
        count += 1;
    }
    Ok(count)
}

/// The part of each query of the training file: those with the smallest hashes go to valid, the
/// next to calibrate, the next to test. None where a part would be empty.
fn assign(queries: u64, shares: [f64; 3], seed: Seed) -> Option<Vec<Split>> {
    let seed = seed.derive("letor");
    let mut order: Vec<u64> = (0..queries).collect();
    order.sort_by_key(|&query| (seed.index(query).0, query));
    let mut parts = vec![Split::Train; queries as usize];
    let mut rest = order.into_iter();
    for (split, share) in [Split::Valid, Split::Calibrate, Split::Test]
        .into_iter()
        .zip(shares)
    {
        if share > 0.0 {
            let wanted = ((share * queries as f64).round() as usize).max(1);
            for query in rest.by_ref().take(wanted) {
                parts[query as usize] = split;
            }
        }
    }
    (rest.next().is_some()).then_some(parts)
}

/// What the second reading finds.
struct Scan {
    splits: BTreeMap<Split, SplitCounts>,
    /// Non-zero and zero values that rows of training queries name, by feature.
    features: BTreeMap<u32, Moments>,
    /// Features of other queries alone.
    only_later: BTreeSet<u32>,
}

/// Calls `use_query` with each query of all files and its part, in the order of `list_id`.
fn for_each_query(
    sources: &Sources,
    parts: &[Split],
    mut use_query: impl FnMut(Split, Query) -> Result<(), FeatureError>,
) -> Result<(), FeatureError> {
    for (query, &split) in Queries::open(&sources.train)?.zip(parts) {
        use_query(split, query?)?;
    }
    for (file, split) in [(&sources.valid, Split::Valid), (&sources.test, Split::Test)] {
        if let Some(file) = file {
            for query in Queries::open(file)? {
                use_query(split, query?)?;
            }
        }
    }
    Ok(())
}

fn scan(sources: &Sources, parts: &[Split], options: &LetorOptions) -> Result<Scan, FeatureError> {
    let mut splits: BTreeMap<Split, SplitCounts> = BTreeMap::new();
    let mut features: BTreeMap<u32, Moments> = BTreeMap::new();
    let mut later = BTreeSet::new();
    for_each_query(sources, parts, |split, query| {
        let counts = splits.entry(split).or_default();
        counts.lists += 1;
        counts.rows += query.rows.len() as u64;
        for row in &query.rows {
            counts.clicks += u64::from(row.grade >= options.click_grade);
            counts.purchases += u64::from(row.grade >= options.purchase_grade);
            for &(feature, value) in &row.features {
                if split == Split::Train {
                    features.entry(feature).or_default().add(value);
                } else if later.len() <= MOST_FEATURES {
                    later.insert(feature);
                }
            }
            if features.len() > MOST_FEATURES {
                return Err(FeatureError::LetorFolder {
                    folder: sources.train.clone(),
                    problem: format!(
                        "has more than {MOST_FEATURES} distinct features, expected at most that \
                         many: arrays of a dataset are dense"
                    ),
                });
            }
        }
        Ok(())
    })?;
    for split in Split::ALL {
        if !splits.contains_key(&split) {
            let reason = "its file has no query".to_owned();
            return Err(FeatureError::EmptySplit { split, reason });
        }
    }
    let only_later = later
        .into_iter()
        .filter(|f| !features.contains_key(f))
        .collect();
    Ok(Scan {
        splits,
        features,
        only_later,
    })
}

/// The map, and the place of each feature in it.
fn feature_map(
    features: &BTreeMap<u32, Moments>,
    train: SplitCounts,
    standardise: bool,
) -> (FeatureMap, BTreeMap<u32, usize>) {
    let dense = features
        .iter()
        .map(|(feature, moments)| {
            let scale = moments.with_zeros(train.rows - moments.count).scale();
            DenseFeature::Numeric {
                name: format!("f{feature}"),
                column: format!("f{feature}"),
                time_since: false,
                clip: None,
                log1p: false,
                scale: standardise.then_some(scale),
                fill: if standardise { scale.apply(0.0) } else { 0.0 },
            }
        })
        .collect();
    let fitted_on = FittedOn {
        lists: train.lists,
        rows: train.rows,
        first_ts: None,
        last_ts: None,
    };
    let map = FeatureMap {
        format: FEATURE_MAP_FORMAT,
        fitted_on,
        dense,
        categorical: Vec::new(),
        ..FeatureMap::default()
    };
    (map, features.keys().copied().zip(0..).collect())
}

#[expect(
    clippy::too_many_arguments,
    reason = "one call, and each is a different thing"
)]
fn write(
    sources: &Sources,
    parts: &[Split],
    map: &FeatureMap,
    features: &BTreeMap<u32, usize>,
    options: &LetorOptions,
    out: &Path,
    manifest: &mut Manifest,
    progress: &dyn Progress,
) -> Result<(), FeatureError> {
    let mut writers = BTreeMap::new();
    for (&split, counts) in &manifest.splits {
        let writer = SplitWriter::create(out, split, map, counts.lists, counts.rows)?;
        writers.insert(split, writer);
    }
    let empty_row: Vec<f32> = map
        .dense
        .iter()
        .map(|feature| dense_value(feature, None))
        .collect();
    let mut list = 0;
    let mut first_row = 0;
    for_each_query(sources, parts, |split, query| {
        let rows = query.rows.len();
        let mut dense = Vec::with_capacity(rows * empty_row.len());
        for row in &query.rows {
            let begin = dense.len();
            dense.extend_from_slice(&empty_row);
            for (feature, value) in &row.features {
                // A feature of later queries alone has no place.
                let Some(&place) = features.get(feature) else {
                    continue;
                };
                let value = dense_value(&map.dense[place], Some(*value));
                if !value.is_finite() {
                    let problem = format!("feature {feature} is too large for a 32-bit float");
                    let file = query.file.clone();
                    return Err(FeatureError::Letor {
                        file,
                        line: row.line,
                        problem,
                    });
                }
                dense[begin + place] = value;
            }
        }
        let ids: Vec<i64> = (first_row..).take(rows).collect();
        let label = |grade: u8| {
            query
                .rows
                .iter()
                .map(|r| u8::from(r.grade >= grade))
                .collect()
        };
        let data = SplitData {
            lists: ListOffsets::from_lengths([rows as u64]).expect("a query has a row"),
            dense,
            categorical: Vec::new(),
            grade: query.rows.iter().map(|row| row.grade).collect(),
            click: label(options.click_grade),
            purchase: label(options.purchase_grade),
            weight: vec![1.0; rows],
            slot: (0..).take(rows).collect(),
            propensity: vec![f64::NAN; rows],
            price: vec![f64::NAN; rows],
            ad_rate: vec![f64::NAN; rows],
            raw_score: vec![f64::NAN; rows],
            item: ids.clone(),
            impression: ids,
            list_id: vec![list],
            list_ts: vec![0],
            extras: Extras::default(),
        };
        list += 1;
        first_row += rows as i64;
        progress.advance(rows as u64);
        writers
            .get_mut(&split)
            .expect("the scan saw this part")
            .write(&data, 0..1)
    })?;
    for writer in writers.into_values() {
        writer.finish(&mut manifest.files)?;
    }
    Ok(())
}

fn dense_value(feature: &DenseFeature, value: Option<f64>) -> f32 {
    let DenseFeature::Numeric { scale, fill, .. } = feature else {
        unreachable!("the map of LETOR files has numeric features only")
    };
    let value = value.map_or(*fill, |value| {
        scale.map_or(value, |scale| scale.apply(value))
    });
    value as f32
}
