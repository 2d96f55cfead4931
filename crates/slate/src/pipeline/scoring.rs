//! One split of a dataset to a score table: by a trained ranker or by a baseline.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use slate_features::{BatchOptions, Dataset, DenseFeature, FeatureMap, SplitData, batches};
use slate_model::{DeviceSpec, MODEL_FILE, Ranker, WEIGHTS_FILE};
use slate_trees::{TREES_FILE, TreeRanker};
use slate_types::{Batch, FeatureShape, InputPlaces, ListOffsets, Progress, Split};

use super::truth::Truth;
use crate::artefacts::manifest;
use crate::artefacts::scores::ScoreTable;
use crate::console::Refusal;

/// Lists read at once: enough to fill the cores, small enough to stay in cache.
const LISTS_PER_BATCH: usize = 256;

/// The batches of a part, its lists in their own order.
pub(super) fn in_order<'a>(
    data: &'a SplitData,
    shape: &FeatureShape,
) -> impl Iterator<Item = (Vec<u32>, Batch)> + Send + use<'a> {
    let options = BatchOptions {
        lists_per_batch: LISTS_PER_BATCH,
        shuffle: None,
        bucket_by_length: false,
        skip: 0,
    };
    batches(data, shape, options)
}

/// Scores of a split, in row order.
pub(crate) struct Scored {
    /// What ranks: the head a network was told to rank by.
    pub(crate) score: Vec<f64>,
    /// From the click head, where there is one.
    pub(crate) click: Option<Vec<f64>>,
}

/// A ranker that scores batches.
pub(crate) trait Scores {
    /// Appends the scores of a batch's slots, padding left out.
    ///
    /// # Errors
    /// A batch of other features.
    fn score_batch(&self, batch: &Batch, scored: &mut Scored) -> Result<()>;

    /// Nothing yet, with room.
    fn begin(&self, rows: usize) -> Scored;
}

/// The places of a batch that are no padding.
fn real(batch: &Batch) -> impl Iterator<Item = usize> + '_ {
    let places = batch.mask.iter().enumerate();
    places.filter(|(_, real)| **real).map(|(place, _)| place)
}

impl Scores for Ranker {
    fn begin(&self, rows: usize) -> Scored {
        Scored {
            score: Vec::with_capacity(rows),
            click: Some(Vec::with_capacity(rows)),
        }
    }

    fn score_batch(&self, batch: &Batch, scored: &mut Scored) -> Result<()> {
        let scores = self.score(batch)?;
        let head = scores.of(self.score_head());
        scored
            .score
            .extend(real(batch).map(|place| f64::from(head[place])));
        let click = real(batch).map(|place| f64::from(scores.click[place]));
        scored.click.get_or_insert_default().extend(click);
        Ok(())
    }
}

impl Scores for TreeRanker {
    fn begin(&self, rows: usize) -> Scored {
        Scored {
            score: Vec::with_capacity(rows),
            click: None,
        }
    }

    fn score_batch(&self, batch: &Batch, scored: &mut Scored) -> Result<()> {
        let scores = self.score(batch)?;
        let own = real(batch).map(|place| f64::from(scores[place]));
        scored.score.extend(own);
        Ok(())
    }
}

/// Scores every row of a split, in order.
///
/// # Errors
/// A ranker built for other features.
pub(crate) fn score_split(
    ranker: &dyn Scores,
    data: &SplitData,
    shape: &FeatureShape,
    progress: &dyn Progress,
) -> Result<Scored> {
    score_hiding(ranker, data, shape, &Hidden::default(), progress)
}

/// Inputs that are taken for unknown, and what their numbers are then.
#[derive(Default)]
struct Hidden {
    inputs: InputPlaces,
    numbers: Vec<f32>,
}

impl Hidden {
    /// A number that is hidden takes what says that it is missing with it.
    fn new(map: &FeatureMap, names: &[String]) -> Result<Self> {
        let mut inputs = map.places(names, "--without")?;
        let tells = |at: usize| match &map.dense[at] {
            DenseFeature::Missing { name, .. } => {
                names.iter().any(|own| *name == format!("{own}_missing"))
            }
            _ => false,
        };
        let indicators = (0..map.dense.len()).filter(|&at| tells(at));
        inputs.numbers.extend(indicators);
        let numbers = inputs.numbers.iter().map(|&at| map.dense[at].unknown());
        Ok(Self {
            numbers: numbers.collect(),
            inputs,
        })
    }
}

/// The same where these inputs are taken for unknown.
fn score_hiding(
    ranker: &dyn Scores,
    data: &SplitData,
    shape: &FeatureShape,
    hidden: &Hidden,
    progress: &dyn Progress,
) -> Result<Scored> {
    let mut scored = ranker.begin(data.lists.rows());
    for (lists, mut batch) in in_order(data, shape) {
        batch.hide(&hidden.inputs, &hidden.numbers);
        ranker.score_batch(&batch, &mut scored)?;
        progress.advance(lists.len() as u64);
    }
    Ok(scored)
}

/// Loads the ranker of a run, and the hash of what it learned.
///
/// # Errors
/// Files that are missing, broken or of another version.
pub(crate) fn load(run: &Path, device: DeviceSpec) -> Result<(Box<dyn Scores>, String)> {
    let described = manifest::read_json(&run.join(MODEL_FILE))?;
    let (ranker, file): (Box<dyn Scores>, _) = if described["kind"] == slate_trees::KIND {
        (Box::new(TreeRanker::load(run)?), TREES_FILE)
    } else {
        (Box::new(Ranker::load(run, device)?), WEIGHTS_FILE)
    };
    let manifest = manifest::read_json(&run.join("manifest.json"))?;
    let hash = manifest["files"][file]["sha256"].as_str();
    Ok((ranker, hash.unwrap_or_default().to_owned()))
}

/// Scores a split with a run, or with several as an ensemble: their scores are brought to mean 0 and
/// deviation 1 inside each list, since networks and trees measure in different units, and averaged.
///
/// # Errors
/// A run whose feature map is not the dataset's, and what reading them refuses.
pub(crate) fn by_runs(
    runs: &[PathBuf],
    dataset: &Dataset,
    split: Split,
    device: DeviceSpec,
    progress: &dyn Progress,
) -> Result<ScoreTable> {
    by_runs_without(&[], runs, dataset, split, device, progress)
}

/// The same where the inputs of these names are taken for unknown ([`Batch::hide`]): what they are worth.
///
/// # Errors
/// As [`by_runs`], and a name that no input has.
pub(crate) fn by_runs_without(
    names: &[String],
    runs: &[PathBuf],
    dataset: &Dataset,
    split: Split,
    device: DeviceSpec,
    progress: &dyn Progress,
) -> Result<ScoreTable> {
    let hidden = Hidden::new(dataset.map(), names)?;
    let data = dataset.split(split)?;
    for run in runs {
        check_map(run, dataset)?;
    }
    let mut each = Vec::with_capacity(runs.len());
    let mut hashes = Vec::with_capacity(runs.len());
    for run in runs {
        let (ranker, hash) = load(run, device)
            .with_context(|| format!("cannot load the run `{}`", run.display()))?;
        progress.begin("score", Some(data.lists.len() as u64), "lists");
        each.push(score_hiding(
            &*ranker,
            &data,
            &dataset.shape(),
            &hidden,
            progress,
        )?);
        progress.end();
        hashes.push(short_hash(&hash).to_owned());
    }
    let mut scorer = format!("run:{}", hashes.join("+"));
    if !names.is_empty() {
        scorer = format!("{scorer} without {}", names.join(" and "));
    }
    if let [_] = each[..] {
        let own = each.remove(0);
        let mut table = with_labels(&data, split, own.score, &scorer)?;
        if let Some(click) = own.click {
            table.set("click_score", click);
        }
        return Ok(table);
    }
    let mut mean = vec![0.0; data.lists.rows()];
    for scored in &mut each {
        standardise(&mut scored.score, &data.lists);
        for (sum, score) in mean.iter_mut().zip(&scored.score) {
            *sum += score / runs.len() as f64;
        }
    }
    with_labels(&data, split, mean, &scorer)
}

/// Brings the scores of every list to mean 0 and deviation 1; to 0 where they are all equal.
fn standardise(scores: &mut [f64], lists: &ListOffsets) {
    for rows in lists.iter() {
        let own = &mut scores[rows];
        let count = own.len() as f64;
        let mean = own.iter().sum::<f64>() / count;
        let variance = own.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / count;
        let scale = if variance > 0.0 { variance.sqrt() } else { 1.0 };
        for score in own {
            *score = (*score - mean) / scale;
        }
    }
}

/// Refuses a run that was trained on other features.
fn check_map(run: &Path, dataset: &Dataset) -> Result<()> {
    let manifest = manifest::read_json(&run.join("manifest.json"))
        .with_context(|| format!("cannot load the run `{}`", run.display()))?;
    if manifest["kind"] == "sweep" {
        let told = format!("`{}` is a sweep, expected one of its runs", run.display());
        let best = manifest["points"][0]["trials"][0]["run"].as_str();
        let best = best.map_or("trials/…".into(), |best| {
            run.join(best).display().to_string()
        });
        return Err(Refusal::new(told)
            .hint(format!("the best is {best}"))
            .into());
    }
    let trained_on = manifest["data"]["feature_map_sha256"]
        .as_str()
        .unwrap_or_default();
    if trained_on == dataset.manifest().feature_map_sha256 {
        return Ok(());
    }
    Err(Refusal::new(format!(
        "run `{}` was trained with feature map {}, but the dataset was made with {}",
        run.display(),
        short_hash(trained_on),
        short_hash(&dataset.manifest().feature_map_sha256)
    ))
    .hint("make the dataset with `slate features --feature-map RUN/feature_map.json`")
    .into())
}

pub(super) fn short_hash(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// A scorer that is not trained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Baseline {
    /// Every order is as likely as any other: all scores are equal, and under `ties=mean` each
    /// metric is its expected value over all orders, without the noise of one draw.
    Random,
    /// The order that was shown.
    Logged,
    /// A dense feature, larger first.
    Feature(String),
    /// The simulator's true probability of a purchase from a slot that is examined.
    Oracle(std::path::PathBuf),
}

impl Baseline {
    /// Reads `random`, `logged`, `feature:NAME` or `oracle:FILE`.
    ///
    /// # Errors
    /// Any other name.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        match name.split_once(':') {
            None if name == "random" => Ok(Self::Random),
            None if name == "logged" => Ok(Self::Logged),
            Some(("feature", feature)) => Ok(Self::Feature(feature.to_owned())),
            Some(("oracle", file)) => Ok(Self::Oracle(file.into())),
            _ => Err(Refusal::new(format!(
                "unknown baseline `{name}`, expected `random`, `logged`, `feature:NAME` or `oracle:TRUTH.parquet`"
            ))
            .into()),
        }
    }
}

/// Scores a split with a baseline.
///
/// # Errors
/// A feature the dataset does not have, a truth file that lacks rows of the split.
pub(crate) fn by_baseline(
    baseline: &Baseline,
    dataset: &Dataset,
    split: Split,
) -> Result<ScoreTable> {
    let data = dataset.split(split)?;
    let (score, name) = match baseline {
        Baseline::Random => (vec![0.0; data.lists.rows()], "baseline:random".to_owned()),
        Baseline::Logged => (
            data.slot.iter().map(|&slot| -f64::from(slot)).collect(),
            "baseline:logged".to_owned(),
        ),
        Baseline::Feature(name) => {
            let names = &dataset.manifest().dense;
            let at = names
                .iter()
                .position(|known| known == name)
                .ok_or_else(|| {
                    Refusal::new(format!("the dataset has no dense feature `{name}`"))
                        .hint(format!("it has: {}", names.join(", ")))
                })?;
            let width = names.len();
            let score = data
                .dense
                .chunks_exact(width)
                .map(|row| f64::from(row[at]))
                .collect();
            (score, format!("baseline:feature:{name}"))
        }
        Baseline::Oracle(file) => {
            let truth = Truth::read(file)?;
            let at: HashMap<i64, usize> = truth
                .impression
                .iter()
                .enumerate()
                .map(|(row, &id)| (id, row))
                .collect();
            let score = data.impression.iter().map(|id| {
                at.get(id)
                    .map(|&row| truth.purchase_examined[row])
                    .ok_or_else(|| {
                        Refusal::new(format!("`{}` has no impression {id}", file.display()))
                            .hint("pass the truth.parquet of the log the dataset was made from")
                    })
            });
            (score.collect::<Result<_, _>>()?, "oracle".to_owned())
        }
    };
    with_labels(&data, split, score, &name)
}

/// The scores with all that the dataset knows of each row.
fn with_labels(
    data: &SplitData,
    split: Split,
    score: Vec<f64>,
    scorer: &str,
) -> Result<ScoreTable> {
    let mut list_id = Vec::with_capacity(data.lists.rows());
    for (list, rows) in data.lists.iter().enumerate() {
        list_id.extend(std::iter::repeat_n(data.list_id[list], rows.len()));
    }
    let rows = list_id.len();
    let times = data.lists.iter().zip(&data.list_ts);
    let times: Vec<i64> = times
        .flat_map(|(rows, ts)| std::iter::repeat_n(*ts, rows.len()))
        .collect();
    let mut table = ScoreTable::new(list_id, score, scorer)?;
    table.set_integers("item_id", data.item.clone());
    table.set_integers("impression", data.impression.clone());
    table.set_integers(
        "slot",
        data.slot.iter().map(|&slot| i64::from(slot)).collect(),
    );
    if times.iter().any(|ts| *ts != 0) {
        table.set_integers("ts", times);
    }
    table.set("grade", data.grade.iter().map(|&v| f64::from(v)).collect());
    table.set("click", data.click.iter().map(|&v| f64::from(v)).collect());
    table.set(
        "purchase",
        data.purchase.iter().map(|&v| f64::from(v)).collect(),
    );
    table.set(
        "weight",
        data.weight.iter().map(|&v| f64::from(v)).collect(),
    );
    for (name, values) in [
        ("price", &data.price),
        ("ad_rate", &data.ad_rate),
        ("propensity", &data.propensity),
    ] {
        if values.iter().any(|v| !v.is_nan()) {
            table.set(name, values.clone());
        }
    }
    table.split = Some(vec![split.name().to_owned(); rows]);
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_standardised_list_by_list() {
        let lists = ListOffsets::from_lengths([3, 2, 1]).unwrap();
        let mut scores = vec![10.0, 30.0, 20.0, 7.0, 7.0, -4.0];
        standardise(&mut scores, &lists);
        let deviation = (200.0_f64 / 3.0).sqrt();
        assert_eq!(scores[..3], [-10.0 / deviation, 10.0 / deviation, 0.0]);
        assert_eq!(scores[3..], [0.0, 0.0, 0.0]);
    }
}
