//! Rows of a score table to a calibrator, and a calibrator to probabilities.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use slate_calibrate::{
    Calibrator, CalibratorFile, FittedOn, Method, Reads, SegmentOptions, Segments, fit_reading,
};
use slate_types::{Scores, Seed};

use super::super::columns::Cluster;
use super::super::evaluation::Labels;
use crate::artefacts::scores::ScoreTable;
use crate::console::Refusal;

/// Folds of the out-of-fold comparison.
pub(crate) const FOLDS: u64 = 5;

/// How maps are fitted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fitting {
    pub(crate) reads: Reads,
    /// Columns whose values have maps of their own, outermost first.
    pub(crate) by: Vec<String>,
    pub(crate) segments: SegmentOptions,
}

/// What a row counts in fits and in the comparison.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weighing {
    /// The column `weight`.
    pub(crate) column: bool,
    /// One over `propensity`, which is raised to this floor first.
    pub(crate) inverse_propensity: Option<f64>,
    /// The share of rows without the event that the file holds: each counts one over it.
    pub(crate) negatives_kept: Option<f64>,
}

impl Weighing {
    /// Whether all rows count the same.
    pub(crate) fn is_plain(&self) -> bool {
        !self.column && self.inverse_propensity.is_none() && self.negatives_kept.is_none()
    }

    /// What it is called in files.
    pub(crate) fn told(&self) -> String {
        let mut told = Vec::new();
        if self.column {
            told.push("weight".to_owned());
        }
        if let Some(floor) = self.inverse_propensity {
            told.push(format!("1/max(propensity, {floor})"));
        }
        if let Some(share) = self.negatives_kept {
            told.push(format!("1/{share} of each row without the event"));
        }
        if told.is_empty() {
            told.push("1".to_owned());
        }
        told.join(" * ")
    }

    /// Writes the weights of a table's rows into its column `weight`. Weights that are all equal
    /// become 1.
    ///
    /// # Errors
    /// A column that is missing or incomplete, a propensity of 0 and no floor.
    pub(crate) fn apply(&self, table: &mut ScoreTable, labels: &Labels) -> Result<()> {
        if self.is_plain() {
            return Ok(());
        }
        let mut weights = if self.column {
            table.need("weight")?.to_vec()
        } else {
            vec![1.0; table.rows()]
        };
        if let Some(floor) = self.inverse_propensity {
            let propensities = table.need("propensity")?;
            for (row, (weight, propensity)) in weights.iter_mut().zip(propensities).enumerate() {
                let raised = propensity.max(floor);
                if raised <= 0.0 {
                    let told = format!("`propensity` at row {row} is 0, whose inverse is infinite");
                    return Err(Refusal::new(told)
                        .hint("pass --propensity-floor 0.01")
                        .into());
                }
                *weight /= raised;
            }
        }
        if let Some(share) = self.negatives_kept {
            for (weight, positive) in weights.iter_mut().zip(&labels.positives) {
                if *positive == 0 {
                    *weight /= share;
                }
            }
        }
        // Weights count rows in what smooths and shrinks, so their scale must mean something: all
        // rows with the event together weigh as many as they are worth (Kish 1965).
        let events = || {
            weights
                .iter()
                .zip(&labels.positives)
                .filter(|(_, y)| **y == 1)
        };
        let sum: f64 = events().map(|(weight, _)| weight).sum();
        let squares: f64 = events().map(|(weight, _)| weight * weight).sum();
        if squares > 0.0 {
            let scale = sum / squares;
            for weight in &mut weights {
                *weight *= scale;
            }
        }
        table.set("weight", weights);
        Ok(())
    }
}

/// Scores with what they came to.
pub(super) struct Rows<'a> {
    pub(super) table: &'a ScoreTable,
    pub(super) labels: &'a Labels,
    /// From the column `weight`, where rows are weighed.
    pub(super) weighted: bool,
}

impl Rows<'_> {
    fn weights(&self) -> Option<&[f64]> {
        let weights = self.table.get("weight");
        weights.filter(|_| self.weighted)
    }
}

/// Fits on all rows, or on those where `keep` holds.
///
/// # Errors
/// Rows that the method refuses, a column of segments that is missing.
pub(super) fn fit(
    method: Method,
    rows: &Rows<'_>,
    fitting: &Fitting,
    keep: Option<&[bool]>,
) -> Result<CalibratorFile> {
    let kept: Vec<usize> = (0..rows.table.rows())
        .filter(|&row| keep.is_none_or(|keep| keep[row]))
        .collect();
    let pick = |values: &[f64]| kept.iter().map(|&row| values[row]).collect::<Vec<_>>();
    let scores = pick(&rows.table.score);
    let labels: Vec<f64> = kept
        .iter()
        .map(|&row| f64::from(rows.labels.positives[row]))
        .collect();
    let weights = rows.weights().map(pick);
    let weights = weights.as_deref();
    let calibrator = fit_reading(fitting.reads, method, &scores, &labels, weights)?;
    let segments = if fitting.by.is_empty() {
        None
    } else {
        let mut by = Vec::with_capacity(fitting.by.len());
        for name in &fitting.by {
            let values = rows.table.text(name)?;
            by.push((
                name.clone(),
                kept.iter().map(|&row| values[row].clone()).collect(),
            ));
        }
        let options = fitting.segments;
        let segments = Segments::fit(&calibrator, method, &scores, &labels, weights, &by, options)?;
        Some(segments)
    };
    Ok(CalibratorFile {
        calibrator,
        segments,
        fitted_on: Some(fitted_on(rows, &labels, weights)),
    })
}

fn fitted_on(rows: &Rows<'_>, labels: &[f64], weights: Option<&[f64]>) -> FittedOn {
    FittedOn {
        split: rows.table.split.as_ref().map(|split| {
            let names: std::collections::BTreeSet<&str> =
                split.iter().map(String::as_str).collect();
            names.into_iter().collect::<Vec<_>>().join("+")
        }),
        label: Some(rows.labels.label.column().to_owned()),
        ..FittedOn::count(labels, weights)
    }
}

/// The probability of each row.
///
/// # Errors
/// Scores the map refuses, a column of segments that is missing.
pub(crate) fn apply(file: &CalibratorFile, table: &ScoreTable) -> Result<Vec<f64>> {
    let scores = Scores(table.score.clone());
    let mut probabilities = file.calibrator.apply_all(&scores)?.into_inner();
    if let Some(segments) = &file.segments {
        let columns: Vec<Vec<String>> = segments
            .by()
            .iter()
            .map(|name| table.text(name))
            .collect::<Result<_>>()
            .context("the calibrator has segments by columns that the scores must have")?;
        for (row, probability) in probabilities.iter_mut().enumerate() {
            let key: Vec<&str> = columns.iter().map(|column| column[row].as_str()).collect();
            *probability = segments.apply(table.score[row], *probability, &key);
        }
    }
    Ok(probabilities)
}

/// Rows whose first column of segments has a value that the calibrator does not know.
///
/// # Errors
/// A column of segments that is missing.
pub(crate) fn unknown_segments(file: &CalibratorFile, table: &ScoreTable) -> Result<usize> {
    let Some((segments, first)) = file
        .segments
        .as_ref()
        .and_then(|s| Some((s, s.by().first()?)))
    else {
        return Ok(0);
    };
    let known: HashSet<&str> = segments
        .nodes()
        .filter_map(|(key, _)| key.first().map(String::as_str))
        .collect();
    let values = table.text(first)?;
    Ok(values
        .iter()
        .filter(|value| !known.contains(value.as_str()))
        .count())
}

/// Which fold each row belongs to: that of its list, or of the user, page or day that intervals resample,
/// so that none is judged by a map that has seen it.
///
/// # Errors
/// As [`Cluster::of_lists`].
pub(super) fn folds(table: &ScoreTable, cluster: Cluster, seed: Seed) -> Result<Vec<u64>> {
    let seed = seed.derive("calibration folds");
    let fold = |unit: u64| seed.index(unit).0 % FOLDS;
    let Some(clusters) = cluster.of_lists(table)? else {
        return Ok(table.list_id.iter().map(|id| fold(*id as u64)).collect());
    };
    let lists = table.lists.iter().zip(clusters);
    let rows = lists.flat_map(|(rows, cluster)| rows.map(move |_| u64::from(cluster)));
    Ok(rows.map(fold).collect())
}

/// Probabilities of each list from a calibrator that has not seen the list.
///
/// # Errors
/// A fold whose rest cannot be fitted.
pub(super) fn out_of_fold(
    method: Method,
    rows: &Rows<'_>,
    fitting: &Fitting,
    folds: &[u64],
) -> Result<Vec<f64>> {
    let mut probabilities = vec![f64::NAN; folds.len()];
    for fold in 0..FOLDS {
        let keep: Vec<bool> = folds.iter().map(|&of| of != fold).collect();
        if keep.iter().all(|&k| k) {
            continue;
        }
        let fitted = fit(method, rows, fitting, Some(&keep)).with_context(|| {
            format!(
                "{FOLDS} folds of {} positives in {} rows leave one that cannot be fitted without",
                rows.labels.count(),
                folds.len()
            )
        })?;
        let held_out: Vec<usize> = (0..folds.len()).filter(|&row| !keep[row]).collect();
        let part = apply(&fitted, &rows.table.rows_of(&held_out)?)?;
        for (row, probability) in held_out.into_iter().zip(part) {
            probabilities[row] = probability;
        }
    }
    Ok(probabilities)
}

/// What scores claim by themselves: nothing is fitted.
pub(super) fn unfitted(reads: Reads) -> Calibrator {
    match reads {
        Reads::LogOdds => Calibrator::Raw,
        Reads::Probability => Calibrator::Identity,
    }
}

/// Writes a calibrator's file.
///
/// # Errors
/// A full disk.
pub(super) fn write(file: &CalibratorFile, path: &Path) -> Result<()> {
    std::fs::write(path, file.to_json())
        .with_context(|| format!("cannot write `{}`", path.display()))
}
