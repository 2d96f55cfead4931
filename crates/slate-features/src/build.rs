//! From `examples.parquet` to a dataset folder.
//!
//! The file is read a few times and never held: once for the lists' times and labels, which
//! decides the split; once (twice with standardised rates) over the training window to fit the
//! feature map; once to transform and write. Memory is a batch of rows, the vocabularies, and 40
//! bytes for each distinct page time.
//!
//! A list with a row whose label can still change is in no part: its missing purchase is not a
//! purchase that did not happen. Such lists are counted in the manifest.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    path::Path,
};

use slate_types::{ListOffsets, Progress, Split};

use crate::{
    Block, DatasetSummary, FeatureError, FeatureMap, FeatureSpec, LeftOut, Manifest, Origin,
    SplitCounts, SplitRule, SplitSpec, TimeSplit,
    apply::Features,
    data::SplitData,
    dataset::sha256,
    examples::Examples,
    export::Format,
    fit::{Fitted, fit, readings, require_columns, require_sequences, tables},
    long_lists::Limited,
    manifest::MANIFEST_FILE,
    map::FEATURE_MAP_FILE,
    multi::ExtrasApplier,
    parts::Mapping,
    ragged::Extras,
    sequences::Sequences,
    spec::ListLimit,
    split::{Moment, Rule},
    taste,
    vectors::{VectorTable, table_name},
    writer::sync_folder,
};

/// Columns of the examples that every dataset needs.
pub(crate) const REQUIRED: [&str; 10] = [
    "list_id",
    "page_id",
    "impression_id",
    "ts",
    "slot",
    "item_id",
    "grade",
    "click",
    "purchase",
    "matured",
];
/// Columns that become arrays where they are there, and NaN where they are not.
pub(crate) const KNOWN_OR_NAN: [&str; 4] = ["propensity", "price", "ad_rate", "raw_score"];

/// The files a dataset is made of.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Rows with labels, sorted by list.
    pub examples: &'a Path,
    /// Past events of each list's user; needed where histories are a feature.
    pub sequences: Option<&'a Path>,
}

/// Where the feature map comes from.
#[derive(Debug, Clone)]
pub enum MapSource {
    /// The spec is fitted to the training window.
    Fit,
    /// Nothing is fitted: the examples are transformed as this map says. Of the spec only the weights
    /// and the files of vectors are used.
    Given(FeatureMap),
    /// Values of the training window that this map does not know get ids after those it has.
    Extended {
        /// The map before.
        map: FeatureMap,
        /// Whether means, deviations, priors and bin edges are fitted anew, too.
        refit: bool,
    },
}

impl MapSource {
    /// The columns of the examples that a dataset of this spec reads: no others are needed.
    pub fn columns(&self, spec: &FeatureSpec) -> BTreeSet<String> {
        let known = REQUIRED.into_iter().chain(KNOWN_OR_NAN);
        let mut columns: BTreeSet<String> = known.map(str::to_owned).collect();
        if !matches!(self, Self::Given(_)) {
            columns.extend(
                spec.inputs()
                    .into_iter()
                    .map(|(column, _)| column.to_owned()),
            );
        }
        // Those of a name that is to be made: not to be read, but to be refused.
        columns.extend(spec.made().map(|(_, name)| name.to_owned()));
        if let Self::Given(map) | Self::Extended { map, .. } = self {
            columns.extend(map.columns().into_iter().map(str::to_owned));
        }
        columns
    }
}

/// Where a dataset goes, and how.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    /// A folder that exists and is empty.
    pub folder: &'a Path,
    /// What is written, at least one; `npy` is what training and scoring read.
    pub formats: &'a BTreeSet<Format>,
}

/// Examples that were looked through, and the map they will be made into numbers with.
pub(crate) struct Prepared {
    pub(crate) source: Examples,
    pub(crate) tables: Vec<VectorTable>,
    rule: Rule,
    /// Where the parts begin.
    pub(crate) times: TimeSplit,
    splits: BTreeMap<Split, SplitCounts>,
    left_out: LeftOut,
    pub(crate) map: FeatureMap,
    notes: Vec<String>,
}

/// Checks the columns, divides the lists by time, and fits the map where none is given.
pub(crate) fn prepare(
    inputs: Inputs<'_>,
    spec: &FeatureSpec,
    split: &SplitSpec,
    map: MapSource,
    progress: &dyn Progress,
) -> Result<Prepared, FeatureError> {
    if !matches!(map, MapSource::Given(_)) {
        spec.check()?;
    }
    let rule = split.rule()?;
    let given = match &map {
        MapSource::Given(map) => Some(map),
        MapSource::Fit | MapSource::Extended { .. } => None,
    };
    let (source, mut tables) = open(inputs, spec, given)?;
    let source = source.within(split.window()?);
    let Inputs {
        examples,
        sequences,
    } = inputs;
    let scan = in_stage(progress, "scan", source.rows, || scan(&source, progress))?;
    let lists = scan.moments.iter().map(|moment| moment.lists).sum();
    if lists < Split::ALL.len() as u64 {
        let left_out = scan.left_out.immature_lists;
        return Err(FeatureError::TooFewLists {
            file: examples.to_path_buf(),
            lists,
            left_out,
        });
    }
    let times = rule.resolve(&scan.moments)?;
    let splits = counts(&scan.moments, times);
    if splits[&Split::Train].clicks + splits[&Split::Train].purchases == 0 {
        return Err(FeatureError::NoPositives {
            lists: splits[&Split::Train].lists,
        });
    }

    let fresh = || {
        let rows = splits[&Split::Train].rows;
        let advance = |rows| progress.advance(rows);
        let (until, mut notes, mut tastes) = (times.valid_from, Vec::new(), Vec::new());
        for taste in &spec.taste {
            let most = (1 + taste::SWEEPS) * rows;
            tastes.push(in_stage(
                progress,
                &format!("taste {}", taste.name),
                most,
                || taste::fit(&source, taste, until, &advance, &mut notes),
            )?);
        }
        let mut fitted = in_stage(progress, "fit", readings(spec) * rows, || {
            fit(&source, spec, until, sequences, &tables, tastes, &advance)
        })?;
        fitted.notes.extend(notes);
        Ok(fitted)
    };
    let Fitted { map, notes } = match map {
        MapSource::Fit => fresh()?,
        MapSource::Given(map) => Fitted {
            map,
            notes: Vec::new(),
        },
        MapSource::Extended { map, refit } => {
            let Fitted {
                map: fresh,
                mut notes,
            } = fresh()?;
            let (map, more) = map.extended(&fresh, spec, refit)?;
            notes.extend(more);
            Fitted { map, notes }
        }
    };
    for (feature, table) in map.embedding.iter().zip(&mut tables) {
        if let Some(scale) = &feature.scale {
            table.standardise(scale);
        }
    }
    let source = source.with(&map.taste)?;
    let mut notes = notes;
    notes.extend(long_lists_note(spec.list_limit()?, scan.limited));
    Ok(Prepared {
        source,
        tables,
        rule,
        times,
        splits,
        left_out: scan.left_out,
        map,
        notes,
    })
}

/// Opens the files and checks that they have what the map, or else the spec, wants.
pub(crate) fn open(
    inputs: Inputs<'_>,
    spec: &FeatureSpec,
    map: Option<&FeatureMap>,
) -> Result<(Examples, Vec<VectorTable>), FeatureError> {
    let Inputs {
        examples,
        sequences,
    } = inputs;
    let source = Examples::open(examples)?.limited(spec.list_limit()?);
    for column in REQUIRED {
        source.require(column, "every dataset")?;
    }
    match map {
        None => {
            source.refuse_made(spec.made())?;
            require_columns(&source, spec)?;
        }
        Some(map) => {
            for column in map.columns() {
                source.require(column, "the feature map")?;
            }
        }
    }

    let wants_history = map.map_or(spec.history.is_some(), |map| map.history.is_some());
    require_sequences(wants_history, sequences)?;
    let tables = tables(spec)?;
    if let Some(map) = map {
        check_tables(map, spec, &tables)?;
    }
    Ok((source, tables))
}

/// Makes a dataset.
///
/// # Errors
/// What [`FeatureSpec::check`], [`SplitSpec::check`] and [`FeatureMap::fit`] refuse;
/// [`FeatureError::Order`] for examples that are not sorted; [`FeatureError::TooFewLists`],
/// [`FeatureError::EmptySplit`] and [`FeatureError::NoPositives`] for examples that cannot be
/// divided or learned from.
pub fn build(
    inputs: Inputs<'_>,
    spec: &FeatureSpec,
    split: &SplitSpec,
    map: MapSource,
    outputs: Outputs<'_>,
    origin: Origin,
    progress: &dyn Progress,
) -> Result<DatasetSummary, FeatureError> {
    let Prepared {
        source,
        tables,
        rule,
        times,
        splits,
        left_out,
        map,
        notes,
    } = prepare(inputs, spec, split, map, progress)?;
    let out = outputs.folder;
    let Inputs {
        examples,
        sequences,
    } = inputs;
    let mut origin = origin;
    if origin.label_as_of.is_none() {
        origin.label_as_of.clone_from(&source.label_as_of);
    }
    if origin.examples_hash.is_none() {
        origin.examples_hash = Some(sha256(examples)?);
    }
    let fractions = match rule {
        Rule::Fractions(fractions) => Some(fractions),
        Rule::Boundaries(_) => None,
    };
    let mut manifest = Manifest::new(
        &map,
        origin,
        SplitRule::Time {
            from: times,
            fractions,
        },
    );
    manifest.splits = splits;
    manifest.left_out = left_out;
    manifest.notes = notes;
    in_stage(progress, "write", source.rows, || {
        for (feature, table) in map.embedding.iter().zip(&tables) {
            let name = table_name(&feature.name);
            let file = table.write(&out.join(&name))?;
            manifest.files.insert(name, file);
        }
        let sequences = match (&map.history, sequences) {
            (Some(_), Some(path)) => Some(Sequences::open(path, source.is_windowed())?),
            _ => None,
        };
        let mut mapping = Mapping {
            map: &map,
            extras: ExtrasApplier::new(&map, &tables, sequences),
            weights: &spec.weights,
            formats: outputs.formats,
        };
        mapping.write(&source, times, out, &mut manifest, progress)
    })?;
    finish(&map, &manifest, out)?;
    Ok(manifest.summary())
}

/// What a person should know about long lists.
fn long_lists_note(limit: Option<ListLimit>, done: Limited) -> Option<String> {
    let most = limit.filter(|_| done.lists > 0)?.most;
    Some(if done.pieces > 0 {
        format!(
            "{} lists of more than {most} rows were split into {}",
            done.lists, done.pieces
        )
    } else {
        format!(
            "{} lists of more than {most} rows were cut, which left {} rows out",
            done.lists, done.rows_cut
        )
    })
}

/// The spec must bring the vectors that a given map wants.
fn check_tables(
    map: &FeatureMap,
    spec: &FeatureSpec,
    tables: &[VectorTable],
) -> Result<(), FeatureError> {
    for (i, feature) in map.embedding.iter().enumerate() {
        let given = spec.embedding.get(i).zip(tables.get(i));
        if let Some((embedding, table)) = given
            && let (Some(wanted), Some(found)) = (&feature.encoder, &table.encoder)
            && wanted != found
        {
            return Err(FeatureError::option(
                format!("features.embedding[{i}].path"),
                format!("`{}`, of another encoder", embedding.path.display()),
                format!(
                    "vectors of the encoder that `{}` was fitted with",
                    feature.name
                ),
            ));
        }
        let fits = given.is_some_and(|(embedding, table)| {
            embedding.name == feature.name && table.width == feature.width as usize
        });
        if !fits {
            let found = given.map_or("missing".to_owned(), |(embedding, table)| {
                format!("`{}` with vectors of {}", embedding.name, table.width)
            });
            let expected = format!(
                "`{}` with vectors of {}, as in the feature map",
                feature.name, feature.width
            );
            let key = format!("features.embedding[{i}]");
            return Err(FeatureError::option(key, found, expected));
        }
    }
    Ok(())
}

/// Runs one stage of the work under its name.
pub(crate) fn in_stage<T>(
    progress: &dyn Progress,
    stage: &str,
    rows: u64,
    work: impl FnOnce() -> Result<T, FeatureError>,
) -> Result<T, FeatureError> {
    progress.begin(stage, Some(rows), "rows");
    let result = work();
    progress.end();
    result
}

/// Writes what describes the arrays. The manifest comes last: a folder with one is whole.
pub(crate) fn finish(
    map: &FeatureMap,
    manifest: &Manifest,
    out: &Path,
) -> Result<(), FeatureError> {
    map.write(&out.join(FEATURE_MAP_FILE))?;
    manifest.write(&out.join(MANIFEST_FILE))?;
    sync_folder(out)
}

/// What the first reading finds.
struct Scan {
    moments: Vec<Moment>,
    left_out: LeftOut,
    limited: Limited,
}

fn scan(source: &Examples, progress: &dyn Progress) -> Result<Scan, FeatureError> {
    let mut moments: Vec<Moment> = Vec::new();
    let mut left_out = LeftOut::default();
    let mut blocks = source.blocks(&["matured", "click", "purchase"])?;
    for block in blocks.by_ref() {
        let block = block?;
        let ts = block.integers("ts")?.values();
        let matured = flags(&block, "matured")?;
        let click = flags(&block, "click")?;
        let purchase = flags(&block, "purchase")?;
        for rows in block.lists().iter() {
            if !usable(&matured[rows.clone()]) {
                left_out.immature_lists += 1;
                left_out.immature_rows += rows.len() as u64;
                continue;
            }
            let ts = ts[rows.start];
            if moments.last().is_none_or(|moment| moment.ts != ts) {
                moments.push(Moment {
                    ts,
                    ..Moment::default()
                });
            }
            let moment = moments.last_mut().expect("one was pushed");
            moment.lists += 1;
            moment.rows += rows.len() as u64;
            moment.clicks += click[rows.clone()]
                .iter()
                .map(|&label| u64::from(label))
                .sum::<u64>();
            moment.purchases += purchase[rows]
                .iter()
                .map(|&label| u64::from(label))
                .sum::<u64>();
        }
        progress.advance(block.rows() as u64);
    }
    left_out.outside_rows = blocks.outside;
    let limited = blocks.limited;
    if limited.rows_cut > 0 {
        left_out.cut_lists = limited.lists;
        left_out.cut_rows = limited.rows_cut;
    }
    Ok(Scan {
        moments,
        left_out,
        limited,
    })
}

/// Whether no label of a list can change any more.
pub(crate) fn usable(matured: &[u8]) -> bool {
    matured.iter().all(|&matured| matured == 1)
}

fn counts(moments: &[Moment], times: TimeSplit) -> BTreeMap<Split, SplitCounts> {
    let mut splits = BTreeMap::new();
    for moment in moments {
        let split: &mut SplitCounts = splits.entry(times.part(moment.ts)).or_default();
        split.lists += moment.lists;
        split.rows += moment.rows;
        split.clicks += moment.clicks;
        split.purchases += moment.purchases;
        split.first_ts = split.first_ts.or(Some(moment.ts));
        split.last_ts = Some(moment.ts);
    }
    splits
}

/// The arrays of one block.
pub(crate) fn rows(
    block: &Block,
    features: Features,
    extras: Extras,
    weights: &[f64],
) -> Result<SplitData, FeatureError> {
    let lists: ListOffsets = block.lists().clone();
    let firsts: Vec<usize> = lists.iter().map(|rows| rows.start).collect();
    let each_list = |column: &str| -> Result<Vec<i64>, FeatureError> {
        let values = block.integers(column)?.values();
        Ok(firsts.iter().map(|&row| values[row]).collect())
    };
    let known_or_nan = |column: &str| {
        if block.has(column) {
            block.numbers(column)
        } else {
            Ok(vec![f64::NAN; block.rows()])
        }
    };
    let expected = "a whole number from 0 to 255";
    let grade = small(block, "grade", 0..=255, expected, |value| value as u8)?;
    let expected = "a whole number from 0 to 4294967295";
    let slot = small(block, "slot", 0..=u32::MAX.into(), expected, |value| {
        value as u32
    })?;
    Ok(SplitData {
        weight: weight(block, &grade, weights)?,
        grade,
        click: flags(block, "click")?,
        purchase: flags(block, "purchase")?,
        slot,
        propensity: known_or_nan("propensity")?,
        price: known_or_nan("price")?,
        ad_rate: known_or_nan("ad_rate")?,
        raw_score: known_or_nan("raw_score")?,
        item: block.integers("item_id")?.values().to_vec(),
        impression: block.integers("impression_id")?.values().to_vec(),
        list_id: each_list("list_id")?,
        list_ts: each_list("ts")?,
        dense: features.dense,
        categorical: features.categorical,
        extras,
        lists,
    })
}

fn weight(block: &Block, grade: &[u8], weights: &[f64]) -> Result<Vec<f32>, FeatureError> {
    if weights.is_empty() {
        return Ok(vec![1.0; grade.len()]);
    }
    let each = |(row, &grade): (usize, &u8)| {
        let weight = weights.get(usize::from(grade)).ok_or_else(|| {
            let known = weights.len();
            let expected = format!("a grade with a weight (`features.weights` has {known})");
            block.bad_value("grade", row, grade, expected)
        })?;
        Ok(*weight as f32)
    };
    grade.iter().enumerate().map(each).collect()
}

/// A column of 0 and 1.
pub(crate) fn flags(block: &Block, column: &str) -> Result<Vec<u8>, FeatureError> {
    small(block, column, 0..=1, "0 or 1", |value| value as u8)
}

/// A column of whole numbers of a range, as a smaller type.
fn small<T>(
    block: &Block,
    column: &str,
    range: RangeInclusive<i64>,
    expected: &str,
    to: impl Fn(i64) -> T,
) -> Result<Vec<T>, FeatureError> {
    let values = block.integers(column)?.values();
    match values.iter().position(|value| !range.contains(value)) {
        Some(row) => Err(block.bad_value(column, row, values[row], expected)),
        None => Ok(values.iter().map(|&value| to(value)).collect()),
    }
}
