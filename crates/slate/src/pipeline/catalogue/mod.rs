//! The items of a catalogue to the vectors of a trained pair of towers.
//!
//! What the towers read of an item is made by the feature job that made it for training: a log is put
//! together in which every item has one page of its own, with that item as its seed and in its only
//! slot. So an item of today gets its vectors today, and a title or a price becomes the
//! same numbers as in training.

mod failures;
pub(crate) mod graph;
mod neighbours;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::DataType;
use parquet::arrow::ArrowWriter;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slate_embed::{write_ids, write_vectors};
use slate_features::{
    CategoricalFeature, Dataset, DenseFeature, FeatureMap, FeatureSpec, MapSource, SplitSpec,
};
use slate_logs::{AttributionOptions, EngineOptions, LogTables};
use slate_model::{DeviceSpec, InBatchOptions, Ranker, TowersOptions, WEIGHTS_FILE};
use slate_types::log::{PAGE_IMPRESSION, SLOT_IMPRESSION};
use slate_types::{FormatVersion, Progress, Seed, Split};

use super::featurise::{self, Logs};
use super::scoring;
use crate::artefacts::items::{ItemColumns, files, read_items};
use crate::artefacts::scores::ScoreTable;
use crate::artefacts::{manifest, write_file};
use crate::config::EmbedSection;
use crate::console::Refusal;

const FORMAT: FormatVersion = FormatVersion(1);
/// What the manifest says it is of.
pub(crate) const KIND: &str = "item vectors";
/// Days of microseconds between the page of an item and what is after it.
const DAY: i64 = 86_400_000_000;
/// No label is still open so many days later.
const MATURE: i64 = 60;

/// `manifest.json` of an export.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) format: FormatVersion,
    /// Always [`KIND`].
    pub(crate) kind: String,
    pub(crate) slate: String,
    pub(crate) command: String,
    /// SHA-256 of the weights of the run.
    pub(crate) weights_sha256: String,
    /// Rows of the three arrays.
    pub(crate) items: usize,
    /// Numbers of a vector.
    pub(crate) width: usize,
    /// The moment that times are counted to, UTC microseconds.
    pub(crate) as_of: i64,
    /// Rows of the table that are no items, or stand for one a second time.
    pub(crate) rejects: usize,
    /// Items whose row was set aside, so that nothing but their vectors is known of them, by reason.
    pub(crate) set_aside: BTreeMap<String, u64>,
    /// Items without a vector, by the embedding that has none of theirs.
    pub(crate) without: BTreeMap<String, usize>,
    /// Of `taste.npy`, where the run was trained to find what a visitor likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) taste: Option<Taste>,
}

/// What says how well an item suits a visitor: for each kind of content, `weight · Σ t(chosen) / (n + prior_events) · t(item)`
/// beside the cosine, over the `n` items they chose before that have content of that kind.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Taste {
    /// Kinds of content, such as titles and pictures, whose vectors stand side by side.
    pub(crate) kinds: usize,
    /// Numbers of a vector of one kind.
    pub(crate) width: usize,
    /// What the product counts beside the cosine.
    pub(crate) weight: f64,
    /// How many vectors of zeros the mean counts beside those of the items.
    pub(crate) prior_events: u32,
}

/// What is exported, and by what.
pub(crate) struct Job<'a> {
    pub(crate) run: &'a Path,
    /// A file of items, a folder of such files, or a folder of logs.
    pub(crate) items: &'a Path,
    pub(crate) features: &'a FeatureSpec,
    /// Pages the run scored, of which the worst are told.
    pub(crate) scores: Option<&'a Path>,
    /// What an item looks like, for people.
    pub(crate) embed: &'a EmbedSection,
    pub(crate) attribution: AttributionOptions,
    /// UTC microseconds; left out, the end of the training window.
    pub(crate) as_of: Option<i64>,
    pub(crate) device: DeviceSpec,
    pub(crate) threads: usize,
    pub(crate) seed: Seed,
    pub(crate) command: &'a str,
    pub(crate) progress: &'a dyn Progress,
}

/// Writes `item_id.npy`, `seed.npy`, `candidate.npy`, `taste.npy` where the run has one, `neighbours.json` and
/// `manifest.json` into the empty folder `out`.
///
/// # Errors
/// A run of another kind of network, towers that read what an item by itself does not have, items that
/// cannot be read.
pub(crate) fn export(job: &Job<'_>, out: &Path) -> Result<Manifest> {
    let ranker = Ranker::load(job.run, job.device)
        .with_context(|| format!("cannot load the run `{}`", job.run.display()))?;
    if ranker.network_config().towers.is_none() {
        let kind = ranker.network_config().kind.name();
        return Err(Refusal::new(format!(
            "`{}` is a network of kind `{kind}`",
            job.run.display()
        ))
        .hint("vectors of items are those of `train.network.kind = \"similar\"`")
        .into());
    }
    let map = FeatureMap::read(&job.run.join("feature_map.json"))
        .with_context(|| format!("cannot load the run `{}`", job.run.display()))?;
    let run = manifest::read_json(&job.run.join("manifest.json"))?;
    manifest::verify(job.run, &run)?;
    let towers = towers(job, &map, &run)?;
    let failures = match job.scores {
        Some(path) => {
            let weights = run["files"][WEIGHTS_FILE]["sha256"].as_str();
            let run = scoring::short_hash(weights.unwrap_or_default());
            failures::worst(&ScoreTable::read(path)?, run)?
        }
        None => Vec::new(),
    };
    let as_of = job.as_of.or(map.fitted_on.last_ts).unwrap_or(0);
    let (ids, rejects) = item_ids(job.items)?;

    let work = tempfile::Builder::new()
        .prefix(".catalogue")
        .tempdir_in(out)
        .context("cannot create a folder beside the vectors")?;
    let (dataset, set_aside) = dataset_of(job, &map, &ids, as_of, work.path())?;
    let shape = dataset.shape();
    let data = dataset.split(Split::Train)?;
    let tables = map.embedding.iter().zip(&data.extras.vectors);
    let without = tables
        .filter(|(own, _)| towers.candidate.contains(&own.name))
        .map(|(own, vectors)| {
            let none = vectors.index.iter().filter(|&&row| row == 0).count();
            (own.name.clone(), none)
        })
        .filter(|(_, none)| *none > 0)
        .collect();
    let width = ranker
        .network_config()
        .towers
        .as_ref()
        .map_or(0, |own| own.width);
    let mut vectors = [vec![0.0; ids.len() * width], vec![0.0; ids.len() * width]];
    let mut taste = Vec::new();
    job.progress
        .begin("vectors of items", Some(ids.len() as u64), "items");
    for (lists, batch) in scoring::in_order(&data, &shape) {
        let given = ranker.vectors(&batch)?.expect("a network with towers");
        for (at, &list) in lists.iter().enumerate() {
            let item = data.item[data.lists.range(list as usize).start];
            let row = ids.binary_search(&item).expect("a page for each item");
            let into = row * width..(row + 1) * width;
            let place = at * batch.slots;
            vectors[0][into.clone()].copy_from_slice(&given.seed[at * width..(at + 1) * width]);
            vectors[1][into].copy_from_slice(&given.candidate[place * width..(place + 1) * width]);
            let wide = given.taste_width;
            taste.resize(ids.len() * wide, 0.0);
            taste[row * wide..(row + 1) * wide]
                .copy_from_slice(&given.taste[place * wide..(place + 1) * wide]);
        }
        job.progress.advance(lists.len() as u64);
    }
    job.progress.end();
    work.close().context("cannot remove the work folder")?;

    write_ids(&ids, &out.join("item_id.npy"))?;
    for (values, name) in vectors.iter().zip(["seed.npy", "candidate.npy"]) {
        write_vectors(values, width, &out.join(name))?;
    }
    let taste = match temperature(&run)? {
        Some(weight) if !taste.is_empty() => {
            let wide = taste.len() / ids.len();
            write_vectors(&taste, wide, &out.join("taste.npy"))?;
            Some(Taste {
                kinds: wide / width,
                width,
                weight,
                prior_events: map.history_prior().unwrap_or(0),
            })
        }
        _ => None,
    };
    let [seed, candidate] = &vectors;
    let vectors = neighbours::Vectors {
        ids: &ids,
        width,
        seed,
        candidate,
    };
    neighbours::write(&vectors, &failures, job.items, job.embed, out)?;
    let manifest = Manifest {
        format: FORMAT,
        kind: KIND.to_owned(),
        slate: env!("CARGO_PKG_VERSION").to_owned(),
        command: job.command.to_owned(),
        weights_sha256: run["files"][WEIGHTS_FILE]["sha256"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        items: ids.len(),
        width,
        as_of,
        rejects,
        set_aside,
        without,
        taste,
    };
    let text = serde_json::to_string_pretty(&manifest)? + "\n";
    write_file(&out.join("manifest.json"), text.as_bytes(), false)?;
    Ok(manifest)
}

/// The manifest of an export, or none where a folder has no manifest, or one of something else.
///
/// # Errors
/// A manifest that cannot be read, and one of a newer version.
pub(crate) fn read(folder: &Path) -> Result<Option<Manifest>> {
    let path = folder.join("manifest.json");
    if !path.is_file() {
        return Ok(None);
    }
    let value = manifest::read_json(&path)?;
    if value["kind"] != KIND {
        return Ok(None);
    }
    let manifest: Manifest = serde_json::from_value(value)
        .with_context(|| format!("`{}` is no manifest of item vectors", path.display()))?;
    manifest.format.check("manifest of item vectors", FORMAT)?;
    Ok(Some(manifest))
}

/// The towers of a run; refuses those that read something of a placement: an item by itself has none.
fn towers(job: &Job<'_>, map: &FeatureMap, run: &Value) -> Result<TowersOptions> {
    let towers = &run["config"]["train"]["network"]["towers"];
    let towers: TowersOptions = serde_json::from_value(towers.clone())
        .with_context(|| format!("cannot read what the run `{}` is of", job.run.display()))?;
    let counted = job.attribution.clone().check()?.history_columns();
    for name in towers.seed.iter().chain(&towers.candidate) {
        for column in map.columns_of(name) {
            let of_item = column.starts_with("item_") || column.starts_with("seed_");
            if (of_item || column == "seller_id") && !counted.iter().any(|own| own == column) {
                continue;
            }
            return Err(Refusal::new(format!(
                "the towers read `{name}`, which is made of `{column}`: an item by itself has none"
            ))
            .hint(
                "give towers columns of the item table alone (item_…, seed_…) and leave the rest to \
                 `train.network.towers.context`",
            )
            .into());
        }
    }
    Ok(towers)
}

/// What the cosines of a run that was trained to retrieve were divided by.
fn temperature(run: &Value) -> Result<Option<f64>> {
    let options = &run["config"]["train"]["in_batch"];
    if options.is_null() {
        return Ok(None);
    }
    let options: InBatchOptions =
        serde_json::from_value(options.clone()).context("cannot read how the run was trained")?;
    Ok(Some(options.temperature))
}

/// The ids of a table of items in growing order, each once, and how many rows are no items.
fn item_ids(path: &Path) -> Result<(Vec<i64>, usize)> {
    let columns = ItemColumns {
        id: "item_id".to_owned(),
        title: Vec::new(),
        image: None,
    };
    let mut ids = BTreeSet::new();
    let mut rejects = 0;
    read_items(path, &columns, &mut |items, bad| {
        rejects += bad.len();
        for item in items {
            rejects += usize::from(!ids.insert(item.id));
        }
        Ok(())
    })?;
    if ids.is_empty() {
        return Err(Refusal::new(format!("`{}` has no items", path.display())).into());
    }
    Ok((ids.into_iter().collect(), rejects))
}

/// Columns of placements that the map reads beside those of the contract: an item by itself has none.
fn columns_of_placements(map: &FeatureMap, counted: &[String]) -> BTreeMap<String, DataType> {
    let numbers = map.dense.iter().flat_map(DenseFeature::columns);
    let numbers = numbers.map(|column| (column, DataType::Float64));
    let ids = map.categorical.iter().flat_map(|own| {
        let kind = match own {
            CategoricalFeature::Bins { .. } => DataType::Float64,
            _ => DataType::Utf8,
        };
        own.columns()
            .into_iter()
            .map(move |column| (column, kind.clone()))
    });
    let several = map.multi_valued.iter();
    let several = several.map(|own| (own.column.as_str(), DataType::Utf8));
    let tastes = map.taste.iter().flat_map(|own| {
        let number = (own.column.as_str(), DataType::Float64);
        let ids = [&own.user, &own.item].map(|column| (column.as_str(), DataType::Int64));
        std::iter::once(number).chain(ids)
    });
    let mut columns = BTreeMap::new();
    for (column, kind) in numbers.chain(ids).chain(several).chain(tastes) {
        let is_made = map.taste.iter().any(|own| own.makes(column));
        let is_known = is_made
            || SLOT_IMPRESSION.column(column).is_some()
            || PAGE_IMPRESSION.column(column).is_some()
            || column.starts_with("item_")
            || column.starts_with("seed_")
            || counted.iter().any(|own| own == column);
        if !is_known {
            columns.insert(column.to_owned(), kind);
        }
    }
    columns
}

/// A dataset whose training part has a list for each item, and the rows of items that were set aside.
fn dataset_of(
    job: &Job<'_>,
    map: &FeatureMap,
    ids: &[i64],
    as_of: i64,
    work: &Path,
) -> Result<(Dataset, BTreeMap<String, u64>)> {
    let [pages, slots, events, dataset] = [
        "page_impression.parquet",
        "slot_impression.parquet",
        "event.parquet",
        "dataset",
    ]
    .map(|name| work.join(name));
    // Every part of a dataset has a list: those after training are of the first item once more.
    let after = (1..=3).map(|day| (ids[0], as_of + day * DAY));
    let shown: Vec<(i64, i64)> = ids.iter().map(|&id| (id, as_of)).chain(after).collect();
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=shown.len() as i64));
    let items: ArrayRef = Arc::new(
        shown
            .iter()
            .map(|(id, _)| Some(*id))
            .collect::<Int64Array>(),
    );
    let times: ArrayRef = Arc::new(
        shown
            .iter()
            .map(|(_, ts)| Some(*ts))
            .collect::<Int64Array>(),
    );
    let first: ArrayRef = Arc::new(Int32Array::from(vec![0; shown.len()]));
    write_table(
        &pages,
        &[
            ("page_id", &numbers),
            ("ts", &times),
            ("seed_item_id", &items),
        ],
    )?;
    let counted = job.attribution.clone().check()?.history_columns();
    let unknown = columns_of_placements(map, &counted);
    let unknown: Vec<(&str, ArrayRef)> = unknown
        .iter()
        .map(|(name, kind)| (name.as_str(), new_null_array(kind, shown.len())))
        .collect();
    let mut of_slots = vec![
        ("impression_id", &numbers),
        ("page_id", &numbers),
        ("list_id", &numbers),
        ("slot", &first),
        ("item_id", &items),
    ];
    of_slots.extend(unknown.iter().map(|(name, nulls)| (*name, nulls)));
    write_table(&slots, &of_slots)?;
    // A dataset without an outcome is refused as a mistake: someone clicks the first item, after its page.
    let one = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
    let click: ArrayRef = Arc::new(StringArray::from(vec!["click"]));
    write_table(
        &events,
        &[
            ("event_id", &one(1)),
            ("ts", &one(as_of + 1)),
            ("type", &click),
            ("item_id", &one(ids[0])),
            ("impression_id", &one(1)),
        ],
    )?;
    let text = |path: &Path| Some(path.to_string_lossy().into_owned());
    let tables = LogTables {
        page_impression: text(&pages),
        slot_impression: text(&slots),
        event: text(&events),
        item: match &files(job.items)?[..] {
            [file] => text(file),
            _ => text(job.items),
        },
    };
    let moment = |days: i64| -> Result<String> {
        let moment = chrono::DateTime::from_timestamp_micros(as_of.saturating_add(days * DAY));
        let moment = moment.ok_or_else(|| Refusal::new(format!("{as_of} is no moment")))?;
        Ok(moment.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))
    };
    // What is counted stays as it was; windows are short, so that no label is open.
    let attribution = AttributionOptions {
        label_as_of: Some(moment(MATURE)?),
        history_days: job.attribution.history_days.clone(),
        history_keys: job.attribution.history_keys.clone(),
        pairs: job.attribution.pairs,
        sequence: job.attribution.sequence.clone(),
        max_reject_share: job.attribution.max_reject_share,
        ..AttributionOptions::default()
    };
    let split = SplitSpec {
        valid_from: Some(moment(1)?),
        calibrate_from: Some(moment(2)?),
        test_from: Some(moment(3)?),
        ..SplitSpec::default()
    };
    fs::create_dir(&dataset).with_context(|| format!("cannot create `{}`", dataset.display()))?;
    let made = featurise::features(
        featurise::Job {
            attribution,
            features: job.features,
            split: &split,
            feature_map: MapSource::Given(map.clone()),
            formats: &BTreeSet::from([slate_features::Format::Npy]),
            engine: &EngineOptions {
                threads: job.threads,
                ..EngineOptions::default()
            },
            seed: job.seed,
            command: job.command,
            progress: job.progress,
        },
        &Logs::new(None, Some(&tables))?,
        &dataset,
    )?;
    // Rows that repeat an item or are none were counted before.
    let rejects = made.examples.rejects.into_iter();
    let rejects = rejects.filter(|reject| reject.column != "item_id");
    let set_aside = rejects.map(|reject| {
        let told = format!("`{}` {}", reject.column, reject.reason);
        (told, reject.rows)
    });
    let dataset = Dataset::open(&dataset).context("cannot read the features of the items")?;
    Ok((dataset, set_aside.collect()))
}

fn write_table(path: &Path, columns: &[(&str, &ArrayRef)]) -> Result<()> {
    let columns = columns
        .iter()
        .map(|(name, values)| (*name, Arc::clone(*values)));
    let batch = RecordBatch::try_from_iter(columns)?;
    let file = File::create(path).with_context(|| format!("cannot create `{}`", path.display()))?;
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
